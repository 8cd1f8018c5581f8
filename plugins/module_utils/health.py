# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Is a server healthy? A list of checks, each with what it found; a failed check does not hide the others."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.llmops.ollama.plugins.module_utils.client import NO_GENERATE, Client
from ansible_collections.llmops.ollama.plugins.module_utils.effective import (
    Checks,
    Host,
    Proof,
    Wanted,
    how_to_apply,
    kept_for,
)
from ansible_collections.llmops.ollama.plugins.module_utils.engine import duration
from ansible_collections.llmops.ollama.plugins.module_utils.errors import (
    NotFound,
    OllamaError,
    UnexpectedAnswer,
    Unhealthy,
)
from ansible_collections.llmops.ollama.plugins.module_utils.loaded_model import LONG_ENOUGH, Model, same_model
from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import Definition
from ansible_collections.llmops.ollama.plugins.module_utils.model_lock import LOCK_REMEDY, Lock, drifts, weights_of
from ansible_collections.llmops.ollama.plugins.module_utils.runner import read_environ
from ansible_collections.llmops.ollama.plugins.module_utils.systemd import FILE_PROPERTIES

# Each level includes those before it.
LEVELS = ("live", "ready", "effective")
# Seconds between two looks at a server that is not healthy yet.
PAUSE = 0.5

