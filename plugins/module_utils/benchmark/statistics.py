# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From samples to numbers; pure.

Every interval is a pair of bounds (low, high), each of which holds with 95 % confidence, so both together with 90 %. A
bound for which there are too few values is None. The requests of a loop depend on each other: one that waited long had
others wait behind it. Ten long batches of consecutive requests hardly do, so they tell how much a run varies.

- Percentiles: by rank. How many of n independent values lie below a percentile is a binomial number, whatever the
  values are distributed like, which gives the ranks of the two values that bound it. n is the number of independent
  values that would vary as much as the batches do. No shape is assumed, so heavy tails do no harm.
- Rates and means: a rate is a ratio of two sums over the batches, and its error follows Student's t. A batch ends
  where the longest pause is, because a server that works on several requests at once ends several at once.
- Ratios of rounds that were measured in turns: the median ratio, with its bounds by rank. A round in which the machine
  stalled counts once, however long it was.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Callable, Optional, TypeVar

from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.load import Load
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.sample import Round, Sample
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput

ERROR = 0.05  # how often a bound may be wrong
PERCENTS = (50, 90, 95, 99)
BATCHES = 10
MIB = 1 << 20
LEAST_FOR_BATCHES = 2 * BATCHES  # requests: one alone is no batch

Interval = tuple[Optional[float], Optional[float]]  # evaluated at run time, on Python 3.9 too
UNKNOWN: Interval = (None, None)

T = TypeVar("T")


