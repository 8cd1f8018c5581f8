# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import math

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.measurement import (
    USUAL_NOISE,
    Judge,
    Reading,
    Trial,
    typical,
)
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.setting import Setting


def trial(*goodputs: float, parallel: int = 1, failure: str = "") -> Trial:
    return Trial(Setting(parallel, 1), tuple(Reading(value) for value in goodputs), failure)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], 0.0),
        ([3.0], 3.0),
        ([3.0, 4.0], 3.5),
        ([3.0, 4.0, 0.1], 3.0),
        ([3.0, 4.0, 0.1, 5.0], 3.5),
        ([3.0, 4.0, 0.1, 5.0, 100.0], 4.0),
    ],
)
def test_one_stall_does_not_count(values: list[float], expected: float) -> None:
    assert typical(values) == pytest.approx(expected)


def test_noise_is_what_was_seen_and_what_is_usual() -> None:
    quiet = Judge([trial(*[2.0] * 30)])
    loud = Judge([trial(*[1.8, 2.2] * 15)])
    assert Judge([]).noise == pytest.approx(USUAL_NOISE)
    assert quiet.noise < 0.025
    assert 0.08 < loud.noise < 0.11
    # A reading that is far off counts as three times the usual.
    assert Judge([trial(2.0, 2.0, 2.0, 2.0, 0.001)]).noise < 0.09


def test_intervals_narrow_with_more_readings() -> None:
    few, many = trial(2.0, 2.0), trial(*[2.0] * 8)
    judge = Judge([few, many])
    (low, high), (lower, higher) = judge.interval(few), judge.interval(many)
    assert low < lower < 2.0 < higher < high
    assert high == pytest.approx(2.0 * math.exp(1.96 * judge.noise / math.sqrt(2)))


def test_behind_is_in_standard_errors() -> None:
    best, other = trial(2.0, 2.0), trial(1.9, parallel=2)
    judge = Judge([best, other])
    expected = math.log(2.0 / 1.9) / (judge.noise * math.sqrt(1 / 2 + 1))
    assert judge.behind(other, best) == pytest.approx(expected)
    assert judge.behind(best, best) == 0.0
    assert judge.behind(trial(0.0), best) == math.inf
    assert judge.behind(trial(2.0, failure="It fails."), best) == math.inf


def test_without_goodput_it_counts_how_nearly_the_slo_is_met() -> None:
    near, far = Trial(Setting(1, 1), (Reading(0.0, 5.0, 1.25),)), Trial(Setting(2, 1), (Reading(0.0, 9.0, 4.0),))
    assert [Judge([near, far]).value(each) for each in (near, far)] == [0.8, 0.25]
    meets = Trial(Setting(4, 1), (Reading(0.1, 0.1, 0.9),))
    assert [Judge([near, meets]).value(each) for each in (near, meets)] == [0.0, 0.1]
