# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which candidate a host takes, with which words; and what holds for any host."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput, NotFound
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import Hardware
from ansible_collections.llmops.ollama.plugins.module_utils.memory_model import MIB
from ansible_collections.llmops.ollama.plugins.module_utils.model_choice import (
    Choice,
    Host,
    choose,
    resolve,
)
from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import Definition, definitions
from ansible_collections.llmops.ollama.plugins.module_utils.model_facts import SERVER, Candidate, Model
from ansible_collections.llmops.ollama.plugins.module_utils.model_shape import ModelShape
from ansible_collections.llmops.ollama.plugins.module_utils.policy import Policy
from ansible_collections.llmops.ollama.plugins.module_utils.tuning import Intent
from hypothesis import given
from hypothesis import strategies as st
from shapes import LLAMA_8B

# MiB of weights.
SIZES = {"fp16": 15317, "q8_0": 8138, "q4_K_M": 4685, "q4_0": 4437}
NAMES = {"fp16": "F16", "q8_0": "Q8_0", "q4_K_M": "Q4_K_M", "q4_0": "Q4_0"}
CHAT = {"name": "llama3:8b", "candidates": list(SIZES)}


def shape(tag: str) -> ModelShape:
    return replace(LLAMA_8B, weight_bytes=SIZES[tag] * MIB, quantization=NAMES[tag])


def candidates(definition: Definition, **changes: Candidate) -> list[Candidate]:
    """All that were declared; ``changes`` replaces some, by their quantization."""
    found = []
    for base in definition.bases:
        tag = base.tag.rpartition("-")[2]
        blob = f"sha256-{tag}-of-{base.model}"
        model = Model(str(definition.name), shape(tag), blob=blob, source="registry", size=SIZES[tag] * MIB)
        candidate = Candidate(base, model)
        found.append(changes[tag]._replace(base=base) if tag in changes else candidate)
    return found


def installed(tag: str) -> Candidate:
    return Candidate(BASE, Model("llama3:8b", shape(tag), blob=f"sha256-{tag}", source=SERVER))


BASE = definitions(["any"])[0].name
ABSENT = Candidate(BASE, None, "The registry has no such model.", absent=True)
UNKNOWN = Candidate(BASE, None, "No answer from the registry.")


def host(cpus: int, memory_mb: int, declared: int = 1, policy: dict[str, Any] | None = None, **store: Any) -> Host:
    hardware = Hardware.describe({"cpu_cores": cpus, "memory_mb": memory_mb})
    return Host.of(hardware, Policy.load(policy), Intent.make(engine_version="0.34.0"), None, declared, **store)


def decide(
    at: Host, *entries: Any, others: Sequence[Model] = (), **changes: Any
) -> tuple[dict[str, Choice], list[str]]:
    declared = {each.name.key: each for each in definitions(entries or [CHAT])}
    return choose(declared, {key: candidates(each, **changes) for key, each in declared.items()}, others, at)


def chosen(at: Host, *entries: Any, **more: Any) -> list[str]:
    choices, _warnings = decide(at, *entries, **more)
    return [choice.base.tag.rpartition("-")[2] for choice in choices.values()]


@pytest.mark.parametrize(
    ("cpus", "memory_mb", "expected"),
    [
        (16, 65536, "fp16"),  # 6 slots
        (8, 32768, "fp16"),  # 4 slots: 15.3 GiB and 2 of cache
        (4, 16384, "q8_0"),  # 2 slots: 14.4 GiB of budget
        (4, 8192, "q4_K_M"),  # 7 GiB of budget
        (2, 10752, "q8_0"),  # 9.4 GiB
        (4, 7168, "q4_K_M"),  # 6 GiB
        (4, 6400, "q4_0"),  # 5.2 GiB: with a shorter context
    ],
)
def test_the_first_that_fits_is_taken(cpus: int, memory_mb: int, expected: str) -> None:
    assert chosen(host(cpus, memory_mb)) == [expected]


