# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What psutil sees of the live host's processes."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import PurePath
from typing import Any, Callable

with contextlib.suppress(ImportError):  # entry.run() reports the missing library to the user
    import psutil

from ansible_collections.llmops.ollama.plugins.module_utils.doctor.evidence import Process

# Whether a process belongs to the service.
IsService = Callable[[int], bool]


def watch_processes(seconds: float, is_service: Callable[[int], bool]) -> tuple[Process, ...]:
    """CPU time over a window, and memory, of every process that is neither the service's nor this module's own."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    started = time.monotonic()
    before: dict[Any, float] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid not in own and not is_service(process.pid):
                before[process] = _cpu_time(process)
    time.sleep(seconds)
    span = max(time.monotonic() - started, 0.001)
    found = []
    for process, used in before.items():
        with contextlib.suppress(psutil.Error):  # it has ended
            cpu = (_cpu_time(process) - used) / span
            found.append(Process(process.pid, _title(process), round(cpu, 2), process.memory_info().rss))
    return tuple(found)


def _cpu_time(process: Any) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _title(process: Any) -> str:
    """The program and its script, without its other arguments: those may hold secrets, and this ends up in logs."""
    words = process.cmdline()
    if not words:
        return str(process.name())
    script = next((word for word in words[1:] if word.startswith("/") and " " not in word), "")
    return " ".join(filter(None, (PurePath(words[0].split(" ")[0]).name or process.name(), script)))


def port_holder(port: int, is_service: Callable[[int], bool]) -> str:
    """Who listens on a port."""
    with contextlib.suppress(psutil.Error, OSError):
        for each in psutil.net_connections(kind="tcp"):
            # An address that is not bound is an empty tuple.
            listens = each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port
            if listens and each.pid and not is_service(each.pid):
                return f"{_title(psutil.Process(each.pid))} (process {each.pid})"
    return ""
