# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plans for hosts and models with expectations worked out by hand, and what holds for any host and any models."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.record import Measured
from ansible_collections.llmops.ollama.plugins.module_utils.engine import Engine
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import Hardware
from ansible_collections.llmops.ollama.plugins.module_utils.load_log import Calibration
from ansible_collections.llmops.ollama.plugins.module_utils.memory_model import MIB
from ansible_collections.llmops.ollama.plugins.module_utils.memory_plan import (
    Workload,
    calibrations,
    requantized,
)
from ansible_collections.llmops.ollama.plugins.module_utils.model_facts import Model
from ansible_collections.llmops.ollama.plugins.module_utils.model_shape import ModelShape
from ansible_collections.llmops.ollama.plugins.module_utils.packing import Packing
from ansible_collections.llmops.ollama.plugins.module_utils.policy import Policy
from ansible_collections.llmops.ollama.plugins.module_utils.tuning import (
    AUTO,
    EXPLICIT,
    OFF,
    Intent,
    Recommendation,
    Tuning,
    recommend,
)
from hypothesis import given
from hypothesis import strategies as st
from shapes import EMBEDDER, GEMMA, LLAMA_8B, LLAMA_8B_F16, LLAMA_70B

GIB = 1024
# With the types of its tensors: what is laid out anew for a processor follows from them.
TIED = replace(LLAMA_8B, tied=True, embedding_type="Q8_0", embedding_bytes=532 * MIB, matrices={"Q4_K": 4100 * MIB})
TYPED_F16 = replace(LLAMA_8B_F16, embedding_type="F16", matrices={"F16": 14315 * MIB})


def plan(
    hardware: dict[str, Any],
    *shapes: ModelShape,
    policy: dict[str, Any] | None = None,
    tuned: Any = None,
    **intent: Any,
) -> Tuning:
    models = tuple(Model(f"model{number}:tag", shape) for number, shape in enumerate(shapes))
    intent.setdefault("engine_version", "0.34.0")
    host = Hardware.describe(hardware)
    return recommend(host, Policy.load(policy), Intent.make(**intent), Workload(models), tuned)


def host(cpu_cores: int, memory_mb: int, **more: Any) -> dict[str, Any]:
    return {"cpu_cores": cpu_cores, "memory_mb": memory_mb, **more}


def by_key(tuning: Tuning) -> dict[str, Recommendation]:
    return {each.key: each for each in tuning.recommendations}


# cores, memory, models: parallel, context, loaded models; whether it fits, and whether prompts are cached.
GOLDEN: dict[str, tuple[dict[str, Any], tuple[ModelShape, ...], tuple[int, int, int], bool, bool]] = {
    "lab host: 4 GiB and a tiny model": (
        host(2, 24105, cpu_quota=1, memory_limit_mb=4 * GIB),
        (GEMMA,),
        (1, 4096, 1),
        True,
        True,
    ),
    "16 GB, 8B in 4 bits": (host(8, 15700, physical_cores=4), (LLAMA_8B,), (2, 4096, 1), True, True),
    "8 GB, 8B in 4 bits": (host(4, 7812), (LLAMA_8B,), (1, 4096, 1), True, True),
    "16 GB, chat and embedding together": (host(8, 15700), (LLAMA_8B, EMBEDDER), (2, 4096, 2), True, True),
    "16 GB, three of 8B: two of them together": (host(8, 15700), (LLAMA_8B,) * 3, (2, 4096, 2), True, True),
    "64 GB, 70B in 4 bits: 8 slots would be 10 GiB": (host(32, 64300), (LLAMA_70B,), (6, 4096, 1), True, True),
    "48 GB, 70B in 4 bits": (host(16, 48300), (LLAMA_70B,), (1, 2048, 1), False, False),
    "8 GB, 8B in 16 bits": (host(4, 7812), (LLAMA_8B_F16,), (1, 2048, 1), False, False),
    "2 GiB and a tiny model": (host(4, 2048), (GEMMA,), (1, 4096, 1), True, True),
    "1 GiB is all reserve": (host(4, 1024), (GEMMA,), (1, 2048, 1), False, False),
}


@pytest.mark.parametrize(("hardware", "shapes", "numbers", "fits", "cached"), GOLDEN.values(), ids=GOLDEN)
def test_realistic_plans(
    hardware: dict[str, Any], shapes: tuple[ModelShape, ...], numbers: tuple[int, int, int], fits: bool, cached: bool
) -> None:
    tuning = plan(hardware, *shapes)
    names = ("OLLAMA_NUM_PARALLEL", "OLLAMA_CONTEXT_LENGTH", "OLLAMA_MAX_LOADED_MODELS")
    assert tuple(int(tuning.environment[name]) for name in names) == numbers
    assert tuning.memory.fits == fits
    assert [text for text in tuning.warnings if "do not fit" in text] == list(tuning.warnings)
    assert bool(tuning.warnings) != fits
    assert (int(tuning.environment["LLAMA_ARG_CACHE_RAM"]) > 0) == cached


def test_levers_give_way_in_their_order() -> None:
    """Less and less memory: first prompts are not cached, then models share, then slots, context, nothing fits."""
    seen: list[tuple[object, ...]] = []
    for memory in range(16000, 4000, -20):
        tuning = plan(host(8, memory), LLAMA_8B, EMBEDDER, policy={"quantized_kv": True}, profile="conservative")
        at = tuning.memory.configuration
        step = (
            at.prompt_cache_mib > 0,
            at.loaded_models,
            at.parallel,
            at.kv_type,
            at.context,
            tuning.memory.fits,
        )
        if not seen or seen[-1] != step:
            seen.append(step)
    assert [step for step in seen if not step[0]] == [
        (False, 2, 2, "f16", 4096, True),
        (False, 1, 2, "f16", 4096, True),
        (False, 2, 1, "f16", 4096, True),  # a slot less has made room for both
        (False, 1, 1, "f16", 4096, True),
        (False, 1, 1, "q8_0", 4096, True),
        (False, 1, 1, "q8_0", 2048, True),
        (False, 1, 1, "q8_0", 2048, False),
    ]


def test_models_that_fit_with_the_slots_in_the_end_are_in_memory_together() -> None:
    """A value set to what is recommended changes nothing, and what is said not to fit does not."""
    models = (Model("llm:1", LLAMA_8B, context=65536, blob="a"), Model("embed:1", EMBEDDER, blob="b"))
    computed = recommend(
        Hardware.describe(host(8, 32768)), Policy.load(), Intent.make(engine_version="0.34.0"), Workload(models)
    )
    chosen = {"OLLAMA_NUM_PARALLEL": computed.environment["OLLAMA_NUM_PARALLEL"]}
    asked = Intent.make(engine_version="0.34.0", environment=chosen)
    explicit = recommend(Hardware.describe(host(8, 32768)), Policy.load(), asked, Workload(models))
    assert computed.environment == explicit.environment
    assert computed.environment["OLLAMA_MAX_LOADED_MODELS"] == "2"
    assert computed.memory.shortage
    assert computed.memory.crowding is None
    crowded = plan(host(8, 7000), LLAMA_8B, EMBEDDER)
    found = by_key(crowded)["max_loaded_models"]
    assert found.value == 1
    assert found.reason == f"Not all 2 declared models fit together: {crowded.memory.crowding}."
    assert crowded.memory.crowding
    assert crowded.memory.crowding.taken_mb > crowded.memory.budget.main


def test_models_that_only_embed_take_nothing_of_the_prompt_cache() -> None:
    alone, beside = (by_key(plan(host(8, 32768), *models)) for models in ((LLAMA_8B,), (LLAMA_8B, EMBEDDER)))
    assert alone["prompt_cache_mb"].value == beside["prompt_cache_mb"].value
    assert beside["prompt_cache_mb"].reason.startswith("MiB, at most 25% of the budget")


