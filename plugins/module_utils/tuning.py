# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From a host and a policy to settings of the Ollama service, each with the rule and the reason behind it.

What depends on memory is planned first, as one (memory_plan.py). Then recommenders look at the situation and yield what
they have to say; nothing is an answer too. They run in order, and a later one sees what the earlier ones settled. What
the user set in the environment always wins.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, NamedTuple, Union

from ansible_collections.llmops.ollama.plugins.module_utils.autotune.record import Measured
from ansible_collections.llmops.ollama.plugins.module_utils.engine import (
    CHECKPOINTS,
    DEFAULT_LOADED_MODELS,
    FLASH_ATTENTION,
    GPU_ALL,
    GPU_NONE,
    GPU_OVERHEAD,
    GPU_SELECTION,
    GPU_SOME,
    GPU_VISIBILITY,
    KV_CACHE_TYPE,
    NO_DEVICE,
    PROMPT_CACHE,
    Engine,
    check_variable,
    default_context,
    is_on,
    variable_problem,
)
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import MIB, Gpu, Hardware, visible_gpus
from ansible_collections.llmops.ollama.plugins.module_utils.memory_model import (
    KV_TYPES,
    MAX_CHECKPOINTS,
    PROMPT_CACHE_MIB,
)
from ansible_collections.llmops.ollama.plugins.module_utils.memory_plan import (
    Budget,
    Configuration,
    Given,
    Levers,
    MemoryPlan,
    Planned,
    Planner,
    Workload,
    halves,
)
from ansible_collections.llmops.ollama.plugins.module_utils.model_shape import ModelShape
from ansible_collections.llmops.ollama.plugins.module_utils.packing import Packing
from ansible_collections.llmops.ollama.plugins.module_utils.policy import PROFILES, REQUEST_TIMEOUT, Policy, Row

Value = Union[int, str]

AUTO = "auto"
OFF = "off"
PROFILE_CHOICES = (AUTO, *PROFILES, OFF)

# What is written beside a drop-in: the policy that its numbers are of, the usable memory (MiB) that they go by, and the
# names of those that were not computed.
POLICY, MEMORY, SET = "Policy", "Memory", "Set"

# Rules of settings that the user asked for, which stay when tuning is off.
EXPLICIT = "explicit"
OPTION = "option"
# What was given up for memory; what the last run set and is close enough; what autotune found.
BUDGET = "memory-budget"
KEPT = "tolerance"
MEASURED = "measured"
NOT_COMPUTED = (EXPLICIT, OPTION, MEASURED)


NUM_GPU_RANGE = (-1, 999)
REQUEST_TIMEOUT_RANGE = (1, 86400)


class Recommendation(NamedTuple):
    """One setting, and what enforces it: an environment variable, a directive of the unit (MiB), a model's parameter.

    Where it is none of them the reason says what it is.
    """

    key: str
    value: Value
    rule: str
    reason: str
    variable: str | None = None
    directive: str | None = None
    parameter: str | None = None


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

    @property
    def left_to_us(self) -> Intent:
        """The same without the user's settings, on the GPUs that they leave the server."""
        kept = {name: value for name, value in self.environment.items() if name in GPU_SELECTION}
        return dataclasses.replace(self, environment=kept)


class Tuning(NamedTuple):
    """The outcome. ``environment`` is complete: the recommended variables and the user's own.

    ``basis`` is what the next run has to know of this one: ``POLICY``, ``MEMORY`` and ``SET``.
    ``directives`` are the unit's, ``model_parameters`` every model's. ``gpu`` is one of the engine's ``GPU_CHOICES``.
    ``refused``: the models do not fit, and not because of what the user set.
    """

    profile: str
    basis: Mapping[str, str]
    recommendations: tuple[Recommendation, ...]
    environment: Mapping[str, str]
    warnings: tuple[str, ...]
    memory: MemoryPlan
    gpu: str = GPU_NONE
    refused: bool = False

    @property
    def directives(self) -> dict[str, str]:
        return {each.directive: f"{each.value}M" for each in self.recommendations if each.directive}

    @property
    def model_parameters(self) -> dict[str, Value]:
        return {each.parameter: each.value for each in self.recommendations if each.parameter}

    def to_dict(self) -> dict[str, Any]:
        """Plain data for Ansible."""
        return {
            "profile": self.profile,
            "basis": dict(self.basis),
            "environment": dict(self.environment),
            "directives": self.directives,
            "model_parameters": self.model_parameters,
            "memory": {**self.memory.to_dict(), "refused": self.refused},
            "gpu": self.gpu,
            "recommendations": [recommendation._asdict() for recommendation in self.recommendations],
            "warnings": list(self.warnings),
        }


