# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which setting to try next: a Gaussian process over what was measured, and the improvement to be expected from it.

The logarithm of what a setting is worth is taken to be a sum: an effect of parallel, one of threads, one of the type of
the cache, one of the batch, and a small rest for how they act together. Neighbouring values have similar effects.

Source: Rasmussen and Williams, Gaussian Processes for Machine Learning, algorithm 2.1; Jones, Schonlau and Welch 1998
for the expected improvement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.llmops.ollama.plugins.module_utils.autotune.setting import Setting

# How far an effect usually goes, as the standard deviation of a logarithm: 0.5 is a factor of 1.6.
PARALLEL_EFFECT, THREADS_EFFECT, CHOICE_EFFECT, JOINT_EFFECT = 0.5, 0.5, 0.1, 0.1
# Over so many doublings an effect changes.
PARALLEL_SCALE, THREADS_SCALE = 1.5, 1.0
# What a doubling of parallel brings where nothing is known yet.
PARALLEL_TREND = 0.2
# What is worse than the best by more than this (a logarithm: a factor of 2.7) is bad for a reason of its own, such as
# threads that wait for each other. It tells little about other settings: this is the error that it is taken to have.
FLOOR, FLOOR_ERROR = 1.0, 0.5


@dataclass(frozen=True)
class Known:
    """A setting that was measured: the logarithm of what it is worth, and the standard error of that."""

    setting: Setting
    value: float
    error: float


def expected_improvement(known: Sequence[Known], candidates: Sequence[Setting]) -> list[float]:
    """For each candidate the logarithm of the factor by which it may be expected to beat the best known one."""
    best = max(each.value for each in known)
    values = [max(each.value - best, -FLOOR) for each in known]
    errors = [each.error if each.value - best > -FLOOR else FLOOR_ERROR for each in known]
    places = [each.setting for each in known]
    level = sum(value - _trend(place) for value, place in zip(values, places)) / len(values)
    gram = [[_likeness(one, other) for other in places] for one in places]
    for index, error in enumerate(errors):
        gram[index][index] += error**2
    factor = _cholesky(gram)
    rests = [value - level - _trend(place) for value, place in zip(values, places)]
    weights = _backward(factor, _forward(factor, rests))

    def expected(at: Setting) -> float:
        return level + _trend(at) + sum(_likeness(at, place) * weight for place, weight in zip(places, weights))

    top = max(map(expected, places))
    found = []
    for candidate in candidates:
        part = _forward(factor, [_likeness(candidate, place) for place in places])
        doubt = math.sqrt(max(1e-12, _likeness(candidate, candidate) - sum(each * each for each in part)))
        found.append(_improvement(expected(candidate) - top, doubt))
    return found


def _trend(setting: Setting) -> float:
    return PARALLEL_TREND * math.log2(setting.parallel)


def _likeness(one: Setting, other: Setting) -> float:
    parallel = _near(one.parallel, other.parallel, PARALLEL_SCALE)
    threads = _near(one.threads, other.threads, THREADS_SCALE)
    choices = (one.kv_type == other.kv_type) + (one.batch == other.batch)
    return (
        PARALLEL_EFFECT**2 * parallel
        + THREADS_EFFECT**2 * threads
        + CHOICE_EFFECT**2 * choices
        + JOINT_EFFECT**2 * parallel * threads
    )


def _near(one: int, other: int, scale: float) -> float:
    """1 for equal numbers, falling towards 0 with the doublings between them (a Matérn function, 5/2)."""
    distance = math.sqrt(5) * abs(math.log2(one / other)) / scale
    return (1 + distance + distance * distance / 3) * math.exp(-distance)


def _improvement(ahead: float, doubt: float) -> float:
    """The mean of what a normal variable exceeds 0 by."""
    z = ahead / doubt
    return ahead * (1 + math.erf(z / math.sqrt(2))) / 2 + doubt * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def _cholesky(matrix: Sequence[Sequence[float]]) -> list[list[float]]:
    """The lower triangle whose product with its transpose is a positive definite matrix."""
    lower: list[list[float]] = []
    for row in range(len(matrix)):
        lower.append([])
        for column in range(row + 1):
            rest = matrix[row][column] - sum(a * b for a, b in zip(lower[row], lower[column]))
            lower[row].append(math.sqrt(max(rest, 1e-12)) if row == column else rest / lower[column][column])
    return lower


def _forward(lower: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    """Solve ``lower · x = right``."""
    found: list[float] = []
    for row, value in zip(lower, right):
        found.append((value - sum(a * b for a, b in zip(row, found))) / row[-1])
    return found


def _backward(lower: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    """Solve ``transpose of lower · x = right``."""
    found = [0.0] * len(right)
    for row in reversed(range(len(right))):
        later = sum(lower[below][row] * found[below] for below in range(row + 1, len(right)))
        found[row] = (right[row] - later) / lower[row][row]
    return found