def test_slots_come_before_quality() -> None:
    """12 GiB would do for Q8_0 with two slots, but not with the four that this host should have."""
    policy = {
        "table": [{"profile": "minimal", "min_cores": 0, "min_memory_gb": 0, "parallel": 4, "loaded_models": 1}],
        "context_length": 8192,
    }
    choices, _warnings = decide(host(8, 12288, policy=policy))
    assert [choice.base.tag for choice in choices.values()] == ["8b-q4_K_M"]
    (choice,) = choices.values()
    assert choice.reason.startswith("Q4_K_M is the first of 4 that fits with 4 x 8192 tokens (")
    assert "about 3 % loss, +35 % speed against F16. Before it, llama3:8b-fp16 would take up to " in choice.reason
    assert "; llama3:8b-q8_0 would take up to " in choice.reason


def test_where_none_fits_in_full_the_reason_says_what_gives_way() -> None:
    choices, _warnings = decide(host(4, 6400))
    (choice,) = choices.values()
    assert choice.reason.startswith("None fits with 1 x 4096 tokens; Q4_0 does with 1 x 2048 tokens (")
    assert choice.reason.endswith("about 5 % loss, +40 % speed against F16.")
    assert choice.to_dict() == {"name": "llama3:8b", "chosen": "llama3:8b-q4_0", "reason": choice.reason}


def test_where_none_fits_in_full_the_one_that_serves_most_is_taken() -> None:
    beside = [Model("other:1", shape("fp16"), blob="sha256-other")]
    both = [{"name": "llama3:8b", "candidates": ["fp16", "q8_0"]}]
    smaller = replace(shape("fp16"), weight_bytes=12 * 1024 * MIB)
    beside = [Model("other:1", smaller, blob="sha256-other")]
    for memory in range(18000, 19000, 100):
        choices, _warnings = decide(host(4, memory, 2), *both, others=beside)
        (choice,) = choices.values()
        assert choice.base.tag.endswith("q8_0"), memory
        assert "does with 2 x 4096 tokens and 1 of 2 models in memory at a time" in choice.reason


def test_a_candidate_that_stays_on_the_gpus_comes_before_one_that_does_not() -> None:
    card = {"vendor": "nvidia", "memory_mb": 12282}
    hardware = Hardware.describe({"cpu_cores": 16, "memory_mb": 65536, "gpus": [card]})
    at = Host.of(hardware, Policy.load(), Intent.make(engine_version="0.34.0"), None, 1)
    choices, _warnings = decide(at)
    (choice,) = choices.values()
    assert choice.base.tag.endswith("q4_K_M"), "with all slots"
    assert "llama3:8b-fp16 is too large for the 11054 MiB of the GPUs" in choice.reason
    choices, _warnings = decide(at, {"name": "llama3:8b", "candidates": ["fp16"]})
    (choice,) = choices.values()
    assert "; a part of it runs on the CPU; about" not in choice.reason
    assert choice.reason.startswith("F16 is the first of 1 that fits")
    assert "; a part of it runs on the CPU" in choice.reason
    assert "Before it" not in choice.reason


