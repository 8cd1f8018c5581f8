# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Synthetic servers for a search: how many requests per second each setting answers, and a noisy way to measure it.

The shapes are those that were seen on real hosts or published for them; the numbers in them are drawn from a seed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.llmops.ollama.plugins.module_utils.autotune.measurement import Failed, Reading
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.setting import (
    Setting,
    Space,
    parallel_values,
    thread_values,
)

NOISE = 0.05
SECONDS = 6.0  # of one measurement


@dataclass(frozen=True)
class Surface:
    """``rate`` gives the true requests per second of a setting, 0 for one that does not work."""

    name: str
    space: Space
    current: Setting
    rate: Callable[[Setting], float]

    @property
    def best(self) -> float:
        """What an exhaustive sweep without noise finds."""
        return max(self.rate(setting) for setting in self.space.settings())

    def regret(self, setting: Setting) -> float:
        """The share of the best rate that a setting gives away."""
        return 1 - self.rate(setting) / self.best


class Meter:
    """Measures a surface with noise: a factor that is normally distributed around 1. ``log`` has every measurement.

    ``stalls`` is the probability that something else on the host takes half of its time.
    """

    def __init__(self, surface: Surface, seed: int, noise: float = NOISE, stalls: float = 0.0) -> None:
        self._surface, self._noise, self._stalls = surface, noise, stalls
        self._draw = random.Random(seed)  # noqa: S311  # noise, not a secret
        self.log: list[Setting] = []

    def __call__(self, setting: Setting, repeat: int) -> Reading | Failed:
        self.log.append(setting)
        rate = self._surface.rate(setting)
        if rate <= 0:
            return Failed(f"{setting} does not fit into memory.", SECONDS)
        factor = max(0.1, self._draw.gauss(1, self._noise))
        if self._draw.random() < self._stalls:
            factor /= 2
        return Reading(rate * factor, rate * factor, 0.0, SECONDS)


def saturating(draw: random.Random) -> Surface:
    """More slots bring more, and less with each: the usual case on many cores."""
    half, cores = draw.uniform(0.5, 6), draw.choice([4, 8, 16])
    space, current = _host(draw, cores)
    return Surface(
        "saturating",
        space,
        current,
        lambda at: 10 * at.parallel / (at.parallel + half) * _speed(at.threads, cores, 0.7),
    )


def peaked(draw: random.Random) -> Surface:
    """Beyond some number of slots they get into each other's way."""
    peak, cores, width = draw.uniform(1, 12), draw.choice([2, 4, 8]), draw.uniform(0.1, 0.6)
    space, current = _host(draw, cores)

    def rate(at: Setting) -> float:
        away = abs(_log2(at.parallel) - _log2(peak))
        return 5 / (1 + width * away * away) * _speed(at.threads, cores, 0.8)

    return Surface("peaked", space, current, rate)


def flat(draw: random.Random) -> Surface:
    """Nothing matters: nothing shall be changed either."""
    space, current = _host(draw, 2)
    level = draw.uniform(0.5, 20)
    return Surface("flat", space, current, lambda at: level)


def quota(draw: random.Random) -> Surface:
    """Two cores under a quota: at 1 CPU two threads are 30 % slower than one, at 1.5 they are 19 % faster."""
    share = draw.choice([1.0, 1.5])
    cost = {1: 1.0, 2: 1 / 1.3} if share == 1.0 else {1: 1.0, 2: 1.19}
    half = draw.uniform(0.3, 2)
    space = Space(parallel_values(10), (1, 2))
    current = Setting(draw.choice([1, 2, 4]), draw.choice([1, 2]))
    return Surface(
        "threads under a quota", space, current, lambda at: at.parallel / (at.parallel + half) * cost[at.threads]
    )


def published_quota(draw: random.Random) -> Surface:
    """A quota of 57 CPUs: exactly as many threads hardly move, and somewhat fewer are best."""
    best, cliff = draw.uniform(30, 44), draw.uniform(48, 56)
    space = Space(parallel_values(16), thread_values(57, 64))
    half = draw.uniform(1, 6)

    def rate(at: Setting) -> float:
        if at.threads > cliff:
            return 0.1
        away = _log2(at.threads) - _log2(best)
        return 30 * at.parallel / (at.parallel + half) / (1 + 0.8 * away * away)

    return Surface("threads at a big quota", space, Setting(draw.choice([1, 4, 8]), 57), rate)


def memory_cliff(draw: random.Random) -> Surface:
    """More slots bring more until the server is killed."""
    most, half = draw.choice([2, 3, 5, 6, 9]), draw.uniform(1, 6)
    space, current = _host(draw, 4)
    current = Setting(min(current.parallel, most), current.threads)
    return Surface(
        "memory cliff",
        space,
        current,
        lambda at: 0.0 if at.parallel > most else at.parallel / (at.parallel + half) * at.threads**0.8,
    )


def interacting(draw: random.Random) -> Surface:
    """One stream is bound by memory and needs few threads; many are bound by computing and need all."""
    cores = draw.choice([4, 8])
    bandwidth, half = draw.uniform(0.3, 0.9), draw.uniform(0.5, 4)
    space, current = _host(draw, cores)

    def rate(at: Setting) -> float:
        slots = at.parallel / (at.parallel + half)
        useful = min(float(at.threads), 1 + (cores - 1) * min(1.0, bandwidth + at.parallel / 12))
        return float(6 * slots * useful**0.9) * (1 - 0.04 * max(0.0, at.threads - useful))

    return Surface("interacting", space, current, rate)


def dip(draw: random.Random) -> Surface:
    """Measured with Ollama 0.34 on two cores: two slots are slower than one, and eight much faster."""
    seen = {1: 2.05, 2: 1.8, 3: 2.3, 4: 2.7, 6: 3.0, 8: 3.2, 10: 3.2}
    tilt = draw.uniform(-0.05, 0.05)
    slow = draw.uniform(0.55, 0.85)
    space = Space(tuple(seen), (1, 2))
    current = Setting(draw.choice([1, 2, 4]), draw.choice([1, 2]))
    return Surface(
        "dip at two slots",
        space,
        current,
        lambda at: seen[at.parallel] * (1 + tilt * _log2(at.parallel)) * (1.0 if at.threads == 2 else slow),
    )


SHAPES: tuple[Callable[[random.Random], Surface], ...] = (
    saturating,
    peaked,
    flat,
    quota,
    published_quota,
    memory_cliff,
    interacting,
    dip,
)


def surface(seed: int) -> Surface:
    """One of all shapes, in turns."""
    return SHAPES[seed % len(SHAPES)](random.Random(seed))  # noqa: S311  # a surface, not a secret


def _host(draw: random.Random, cores: int) -> tuple[Space, Setting]:
    """A space as the tuner makes it for a host with that many cores, and a setting to start from."""
    most = draw.choice([8, 10, 16])
    current = Setting(draw.choice([1, 2, 4]), draw.choice([cores, max(1, cores // 2)]))
    return Space(parallel_values(most), thread_values(draw.choice([cores, cores // 2]), cores)), current


def _speed(threads: int, cores: int, power: float) -> float:
    """Each further thread brings less."""
    return float(min(threads, cores) ** power)


def _log2(value: float) -> float:
    return math.log2(value)