def test_a_prompt_cache_that_gave_way_says_so() -> None:
    found = by_key(plan(host(8, 9000), LLAMA_8B, profile="conservative"))["prompt_cache_mb"]
    wanted = 9000 - 1024
    wanted = int(wanted * 0.25) // 64 * 64
    assert 0 < int(found.value) < wanted
    assert found.rule == "memory-budget"
    assert found.reason == f"MiB, what is left of the budget; it could be {wanted}: the engine fills it after the load."


def test_reasons_say_what_gave_way_to_what() -> None:
    tuning = plan(host(16, 9000), LLAMA_8B, profile="high")
    parallel = by_key(tuning)["parallel"]
    assert (parallel.rule, parallel.value) == ("memory-budget", 4)
    assert "Lowered from 6: up to " in parallel.reason
    assert "the budget is 7976 MiB" in parallel.reason
    assert by_key(plan(host(16, 64000), LLAMA_8B))["parallel"].reason.endswith("MiB are taken.")


def test_what_would_fit_is_said() -> None:
    (warning,) = plan(host(4, 7812), LLAMA_8B_F16).warnings
    assert "model0:tag F16 would take up to 16591 MiB" in warning
    assert "the budget is 6788 MiB (7812 MiB of memory without the reserve of 1024 MiB)" in warning
    assert "As Q4_K_M, with about 3 % loss of quality, model0:tag (4691 MiB of weights) would fit." in warning
    (warning,) = plan(host(4, 7812), LLAMA_70B).warnings
    assert "No quantization down to Q4_0 would make model0:tag fit" in warning


def test_what_other_quantizations_would_take() -> None:
    rows = {row.name: row for row in Policy.load().quantizations}
    # 541, 292, 253 and 241 MB are the sizes of the real files of gemma3 270M; 4-bit ones keep embeddings in 8 bits.
    f16 = replace(GEMMA, weight_bytes=536_000_000)
    assert requantized(f16, rows["Q8_0"]).weight_bytes == pytest.approx(285_000_000, rel=0.02)
    assert requantized(f16, rows["Q4_K_M"]).weight_bytes == pytest.approx(246_600_000, rel=0.04)
    assert requantized(f16, rows["Q4_0"]).weight_bytes == pytest.approx(235_000_000, rel=0.02)
    # Llama 3.1 8B: 16.07, 8.54, 4.92, 4.66 GB.
    assert requantized(LLAMA_8B_F16, rows["Q8_0"]).weight_bytes == pytest.approx(8.54e9, rel=0.02)
    assert requantized(LLAMA_8B_F16, rows["Q4_K_M"]).weight_bytes == pytest.approx(4.92e9, rel=0.02)
    assert requantized(LLAMA_8B_F16, rows["Q4_0"]).weight_bytes == pytest.approx(4.66e9, rel=0.05)
    assert requantized(LLAMA_8B, rows["F16"]).weight_bytes == LLAMA_8B.weight_bytes


def test_what_the_user_set_is_kept_and_checked_against_the_budget() -> None:
    tuning = plan(host(4, 15700), LLAMA_8B, environment={"OLLAMA_NUM_PARALLEL": 32})
    parallel = by_key(tuning)["parallel"]
    assert (parallel.value, parallel.rule) == (32, EXPLICIT)
    assert "instead of the computed 2" in parallel.reason
    over = [text for text in tuning.warnings if "With OLLAMA_NUM_PARALLEL=32 the models take up to" in text]
    assert len(over) == 1
    # Everything else has given way.
    assert tuning.environment["OLLAMA_CONTEXT_LENGTH"] == "2048"
    assert tuning.environment["LLAMA_ARG_CACHE_RAM"] == "0"


@pytest.mark.parametrize("profile", [AUTO, OFF])
def test_a_prompt_cache_without_a_limit_is_warned_of(profile: str) -> None:
    free = plan(host(8, 64000), LLAMA_8B, profile=profile, environment={"LLAMA_ARG_CACHE_RAM": -1})
    assert free.environment["LLAMA_ARG_CACHE_RAM"] == "-1"
    assert free.memory.configuration == plan(host(8, 64000), LLAMA_8B, profile=profile).memory.configuration
    (warning,) = free.warnings
    assert "LLAMA_ARG_CACHE_RAM is -1: prompt caches grow without a limit" in warning


def test_a_prompt_cache_that_cannot_fit_is_named_with_one_that_does() -> None:
    tuning = plan(host(8, 64000), LLAMA_8B, environment={"LLAMA_ARG_CACHE_RAM": 100000})
    (warning,) = tuning.warnings
    ((slots, context, size),) = re.findall(r"As computed, (\d) x (\d+) tokens and (\d+) MiB for prompts would", warning)
    assert not tuning.refused, "it was asked for"
    assert tuning.memory.advice in warning
    computed = plan(host(8, 64000), LLAMA_8B).environment
    names = ("OLLAMA_NUM_PARALLEL", "OLLAMA_CONTEXT_LENGTH", "LLAMA_ARG_CACHE_RAM")
    assert tuple(computed[name] for name in names) == (slots, context, size)
    off = plan(host(8, 12000), LLAMA_8B, profile=OFF)
    ((most,),) = [re.findall(r"With LLAMA_ARG_CACHE_RAM=(\d+) it would fit.", text) for text in off.warnings]
    assert plan(host(8, 12000), LLAMA_8B, profile=OFF, environment={"LLAMA_ARG_CACHE_RAM": most}).memory.fits


@pytest.mark.parametrize(
    "variable",
    [
        {},
        {"OLLAMA_FLASH_ATTENTION": 1},
        {"OLLAMA_KV_CACHE_TYPE": "f16"},
        {"OLLAMA_NUM_PARALLEL": 1},
        {"OLLAMA_MAX_LOADED_MODELS": 1},
        {"LLAMA_ARG_CACHE_RAM": 64},
    ],
    ids=str,
)
def test_what_does_not_fit_anyway_is_refused_whatever_the_user_sets(variable: dict[str, Any]) -> None:
    tuning = plan(host(8, 8192), LLAMA_8B_F16, environment=variable)
    assert tuning.refused
    assert tuning.warnings[0].startswith("The models do not fit: model0:tag F16 would take up to ")


def test_what_fits_without_the_users_settings_is_done_as_asked() -> None:
    for variable in ({"OLLAMA_NUM_PARALLEL": 32}, {"OLLAMA_CONTEXT_LENGTH": 131072}):
        tuning = plan(host(4, 15700), LLAMA_8B, environment=variable)
        assert (tuning.memory.fits, tuning.refused) == (False, False)


ADVICE = re.compile(r"As (\w+), with about \d+ % loss of quality, (.+) would fit\.|a host with (\d+) MiB more\.")


@pytest.mark.parametrize("features", [[], ["avx2", "avx512", "amx"]], ids=str)
@pytest.mark.parametrize(
    "shapes",
    [(TYPED_F16,), (replace(TYPED_F16, tied=True),), (LLAMA_70B,), (TYPED_F16, LLAMA_8B)],
    ids=["8B", "tied", "70B", "two"],
)
def test_advice_that_is_followed_helps(shapes: tuple[ModelShape, ...], features: list[str]) -> None:
    rows = {row.name: row for row in Policy.load().quantizations}
    for memory in range(2000, 60000, 1500):
        refused = plan(host(8, memory, cpu_features=features), *shapes)
        if refused.memory.fits:
            continue
        ((quantization, names, more),) = ADVICE.findall(refused.warnings[0])
        if more:
            larger = host(8, memory + int(more), cpu_features=features)
            assert plan(larger, *shapes).memory.fits, (memory, more)
            assert not plan({**larger, "memory_mb": larger["memory_mb"] - 8}, *shapes).memory.fits, "it is the least"
        else:
            others = [
                requantized(shape, rows[quantization]) if f"model{index}:tag" in names else shape
                for index, shape in enumerate(shapes)
            ]
            assert plan(host(8, memory, cpu_features=features), *others).memory.fits, (memory, quantization)