@dataclass
class Situation:
    """What recommenders decide on; ``settled`` grows as they do. ``tuned`` is what the last run wrote, name to text.

    ``hardware`` has the GPUs that the server computes on, of all that there are (``gpus``). ``computed`` is what would
    be planned if the user had set nothing; ``measured`` what autotune found.
    """

    hardware: Hardware
    gpus: Sequence[Gpu]
    policy: Policy
    intent: Intent
    row: Row
    workload: Workload
    tuned: Mapping[str, str]
    plan: MemoryPlan
    computed: MemoryPlan
    measured: Measured | None = None
    settled: dict[str, Recommendation] = field(default_factory=dict)

    @property
    def engine(self) -> Engine:
        return self.intent.engine

    @property
    def gave_way(self) -> Configuration:
        """What was wanted in the place of the plan's configuration; that itself where nothing had to give way."""
        return self.plan.wanted or self.plan.configuration

    def number(self, key: str) -> int:
        """A settled whole number."""
        return int(self.settled[key].value)

    def settle(self, recommendation: Recommendation) -> None:
        """Keep a recommendation, or the user's own value where there is one."""
        name, key = recommendation.variable, PLANNED.get(recommendation.key)
        computed = getattr(self.plan.computed, key) if key and self.plan.computed else recommendation.value
        if computed != recommendation.value:
            reason = f"Kept from the last run, since the {computed} that would be set now is hardly different."
            recommendation = recommendation._replace(rule=KEPT, reason=reason)
        if name is not None and name in self.intent.environment:
            text = self.intent.environment[name]
            value: Value = int(text) if isinstance(recommendation.value, int) else text
            # The plan has already taken over what the user set.
            computed = getattr(self.computed.configuration, key) if key else recommendation.value
            agrees = "which is also" if value == computed else "instead of"
            reason = f"{name} is set in the environment given, {agrees} the computed {computed}."
            recommendation = recommendation._replace(value=value, rule=EXPLICIT, reason=reason)
        self.settled[recommendation.key] = recommendation

    def keep(self, name: str | None, value: int) -> int:
        """The last run's value of a variable or directive where it is close to the new one."""
        text = self.tuned.get(name or "", "").rstrip("M")
        old = int(text) if text.isdecimal() else value
        return old if abs(old - value) <= self.policy.tolerance * old else value


# What the plan decides: recommendation to field of the configuration.
PLANNED = {
    "parallel": "parallel",
    "max_loaded_models": "loaded_models",
    "context_length": "context",
    "kv_cache_type": "kv_type",
    "prompt_cache_mb": "prompt_cache_mib",
}


def recommend(
    hardware: Hardware,
    policy: Policy,
    intent: Intent,
    workload: Workload | None = None,
    tuned: Mapping[str, str] | None = None,
    measured: Measured | None = None,
) -> Tuning:
    """Recommend settings. Raises ``InvalidInput`` for a profile that the policy's table does not have.

    ``tuned`` is what the last run wrote (``hardware.unit.read_tuned``): numbers that hardly differ from it are kept.
    ``measured`` are settings that autotune found best on this host: they come before what is computed, but not before
    a profile that the user names.
    """
    measured = measured if intent.profile == AUTO else None
    workload, tuned = workload or Workload(), comparable(tuned, policy)
    row = _row(hardware, policy, intent, tuned)
    plan = plan_memory(hardware, policy, intent, workload, tuned, measured)
    left = hardware._replace(gpus=visible_gpus(hardware.gpus, intent.environment, intent.engine))
    computed = plan_memory(hardware, policy, intent.left_to_us, workload, tuned, measured)
    plan = _advised(plan, computed, intent)
    situation = Situation(left, hardware.gpus, policy, intent, row, workload, tuned, plan, computed, measured)
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
        basis={
            POLICY: policy.id,
            MEMORY: str(_memory(hardware, policy, tuned)),
            SET: " ".join(
                sorted(each.variable for each in recommendations if each.variable and each.rule in NOT_COMPUTED)
            ),
        },
        recommendations=recommendations,
        environment=dict(sorted(environment.items())),
        warnings=tuple(warning for check in CHECKS for warning in check(situation)),
        memory=plan,
        gpu=_gpu_wanted(situation),
        refused=intent.profile != OFF and not plan.fits and not computed.fits,
    )


