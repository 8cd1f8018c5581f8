# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One measurement: its steady part tells the true rate, whatever the number of slots."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.demand import Demand
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.measurement import Reading
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.rounds import answers_needed, miss, reading
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.prompts import Workload
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.sample import Failure, Sample
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.statistics import NO_SLO, Slo
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput

CUT = Failure("broken_stream", "the answer ended before it was complete")


def served(
    stop: int, concurrency: int, slots: int, seconds: float, spread: float, seed: int = 1
) -> tuple[list[Sample], list[Sample], float]:
    """A closed loop on a server that serves first come, first served: an answer takes about ``seconds``.

    The first tenth of an answer's time brings no token, then 20 come at equal distances. It is stopped when ``stop``
    answers are complete. Returns these, what had come of the others, and when that was.
    """
    draw = random.Random(seed)  # noqa: S311  # a simulation, not a secret
    free, clients = [0.0] * slots, [0.0] * concurrency
    samples = []
    for _ in range(stop + concurrency):
        due, slot = min(clients), min(free)
        begin, takes = max(due, slot), seconds * draw.uniform(1 - spread, 1 + spread)
        end = begin + takes
        free[free.index(slot)] = clients[clients.index(due)] = end
        tokens = tuple(begin + takes * (0.1 + 0.9 * number / 20) for number in range(1, 21))
        samples.append(Sample(due, end, tokens, 20))
    end = sorted(sample.end for sample in samples)[stop - 1]
    under_way = [sample for sample in samples if sample.due <= end < sample.end]
    cut = [
        replace(sample, end=end, arrivals=tuple(each for each in sample.arrivals if each <= end), failure=CUT)
        for sample in under_way
    ]
    return [sample for sample in samples if sample.end <= end], cut, end


def read(slots: int, slo: Slo = NO_SLO, spread: float = 0.0, seed: int = 1, seconds: float = 2.0) -> Reading:
    demand = Demand(Workload(1), 10, slo)
    return reading(*served(answers_needed(slots, demand), 10, slots, seconds, spread, seed), slo)


@pytest.mark.parametrize("slots", [1, 2, 3, 4, 6, 8, 10])
@pytest.mark.parametrize("spread", [0.0, 0.2])
def test_the_rate_does_not_depend_on_how_the_requests_fall(slots: int, spread: float) -> None:
    rates = [read(slots, spread=spread, seed=seed).throughput for seed in range(40)]
    # Answers that ended in that time would show up to a third more or less than the truth.
    assert sum(rates) / len(rates) == pytest.approx(slots / 2.0, rel=0.05)


def test_goodput_counts_those_that_meet_the_slo() -> None:
    assert read(2).goodput == pytest.approx(1.0)
    # With 10 clients and 2 slots every request takes 10 s, but those with which it began take less.
    assert read(2, Slo(latency_s=10.01)).goodput == pytest.approx(1.0, rel=0.02)
    none = read(2, Slo(latency_s=8.0))
    assert none.goodput == 0.0
    assert none.throughput == pytest.approx(1.0, rel=0.02)
    assert none.miss == pytest.approx(1.25)


def test_a_round_is_longer_where_an_slo_is_asked_for() -> None:
    assert [answers_needed(slots, Demand(Workload(1), 10, NO_SLO)) for slots in (1, 2, 8, 10)] == [7, 8, 16, 20]
    assert [answers_needed(slots, Demand(Workload(1), 10, Slo(1.0))) for slots in (1, 2, 8, 10)] == [16, 16, 18, 20]


def test_details_are_of_requests_in_the_steady_part() -> None:
    samples, given_up, end = served(16, 10, 2, 2.0, 0.0)
    failed = Sample(0.0, 1.0, failure=Failure("http_500", "no"))
    found = reading([*samples, failed], given_up, end, Slo(latency_s=10.0))
    assert found.details["requests"] == 17
    assert found.details["failed"] == 1
    assert found.details["slo_met"] == 1.0
    assert found.details["latency_p95_s"] == 10.0
    assert found.details["tpot_p50_s"] == pytest.approx(0.09)
    assert found.details["output_tokens_per_second"] == pytest.approx(20.0, rel=0.02)


def test_too_few_answers_for_a_rate() -> None:
    empty = reading([], [], 2.0, NO_SLO)
    assert (empty.goodput, empty.throughput, empty.details["ttft_p95_s"]) == (0.0, 0.0, None)
    [sample] = served(1, 1, 1, 2.0, 0.0)[0]
    assert reading([sample], [], sample.end, NO_SLO).throughput == 0.0


@pytest.mark.parametrize("after", [0.05, 0.1, 0.2, 0.8])
def test_a_round_that_is_cut_off_measures_all_of_its_time(after: float) -> None:
    """All slots answer in step: what comes after the first answer may be all at once, or nothing."""
    samples, given_up, _end = served(24, 10, 8, 9.0, 0.0)
    end = min(sample.end for sample in samples) + after
    done = [sample for sample in samples if sample.end <= end]
    cut = [
        replace(sample, end=end, arrivals=tuple(each for each in sample.arrivals if each <= end), failure=CUT)
        for sample in [*samples, *given_up]
        if sample.due <= end < sample.end
    ]
    assert reading(done, cut, end, NO_SLO, start=0.0).throughput == pytest.approx(8 / 9.0, rel=0.1)


def test_answers_without_pieces_count_at_their_end() -> None:
    whole = [Sample(0.0, float(second), (), 20) for second in (1, 2, 3, 4)]
    assert reading(whole, [Sample(4.0, 4.5, failure=CUT)], 5.0, NO_SLO).throughput == pytest.approx(3 / 4)


def test_a_miss_is_a_multiple_of_what_was_promised() -> None:
    sample = Sample(0.0, 4.0, (1.0, 2.0, 4.0), 3)
    assert miss(sample, NO_SLO) == 0.0
    assert miss(sample, Slo(ttft_s=0.5)) == 2.0
    assert miss(sample, Slo(ttft_s=2.0, tpot_s=0.5, latency_s=8.0)) == 3.0


def test_requests_of_a_demand() -> None:
    demand = Demand.of(2, {"seed": 5, "prompt_set": "chat", "max_tokens": 16}, {"ttft_s": 1.0})
    first, again, other = (next(demand.requests(number)) for number in (0, 0, 1))
    assert first == again
    assert first.prompt != other.prompt
    assert next(demand.requests(-1, 2)).max_tokens == 2
    assert demand.to_dict() == {
        "concurrency": 2,
        "prompt_set": "chat",
        "max_tokens": 16,
        "slo": {"ttft_s": 1.0, "tpot_s": None, "latency_s": None},
    }
    with pytest.raises(InvalidInput, match="concurrency is 0"):
        Demand(Workload(1), 1, NO_SLO).of(0, {"seed": 1}, {})
