# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median

import pytest
import simulation
from ansible_collections.llmops.ollama.plugins.module_utils import errors
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.load import Load
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.sample import Failure, Round, Sample, Taken
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.statistics import (
    GeneratorUse,
    Interval,
    Level,
    Ratio,
    ServerUse,
    Single,
    Slo,
    describe,
    distribution,
    percentile,
    percentile_interval,
    ratio_of_rates,
    ratio_of_rounds,
    ratio_of_sums,
    summarise,
)
from hypothesis import given
from hypothesis import strategies as st

# --- points ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([7.0], 50, 7.0),
        ([7.0], 99, 7.0),
        ([1.0, 2.0], 50, 1.0),
        ([1.0, 2.0], 95, 2.0),
        ([1.0, 2.0, 3.0], 50, 2.0),
        # the textbook example of the nearest-rank method
        ([15.0, 20.0, 35.0, 40.0, 50.0], 5, 15.0),
        ([15.0, 20.0, 35.0, 40.0, 50.0], 30, 20.0),
        ([15.0, 20.0, 35.0, 40.0, 50.0], 40, 20.0),
        ([15.0, 20.0, 35.0, 40.0, 50.0], 50, 35.0),
        ([15.0, 20.0, 35.0, 40.0, 50.0], 100, 50.0),
        ([float(n) for n in range(1, 21)], 95, 19.0),
        ([float(n) for n in range(1, 101)], 50, 50.0),
        ([float(n) for n in range(1, 101)], 95, 95.0),
        ([float(n) for n in range(1, 101)], 99, 99.0),
        ([float(n) for n in range(1, 102)], 99, 100.0),
    ],
)
def test_percentile(values: list[float], percent: int, expected: float) -> None:
    assert percentile(values, percent) == expected


TIMES = st.lists(st.floats(min_value=0, max_value=1e4), min_size=1, max_size=50)


@given(TIMES, st.integers(1, 100))
def test_percentile_is_the_smallest_value_that_covers_its_share(values: list[float], percent: int) -> None:
    ordered = sorted(values)
    found = percentile(ordered, percent)
    assert found in ordered
    assert 100 * sum(value <= found for value in ordered) >= percent * len(ordered)
    assert 100 * sum(value < found for value in ordered) < percent * len(ordered)


@given(st.lists(st.floats(min_value=0, max_value=1e4), min_size=1, max_size=200))
def test_distribution_is_ordered_and_inside_its_intervals(values: list[float]) -> None:
    summary = distribution(values)
    assert summary is not None
    points = [summary.p50, summary.p90, summary.p95, summary.p99]
    assert points == sorted(points)
    assert min(values) - 1e-6 <= points[0] <= points[-1] <= max(values) + 1e-6
    assert min(values) - 1e-6 <= summary.mean <= max(values) + 1e-6
    for name, (low, high) in summary.intervals.items():
        assert low is None or low <= getattr(summary, name) + 2e-6
        assert high is None or high >= getattr(summary, name) - 2e-6


def test_distribution_of_nothing_is_nothing() -> None:
    assert distribution([]) is None
    assert distribution([None, None]) is None


def test_values_that_depend_on_each_other_get_no_intervals() -> None:
    summary = distribution([1.0] * 100, independent=False)
    assert summary is not None
    assert summary.intervals == {}


@pytest.mark.parametrize(
    ("sample", "latency", "ttft", "tpot"),
    [
        # 5 tokens: the first after 1 s, the other four in 2 s
        (Sample(10.0, 13.0, (11.0, 11.5, 12.0, 12.5, 13.0), 5), 3.0, 1.0, 0.5),
        # the server counted 9 tokens in those pieces
        (Sample(10.0, 13.0, (11.0, 11.5, 12.0, 12.5, 13.0), 9), 3.0, 1.0, 0.25),
        # sent late: the wait counts
        (Sample(8.0, 13.0, (11.0, 11.5, 12.0, 12.5, 13.0), 5, sent=10.0), 5.0, 3.0, 0.5),
        (Sample(10.0, 11.0, (10.5,), 1), 1.0, 0.5, None),
        (Sample(10.0, 11.0, (), 1), 1.0, None, None),
        (Sample(10.0, 11.0), 1.0, None, None),
    ],
)
def test_times_of_a_sample(sample: Sample, latency: float, ttft: float | None, tpot: float | None) -> None:
    assert (sample.latency, sample.ttft, sample.tpot) == (latency, ttft, tpot)