def test_a_context_of_a_models_own_that_is_too_long_is_named() -> None:
    hardware, policy, intent = Hardware.describe(host(4, 16384)), Policy.load(), Intent.make(engine_version="0.34.0")
    workload = Workload((Model("long:1", LLAMA_8B, context=131072),))
    refused = recommend(hardware, policy, intent, workload)
    assert refused.refused
    assert re.search(r"take up to \d+ MiB with one slot of 131072 tokens, and the budget is", refused.warnings[0])
    assert refused.warnings[0].endswith("With a num_ctx of 65536 for long:1 (now 131072) it would fit.")
    shorter = Workload((Model("long:1", LLAMA_8B, context=65536),))
    assert not recommend(hardware, policy, intent, shorter).refused
    followed = Workload((Model("long:1", LLAMA_8B, context=2048),))
    assert recommend(hardware, policy, intent, followed).memory.fits
    both = Workload((Model("long:1", LLAMA_8B, context=131072), Model("other:1", GEMMA)))
    assert "with one slot of up to 131072 tokens" in recommend(hardware, policy, intent, both).warnings[0]


def test_advice_says_what_it_takes_for_granted() -> None:
    hardware = host(4, 8192)
    (warning,) = plan(hardware, TYPED_F16, profile=OFF).warnings
    found = re.search(r"MiB\)\. With LLAMA_ARG_CACHE_RAM=0: As (\w+), with about", warning)
    assert found is not None
    (row,) = (row for row in Policy.load().quantizations if row.name == found[1])
    followed: dict[str, Any] = {"profile": OFF, "environment": {"LLAMA_ARG_CACHE_RAM": 0}}
    assert plan(hardware, requantized(TYPED_F16, row), **followed).memory.fits


def test_prompt_caches_are_of_the_models_that_are_loaded_together() -> None:
    tuning = plan(host(4, 3000), *(replace(GEMMA, weight_bytes=900 * MIB + number) for number in range(8)))
    at = tuning.memory.configuration
    assert at.loaded_models < 8
    assert at.prompt_cache_mib >= 64, "as much as is free, and as the policy's share allows"
    assert at.prompt_cache_mib * at.loaded_models <= tuning.memory.budget.main / 4


@pytest.mark.parametrize(("gpu_mb", "tokens"), [(0, 4096), (24564, 32768), (81559, 262144)])
def test_the_engines_own_context_is_counted(gpu_mb: int, tokens: int) -> None:
    gpus = [{"vendor": "nvidia", "memory_mb": gpu_mb}] if gpu_mb else []
    tuning = plan(host(4, 1 << 20, gpus=gpus), LLAMA_8B, environment={"OLLAMA_CONTEXT_LENGTH": 0})
    assert tuning.memory.configuration.context == tokens
    assert tuning.memory.models[0].context == min(tokens, 131072)


def test_a_models_own_parameters_come_before_the_servers() -> None:
    model = Model("model:tag", LLAMA_8B, context=16384, batch=256)
    tuning = recommend(
        Hardware.describe(host(8, 15700)), Policy.load(), Intent.make(engine_version="0.34.0"), Workload((model,))
    )
    assert tuning.memory.models[0].context == 16384
    assert tuning.environment["OLLAMA_NUM_PARALLEL"] == "2"
    assert tuning.memory.models[0].memory.kv == 2 * 2048 * MIB


def test_one_slot_families_are_named_and_planned_with_one() -> None:
    tuning = plan(host(16, 64000), replace(LLAMA_8B, architecture="qwen3vl", family="qwen3vl"))
    assert tuning.memory.models[0].slots == 1
    assert "gives one slot to model0:tag (family qwen3vl)" in by_key(tuning)["parallel"].reason
    assert "model0:tag (an embedding model)" in by_key(plan(host(16, 64000), EMBEDDER))["parallel"].reason


CARD = {"vendor": "nvidia", "name": "RTX 4090", "memory_mb": 24564}


def test_what_fits_the_gpus_is_planned_there() -> None:
    tuning = plan(host(16, 15700, gpus=[CARD]), LLAMA_8B)
    assert (tuning.memory.on_gpu, tuning.gpu) == (True, "all")
    assert tuning.memory.budget.gpu == 24564 - 2456
    assert tuning.memory.planned_mb < 6000, "main memory only has the processes and the prompt cache"


def test_slots_give_way_so_that_a_model_stays_on_the_gpus() -> None:
    tuning = plan(host(64, 262144, gpus=[CARD, CARD]), LLAMA_70B)
    assert tuning.memory.on_gpu
    assert tuning.environment["OLLAMA_NUM_PARALLEL"] == "1"
    reason = by_key(tuning)["parallel"].reason
    found = re.search(r"Lowered from 8: up to (\d+) MiB of the GPUs' memory would be taken, and the budget is", reason)
    assert found is not None
    assert int(found[1]) > tuning.memory.budget.gpu == 2 * 22108


def test_what_is_too_large_for_the_gpus_spills_into_main_memory() -> None:
    tuning = plan(host(16, 64000, gpus=[CARD]), LLAMA_70B)
    assert (tuning.memory.on_gpu, tuning.gpu, tuning.memory.fits) == (False, "some", True)
    assert "a part of them runs on the CPU" in tuning.warnings[0]


def test_hidden_and_integrated_gpus_do_not_count() -> None:
    hidden = plan(host(16, 15700, gpus=[CARD]), LLAMA_8B, num_gpu=0)
    assert (hidden.memory.budget.gpu, hidden.gpu) == (0, "none")
    orin = {"vendor": "nvidia", "memory_mb": 30612, "integrated": True}
    tuning = plan(host(12, 30612, gpus=[orin]), LLAMA_8B)
    assert (tuning.memory.budget.gpu, tuning.gpu) == (0, "some")


def test_a_gpu_of_unknown_memory_is_used_and_not_planned_with() -> None:
    tuning = plan(host(12, 30612, gpus=[{"vendor": "nvidia", "name": "L4"}]), LLAMA_8B)
    assert (tuning.memory.budget.gpu, tuning.gpu) == (0, "some")
    (warning,) = tuning.warnings
    assert warning.startswith(
        "How much memory the GPU L4 has is not known: nothing is planned there. Look at nvidia-smi, or"
    )


def test_memory_that_is_kept_free_of_each_gpu_is_not_planned_with() -> None:
    asked = {"OLLAMA_GPU_OVERHEAD": 20 << 30}
    tuning = plan(host(16, 64000, gpus=[CARD, CARD]), LLAMA_8B, environment=asked)
    assert tuning.memory.budget.gpu == 2 * (22108 - 20 * GIB)
    assert "do not fit into the GPUs' memory of 3256 MiB" in tuning.warnings[0]
    off = plan(host(16, 64000, gpus=[CARD]), LLAMA_8B, profile=OFF, environment=asked)
    assert off.memory.configuration.context == 4096, "the engine's choice for 4 GB"


@pytest.mark.parametrize("card", [{**CARD, "memory_mb": 8188}, {"vendor": "nvidia"}], ids=["small", "unknown"])
def test_more_kept_free_than_there_is(card: dict[str, Any]) -> None:
    tuning = plan(host(16, 64000, gpus=[card]), LLAMA_8B, environment={"OLLAMA_GPU_OVERHEAD": 16 << 30})
    assert tuning.memory.budget.gpu == 0


ARC = {"vendor": "intel", "name": "Arc", "memory_mb": 24000}


