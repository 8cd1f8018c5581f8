# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The search on synthetic servers; ``tests/benchmarks/search.py`` runs many more of them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.measurement import Failed, Reading
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.search import Found, Limits, Progress, search
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.setting import Setting, Space
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from hypothesis import given
from hypothesis import strategies as st
from surfaces import SHAPES, Meter, Surface, surface

SPACE = Space((1, 2, 3, 4, 6, 8), (1, 2))
CURRENT = Setting(1, 2)
# Requests per second that were measured on two cores, by parallel.
SEEN = {1: 2.05, 2: 1.8, 3: 2.3, 4: 2.7, 6: 3.0, 8: 3.2}


def seen(at: Setting) -> float:
    return SEEN[at.parallel] * (1.0 if at.threads == 2 else 0.7)


def find(rate: Callable[[Setting], float], space: Space = SPACE, current: Setting = CURRENT, **limits: float) -> Found:
    return search(space, current, Meter(Surface("", space, current, rate), seed=1, noise=0.0), Limits(**limits))  # type: ignore[arg-type]


def tried(found: Found) -> list[Setting]:
    return [trial.setting for trial in found.trials]


def test_the_guides_way_is_kept_as_evidence() -> None:
    found = find(seen)
    assert tried(found)[:3] == [CURRENT, Setting(2, 2), Setting(4, 2)]  # the dip at 2 does not end the way up
    assert found.adopted == found.best == Setting(8, 2)
    assert found.gain is not None
    assert found.gain.median == pytest.approx(3.2 / 2.05 - 1, abs=0.001)
    assert found.verdict == "The gain is +56.1% (+56.1% to +56.1%, 5 rounds), for certain above 5%."
    assert [pair[0].goodput for pair in found.rounds] == [3.2] * 5


def test_the_way_up_ends_where_it_brings_no_more() -> None:
    found = find(lambda at: 3.0 if at.parallel <= 2 else 3.0 / at.parallel)
    assert Setting(4, 2) in tried(found)
    assert found.adopted == CURRENT


def test_equals_go_to_the_smaller_setting() -> None:
    found = find(lambda at: 1.0 if at.parallel == 1 else 2.0)
    assert found.adopted == Setting(2, 2)


def test_a_small_gain_changes_nothing() -> None:
    found = find(lambda at: 1.04 if at.parallel == 4 else 1.0)
    assert found.best == Setting(4, 2) or found.best == Setting(4, 1)
    assert found.adopted == CURRENT
    assert not found.changed
    assert "not for certain above 5%" in found.verdict or "no gain above 5%" in found.verdict


def test_what_is_worth_a_change_can_be_set() -> None:
    assert find(lambda at: 1.04 if at.parallel == 4 else 1.0, min_gain=0.02).adopted.parallel == 4


def test_nothing_better_says_so() -> None:
    found = find(lambda at: 1 / (at.parallel * at.threads), current=Setting(1, 1))
    assert (found.adopted, found.gain) == (Setting(1, 1), None)
    assert found.verdict == f"None of the other {len(found.trials) - 1} settings was better than the current one."


def test_a_setting_that_fails_is_left_alone_with_what_needs_more() -> None:
    found = find(lambda at: 0.0 if at.parallel >= 6 else float(at.parallel))
    failed = [trial for trial in found.trials if trial.failure]
    assert [trial.failure for trial in failed] == [f"{trial.setting} does not fit into memory." for trial in failed]
    assert len(failed) == len({trial.setting.parallel for trial in failed}) > 0
    assert found.adopted.parallel == 4


def test_a_current_setting_that_fails_is_left_for_any_that_works() -> None:
    found = find(lambda at: 1.0 if at.parallel <= 2 else 0.0, current=Setting(8, 2))
    assert found.adopted.parallel <= 2
    assert found.verdict.startswith("The current setting cannot be used: parallel 8")


def test_when_nothing_works_the_current_setting_stays() -> None:
    found = find(lambda at: 0.0)
    assert (found.adopted, found.best) == (CURRENT, CURRENT)


def test_a_setting_that_fails_while_it_is_confirmed_is_not_adopted() -> None:
    phases: list[str] = []

    def measure(setting: Setting, repeat: int) -> Reading | Failed:
        if setting == Setting(8, 2) and phases[-1] == "confirming, round 2":
            return Failed("It was ended for want of memory.")
        return Reading(seen(setting))

    found = search(SPACE, CURRENT, measure, watch=lambda progress: phases.append(progress.phase))
    assert found.best == Setting(8, 2)
    assert found.adopted == CURRENT
    assert "failed: It was ended for want of memory." in found.verdict


def test_a_round_of_the_confirmation_has_the_same_requests_for_both() -> None:
    numbers: dict[Setting, list[int]] = {}

    def measure(setting: Setting, number: int) -> Reading:
        numbers.setdefault(setting, []).append(number)
        return Reading(seen(setting))

    found = search(SPACE, CURRENT, measure)
    confirmed = {setting: [number for number in each if number >= 1000] for setting, each in numbers.items()}
    assert confirmed[found.best] == confirmed[CURRENT] == [1000, 1001, 1002, 1003, 1004]
    assert all(len(set(each)) == len(each) for each in numbers.values())  # never the same again


