# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import math

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.setting import Setting
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.surrogate import (
    FLOOR,
    Known,
    expected_improvement,
)
from hypothesis import assume, given
from hypothesis import strategies as st


def known(*values: tuple[int, int, float]) -> list[Known]:
    """From parallel, threads and requests per second."""
    return [Known(Setting(parallel, threads), math.log(rate), 0.03) for parallel, threads, rate in values]


def best(of: list[Known], *candidates: tuple[int, int]) -> tuple[int, int]:
    settings = [Setting(*each) for each in candidates]
    promised = expected_improvement(of, settings)
    chosen = settings[promised.index(max(promised))]
    return chosen.parallel, chosen.threads


def test_the_peak_lies_between_two_good_ones() -> None:
    assert best(known((1, 2, 1.0), (2, 2, 2.0), (4, 2, 3.0), (8, 2, 2.9), (16, 2, 1.5)), (3, 2), (6, 2), (12, 2)) == (
        6,
        2,
    )


def test_an_effect_of_threads_is_expected_at_other_numbers_of_slots() -> None:
    seen = known((1, 1, 1.0), (2, 1, 1.5), (4, 1, 2.0), (2, 2, 2.4))
    assert best(seen, (4, 2), (3, 1), (1, 2)) == (4, 2)


def test_what_waits_for_threads_tells_little_of_slots() -> None:
    cliff = known((1, 57, 0.1), (2, 57, 0.1), (4, 57, 0.1), (4, 40, 12.0))
    [more, fewer] = expected_improvement(cliff, [Setting(8, 40), Setting(2, 40)])
    assert more > fewer > 0


def test_little_is_promised_by_what_is_known() -> None:
    seen = known((2, 2, 2.0), (4, 2, 3.0), (8, 2, 2.9))
    [again, new] = expected_improvement(seen, [Setting(2, 2), Setting(6, 2)])
    assert again < 0.001 < new


def test_another_type_of_the_cache_promises_something() -> None:
    [promised] = expected_improvement(known((2, 2, 2.0), (4, 2, 3.0)), [Setting(4, 2, "q8_0")])
    assert promised > 0.01


@given(
    st.lists(
        st.tuples(st.integers(1, 64), st.integers(1, 64), st.floats(-5, 5), st.floats(0.001, 0.5)),
        min_size=1,
        max_size=8,
        unique_by=lambda each: each[:2],
    ),
    st.floats(-3, 3),
)
def test_what_holds_for_any_measurements(values: list[tuple[int, int, float, float]], shift: float) -> None:
    settings = [Setting(parallel, threads) for parallel in (1, 3, 8, 64) for threads in (1, 5, 64)]
    seen = [Known(Setting(parallel, threads), value, error) for parallel, threads, value, error in values]
    best = max(each.value for each in seen)
    assume(all(abs(best - each.value - FLOOR) > 1e-6 for each in seen))  # where rounding decides which side it is on
    promised = expected_improvement(seen, settings)
    assert all(0 <= each < 10 for each in promised)
    # A server that is faster in everything promises the same factors.
    shifted = [Known(each.setting, each.value + shift, each.error) for each in seen]
    assert expected_improvement(shifted, settings) == pytest.approx(promised, rel=1e-6, abs=1e-6)
