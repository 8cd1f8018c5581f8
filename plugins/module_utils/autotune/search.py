# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The search for the best setting: a pure function of a callable that measures one.

1. The guide's way: the current setting, then 2 parallel requests and twice as many again and again, until it brings no
   more.
2. What promises most by what is known so far (``surrogate.py``): other threads, what lies between two doublings, and
   another type of cache or batch where they may change.
3. A race: those that may still be the best are measured again until one is ahead. Of equals the smallest wins.
4. The winner against the current setting in interleaved rounds (``confirmation.py``).

A setting that is clearly worse is measured once only, and one that fails is left alone with whatever needs more memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import mean
from typing import Callable

from ansible_collections.llmops.ollama.plugins.module_utils.autotune.confirmation import (
    LOOKS,
    Gain,
    decided,
    gain,
    ratio,
)
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.measurement import (
    Failed,
    Judge,
    Measure,
    Reading,
    Trial,
)
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.setting import MAX_SETTINGS, Setting, Space
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.surrogate import (
    FLOOR,
    Known,
    expected_improvement,
)

# The gain that is worth a change.
MIN_GAIN = 0.05
# A setting that is so many standard errors behind after its first measurement gets no second one.
CLEARLY_WORSE = 3.0
# One that is so many behind cannot be the best any more.
OUT_OF_RACE = 2.5
FIRST_READINGS = 2
# Of a race, as each change of the setting costs a restart.
READINGS_AT_ONCE = 2
MAX_READINGS = 16
# The number of the first round of the confirmation: both settings get the same requests, which neither had before.
CONFIRMING = 1000
# Settings that differ by less are equals.
TIE = 0.005
# The way up ends after so many doublings in a row of which none brought more than this share.
PATIENCE = 2
TELLING = 0.02
# Settings that the way up leaves to the second part of the search.
KEPT = 4
# What promises less is not tried.
WORTH_A_TRY = 0.003
# No step goes further from what was measured than the guide's: twice as much, or half.
STEP = 2


@dataclass(frozen=True)
class Limits:
    """Seconds that all measurements may take, the gain (a share) that is worth a change, how many settings to try."""

    seconds: float = math.inf
    min_gain: float = MIN_GAIN
    settings: int = MAX_SETTINGS


@dataclass(frozen=True)
class Progress:
    """What is going on, for a person who watches: what is measured next, and what was best until now."""

    phase: str
    setting: Setting
    number: int
    best: Setting | None
    best_value: float
    spent: float


Watch = Callable[[Progress], None]


@dataclass(frozen=True)
class Found:
    """The outcome. ``best`` is what the search takes for the best, ``adopted`` what should be set from now on.

    ``trials`` are all settings in the order in which they were tried, the current one first, with the measurements of
    the search; ``rounds`` are those of the confirmation, the best setting's and the current one's. ``verdict`` says in
    a sentence why it was adopted, or was not. ``timed_out``: more would have been tried if there had been time.
    """

    current: Setting
    best: Setting
    adopted: Setting
    trials: tuple[Trial, ...]
    rounds: tuple[tuple[Reading, Reading], ...]
    gain: Gain | None
    verdict: str
    seconds: float
    timed_out: bool = False

    @property
    def changed(self) -> bool:
        """Whether another setting should be adopted."""
        return self.adopted != self.current

    @property
    def judge(self) -> Judge:
        """What the numbers of the trials are worth."""
        return Judge(self.trials)


def search(
    space: Space, current: Setting, measure: Measure, limits: Limits | None = None, watch: Watch = lambda progress: None
) -> Found:
    """Find the best setting. What ``measure`` raises ends the search."""
    return _Search(space.check(), current, measure, limits or Limits(), watch).run()


