# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A whole search on this host: survey, trials, comparison of quantizations, record."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils import transaction
from ansible_collections.llmops.ollama.plugins.module_utils.autotune import report
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.bounds import MAX_PARALLEL, Wish
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.demand import Demand
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.guard import Guard
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.measurement import Failed, Reading, typical
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.quantization import (
    Advice,
    Variant,
    advise,
    loss_of,
)
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.record import PATH, Record
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.rounds import Rounds
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.search import Found, Limits, Progress, search
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.setting import Setting, Space
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.survey import Survey
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.trial import (
    Subject,
    Trials,
    remove_leftover,
    trial_path,
)
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.load import clock
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.sample import Sample
from ansible_collections.llmops.ollama.plugins.module_utils.effective import Host
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput, OllamaError, Unhealthy
from ansible_collections.llmops.ollama.plugins.module_utils.memory_model import MIB
from ansible_collections.llmops.ollama.plugins.module_utils.memory_plan import Workload
from ansible_collections.llmops.ollama.plugins.module_utils.model_facts import Model
from ansible_collections.llmops.ollama.plugins.module_utils.progress import Report
from ansible_collections.llmops.ollama.plugins.module_utils.systemd import unit_name
from ansible_collections.llmops.ollama.plugins.module_utils.words import http_url

# Into how many measurements the time is divided: 8 settings twice, a race, and the confirmation, with restarts between.
MEASUREMENTS = 40
# What the last steps need: the previous setting runs again, and the guard is stopped.
SECONDS_TO_LEAVE = 10.0
# The share of the time for the search, where quantizations are compared too; how often each of them is measured.
SEARCH_SHARE = 0.6
COMPARISONS = 3
# Seconds after which a line of progress is said again.
SAY_AGAIN = 10.0
# The guard takes a trial back after so many times the time that a run may take, if the run hangs.
OVERDUE = 3.0
RANGES = {"max_minutes": (0.5, 24 * 60.0), "min_gain": (0.0, 1000.0), "ready_timeout": (1.0, 86400.0)}


@dataclass(frozen=True)
class Job:
    """What a user asks for. ``limits`` are those of the search and of all else together."""

    service: str
    url: str
    demand: Demand
    wish: Wish
    limits: Limits
    ready_timeout: float
    request_timeout: float

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Job:
        """From the module's options. Raises ``InvalidInput``."""
        for name, (least, most) in RANGES.items():
            if not least <= options[name] <= most:
                raise InvalidInput(
                    f"{name} is {options[name]:g}.", f"Give a number from {least:g} to {most:g}.", key=name
                )
        space = options["space"] or {}
        return cls(
            service=unit_name(options["service"]),
            url=http_url("url", options["url"]),
            demand=Demand.of(options["concurrency"], options["workload"] or {}, options["slo"] or {}),
            wish=Wish(
                space.get("parallel"),
                MAX_PARALLEL if space.get("max_parallel") is None else space["max_parallel"],
                space.get("threads"),
                space.get("kv_types"),
                space.get("batch") or (),
            ),
            limits=Limits(options["max_minutes"] * 60, options["min_gain"] / 100),
            ready_timeout=options["ready_timeout"],
            request_timeout=options["timeout"],
        )


@contextlib.contextmanager
def alone(job: Job, host: Host | None = None) -> Iterator[Guard]:
    """Nobody else tries settings of the service, and those of an interrupted run are gone. Raises ``OllamaError``."""
    with Guard(job.service, trial_path(job.service), OVERDUE * job.limits.seconds + job.ready_timeout) as guard:
        remove_leftover(job.service, host or Host(), transaction.answers(f"{job.url}/api/tags"))
        yield guard