def _gpu_wanted(at: Situation) -> str:
    """Where models must be found once they are loaded."""
    if at.intent.profile == OFF or at.intent.num_gpu == 0 or not at.plan.models:
        return GPU_NONE
    if at.plan.on_gpu:
        return GPU_ALL
    return GPU_SOME if any(gpu.is_expected for gpu in at.hardware.gpus) else GPU_NONE


def _advised(plan: MemoryPlan, computed: MemoryPlan, intent: Intent) -> MemoryPlan:
    """The plan with advice that takes what the user set for what it is: the reason, or no reason."""
    if plan.fits or intent.profile == OFF:
        return plan
    at, asked, advice = computed.configuration, plan.configuration, computed.advice
    if computed.fits:
        parts = [f"{at.parallel} x {at.context} tokens"]
        if intent.engine.prompt_cache_variable:
            parts.append(f"{at.prompt_cache_mib} MiB for prompts")
        if at.kv_type != asked.kv_type:
            parts.append(f"a cache in {at.kv_type}")
        if at.loaded_models != asked.loaded_models:
            parts.append(f"{at.loaded_models} of the models in memory at a time")
        without = [name for name in UNPLANNED if name in _taking_memory(intent)]
        also = f" without {' and '.join(without)}" if without else ""
        advice = f"As computed, {', '.join(parts[:-1])}{' and ' if parts[1:] else ''}{parts[-1]}{also} would fit."
    return plan._replace(advice=advice)


def _taking_memory(intent: Intent) -> dict[str, str]:
    """The user's settings on which it depends how much memory models take."""
    given = {name: intent.environment[name] for name in MEMORY_VARIABLES if name in intent.environment}
    return {name: value for name, value in given.items() if not (name == FLASH_ATTENTION and is_on(value))}


def comparable(tuned: Mapping[str, str] | None, policy: Policy) -> Mapping[str, str]:
    """What the last run computed; nothing where the user has changed the policy since: that is no drift of the host."""
    tuned = tuned or {}
    if tuned.get(POLICY, policy.id) != policy.id:
        return {}
    others = tuned.get(SET, "").split()
    return {name: value for name, value in tuned.items() if name not in others}


def _memory(hardware: Hardware, policy: Policy, tuned: Mapping[str, str]) -> int:
    """The usable memory (MiB) to go by: what the last run went by, where that is hardly different."""
    now, last = hardware.usable_memory_mb, tuned.get(MEMORY, "")
    return int(last) if last.isdecimal() and abs(int(last) - now) <= policy.tolerance * now else now


def plan_memory(
    hardware: Hardware,
    policy: Policy,
    intent: Intent,
    workload: Workload,
    tuned: Mapping[str, str] | None = None,
    measured: Measured | None = None,
) -> MemoryPlan:
    """How the models would be loaded, and whether they fit. Raises, and takes the rest, as ``recommend`` does."""
    tuned = comparable(tuned, policy)
    numbers = _tuned_numbers(tuned)
    if measured:  # that is the number of slots, however close
        numbers.pop("parallel", None)
    row = _row(hardware, policy, intent, tuned)
    workload = workload.in_batches(measured.batch if measured else None)
    hardware = hardware._replace(gpus=reachable_gpus(hardware, intent))
    overhead = (_explicit(intent.environment, GPU_OVERHEAD) or 0) // MIB
    checkpoints = _explicit(intent.environment, CHECKPOINTS)
    given = Given(
        Packing.of(hardware.cpu_features),
        _flash(intent),
        MAX_CHECKPOINTS if checkpoints is None else checkpoints,
        intent.num_gpu,
    )

    def plan_within(budget: Budget) -> MemoryPlan:
        if intent.profile == OFF:
            levers = _untuned(hardware, intent.environment)
        else:
            levers = _levers(policy, intent.environment, row, workload, budget, hardware, measured)
        return Planner(workload, intent.engine, budget, policy, given).plan(levers, numbers)

    before = _memory(hardware, policy, tuned)
    # Where the operator's own files set the limit, there is none of the last run.
    last = _megabytes(tuned.get("MemoryHigh", "")) or before - policy.reserve.of(before)
    plan = plan_within(Budget.of(hardware, policy, last, overhead))
    if plan.fits:
        return plan
    # The last run's budget is not kept where it stands in the way.
    anew = plan_within(Budget.of(hardware, policy, gpu_overhead=overhead))
    return anew if anew.fits else plan


