# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which of its candidates a model is made of on a host: the first that its memory and its disk have room for.

A candidate with which the host serves what it would serve with a smaller one, so many slots with so much context, comes
before one for which these have to give way, whatever their order. The same host gets the same answer in every run: it
is given before any real load corrects predictions, and what is in the store already needs no room there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Callable, NamedTuple

from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput, NotFound
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import Hardware
from ansible_collections.llmops.ollama.plugins.module_utils.memory_plan import (
    MemoryPlan,
    Shortage,
    Workload,
)
from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import Definition
from ansible_collections.llmops.ollama.plugins.module_utils.model_facts import (
    SERVER,
    Candidate,
    Lookup,
    Model,
    made_of,
)
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from ansible_collections.llmops.ollama.plugins.module_utils.policy import Policy, Quantization
from ansible_collections.llmops.ollama.plugins.module_utils.tuning import AUTO, OFF, Intent, plan_memory
from ansible_collections.llmops.ollama.plugins.module_utils.words import size_text


class Host(NamedTuple):
    """What decides.

    ``plan`` says how models would be loaded together, and ``plan_freely`` how without what the user set for the whole
    server (``given`` says what): where nothing fits with that, it decides. ``missing`` are the bytes of a model that
    its store lacks, and ``free`` is the room there; None where it is not known. ``quantizations`` is the policy's
    table.
    """

    plan: Callable[[Sequence[Model]], MemoryPlan]
    plan_freely: Callable[[Sequence[Model]], MemoryPlan] | None = None
    quantizations: Sequence[Quantization] = ()
    missing: Callable[[Model], int] = lambda model: 0
    free: int | None = None
    given: str = "the settings given"

    @classmethod
    def of(
        cls,
        hardware: Hardware,
        policy: Policy,
        intent: Intent,
        tuned: Mapping[str, str] | None,
        declared: int,
        missing: Callable[[Model], int] = lambda model: 0,
        free: int | None = None,
    ) -> Host:
        """A host that shall serve so many ``declared`` models; ``tuned`` is what its last tuning wrote."""

        def plan(models: Sequence[Model], asked: Intent = intent) -> MemoryPlan:
            workload = Workload(tuple(models), unknown=max(0, declared - len(models)))
            return plan_memory(hardware, policy, asked, workload, tuned)

        free_intent = replace(intent.left_to_us, profile=AUTO if intent.profile == OFF else intent.profile)
        plan_freely = None if free_intent == intent else partial(plan, asked=free_intent)
        given = "the engine's own settings" if intent.profile == OFF else cls._field_defaults["given"]
        return cls(plan, plan_freely, policy.quantizations, missing, free, given)