@pytest.mark.parametrize(
    ("card", "engine", "environment", "gpu"),
    [
        (CARD, "0.24.0", {}, "all"),
        (CARD, "0.34.0", {"OLLAMA_LLM_LIBRARY": "cuda_v12"}, "all"),
        (CARD, "0.34.0", {"OLLAMA_LLM_LIBRARY": "vulkan"}, "all"),
        (CARD, "0.34.0", {"OLLAMA_LLM_LIBRARY": "cpu"}, "none"),
        (CARD, "0.34.0", {"OLLAMA_LLM_LIBRARY": "rocm"}, "none"),
        (ARC, "0.34.0", {}, "all"),
        (ARC, "0.34.0", {"OLLAMA_VULKAN": 0}, "none"),
        (ARC, "0.24.0", {}, "none"),
        (ARC, "0.24.0", {"OLLAMA_VULKAN": 1}, "all"),
    ],
)
def test_only_gpus_with_a_library_count(
    card: dict[str, Any], engine: str, environment: dict[str, Any], gpu: str
) -> None:
    hardware = host(16, 64000, gpus=[card])
    assert plan(hardware, LLAMA_8B, engine_version=engine, environment=environment).gpu == gpu


def test_packing_counts_for_weights_that_are_not_on_a_gpu() -> None:
    amx = host(16, 64000, cpu_features=["avx2", "avx512", "amx"])
    model = Model("model:tag", TIED)
    apart = model._replace(gpu_layers=0)
    policy, intent = Policy.load(), Intent.make(engine_version="0.34.0")

    def weights(hardware: dict[str, Any], model: Model) -> int:
        return (
            recommend(Hardware.describe(hardware), policy, intent, Workload((model,))).memory.models[0].memory.weights
        )

    assert weights(amx, model) == weights({**amx, "gpus": [CARD]}, apart) > weights({**amx, "gpus": [CARD]}, model)


@pytest.mark.parametrize(
    ("intent", "budget", "all_on_gpu"),
    [
        ({}, 2 * 22108, True),
        ({"environment": {"CUDA_VISIBLE_DEVICES": "0"}}, 22108, True),
        ({"environment": {"CUDA_VISIBLE_DEVICES": "-1"}}, 0, False),
        ({"environment": {"CUDA_VISIBLE_DEVICES": ""}}, 0, False),
        ({"environment": {"ROCR_VISIBLE_DEVICES": "-1"}}, 2 * 22108, True),
        ({"num_gpu": -1}, 2 * 22108, True),
        ({"num_gpu": 5}, 2 * 22108, False),
        ({"num_gpu": 99}, 2 * 22108, True),
    ],
    ids=str,
)
def test_gpus_are_planned_with_as_the_user_leaves_them(intent: dict[str, Any], budget: int, all_on_gpu: bool) -> None:
    tuning = plan(host(16, 64000, gpus=[CARD, CARD]), LLAMA_8B, **intent)
    assert tuning.memory.budget.gpu == budget
    assert tuning.memory.on_gpu == all_on_gpu
    assert tuning.gpu == ("all" if all_on_gpu else "some" if budget else "none")
    assert tuning.warnings == ()
    weights = LLAMA_8B.weight_bytes // MIB
    assert (tuning.memory.planned_mb - tuning.memory.configuration.prompt_cache_mib < weights / 2) == all_on_gpu


def test_layers_that_a_model_is_declared_with_stay_in_main_memory() -> None:
    hardware, policy = Hardware.describe(host(16, 64000, gpus=[CARD])), Policy.load()
    chat, embedder = Model("chat:1", LLAMA_8B), Model("embed:1", EMBEDDER, gpu_layers=0)
    tuning = recommend(hardware, policy, Intent.make(), Workload((chat, embedder)))
    assert tuning.memory.fits
    assert tuning.gpu == "some", "no check may ask for what was not declared"
    assert tuning.warnings == ()
    assert "no GPU" not in by_key(tuning)["num_gpu"].reason


@pytest.mark.parametrize("blob", ["", "sha256-same"])
def test_a_model_beside_the_gpus_is_not_hidden_by_a_larger_one_there(blob: str) -> None:
    """Which one is loaded decides what main memory has to hold, and the larger one is not always the worse."""
    hardware, policy = Hardware.describe(host(8, 5120, gpus=[CARD])), Policy.load()
    there, beside = Model("there:1", LLAMA_8B_F16, blob=blob), Model("beside:1", LLAMA_8B, gpu_layers=0, blob=blob)
    alone = recommend(hardware, policy, Intent.make(engine_version="0.34.0"), Workload((beside,)))
    both = recommend(hardware, policy, Intent.make(engine_version="0.34.0"), Workload((there, beside)))
    assert (alone.refused, both.refused) == (True, True)
    roomy = Hardware.describe(host(8, 16384, gpus=[CARD]))
    enough = recommend(roomy, policy, Intent.make(engine_version="0.34.0"), Workload((there, beside)))
    assert enough.memory.fits
    assert enough.memory.planned_mb > LLAMA_8B.weight_bytes / MIB


INTEL = {"vendor": "intel", "name": "Arc A770", "memory_mb": 16384}


@pytest.mark.parametrize(
    ("gpus", "environment", "engine", "words"),
    [
        ([CARD], {"CUDA_VISIBLE_DEVICES": "-1"}, "0.34.0", "CUDA_VISIBLE_DEVICES leaves no GPU"),
        ([CARD], {"OLLAMA_LLM_LIBRARY": "cpu"}, "0.34.0", "OLLAMA_LLM_LIBRARY leaves no GPU"),
        ([CARD], {"OLLAMA_LLM_LIBRARY": "cpu", "CUDA_VISIBLE_DEVICES": "-1"}, "0.34.0", "CUDA_VISIBLE_DEVICES and"),
        ([INTEL], {}, "0.24.0", "Ollama 0.24.0 has no library for Arc A770"),
        ([INTEL], {"CUDA_VISIBLE_DEVICES": "-1"}, "0.24.0", "Ollama 0.24.0 has no library for Arc A770"),
        ([{**INTEL, "integrated": True}], {}, "0.34.0", "Integrated GPUs (Arc A770) are not used by default"),
        (
            [{**INTEL, "integrated": True}],
            {"GGML_VK_VISIBLE_DEVICES": "-1", "OLLAMA_LLM_LIBRARY": "cpu"},
            "0.34.0",
            "Integrated GPUs (Arc A770) are not used by default",
        ),
        (
            [CARD],
            {"CUDA_VISIBLE_DEVICES": "-1", "ROCR_VISIBLE_DEVICES": "0", "OLLAMA_LLM_LIBRARY": "cpu"},
            "0.34.0",
            "CUDA_VISIBLE_DEVICES and OLLAMA_LLM_LIBRARY leave no GPU",
        ),
        (
            [CARD, {**CARD, "vendor": "amd"}],
            {"CUDA_VISIBLE_DEVICES": "-1", "ROCR_VISIBLE_DEVICES": "-1", "OLLAMA_LLM_LIBRARY": "cpu"},
            "0.34.0",
            "ROCR_VISIBLE_DEVICES and OLLAMA_LLM_LIBRARY leave no GPU",
        ),
        ([], {"CUDA_VISIBLE_DEVICES": "0"}, "0.34.0", "There is no GPU"),
        ([], {}, "0.34.0", "There is no GPU"),
    ],
    ids=str,
)
def test_why_no_gpu_is_used(gpus: list[dict[str, Any]], environment: dict[str, str], engine: str, words: str) -> None:
    tuning = plan(host(16, 64000, gpus=gpus), LLAMA_8B, environment=environment, engine_version=engine)
    assert by_key(tuning)["num_gpu"].reason.startswith(words)