class _Search:
    def __init__(self, space: Space, current: Setting, measure: Measure, limits: Limits, watch: Watch) -> None:
        self._space, self._current, self._measure, self._limits, self._watch = space, current, measure, limits, watch
        self._trials: dict[Setting, Trial] = {}
        self._spent = 0.0
        self._last: Setting | None = None  # what the server runs with
        self._costs: dict[bool, list[float]] = {True: [], False: []}  # seconds, with a restart before it and without
        self._timed_out = False

    def run(self) -> Found:
        self._try(self._current, "current setting")
        self._climb()
        self._explore()
        self._race()
        best = self._choose()
        rounds, bounds, adopted, verdict = self._confirm(best)
        return Found(
            current=self._current,
            best=best,
            adopted=best if adopted else self._current,
            trials=tuple(self._trials.values()),
            rounds=tuple(rounds),
            gain=bounds,
            verdict=verdict,
            seconds=self._spent,
            timed_out=self._timed_out,
        )

    # --- the parts -------------------------------------------------------------------------------------------------

    def _climb(self) -> None:
        """Start at 2 and raise."""
        in_vain = 0
        for setting in self._space.doublings(self._current):
            if in_vain == PATIENCE or self._room() <= KEPT or not self._in_time():
                return
            before = self._judge().value(self._best())
            trial = self._try(setting, "raising parallel")
            if trial.failure and setting.parallel > self._current.parallel:
                return  # what needs more would fail too
            in_vain = 0 if self._judge().value(trial) > before * (1 + TELLING) else in_vain + 1

    def _explore(self) -> None:
        """Try what promises most, as long as anything promises something."""
        while self._room() > 0:
            candidates, known = self._candidates(), self._known()
            if not candidates or not known:
                return
            promised = expected_improvement(known, candidates)
            most = max(promised)
            if most < WORTH_A_TRY or not self._in_time():
                return
            self._try(candidates[promised.index(most)], "exploring")

    def _race(self) -> None:
        """Measure those again that may still be the best, in turns, until there is one or it does not matter."""
        while True:
            judge, best = self._judge(), self._best()
            if judge.value(best) <= 0:
                return
            rivals = [each for each in self._trials.values() if judge.behind(each, best) < OUT_OF_RACE]
            tired = all(len(trial.readings) >= MAX_READINGS for trial in rivals)
            if len(rivals) < 2 or tired or self._pointless(judge, best) or not self._in_time():
                return
            behind = min(rivals, key=lambda trial: len(trial.readings)).setting
            for _ in range(READINGS_AT_ONCE):
                if self._in_time() and not self._trials[behind].failure:
                    self._read(behind, "racing")

    def _pointless(self, judge: Judge, best: Trial) -> bool:
        """Whether even the best is for certain not enough better than the current setting to be adopted."""
        current = self._trials[self._current]
        if best is current or current.failure or judge.value(current) <= 0:
            return False
        ahead = math.log(judge.value(best) / judge.value(current))
        return ahead + OUT_OF_RACE * math.hypot(judge.spread(best), judge.spread(current)) < math.log1p(
            self._limits.min_gain
        )

    def _choose(self) -> Setting:
        """The best one, or the smallest of those that are as good."""
        judge, best = self._judge(), self._best()
        least = judge.value(best) * (1 - TIE)
        if least <= 0:
            return self._current
        return min((each.setting for each in self._trials.values() if judge.value(each) >= least), key=_size)

    def _confirm(self, best: Setting) -> tuple[list[tuple[Reading, Reading]], Gain | None, bool, str]:
        """Interleaved rounds of the best and the current setting, and whether the best one is adopted."""
        rounds: list[tuple[Reading, Reading]] = []
        if best == self._current:
            return rounds, None, False, self._nothing_better()
        if self._trials[self._current].failure:
            return rounds, None, True, f"The current setting cannot be used: {self._trials[self._current].failure}"
        least = self._limits.min_gain
        while True:
            ratios = self._ratios(rounds)
            settled = decided(ratios, least)
            if settled is not None:
                bounds = gain(ratios)
                return rounds, bounds, settled, _verdict(settled, bounds, least, len(ratios))
            if self._spent + self._cost(restarts=1, others=1) > self._limits.seconds:
                self._timed_out = True
                bounds = gain(ratios)
                return rounds, bounds, False, f"The time was up after {len(rounds)} rounds without certainty."
            # Twice the one and twice the other in a row: half as many restarts, and no order is favoured.
            order = [best, self._current] if len(rounds) % 2 == 0 else [self._current, best]
            pair: dict[Setting, Reading] = {}
            for setting in order:
                self._report(setting, f"confirming, round {len(rounds) + 1}")
                found = self._measured(setting, CONFIRMING + len(rounds))
                if isinstance(found, Failed):
                    self._trials[setting] = replace(self._trials[setting], failure=found.reason)
                    return (
                        rounds,
                        gain(ratios),
                        setting != best,
                        f"In round {len(rounds) + 1} {setting} failed: {found.reason}",
                    )
                pair[setting] = found
            rounds.append((pair[best], pair[self._current]))

    def _nothing_better(self) -> str:
        tried = len(self._trials) - 1
        if tried:
            short = " in the time there was" if self._timed_out else ""
            return f"None of the other {tried} settings was better than the current one{short}."
        if self._timed_out:
            return (
                f"There was no time to try another setting and to confirm it: the current one alone took "
                f"{self._spent:.0f} of {self._limits.seconds:.0f} s."
            )
        return "There was nothing else that may be tried."

    # --- what is known ---------------------------------------------------------------------------------------------

    def _judge(self) -> Judge:
        return Judge(tuple(self._trials.values()))

    def _best(self) -> Trial:
        return max(self._trials.values(), key=self._judge().value)

    def _known(self) -> list[Known]:
        judge = self._judge()
        return [
            Known(trial.setting, math.log(judge.value(trial)), judge.spread(trial))
            for trial in self._trials.values()
            if judge.value(trial) > 0
        ]

    def _candidates(self) -> list[Setting]:
        """What was not tried, is near to what was, needs less than what failed, and is not bad; the smallest first."""
        tried = list(self._trials)
        failed = [trial.setting for trial in self._trials.values() if trial.failure]
        bad = self._bad()

        def near(setting: Setting, name: str) -> bool:
            value = getattr(setting, name)
            return any(value <= STEP * getattr(each, name) and getattr(each, name) <= STEP * value for each in tried)

        return sorted(
            (
                each
                for each in self._space.settings()
                if each not in self._trials
                and near(each, "parallel")
                and near(each, "threads")
                and not any(each.kv_type == one.kv_type and each.parallel >= one.parallel for one in failed)
                and not any(getattr(each, name) == value for name, value in bad)
            ),
            key=_size,
        )

    def _bad(self) -> set[tuple[str, object]]:
        """Values that alone made the difference between a setting that is hardly worth anything and a good one."""
        judge = self._judge()
        least = judge.value(self._best()) * math.exp(-FLOOR)
        good: list[Setting] = []
        poor: list[Setting] = []
        for trial in self._trials.values():
            if not trial.failure:
                (good if judge.value(trial) > least else poor).append(trial.setting)
        found: set[tuple[str, object]] = set()
        for one in poor:
            for other in good:
                differing = [name for name, value in one.to_dict().items() if value != getattr(other, name)]
                if len(differing) == 1:
                    found.add((differing[0], getattr(one, differing[0])))
        return found

    def _ratios(self, rounds: list[tuple[Reading, Reading]]) -> list[float]:
        met = any(reading.goodput > 0 for pair in rounds for reading in pair)
        return [ratio(best.worth(met), current.worth(met)) for best, current in rounds]

    # --- measuring -------------------------------------------------------------------------------------------------

    def _try(self, setting: Setting, phase: str) -> Trial:
        """Measure a setting for the first time: twice, unless once is enough to see that it is not the best."""
        while setting not in self._trials or len(self._trials[setting].readings) < FIRST_READINGS:
            trial = self._read(setting, phase)
            if trial.failure or self._judge().behind(trial, self._best()) > CLEARLY_WORSE:
                break
            if setting != self._current and not self._in_time():
                break
        return self._trials[setting]

    def _read(self, setting: Setting, phase: str) -> Trial:
        """Measure once more."""
        self._report(setting, phase)
        trial = self._trials.get(setting, Trial(setting))
        found = self._measured(setting, len(trial.readings))
        if isinstance(found, Failed):
            trial = replace(trial, failure=found.reason)
        else:
            trial = replace(trial, readings=(*trial.readings, found))
        self._trials[setting] = trial
        return trial

    def _measured(self, setting: Setting, number: int) -> Reading | Failed:
        found = self._measure(setting, number)
        self._spent += found.seconds
        self._costs[setting != self._last].append(found.seconds)
        self._last = setting
        return found

    def _report(self, setting: Setting, phase: str) -> None:
        number = len(self._trials) + (setting not in self._trials)
        best = self._best() if self._trials else None
        value = self._judge().value(best) if best else 0.0
        self._watch(Progress(phase, setting, number, best.setting if best else None, value, self._spent))

    def _room(self) -> int:
        return self._limits.settings - len(self._trials)

    def _in_time(self) -> bool:
        """Whether one more measurement leaves enough time to confirm a winner."""
        rounds = LOOKS[0][0]
        if self._spent + self._cost(restarts=rounds + 1, others=rounds) > self._limits.seconds:
            self._timed_out = True
        return not self._timed_out

    def _cost(self, restarts: int, others: int) -> float:
        """Seconds that so many measurements may take: as the dearer half of those before them."""
        with_restart, without = (sorted(self._costs[fresh] or self._costs[not fresh]) for fresh in (True, False))
        return restarts * mean(with_restart[len(with_restart) // 2 :]) + others * mean(without[len(without) // 2 :])


def _size(setting: Setting) -> tuple[float, int, int]:
    return setting.size


def _verdict(adopted: bool, bounds: Gain | None, least: float, rounds: int) -> str:
    if bounds is None:
        return f"Too many of {rounds} rounds showed no gain above {least:.0%}."
    seen = f"The gain is {bounds.median:+.1%} ({bounds.lower:+.1%} to {bounds.upper:+.1%}, {bounds.rounds} rounds)"
    return f"{seen}, for certain above {least:.0%}." if adopted else f"{seen}, not for certain above {least:.0%}."