# --- objectives -----------------------------------------------------------------------------------------------------

STREAMED = Sample(0.0, 3.0, (1.0, 2.0, 3.0), 3)


@pytest.mark.parametrize(
    ("slo", "sample", "missed"),
    [
        (Slo(1.0, 1.0, 3.0), STREAMED, []),
        (Slo(0.9, 0.9, 2.9), STREAMED, ["ttft_s", "tpot_s", "latency_s"]),
        (Slo(ttft_s=0.9), STREAMED, ["ttft_s"]),
        (Slo(), STREAMED, []),
        # no text, so no first token that was in time
        (Slo(ttft_s=100.0), Sample(0.0, 3.0, (), 3), ["ttft_s"]),
        (Slo(tpot_s=100.0), Sample(0.0, 3.0, (), 3), ["tpot_s"]),
        (Slo(latency_s=100.0), Sample(0.0, 3.0, (), 3), []),
        # one token: nothing to wait for after it
        (Slo(tpot_s=0.001), Sample(0.0, 3.0, (1.0,), 1), []),
    ],
)
def test_objectives_that_a_request_missed(slo: Slo, sample: Sample, missed: list[str]) -> None:
    assert slo.missed(sample) == missed


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan])
def test_an_objective_that_nothing_could_meet(value: float) -> None:
    with pytest.raises(errors.InvalidInput, match="slo has ttft_s"):
        Slo(ttft_s=value)


# --- levels ---------------------------------------------------------------------------------------------------------

LOAD = Load(2, requests=4)


def level_of(samples: Sequence[Sample], load: Load = LOAD, slo: Slo | None = None) -> Level:
    return summarise([Round(samples)], load, slo or Slo())


def test_level_of_a_mixed_load() -> None:
    """Worked out by hand: 4 requests within 8 s, two of them good with 3 tokens each."""
    samples = [
        Sample(100.0, 102.0, (101.0, 101.5, 102.0), 3, sent=100.25),
        Sample(100.0, 104.0, (103.0, 103.25, 104.0), 3),
        Sample(102.0, 102.5, failure=Failure("http_429", "slow down")),
        Sample(104.0, 108.0, failure=Failure("broken_stream", "cut")),
    ]
    rounds = [Round(samples, elapsed=8.0, cpu=0.4, longest_turn=0.002, server=Taken(12.0, 300 << 20))]
    level = summarise(rounds, LOAD, Slo(ttft_s=1.5, latency_s=4.0))
    assert (level.concurrency, level.rate, level.requests, level.truncated, level.duration_s) == (2, None, 4, False, 8)
    assert (level.requests_per_second, level.output_tokens, level.output_tokens_per_second) == (0.25, 6, 0.75)
    assert (level.goodput, level.slo_met, level.slo_missed) == (0.125, 0.25, {"ttft_s": 1})
    assert level.intervals == {
        "requests_per_second": (None, None),
        "output_tokens_per_second": (None, None),
        "goodput": (None, None),
    }
    assert level.ttft_s
    assert (level.ttft_s.mean, level.ttft_s.p50, level.ttft_s.p90, level.ttft_s.p99) == (2.0, 1.0, 3.0, 3.0)
    assert level.tpot_s
    assert (level.tpot_s.mean, level.tpot_s.p99) == (0.5, 0.5)
    assert level.itl_s
    assert (level.itl_s.mean, level.itl_s.p50, level.itl_s.p99) == (0.5, 0.5, 0.75)
    assert level.latency_s
    assert (level.latency_s.mean, level.latency_s.p50, level.latency_s.p95) == (3.0, 2.0, 4.0)
    assert (level.errors, level.error_rate) == ({"http_429": 1, "broken_stream": 1}, 0.5)
    assert level.error_examples == {"http_429": "slow down", "broken_stream": "cut"}
    assert level.generator == GeneratorUse(0.4, 0.05, 0.25, 0.25, 0.002)
    assert level.server == ServerUse(12.0, 1.5, 300)