class Shelf:
    """A lookup that knows the candidates, and what is made of a model that was pulled."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def candidates(self, definition: Definition) -> list[Candidate]:
        return candidates(definition)

    def models(self, definitions: Sequence[Definition]) -> tuple[Model, ...]:
        raise AssertionError(f"{definitions} cannot be looked up yet")


def test_what_is_made_of_a_model_with_candidates_follows_its_choice() -> None:
    declared = definitions(
        [
            {"name": "grandchild", "from": "child", "parameters": {"num_gpu": 0}},
            {"name": "child", "from": "llama3:8b", "parameters": {"num_ctx": 14336}},
            {**CHAT, "parameters": {"num_batch": 256}},
        ]
    )
    found = resolve(declared, Shelf(), host(4, 8192, 3))  # type: ignore[arg-type]  # what of a lookup is needed
    assert [(each.name, each.context, each.batch, each.gpu_layers) for each in found.models] == [
        ("grandchild:latest", 14336, None, 0),
        ("child:latest", 14336, None, None),
        ("llama3:8b", None, None, None),
    ]
    (choice,) = found.choices
    assert choice.base.tag.endswith("q4_0"), "with the context of the child, q4_K_M would not fit"
    assert {each.blob for each in found.models} == {"sha256-q4_0-of-llama3"}
    assert found.warnings == ()


def test_weights_that_several_models_share_are_on_the_disk_once() -> None:
    q4 = "sha256-q4_K_M-of-llama3"
    others = [Model(name, shape("q4_K_M"), blob=q4, size=SIZES["q4_K_M"] * MIB) for name in ("one:1", "two:1")]
    at = host(16, 65536, 3, free=6 * 10**9, missing=lambda model: model.size)
    assert chosen(at, {"name": "llama3:8b", "candidates": ["q8_0", "q4_K_M"]}, others=others) == ["q4_K_M"]


def test_candidates_are_for_the_gpus_that_the_user_leaves_the_server() -> None:
    card = {"vendor": "nvidia", "memory_mb": 24564}
    hardware = Hardware.describe({"cpu_cores": 4, "memory_mb": 8192, "gpus": [card]})
    hidden = {"CUDA_VISIBLE_DEVICES": "-1"}
    for asked in (hidden, {**hidden, "OLLAMA_NUM_PARALLEL": 64}):
        at = Host.of(hardware, Policy.load(), Intent.make(engine_version="0.34.0", environment=asked), None, 1)
        assert chosen(at) == ["q4_K_M"]


def test_nothing_fits() -> None:
    with pytest.raises(InvalidInput) as refused:
        decide(host(4, 4096))
    message = str(refused.value)
    assert message.startswith("No candidate of llama3:8b fits this host: llama3:8b-fp16 would take up to ")
    least = re.search(r"llama3:8b-q4_0 would take up to (\d+) of 3072 MiB", message)
    assert least is not None
    assert 4437 * 1.05 < int(least[1]) < 5500
    assert "Add a smaller candidate, give the host more room, or change the policy" in message


@pytest.mark.parametrize(
    "asked",
    [{"profile": "off"}, {"environment": {"LLAMA_ARG_CACHE_RAM": 8192}}, {"environment": {"OLLAMA_NUM_PARALLEL": 64}}],
)
def test_settings_with_which_nothing_fits_leave_the_choice_open(asked: dict[str, Any]) -> None:
    hardware = Hardware.describe({"cpu_cores": 4, "memory_mb": 8192})
    at = Host.of(hardware, Policy.load(), Intent.make(engine_version="0.34.0", **asked), None, 1)
    choices, (warning,) = decide(at)
    (choice,) = choices.values()
    assert choice.base.tag.endswith("q4_K_M"), "as without them"
    own = "the engine's own settings" if "profile" in asked else "the settings given"
    assert choice.reason.startswith(f"With {own} none fits. Without them: Q4_K_M is the first")
    assert warning == f"llama3:8b: {choice.reason}"
    small = Host.of(
        Hardware.describe({"cpu_cores": 4, "memory_mb": 2048}), Policy.load(), Intent.make(**asked), None, 1
    )
    with pytest.raises(InvalidInput, match="No candidate of llama3:8b fits"):
        decide(small)


def test_the_disk_decides_too() -> None:
    size: dict[str, Any] = {"missing": lambda model: model.size}
    assert chosen(host(8, 32768, free=10**10, **size)) == ["q8_0"]
    with pytest.raises(InvalidInput, match=r"would need 4\.7 GB of disk, 1\.0 GB are free"):
        decide(host(8, 32768, free=10**9, **size))
    # What the choice itself used is not missing in the next run, whatever is free then.
    after: dict[str, Any] = {"missing": lambda model: 0 if "q8_0" in model.blob else model.size}
    assert chosen(host(8, 32768, free=10**10 - 8138 * MIB, **after)) == ["q8_0"]


def test_a_candidate_that_does_not_exist_is_passed_over() -> None:
    choices, warnings = decide(host(16, 65536), fp16=ABSENT)
    assert [choice.base.tag for choice in choices.values()] == ["8b-q8_0"]
    assert warnings == ["llama3:8b-fp16 is passed over for llama3:8b. The registry has no such model."]
    everything: dict[str, Any] = dict.fromkeys(SIZES, ABSENT)
    with pytest.raises(NotFound, match=r"No candidate of llama3:8b exists \(llama3:8b-fp16, llama3:8b-q8_0"):
        decide(host(16, 65536), **everything)


def test_in_doubt_only_what_is_there_is_taken() -> None:
    at = host(16, 65536)
    assert chosen(at, fp16=UNKNOWN, q8_0=installed("q8_0")) == ["q8_0"]
    choices, warnings = decide(at, fp16=UNKNOWN)
    assert (choices, warnings) == ({}, ["What llama3:8b is made of could not be decided. No answer from the registry."])
    nobody: dict[str, Any] = dict.fromkeys(SIZES, UNKNOWN)
    assert decide(at, **nobody)[0] == {}
    assert chosen(at, q4_0=UNKNOWN) == ["fp16"]  # a smaller one does not matter


def test_a_later_candidate_that_nobody_could_tell_of_may_serve_more() -> None:
    both = {"name": "llama3:8b", "candidates": ["fp16", "q8_0"]}
    tight = host(4, 18500)
    assert chosen(tight, both) == ["q8_0"]
    choices, (warning,) = decide(tight, both, q8_0=UNKNOWN)
    assert not choices
    assert "could not be decided. No answer from the registry." in warning
    # Where the first one serves all that is wanted, no other one could serve more.
    assert chosen(host(4, 24576), both, q8_0=UNKNOWN) == ["fp16"]


def test_several_models_must_fit_together() -> None:
    first = {"name": "one:8b", "candidates": ["q8_0", "q4_0"]}
    second = {"name": "two:8b", "candidates": ["q8_0", "q4_0"]}
    assert chosen(host(4, 32768, 2), first, second) == ["q8_0", "q8_0"]
    # 17.1 GiB of budget: the first takes what it can while there is room for the second's smallest.
    assert chosen(host(4, 19456, 2), first, second) == ["q8_0", "q4_0"]
    assert chosen(host(4, 13312, 2), first, second) == ["q4_0", "q4_0"]
    # Another one that is there anyway counts as well.
    other = Model("other:8b", shape("q8_0"))
    assert chosen(host(4, 19456, 2), first, others=[other]) == ["q4_0"]


memories = st.integers(6400, 131072)


@given(cpus=st.sampled_from([1, 4, 8, 16, 32]), memory=memories)
def test_the_same_host_gets_the_same_answer_after_it_was_given(cpus: int, memory: int) -> None:
    at = host(cpus, memory)
    (tag,) = chosen(at)
    assert chosen(at, **{tag: installed(tag)}) == [tag]


@given(cpus=st.sampled_from([1, 4, 8, 16, 32]), memory=memories, more=st.integers(0, 32768))
def test_more_memory_never_means_worse_weights_and_no_more_slots(cpus: int, memory: int, more: int) -> None:
    def outcome(memory_mb: int) -> tuple[int, int, int]:
        at = host(cpus, memory_mb)
        (tag,) = chosen(at)
        configuration = at.plan([Model("m", shape(tag))]).configuration
        return configuration.parallel, configuration.context, -list(SIZES).index(tag)

    less, greater = outcome(memory), outcome(memory + more)
    assert greater[:2] > less[:2] or greater >= less


@given(memory=memories)
def test_an_earlier_candidate_would_not_have_done(memory: int) -> None:
    """Every candidate before the chosen one gives up something that the chosen one does not, or does not fit."""
    at = host(8, memory)
    (tag,) = chosen(at)
    plan = at.plan([Model("m", shape(tag))])
    assert plan.fits
    for earlier in list(SIZES)[: list(SIZES).index(tag)]:
        other = at.plan([Model("m", shape(earlier))])
        if plan.wanted is None:
            assert not other.fits or other.wanted
        else:
            mine, others = (each.configuration for each in (plan, other))
            assert not other.fits or (mine.parallel, mine.context) > (others.parallel, others.context)