def reachable_gpus(hardware: Hardware, intent: Intent) -> tuple[Gpu, ...]:
    """The GPUs that the server will find."""
    return () if intent.num_gpu == 0 else visible_gpus(hardware.gpus, intent.environment, intent.engine)


def _flash(intent: Intent) -> bool | None:
    """Whether there will be flash attention; None where the engine decides."""
    if FLASH_ATTENTION in intent.environment:
        return is_on(intent.environment[FLASH_ATTENTION])
    return None if intent.profile == OFF else True


def _row(hardware: Hardware, policy: Policy, intent: Intent, tuned: Mapping[str, str] | None = None) -> Row:
    named = None if intent.profile in (AUTO, OFF) else intent.profile
    return policy.best_row(hardware.cpus, _memory(hardware, policy, tuned or {}) * MIB / 1e9, named)


def _explicit(environment: Mapping[str, str], name: str) -> int | None:
    return int(environment[name]) if name in environment else None


def _untuned(hardware: Hardware, environment: Mapping[str, str]) -> Levers:
    """What the engine does by itself; nothing gives way."""
    loaded = _explicit(environment, "OLLAMA_MAX_LOADED_MODELS")
    context = _explicit(environment, "OLLAMA_CONTEXT_LENGTH")
    cache = _explicit(environment, PROMPT_CACHE)
    overhead = (_explicit(environment, GPU_OVERHEAD) or 0) // MIB
    memory = sum(max(0, (gpu.memory_mb or 0) - overhead) for gpu in hardware.gpus if gpu.offloads)
    return Levers(
        loaded_models=[loaded or DEFAULT_LOADED_MODELS * max(1, sum(gpu.offloads for gpu in hardware.gpus))],
        parallel=[_explicit(environment, "OLLAMA_NUM_PARALLEL") or 1],
        kv_type=[environment.get(KV_CACHE_TYPE, KV_TYPES[0])],
        context=[context or default_context(memory)],
        prompt_cache_mib=PROMPT_CACHE_MIB if cache is None or cache < 0 else cache,
        prompt_cache_fixed=True,
    )


def _levers(
    policy: Policy,
    environment: Mapping[str, str],
    row: Row,
    workload: Workload,
    budget: Budget,
    hardware: Hardware,
    measured: Measured | None = None,
) -> Levers:
    """What the plan may choose from; what the user set leaves no choice."""
    untuned = _untuned(hardware, environment)
    loaded = _explicit(environment, "OLLAMA_MAX_LOADED_MODELS")
    loaded_models: Sequence[int] = untuned.loaded_models
    if loaded is None:
        loaded_models = range(workload.count or row.loaded_models, 0, -1)
    parallel = _explicit(environment, "OLLAMA_NUM_PARALLEL")
    context = _explicit(environment, "OLLAMA_CONTEXT_LENGTH")
    kv_type = environment.get(KV_CACHE_TYPE)
    wanted_kv = (measured.kv_type if measured else None) or policy.kv_type
    smaller = ["q8_0"] if policy.quantized_kv and wanted_kv == KV_TYPES[0] else []
    if not is_on(environment.get(FLASH_ATTENTION, "1")):  # without it there is no other one
        wanted_kv, smaller = KV_TYPES[0], []
    most = measured.parallel if measured else row.parallel
    cache = _explicit(environment, PROMPT_CACHE)
    if cache is not None and cache < 0:  # no limit: nothing can be planned for that
        cache = None
    return Levers(
        loaded_models=loaded_models,
        parallel=range(most, 0, -1) if parallel is None else untuned.parallel,
        kv_type=[wanted_kv, *smaller] if kv_type is None else untuned.kv_type,
        context=halves(policy.context_length, policy.min_context_length) if context is None else untuned.context,
        prompt_cache_mib=policy.prompt_cache.max_mb if cache is None else cache,
        prompt_caches_mib=int(budget.main * policy.prompt_cache.memory_share),
        prompt_cache_step=policy.prompt_cache.step_mb,
        prompt_cache_fixed=cache is not None,
    )


