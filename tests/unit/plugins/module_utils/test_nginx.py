# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os
import socket
import subprocess

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils import nginx
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput, Unhealthy


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_waiting_ends_when_nothing_is_left() -> None:
    told: list[str] = []
    left, clock = [3, 2, 0], Clock()
    nginx.wait(lambda: left.pop(0), 10, lambda count: f"{count} requests", told.append, clock, clock.sleep)
    assert told == ["3 requests", "2 requests"]
    assert left == []


def test_waiting_is_bounded() -> None:
    clock = Clock()
    with pytest.raises(Unhealthy, match="1 requests are under way after 5 s"):
        nginx.wait(lambda: 1, 5, lambda count: f"{count} requests are under way", clock=clock, sleep=clock.sleep)
    assert clock.now == pytest.approx(5, abs=nginx.PAUSE * 2)


def test_addresses() -> None:
    assert nginx.addresses("127.0.0.1:11434") == {("127.0.0.1", 11434)}
    assert nginx.addresses("[::1]:80") == {("::1", 80)}
    with pytest.raises(InvalidInput, match=r"nosuch\.invalid:80 does not resolve"):
        nginx.addresses("nosuch.invalid:80")


def test_only_the_workers_of_this_nginx_count() -> None:
    with (
        subprocess.Popen(["nginx: worker process", "30"], executable="/bin/sleep") as worker,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        try:
            assert nginx.workers(os.getpid()) == {worker.pid}
            assert not nginx.switched(os.getpid(), {worker.pid})
            assert nginx.in_flight(os.getpid(), {server.getsockname()}) == 0
            # Another one on the same machine, or none.
            for master in (os.getppid(), 0):
                assert nginx.workers(master) == set()
                assert nginx.switched(master, {worker.pid})
                assert nginx.in_flight(master, {server.getsockname()}) == 0
        finally:
            worker.kill()
