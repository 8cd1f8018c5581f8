# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a running nginx still does for a server after it was told to use it no more."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterable
from typing import Callable

with contextlib.suppress(ImportError):  # entry.run() reports the missing library to the user
    import psutil

from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput, Unhealthy

WORKER = "nginx: worker process"
LEAVING = f"{WORKER} is shutting down"
PAUSE = 0.1  # seconds; nothing on the host announces that a connection has ended
SWITCH_SECONDS = 30.0


def workers(master: int) -> set[int]:
    """The processes of this nginx (its main process) that take new requests; others of the machine are not its own."""
    return {process.pid for process in _children(master) if WORKER in _title(process) != LEAVING}


def switched(master: int, old: Iterable[int]) -> bool:
    """Whether none of these workers takes new requests any more."""
    return not set(old) & workers(master)


def addresses(address: str) -> set[tuple[str, int]]:
    """IP addresses and port of ``host:port``. Raises ``InvalidInput``."""
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{address} does not resolve ({error}).", "Check the server's address.") from error
    return {(str(entry[4][0]), int(entry[4][1])) for entry in found}


def in_flight(master: int, server: set[tuple[str, int]]) -> int:
    """How many connections this nginx has with a server."""
    count = 0
    for process in _children(master):
        if WORKER not in _title(process):
            continue
        with contextlib.suppress(psutil.Error):
            # The method's name before psutil 6.
            connections = process.net_connections if hasattr(process, "net_connections") else process.connections
            count += sum(bool(each.raddr) and tuple(each.raddr) in server for each in connections(kind="tcp"))
    return count


def wait(
    count: Callable[[], int],
    seconds: float,
    what: Callable[[int], str],
    report: Callable[[str], None] = lambda text: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return when ``count`` is 0. Raises ``Unhealthy`` with ``what(count)`` when it is not within these seconds."""
    deadline = clock() + seconds
    while True:
        left = count()
        if not left:
            return
        if clock() >= deadline:
            raise Unhealthy(f"{what(left)} after {seconds:g} s.", "Allow more time, then run again.")
        report(what(left))
        sleep(PAUSE)


def _children(master: int) -> list[psutil.Process]:
    try:
        return psutil.Process(master).children() if master else []
    except psutil.Error:  # it has just ended
        return []


def _title(process: psutil.Process) -> str:
    """A process's command line; nginx writes its state there."""
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.Error:  # it has just ended
        return ""
