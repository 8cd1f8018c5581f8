# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Shapes from headers and from a server's answers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.gguf_reader import read_header
from ansible_collections.llmops.ollama.plugins.module_utils.model_shape import (
    SINGLE_SLOT_FAMILIES,
    Layer,
    ModelShape,
    from_header,
    from_server,
    lacks_lists,
)
from gguf_bytes import header
from hypothesis import given
from hypothesis import strategies as st

SHOW = json.loads((Path(__file__).parents[2] / "fixtures/models/gemma3-270m-show.json").read_text())


def shape(architecture: str, tensors: Any = (), **keys: Any) -> ModelShape:
    metadata: dict[str, Any] = {"general.architecture": architecture, f"{architecture}.block_count": 6}
    metadata[f"{architecture}.embedding_length"] = 512
    metadata[f"{architecture}.attention.head_count"] = 8
    metadata.update({f"{architecture}.{key.replace('__', '.')}": value for key, value in keys.items()})
    return from_header(read_header(header(metadata, tensors)))


def test_a_real_servers_answer() -> None:
    found = from_server(SHOW)
    assert found.architecture == "gemma3"
    assert len(found.layers) == 18
    # Every sixth layer sees everything; one head of 256 elements for keys, and for values.
    assert [number for number, layer in enumerate(found.layers) if not layer.window] == [5, 11, 17]
    assert found.layers[0] == Layer(256, 256, window=True)
    assert (found.embedding, found.feed_forward, found.heads, found.window) == (640, 2048, 4, 512)
    assert (found.vocabulary, found.merges, found.trained_context) == (262144, 0, 32768)
    assert found.tied
    assert found.gated
    # The file's size less its header; among it the embeddings: 262144 x 640 elements in blocks of 32 with 34 bytes.
    assert found.weight_bytes == 253113024 - 6525120
    assert found.embedding_bytes == 178257920
    assert (found.quantization, found.single_slot) == ("Q4_K_M", False)


def test_a_verbose_answer_says_the_same() -> None:
    tables = {"tokenizer.ggml.tokens": ["x"] * 262144, "tokenizer.ggml.scores": [0.0] * 262144}
    verbose = {**SHOW, "model_info": {**SHOW["model_info"], **tables}}
    assert from_server(verbose) == from_server(SHOW)


def test_an_answer_without_tensors_takes_the_size() -> None:
    answer = {key: value for key, value in SHOW.items() if key != "tensors"}
    answer["model_info"] = {**SHOW["model_info"], "tokenizer.ggml.tokens": ["x"] * 262144}
    found = from_server(answer, size=253113257)
    assert found.weight_bytes == 253113257
    assert found.vocabulary == 262144
    assert found.embedding_bytes == 178257920
    assert found.tied


@pytest.mark.parametrize("answer", [{}, {"model_info": None}, {"model_info": {"general.architecture": "llama"}}])
def test_an_answer_that_tells_nothing(answer: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        from_server(answer)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tensors": [{"shape": [64, 64], "type": "F16"}]}, "lists {'shape'"),
        ({"tensors": [{"name": "a", "shape": "xx", "type": "F16"}]}, "lists {'name': 'a'"),
        ({"tensors": [{"name": "a", "shape": [64, -1], "type": "F16"}]}, "lists {'name': 'a'"),
        ({"tensors": ["a"]}, "lists 'a'"),
        ({"tensors": {"a": 1}}, "tensors or details"),
        ({"details": "x"}, "tensors or details"),
        ({"model_info": ["a"]}, "no model_info"),
    ],
)
def test_an_answer_of_another_form(change: dict[str, Any], words: str) -> None:
    assert not lacks_lists({**SHOW, **change})
    with pytest.raises(InvalidInput, match=f"The server's answer .*{words}"):
        from_server({**SHOW, **change})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("context_length", -1),
        ("block_count", math.nan),
        ("embedding_length", math.inf),
        ("embedding_length", 10**400),
        ("attention.head_count_kv", ["a"]),
        ("attention.head_count", [4, -4]),
        ("feed_forward_length", "many"),
        ("attention.sliding_window", 0.5),
        ("attention.sliding_window_pattern", True),
    ],
)
def test_what_is_no_count_is_refused_by_its_key(key: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match=rf"for gemma3\.{key}\."):
        from_server({**SHOW, "model_info": {**SHOW["model_info"], f"gemma3.{key}": value}})


KEYS = [
    *(f"attention.{name}" for name in ("head_count", "head_count_kv", "sliding_window", "sliding_window_pattern")),
    *(f"attention.{name}" for name in ("key_length", "key_length_swa", "value_length", "shared_kv_layers")),
    *("block_count", "context_length", "embedding_length", "vocab_size", "full_attention_interval"),
    *("feed_forward_length", "expert_feed_forward_length", "expert_used_count"),
    *("ssm.inner_size", "ssm.state_size", "ssm.conv_kernel", "ssm.group_count", "shortconv.l_cache"),
]
COUNTS = st.integers(0, 100) | st.lists(st.integers(0, 100), max_size=8)
ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)


@given(
    st.dictionaries(st.sampled_from(KEYS), COUNTS),
    st.dictionaries(st.sampled_from(KEYS), ANYTHING | st.lists(ANYTHING), max_size=2),
)
def test_metadata_gives_a_shape_or_is_refused_but_never_breaks(counts: dict[str, Any], odd: dict[str, Any]) -> None:
    keys = {f"gemma3.{key}": value for key, value in {**counts, **odd}.items()}
    try:
        found = from_server({**SHOW, "model_info": {**SHOW["model_info"], **keys}})
    except InvalidInput:
        return
    values = [*vars(found).values(), *(size for layer in found.layers for size in layer)]
    assert min(value for value in values if isinstance(value, int)) >= 0


