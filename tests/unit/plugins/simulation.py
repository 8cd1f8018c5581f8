# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A server that exists only in numbers, of which the truth is known."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.sample import Sample

Service = Callable[[random.Random], float]


def dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  # a simulation, not a secret


def even(draw: random.Random) -> float:
    """Seconds that one answer takes: nearly always the same."""
    return draw.lognormvariate(0, 0.05)


def varied(draw: random.Random) -> float:
    return draw.lognormvariate(0, 0.3)


def heavy_tailed(draw: random.Random) -> float:
    return draw.lognormvariate(0, 1)


def closed_loop(draw: random.Random, count: int, concurrency: int, slots: int, service: Service) -> list[Sample]:
    """Requests of a closed loop to a server with slots that serves first come first; in order of completion."""
    free, due_times = [0.0] * slots, [0.0] * concurrency
    samples = []
    for _ in range(count):
        due = heapq.heappop(due_times)
        begin = max(due, heapq.heappop(free))
        end = begin + service(draw)
        heapq.heappush(free, end)
        heapq.heappush(due_times, end)
        samples.append(Sample(due, end, (begin + (end - begin) / 10, end), 32))
    return sorted(samples, key=lambda sample: sample.end)


def noisy_rate(draw: random.Random, rate: float) -> float:
    """Requests per second of one round of a few seconds, on a machine that now and then stands still for 9 to 28 s."""
    seconds = 5 * draw.lognormvariate(0, 0.04) + (draw.uniform(9, 28) if draw.random() < 0.1 else 0.0)
    return rate * 5 / seconds
