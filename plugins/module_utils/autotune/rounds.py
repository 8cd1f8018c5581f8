# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Measures the running server once: a closed loop of requests, and the steady part of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median

from ansible_collections.llmops.ollama.plugins.module_utils.autotune.demand import Demand
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.measurement import Reading
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.load import Load, LoadGenerator, Watch, clock
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.protocol import Target
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.sample import Sample
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.statistics import Slo, percentile
from ansible_collections.llmops.ollama.plugins.module_utils.errors import Unhealthy

# Requests of each client in one measurement, at least and at most.
FEW, MANY = 2, 10
# The number of the round that is not measured.
WARM_UP, WARM_UP_TOKENS = -1, 2
# A measurement that takes so many times as long as the first one is cut off: what it measures is clearly worse.
PATIENCE = 1.5
# The first one may take so many times as long as one should, since how long it takes is not known yet.
FIRST_PATIENCE = 10.0
# From this share of failed requests on it is no measurement.
TOO_MANY_FAILED = 0.5


class Rounds:
    """Sends rounds of a demand to a server.

    The first round decides how large the next ones are: ``seconds`` is what one should take.
    """

    def __init__(self, demand: Demand, seconds: float) -> None:
        self._demand, self._seconds = demand, seconds
        self._requests = FEW * demand.concurrency
        self._longest: float | None = None

    def warm_up(self, target: Target, slots: int) -> None:
        """One request for each slot, so that the first measured ones find everything in memory."""
        with LoadGenerator(target) as generator:
            load = Load(concurrency=slots, requests=slots)
            _require_answers(generator.run(self._demand.requests(WARM_UP, WARM_UP_TOKENS), load))

    def measure(self, target: Target, slots: int, number: int, watch: Watch) -> Reading:
        """Rounds of the same ``number`` have the same requests. Raises ``Unhealthy`` where too many fail."""
        demand = self._demand
        start = clock()

        def late() -> bool:
            return clock() - start > (PATIENCE * self._longest if self._longest else FIRST_PATIENCE * self._seconds)

        load = Load(concurrency=demand.concurrency, requests=self._requests)
        requests = demand.requests(number)
        with LoadGenerator(target) as generator:
            samples = generator.run(requests, load, watch=watch, cancelled=late)
            cut_off = generator.truncated
        elapsed = clock() - start
        if not samples and not self._longest:
            raise Unhealthy(f"Not one request was answered within {elapsed:.0f} s.", "Raise max_minutes.")
        if samples or not cut_off:
            _require_answers(samples)
        found = reading(samples, slots, demand.slo, elapsed)
        if self._longest is None:
            self._requests = self._enough(len(samples) / elapsed)
            self._longest = max(self._seconds, elapsed, self._requests / (len(samples) / elapsed))
        return found

    def _enough(self, rate: float) -> int:
        clients = self._demand.concurrency
        return max(FEW * clients, min(MANY * clients, round(rate * self._seconds)))


def reading(samples: Sequence[Sample], slots: int, slo: Slo, elapsed: float) -> Reading:
    """What a closed loop measured; ``elapsed`` (s) is what it took.

    Only the steady part counts, in which every slot is busy: from the end of the first answer to the moment from which
    fewer requests are left than there are slots. A request counts by the share of its tokens that came in that time, so
    that it does not matter which requests happen to end in it.
    """
    good = sorted((sample for sample in samples if sample.failure is None), key=lambda sample: sample.end)
    begin, end = _steady(good, slots)
    shares = [_share(sample, begin, end) for sample in good]
    seconds = end - begin
    if seconds <= 0:  # too few for a steady part
        shares, seconds = [1.0] * len(good), elapsed
    met = [not slo.missed(sample) for sample in good]
    misses = [miss(sample, slo) for sample in good]
    latencies = sorted(sample.latency for sample in good)
    ttfts = sorted(sample.ttft for sample in good if sample.ttft is not None)
    tpots = sorted(sample.tpot for sample in good if sample.tpot is not None)
    return Reading(
        goodput=round(sum(share for share, fine in zip(shares, met) if fine) / seconds, 4),
        throughput=round(sum(shares) / seconds, 4),
        miss=round(median(misses), 4) if misses and slo else 0.0,
        details={
            "requests": len(samples),
            "failed": len(samples) - len(good),
            "slo_met": round(sum(met) / len(samples), 4) if samples else 0.0,
            "output_tokens_per_second": round(
                sum(share * sample.output_tokens for share, sample in zip(shares, good)) / seconds, 2
            ),
            "ttft_p95_s": round(percentile(ttfts, 95), 3) if ttfts else None,
            "tpot_p50_s": round(percentile(tpots, 50), 4) if tpots else None,
            "latency_p50_s": round(percentile(latencies, 50), 3) if latencies else None,
            "latency_p95_s": round(percentile(latencies, 95), 3) if latencies else None,
        },
    )


def miss(sample: Sample, slo: Slo) -> float:
    """The worst of a request's times as a multiple of what is promised: above 1 it missed the SLO; 0 without one."""
    pairs = ((slo.ttft_s, sample.ttft), (slo.tpot_s, sample.tpot), (slo.latency_s, sample.latency))
    return max((value / limit for limit, value in pairs if limit and value is not None), default=0.0)


def _steady(good: Sequence[Sample], slots: int) -> tuple[float, float]:
    """When the first answer ended, and from when on fewer requests were left than there are slots."""
    if len(good) <= slots:
        return 0.0, 0.0
    return good[0].end, good[len(good) - slots].end


def _share(sample: Sample, begin: float, end: float) -> float:
    """The share of a request's tokens that came between two times."""
    arrivals = sample.arrivals or (sample.end,)
    return sum(begin < arrival <= end for arrival in arrivals) / len(arrivals)


def _require_answers(samples: Sequence[Sample]) -> None:
    """Raise the most frequent reason where too many requests failed."""
    failures = [sample.failure for sample in samples if sample.failure]
    if not samples or len(failures) < TOO_MANY_FAILED * len(samples):
        return
    [(kind, _)] = Counter(failure.kind for failure in failures).most_common(1)
    detail = next(failure.detail for failure in failures if failure.kind == kind)
    raise Unhealthy(f"{len(failures)} of {len(samples)} requests failed ({kind}: {detail}).")
