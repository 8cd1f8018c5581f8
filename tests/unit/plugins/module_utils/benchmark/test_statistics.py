# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.sample import Failure, Sample
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.statistics import (
    Distribution,
    Level,
    Single,
    describe,
    distribution,
    percentile,
    summarise,
)
from hypothesis import given
from hypothesis import strategies as st


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


@given(TIMES)
def test_distribution_is_ordered(values: list[float]) -> None:
    summary = distribution(values)
    assert summary is not None
    assert min(values) - 1e-6 <= summary.p50 <= summary.p95 <= summary.p99 <= max(values) + 1e-6
    assert min(values) - 1e-6 <= summary.mean <= max(values) + 1e-6


def test_distribution_of_nothing_is_nothing() -> None:
    assert distribution([]) is None
    assert distribution([None, None]) is None


@pytest.mark.parametrize(
    ("sample", "latency", "ttft", "tpot"),
    [
        # 5 tokens: the first after 1 s, the other four in 2 s
        (Sample(10.0, 13.0, (11.0, 11.5, 12.0, 12.5, 13.0), 5), 3.0, 1.0, 0.5),
        # the server counted 9 tokens in those pieces
        (Sample(10.0, 13.0, (11.0, 11.5, 12.0, 12.5, 13.0), 9), 3.0, 1.0, 0.25),
        (Sample(10.0, 11.0, (10.5,), 1), 1.0, 0.5, None),
        (Sample(10.0, 11.0, (), 1), 1.0, None, None),
        (Sample(10.0, 11.0), 1.0, None, None),
    ],
)
def test_times_of_a_sample(sample: Sample, latency: float, ttft: float | None, tpot: float | None) -> None:
    assert (sample.latency, sample.ttft, sample.tpot) == (latency, ttft, tpot)


def test_level_of_a_mixed_load() -> None:
    """Worked out by hand: 4 requests within 8 s, two of them good with 3 tokens each."""
    samples = [
        Sample(100.0, 102.0, (101.0, 101.5, 102.0), 3),
        Sample(100.0, 104.0, (103.0, 103.5, 104.0), 3),
        Sample(102.0, 102.1, failure=Failure("http_429", "slow down")),
        Sample(104.0, 108.0, (105.0,), failure=Failure("broken_stream", "cut")),
    ]
    assert summarise(samples, concurrency=2) == Level(
        requests=4,
        concurrency=2,
        truncated=False,
        duration_s=8.0,
        requests_per_second=0.25,
        output_tokens=6,
        output_tokens_per_second=0.75,
        ttft_s=Distribution(mean=2.0, p50=1.0, p95=3.0, p99=3.0),
        tpot_s=Distribution(mean=0.5, p50=0.5, p95=0.5, p99=0.5),
        latency_s=Distribution(mean=3.0, p50=2.0, p95=4.0, p99=4.0),
        errors={"http_429": 1, "broken_stream": 1},
        error_examples={"http_429": "slow down", "broken_stream": "cut"},
        error_rate=0.5,
    )


def test_level_without_a_success_has_no_times() -> None:
    samples = [
        Sample(0.0, 1.0, failure=Failure("timeout", "first")),
        Sample(0.0, 1.0, failure=Failure("http_503", "busy")),
        Sample(1.0, 2.0, failure=Failure("timeout", "second")),
    ]
    level = summarise(samples, concurrency=1)
    assert (level.ttft_s, level.tpot_s, level.latency_s) == (None, None, None)
    assert (level.requests_per_second, level.output_tokens_per_second, level.error_rate) == (0.0, 0.0, 1.0)
    assert list(level.errors.items()) == [("timeout", 2), ("http_503", 1)], "the most frequent first"
    assert level.error_examples["timeout"] == "first"


def test_level_of_a_clock_that_did_not_move() -> None:
    assert summarise([Sample(1.0, 1.0)], concurrency=1).requests_per_second == 0.0


def test_description_of_a_single_request() -> None:
    assert describe(Sample(1.0, 2.5, (1.5, 2.0, 2.5), 3)) == Single(1.5, 0.5, 0.5, 3)
    assert describe(Sample(1.0, 2.5, (), 1)) == Single(1.5, None, None, 1)
