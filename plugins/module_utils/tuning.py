# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From a host and a policy to settings of the Ollama service, each with the rule and the reason behind it.

A recommender looks at the situation and yields what it has to say; nothing is an answer too. They run in order, and a
later one sees what the earlier ones settled. What the user set in the environment always wins.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Callable, Union

from ansible_collections.llmops.ollama.plugins.module_utils.engine import (
    DEFAULT_LOADED_MODELS,
    GPU_VISIBILITY,
    NO_DEVICE,
    Engine,
    check_variable,
    variable_problem,
)
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import Hardware
from ansible_collections.llmops.ollama.plugins.module_utils.policy import PROFILES, REQUEST_TIMEOUT, Policy, Row

Value = Union[int, str]

AUTO = "auto"
OFF = "off"
PROFILE_CHOICES = (AUTO, *PROFILES, OFF)

# Rules of settings that the user asked for, which stay when tuning is off.
EXPLICIT = "explicit"
OPTION = "option"

NUM_GPU_RANGE = (-1, 999)
REQUEST_TIMEOUT_RANGE = (1, 86400)


@dataclass(frozen=True)
class Recommendation:
    """One setting. ``variable`` is the environment variable that enforces it; None: the reason says what does."""

    key: str
    value: Value
    rule: str
    reason: str
    variable: str | None = None


@dataclass(frozen=True)
class Intent:
    """What the operator asks for. ``num_gpu``: 0 CPU only, -1 all layers, n layers, None by hardware.

    ``request_timeout`` in seconds. ``environment`` holds explicit variables, name to value.
    """

    profile: str = AUTO
    engine: Engine = field(default_factory=Engine)
    num_gpu: int | None = None
    request_timeout: int = REQUEST_TIMEOUT
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def make(
        cls,
        profile: str = AUTO,
        engine_version: str | None = None,
        num_gpu: int | None = None,
        request_timeout: int = REQUEST_TIMEOUT,
        environment: Mapping[str, Any] | None = None,
    ) -> Intent:
        """Check what a user gave. Raises ``InvalidInput``."""
        if profile not in PROFILE_CHOICES:
            raise InvalidInput(
                f"profile is {profile!r}.", f"It must be one of {', '.join(PROFILE_CHOICES)}.", key="profile"
            )
        _check_range("num_gpu", num_gpu, NUM_GPU_RANGE)
        _check_range("request_timeout", request_timeout, REQUEST_TIMEOUT_RANGE)
        variables = {str(name): _text(str(name), value) for name, value in (environment or {}).items()}
        for name, value in variables.items():
            check_variable(name, value)
        return cls(profile, Engine.parse(engine_version), num_gpu, request_timeout, variables)


@dataclass(frozen=True)
class Tuning:
    """The outcome. ``environment`` is complete: the recommended variables and the user's own."""

    profile: str
    recommendations: tuple[Recommendation, ...]
    environment: Mapping[str, str]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for Ansible."""
        return {
            "profile": self.profile,
            "environment": dict(self.environment),
            "recommendations": [dataclasses.asdict(recommendation) for recommendation in self.recommendations],
            "warnings": list(self.warnings),
        }


@dataclass
class Situation:
    """What recommenders decide on; ``settled`` grows as they do."""

    hardware: Hardware
    policy: Policy
    intent: Intent
    row: Row
    settled: dict[str, Recommendation] = field(default_factory=dict)

    @property
    def engine(self) -> Engine:
        return self.intent.engine

    def number(self, key: str) -> int:
        """A settled whole number."""
        return int(self.settled[key].value)

    def settle(self, recommendation: Recommendation) -> None:
        """Keep a recommendation, or the user's own value where there is one."""
        name = recommendation.variable
        if name is not None and name in self.intent.environment:
            text = self.intent.environment[name]
            value: Value = int(text) if isinstance(recommendation.value, int) else text
            agrees = "which is also" if value == recommendation.value else "instead of"
            reason = f"{name} is set in the environment given, {agrees} the computed {recommendation.value}."
            recommendation = Recommendation(recommendation.key, value, EXPLICIT, reason, name)
        self.settled[recommendation.key] = recommendation


def recommend(hardware: Hardware, policy: Policy, intent: Intent) -> Tuning:
    """Recommend settings. Raises ``InvalidInput`` for a profile that the policy's table does not have."""
    named = None if intent.profile in (AUTO, OFF) else intent.profile
    row = policy.best_row(hardware.cpus, hardware.usable_memory_gb, named)
    situation = Situation(hardware, policy, intent, row)
    for recommender in RECOMMENDERS:
        for recommendation in recommender(situation):
            situation.settle(recommendation)
    recommendations = tuple(
        each for each in situation.settled.values() if intent.profile != OFF or each.rule in (EXPLICIT, OPTION)
    )
    environment = {each.variable: str(each.value) for each in recommendations if each.variable}
    environment.update(intent.environment)
    return Tuning(
        profile=OFF if intent.profile == OFF else row.profile,
        recommendations=recommendations,
        environment=dict(sorted(environment.items())),
        warnings=tuple(warning for check in CHECKS for warning in check(situation)),
    )


