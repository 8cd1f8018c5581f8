# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is measured at one setting, and what its numbers are worth; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Callable, Union

from ansible_collections.llmops.ollama.plugins.module_utils.autotune.setting import Setting

# The spread of one measurement that is assumed (of its logarithm), and as how many measurements this counts.
USUAL_NOISE = 0.05
WITNESSES = 6
# A measurement that lies further off than so many spreads is a stall of the host: it counts as no more than that.
STALL = 3.0
# Two-sided 95 %.
CONFIDENCE = 1.96


@dataclass(frozen=True)
class Reading:
    """One measurement at one setting, in requests per second and seconds.

    ``goodput`` counts requests that met the whole SLO, ``throughput`` all that succeeded. ``miss`` is by which factor
    the slower half of the requests missed the SLO, at least 1 where half of them missed it, and 0 without an SLO.
    ``seconds`` is all the time that it took. ``details`` are further numbers, for a person.
    """

    goodput: float
    throughput: float = 0.0
    miss: float = 0.0
    seconds: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)

    def worth(self, met: bool) -> float:
        """What counts: goodput, or where no setting meets the SLO, how nearly it is met."""
        return self.goodput if met else (1 / self.miss if self.miss else 0.0)


@dataclass(frozen=True)
class Failed:
    """A setting that cannot be used, with the reason: a sentence."""

    reason: str
    seconds: float = 0.0


# Called with a setting and a number: measurements of the same number are of the same requests.
Measure = Callable[[Setting, int], Union[Reading, Failed]]


@dataclass(frozen=True)
class Trial:
    """A setting with all its measurements; with ``failure`` it cannot be used."""

    setting: Setting
    readings: tuple[Reading, ...] = ()
    failure: str = ""


class Judge:
    """Compares trials by one number: goodput, or where no setting has any, how nearly the SLO is met.

    All estimates are of logarithms, as noise is a share of what is measured.
    """

    def __init__(self, trials: Sequence[Trial]) -> None:
        usable = [trial for trial in trials if trial.readings and not trial.failure]
        self.met = any(reading.goodput > 0 for trial in usable for reading in trial.readings)
        self.noise = self._noise([self.values(trial) for trial in usable])

    def values(self, trial: Trial) -> list[float]:
        """What counts of each of its readings."""
        return [reading.worth(self.met) for reading in trial.readings]

    def value(self, trial: Trial) -> float:
        """The best guess of what a setting is worth; 0 for one that cannot be used."""
        return 0.0 if trial.failure else typical(self.values(trial))

    def spread(self, trial: Trial) -> float:
        """The standard error of the logarithm of ``value``."""
        return self.noise / math.sqrt(max(1, len(trial.readings)))

    def interval(self, trial: Trial) -> tuple[float, float]:
        """Where what it is worth lies, with 95 % confidence."""
        factor = math.exp(CONFIDENCE * self.spread(trial))
        return self.value(trial) / factor, self.value(trial) * factor

    def behind(self, trial: Trial, best: Trial) -> float:
        """By how many standard errors a trial is worse than another one; infinite for one that is worth nothing."""
        mine, other = self.value(trial), self.value(best)
        if mine <= 0:
            return math.inf if other > 0 else 0.0
        return math.log(other / mine) / math.hypot(self.spread(trial), self.spread(best))

    @staticmethod
    def _noise(groups: Sequence[Sequence[float]]) -> float:
        """The spread of one reading, from how the readings of each setting differ among themselves."""
        total, freedom = WITNESSES * USUAL_NOISE**2, float(WITNESSES)
        for group in groups:
            centre = typical(group)
            if centre > 0:
                logs = [math.log(value / centre) if value > 0 else -math.inf for value in group]
                total += sum(min(each * each, (STALL * USUAL_NOISE) ** 2) for each in logs)
                freedom += len(group) - 1
        return math.sqrt(total / freedom)


def typical(values: Sequence[float]) -> float:
    """The mean without the lowest and the highest where there are enough of them, so that one stall does not count."""
    if not values:
        return 0.0
    if len(values) == 3:
        return median(values)
    ordered = sorted(values)
    inner = ordered[1:-1] if len(ordered) > 3 else ordered
    return sum(inner) / len(inner)
