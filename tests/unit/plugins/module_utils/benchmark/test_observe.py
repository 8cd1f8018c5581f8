# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark import observe
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.observe import Observer, find_server
from fake_http import FakeServer

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class Proc:
    """A /proc with processes that a test makes up."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def put(self, pid: int, parent: int, ticks: tuple[int, int, int, int], pages: int) -> None:
        place = self.path / str(pid)
        place.mkdir(exist_ok=True)
        rest = ["S", parent, *[0] * 9, *ticks, *[0] * 6, pages, 0]
        (place / "stat").write_text(f"{pid} (a) name) {' '.join(map(str, rest))}\n")

    def remove(self, pid: int) -> None:
        (self.path / str(pid) / "stat").unlink()
        (self.path / str(pid)).rmdir()


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


def test_stat_is_read_as_the_kernel_writes_it() -> None:
    """Against psutil, on this process: CPU time of itself and its children, and resident size."""
    subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)
    observer = Observer(os.getpid())
    observer.start()
    times = psutil.Process().cpu_times()
    assert observer._cpu == pytest.approx(
        times.user + times.system + times.children_user + times.children_system, abs=0.1
    )
    assert observer._peak == pytest.approx(psutil.Process().memory_info().rss, rel=0.1)


def test_a_server_with_its_runners(proc: Proc) -> None:
    proc.put(10, 1, (100, 0, 0, 0), 1000)
    proc.put(11, 10, (500, 100, 0, 0), 5000)
    proc.put(99, 1, (9999, 0, 0, 0), 9999)  # another program
    observer = Observer(10, str(proc.path))
    observer.start()
    proc.put(10, 1, (150, 10, 0, 0), 1000)
    proc.put(11, 10, (1500, 200, 0, 0), 9000)
    observer.look()
    proc.put(11, 10, (1500, 200, 0, 0), 4000)
    taken = observer.stop()
    assert taken
    assert taken.cpu == pytest.approx((60 + 1100) / TICK)
    assert taken.rss_peak == 10_000 * PAGE


def test_the_time_of_a_runner_that_has_ended_is_its_parents(proc: Proc) -> None:
    proc.put(10, 1, (100, 0, 0, 0), 1000)
    proc.put(11, 10, (500, 0, 0, 0), 5000)
    observer = Observer(10, str(proc.path))
    observer.start()
    proc.remove(11)
    proc.put(10, 1, (100, 0, 700, 0), 1000)  # it has waited for the one that ended, after 200 ticks more
    observer.look()
    proc.put(12, 10, (300, 0, 0, 0), 8000)
    taken = observer.stop()
    assert taken
    assert taken.cpu == pytest.approx((200 + 300) / TICK)
    assert taken.rss_peak == 9000 * PAGE


def test_a_server_that_has_ended_is_not_known(proc: Proc) -> None:
    proc.put(10, 1, (100, 0, 0, 0), 1000)
    observer = Observer(10, str(proc.path))
    observer.start()
    proc.remove(10)
    observer.look()
    assert observer.stop() is None


@pytest.fixture
def listening() -> Iterator[FakeServer]:
    with FakeServer() as fake:
        yield fake


def test_the_process_behind_an_address(listening: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_server(listening.url) is None, "this process is not Ollama"
    monkeypatch.setattr(observe, "SERVER_NAME", psutil.Process().name())
    assert find_server(listening.url) == os.getpid()
    assert find_server(listening.url.replace("127.0.0.1", "localhost")) == os.getpid()


@pytest.mark.parametrize("url", ["http://192.0.2.1:11434", "http://name.invalid:11434", "http://127.0.0.1:1"])
def test_addresses_that_are_not_served_here(url: str) -> None:
    assert find_server(url) is None


def test_without_psutil_nothing_is_known(listening: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe, "SERVER_NAME", psutil.Process().name())
    monkeypatch.delattr(observe, "psutil")
    assert find_server(listening.url) is None