@dataclass(frozen=True)
class Slo:
    """What a user is promised, in seconds; None promises nothing. Raises ``InvalidInput``."""

    ttft_s: float | None = None
    tpot_s: float | None = None
    latency_s: float | None = None

    def __post_init__(self) -> None:
        for name in ("ttft_s", "tpot_s", "latency_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InvalidInput(f"slo has {name} {value:g}.", "Give seconds above 0, or leave it out.")

    def __bool__(self) -> bool:
        return (self.ttft_s, self.tpot_s, self.latency_s) != (None, None, None)

    def missed(self, sample: Sample) -> list[str]:
        """Names of the objectives that a successful request did not meet.

        Without any text there was no first token, so no wait for it was short enough. An answer of one token has no
        wait between tokens to be too long.
        """
        one_token = sample.output_tokens < 2 and bool(sample.arrivals)
        measured = {
            "ttft_s": (self.ttft_s, sample.ttft),
            "tpot_s": (None if one_token else self.tpot_s, sample.tpot),
            "latency_s": (self.latency_s, sample.latency),
        }
        return [
            name for name, (limit, value) in measured.items() if limit is not None and (value is None or value > limit)
        ]


NO_SLO = Slo()


@dataclass(frozen=True)
class Distribution:
    """A time in seconds over the successful requests; ``intervals`` by the names of the other fields."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    intervals: dict[str, Interval] = field(default_factory=dict)


@dataclass(frozen=True)
class GeneratorUse:
    """What measuring took: CPU time in seconds and as a mean number of busy cores, how late requests were sent (s), and
    the longest turn of its loop (s), by which at most a measured time is too long."""

    cpu_s: float
    cpu_cores: float
    delay_p99_s: float
    delay_max_s: float
    longest_turn_s: float


@dataclass(frozen=True)
class ServerUse:
    """What the server and its runners took: CPU time in seconds and as a mean number of busy cores, and the sum of
    their resident sets when it was highest, in MiB."""

    cpu_s: float
    cpu_cores: float
    rss_peak_mb: int


@dataclass(frozen=True)
class Level:
    """What was measured at one level of load.

    Times are of successful requests, None where no request has them; rates count successful requests only.
    ``goodput`` is the rate of those that met every objective, None without any; ``slo_missed`` counts how often each
    was missed. ``itl_s`` are the waits between pieces of text of all requests together. ``truncated`` says that the
    level was stopped before its own end. ``error_examples`` has the words of the first error of each kind.
    ``intervals`` has those of the three rates. ``generator`` and ``server`` are what the two took meanwhile; the second
    is None where the server runs elsewhere.
    """

    concurrency: int | None
    rate: float | None
    requests: int
    truncated: bool
    duration_s: float
    requests_per_second: float
    output_tokens: int
    output_tokens_per_second: float
    goodput: float | None
    slo_met: float | None
    slo_missed: dict[str, int]
    intervals: dict[str, Interval]
    ttft_s: Distribution | None
    tpot_s: Distribution | None
    itl_s: Distribution | None
    latency_s: Distribution | None
    errors: dict[str, int]
    error_examples: dict[str, str]
    error_rate: float
    generator: GeneratorUse
    server: ServerUse | None


@dataclass(frozen=True)
class Single:
    """One request that has the server to itself."""

    latency_s: float
    ttft_s: float | None
    tpot_s: float | None
    output_tokens: int


@dataclass(frozen=True)
class Ratio:
    """How many times as large one thing is as another, with its bounds; ``rounds`` is how often it was measured."""

    ratio: float | None
    low: float | None
    high: float | None
    rounds: int


def percentile(ordered: Sequence[float], percent: int) -> float:
    """The nearest-rank percentile of ascending values: the smallest that at least ``percent`` of them do not exceed.

    It is always a value that was measured, so few values give a pessimistic p95 (the slowest) and never an invented
    one; it is also what ab prints.
    """
    rank = -(-percent * len(ordered) // 100)
    return ordered[max(rank, 1) - 1]


def percentile_interval(values: Sequence[float], percent: int) -> Interval:
    """The bounds of a percentile by rank, from values in the order in which they came."""
    count, ordered = len(values), sorted(values)
    independent = _independent(values, percentile(ordered, percent), percent / 100)
    low, high = _ranks(independent, percent)
    # The ranks of fewer values, among all of them.
    low, high = low * count // independent, -(-high * count // independent)
    return (
        seconds(ordered[low - 1]) if low >= 1 else None,
        seconds(ordered[high - 1]) if high <= count else None,
    )


def _independent(values: Sequence[float], limit: float, share: float) -> int:
    """How many independent values would vary as much in how many of them are up to ``limit``; at most all of them."""
    count = len(values)
    if count < LEAST_FOR_BATCHES:
        return count
    below = [sum(value <= limit for value in batch) / len(batch) for batch in _cut(values, BATCHES)]
    mean = sum(below) / BATCHES
    variance = sum((each - mean) ** 2 for each in below) / (BATCHES - 1) / BATCHES
    return count if variance <= 0 else max(1, min(count, int(share * (1 - share) / variance)))


@cache
def _ranks(count: int, percent: int) -> tuple[int, int]:
    """Ranks (from 1) of the values that bound a percentile; 0 and ``count`` + 1 where none does.

    With B values at or below the percentile, binomial(count, percent): rank r is above it if B < r, and rank r is not
    below it if B >= r is unlikely.
    """
    share = percent / 100
    low, high, below = 0, count + 1, 0.0
    for number in range(count + 1):
        # below: probability of fewer than ``number`` values
        if below <= ERROR:
            low = number
        if below >= 1 - ERROR:
            high = number
            break
        below += math.exp(
            math.lgamma(count + 1)
            - math.lgamma(number + 1)
            - math.lgamma(count - number + 1)
            + number * math.log(share)
            + (count - number) * math.log1p(-share)
        )
    return low, high


def ratio_of_sums(numerators: Sequence[float], denominators: Sequence[float]) -> Interval:
    """The bounds of sum / sum over independent pairs (at least 3, with denominators above 0), by Student's t."""
    count, total = len(numerators), sum(denominators)
    if count < 3 or total <= 0:
        return UNKNOWN
    ratio = sum(numerators) / total
    spread = sum((top - ratio * bottom) ** 2 for top, bottom in zip(numerators, denominators))
    error = math.sqrt(spread * count / (count - 1)) / total
    margin = _student(count - 1) * error
    return seconds(max(ratio - margin, 0.0)), seconds(ratio + margin)


def _student(freedom: int) -> float:
    """The 95 % point of Student's t, by its expansion around the normal one; within 1 % from 3 degrees on."""
    z = 1.6448536269514722
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )


def distribution(values: Iterable[float | None], independent: bool = True) -> Distribution | None:
    """Summarise the values that are there, given in the order in which they came; None when there are none.

    Only values that are ``independent``, or nearly so, have intervals.
    """
    known = [value for value in values if value is not None]
    if not known:
        return None
    ordered = sorted(known)
    mean, p50, p90, p95, p99 = map(
        seconds, (math.fsum(ordered) / len(ordered), *(percentile(ordered, each) for each in PERCENTS))
    )
    intervals: dict[str, Interval] = {}
    if independent:
        batches = _cut(known, BATCHES) if len(known) >= LEAST_FOR_BATCHES else []
        intervals["mean"] = ratio_of_sums([sum(batch) for batch in batches], [len(batch) for batch in batches])
        intervals.update({f"p{each}": percentile_interval(known, each) for each in PERCENTS})
    return Distribution(mean, p50, p90, p95, p99, intervals)


def describe(sample: Sample) -> Single:
    """The numbers of one successful request."""
    return Single(
        latency_s=seconds(sample.latency),
        ttft_s=None if sample.ttft is None else seconds(sample.ttft),
        tpot_s=None if sample.tpot is None else seconds(sample.tpot),
        output_tokens=sample.output_tokens,
    )


def summarise(rounds: Sequence[Round], load: Load, slo: Slo = NO_SLO) -> Level:
    """Summarise one level of load, measured in one or more rounds.

    A round lasts from when its first request was due to the end of its last answer. The order of its samples does not
    matter.
    """
    runs = [sorted(each.samples, key=lambda sample: sample.end) for each in rounds if each.samples]
    samples = [sample for run in runs for sample in run]
    good = [sample for sample in samples if sample.failure is None]
    failures = [sample.failure for sample in samples if sample.failure is not None]
    missed = [slo.missed(sample) for sample in good]
    met = sum(not names for names in missed)
    duration = math.fsum(each[-1].end - min(sample.due for sample in each) for each in runs)
    tokens = sum(sample.output_tokens for sample in good)
    counts: dict[str, Callable[[Sample], int]] = {
        "requests_per_second": lambda sample: 1,
        "output_tokens_per_second": lambda sample: sample.output_tokens,
    }
    if slo:
        counts["goodput"] = lambda sample: not slo.missed(sample)
    return Level(
        concurrency=load.concurrency,
        rate=load.rate,
        requests=len(samples),
        truncated=any(each.truncated for each in rounds),
        duration_s=seconds(duration),
        requests_per_second=rate(len(good), duration),
        output_tokens=tokens,
        output_tokens_per_second=rate(tokens, duration),
        goodput=rate(met, duration) if slo else None,
        slo_met=round(met / len(samples), 6) if slo and samples else None,
        slo_missed=dict(Counter(name for names in missed for name in names).most_common()),
        intervals=_rate_intervals(runs, counts),
        ttft_s=distribution(sample.ttft for sample in good),
        tpot_s=distribution(sample.tpot for sample in good),
        itl_s=distribution(
            (later - earlier for sample in good for earlier, later in zip(sample.arrivals, sample.arrivals[1:])),
            independent=False,
        ),
        latency_s=distribution(sample.latency for sample in good),
        errors=dict(Counter(failure.kind for failure in failures).most_common()),
        error_examples={failure.kind: failure.detail for failure in reversed(failures)},
        error_rate=round(len(failures) / len(samples), 6) if samples else 0.0,
        generator=_generator_use(rounds, samples),
        server=_server_use(rounds),
    )


def _generator_use(rounds: Sequence[Round], samples: Sequence[Sample]) -> GeneratorUse:
    cpu, elapsed = sum(each.cpu for each in rounds), sum(each.elapsed for each in rounds)
    delays = sorted(sample.delay for sample in samples) or [0.0]
    longest = max((each.longest_turn for each in rounds), default=0.0)
    late = (percentile(delays, 99), delays[-1], longest)
    return GeneratorUse(seconds(cpu), rate(cpu, elapsed), *map(seconds, late))