def test_grouped_queries() -> None:
    # 8 heads of 512 / 8 elements, of which 2 are stored.
    assert shape("llama", attention__head_count_kv=2).layers == (Layer(128, 128),) * 6
    assert shape("llama").layers == (Layer(512, 512),) * 6


def test_head_lengths_that_are_not_a_fraction_of_the_embedding() -> None:
    found = shape("qwen3", attention__head_count_kv=2, attention__key_length=128, attention__value_length=96)
    assert found.layers[0] == Layer(256, 192)


@pytest.mark.parametrize(
    ("architecture", "pattern", "full"),
    [
        ("gemma2", None, [1, 3, 5]),
        ("gemma3", None, [5]),
        ("gpt-oss", None, [1, 3, 5]),
        ("cohere2", None, [3]),
        ("olmo2", None, [3]),
        ("gemma4", [True, True, False], [2, 5]),
        ("gemma3", 3, [2, 5]),
        ("phi3", None, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_windows(architecture: str, pattern: Any, full: list[int]) -> None:
    keys: dict[str, Any] = {"attention__sliding_window": 1024}
    if pattern is not None:
        keys["attention__sliding_window_pattern"] = pattern
    found = shape(architecture, **keys)
    assert [number for number, layer in enumerate(found.layers) if not layer.window] == full


def test_no_window_no_pattern() -> None:
    assert not shape("gemma3").window_layers


def test_layers_that_share_keys_and_values_store_none() -> None:
    found = shape("gemma4", attention__shared_kv_layers=2)
    assert [layer.key_elements for layer in found.layers] == [512, 512, 512, 512, 0, 0]


def test_layers_without_attention_keep_a_state() -> None:
    keys = {"ssm__inner_size": 1024, "ssm__state_size": 16, "ssm__conv_kernel": 4, "ssm__group_count": 1}
    found = shape("nemotron_h", attention__head_count_kv=[0, 0, 2, 0, 0, 2], **keys)
    assert [layer.key_elements for layer in found.layers] == [0, 0, 128, 0, 0, 128]
    # 4 layers of 3 x (1024 + 2 x 16) + 1024 x 16 elements of 4 bytes.
    assert found.recurrent_bytes == 4 * (3168 + 16384) * 4
    interval = shape("qwen3next", **keys)
    assert [layer.key_elements > 0 for layer in interval.layers] == [False, False, False, True, False, False]
    assert interval.recurrent_bytes == 5 * (3168 + 16384) * 4


def test_a_model_without_attention_has_no_cache() -> None:
    keys = {"ssm__inner_size": 1024, "ssm__state_size": 16, "ssm__conv_kernel": 4}
    found = shape("mamba", attention__head_count=0, **keys)
    assert found.layers == (Layer(0, 0),) * 6
    assert found.recurrent_bytes == 6 * (3 * 1024 + 1024 * 16) * 4


def test_experts_in_use_widen_the_feed_forward_block() -> None:
    keys = {"expert_count": 64, "expert_used_count": 8, "feed_forward_length": 4096}
    assert shape("qwen3moe", expert_feed_forward_length=768, **keys).feed_forward == 6144
    assert shape("mixtral", expert_count=8, expert_used_count=2, feed_forward_length=4096).feed_forward == 8192


def test_models_that_take_images() -> None:
    assert not shape("gemma3").vision
    assert shape("gemma3", vision__block_count=27).vision


def test_untied_and_ungated() -> None:
    tensors = [
        ("token_embd.weight", (512, 32000), 1),
        ("output.weight", (512, 32000), 1),
        ("blk.0.ffn_up.weight", (512, 2048), 1),
    ]
    found = shape("starcoder2", tensors, feed_forward_length=2048)
    assert not found.tied
    assert not found.gated
    assert found.vocabulary == 32000
    assert shape("phi3", [("blk.0.ffn_up.weight", (512, 4096), 1)], feed_forward_length=2048).gated


# As both engines' scheduler has them.
FAMILIES = "mllama qwen3vl qwen3vlmoe qwen35 qwen35moe qwen3next lfm2 lfm2moe nemotron_h nemotron_h_moe nemotron_h_omni"


def test_no_family_with_one_slot_is_missing() -> None:
    assert set(FAMILIES.split()) == SINGLE_SLOT_FAMILIES


@pytest.mark.parametrize("family", sorted(SINGLE_SLOT_FAMILIES))
def test_families_with_one_slot(family: str) -> None:
    assert shape(family).single_slot


def test_embedding_models_have_one_slot() -> None:
    found = shape("nomic-bert", pooling_type=1)
    assert found.is_embedding
    assert found.single_slot


def test_the_family_decides_where_it_is_known() -> None:
    details = {"family": "mllama", "quantization_level": "Q4_0"}
    assert from_server({**SHOW, "details": details}).single_slot


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"general.architecture": "clip"},
        {"general.architecture": "llama", "llama.block_count": 0, "llama.embedding_length": 64},
        {"general.architecture": "llama", "llama.block_count": 100000, "llama.embedding_length": 64},
        {"general.architecture": "llama", "llama.block_count": "many", "llama.embedding_length": 64},
    ],
)
def test_refuses_what_is_no_language_model(metadata: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        from_header(read_header(header(metadata)))