def test_rounds_add_up_without_the_pauses_between_them() -> None:
    one = Round([Sample(0.0, 2.0, (1.0,), 1)], elapsed=2.0, cpu=0.1, server=Taken(1.0, 100 << 20))
    two = Round([Sample(50.0, 54.0, (51.0,), 1)], truncated=True, elapsed=4.0, cpu=0.2, server=Taken(5.0, 90 << 20))
    level = summarise([one, two], LOAD)
    assert (level.duration_s, level.requests_per_second, level.truncated) == (6.0, round(2 / 6, 6), True)
    assert level.server == ServerUse(6.0, 1.0, 100)
    assert level.generator.cpu_cores == 0.05


def test_level_without_a_success_has_no_times() -> None:
    samples = [
        Sample(0.0, 1.0, failure=Failure("timeout", "first")),
        Sample(0.0, 1.0, failure=Failure("http_503", "busy")),
        Sample(1.0, 2.0, failure=Failure("timeout", "second")),
    ]
    level = level_of(samples, slo=Slo(ttft_s=1.0))
    assert (level.ttft_s, level.tpot_s, level.itl_s, level.latency_s) == (None, None, None, None)
    assert (level.requests_per_second, level.output_tokens_per_second, level.error_rate) == (0.0, 0.0, 1.0)
    assert (level.goodput, level.slo_met) == (0.0, 0.0)
    assert list(level.errors.items()) == [("timeout", 2), ("http_503", 1)], "the most frequent first"
    assert level.error_examples["timeout"] == "first"


def test_level_of_nothing() -> None:
    level = level_of([])
    assert (level.requests, level.requests_per_second, level.error_rate, level.latency_s) == (0, 0.0, 0.0, None)


def test_level_of_a_clock_that_did_not_move() -> None:
    assert level_of([Sample(1.0, 1.0)] * 40).requests_per_second == 0.0


def test_description_of_a_single_request() -> None:
    assert describe(Sample(1.0, 2.5, (1.5, 2.0, 2.5), 3)) == Single(1.5, 0.5, 0.5, 3)
    assert describe(Sample(1.0, 2.5, (), 1)) == Single(1.5, None, None, 1)


@st.composite
def loads(draw: st.DrawFn) -> list[Sample]:
    """Up to 60 requests, some failed, some without text, that end at different times."""
    samples = []
    for number in range(draw(st.integers(1, 60))):
        due = draw(st.floats(0, 100))
        first, rest = draw(st.floats(0, 10)), draw(st.floats(0, 10))
        end = due + first + rest + number * 1e-3
        if draw(st.integers(0, 9)) == 0:
            samples.append(Sample(due, end, failure=Failure(draw(st.sampled_from(["timeout", "http_429"])), "x")))
        else:
            arrivals = () if draw(st.integers(0, 9)) == 0 else (due + first, due + first + rest)
            samples.append(Sample(due, end, arrivals, draw(st.integers(0, 40))))
    return [sample for sample in samples if [other.end for other in samples].count(sample.end) == 1]


SLOS = st.builds(Slo, *[st.none() | st.floats(0.01, 20)] * 3)