def _parallel(at: Situation) -> Iterator[Recommendation]:
    reason = f"{_size(at.hardware)}: row {at.row.profile}"
    above = at.policy.row_above(at.row)
    if at.intent.profile not in (AUTO, OFF):
        reason += ", as asked for."
    elif above:
        reason += f"; the next one, {above.profile}, starts at {above.min_cores} CPUs and {above.min_memory_gb:g} GB."
    else:
        reason += ", the highest."
    yield Recommendation("parallel", at.row.parallel, "table", reason, "OLLAMA_NUM_PARALLEL")


def _loaded_models(at: Situation) -> Iterator[Recommendation]:
    reason = f"Row {at.row.profile}: models share the memory, and each stays in it for the whole keep-alive time."
    yield Recommendation("max_loaded_models", at.row.loaded_models, "policy", reason, "OLLAMA_MAX_LOADED_MODELS")


def _queue(at: Situation) -> Iterator[Recommendation]:
    per_slot = at.policy.queue_per_slot
    reason = (
        f"{per_slot} for each slot. It bounds who waits for a load; a loaded model's queue is bounded by the proxy."
    )
    yield Recommendation("max_queue", at.number("parallel") * per_slot, "policy", reason, "OLLAMA_MAX_QUEUE")


def _keep_alive(at: Situation) -> Iterator[Recommendation]:
    reason = "An idle model stays in memory, so that the next request does not wait for a load."
    yield Recommendation("keep_alive", at.policy.keep_alive, "policy", reason, "OLLAMA_KEEP_ALIVE")


def _context_length(at: Situation) -> Iterator[Recommendation]:
    tokens = at.policy.context_length
    slots = at.number("parallel")
    reason = (
        f"Set, so that the key-value cache ({slots} x {tokens} tokens) does not depend on what the engine would choose."
    )
    yield Recommendation("context_length", tokens, "policy", reason, "OLLAMA_CONTEXT_LENGTH")


def _gpu(at: Situation) -> Iterator[Recommendation]:
    wanted = at.intent.num_gpu
    usable = [gpu.name or gpu.vendor for gpu in at.hardware.gpus if gpu.offloads]
    if wanted is None and usable:
        yield Recommendation("num_gpu", -1, "hardware", f"The engine offloads what fits onto {', '.join(usable)}.")
    elif wanted is None:
        passed_over = ", ".join(gpu.name or gpu.vendor for gpu in at.hardware.gpus)
        reason = f"Integrated GPUs ({passed_over}) are not used by default" if passed_over else "There is no GPU"
        yield Recommendation("num_gpu", 0, "hardware", f"{reason}: CPU only, and nothing has to be hidden.")
    elif wanted == 0:
        names = ", ".join(GPU_VISIBILITY)
        yield Recommendation("num_gpu", 0, OPTION, f"CPU only, enforced by hiding the devices: {names}.")
        for name in GPU_VISIBILITY:
            kind = name.split("_", maxsplit=1)[0] if not name.startswith("GGML") else "VULKAN"
            reason = f"num_gpu is 0: no device with this number exists, so none is found by {kind}."
            yield Recommendation(f"{kind.lower()}_devices", NO_DEVICE, OPTION, reason, name)
    else:
        amount = "all layers; the engine does so by itself where they fit" if wanted < 0 else f"{wanted} layers"
        how = "" if wanted < 0 else ": enforced by the model parameter num_gpu, for which there is no variable"
        yield Recommendation("num_gpu", wanted, OPTION, f"On the GPU go {amount}{how}.")


def _timeouts(at: Situation) -> Iterator[Recommendation]:
    seconds = at.intent.request_timeout
    rule = "policy" if seconds == REQUEST_TIMEOUT else OPTION
    reason = "Enforced by the proxy's read and send timeouts and by the load timeout; Ollama has none of its own."
    yield Recommendation("request_timeout", seconds, rule, reason)
    load = max(seconds, at.policy.min_load_timeout)
    reason = (
        f"A load without progress is given up after the request timeout, but not before {at.policy.min_load_timeout} s."
    )
    yield Recommendation("load_timeout", f"{load}s", rule, reason, "OLLAMA_LOAD_TIMEOUT")


