# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The memory model against what real engines logged, and its invariants. MiB unless said otherwise."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.engine import Engine
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.memory_model import (
    KV_TYPES,
    MIB,
    Load,
    ModelMemory,
    effective_batch,
    effective_context,
    effective_kv_type,
    effective_parallel,
    predict,
    predict_model,
    prompt_state,
)
from ansible_collections.llmops.ollama.plugins.module_utils.model_shape import Layer, ModelShape, from_server
from hypothesis import given
from hypothesis import strategies as st

OLD = Engine.parse("0.24.0")
NEW = Engine.parse("0.34.0")
GEMMA = from_server(json.loads((Path(__file__).parents[2] / "fixtures/models/gemma3-270m-show.json").read_text()))


def plain(**changes: Any) -> ModelShape:
    """A llama-like shape: 6 layers with 4 stored heads of 64 elements."""
    values: dict[str, Any] = {
        "architecture": "llama",
        "layers": (Layer(256, 256),) * 6,
        "heads": 16,
        "embedding": 1024,
        "feed_forward": 2816,
        "gated": True,
        "vocabulary": 64000,
        "merges": 64000,
        "window": 0,
        "trained_context": 32768,
        "weight_bytes": 400 * MIB,
        "embedding_bytes": 125 * MIB,
        "tied": False,
    }
    return ModelShape(**{**values, **changes})


def mib(size: int) -> float:
    return round(size / MIB, 2)


# Logged by Ollama 0.24.0 for gemma3 270M, context 4096: cache, and compute graph.
@pytest.mark.parametrize(
    ("parallel", "cache", "graph"), [(1, 27.0, 23.5), (2, 50.25, 28.25), (4, 89.25, 37.25), (8, 167.25, 57.25)]
)
def test_old_engine_against_its_log(parallel: int, cache: float, graph: float) -> None:
    memory = predict_model(Load(GEMMA, parallel, 4096), OLD)
    assert mib(memory.kv) == cache
    assert mib(memory.compute) == pytest.approx(graph, rel=0.04)
    # The tied embeddings are loaded a second time for the output.
    assert mib(memory.weights) == 405.16


# Logged by llama-server: parallel, context, type; batch, cache of full attention, of the windows, compute buffer.
@pytest.mark.parametrize(
    ("parallel", "context", "kv_type", "batch", "full", "window", "compute"),
    [
        (1, 2048, "f16", 512, 6.0, 15.0, 21.28),
        (1, 4096, "f16", 512, 12.0, 15.0, 23.28),
        (1, 8192, "f16", 1024, 24.0, 22.5, 55.55),
        (2, 4096, "f16", 1024, 24.0, 45.0, 47.55),
        (8, 4096, "f16", 1024, 96.0, 180.0, 47.55),
        (8, 8192, "f16", 2048, 192.0, 300.0, 115.11),
        (2, 4096, "q8_0", 1024, 12.75, 23.91, 48.09),
        (8, 8192, "q8_0", 2048, 102.0, 159.38, 115.64),
    ],
)
def test_new_engine_against_its_log(
    parallel: int, context: int, kv_type: str, batch: int, full: float, window: float, compute: float
) -> None:
    load = Load(GEMMA, parallel, context, kv_type)
    memory = predict_model(load, NEW)
    assert effective_batch(load, NEW) == batch
    assert (mib(memory.kv_full), mib(memory.kv_window)) == (full, window)
    assert mib(memory.compute) == pytest.approx(compute, rel=0.015)
    assert mib(memory.weights) == 235.16
    assert mib(memory.output) == parallel