class Run:
    """One run on one host. ``remarks`` are what a person should know besides."""

    def __init__(self, job: Job, survey: Survey, say: Report, host: Host | None = None) -> None:
        self._job, self._survey, self._say, self._host = job, survey, say, host or Host()
        self.space: Space = survey.situation.space(job.wish, job.demand.concurrency)
        self.remarks = [f"{name} is not installed: it is left out." for name in survey.absent]
        self._start = clock()
        self._progress: Progress | None = None
        self._shown = 0.0

    def plan(self, fresh: bool) -> dict[str, Any]:
        """What would be done."""
        return report.plan(self._survey.situation, self.space, self._job.limits, fresh)

    def search(self, guard: Guard) -> tuple[Found, Advice | None]:
        """Try settings, and compare quantizations with the one that is adopted. Raises an ``OllamaError``."""
        job = self._job
        share = SEARCH_SHARE if self._survey.quantizations else 1.0
        limits = replace(job.limits, seconds=job.limits.seconds * share - SECONDS_TO_LEAVE)
        current = self._survey.situation.current()
        rounds = Rounds(job.demand, limits.seconds / MEASUREMENTS, self._start + job.limits.seconds)
        with Trials(self._subject(), rounds, guard, self._host) as trials:
            trials.watch = self._sampled
            found = search(self.space, current, trials.measure, limits, watch=self._moved_on)
            if not any(trial.readings for trial in found.trials):
                raise Unhealthy(
                    f"Nothing could be measured, not even with the current setting: {found.trials[0].failure}",
                    f"Check that {self._survey.model} answers (llmops.ollama.health), then run again.",
                )
            advice = self._compare(trials, found.adopted) if self._survey.quantizations else None
        return found, advice

    def _subject(self) -> Subject:
        job, situation = self._job, self._survey.situation
        return Subject(
            job.service,
            job.url,
            self._survey.model,
            situation.engine,
            situation.change,
            job.ready_timeout,
            job.request_timeout,
        )

    def _compare(self, trials: Trials, setting: Setting) -> Advice:
        """The quantizations in turns, until each was measured a few times or the time is up."""
        models = self._survey.quantizations
        results: dict[str, list[Reading | Failed]] = {model.name: [] for model in models}
        for number in range(COMPARISONS):
            for model in models:
                late = clock() - self._start >= self._job.limits.seconds - SECONDS_TO_LEAVE
                if not late and not any(isinstance(each, Failed) for each in results[model.name]):
                    self._say(f"comparing {model.name}, {number + 1} of {COMPARISONS}")
                    results[model.name].append(trials.measure(setting, number, model.name))
        policy = self._survey.situation.policy
        return advise(
            [
                _variant(model, results[model.name], self._memory(model, setting), policy.quantizations)
                for model in models
            ]
        )

    def _memory(self, model: Model, setting: Setting) -> int:
        """MiB that the tuner plans for a model alone."""
        situation = replace(self._survey.situation, workload=Workload((model,)))
        return round(situation.tuning(setting).memory.models[0].memory.peak / MIB)

    def _moved_on(self, progress: Progress) -> None:
        self._progress = progress
        self._show()

    def _sampled(self, samples: Sequence[Sample]) -> None:
        """Say once more how long it takes during a long measurement."""
        if clock() - self._shown >= SAY_AGAIN:
            self._show(f"{len(samples)} answers")

    def _show(self, detail: str = "") -> None:
        self._shown = clock()
        if self._progress is not None:
            unit = "good requests/s" if self._job.demand.slo else "requests/s"
            left = self._job.limits.seconds - (clock() - self._start)
            self._say(report.progress_line(self._progress, unit, left, detail))

    def holds(self, record: Record | None) -> bool:
        """Whether what was found before holds here and now, for the same workload."""
        return record is not None and not record.stale(self._survey.fingerprint)

    def record(self, found: Found, evidence: dict[str, Any]) -> Record:
        """What is kept; ``evidence`` is all that is told of it."""
        date = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        measured = report.measured(found, self.space, self._job.demand, date)
        return Record(self._survey.fingerprint, measured, evidence)


def keep(record: Record, path: str = PATH) -> bool:
    """Put the fact into place, whole or not at all. Whether it changed. Raises an ``OllamaError``."""
    state = transaction.File(record.to_text().encode(), 0o644, 0, 0)
    before = transaction.read(path)
    if before == state:
        return False
    files = transaction.FileSet([transaction.Change(path, before, state)])
    try:
        files.write()
    except OllamaError:
        files.rollback()
        raise
    files.commit()
    return True


def _variant(model: Model, results: Sequence[Reading | Failed], memory_mb: int, quantizations: Any) -> Variant:
    name = model.shape.quantization
    failures = [each.reason for each in results if isinstance(each, Failed)]
    failures = failures or ([] if results else ["There was no time left to measure it. Raise max_minutes."])
    rates = [each.goodput for each in results if isinstance(each, Reading)]
    rate = None if failures or not rates else round(typical(rates), 4)
    return Variant(model.name, name, rate, memory_mb, loss_of(name, quantizations), "".join(failures[:1]))
