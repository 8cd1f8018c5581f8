# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One measurement: its steady part tells the true rate, whatever the number of slots."""

from __future__ import annotations

import random

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.demand import Demand
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.rounds import miss, reading
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.prompts import Workload
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.sample import Failure, Sample
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.statistics import NO_SLO, Slo
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput


def served(count: int, concurrency: int, slots: int, seconds: float, spread: float, seed: int = 1) -> list[Sample]:
    """A closed loop on a server with slots that serves first come, first served: an answer takes about ``seconds``.

    The first tenth of an answer's time brings no token, then 20 come at equal distances.
    """
    draw = random.Random(seed)  # noqa: S311  # a simulation, not a secret
    free, clients = [0.0] * slots, [0.0] * concurrency
    samples = []
    for _ in range(count):
        due, slot = min(clients), min(free)
        begin, takes = max(due, slot), seconds * draw.uniform(1 - spread, 1 + spread)
        end = begin + takes
        free[free.index(slot)] = clients[clients.index(due)] = end
        tokens = tuple(begin + takes * (0.1 + 0.9 * number / 20) for number in range(1, 21))
        samples.append(Sample(due, end, tokens, 20))
    return samples


@pytest.mark.parametrize("slots", [1, 2, 3, 4, 6, 8, 10])
@pytest.mark.parametrize("spread", [0.0, 0.2])
def test_the_rate_does_not_depend_on_how_the_requests_fall(slots: int, spread: float) -> None:
    rates = []
    for seed in range(20):
        samples = served(20, 10, slots, 2.0, spread, seed)
        rates.append(reading(samples, slots, NO_SLO, max(sample.end for sample in samples)).throughput)
    # The whole of 20 requests with 8 slots would take three waves, and show 17 % less than the truth.
    assert sum(rates) / len(rates) == pytest.approx(slots / 2.0, rel=0.04)


def test_goodput_counts_those_that_meet_the_slo() -> None:
    samples = served(20, 10, 2, 2.0, 0.0)
    assert reading(samples, 2, NO_SLO, 20.0).goodput == pytest.approx(1.0)
    assert reading(samples, 2, Slo(latency_s=10.0), 20.0).goodput == pytest.approx(1.0, rel=0.01)
    strict = reading(samples, 2, Slo(latency_s=8.1), 20.0)
    assert 0 < strict.goodput < 0.5
    none = reading(samples, 2, Slo(latency_s=1.0), 20.0)
    assert none.goodput == 0.0
    assert none.throughput == pytest.approx(1.0)
    assert none.miss == pytest.approx(10.0)


def test_details_are_of_all_requests() -> None:
    failed = Sample(0.0, 1.0, failure=Failure("http_500", "no"))
    found = reading([*served(20, 10, 2, 2.0, 0.0), failed], 2, Slo(latency_s=10.0), 20.0)
    assert found.details["requests"] == 21
    assert found.details["failed"] == 1
    assert found.details["slo_met"] == pytest.approx(20 / 21, abs=0.001)
    assert found.details["latency_p95_s"] == 10.0
    assert found.details["tpot_p50_s"] == pytest.approx(0.09)
    assert found.details["output_tokens_per_second"] == pytest.approx(20.0)


def test_too_few_answers_for_a_steady_part() -> None:
    samples = served(3, 3, 4, 2.0, 0.0)
    assert reading(samples, 4, NO_SLO, 2.0).throughput == pytest.approx(1.5)
    empty = reading([], 4, NO_SLO, 2.0)
    assert (empty.goodput, empty.throughput, empty.details["ttft_p95_s"]) == (0.0, 0.0, None)


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
