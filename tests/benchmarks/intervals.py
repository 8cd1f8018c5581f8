# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How often the bounds of a benchmark are wrong, on simulated servers: ./dev exec python tests/benchmarks/intervals.py

A closed loop of 10 requests against a server with slots, many times over; the truth is what such a run gives on average
(rates) or usually (percentiles). Each bound promises to be wrong in 5 % of the runs. Prints Markdown tables.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median

CHECKOUT = Path(__file__).parents[2]
sys.path[:0] = [str(CHECKOUT / ".collections"), str(CHECKOUT / "tests/unit/plugins")]

# ruff: noqa: E402  # the collection is imported from the checkout
import simulation
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.load import Load
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.sample import Round
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.statistics import (
    Interval,
    percentile,
    percentile_interval,
    ratio_of_rounds,
    summarise,
)

RUNS = 400
COMPARISONS = 2000
CONCURRENCY = 10
SERVICES = {"even (5 %)": simulation.even, "varied (30 %)": simulation.varied, "heavy tail": simulation.heavy_tailed}


def wrong(intervals: Sequence[Interval], truth: float) -> str:
    """How often the lower and the upper bound are wrong, and how often there is no upper one."""
    count = len(intervals)
    below = sum(low is not None and low > truth + 1e-6 for low, _ in intervals) / count
    above = sum(high is not None and high < truth - 1e-6 for _, high in intervals) / count
    none = sum(high is None for _, high in intervals) / count
    return f"{below:.0%}, {above:.0%}" + (f" ({none:.0%} without)" if none >= 0.005 else "")


def levels() -> None:
    print(f"\n{RUNS} runs of each, {CONCURRENCY} at a time; lower, upper bound wrong.\n")
    print("| time of an answer | slots | requests | requests/s | half its interval | latency p50 | latency p95 |")
    print("|---|---|---|---|---|---|---|")
    for name, service in SERVICES.items():
        for slots in (1, 4, 10):
            for count in (100, 400):
                dice = simulation.dice(1)
                runs = [simulation.closed_loop(dice, count, CONCURRENCY, slots, service) for _ in range(RUNS)]
                found = [summarise([Round(run)], Load(CONCURRENCY, requests=count)) for run in runs]
                rates = [level.intervals["requests_per_second"] for level in found]
                truth = mean(level.requests_per_second for level in found)
                width = median((high - low) / 2 for low, high in rates if low is not None and high is not None)
                cells = [name, f"{slots}", f"{count}", wrong(rates, truth), f"{width / truth:.1%}"]
                for percent in (50, 95):
                    latencies = [[sample.latency for sample in run] for run in runs]
                    usual = median(percentile(sorted(each), percent) for each in latencies)
                    cells.append(wrong([percentile_interval(each, percent) for each in latencies], usual))
                print(f"| {' | '.join(cells)} |", flush=True)


def ratios() -> None:
    print(f"\nRounds in turns on a machine that stands still in one round of ten, {COMPARISONS} comparisons of each.\n")
    print("| true gain | rounds | lower, upper bound wrong | median within 10 % | geometric mean within 10 % |")
    print("|---|---|---|---|---|")
    for gain in (1.0, 1.3):
        for rounds in (5, 9, 15):
            dice = simulation.dice(2)
            bounds, medians, means = [], 0, 0
            for _ in range(COMPARISONS):
                before = [simulation.noisy_rate(dice, 2.0) for _ in range(rounds)]
                after = [simulation.noisy_rate(dice, 2.0 * gain) for _ in range(rounds)]
                ratio = ratio_of_rounds(before, after)
                bounds.append((ratio.low, ratio.high))
                medians += abs((ratio.ratio or 0) / gain - 1) <= 0.1
                geometric = math.exp(mean(math.log(top / bottom) for bottom, top in zip(before, after, strict=True)))
                means += abs(geometric / gain - 1) <= 0.1
            near = f"{medians / COMPARISONS:.0%} | {means / COMPARISONS:.0%}"
            print(f"| {gain} | {rounds} | {wrong(bounds, gain)} | {near} |", flush=True)


if __name__ == "__main__":
    levels()
    ratios()