@given(loads(), SLOS, st.randoms(use_true_random=False))
def test_the_order_of_the_samples_does_not_matter(samples: list[Sample], slo: Slo, random: random.Random) -> None:
    shuffled = list(samples)
    random.shuffle(shuffled)
    assert level_of(shuffled, slo=slo) == level_of(samples, slo=slo)


@given(loads(), SLOS)
def test_goodput_is_a_part_of_the_rate(samples: list[Sample], slo: Slo) -> None:
    level = level_of(samples, slo=slo)
    assert (level.goodput is None) == (not slo)
    if level.goodput is not None:
        assert 0 <= level.goodput <= level.requests_per_second
        assert level.slo_met is not None
        assert level.slo_met <= 1 - level.error_rate + 1e-6


@given(loads(), SLOS, st.floats(1.0, 10.0))
def test_a_looser_objective_is_never_met_less_often(samples: list[Sample], slo: Slo, factor: float) -> None:
    limits = (slo.ttft_s, slo.tpot_s, slo.latency_s)
    looser = Slo(*(None if limit is None else limit * factor for limit in limits))
    strict, loose = level_of(samples, slo=slo).goodput, level_of(samples, slo=looser).goodput
    assert strict is None or loose is None or strict <= loose


@given(loads(), st.floats(0.01, 100))
def test_times_and_rates_scale_with_the_clock(samples: list[Sample], factor: float) -> None:
    slower = [
        replace(each, due=each.due * factor, end=each.end * factor, arrivals=tuple(at * factor for at in each.arrivals))
        for each in samples
    ]
    before, after = level_of(samples), level_of(slower)
    assert after.requests_per_second == pytest.approx(before.requests_per_second / factor, abs=1e-4, rel=1e-3)
    if before.latency_s and after.latency_s:
        assert after.latency_s.p95 == pytest.approx(before.latency_s.p95 * factor, abs=1e-4, rel=1e-3)


# --- intervals: what they promise, on data of which the truth is known ----------------------------------------------

WRONG = 0.05  # how often a bound may be wrong
TRIALS = 1000
CHANCE = 0.02  # three standard deviations of a share of 0.05 in so many trials


def wrong(intervals: Sequence[Interval], truth: float) -> tuple[float, float]:
    """How often the lower and the upper bounds are on the wrong side."""
    below = sum(low is not None and low > truth + 1e-6 for low, _ in intervals)
    above = sum(high is not None and high < truth - 1e-6 for _, high in intervals)
    return below / len(intervals), above / len(intervals)


@pytest.mark.parametrize(
    ("count", "percent", "low", "high"),
    [
        # 59 is the least for an upper bound of p95: 0.95 ** 59 < 0.05
        (58, 95, 52.0, None),
        (59, 95, 53.0, 59.0),
        (5, 50, 1.0, 5.0),  # 0.5 ** 5 < 0.05
        (4, 50, None, None),
        (100, 50, 42.0, 59.0),  # binomial(100, 1/2): P(B < 42) = 0.044, P(B < 59) = 0.956
    ],
)
def test_bounds_by_rank(count: int, percent: int, low: float | None, high: float | None) -> None:
    values = [float(number) for number in range(1, count + 1)]
    simulation.dice(5).shuffle(values)
    assert percentile_interval(values, percent) == (low, high)


@pytest.mark.parametrize("percent", [50, 95])
@pytest.mark.parametrize("shape", ["lognormal", "pareto", "two values"])
def test_bounds_of_a_percentile_hold_for_any_shape(shape: str, percent: int) -> None:
    draw = simulation.dice(1)
    shapes: dict[str, Callable[[], float]] = {
        "lognormal": lambda: draw.lognormvariate(0, 1),
        "pareto": lambda: draw.paretovariate(1.1),
        "two values": lambda: 1.0 if draw.random() < 0.7 else 9.0,
    }
    make = shapes[shape]
    truth = {
        "lognormal": {50: 1.0, 95: math.exp(1.6448536)},
        "pareto": {50: 2 ** (1 / 1.1), 95: 20 ** (1 / 1.1)},
        "two values": {50: 1.0, 95: 9.0},
    }[shape][percent]
    below, above = wrong([percentile_interval([make() for _ in range(100)], percent) for _ in range(TRIALS)], truth)
    assert below <= WRONG + CHANCE
    assert above <= WRONG + CHANCE


