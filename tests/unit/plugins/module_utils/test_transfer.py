# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a person reads while bytes come in."""

from __future__ import annotations

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.progress import WINDOW, Board, Transfer


@pytest.mark.parametrize(
    ("total", "first", "done", "text"),
    [
        (1000, 0, 250, "engine: 25 % of 1.0 kB, 25 B/s, 30 s left"),
        (1000, 500, 600, "engine: 60 % of 1.0 kB, 10 B/s, 40 s left"),  # resumed: the speed is of what came since
        (1000, 0, 0, "engine: 0 % of 1.0 kB, 0 B/s"),
        (0, 0, 250, "engine: 250 B, 25 B/s"),
    ],
)
def test_transfer_after_ten_seconds(total: int, first: int, done: int, text: str) -> None:
    times = iter([100.0, 110.0])
    assert Transfer("engine", total, first, clock=lambda: next(times)).text(done) == text


def test_a_speed_is_of_the_last_seconds() -> None:
    now = 0.0
    transfer = Transfer("m", 10**9, clock=lambda: now)
    done = 0
    for _ in range(60):  # 1 MB a second for a minute
        now += 1.0
        done += 10**6
        transfer.text(done)
    for _ in range(int(WINDOW) + 1):  # then ten times as much
        now += 1.0
        done += 10**7
        line = transfer.text(done)
    assert "10.0 MB/s" in line
    now += 5.0
    assert "MB/s" in transfer.text(done)
    now += WINDOW
    assert transfer.text(done).endswith("0 B/s")  # nothing comes any more, and nobody can tell for how long


def test_one_line_tells_of_several_models() -> None:
    said: list[str] = []
    now = 100.0
    board = Board(said.append, [1000, 0, 3000], clock=lambda: now)
    board.begin("a:1")
    board.say("pulling manifest")
    board.moved(0)
    now += 1.0
    board.moved(500)
    board.begin("b:1")
    board.say("using existing layer")
    board.begin("c:1")
    board.moved(0)
    now += 2.0
    board.moved(1000)
    board.resume("uploading")
    board.moved(1500)
    assert said == [
        "1/3 a:1: pulling manifest",
        "1/3 a:1: 0 % of 1.0 kB, 0 B/s; all: 0 % of 4.0 kB, 0 B/s",
        "1/3 a:1: 50 % of 1.0 kB, 500 B/s, 1 s left; all: 12 % of 4.0 kB, 500 B/s, 7 s left",
        "2/3 b:1: using existing layer",
        "3/3 c:1: 0 % of 3.0 kB, 0 B/s; all: 25 % of 4.0 kB, 1.0 kB/s, 3 s left",
        "3/3 c:1: 33 % of 3.0 kB, 500 B/s, 4 s left; all: 50 % of 4.0 kB, 667 B/s, 3 s left",
        "3/3 c:1, uploading: 50 % of 3.0 kB, 0 B/s; all: 62 % of 4.0 kB, 0 B/s",
    ]


def test_one_model_alone_is_not_counted() -> None:
    said: list[str] = []
    board = Board(said.append, [1000], clock=lambda: 0.0)
    board.begin("a:1")
    board.moved(10)
    assert said == ["a:1: 1 % of 1.0 kB, 0 B/s"]