def test_an_integrated_gpu_that_the_user_enables() -> None:
    """It is in main memory, and planned there."""
    hardware = host(16, 64000, gpus=[{**INTEL, "memory_mb": None, "integrated": True}])
    tuning = plan(hardware, LLAMA_8B, environment={"OLLAMA_IGPU_ENABLE": 1})
    assert (by_key(tuning)["num_gpu"].value, tuning.gpu, tuning.memory.budget.gpu) == (-1, "some", 0)
    assert tuning.warnings == ()
    assert plan(hardware, LLAMA_8B, environment={"OLLAMA_IGPU_ENABLE": 0}).gpu == "none"


@pytest.mark.parametrize("memory", range(20000, 64000, 4000))
def test_what_does_not_go_onto_the_gpus_is_in_the_budget_with_the_margin(memory: int) -> None:
    found = plan(host(16, memory, gpus=[CARD]), LLAMA_70B).memory
    if found.fits:
        peak = sum(planned.memory.peak for planned in found.models) / MIB
        assert 1.05 * peak - found.budget.gpu <= found.planned_mb <= found.budget.main


@pytest.mark.parametrize(
    ("hardware", "shapes", "asked", "followed"),
    [
        (host(4, 8192), (LLAMA_8B, LLAMA_8B), {"OLLAMA_MAX_LOADED_MODELS": 2}, {"OLLAMA_MAX_LOADED_MODELS": 1}),
        (host(8, 9000), (LLAMA_8B,), {"OLLAMA_FLASH_ATTENTION": 0, "OLLAMA_CONTEXT_LENGTH": 32768}, {}),
    ],
    ids=["models", "attention"],
)
def test_what_is_computed_instead_is_told_whole(
    hardware: dict[str, Any], shapes: tuple[ModelShape, ...], asked: dict[str, Any], followed: dict[str, Any]
) -> None:
    tuning = plan(hardware, *shapes, environment=asked)
    found = re.search(
        r"As computed, (\d+) x (\d+) tokens(?:,| and) (\d+) MiB for prompts(.*) would fit", tuning.memory.advice
    )
    assert found is not None
    slots, context, cache, more = found.groups()
    told = {"OLLAMA_NUM_PARALLEL": slots, "OLLAMA_CONTEXT_LENGTH": context, "LLAMA_ARG_CACHE_RAM": cache, **followed}
    assert plan(hardware, *shapes, environment=told).memory.fits
    assert more == (" and 1 of the models in memory at a time" if followed else " without OLLAMA_FLASH_ATTENTION")


def test_a_gpu_that_a_variable_brings_counts_also_without_the_users_other_settings() -> None:
    asked = {"OLLAMA_VULKAN": 1, "OLLAMA_NUM_PARALLEL": 64}
    tuning = plan(host(8, 8192, gpus=[INTEL]), LLAMA_8B, engine_version="0.24.0", environment=asked)
    assert (tuning.memory.fits, tuning.refused) == (False, False)
    assert "As computed, " in " ".join(tuning.warnings)


@pytest.mark.parametrize("engine", ["0.34.0", "0.24.0"])
def test_attention_with_a_matrix_of_all_scores_is_counted(engine: str) -> None:
    wanted = {"OLLAMA_CONTEXT_LENGTH": 32768, "OLLAMA_NUM_PARALLEL": 1}
    on, off = (
        plan(host(8, 64000), LLAMA_8B, engine_version=engine, environment={**wanted, "OLLAMA_FLASH_ATTENTION": value})
        for value in ("true", "false")
    )
    more = off.memory.models[0].memory.compute - on.memory.models[0].memory.compute
    assert more > 1 << 30, "32 heads x 32768 cells x 512 tokens or more, in single precision"
    assert on.warnings == off.warnings == ()
    small = plan(host(8, 9000), LLAMA_8B, engine_version="0.34.0", environment={**wanted, "OLLAMA_FLASH_ATTENTION": 0})
    assert "OLLAMA_FLASH_ATTENTION=0" in small.warnings[0]


def test_a_quantized_cache_without_flash_attention_is_warned_of() -> None:
    asked = {"OLLAMA_FLASH_ATTENTION": False, "OLLAMA_KV_CACHE_TYPE": "q8_0"}
    (warning,) = plan(host(8, 64000), LLAMA_8B, environment=asked).warnings
    assert "OLLAMA_FLASH_ATTENTION is 'false', and a key-value cache in q8_0 needs it" in warning


def test_off_is_planned_as_the_engine_does_it_by_itself() -> None:
    tuning = plan(host(8, 12000), LLAMA_8B, profile=OFF)
    at = tuning.memory.configuration
    assert (at.parallel, at.context, at.kv_type, at.prompt_cache_mib, at.loaded_models) == (1, 4096, "f16", 8192, 3)
    assert not tuning.memory.fits
    assert tuning.warnings[0].startswith("With the engine's own settings the models take up to ")
    on_card = plan(host(8, 64000, gpus=[CARD]), LLAMA_8B, profile=OFF)
    assert on_card.memory.configuration.context == 32768, "the engine's choice for 24 GB"
    assert on_card.gpu == "none", "whatever the engine does is right"
    hidden = plan(host(8, 64000, gpus=[CARD]), LLAMA_8B, profile=OFF, num_gpu=0)
    assert hidden.memory.configuration.context == 4096, "it does not see the card"
    assert "With LLAMA_ARG_CACHE_RAM=" in tuning.warnings[0]


@pytest.mark.parametrize(
    ("architecture", "flash", "kv_type"),
    [("llama", True, "f16"), ("gemma3", True, "q8_0"), ("gemma3n", False, "f16"), ("glmocr", True, "q8_0")],
)
def test_off_leaves_flash_attention_to_the_old_engine(architecture: str, flash: bool, kv_type: str) -> None:
    shape = replace(LLAMA_8B, architecture=architecture)
    asked = {"OLLAMA_KV_CACHE_TYPE": "q8_0", "OLLAMA_CONTEXT_LENGTH": 16384}
    options: dict[str, Any] = {"profile": OFF, "engine_version": "0.24.0"}
    left, on = (
        plan(host(8, 64000), shape, environment={**asked, **more}, **options).memory.models[0].memory
        for more in ({}, {"OLLAMA_FLASH_ATTENTION": 1})
    )
    assert (left.compute == on.compute) == flash
    assert (left.kv < 1.1 * on.kv) == (kv_type == "q8_0")


def test_without_flash_attention_the_cache_is_not_quantized() -> None:
    """Or no model could be loaded."""
    for policy in ({"quantized_kv": True, "context_length": 16384}, {"kv_type": "q8_0"}):
        tuning = plan(host(16, 9500), LLAMA_8B, policy=policy, environment={"OLLAMA_FLASH_ATTENTION": 0})
        assert tuning.environment["OLLAMA_KV_CACHE_TYPE"] == "f16"
        assert "Without flash attention" in by_key(tuning)["kv_cache_type"].reason
        assert tuning.warnings == ()


def test_checkpoints_that_the_user_limits_are_counted() -> None:
    few, default = (
        plan(host(8, 64000), GEMMA, environment=variable).memory.models[0].memory.checkpoints
        for variable in ({"LLAMA_ARG_CTX_CHECKPOINTS": 1}, {})
    )
    assert 0 < 2 * few == default


def test_a_real_load_corrects_the_prediction() -> None:
    model = Model("model:tag", LLAMA_8B, blob="sha256-aa")
    hardware, policy, intent = Hardware.describe(host(8, 15700)), Policy.load(), Intent.make(engine_version="0.34.0")
    planned, heavier, other = (
        recommend(hardware, policy, intent, Workload((model,), calibrations)).memory.models[0].memory.weights
        for calibrations in ({}, {"sha256-aa": Calibration(weights=1.1)}, {"sha256-bb": Calibration(weights=1.1)})
    )
    assert planned == other == LLAMA_8B.weight_bytes
    assert heavier == pytest.approx(1.1 * planned)


