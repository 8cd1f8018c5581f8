# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a measurement takes of the server, where it runs on this host: its processes' CPU time and memory."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

with contextlib.suppress(ImportError):  # then nothing is known of the server
    import psutil

from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.sample import Taken
from ansible_collections.llmops.ollama.plugins.module_utils.runner import descendants

SERVER_NAME = "ollama"


def find_server(url: str) -> int | None:
    """The Ollama process of this host that listens at a URL; None where it is elsewhere or another program."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if "psutil" not in globals() or not _is_local(parts.hostname or ""):
        return None
    with contextlib.suppress(psutil.Error, OSError):
        for each in psutil.net_connections("tcp"):
            if each.status == psutil.CONN_LISTEN and each.pid and each.laddr and each.laddr.port == port:
                return each.pid if psutil.Process(each.pid).name() == SERVER_NAME else None
    return None


def _is_local(host: str) -> bool:
    """Whether a name or address leads to this host."""
    own = {address.address.partition("%")[0] for each in psutil.net_if_addrs().values() for address in each}
    with contextlib.suppress(OSError, UnicodeError):
        found = {info[4][0] for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
        return any(address in own or ipaddress.ip_address(address).is_loopback for address in map(str, found))
    return False


class Observer:
    """Watches a process and those below it between ``start`` and ``stop``."""

    def __init__(self, pid: int, proc: str = "/proc") -> None:
        self._pid, self._proc = pid, proc
        self._pids: list[int] = []
        self._cpu = 0.0
        self._peak = 0

    def start(self) -> None:
        self._pids = [self._pid, *descendants(self._pid, self._proc)]
        with contextlib.suppress(OSError):
            self._cpu, self._peak = self._read()

    def look(self) -> None:
        """Take note of the memory now."""
        try:
            self._peak = max(self._peak, self._read()[1])
        except OSError:  # a runner has ended, and there may be another one
            self._pids = [self._pid, *descendants(self._pid, self._proc)]

    def stop(self) -> Taken | None:
        """What was taken since ``start``; None where the server has ended."""
        self._pids = [self._pid, *descendants(self._pid, self._proc)]
        with contextlib.suppress(OSError):
            cpu, rss = self._read()
            return Taken(max(cpu - self._cpu, 0.0), max(self._peak, rss))
        return None

    def _read(self) -> tuple[float, int]:
        """CPU seconds and resident bytes of all of them together. Raises ``OSError`` when one has ended."""
        ticks = pages = 0
        for pid in self._pids:
            # The name comes first, in parentheses, and may hold anything; then the state, which is field 3.
            fields = Path(self._proc, str(pid), "stat").read_text(errors="replace").rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))  # its own, and those of its children that have ended
            pages += int(fields[21])
        return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE")
