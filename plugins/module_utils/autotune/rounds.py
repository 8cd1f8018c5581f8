# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Measures the running server once: a closed loop of requests, and the steady part of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import median

from ansible_collections.llmops.ollama.plugins.module_utils.autotune.demand import Demand
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.measurement import Reading
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.load import (
    MAX_REQUESTS,
    Load,
    LoadGenerator,
    Watch,
    clock,
)
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.protocol import Target
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.sample import Sample
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.statistics import Slo, percentile
from ansible_collections.llmops.ollama.plugins.module_utils.errors import Unhealthy

# Answers of the steady part, at least; and at least one of each slot.
FEW = 6
# The number of the round that is not measured.
WARM_UP, WARM_UP_TOKENS = -1, 2
# A round that takes so many times as long as the first one is cut off: what it measures is clearly worse.
PATIENCE = 1.5
# The first one may take so many times as long as one should, since how long it takes is not known yet.
FIRST_PATIENCE = 10.0
# From this share of failed requests on it is no measurement.
TOO_MANY_FAILED = 0.5


class Rounds:
    """Sends rounds of a demand to a server. ``seconds`` is what one should take; a slow server needs more.

    From the ``deadline`` (of ``clock``) on no first answer is waited for any more, once there was a round.
    """

    def __init__(self, demand: Demand, seconds: float, deadline: float = math.inf) -> None:
        self._demand, self._seconds, self._deadline = demand, seconds, deadline
        self._first: dict[str, float] = {}  # seconds that the first round of a model took

    def warm_up(self, target: Target, slots: int) -> None:
        """One request for each slot, so that the first measured ones find everything in memory."""
        with LoadGenerator(target) as generator:
            load = Load(concurrency=slots, requests=slots)
            prompts = self._demand.requests(WARM_UP, WARM_UP_TOKENS)
            samples = generator.run(prompts, load, cancelled=lambda: bool(self._first) and clock() >= self._deadline)
        if not samples:
            raise Unhealthy("No answer came before the time was up.", "Raise max_minutes.")
        _require_answers(samples)

    def measure(self, target: Target, slots: int, number: int, watch: Watch) -> Reading:
        """Rounds of the same ``number`` have the same requests. Raises ``Unhealthy`` where too many fail."""
        demand, start = self._demand, clock()
        answers = failed = 0
        enough = answers_needed(slots, demand)
        first = self._first.get(target.model)
        longest = FIRST_PATIENCE * self._seconds if first is None else PATIENCE * first

        def look(samples: Sequence[Sample]) -> None:
            nonlocal answers, failed
            answers, failed = len(samples), sum(sample.failure is not None for sample in samples)
            watch(samples)

        def done() -> bool:
            elapsed = clock() - start
            hopeless = failed >= TOO_MANY_FAILED * answers
            return (answers >= enough and (elapsed >= self._seconds or hopeless)) or elapsed >= longest

        load = Load(concurrency=demand.concurrency, requests=MAX_REQUESTS)
        with LoadGenerator(target) as generator:
            samples = generator.run(demand.requests(number), load, watch=look, cancelled=done)
            given_up = generator.given_up
        elapsed = clock() - start
        if not samples and first is None:
            raise Unhealthy(f"Not one request was answered within {elapsed:.0f} s.", "Raise max_minutes.")
        _require_answers(samples)
        self._first.setdefault(target.model, max(elapsed, self._seconds))
        # Of a round that was cut off, what is left after the first answer may be too short to measure anything.
        return reading(samples, given_up, start + elapsed, demand.slo, None if answers >= enough else start)


def answers_needed(slots: int, demand: Demand) -> int:
    """How many answers a round needs.

    The first answer of each slot is before the steady part. With an SLO so are those of the requests with which all
    clients began at once: they waited for less than later ones do.
    """
    before = max(slots, demand.concurrency) if demand.slo else slots
    return before + max(slots, FEW)


def reading(
    samples: Sequence[Sample], given_up: Sequence[Sample], end: float, slo: Slo, start: float | None = None
) -> Reading:
    """What a closed loop measured that was stopped at ``end``, when the requests ``given_up`` were under way.

    The rate is that of the steady part, from the end of the first answer (or ``start``) on: a request counts by the
    share of its tokens that came in that time, so that it does not matter which requests happen to end in it. What the
    SLO is compared with are requests that were sent in it, for they waited as long as any later one does.
    """
    good = sorted((sample for sample in samples if sample.failure is None), key=lambda sample: sample.end)
    first = good[0].end if good else end
    begin = first if start is None else start
    tokens = median(_pieces(sample) for sample in good) if good else 1.0
    seconds = end - begin
    count = sum(_within(sample, begin, end) / _pieces(sample) for sample in good)
    count += sum(_within(sample, begin, end) / max(tokens, len(sample.arrivals)) for sample in given_up)
    rate = count / seconds if seconds > 0 else 0.0
    steady = [sample for sample in good if sample.due >= first] or good
    fine = sum(not slo.missed(sample) for sample in steady)
    share = fine / len(steady) if steady else 0.0
    output = median(sample.output_tokens for sample in good) if good else 0.0
    misses = [miss(sample, slo) for sample in steady]
    return Reading(
        goodput=round(rate * share, 4),
        throughput=round(rate, 4),
        miss=round(median(misses), 4) if misses and slo else 0.0,
        details={
            "requests": len(samples),
            "failed": len(samples) - len(good),
            "slo_met": round(share, 4),
            "output_tokens_per_second": round(rate * output, 2),
            "ttft_p95_s": _percentile([sample.ttft for sample in steady], 95, 3),
            "tpot_p50_s": _percentile([sample.tpot for sample in steady], 50, 4),
            "latency_p50_s": _percentile([sample.latency for sample in steady], 50, 3),
            "latency_p95_s": _percentile([sample.latency for sample in steady], 95, 3),
        },
    )


def miss(sample: Sample, slo: Slo) -> float:
    """The worst of a request's times as a multiple of what is promised: above 1 it missed the SLO; 0 without one."""
    pairs = ((slo.ttft_s, sample.ttft), (slo.tpot_s, sample.tpot), (slo.latency_s, sample.latency))
    return max((value / limit for limit, value in pairs if limit and value is not None), default=0.0)


def _pieces(sample: Sample) -> int:
    return len(sample.arrivals) or 1


def _within(sample: Sample, begin: float, end: float) -> int:
    """How many pieces of an answer came between two times; one without pieces came at its end."""
    arrivals = sample.arrivals if sample.arrivals or sample.failure else (sample.end,)
    return sum(begin < arrival <= end for arrival in arrivals)


def _percentile(values: Sequence[float | None], percent: int, digits: int) -> float | None:
    known = sorted(value for value in values if value is not None)
    return round(percentile(known, percent), digits) if known else None


def _require_answers(samples: Sequence[Sample]) -> None:
    """Raise the most frequent reason where too many requests failed."""
    failures = [sample.failure for sample in samples if sample.failure]
    if not samples or len(failures) < TOO_MANY_FAILED * len(samples):
        return
    [(kind, _)] = Counter(failure.kind for failure in failures).most_common(1)
    detail = next(failure.detail for failure in failures if failure.kind == kind)
    raise Unhealthy(f"{len(failures)} of {len(samples)} requests failed ({kind}: {detail}).")