LOGS = Path(__file__).parents[2] / "fixtures/logs"
CACHE = "LLAMA_ARG_CACHE_RAM"
BLOB = "sha256-8b90dc09855b7fc6fe7d3bec8afbe0e27541fa3ed72eb0b3b2ea0e56f3b47d88"


@pytest.mark.parametrize(
    ("log", "engine", "blob", "known"),
    [
        ("llama-server-0.34.0-gemma3-p2-4096-q8_0", "0.34.0", BLOB, True),
        ("ollama-engine-0.24.0-gemma3-p2-4096-f16", "0.24.0", BLOB, True),
        # The log of an engine that is about to be replaced, or of another model, says nothing.
        ("llama-server-0.34.0-gemma3-p2-4096-q8_0", "0.24.0", BLOB, False),
        ("llama-server-0.34.0-gemma3-p2-4096-q8_0", "0.34.0", "sha256-aa", False),
        ("llama-server-0.34.0-gemma3-p2-4096-q8_0", "0.34.0", "", False),
    ],
)
def test_factors_from_the_log_of_a_real_load(log: str, engine: str, blob: str, known: bool) -> None:
    text = (LOGS / f"{log}.log").read_text()
    found = calibrations(text, [Model("gemma3:270m", GEMMA, blob=blob)], Engine.parse(engine))
    assert bool(found) == known
    for calibration in found.values():  # the recorded load was of a smaller quantization
        assert 0.9 < calibration.weights < 1.1
        assert calibration.kv == pytest.approx(1, rel=0.01)
        assert calibration.compute == pytest.approx(1, rel=0.04)


def test_every_model_that_was_loaded_is_known() -> None:
    text = (LOGS / "llama-server-0.34.0-two-models-p2-4096-q8_0.log").read_text()
    blobs = list(dict.fromkeys(re.findall(r"--model \S*/blobs/(sha256-[0-9a-f]{64})", text)))
    models = [Model(f"m:{number}", GEMMA, blob=blob) for number, blob in enumerate(blobs)]
    assert len(blobs) == 2
    assert set(calibrations(text, models, Engine.parse("0.34.0"))) == set(blobs)


@pytest.mark.parametrize("kv_type", ["bf16", "q5_1"])
def test_a_cache_of_a_type_that_no_plan_has_says_nothing(kv_type: str) -> None:
    text = (LOGS / "llama-server-0.34.0-gemma3-p2-4096-q8_0.log").read_text().replace("K (q8_0)", f"K ({kv_type})")
    assert calibrations(text, [Model("gemma3:270m", GEMMA, blob=BLOB)], Engine.parse("0.34.0")) == {}


def test_a_load_without_flash_attention_is_compared_with_such_a_prediction() -> None:
    text = (LOGS / "llama-server-0.34.0-gemma3-p2-4096-f16-no-flash.log").read_text()
    blob = re.search(r"sha256-[0-9a-f]{64}", text)
    assert blob
    (found,) = calibrations(text, [Model("gemma3:270m", GEMMA, blob=blob[0])], Engine.parse("0.34.0")).values()
    assert found.compute == pytest.approx(1, rel=0.1)
    assert found.kv == pytest.approx(1, rel=0.01)


def test_weights_on_a_gpu_are_compared_with_those_of_the_file() -> None:
    """The processor lays out anew what it computes with itself."""
    text = (LOGS / "llama-server-0.34.0-gemma3-p2-4096-q8_0.log").read_text()
    models, engine = [Model("gemma3:270m", GEMMA, blob=BLOB)], Engine.parse("0.34.0")
    amx = Packing.of(["avx2", "avx512", "amx"])
    (unpacked,) = calibrations(text, models, engine).values()
    (packed,) = calibrations(text, models, engine, amx).values()
    on_gpu = text.replace(" CPU model", " CUDA0 model")
    assert packed.weights < unpacked.weights
    assert calibrations(on_gpu, models, engine, amx) == {BLOB: unpacked}