def _tuned_numbers(tuned: Mapping[str, str]) -> dict[str, int]:
    names = {
        "parallel": "OLLAMA_NUM_PARALLEL",
        "context": "OLLAMA_CONTEXT_LENGTH",
        "prompt_cache_mib": PROMPT_CACHE,
    }
    return {key: int(tuned[name]) for key, name in names.items() if tuned.get(name, "").isdecimal()}


def _megabytes(text: str) -> int | None:
    return int(text[:-1]) if text.endswith("M") and text[:-1].isdecimal() else None


def _parallel(at: Situation) -> Iterator[Recommendation]:
    slots, wanted = at.plan.configuration.parallel, at.gave_way.parallel
    rule = MEASURED if at.measured else "table"
    reason = f"{_size(at.hardware)}: row {at.row.profile}"
    above = at.policy.row_above(at.row)
    if at.measured:
        reason = at.measured.reason
    elif at.row != _row(at.hardware, at.policy, at.intent):
        reason += ", as in the last run: memory is hardly different."
    elif at.intent.profile not in (AUTO, OFF):
        reason += ", as asked for."
    elif above:
        reason += f"; the next one, {above.profile}, starts at {above.min_cores} CPUs and {above.min_memory_gb:g} GB."
    else:
        reason += ", the highest."
    if slots < wanted:
        reason += f" Lowered from {wanted}: {at.plan.shortage}."
    elif at.plan.models:
        reason += f" In the worst case {at.plan.planned_mb} of {at.plan.budget.main} MiB are taken."
    single = [planned.model for planned in at.plan.models if planned.model.shape.single_slot]
    if slots > 1 and single:
        families = ", ".join(f"{model.name} ({_kind(model.shape)})" for model in single)
        reason += f" The engine gives one slot to {families}, whatever is set."
    yield Recommendation("parallel", slots, BUDGET if slots < wanted else rule, reason, "OLLAMA_NUM_PARALLEL")


def _loaded_models(at: Situation) -> Iterator[Recommendation]:
    loaded, wanted = at.plan.configuration.loaded_models, at.gave_way.loaded_models
    rule = "policy"
    if loaded < wanted:
        rule, reason = BUDGET, f"Not all {wanted} declared models fit together: {at.plan.crowding}."
    elif at.workload.count:
        rule, reason = "models", "As many as are declared: each stays in memory for the whole keep-alive time."
    else:
        reason = f"Row {at.row.profile}: models share the memory, and each stays in it for the whole keep-alive time."
    yield Recommendation("max_loaded_models", loaded, rule, reason, "OLLAMA_MAX_LOADED_MODELS")


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
    tokens, wanted = at.plan.configuration.context, at.gave_way.context
    slots = at.number("parallel")
    if tokens < wanted:
        rule, reason = BUDGET, f"Lowered from {wanted}: {at.plan.shortage}."
    else:
        rule = "policy"
        reason = (
            f"Set, so that the key-value cache ({slots} x {tokens} tokens) does not depend on what the engine would "
            "choose."
        )
    yield Recommendation("context_length", tokens, rule, reason, "OLLAMA_CONTEXT_LENGTH")


def _kv_cache(at: Situation) -> Iterator[Recommendation]:
    kind, wanted = at.plan.configuration.kv_type, at.gave_way.kv_type
    if kind != wanted:
        rule, reason = BUDGET, f"Half the size of {wanted}, as the policy allows: {at.plan.shortage}."
    elif not is_on(at.intent.environment.get(FLASH_ATTENTION, "1")):
        rule, reason = "policy", f"Without flash attention ({FLASH_ATTENTION}) the cache cannot be of another type."
    elif at.measured and at.measured.kv_type:
        rule, reason = MEASURED, at.measured.reason
    else:
        rule, reason = "policy", "Type of the key-value cache; a smaller one is a small loss of quality."
    yield Recommendation("kv_cache_type", kind, rule, reason, KV_CACHE_TYPE)
    reason = "Attention without a matrix of all scores takes less memory, and a quantized cache needs it."
    yield Recommendation("flash_attention", "1", "policy", reason, FLASH_ATTENTION)