def test_an_slo_that_no_setting_meets_is_approached() -> None:
    def measure(setting: Setting, repeat: int) -> Reading:
        return Reading(0.0, throughput=9.0 / setting.parallel, miss=10 / seen(setting))

    found = search(SPACE, CURRENT, measure)
    assert found.adopted == Setting(8, 2)
    assert not found.judge.met
    assert found.judge.value(found.trials[0]) == pytest.approx(0.205)


def test_meeting_the_slo_counts_more_than_coming_near() -> None:
    def measure(setting: Setting, repeat: int) -> Reading:
        meets = setting == Setting(4, 2)
        return Reading(0.1 if meets else 0.0, miss=0.9 if meets else 1.01)

    assert search(SPACE, CURRENT, measure).adopted == Setting(4, 2)


def test_other_types_of_the_cache_and_batches_are_tried() -> None:
    space = replace(SPACE, kv_types=("f16", "q8_0"), batches=(None, 1024), fits={"f16": 4, "q8_0": 8})
    found = find(lambda at: seen(at) * (1.3 if at.kv_type == "q8_0" else 1) * (1.2 if at.batch else 1), space)
    assert found.adopted == Setting(8, 2, "q8_0", 1024) or found.adopted.kv_type == "q8_0"
    assert all(at.parallel <= 4 for at in tried(found) if at.kv_type == "f16")


def test_memory_bounds_what_is_tried() -> None:
    found = find(seen, replace(SPACE, fits={"f16": 3}))
    assert {at.parallel for at in tried(found)} <= {1, 2, 3}


def test_time_ends_the_search_and_leaves_enough_to_confirm() -> None:
    found = find(seen, seconds=6.0 * 15)
    assert found.timed_out
    assert found.seconds <= 6.0 * 15
    assert found.adopted == Setting(4, 2)


def test_without_time_to_confirm_nothing_is_adopted() -> None:
    found = find(seen, seconds=20.0)
    assert found.timed_out
    assert found.adopted == CURRENT


def test_no_time_for_another_setting_is_not_taken_for_nothing_else_to_try() -> None:
    found = find(seen, seconds=20.0)
    assert found.verdict.startswith("There was no time to try another setting and to confirm it: the current one")
    alone = find(seen, Space((1,), (2,)), seconds=20.0)
    assert (alone.verdict, alone.timed_out) == ("There was nothing else that may be tried.", False)


def test_a_watcher_sees_what_is_measured_and_what_is_best() -> None:
    lines: list[Progress] = []
    search(SPACE, CURRENT, lambda setting, repeat: Reading(seen(setting), seconds=2.0), watch=lines.append)
    assert lines[0] == Progress("current setting", CURRENT, 1, None, 0.0, 0.0)
    assert lines[2].setting == Setting(2, 2)
    assert (lines[2].best, lines[2].best_value, lines[2].spent) == (CURRENT, 2.05, 4.0)
    assert lines[-1].phase == "confirming, round 5"


def test_an_empty_space_is_refused() -> None:
    with pytest.raises(InvalidInput, match="threads has no value"):
        search(Space((1,), ()), CURRENT, lambda setting, repeat: Reading(1.0))


def test_regret_and_number_of_settings_on_many_surfaces() -> None:
    regrets = []
    for seed in range(20_000, 20_160):
        synthetic = surface(seed)
        found = search(synthetic.space, synthetic.current, Meter(synthetic, seed))
        assert len(found.trials) <= 8
        regrets.append(synthetic.regret(found.best))
    assert sum(regret <= 0.02 for regret in regrets) >= 0.95 * len(regrets)


@pytest.mark.parametrize("stalls", [0.0, 0.1])
def test_equal_settings_are_rarely_changed(stalls: float) -> None:
    changed = 0
    for seed in range(100):
        synthetic = SHAPES[2](random.Random(seed))  # noqa: S311  # a surface, not a secret
        changed += search(synthetic.space, synthetic.current, Meter(synthetic, seed, stalls=stalls)).changed
    assert changed <= 5


@given(st.integers(0, 2**32), st.floats(0, 0.3), st.floats(0, 0.2), st.floats(30, 1000))
def test_what_holds_for_any_server(seed: int, noise: float, stalls: float, seconds: float) -> None:
    synthetic = surface(seed)
    meter = Meter(synthetic, seed, noise, stalls)
    found = search(synthetic.space, synthetic.current, meter, Limits(seconds))
    assert found.trials[0].setting == synthetic.current
    assert len(found.trials) == len(set(tried(found))) <= 8
    assert set(meter.log) == set(tried(found))
    assert found.seconds <= max(seconds, 6.0 * 2)
    assert found.adopted in (found.best, synthetic.current)
    assert all(synthetic.space.admits(setting) for setting in tried(found)[1:])
    if found.changed and found.gain:
        assert found.gain.lower > 0.05
    # The same measurements lead to the same outcome.
    assert search(synthetic.space, synthetic.current, Meter(synthetic, seed, noise, stalls), Limits(seconds)) == found