# The same for small models that were made for the purpose: architecture, sizes, and the logged compute buffer.
@pytest.mark.parametrize(
    ("changes", "parallel", "context", "compute"),
    [
        ({}, 1, 2048, 28.52),
        ({}, 2, 4096, 61.04),
        ({"embedding": 896, "feed_forward": 4864, "vocabulary": 128000}, 1, 4096, 41.27),
        ({"embedding": 1024, "feed_forward": 3072}, 2, 4096, 64.04),
        ({"embedding": 1024, "feed_forward": 4096, "gated": False}, 2, 4096, 44.04),
    ],
)
def test_compute_buffers_of_other_architectures(
    changes: dict[str, Any], parallel: int, context: int, compute: float
) -> None:
    memory = predict_model(Load(plain(**changes), parallel, context), NEW)
    assert mib(memory.compute) == pytest.approx(compute, rel=0.01)


def test_what_llama_server_keeps_of_prompts() -> None:
    # Logged: a state of 3252 tokens takes 17.071 MiB and each of its two checkpoints 7.506 MiB.
    assert mib(prompt_state(GEMMA, 3252, "f16")) == pytest.approx(17.071, rel=0.005)
    memory = predict_model(Load(GEMMA, 2, 4096, prompt_cache_mib=64), NEW)
    assert mib(memory.checkpoints) == pytest.approx(1.2 * 2 * 2 * 7.506, rel=0.005)
    assert mib(memory.prompt_cache) == 64
    assert mib(predict_model(Load(GEMMA, 2, 4096), NEW).prompt_cache) == 8192
    assert predict_model(Load(plain(), 2, 4096), NEW).checkpoints == 0


def test_the_old_engine_keeps_no_prompts() -> None:
    memory = predict_model(Load(GEMMA, 2, 4096), OLD)
    assert (memory.checkpoints, memory.prompt_cache) == (0, 0)


def test_masks_weigh_on_the_old_engine_as_far_as_slots_are_filled() -> None:
    full = predict_model(Load(GEMMA, 4, 4096), OLD).batch_inputs
    some = predict_model(Load(GEMMA, 4, 4096, tokens=4096), OLD).batch_inputs
    assert 0 < some < full
    assert predict_model(Load(plain(), 4, 4096), OLD).batch_inputs == 0


def test_one_slot_is_all_some_models_get() -> None:
    single = plain(architecture="lfm2")
    assert effective_parallel(Load(single, 8)) == 1
    assert predict([Load(single, 8)], NEW) == predict([Load(single, 1)], NEW)


def test_context_ends_where_training_did() -> None:
    assert effective_context(Load(plain(trained_context=2048), 1, 8192)) == 2048
    assert effective_context(Load(plain(trained_context=0), 1, 8192)) == 8192
    assert effective_context(Load(plain(), 1, 512)) == 512
    assert effective_context(Load(plain(vision=True), 1, 512)) == 2048
    assert effective_context(Load(plain(vision=True, trained_context=1024), 1, 512)) == 1024


@pytest.mark.parametrize(
    ("parallel", "context", "batch", "old", "new"),
    [
        (1, 4096, None, 512, 512),
        (1, 4097, None, 512, 1024),
        (8, 4096, None, 512, 1024),
        (9, 4096, None, 512, 2048),
        (1, 256, None, 256, 512),
        (2, 4096, 128, 128, 128),
    ],
)
def test_batch(parallel: int, context: int, batch: int | None, old: int, new: int) -> None:
    load = Load(GEMMA, parallel, context, batch=batch)
    assert (effective_batch(load, OLD), effective_batch(load, NEW)) == (old, new)


def test_embedding_models_compute_a_context_at_once() -> None:
    encoder = plain(architecture="nomic-bert", is_embedding=True)
    assert effective_batch(Load(encoder, 4, 8192), NEW) == 2048
    assert effective_batch(Load(encoder, 4, 8192), OLD) == 8192
    memory = predict_model(Load(encoder, 4, 8192), NEW)
    assert (memory.kv, memory.checkpoints, memory.prompt_cache) == (0, 0, 0)


