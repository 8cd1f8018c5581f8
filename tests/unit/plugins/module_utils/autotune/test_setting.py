# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.setting import (
    Setting,
    Space,
    parallel_values,
    thread_values,
    values,
)
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput


def test_sizes_follow_memory() -> None:
    ordered = [
        Setting(1, 8),
        Setting(2, 1, "q8_0"),
        Setting(2, 1),
        Setting(2, 2),
        Setting(2, 1, batch=512),
        Setting(4, 8, "q8_0"),
        Setting(4, 1),
    ]
    assert sorted(ordered, key=lambda setting: setting.size) == ordered


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (1, (1,)),
        (2, (1, 2)),
        (5, (1, 2, 3, 4, 5)),
        (10, (1, 2, 3, 4, 6, 8, 10)),
        (64, (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)),
    ],
)
def test_values_of_parallel(most: int, expected: tuple[int, ...]) -> None:
    assert parallel_values(most) == expected


@pytest.mark.parametrize(
    ("computed", "cores", "expected"),
    [
        (1, 1, (1,)),
        (1, 2, (1, 2)),  # a quota of one CPU on two cores
        (4, 4, (1, 2, 3, 4)),
        (8, 16, (2, 3, 4, 6, 8, 11, 16)),
        (57, 64, (14, 20, 28, 40, 57, 64)),  # a quota of 57 CPUs, where 32 to 40 threads were best
    ],
)
def test_values_of_threads(computed: int, cores: int, expected: tuple[int, ...]) -> None:
    assert thread_values(computed, cores) == expected


@pytest.mark.parametrize(
    ("most", "current", "expected"),
    [
        (8, 1, [2, 4, 8]),
        (10, 1, [2, 4, 8, 10]),
        (16, 6, [2, 12, 16]),  # from the current setting on
        (1, 1, []),
        (2, 2, [2]),
    ],
)
def test_the_way_up(most: int, current: int, expected: list[int]) -> None:
    space = Space(parallel_values(most), (1,))
    assert [each.parallel for each in space.doublings(Setting(current, 1))] == expected


def test_the_way_up_stays_within_a_users_list() -> None:
    assert [each.parallel for each in Space((2, 4, 5), (1,)).doublings(Setting(1, 1))] == [2, 4, 5]


def test_a_users_values_are_checked() -> None:
    assert values("parallel", [4, 2, 4], 8) == (2, 4)
    with pytest.raises(InvalidInput, match=r"space: threads has 9\. Give whole numbers from 1 to 8\."):
        values("threads", [1, 9], 8)