def _gpu(at: Situation) -> Iterator[Recommendation]:
    wanted = at.intent.num_gpu
    usable = [gpu.name or gpu.vendor for gpu in at.hardware.gpus if gpu.offloads]
    if wanted is None and usable:
        yield Recommendation("num_gpu", -1, "hardware", f"The engine offloads what fits onto {', '.join(usable)}.")
    elif wanted is None:
        names = ", ".join(gpu.name or gpu.vendor for gpu in at.gpus)
        hidden = _hiding(at)
        reason = "There is no GPU"
        if hidden:
            reason = f"{' and '.join(hidden)} leave{'s' if len(hidden) == 1 else ''} no GPU"
        elif at.gpus and not any(gpu.offloads for gpu in at.gpus):
            reason = f"Integrated GPUs ({names}) are not used by default"
        elif at.gpus:
            reason = f"{at.engine} has no library for {names}"
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
        parameter = None if wanted < 0 else "num_gpu"
        yield Recommendation("num_gpu", wanted, OPTION, f"On the GPU go {amount}{how}.", parameter=parameter)


def _hiding(at: Situation) -> list[str]:
    """The variables without which the server would compute on a GPU."""
    given = at.intent.environment

    def offloads(without: Collection[str]) -> bool:
        left = {name: value for name, value in given.items() if name not in without}
        return any(gpu.offloads for gpu in visible_gpus(at.gpus, left, at.engine))

    needed = [name for name in GPU_SELECTION if name in given]
    if not offloads(needed):
        return []
    for name in list(needed):
        if offloads(set(needed) - {name}):
            needed.remove(name)
    return needed


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
        if cores == 1:
            reason = f"There is one {kind[:-1]} that may be used"
    variable = at.engine.threads_variable
    if at.measured:
        parameter = None if variable else "num_thread"
        yield Recommendation(
            "threads", at.measured.threads, MEASURED, at.measured.reason, variable, parameter=parameter
        )
        if at.measured.batch:
            yield Recommendation("batch", at.measured.batch, MEASURED, at.measured.reason, parameter="num_batch")
        return
    how = f"{at.engine} takes them from {variable}" if variable else f"{at.engine} takes the model parameter num_thread"
    kept = min(at.keep(variable, threads), threads)  # those without a CPU would hold all others up
    if kept != threads:
        rule, reason = KEPT, f"{reason}, which is close to what is set"
    reason += f"; the engine looks at neither its quota nor its affinity. {how}."
    yield Recommendation("threads", kept, rule, reason, variable, parameter=None if variable else "num_thread")


def _prompt_cache(at: Situation) -> Iterator[Recommendation]:
    variable = at.engine.prompt_cache_variable
    if not variable:
        return
    cache, models = at.policy.prompt_cache, at.workload.prompt_caches(at.plan.configuration.loaded_models)
    size = at.plan.configuration.prompt_cache_mib
    wanted = int(min(cache.max_mb, at.plan.budget.main * cache.memory_share / models)) // cache.step_mb * cache.step_mb
    more = at.plan.planned_mb + models * cache.step_mb * (1 + at.policy.prediction_margin)
    each = "MiB" if models == 1 else f"MiB for each of up to {models} models"
    rule = "memory-share"
    reason = f"{each}, at most {cache.memory_share:.0%} of the budget in all: the engine fills it after the load."
    if wanted <= 0:
        reason = "The policy leaves none."
    elif size < wanted and more > at.plan.budget.main:
        rule = BUDGET
        reason = f"{each}, what is left of the budget; it could be {wanted}: the engine fills it after the load."
        if size < cache.step_mb:
            reason = "The models leave none."
    yield Recommendation("prompt_cache_mb", size, rule, reason, variable)


def _limits(at: Situation) -> Iterator[Recommendation]:
    budget = at.plan.budget
    if budget.main <= 0:
        return
    reason = f"{at.hardware.usable_memory_mb} MiB without the reserve of {budget.reserve} MiB for everything else."
    most = budget.main + budget.reserve // 2
    if "MemoryHigh" in at.hardware.unit_limits or _megabytes(at.tuned.get("MemoryHigh", "")) == budget.main:
        most = max(at.keep("MemoryMax", most), budget.main)
    most = min(most, at.hardware.usable_memory_mb)
    # What the operator's own files of the unit set stays.
    if "MemoryHigh" not in at.hardware.unit_limits:
        yield Recommendation("memory_high_mb", budget.main, BUDGET, f"The budget: {reason}", directive="MemoryHigh")
    if "MemoryMax" not in at.hardware.unit_limits:
        reason = "The budget and half of the reserve: beyond it the service is ended, and not another one on the host."
        yield Recommendation("memory_max_mb", most, BUDGET, reason, directive="MemoryMax")


