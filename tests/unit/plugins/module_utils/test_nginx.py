# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

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


def test_this_machine_has_workers_or_none() -> None:
    assert nginx.switched({0}) is True
    assert nginx.in_flight({("192.0.2.1", 1)}) == 0
