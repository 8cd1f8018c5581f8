# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a server and the runners of its models were really started, read from ``/proc``.

A runner is a child process that holds one model: ``llama-server`` from Ollama 0.30 on, before that ``ollama runner``.
Source: llm/ of Ollama 0.24 and 0.34.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.llmops.ollama.plugins.module_utils.errors import OllamaError, Unhealthy

ROOT_NEEDED = "Use become: true; in a container, root also needs the capability SYS_PTRACE."
DELETED = " (deleted)"  # what the kernel adds to the path of a program whose file is gone

_BLOB = re.compile(r"sha256-[0-9a-f]{64}")
_FROM = re.compile(r"^FROM .*?(sha256-[0-9a-f]{64})\s*$", re.MULTILINE)


class Runner(NamedTuple):
    """What the command line of a runner says; None where it does not. ``blob`` is the file name of its weights.

    ``cells`` are tokens of all slots together. The runner of Ollama's own engine is told everything but its model over
    HTTP, so that only the server's log knows.
    """

    pid: int
    blob: str
    port: int
    slots: int | None = None
    cells: int | None = None
    threads: int | None = None
    kv_types: tuple[str, ...] = ()

    @property
    def is_llama_server(self) -> bool:
        """Only it is told the number of slots by its command line."""
        return self.slots is not None

    @property
    def context(self) -> int | None:
        """Tokens of each slot."""
        return self.cells // self.slots if self.cells and self.slots else None


def parse_runner(pid: int, arguments: Sequence[str]) -> Runner | None:
    """The runner that was started with these arguments; None for any other process."""
    values = {name: value for name, value in zip(arguments, arguments[1:]) if name.startswith("-")}
    blob = _BLOB.search(values.get("--model", ""))
    port = _count(values.get("--port"))
    if not blob or not port:
        return None
    types = (values.get("--cache-type-k"), values.get("--cache-type-v"))
    return Runner(
        pid,
        blob[0],
        port,
        slots=_count(values.get("-np")),
        cells=_count(values.get("-c")),
        threads=_count(values.get("-t")),
        kv_types=tuple(kind for kind in types if kind),
    )


def blobs_of(show: Mapping[str, Any]) -> list[str]:
    """File names of a model's weights, from the answer to ``/api/show``."""
    return _FROM.findall(str(show.get("modelfile") or ""))


def find_runner(server: int, blobs: Sequence[str], proc: str = "/proc") -> Runner | None:
    """The runner below a server's process that holds one of these weights."""
    return next((found for found in runners(server, proc) if found.blob in blobs), None)


def runners(server: int, proc: str = "/proc") -> Iterator[Runner]:
    """All runners below a server's process."""
    for pid in descendants(server, proc):
        with contextlib.suppress(OllamaError):  # runners come and go
            found = parse_runner(pid, command_line(pid, proc))
            if found:
                yield found


def descendants(pid: int, proc: str = "/proc") -> list[int]:
    """Children of a process, and theirs."""
    parents: dict[int, int] = {}
    for path in Path(proc).glob("[0-9]*/stat"):
        try:
            # The name comes first, in parentheses, and may hold anything.
            parents[int(path.parent.name)] = int(path.read_text(errors="replace").rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue  # it has ended
    found: list[int] = []
    known = {pid}
    while True:
        new = sorted(child for child, parent in parents.items() if parent in known and child not in known)
        if not new:
            return found
        found += new
        known.update(new)


def command_line(pid: int, proc: str = "/proc") -> list[str]:
    """A process's arguments, its program first. Raises ``Unhealthy``."""
    return _read(pid, "cmdline", "command line", proc).rstrip("\0").split("\0")


def read_environ(pid: int, proc: str = "/proc") -> dict[str, str]:
    """The environment with which a process was started. Raises ``Unhealthy``."""
    content = _read(pid, "environ", "environment", proc)
    return dict(entry.split("=", 1) for entry in content.split("\0") if "=" in entry)


def executable(pid: int, proc: str = "/proc") -> str:
    """Path of the program file that a process runs; ends in ``DELETED`` where it is gone. Raises ``Unhealthy``."""
    try:
        return str(Path(proc, str(pid), "exe").readlink())
    except OSError as error:
        raise _unreadable(pid, "program", error) from None


def peaks(server: int, proc: str = "/proc") -> list[int]:
    """The largest resident sets, in bytes, of a server and then of each process below it. Raises ``Unhealthy``."""
    found = [peak(server, proc)]
    for pid in descendants(server, proc):
        with contextlib.suppress(OllamaError):  # runners come and go
            found.append(peak(pid, proc))
    return found


def peak(pid: int, proc: str = "/proc") -> int:
    """The largest resident set that a process ever had, in bytes; 0 for one that has ended but is still listed."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", _read(pid, "status", "status", proc), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def started(pid: int, proc: str = "/proc") -> float:
    """When a process was started, in seconds since the epoch. Raises ``Unhealthy``."""
    boot = re.search(r"^btime (\d+)$", Path(proc, "stat").read_text(), re.MULTILINE)
    ticks = int(_read(pid, "stat", "status", proc).rpartition(")")[2].split()[19])
    return (int(boot[1]) if boot else 0) + ticks / os.sysconf("SC_CLK_TCK")


def _read(pid: int, file: str, what: str, proc: str) -> str:
    try:
        return Path(proc, str(pid), file).read_bytes().decode("utf-8", "replace")
    except OSError as error:
        raise _unreadable(pid, what, error) from None


def _unreadable(pid: int, what: str, error: OSError) -> Unhealthy:
    if isinstance(error, PermissionError):
        return Unhealthy(f"The {what} of process {pid} may not be read.", ROOT_NEEDED)
    return Unhealthy(f"Process {pid} has just ended.", "Look at the service's log (journalctl -u).")


def _count(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None