class TestTolerance:
    """What hardly differs from what the last run set is kept, as long as it fits."""

    HOST = host(48, 200000)

    def tuned(self, tuning: Tuning) -> dict[str, str]:
        return {**tuning.environment, **tuning.directives}

    def test_a_second_run_changes_nothing(self) -> None:
        first = plan(self.HOST, LLAMA_70B)
        again = plan(self.HOST, LLAMA_70B, tuned=self.tuned(first))
        assert (again.environment, again.directives) == (first.environment, first.directives)

    @pytest.mark.parametrize("change", [-0.04, -0.001, 0.001, 0.04])
    def test_a_little_more_or_less_memory_changes_nothing(self, change: float) -> None:
        first = plan(self.HOST, LLAMA_70B)
        other = host(48, int(200000 * (1 + change)))
        again = plan(other, LLAMA_70B, tuned=self.tuned(first))
        assert (again.environment, again.directives) == (first.environment, first.directives)

    def test_an_old_budget_does_not_refuse_what_fits(self) -> None:
        memory, old = host(8, 8192), {"MemoryHigh": "6850M"}
        budgets = set()
        for more in range(800, 2000, 100):
            shape = replace(LLAMA_8B, weight_bytes=LLAMA_8B.weight_bytes + more * MIB)
            found = plan(memory, shape).memory
            again = plan(memory, shape, tuned=old).memory
            assert found.fits == again.fits
            assert not found.fits or again.planned_mb <= again.budget.main
            budgets.add(again.budget.main)
        assert budgets == {6850, 7168}

    def test_an_old_budget_stays_where_a_new_one_would_not_help(self) -> None:
        asked: dict[str, Any] = {"environment": {"OLLAMA_NUM_PARALLEL": 32}}
        first = plan(host(4, 15700), LLAMA_8B, **asked)
        assert not first.memory.fits
        again = plan(host(4, 15690), LLAMA_8B, tuned=self.tuned(first), **asked)
        assert again.directives == first.directives

    def test_much_less_memory_changes_the_budget(self) -> None:
        first = plan(self.HOST, LLAMA_70B)
        again = plan(host(48, 180000), LLAMA_70B, tuned=self.tuned(first))
        assert again.directives["MemoryHigh"] == "162000M"

    @pytest.mark.parametrize(("was", "threads", "rule"), [("47", 47, "tolerance"), ("44", 48, "physical-cores")])
    def test_threads(self, was: str, threads: int, rule: str) -> None:
        found = by_key(plan(self.HOST, LLAMA_70B, tuned={"LLAMA_ARG_THREADS": was}))["threads"]
        assert (found.value, found.rule) == (threads, rule)

    def test_the_prompt_cache(self) -> None:
        memory = host(8, 12000)
        computed = int(plan(memory, LLAMA_8B).environment["LLAMA_ARG_CACHE_RAM"])
        kept = plan(memory, LLAMA_8B, tuned={"LLAMA_ARG_CACHE_RAM": str(computed - 64)})
        assert kept.environment["LLAMA_ARG_CACHE_RAM"] == str(computed - 64)

    @pytest.mark.parametrize("weights", [0.98, 0.99, 1.01, 1.02])
    def test_a_log_that_comes_and_goes_changes_nothing_for_long(self, weights: float) -> None:
        """It corrects the prediction a little, and of prompt caches, which take what is left, that is a large part."""
        memory, models = Hardware.describe(host(4, 8055)), (Model("m:1", LLAMA_8B, blob="sha256-aa"),)
        without, known = Workload(models), Workload(models, {"sha256-aa": Calibration(weights=weights)})
        intent, policy = Intent.make(engine_version="0.34.0"), Policy.load()
        if abs(weights - 1) > 0.015:
            assert (
                recommend(memory, policy, intent, known).environment
                != recommend(memory, policy, intent, without).environment
            )
        tuning = recommend(memory, policy, intent, without)
        set_to = [tuning.environment[CACHE]]
        for each in (known, without, known, without):
            tuning = recommend(memory, policy, intent, each, self.tuned(tuning))
            set_to.append(tuning.environment[CACHE])
            assert tuning.memory.planned_mb <= tuning.memory.budget.main
        # Once to less, where that is needed, and not back.
        assert int(set_to[1]) <= int(set_to[0])
        assert weights > 1 or set_to[1] == set_to[0]
        assert set_to[1:] == [set_to[1]] * 4

    def test_what_no_longer_fits_is_not_kept(self) -> None:
        memory = host(4, 7300)
        tuning = plan(memory, LLAMA_8B)
        computed = int(tuning.environment["LLAMA_ARG_CACHE_RAM"])
        too_much = 1 + int((tuning.memory.budget.main - tuning.memory.planned_mb) / 1.05)
        assert too_much < 0.05 * computed or computed < 1280, "the case is about a cache that the budget bounds"
        again = plan(memory, LLAMA_8B, tuned={"LLAMA_ARG_CACHE_RAM": str(computed + too_much)})
        assert again.environment["LLAMA_ARG_CACHE_RAM"] == str(computed)

    def test_another_policy_is_no_drift(self) -> None:
        first = plan(self.HOST, LLAMA_70B)
        tuned = {**self.tuned(first), **first.basis}
        assert plan(self.HOST, LLAMA_70B, tuned=tuned).environment == first.environment
        changed = {"context_length": 4200, "reserve": {"share": 0.12}}
        again = plan(self.HOST, LLAMA_70B, policy=changed, tuned=tuned)
        assert again.environment["OLLAMA_CONTEXT_LENGTH"] == "4200"
        assert again.directives["MemoryHigh"] == "176000M"

    def test_what_is_kept_did_not_give_way(self) -> None:
        policy = {"context_length": 4200}
        found = by_key(plan(self.HOST, LLAMA_8B, policy=policy, tuned={"OLLAMA_CONTEXT_LENGTH": "4096"}))
        assert found["context_length"].value == 4096
        assert "Lowered" not in found["context_length"].reason

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("LLAMA_ARG_CACHE_RAM", 8000),
            ("LLAMA_ARG_THREADS", 47),
            ("OLLAMA_CONTEXT_LENGTH", 4000),
        ],
    )
    def test_what_the_user_had_set_is_not_kept(self, name: str, value: int) -> None:
        computed = plan(self.HOST, LLAMA_8B)
        first = plan(self.HOST, LLAMA_8B, environment={name: value})
        assert first.environment[name] == str(value)
        again = plan(self.HOST, LLAMA_8B, tuned={**self.tuned(first), **first.basis})
        assert again.environment == computed.environment
        # Where nobody had set it, it is close enough.
        assert plan(self.HOST, LLAMA_8B, tuned=self.tuned(first)).environment[name] == str(value)

    def test_a_value_that_is_kept_says_so(self) -> None:
        found = by_key(plan(self.HOST, LLAMA_8B, tuned={"OLLAMA_CONTEXT_LENGTH": "4000"}))["context_length"]
        assert (found.value, found.rule) == (4000, "tolerance")
        assert found.reason == "Kept from the last run, since the 4096 that would be set now is hardly different."

    @pytest.mark.parametrize(
        "tuned",
        [
            {"LLAMA_ARG_CACHE_RAM": "64"},  # within 5 % of the budget, but next to nothing
            {"LLAMA_ARG_CACHE_RAM": "8256"},  # above what the policy allows
            {"OLLAMA_CONTEXT_LENGTH": "4200"},
            {"LLAMA_ARG_THREADS": "50"},
        ],
    )
    def test_nothing_is_kept_that_is_more_than_wanted_or_far_less(self, tuned: dict[str, str]) -> None:
        assert plan(self.HOST, LLAMA_8B, tuned=tuned).environment == plan(self.HOST, LLAMA_8B).environment

    @pytest.mark.parametrize("limit", [{"usable_cpus": 46}, {"cpu_quota": 46}])
    def test_threads_without_a_cpu_are_not_kept(self, limit: dict[str, int]) -> None:
        first = plan(self.HOST, LLAMA_8B)
        again = plan(host(48, 200000, **limit), LLAMA_8B, tuned={**self.tuned(first), **first.basis})
        assert again.environment["LLAMA_ARG_THREADS"] == "46"

    def test_slots_that_were_measured_are_set_however_close_the_old_ones_are(self) -> None:
        found = Measured(parallel=21, threads=48, kv_type="f16", batch=None, reason="Found.", date="d")
        hardware = Hardware.describe(host(256, 1 << 20))
        intent, policy = Intent.make(engine_version="0.34.0"), Policy.load()
        tuning = recommend(hardware, policy, intent, None, {"OLLAMA_NUM_PARALLEL": "20"}, found)
        assert (by_key(tuning)["parallel"].value, by_key(tuning)["parallel"].rule) == (21, "measured")
        assert "OLLAMA_NUM_PARALLEL" in tuning.basis["Set"].split()

    def test_the_limit_beside_the_operators_own_budget_is_kept(self) -> None:
        of = {"memory_limit_mb": 52428, "unit_limits": ["MemoryHigh"]}
        first = plan(host(16, 65536, **of))
        for less in (2, 10, 100):
            again = plan(
                host(16, 65536, **{**of, "memory_limit_mb": 52428 - less}), tuned={**self.tuned(first), **first.basis}
            )
            assert again.directives == first.directives

    @pytest.mark.parametrize("own", [[], ["MemoryHigh", "MemoryMax"]])
    @pytest.mark.parametrize(("cores", "memory"), [(4, 15259), (16, 61036)])
    def test_a_few_megabytes_at_the_edge_of_a_row_change_nothing(self, cores: int, memory: int, own: list[str]) -> None:
        first = plan(host(cores, memory, unit_limits=own))
        tuned = {**self.tuned(first), **first.basis}
        for other in (memory - 1, memory - 500, memory, memory + 500):
            again = plan(host(cores, other, unit_limits=own), tuned=tuned)
            assert (again.environment, again.basis) == (first.environment, first.basis)
            assert again.memory.budget.main == first.memory.budget.main
            tuned = {**self.tuned(again), **again.basis}
        below = plan(host(cores, memory - 1), tuned=tuned)
        assert "as in the last run: memory is hardly different." in by_key(below)["parallel"].reason
        assert below.warnings == ()
        fresh = plan(host(cores, memory - 1))
        assert int(fresh.environment["OLLAMA_NUM_PARALLEL"]) < int(first.environment["OLLAMA_NUM_PARALLEL"])
        much_less = plan(host(cores, int(memory * 0.9)), tuned=tuned)
        assert much_less.environment["OLLAMA_NUM_PARALLEL"] == fresh.environment["OLLAMA_NUM_PARALLEL"]

    @pytest.mark.parametrize(
        ("policy", "before", "now", "more"),
        [
            ({"reserve": {"share": 0.05, "min_mb": 512}}, 30000, 30800, 26940),
            ({"tolerance": 0.2}, 64000, 72000, 0),
        ],
    )
    def test_the_limit_never_comes_below_the_budget(
        self, policy: dict[str, Any], before: int, now: int, more: int
    ) -> None:
        first = plan(host(16, before), policy=policy)
        large = replace(LLAMA_8B, weight_bytes=more * MIB or LLAMA_8B.weight_bytes)
        again = plan(host(16, now), large, policy=policy, tuned={**self.tuned(first), **first.basis})
        high, most = (int(again.directives[name][:-1]) for name in ("MemoryHigh", "MemoryMax"))
        assert again.memory.fits
        assert again.memory.planned_mb <= high <= most <= now

    @pytest.mark.parametrize("junk", ["", "many", "-1", "4G"])
    def test_junk_in_the_file_is_passed_over(self, junk: str) -> None:
        names = ("LLAMA_ARG_CACHE_RAM", "OLLAMA_NUM_PARALLEL", "LLAMA_ARG_THREADS", "MemoryHigh", "Memory", "Set")
        tuned = dict.fromkeys(names, junk)
        assert plan(self.HOST, LLAMA_8B, tuned=tuned).environment == plan(self.HOST, LLAMA_8B).environment