@pytest.mark.parametrize("slots", [1, 4])
@pytest.mark.parametrize("service", [simulation.even, simulation.varied, simulation.heavy_tailed])
def test_bounds_of_a_queue_allow_for_what_requests_have_in_common(service: simulation.Service, slots: int) -> None:
    """In a closed loop of ten, a slow answer makes nine others late. The truth is what such a run usually gives."""
    draw = simulation.dice(2)
    runs = [simulation.closed_loop(draw, 400, 10, slots, service) for _ in range(200)]
    latencies = [[sample.latency for sample in run] for run in runs]
    truth = median(percentile(sorted(each), 50) for each in latencies)
    below, above = wrong([percentile_interval(each, 50) for each in latencies], truth)
    assert max(below, above) <= WRONG + 0.05
    truth = median(percentile(sorted(each), 95) for each in latencies)
    _, above = wrong([percentile_interval(each, 95) for each in latencies], truth)
    assert above <= WRONG + 0.05


@pytest.mark.parametrize("slots", [1, 4, 10])
@pytest.mark.parametrize("service", [simulation.even, simulation.varied, simulation.heavy_tailed])
def test_bounds_of_a_rate_hold(service: simulation.Service, slots: int) -> None:
    draw = simulation.dice(3)
    levels = [level_of(simulation.closed_loop(draw, 100, 10, slots, service)) for _ in range(300)]
    truth = sum(level.requests_per_second for level in levels) / len(levels)
    below, above = wrong([level.intervals["requests_per_second"] for level in levels], truth)
    assert max(below, above) <= WRONG + 0.05


def test_bounds_of_a_rate_are_narrow_where_answers_end_together() -> None:
    """Four slots in step: cut between four answers that end at once, a batch would be a quarter too long or short."""
    draw = simulation.dice(4)
    levels = [level_of(simulation.closed_loop(draw, 100, 10, 4, simulation.even)) for _ in range(50)]
    widths = []
    for level in levels:
        low, high = level.intervals["requests_per_second"]
        assert low is not None
        assert high is not None
        widths.append((high - low) / level.requests_per_second)
    assert median(widths) < 0.06


def test_bounds_of_a_ratio_of_sums() -> None:
    draw = simulation.dice(6)
    intervals = []
    for _ in range(TRIALS):
        times = [draw.uniform(1, 3) for _ in range(10)]
        intervals.append(ratio_of_sums([2 * time + draw.gauss(0, 0.5) for time in times], times))
    below, above = wrong(intervals, 2.0)
    assert max(below, above) <= WRONG + CHANCE
    assert min(below, above) >= WRONG - CHANCE, "and no wider than needed"
    assert ratio_of_sums([1.0, 2.0], [1.0, 1.0]) == (None, None)
    assert ratio_of_sums([0.0] * 5, [0.0] * 5) == (None, None)
    assert ratio_of_sums([3.0] * 5, [2.0] * 5) == (1.5, 1.5)


# --- ratios ---------------------------------------------------------------------------------------------------------


def rounds_in_turns(draw: random.Random, rounds: int, gain: float) -> tuple[list[float], list[float]]:
    before = [simulation.noisy_rate(draw, 2.0) for _ in range(rounds)]
    return before, [simulation.noisy_rate(draw, 2.0 * gain) for _ in range(rounds)]