def _server_use(rounds: Sequence[Round]) -> ServerUse | None:
    known = [(each.server, each.elapsed) for each in rounds if each.server]
    if not known:
        return None
    cpu, elapsed = sum(taken.cpu for taken, _ in known), sum(each for _, each in known)
    return ServerUse(seconds(cpu), rate(cpu, elapsed), max(taken.rss_peak for taken, _ in known) // MIB)


def _rate_intervals(
    runs: Sequence[Sequence[Sample]], counts: Mapping[str, Callable[[Sample], int]]
) -> dict[str, Interval]:
    """The bounds of each rate, from batches of requests that ended one after the other."""
    if sum(map(len, runs)) < LEAST_FOR_BATCHES:
        return dict.fromkeys(counts, UNKNOWN)
    batches, times = [], []
    for samples in runs:
        before = min(sample.due for sample in samples)
        for batch in _cut_at_pauses(samples, max(1, BATCHES // len(runs))):
            batches.append([sample for sample in batch if sample.failure is None])
            times.append(batch[-1].end - before)
            before = batch[-1].end
    return {name: ratio_of_sums([sum(map(count, batch)) for batch in batches], times) for name, count in counts.items()}


def _cut(values: Sequence[T], parts: int) -> list[Sequence[T]]:
    """Consecutive parts of about the same length, none of them empty."""
    bounds = [len(values) * number // parts for number in range(parts + 1)]
    return [values[start:end] for start, end in zip(bounds, bounds[1:]) if end > start]


def _cut_at_pauses(samples: Sequence[Sample], parts: int) -> list[Sequence[Sample]]:
    """Consecutive parts of about the same length, none empty, that end before the longest pause that is near.

    Requests that end at the same moment belong together: a cut between them would count the time that all of them took
    for some of them.
    """
    count = len(samples)
    near = count // (2 * parts)
    bounds = [0]
    for number in range(1, parts):
        middle = count * number // parts
        candidates = range(max(bounds[-1] + 1, middle - near), min(count - 1, middle + near) + 1)
        bounds.append(max(candidates, key=lambda at: samples[at].end - samples[at - 1].end, default=bounds[-1]))
    return [samples[start:end] for start, end in zip(bounds, [*bounds[1:], count]) if end > start]


def ratio_of_rounds(before: Sequence[float], after: Sequence[float]) -> Ratio:
    """The median of after / before over pairs that were measured one after the other, with its bounds by rank.

    Its upper or lower bound needs 5 rounds, and 8 to stay put when one round goes wrong. A round in which ``before`` is
    0 counts as infinitely better, one in which both are as no change.
    """
    ratios = sorted(
        (1.0 if top == bottom else math.inf) if not bottom else top / bottom for bottom, top in zip(before, after)
    )
    count = len(ratios)
    if not count:
        return Ratio(None, None, None, 0)
    middle = (ratios[(count - 1) // 2] + ratios[count // 2]) / 2
    low, high = _ranks(count, 50)
    return Ratio(
        _finite(middle),
        _finite(ratios[low - 1]) if low >= 1 else None,
        _finite(ratios[high - 1]) if high <= count else None,
        count,
    )


def ratio_of_rates(before: float, before_bounds: Interval, after: float, after_bounds: Interval) -> Ratio:
    """after / before (above 0) of two runs that were measured at different times, from the bounds of each.

    The relative errors of both add up as squares do. What changed on the machine between the two runs is in neither.
    """
    ratio = after / before
    widths = []
    for value, (low, high) in ((before, before_bounds), (after, after_bounds)):
        if low is None or high is None or not value:
            return Ratio(_finite(ratio), None, None, 1)
        widths.append((high - low) / 2 / value)
    margin = math.exp(math.hypot(*widths))
    return Ratio(_finite(ratio), _finite(ratio / margin), _finite(ratio * margin), 1)


def _finite(value: float | None) -> float | None:
    return None if value is None or math.isinf(value) else seconds(value)


def rate(count: float, duration: float) -> float:
    """``count`` per second."""
    return seconds(count / duration) if duration > 0 else 0.0


def seconds(value: float) -> float:
    """A time without the digits that a clock shared with other processes cannot justify: to the microsecond."""
    return round(value, 6)