RECOMMENDERS: tuple[Callable[[Situation], Iterator[Recommendation]], ...] = (
    _parallel,
    _loaded_models,
    _queue,
    _keep_alive,
    _context_length,
    _kv_cache,
    _gpu,
    _timeouts,
    _threads,
    _prompt_cache,
    _limits,
)


def _check_profile(at: Situation) -> Iterator[str]:
    host = at.hardware
    if at.intent.profile not in (AUTO, OFF) and not at.row.admits(host.cpus, host.usable_memory_gb):
        yield (
            f"Profile {at.row.profile} is meant for hosts from {at.row.min_cores} CPUs and {at.row.min_memory_gb:g} GB"
            f"; this one has {_size(host)}. Use profile auto."
        )


def _check_environment(at: Situation) -> Iterator[str]:
    settled = {each.variable for each in at.settled.values() if each.variable and at.intent.profile != OFF}
    for name in at.intent.environment:
        problem = variable_problem(name, at.engine, {*settled, *at.intent.environment})
        if problem:
            yield f"environment: {problem}"


def _check_parallel(at: Situation) -> Iterator[str]:
    parallel = at.settled["parallel"]
    if parallel.rule == EXPLICIT and at.number("parallel") > at.row.parallel:
        yield f"OLLAMA_NUM_PARALLEL is {parallel.value}; this host's row {at.row.profile} goes up to {at.row.parallel}."
    if not at.engine.knows_parallel:
        yield f"{at.engine} does not read OLLAMA_NUM_PARALLEL. Upgrade the engine."


def _check_threads(at: Situation) -> Iterator[str]:
    threads, cpus = at.settled["threads"], at.hardware.cpus
    if threads.rule != EXPLICIT:
        return
    # Where it is not told a number, llama-server takes all physical cores that there are.
    number = int(threads.value) if int(threads.value) > 0 else at.hardware.physical_cores
    if number > math.ceil(cpus):
        value = f"{threads.value}" if number == int(threads.value) else f"{threads.value}, which means {number}"
        yield (
            f"{threads.variable} is {value}, and the service may use {_amount(cpus)} CPUs: threads without a "
            "CPU hold all others up at each step."
        )


def _check_gpu(at: Situation) -> Iterator[str]:
    wanted = at.intent.num_gpu
    if wanted and not any(gpu.offloads for gpu in at.hardware.gpus):
        yield f"num_gpu is {wanted}, but there is no GPU that Ollama would find and use: models will run on the CPU."
    for name in GPU_VISIBILITY:
        if wanted == 0 and at.intent.environment.get(name, NO_DEVICE) != NO_DEVICE:
            yield f"num_gpu is 0, but {name} is set to {at.intent.environment[name]!r}: the GPU may still be used."
    for gpu in at.hardware.gpus if wanted != 0 else ():
        if gpu.offloads and gpu.memory_mb is None and not gpu.integrated:
            tool = {"nvidia": " Look at nvidia-smi", "amd": " Look at rocm-smi"}.get(gpu.vendor, "")
            tool += f"{', or give' if tool else ' Give'} memory_mb of a GPU that is described."
            yield (
                f"How much memory the GPU {gpu.name or gpu.vendor} has is not known: nothing is planned there.{tool}"
            )


def _check_memory(at: Situation) -> Iterator[str]:
    plan = at.plan
    if plan.spilled:
        yield f"The models do not fit into the GPUs' memory of {plan.budget.gpu} MiB: a part of them runs on the CPU."
    if plan.fits:
        return
    host = at.hardware
    budget = (
        f"the budget is {plan.budget.main} MiB ({host.usable_memory_mb} MiB of memory without the reserve of "
        f"{plan.budget.reserve} MiB)"
    )
    explicit = [f"{name}={value}" for name, value in _taking_memory(at.intent).items()]
    own = [*explicit, *(["the engine's own settings"] if at.intent.profile == OFF else [])]
    if own and (at.computed.fits or at.intent.profile == OFF):
        yield (
            f"With {', '.join(own)} the models take up to {plan.planned_mb} MiB, and {budget}. {plan.advice}".rstrip()
        )
    else:
        best = at.computed
        tokens = {planned.context for planned in best.models}
        up_to = "up to " if len(tokens) > 1 else ""
        loaded = best.configuration.loaded_models
        at_a_time = (
            f", {loaded} of them at a time," if loaded < len({each.model.weights for each in best.models}) else ""
        )
        yield (
            f"The models do not fit: {_list(best)} would take up to {best.planned_mb} MiB{at_a_time} with one slot of "
            f"{up_to}{max(tokens)} tokens, and {budget}. {best.advice}".rstrip()
        )