SHAPES = st.lists(st.sampled_from([GEMMA, LLAMA_8B, LLAMA_8B_F16, LLAMA_70B, EMBEDDER]), min_size=1, max_size=3)
SPELLINGS = st.sampled_from(["1", "true", "T", "0", "false", "F", True, False, 0, 1])
POLICY = st.fixed_dictionaries(
    {},
    optional={
        "quantized_kv": st.booleans(),
        "context_length": st.integers(2048, 65536),
        "reserve": st.fixed_dictionaries({"share": st.floats(0, 0.5), "min_mb": st.integers(0, 4096)}),
    },
)
ENGINES = st.sampled_from(["0.24.0", "0.34.0"])
CARDS = st.lists(st.sampled_from([CARD, {**CARD, "memory_mb": 8188}, {**CARD, "integrated": True}]), max_size=2)
EXPLICITS = st.fixed_dictionaries(
    {},
    optional={
        "OLLAMA_NUM_PARALLEL": st.integers(1, 64),
        "OLLAMA_CONTEXT_LENGTH": st.integers(0, 65536),
        "OLLAMA_MAX_LOADED_MODELS": st.integers(0, 4),
        "OLLAMA_KV_CACHE_TYPE": st.sampled_from(["f16", "q8_0", "q4_0"]),
        "LLAMA_ARG_CACHE_RAM": st.integers(-1, 8192),
        "LLAMA_ARG_THREADS": st.integers(1, 64),
        "OLLAMA_FLASH_ATTENTION": SPELLINGS,
    },
)


def in_go(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


CORES, MEMORY = st.integers(1, 256), st.integers(256, 1 << 19)


@given(CORES, MEMORY, SHAPES, POLICY, ENGINES, EXPLICITS)
def test_the_budget_is_never_exceeded_by_what_is_said_to_fit(
    cores: int, memory: int, shapes: list[ModelShape], policy: dict[str, Any], engine: str, explicit: dict[str, Any]
) -> None:
    tuning = plan(host(cores, memory), *shapes, policy=policy, engine_version=engine, environment=explicit)
    explicit = {name: in_go(value) for name, value in explicit.items()}
    at, found = tuning.memory.configuration, tuning.memory
    if found.fits:
        largest = sorted((planned.memory.peak for planned in found.models), reverse=True)[: at.loaded_models]
        assert 1.05 * sum(largest) / MIB <= found.planned_mb <= found.budget.main
    elif not explicit:
        assert (at.parallel, at.loaded_models, at.prompt_cache_mib) == (1, 1, 0)
        assert tuning.warnings
    if tuning.directives:
        high, most = (int(tuning.directives[name][:-1]) for name in ("MemoryHigh", "MemoryMax"))
        assert high <= most <= memory
    assert explicit.items() <= tuning.environment.items()
    for each in tuning.recommendations:
        assert each.rule
        assert each.reason.endswith(".")
        assert (each.rule == EXPLICIT) == (each.variable in explicit)


@given(CORES, MEMORY, MEMORY, SHAPES, POLICY, ENGINES, CARDS)
def test_a_run_after_another_stays_within_the_host(
    cores: int,
    before: int,
    memory: int,
    shapes: list[ModelShape],
    policy: dict[str, Any],
    engine: str,
    gpus: list[dict[str, Any]],
) -> None:
    first = plan(host(cores, before, gpus=gpus), *shapes, policy=policy, engine_version=engine)
    tuned = {**first.environment, **first.directives, **first.basis}
    again = plan(host(cores, memory, gpus=gpus), *shapes, policy=policy, engine_version=engine, tuned=tuned)
    if again.directives:
        high, most = (int(again.directives[name][:-1]) for name in ("MemoryHigh", "MemoryMax"))
        assert high <= most <= memory
        assert 2 * (memory - high) >= Policy.load(policy).reserve.of(memory) - 1
    if again.memory.fits:
        assert again.memory.planned_mb <= again.memory.budget.main


@given(CORES, MEMORY, SHAPES, POLICY, ENGINES, EXPLICITS, CARDS)
def test_a_second_run_changes_nothing(
    cores: int,
    memory: int,
    shapes: list[ModelShape],
    policy: dict[str, Any],
    engine: str,
    explicit: dict[str, Any],
    gpus: list[dict[str, Any]],
) -> None:
    hardware = host(cores, memory, gpus=gpus)
    asked: dict[str, Any] = {"policy": policy, "engine_version": engine, "environment": explicit}
    first = plan(hardware, *shapes, **asked)
    again = plan(hardware, *shapes, **asked, tuned={**first.environment, **first.directives, **first.basis})
    assert (again.environment, again.directives, again.basis) == (first.environment, first.directives, first.basis)


@given(CORES, MEMORY, SHAPES, ENGINES)
def test_the_computed_slots_as_a_setting_change_nothing(
    cores: int, memory: int, shapes: list[ModelShape], engine: str
) -> None:
    computed = plan(host(cores, memory), *shapes, engine_version=engine)
    slots = {"OLLAMA_NUM_PARALLEL": computed.environment["OLLAMA_NUM_PARALLEL"]}
    explicit = plan(host(cores, memory), *shapes, engine_version=engine, environment=slots)
    if computed.memory.configuration.context == Policy.load().context_length:
        assert explicit.environment == computed.environment


@given(CORES, MEMORY, CORES, st.integers(0, 65536), SHAPES, POLICY, ENGINES, EXPLICITS, CARDS)
def test_more_memory_or_cores_never_lower_parallel(
    cores: int,
    memory: int,
    more_cores: int,
    more_memory: int,
    shapes: list[ModelShape],
    policy: dict[str, Any],
    engine: str,
    explicit: dict[str, Any],
    gpus: list[dict[str, Any]],
) -> None:
    asked: dict[str, Any] = {"policy": policy, "engine_version": engine, "environment": explicit}
    small, more, bigger, both = (
        int(plan(host(*size, gpus=gpus), *shapes, **asked).environment["OLLAMA_NUM_PARALLEL"])
        for size in (
            (cores, memory),
            (cores + more_cores, memory),
            (cores, memory + more_memory),
            (cores + more_cores, memory + more_memory),
        )
    )
    assert small <= more <= both
    assert small <= bigger <= both


@given(CORES, MEMORY, SHAPES, EXPLICITS)
def test_off_leaves_memory_alone(cores: int, memory: int, shapes: list[ModelShape], explicit: dict[str, Any]) -> None:
    tuning = plan(host(cores, memory), *shapes, profile=OFF, environment=explicit)
    assert tuning.directives == {}
    assert tuning.environment == {name: in_go(value) for name, value in sorted(explicit.items())}


def test_plain_data() -> None:
    data = plan(host(8, 15700), LLAMA_8B, EMBEDDER).to_dict()
    json.dumps(data)
    assert data["memory"]["models"][0]["weights_mb"] == 4685
    assert data["memory"]["models"][0]["kv_mb"] == 1024
    assert data["memory"]["budget_mb"] + data["memory"]["reserve_mb"] == 15700
