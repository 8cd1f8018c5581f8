# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tries settings on the running service of this host, and leaves it as it was.

A trial is a drop-in below ``/run``, which a reboot forgets; a transaction takes it back at the end of the block, and
the guard (``guard.py``) where the process does not live to see that.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Callable

from ansible_collections.llmops.ollama.plugins.module_utils import transaction
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.guard import Guard
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.measurement import Failed, Reading
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.rounds import Rounds
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.setting import Setting
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.load import Watch, clock
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.protocol import Target
from ansible_collections.llmops.ollama.plugins.module_utils.client import Client
from ansible_collections.llmops.ollama.plugins.module_utils.effective import Host, Wanted
from ansible_collections.llmops.ollama.plugins.module_utils.engine import Engine
from ansible_collections.llmops.ollama.plugins.module_utils.errors import Interrupted, OllamaError, Unhealthy
from ansible_collections.llmops.ollama.plugins.module_utils.health import differences
from ansible_collections.llmops.ollama.plugins.module_utils.loaded_model import Model
from ansible_collections.llmops.ollama.plugins.module_utils.runner import read_environ

FOLDER = "/run/systemd/system"
NAME = "90-llmops-trial.conf"
HEAD = "# Managed by llmops.ollama: only tried out, gone when the trial ends or at a reboot.\n[Service]\n"

# A setting that fails is started and measured a second time: somebody may have stopped the server just then.
ATTEMPTS = 2


@dataclass(frozen=True)
class Change:
    """What makes a setting effective: variables of the service, and options of each request where none does it."""

    environment: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """What is tried: the service, the address and model of its server, and what each setting needs.

    ``ready_timeout`` and ``request_timeout`` in seconds.
    """

    service: str
    url: str
    model: str
    engine: Engine
    change: Callable[[Setting], Change]
    ready_timeout: float = 60.0
    request_timeout: float = 300.0


class Trials:
    """Inside a ``with`` block, settings are tried one after the other; at its end the service runs as before."""

    def __init__(
        self,
        subject: Subject,
        rounds: Rounds,
        guard: Guard,
        host: Host | None = None,
        folder: str = FOLDER,
        ready: transaction.Ready | None = None,
    ) -> None:
        self._subject, self._rounds, self._guard, self._host = subject, rounds, guard, host or Host()
        self._path = trial_path(subject.service, folder)
        self._ready = ready or transaction.answers(f"{subject.url}/api/tags")
        self._transaction: transaction.Transaction
        self._running: tuple[Setting, str] | None = None
        self.watch: Watch = lambda samples: None

    def __enter__(self) -> Trials:
        unit = self._host.unit(self._subject.service)
        planned = transaction.plan([transaction.Item(self._path, _drop_in({}))], {}, unit, enabled=None)
        self._transaction = transaction.Transaction(
            planned, self._host.systemd, ready=self._ready, ready_timeout=self._subject.ready_timeout
        )
        self._transaction.__enter__()
        self._guard.needed = True
        try:
            self._transaction.apply()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._transaction.__exit__(kind, error, trace)
        except OllamaError as failure:
            self._guard.needed = not failure.details.get("restored", False)
            raise
        self._guard.needed = False

    def measure(self, setting: Setting, number: int, model: str | None = None) -> Reading | Failed:
        """One measurement; one of the same ``number`` has the same requests. A setting that fails twice has failed."""
        start = clock()
        model = model or self._subject.model
        reason = ""
        for _ in range(ATTEMPTS):
            try:
                found = self._measured(setting, model, number)
                return replace(found, seconds=clock() - start)
            except Interrupted:
                raise
            except OllamaError as error:
                self._running = None
                reason = f"{error.problem}{self._end_of_service()}"
        return Failed(reason, clock() - start)

    def _measured(self, setting: Setting, model: str, number: int) -> Reading:
        subject = self._subject
        change = subject.change(setting)
        slots = setting.parallel
        target = Target(subject.url, model, options=dict(change.options), timeout=subject.request_timeout)
        if self._running != (setting, model):
            self._transaction.switch(self._path, _drop_in(change.environment))
            self._rounds.warm_up(target, slots)
            self._prove(setting, model, change)
            self._running = (setting, model)
        before = self._host.unit(subject.service)
        found = self._rounds.measure(target, slots, number, self.watch)
        after = self._host.systemd.show(subject.service)
        if (after.main_pid, after.restarts) != (before.main_pid, before.restarts):
            raise Unhealthy(f"Process {before.main_pid} of {subject.service} did not live to the end.")
        return found

    def _prove(self, setting: Setting, model: str, change: Change) -> None:
        """What is tried has reached the server and the model that it loaded. Raises an ``OllamaError``."""
        subject, host = self._subject, self._host
        wrong = differences(change.environment, read_environ(host.unit(subject.service).main_pid, host.proc))
        if wrong:
            raise Unhealthy(f"The server does not have what is tried: {'; '.join(wrong.values())}.")
        wanted = Wanted(change.environment, threads=setting.threads if "num_thread" in change.options else None)
        with Client(subject.url, subject.request_timeout) as client:
            for _, check in Model(client, wanted, subject.service, host, model).checks():
                check()

    def _end_of_service(self) -> str:
        """What systemd says of a service that has ended; nothing of one that runs."""
        unit = self._host.systemd.show(self._subject.service)
        return f" {unit.name} ended with {unit.result}." if unit.gone else ""


def trial_path(service: str, folder: str = FOLDER) -> str:
    """Where the drop-in of a trial lies."""
    return f"{folder}/{service}.d/{NAME}"


def remove_leftover(service: str, host: Host, ready: transaction.Ready, folder: str = FOLDER) -> None:
    """Take back what a run left behind that not even its guard outlived. Raises an ``OllamaError``."""
    path = trial_path(service, folder)
    unit = host.systemd.show(service)
    left = transaction.read(path)
    if left is not None:
        planned = transaction.plan([transaction.Item(path, None)], {path: left}, unit, enabled=None)
        with transaction.Transaction(planned, host.systemd, ready=ready) as removal:
            removal.apply()
            removal.commit()


def _drop_in(environment: Mapping[str, str]) -> transaction.File:
    lines = (f'Environment="{name}={_escaped(value)}"\n' for name, value in sorted(environment.items()))
    return transaction.File((HEAD + "".join(lines)).encode(), 0o644, os.geteuid(), os.getegid())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