def _check_budget(at: Situation) -> Iterator[str]:
    budget = at.plan.budget
    if budget.main <= 0 and at.plan.fits:  # since there is no model that would not
        yield (
            f"The reserve of {budget.reserve} MiB leaves the service nothing of {at.hardware.usable_memory_mb} MiB, so "
            "that its memory is neither planned nor limited. Lower reserve in the policy, or use a larger host."
        )


def _check_prompt_cache(at: Situation) -> Iterator[str]:
    cache = _explicit(at.intent.environment, PROMPT_CACHE)
    if cache is not None and cache < 0 and at.engine.prompt_cache_variable:
        yield (
            f"{PROMPT_CACHE} is {cache}: prompt caches grow without a limit, and no plan holds. Set a limit, or leave "
            "it to the tuning."
        )


def _check_flash_attention(at: Situation) -> Iterator[str]:
    kind, wanted = at.plan.configuration.kv_type, at.intent.environment.get(FLASH_ATTENTION, "1")
    if kind != KV_TYPES[0] and not is_on(wanted):
        yield (
            f"{FLASH_ATTENTION} is {wanted!r}, and a key-value cache in {kind} needs it: from Ollama 0.30 on no model "
            "can be loaded like this, before that the cache is in f16."
        )


def _check_room(at: Situation) -> Iterator[str]:
    """The reserve is a guess of what others need; here they have more, and the plan does not shrink by it."""
    plan, room, usable = at.plan, at.hardware.memory_room_mb, at.hardware.usable_memory_mb
    if room is not None and plan.fits and plan.planned_mb > room:
        yield (
            f"Other processes hold {usable - room} of {usable} MiB of memory: {room} MiB are left, and the models may "
            f"take up to {plan.planned_mb} MiB. End what is not needed (ps aux --sort=-rss), or plan for it: reserve "
            f"{{min_mb: {usable - room}}} in the policy."
        )


def _check_shared_weights(at: Situation) -> Iterator[str]:
    by_file: dict[str, list[Planned]] = {}
    for planned in at.plan.models:
        by_file.setdefault(planned.model.weights, []).append(planned)
    for same in by_file.values():
        if len({(planned.context, planned.model.batch) for planned in same}) > 1:
            named = ", ".join(f"{planned.model.name} ({planned.context} tokens)" for planned in same)
            yield (
                f"{named} are made of the same weights with different num_ctx or num_batch: the server loads one in "
                "place of the other at each change between them. Give them the same."
            )


MEMORY_VARIABLES = (
    FLASH_ATTENTION,
    "OLLAMA_NUM_PARALLEL",
    "OLLAMA_CONTEXT_LENGTH",
    "OLLAMA_MAX_LOADED_MODELS",
    KV_CACHE_TYPE,
    PROMPT_CACHE,
    CHECKPOINTS,
    GPU_OVERHEAD,
)
# Those of them that decide nothing that a plan could choose.
UNPLANNED = (FLASH_ATTENTION, CHECKPOINTS, GPU_OVERHEAD)


CHECKS: tuple[Callable[[Situation], Iterator[str]], ...] = (
    _check_profile,
    _check_environment,
    _check_parallel,
    _check_threads,
    _check_gpu,
    _check_budget,
    _check_memory,
    _check_prompt_cache,
    _check_flash_attention,
    _check_room,
    _check_shared_weights,
)


def _list(plan: MemoryPlan) -> str:
    return ", ".join(f"{planned.model.name} {planned.model.shape.quantization}".strip() for planned in plan.models)


def _kind(shape: ModelShape) -> str:
    return "an embedding model" if shape.is_embedding else f"family {shape.family or shape.architecture}"


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