class Choice(NamedTuple):
    """What was chosen for the model ``name``, and why."""

    name: ModelName
    base: ModelName
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data for Ansible."""
        return {"name": str(self.name), "chosen": str(self.base), "reason": self.reason}


class Resolution(NamedTuple):
    """Definitions with one base each, but for those that could not be decided; the models that could be looked up."""

    definitions: tuple[Definition, ...]
    models: tuple[Model, ...]
    choices: tuple[Choice, ...]
    warnings: tuple[str, ...]


def resolve(declared: Sequence[Definition], lookup: Lookup, host: Host) -> Resolution:
    """Look all models up, and choose where there are candidates. Raises ``OllamaError``."""
    waiting = _made_of_open_ones(declared)
    known = {
        each.name.key: lookup.models([each]) for each in declared if not each.is_open and each.name.key not in waiting
    }
    candidates = {
        each.name.key: [_with_others(one, each, declared, waiting) for one in lookup.candidates(each)]
        for each in declared
        if each.is_open
    }
    others = [model for models in known.values() for model in models]
    choices, problems = choose({each.name.key: each for each in declared if each.is_open}, candidates, others, host)
    chosen: dict[str, Model] = {}
    for key, choice in choices.items():
        for one in candidates[key]:
            if one.base == choice.base and one.model:
                chosen.update({ModelName.parse(model.name).key: model for model in (one.model, *one.others)})
    definitions, models = [], []
    for each in declared:
        key = each.name.key
        definitions.append(each.made_of(choices[key].base) if key in choices else each)
        models += [*known.get(key, ()), *([chosen[key]] if key in chosen else [])]
    warnings = (*lookup.warnings, *problems, *_check_disk(models, host))
    return Resolution(tuple(definitions), tuple(models), tuple(choices.values()), warnings)


def _check_disk(models: Sequence[Model], host: Host) -> Iterator[str]:
    """A store without room for all of them."""
    needed = _missing(models, host)
    if host.free is not None and needed > host.free:
        yield (
            f"The models need {size_text(needed)} more of the disk, and {size_text(host.free)} are free: make room, or "
            "choose smaller ones."
        )


def _missing(models: Sequence[Model], host: Host) -> int:
    """Bytes that the store lacks of these, each file once."""
    return sum({model.weights: host.missing(model) for model in models}.values())


def _made_of_open_ones(declared: Sequence[Definition]) -> dict[str, str]:
    """The keys of models that are made of one with candidates, and of which; over others, too."""
    by_key = {each.name.key: each for each in declared}
    found: dict[str, str] = {}
    for definition in declared:
        each = definition
        while not each.is_open and each.bases and each.bases[0].key in by_key and each.bases[0].key != each.name.key:
            each = by_key[each.bases[0].key]
        if each.is_open and each != definition:
            found[definition.name.key] = each.name.key
    return found


def _with_others(
    candidate: Candidate, definition: Definition, declared: Sequence[Definition], waiting: Mapping[str, str]
) -> Candidate:
    """The candidate of a definition with the models that are made of that one."""
    if candidate.model is None:
        return candidate
    made = {definition.name.key: candidate.model}
    left = [each for each in declared if waiting.get(each.name.key) == definition.name.key]
    while left:  # a base comes before what is made of it, in whatever order they are declared
        ready = [each for each in left if each.bases[0].key in made]
        made.update({each.name.key: made_of(made[each.bases[0].key], each) for each in ready})
        left = [each for each in left if each not in ready]
    return candidate._replace(others=tuple(made.values())[1:])


def choose(
    definitions: Mapping[str, Definition],
    candidates: Mapping[str, Sequence[Candidate]],
    others: Sequence[Model],
    host: Host,
) -> tuple[dict[str, Choice], list[str]]:
    """A choice for each definition that can be decided, by its key, and warnings about what is missing.

    ``others`` are the models that are there anyway. One choice after the other is made in the order of declaration; for
    those to come the smallest candidates are counted. Raises ``NotFound`` where no candidate exists, ``InvalidInput``
    where none fits.
    """
    choices: dict[str, Choice] = {}
    beside: list[Model] = list(others)
    warnings: list[str] = []
    smallest = {key: _smallest(candidates[key]) for key in definitions}
    for key, definition in definitions.items():
        listed = candidates[key]
        gone = [each for each in listed if each.absent]
        if len(gone) == len(listed):
            names = ", ".join(str(each.base) for each in gone)
            raise NotFound(f"No candidate of {definition.name} exists ({names}).", gone[-1].problem)
        warnings += [f"{each.base} is passed over for {definition.name}. {each.problem}" for each in gone]
        del smallest[key]
        to_come = [model for models in smallest.values() for model in models]
        found, why, whole = _first_that_fits(listed, [*beside, *to_come], host)
        if found is None and host.plan_freely:
            freely = host._replace(plan=host.plan_freely, plan_freely=None)
            found, why, whole = _first_that_fits(listed, [*beside, *to_come], freely)
            if found:
                why = f"With {host.given} none fits. Without them: {why}"
                warnings.append(f"{definition.name}: {why}")
        # Of a better one, or of any, nobody could tell just now: only what is there already may then be taken.
        unknown = [each for each in listed if not each.model and not each.absent]
        in_doubt = [each for each in unknown if not (found and whole) or listed.index(each) < listed.index(found)]
        if in_doubt and not (found and found.model and found.model.source == SERVER):
            warnings.append(f"What {definition.name} is made of could not be decided. {in_doubt[0].problem}")
            continue
        if found is None or found.model is None:
            raise InvalidInput(
                f"No candidate of {definition.name} fits this host: {why}.",
                "Add a smaller candidate, give the host more room, or change the policy (reserve, min_context_length, "
                "quantized_kv).",
                model=str(definition.name),
            )
        choices[key] = Choice(definition.name, found.base, why)
        beside += [found.model, *found.others]
    return choices, warnings


def _first_that_fits(
    listed: Sequence[Candidate], beside: Sequence[Model], host: Host
) -> tuple[Candidate | None, str, bool]:
    """The candidate to take, why, and whether with all that is wanted; None, and what stands against each of them."""
    plans: list[tuple[Candidate, MemoryPlan]] = []
    against: dict[str, str] = {}  # in the order of the candidates
    for candidate in listed:
        if candidate.model is None:
            continue
        together = [*beside, candidate.model, *candidate.others]
        needed = _missing(together, host)
        if host.free is not None and needed > host.free:
            against[str(candidate.base)] = f"would need {size_text(needed)} of disk, {size_text(host.free)} are free"
            continue
        plan = host.plan(together)
        plans.append((candidate, plan))
        if not plan.fits or plan.shortage:
            short = plan.shortage if plan.fits and plan.shortage else Shortage(plan.planned_mb, plan.budget.main)
            where = " on the GPUs" if short.of_gpus else ""
            against[str(candidate.base)] = f"would take up to {short.taken_mb} of {short.budget_mb} MiB{where}"
        elif plan.spilled:
            against[str(candidate.base)] = f"is too large for the {plan.budget.gpu} MiB of the GPUs"
    fitting = [(candidate, plan) for candidate, plan in plans if plan.fits]
    if not fitting:
        return None, "; ".join(f"{base} {what}" for base, what in against.items()), False
    whole = [each for each in fitting if not each[1].wanted and not each[1].spilled]
    # Where each has to give way, the one that serves the most; the first of equals.
    candidate, plan = whole[0] if whole else max(fitting, key=lambda each: _served(each[1]))
    before = [str(each.base) for each in listed[: listed.index(candidate)]]
    reasons = {base: what for base, what in against.items() if base in before}
    return candidate, _reason(candidate, plan, len(listed), reasons, host), bool(whole)


def _served(plan: MemoryPlan) -> tuple[bool, int, int, int]:
    at = plan.configuration
    return not plan.spilled, at.parallel, at.context, at.loaded_models


def _reason(candidate: Candidate, plan: MemoryPlan, count: int, against: Mapping[str, str], host: Host) -> str:
    at, wanted = plan.configuration, plan.wanted
    quantization = candidate.model.shape.quantization if candidate.model else ""
    slots = f"{at.parallel} x {at.context} tokens"
    reason = f"{quantization or 'It'} is the first of {count} that fits with {slots}"
    if wanted and (at.parallel, at.context) != (wanted.parallel, wanted.context):
        reason = f"None fits with {wanted.parallel} x {wanted.context} tokens; {quantization or 'it'} does with {slots}"
    elif wanted:
        less = f"{at.loaded_models} of {wanted.loaded_models} models in memory at a time"
        less = less if at.loaded_models < wanted.loaded_models else f"a cache in {at.kv_type}"
        reason = f"None fits with all that is wanted; {quantization or 'it'} does with {slots} and {less}"
    reason += f" ({plan.planned_mb} of {plan.budget.main} MiB)"
    if plan.spilled:
        reason += "; a part of it runs on the CPU"
    row = next((row for row in host.quantizations[1:] if row.name == quantization.upper()), None)
    if row:
        reason += f"; about {row.loss:g} % loss, {row.speed_gain:+g} % speed against {host.quantizations[0].name}"
    listed = "; ".join(f"{base} {what}" for base, what in against.items())
    return f"{reason}. Before it, {listed}." if listed and not wanted else f"{reason}."


def _smallest(listed: Sequence[Candidate]) -> list[Model]:
    """What the smallest candidate brings: itself, and what is made of it."""
    sizes = [(each.model.shape.weight_bytes, [each.model, *each.others]) for each in listed if each.model]
    return min(sizes, key=lambda size: size[0], default=(0, []))[1]