@pytest.mark.parametrize("gain", [1.0, 1.3])
@pytest.mark.parametrize("rounds", [5, 9, 15])
def test_bounds_of_a_ratio_hold_on_a_machine_that_stalls(gain: float, rounds: int) -> None:
    """With a gain of 1 this is an A/A test: a better or worse that is none is found in 5 % of the cases."""
    draw = simulation.dice(7)
    ratios = [ratio_of_rounds(*rounds_in_turns(draw, rounds, gain)) for _ in range(TRIALS)]
    below, above = wrong([(ratio.low, ratio.high) for ratio in ratios], gain)
    assert max(below, above) <= WRONG + CHANCE
    assert all(ratio.low is not None and ratio.high is not None for ratio in ratios)


def test_the_median_ratio_passes_an_a_a_test_that_a_mean_ratio_fails() -> None:
    draw = simulation.dice(8)
    medians, means = [], []
    for _ in range(TRIALS):
        before, after = rounds_in_turns(draw, 9, 1.0)
        ratio = ratio_of_rounds(before, after).ratio
        assert ratio is not None
        medians.append(abs(ratio - 1))
        logs = [math.log(top / bottom) for bottom, top in zip(before, after, strict=True)]
        means.append(abs(math.exp(sum(logs) / len(logs)) - 1))
    assert sum(error <= 0.1 for error in medians) / TRIALS >= 0.97
    assert sum(error <= 0.1 for error in means) / TRIALS <= 0.5


def test_one_spoiled_round_does_not_move_the_bounds() -> None:
    before, after = [2.0] * 8, [2.6, 2.5, 2.7, 2.6, 2.4, 2.6, 2.5, 2.6]
    fine = ratio_of_rounds(before, after)
    spoiled = ratio_of_rounds(before, [*after[:4], 0.2, *after[5:]])
    assert (fine.low, fine.ratio, fine.high, fine.rounds) == (1.25, 1.3, 1.3, 8)
    assert spoiled.low == 1.25


@given(st.lists(st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)), min_size=1, max_size=20))
def test_a_ratio_turned_around_is_its_inverse(pairs: list[tuple[float, float]]) -> None:
    before, after = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    one, other = ratio_of_rounds(before, after), ratio_of_rounds(after, before)
    if one.low and other.high:
        assert one.low * other.high == pytest.approx(1, rel=1e-2)
    assert (one.low is None) == (len(pairs) < 5)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([], [], Ratio(None, None, None, 0)),
        ([2.0], [3.0], Ratio(1.5, None, None, 1)),
        ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0], Ratio(None, None, None, 3)),
        ([0.0], [0.0], Ratio(1.0, None, None, 1)),
        ([1.0, 1.0, 0.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0, 2.0], Ratio(2.0, 2.0, None, 5)),
    ],
)
def test_ratios_of_nothing(before: list[float], after: list[float], expected: Ratio) -> None:
    assert ratio_of_rounds(before, after) == expected


@pytest.mark.parametrize("gain", [1.0, 1.5])
def test_bounds_of_a_gain_over_an_earlier_run_hold(gain: float) -> None:
    draw = simulation.dice(9)
    intervals = []
    for _ in range(300):
        before = level_of(simulation.closed_loop(draw, 100, 10, 4, simulation.varied))
        after = level_of(simulation.closed_loop(draw, 100, 10, 4, lambda draw: simulation.varied(draw) / gain))
        ratio = ratio_of_rates(
            before.requests_per_second,
            before.intervals["requests_per_second"],
            after.requests_per_second,
            after.intervals["requests_per_second"],
        )
        intervals.append((ratio.low, ratio.high))
    below, above = wrong(intervals, gain)
    assert max(below, above) <= WRONG + 0.03


def test_a_gain_without_bounds_is_only_an_estimate() -> None:
    assert ratio_of_rates(2.0, (None, None), 3.0, (2.9, 3.1)) == Ratio(1.5, None, None, 1)
    assert ratio_of_rates(2.0, (1.9, 2.1), 0.0, (0.0, 0.0)) == Ratio(0.0, None, None, 1)
