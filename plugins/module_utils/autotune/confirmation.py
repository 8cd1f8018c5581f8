# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Is the winner of a search really better than the current setting? Interleaved rounds, and ranks instead of means.

In each round both settings get the same requests, one after the other, so that what slows the host down for a while
slows both. The gain is the median of the rounds' ratios, and its bounds are ratios of single rounds counted from the
lowest and the highest: whatever the noise looks like, a bound is on the right side of the true median with 95 %
confidence, and a round that stalled moves it by one rank at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

# After so many rounds, so many of them may lie outside of a bound. A gain that is not there passes any of these looks
# with a probability of 4.8 %: all of 5 rounds (1/32), else 8 of 9, else 10 of 12.
LOOKS = ((5, 0), (9, 1), (12, 2))
MAX_ROUNDS = LOOKS[-1][0]
# Ratios beyond this are not told apart: the other setting did not do anything useful.
MAX_RATIO = 1000.0


@dataclass(frozen=True)
class Gain:
    """By which share the winner is better than the current setting: 0.3 is 30 %. Bounds with 95 % confidence."""

    rounds: int
    median: float
    lower: float
    upper: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data for Ansible."""
        return {"rounds": self.rounds, "median": self.median, "lower": self.lower, "upper": self.upper}


def ratio(winner: float, current: float) -> float:
    """How many times better one value is than the other."""
    return min(MAX_RATIO, winner / current) if current > 0 else (MAX_RATIO if winner > 0 else 1.0)


def gain(ratios: Sequence[float]) -> Gain | None:
    """The gain after these rounds; None where they are too few for bounds."""
    outside = [allowed for rounds, allowed in LOOKS if rounds <= len(ratios)]
    if not outside:
        return None
    ordered = sorted(ratios)
    low, high = ordered[outside[-1]], ordered[-1 - outside[-1]]
    return Gain(len(ratios), *(round(value - 1, 4) for value in (median(ordered), low, high)))


def decided(ratios: Sequence[float], least: float) -> bool | None:
    """Whether the gain is above ``least`` for certain (True), cannot be shown to be any more (False), or is open.

    It is looked at after the rounds of ``LOOKS`` only: who looks after every round finds by chance what he looks for.
    """
    below = sum(value <= 1 + least for value in ratios)
    if below > LOOKS[-1][1]:
        return False
    allowed = dict(LOOKS).get(len(ratios))
    if allowed is not None and below <= allowed:
        return True
    return False if len(ratios) >= MAX_ROUNDS else None