Clock = Callable[[], float]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. ``detail`` is for a person and ends with the ``remedy`` where ``ok`` is false."""

    name: str
    ok: bool
    detail: str
    latency_ms: float
    remedy: str = ""


@dataclass(frozen=True)
class Installed:
    """One installed model; ``quantization`` as the server names it, for example Q4_K_M."""

    name: str
    quantization: str

    @classmethod
    def of_tag(cls, entry: Mapping[str, Any]) -> Installed:
        """From an entry of ``/api/tags``."""
        return cls(str(entry["name"]), str((entry.get("details") or {}).get("quantization_level") or ""))


@dataclass(frozen=True)
class Health:
    """What all checks found. ``version`` and ``models`` are empty where the server did not tell.

    ``began`` is when they were begun, in seconds since the epoch.
    """

    level: str
    version: str
    models: tuple[Installed, ...]
    checks: tuple[Check, ...]
    began: float = 0.0

    @property
    def healthy(self) -> bool:
        """Whether every check succeeded."""
        return all(check.ok for check in self.checks)


def own_numbers(name: str, declared: Sequence[Definition]) -> dict[str, int]:
    """The parameters that are numbers with which a model was declared."""
    for definition in declared:
        if same_model(str(definition.name), name):
            return {key: value for key, value in definition.parameters.items() if isinstance(value, int)}
    return {}


class Examination:
    """The checks of one server, run one after the other.

    ``model`` is the one to load from the level ready on (default: the first that is installed). ``wanted`` is what must
    be in effect: its environment is compared at every level, the rest is proved at the level effective. ``host`` is
    where ``service`` runs. ``lock`` pins the installed models, of which ``models`` says which this host shall have;
    none is loaded where that is none.
    """

    def __init__(
        self,
        client: Client,
        level: str = "live",
        model: str | None = None,
        wanted: Wanted | None = None,
        service: str = "ollama.service",
        host: Host | None = None,
        clock: Clock = time.monotonic,
        lock: Lock | None = None,
        models: Sequence[Definition] | None = None,
    ) -> None:
        self._lock, self._declared = lock or {}, models
        self._client, self._level, self._model = client, level, model
        self._wanted, self._service, self._host = wanted or Wanted(), service, host or Host()
        self._clock = clock
        self._version = ""
        self._models: list[Installed] = []
        self._digests: dict[str, str] = {}

    def run(self) -> Health:
        """Look once."""
        self._version, self._models = "", []
        began = time.time()
        checks = [self._checked("api", self._api)]
        generated = False
        if checks[0].ok:  # without it the next ones could only say the same
            checks.append(self._checked("version", self._read_version))
            if self._lock:
                checks.append(self._checked("lock", self._compare_lock))
            if self._level != "live" and self._has_model():
                checks.append(self._checked("generate", self._generate))
                generated = checks[-1].ok
        if self._wanted.environment:
            checks.append(self._checked("environment", self._compare_environment))
        if self._level == "effective":
            proof = Proof(self._wanted, self._service, self._host, self._version)
            checks += self._all(proof.of_process())
            if generated:  # or the model is not loaded
                name = self._chosen()
                own = own_numbers(name, self._declared or ())
                model = Model(self._client, self._wanted, self._service, self._host, name, own)
                checks += self._all(model.checks())
            checks += self._all(proof.of_memory())
        return Health(self._level, self._version, tuple(self._models), tuple(checks), began)

    def _all(self, checks: Checks) -> list[Check]:
        return [self._checked(name, check) for name, check in checks]

    def _has_model(self) -> bool:
        """Whether one is to be loaded: not where none is declared, whatever somebody may have pulled."""
        return self._model is not None or self._declared is None or len(self._declared) > 0

    def _chosen(self) -> str:
        return self._model or self._models[0].name

    def _checked(self, name: str, check: Callable[[], str]) -> Check:
        start = self._clock()
        try:
            ok, detail, remedy = True, check(), ""
        except OllamaError as error:
            ok, detail, remedy = False, str(error), error.remedy
        return Check(name, ok, detail, round((self._clock() - start) * 1000, 1), remedy)

    def _api(self) -> str:
        tags = self._client.tags()
        self._models = [Installed.of_tag(entry) for entry in tags]
        self._digests = {str(entry["name"]).lower(): str(entry.get("digest") or "") for entry in tags}
        return f"GET {self._client.url}/api/tags answers 200 with {len(self._models)} models"

    def _read_version(self) -> str:
        self._version = self._client.version()
        if not self._version:
            raise Unhealthy(f"{self._client.url}/api/version names no version.", "Check that this is an Ollama server.")
        return self._version

    def _compare_lock(self) -> str:
        def weights(name: str) -> Sequence[str]:
            return weights_of(self._client.show(name))

        found = drifts(self._lock, self._digests, weights, self._declared)
        if found:
            raise Unhealthy(f"Models drifted from the lock: {'; '.join(map(str, found))}.", LOCK_REMEDY)
        return "the models are those that the lock pins"

    def _generate(self) -> str:
        if not self._model and not self._models:
            raise Unhealthy("No model is installed, so nothing can be generated.", "Pull a model first.")
        model = self._chosen()
        # No other option: one that differs from what clients send would make the server load the model anew.
        request: dict[str, Any] = {"model": model, "prompt": "Hello", "options": {"num_predict": 1}}
        keep_alive = LONG_ENOUGH if self._level == "effective" and self._unloads_at_once() else None
        if keep_alive:
            request["keep_alive"] = keep_alive
        try:
            done = any(event.get("done") for event in self._client.generate(request))
        except NotFound as error:
            have = ", ".join(model.name for model in self._models) or "none"
            raise NotFound(error.problem, f"Pull {model}, or choose one that is installed ({have}).") from None
        except UnexpectedAnswer as error:
            if NO_GENERATE not in error.problem:
                raise
            self._client.embed(model, "Hello", keep_alive)
            return f"{model} generates no text, and embedded one"
        if not done:
            raise Unhealthy(f"{model} ended its answer without saying that it is done.", "Look at the server's log.")
        return f"{model} generated a token"

    def _unloads_at_once(self) -> bool:
        """Whether the server keeps no model that it has answered with."""
        return duration(kept_for(self._service, self._wanted, self._host)) == 0

    def _compare_environment(self) -> str:
        unit = self._host.unit(self._service)
        has = read_environ(unit.main_pid, self._host.proc)
        wrong = differences(self._wanted.environment, has)
        if not wrong:
            return f"process {unit.main_pid} of {unit.name} has all {len(self._wanted.environment)} variables"
        stale = " Its unit files were changed without telling systemd." if unit.need_daemon_reload else ""
        raise Unhealthy(
            f"Process {unit.main_pid} of {unit.name} differs: {'; '.join(wrong.values())}.{stale}",
            how_to_apply(unit, self._host.systemd.properties(unit.name, FILE_PROPERTIES), wrong, variables=True),
        )


def differences(wanted: Mapping[str, str], has: Mapping[str, str]) -> dict[str, str]:
    """What is wrong with each variable that is not as wanted, by its name."""
    return {
        name: f"{name} should be {value!r} and is {repr(has[name]) if name in has else 'not set'}"
        for name, value in sorted(wanted.items())
        if has.get(name) != value
    }


def wait_for(
    look: Callable[[], Health], wait: float, clock: Clock = time.monotonic, sleep: Callable[[float], None] = time.sleep
) -> Health:
    """The first healthy result within ``wait`` seconds, or else the last one."""
    deadline = clock() + wait
    while True:
        health = look()
        if health.healthy or clock() + PAUSE > deadline:
            return health
        sleep(PAUSE)


def message(health: Health, url: str) -> str:
    """Every failed check of a server that is not healthy."""
    failed = (f"({check.name}) {check.detail}" for check in health.checks if not check.ok)
    return f"{url} is not healthy: {' '.join(failed)}"