def test_a_quantized_cache_needs_flash_attention() -> None:
    assert effective_kv_type(Load(plain(architecture="gemma2"), kv_type="q8_0"), OLD) == "f16"
    assert effective_kv_type(Load(plain(architecture="gemma2"), kv_type="q8_0"), NEW) == "q8_0"
    assert effective_kv_type(Load(plain(layers=(Layer(192, 128),)), kv_type="q8_0"), OLD) == "f16"


@pytest.mark.parametrize(
    ("engine", "parallel", "context", "logged", "copies"),
    [(NEW, 1, 2048, 34.3, 8), (NEW, 2, 8192, 190.5, 64), (OLD, 1, 8192, 70.5, 32), (OLD, 2, 8192, 134.5, 64)],
)
def test_without_flash_attention_scores_are_in_memory(
    engine: Engine, parallel: int, context: int, logged: float, copies: int
) -> None:
    """Logged for gemma3 270M; the copies in half precision were found in the processes."""
    without, with_it = (predict_model(Load(GEMMA, parallel, context, flash=each), engine) for each in (False, True))
    assert logged * 0.96 < mib(without.compute) < logged * 1.5
    assert mib(without.batch_inputs - with_it.batch_inputs) == copies


def test_several_models_share_one_server() -> None:
    loads = [Load(GEMMA, 2, 4096), Load(plain(), 2, 4096)]
    both = predict(loads, NEW)
    assert both.peak == both.server + sum(predict_model(load, NEW).peak for load in loads)
    assert predict([], NEW).peak == predict(loads, NEW).server


def test_plain_data() -> None:
    prediction = predict([Load(GEMMA, 2, 4096, prompt_cache_mib=64)], NEW)
    data = prediction.to_dict()
    assert set(data) == {"server", "models", "resident_after_load", "peak"}
    assert set(data["models"][0]) == {*ModelMemory._fields, "peak"}
    assert data["peak"] == prediction.peak
    json.dumps(data)


@pytest.mark.parametrize(
    ("values", "key"), [({"parallel": 0}, "parallel"), ({"context": -1}, "context"), ({"kv_type": "f8"}, "kv_type")]
)
def test_refuses_values_that_no_engine_takes(values: dict[str, Any], key: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Load(GEMMA, **values)
    assert caught.value.details == {"key": key}


engines = st.sampled_from([OLD, NEW])
shapes = st.sampled_from([GEMMA, plain(), plain(tied=True), replace(GEMMA, recurrent_bytes=MIB)])
loads = st.builds(
    Load,
    shape=shapes,
    parallel=st.integers(1, 16),
    context=st.integers(1, 40000),
    kv_type=st.sampled_from(KV_TYPES),
    prompt_cache_mib=st.integers(0, 4096),
)


@given(load=loads, engine=engines)
def test_no_part_is_negative_and_growth_comes_after_the_load(load: Load, engine: Engine) -> None:
    prediction = predict([load], engine)
    assert min(prediction.models[0]) >= 0
    assert load.shape.weight_bytes < prediction.resident_after_load <= prediction.peak


@given(load=loads, engine=engines, slots=st.integers(1, 4), tokens=st.integers(1, 4096), cache=st.integers(1, 512))
def test_asking_for_more_never_takes_less(load: Load, engine: Engine, slots: int, tokens: int, cache: int) -> None:
    before = predict([load], engine).peak
    assert predict([replace(load, parallel=load.parallel + slots)], engine).peak >= before
    assert predict([replace(load, context=load.context + tokens)], engine).peak >= before
    assert predict([replace(load, prompt_cache_mib=(load.prompt_cache_mib or 0) + cache)], engine).peak >= before


@given(load=loads, engine=engines)
def test_a_smaller_cache_type_never_takes_more(load: Load, engine: Engine) -> None:
    sizes = [predict([replace(load, kv_type=kv_type)], engine).peak for kv_type in KV_TYPES]
    assert sizes == sorted(sizes, reverse=True)
