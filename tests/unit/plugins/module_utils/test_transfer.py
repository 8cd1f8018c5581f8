# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a person reads while bytes come in."""

from __future__ import annotations

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.progress import Transfer, size_text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (253_000_000, "253.0 MB"),
        (1_840_000_000, "1.8 GB"),
        (5e12, "5000.0 GB"),
    ],
)
def test_sizes(count: float, text: str) -> None:
    assert size_text(count) == text


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