def _threads(at: Situation) -> Iterator[Recommendation]:
    host = at.hardware
    cores, kind = host.usable_cores, "physical cores"
    hybrid = host.performance_cores < host.physical_cores
    if hybrid and host.usable_performance_cores and not at.policy.efficiency_cores:
        cores, kind = host.usable_performance_cores, "performance cores"
    # A part of a CPU is rounded, not cut off: under a quota of 1.5 two threads answered 19 % more requests than one.
    quota = int(host.cpu_quota + 0.5) if host.cpu_quota else cores
    threads = max(1, min(cores, quota))
    if quota < cores:
        rule, reason = "cpu-quota", f"The CPU quota allows {_amount(host.cpu_quota or 0)} of {cores} {kind}"
    else:
        rule, reason = "physical-cores", f"One for each of the {cores} {kind} that may be used"
    variable = at.engine.threads_variable
    how = f"{at.engine} takes them from {variable}" if variable else f"{at.engine} takes the model parameter num_thread"
    yield Recommendation(
        "threads", threads, rule, f"{reason}; the engine looks at neither its quota nor its affinity. {how}.", variable
    )


def _prompt_cache(at: Situation) -> Iterator[Recommendation]:
    variable = at.engine.prompt_cache_variable
    if not variable:
        return
    cache = at.policy.prompt_cache
    models = at.number("max_loaded_models") or DEFAULT_LOADED_MODELS * max(1, len(at.hardware.gpus))
    share = int(at.hardware.usable_memory_mb * cache.memory_share / models)
    size = min(cache.max_mb, share // cache.step_mb * cache.step_mb)
    reason = f"MiB for each of up to {models} models, {cache.memory_share:.0%} of memory in all: it grows after load."
    yield Recommendation("prompt_cache_mb", size, "memory-share", reason, variable)


RECOMMENDERS: tuple[Callable[[Situation], Iterator[Recommendation]], ...] = (
    _parallel,
    _loaded_models,
    _queue,
    _keep_alive,
    _context_length,
    _gpu,
    _timeouts,
    _threads,
    _prompt_cache,
)


def _check_profile(at: Situation) -> Iterator[str]:
    host = at.hardware
    if not at.row.admits(host.cpus, host.usable_memory_gb):
        yield (
            f"Profile {at.row.profile} is meant for hosts from {at.row.min_cores} CPUs and {at.row.min_memory_gb:g} GB"
            f"; this one has {_size(host)}. Use profile auto."
        )


def _check_environment(at: Situation) -> Iterator[str]:
    for name in at.intent.environment:
        problem = variable_problem(name, at.engine)
        if problem:
            yield f"environment: {problem}"


def _check_parallel(at: Situation) -> Iterator[str]:
    parallel = at.settled["parallel"]
    if parallel.rule == EXPLICIT and at.number("parallel") > at.row.parallel:
        yield f"OLLAMA_NUM_PARALLEL is {parallel.value}; this host's row {at.row.profile} goes up to {at.row.parallel}."
    if not at.engine.knows_parallel:
        yield f"{at.engine} does not read OLLAMA_NUM_PARALLEL. Upgrade the engine."


def _check_gpu(at: Situation) -> Iterator[str]:
    wanted = at.intent.num_gpu
    if wanted and not any(gpu.offloads for gpu in at.hardware.gpus):
        yield f"num_gpu is {wanted}, but no GPU was found that Ollama would use: models will run on the CPU."
    for name in GPU_VISIBILITY:
        if wanted == 0 and at.intent.environment.get(name, NO_DEVICE) != NO_DEVICE:
            yield f"num_gpu is 0, but {name} is set to {at.intent.environment[name]!r}: the GPU may still be used."


CHECKS: tuple[Callable[[Situation], Iterator[str]], ...] = (
    _check_profile,
    _check_environment,
    _check_parallel,
    _check_gpu,
)


def _check_range(key: str, value: int | None, allowed: tuple[float, float]) -> None:
    if value is not None and not allowed[0] <= value <= allowed[1]:
        raise InvalidInput(
            f"{key} is {value}.", f"It must be a whole number from {allowed[0]:g} to {allowed[1]:g}.", key=key
        )


def _text(name: str, value: Any) -> str:
    """A variable's value as text; YAML's true and false as Go reads them."""
    if value is None or isinstance(value, (dict, list)):
        raise InvalidInput(
            f"environment: {name} is {value!r}.", "Give a text or a number, or leave the variable out.", key=name
        )
    return str(value).lower() if isinstance(value, bool) else str(value)


def _size(host: Hardware) -> str:
    plural = "" if host.cpus == 1 else "s"
    return f"{_amount(host.cpus)} usable CPU{plural} and {host.usable_memory_gb:.1f} GB of memory"


def _amount(cpus: float) -> str:
    return f"{cpus:.3g}" if cpus != int(cpus) else str(int(cpus))
