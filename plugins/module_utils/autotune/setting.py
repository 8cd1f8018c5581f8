# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a search may set, and the bounds within which it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.gguf import BLOCKS

# Distinct settings that one search tries, the current one among them.
MAX_SETTINGS = 8
# The factor between two neighbouring numbers of threads on hosts with many CPUs.
THREAD_STEP = 2**0.5
# Up to so many, every number of threads is worth a try.
FEW_THREADS = 4


@dataclass(frozen=True)
class Setting:
    """One configuration of the server. ``batch`` (tokens computed at once) is None where the engine chooses it."""

    parallel: int
    threads: int
    kv_type: str = "f16"
    batch: int | None = None

    @property
    def size(self) -> tuple[float, int, int]:
        """Orders settings of one model by the memory that they take, then by threads."""
        items, width = BLOCKS[self.kv_type.upper()]
        return (self.parallel * width / items, self.batch or 0, self.threads)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for Ansible."""
        return {"parallel": self.parallel, "threads": self.threads, "kv_type": self.kv_type, "batch": self.batch}

    def __str__(self) -> str:
        parts = [f"parallel {self.parallel}", f"threads {self.threads}", f"cache {self.kv_type}"]
        return ", ".join([*parts, f"batch {self.batch}"] if self.batch else parts)


@dataclass(frozen=True)
class Space:
    """The values that may be tried, each list ascending; a value of the current setting need not be in it.

    ``fits`` is the most parallel requests that memory allows with each type of the key-value cache.
    """

    parallel: tuple[int, ...]
    threads: tuple[int, ...]
    kv_types: tuple[str, ...] = ("f16",)
    batches: tuple[int | None, ...] = (None,)
    fits: Mapping[str, int] | None = None

    def admits(self, setting: Setting) -> bool:
        """Whether memory allows a setting."""
        return self.fits is None or setting.parallel <= self.fits.get(setting.kv_type, 0)

    def settings(self) -> list[Setting]:
        """All of them: what an exhaustive sweep would try."""
        return [
            setting
            for parallel in self.parallel
            for threads in self.threads
            for kv_type in self.kv_types
            for batch in self.batches
            if self.admits(setting := Setting(parallel, threads, kv_type, batch))
        ]

    def doublings(self, current: Setting) -> list[Setting]:
        """The guide's way: 2, and then twice as many again and again; from the current setting on where it has more."""
        steps = [2]
        most = max(self.parallel, default=1)
        while steps[-1] < most:
            steps.append(min(most, 2 * max(steps[-1], current.parallel)))
        candidates = [replace(current, parallel=parallel) for parallel in steps if parallel in self.parallel]
        return [each for each in candidates if self.admits(each)]

    def check(self) -> Space:
        """Itself. Raises ``InvalidInput`` where there is nothing to try."""
        for name in ("parallel", "threads", "kv_types", "batches"):
            if not getattr(self, name):
                raise InvalidInput(f"space: {name} has no value to try.", "Name at least one, or leave it out.")
        return self


def parallel_values(most: int) -> tuple[int, ...]:
    """1, 2, 3, 4, 6, 8, 12, …: each doubling and what lies halfway, and ``most`` itself."""
    values = {1, most}
    step = 2
    while step <= most:
        values |= {step, step * 3 // 2}
        step *= 2
    return tuple(sorted(value for value in values if value <= most))


def thread_values(computed: int, cores: int) -> tuple[int, ...]:
    """Numbers of threads around the computed one, up to that of all cores; every one of them on a small host.

    A quota may make fewer than ``cores`` the best, and not always the number that follows from it.
    """
    if cores <= FEW_THREADS:
        return tuple(range(1, cores + 1))
    steps = (round(computed * THREAD_STEP**power) for power in range(-4, 3))
    return tuple(sorted({min(max(1, value), cores) for value in (*steps, computed, cores)}))


def values(option: str, given: Sequence[int], most: int) -> tuple[int, ...]:
    """A user's list of numbers from 1 to ``most``, ascending. Raises ``InvalidInput``."""
    for value in given:
        if not 1 <= value <= most:
            raise InvalidInput(f"space: {option} has {value}.", f"Give whole numbers from 1 to {most}.", key=option)
    return tuple(sorted(set(given)))
