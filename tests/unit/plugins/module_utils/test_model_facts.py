# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Declared models, looked up at a server, at a registry, in a file; and where nobody can tell."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf_bytes
import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.bare_client import BareClient
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput, NotFound
from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import definitions
from ansible_collections.llmops.ollama.plugins.module_utils.model_facts import Lookup, Model
from ansible_collections.llmops.ollama.plugins.module_utils.model_recipe import Record
from ansible_collections.llmops.ollama.plugins.module_utils.registry import Registry
from ansible_collections.llmops.ollama.plugins.module_utils.registry_facts import Elsewhere
from fake_http import Answer, FakeOllama, FakeRegistry
from fake_mirror import FakeMirror

SHOW: dict[str, Any] = json.loads((Path(__file__).parents[2] / "fixtures/models/gemma3-270m-show.json").read_text())

# A llama of 2 layers whose vocabulary makes the header longer than the first read.
HEADER = gguf_bytes.header(
    {
        "general.architecture": "llama",
        "llama.block_count": 2,
        "llama.embedding_length": 64,
        "llama.context_length": 2048,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.feed_forward_length": 128,
        "tokenizer.ggml.tokens": [f"token{number:08}" for number in range(20000)],
    },
    [("token_embd.weight", (64, 20000), 1), ("blk.0.attn_q.weight", (64, 64), 1)],
)
FILE = HEADER + b"\0" * 100_000
SIZES = {"block_count": 6, "embedding_length": 64, "context_length": 2048, "attention.head_count": 4}
WEIGHTS = 2 * (64 * 20000 + 64 * 64)


def look(
    registry: FakeRegistry, *entries: Any, server: FakeOllama | None = None, url: str = ""
) -> tuple[tuple[Model, ...], list[str]]:
    with Registry() as questions:
        client = BareClient(server.url if server else "http://127.0.0.1:1", 5.0)
        declared = definitions(entries)
        lookup = Lookup(client, Elsewhere(questions, url or registry.url), declared)
        return lookup.models(declared), lookup.warnings


def test_a_server_tells_of_what_it_has(ollama: FakeOllama, registry: FakeRegistry) -> None:
    registry.publish("library/gemma3:270m")
    ollama.install("gemma3:270m", registry.manifests["library/gemma3:270m"])
    blob = "sha256-" + "8b" * 32
    ollama.shows["gemma3:270m"] = {
        **SHOW,
        "modelfile": f"# comment\nFROM /var/lib/ollama/models/blobs/{blob}\nTEMPLATE x",
        "parameters": 'num_ctx                        8192\nstop                           "<end>"\nnum_batch    256',
    }
    registry.log.clear()
    ((model,), warnings) = look(registry, "gemma3:270m", "Gemma3:270m", server=ollama)
    assert (model.name, model.source, model.blob, model.context, model.batch) == (
        "gemma3:270m",
        "server",
        blob,
        8192,
        256,
    )
    assert model.shape.architecture == "gemma3"
    assert (registry.log, warnings) == ([], [])


@pytest.mark.parametrize("no_list", [None, []])
@pytest.mark.parametrize(
    ("architecture", "keys", "questions"),
    [
        ("lfm2", {"attention.head_count_kv": [0, 0, 2, 0, 0, 2], "shortconv.l_cache": 3}, 2),
        (
            "gemma4",
            {
                "attention.head_count_kv": [2, 2, 1, 2, 2, 1],
                "attention.sliding_window": 64,
                "attention.sliding_window_pattern": [True, True, False, True, True, False],
                "attention.key_length": 32,
                "attention.key_length_swa": 16,
                "feed_forward_length": [128, 128, 128, 256, 256, 256],
            },
            2,
        ),
        ("openelm", {"attention.head_count": [4, 4, 4, 8, 8, 8], "feed_forward_length": [64, 64, 96, 96, 96, 128]}, 2),
        # Lists that say nothing of the memory are not asked for.
        ("qwen2vl", {"attention.head_count_kv": 2, "rope.dimension_sections": [16, 24, 24, 0]}, 1),
        ("gemma2", {"attention.sliding_window": 64}, 1),
        ("llama", {}, 1),
    ],
)
def test_a_model_is_the_same_before_and_after_its_pull(
    ollama: FakeOllama,
    registry: FakeRegistry,
    architecture: str,
    keys: dict[str, Any],
    questions: int,
    no_list: list[Any] | None,
) -> None:
    ollama.no_list = no_list
    metadata = {
        "general.architecture": architecture,
        "tokenizer.ggml.tokens": ["a", "b"],
        **{f"{architecture}.{key}": value for key, value in (SIZES | keys).items()},
    }
    tensors = [("token_embd.weight", (64, 2), 1), ("blk.0.ffn_gate.weight", (64, 128), 1)]
    registry.publish_file("library/m:1", gguf_bytes.header(metadata, tensors))
    ((before,), _warnings) = look(registry, "m:1")
    ollama.install("m:1", registry.manifests["library/m:1"])
    ollama.shows["m:1"] = {
        "details": {"family": "gemma3", "quantization_level": "Q4_K_M"},  # as the registry has it
        "model_info": metadata,
        "tensors": [{"name": name, "shape": shape, "type": "F16"} for name, shape, _type in tensors],
    }
    ((after,), _warnings) = look(registry, "m:1", server=ollama)
    assert (before.source, after.source) == ("registry", "server")
    assert after.shape == before.shape
    assert ollama.log.count("POST /api/show") == questions


def test_a_list_of_another_form_is_no_obstacle(ollama: FakeOllama, registry: FakeRegistry) -> None:
    ollama.queue = [
        Answer(200, {"models": [{"size": 1}, {"name": "m:1", "size": "x"}]}),
        Answer(200, SHOW),
        Answer(200, {"models": [{"name": "m:1"}]}),
        Answer(200, {**SHOW, "details": "x"}),
    ]
    ((model,), _warnings) = look(registry, "m:1", server=ollama)
    assert (model.source, model.size) == ("server", 0)
    (models, (warning,)) = look(registry, "m:1", server=ollama)
    assert models == ()
    assert "not planned for: The server's answer has" in warning


def test_images_count_with_the_projector_that_reads_them(ollama: FakeOllama, registry: FakeRegistry) -> None:
    registry.publish("library/m:1", size=10**10)
    ollama.install("m:1", registry.manifests["library/m:1"])
    ollama.shows["m:1"] = {**SHOW, "projector_info": {"clip.block_count": 27}}
    ((model,), _warnings) = look(registry, "m:1", server=ollama)
    assert model.shape.weight_bytes > 10**10
    assert model.shape.vision


@pytest.mark.parametrize("ranges", [True, False])
def test_a_registry_is_asked_for_the_head_of_the_file_only(registry: FakeRegistry, ranges: bool) -> None:
    registry.ranges = ranges
    parameters = {"num_ctx": 1024, "stop": ["x"]}
    registry.publish_file("library/m:1", FILE, projector=5000, params=parameters)
    ((model,), warnings) = look(registry, "m:1")
    assert (model.source, model.context, model.batch, warnings) == ("registry", 1024, None, [])
    assert model.shape.quantization == "Q4_K_M"
    assert model.shape.vocabulary == 20000
    assert model.shape.weight_bytes == WEIGHTS + 5000
    assert model.shape.vision
    assert model.blob.startswith("sha256-")
    assert len(registry.log) <= 5


def cut(body: bytes) -> Answer:
    return Answer(200, body, {"Content-Length": str(len(body) + 5000), "Connection": "close"})


def stalled(body: bytes) -> Answer:
    return Answer(200, body, {"Content-Length": str(len(body) + 5000)})


@pytest.mark.parametrize(
    ("answer", "words"), [(cut, "the connection was closed before the answer was complete"), (stalled, "timed out")]
)
@pytest.mark.parametrize("status", [200, 206])
def test_a_file_that_does_not_come_whole_is_no_damaged_one(
    registry: FakeRegistry, answer: Callable[[bytes], Answer], words: str, status: int
) -> None:
    registry.publish_file("library/m:1", FILE)
    manifest = Answer(200, registry.manifests["library/m:1"])
    config = next(Answer(200, blob) for blob in registry.blobs.values() if blob.startswith(b"{"))
    registry.queue = [manifest, config, replace(answer(HEADER[:200]), status=status)]
    with Registry(timeout=0.3) as questions:
        lookup = Lookup(BareClient("http://127.0.0.1:1", 5.0), Elsewhere(questions, registry.url))
        assert lookup.models(definitions(["m:1"])) == ()
    (warning,) = lookup.warnings
    assert "No answer from the registry" in warning
    assert words in warning


def test_what_a_run_gave_every_model_is_not_the_models_own(ollama: FakeOllama, registry: FakeRegistry) -> None:
    record = Record("0" * 16, "0" * 40)
    registry.publish("library/m:1")
    for parent, expected in (("", (1024, 64, 20)), (str(record.name), (1024, None, None))):
        ollama.install("m:1", registry.manifests["library/m:1"])
        parameters = "num_ctx 1024\nnum_batch 64\nnum_gpu 20"
        ollama.shows["m:1"] = {**SHOW, "parameters": parameters, "details": {**SHOW["details"], "parent_model": parent}}
        ((model,), _warnings) = look(registry, "m:1", server=ollama)
        assert (model.context, model.batch, model.gpu_layers) == expected


def test_what_the_server_lacks_the_registry_tells(ollama: FakeOllama, registry: FakeRegistry) -> None:
    registry.publish_file("library/m:1", FILE)
    ((model,), _warnings) = look(registry, "m:1", server=ollama)
    assert model.source == "registry"


def test_a_file_is_looked_into(registry: FakeRegistry, tmp_path: Path) -> None:
    path = gguf_bytes.whole_file(tmp_path / "m.gguf", FILE)
    (tmp_path / "link").symlink_to(path)
    declared = [{"name": "mine", "gguf": str(path)}, {"name": "b", "gguf": str(tmp_path / "link")}]
    models, _warnings = look(registry, *declared, {"name": "c", "gguf": str(path), "sha256": "0" * 64})
    (model, linked, known) = models
    assert (model.name, model.source, model.shape.weight_bytes) == ("mine:latest", "file", WEIGHTS)
    assert model.size == path.stat().st_size
    assert linked.weights == model.weights == str(path)
    assert known.weights == known.blob == f"sha256-{'0' * 64}"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (HEADER[:100], "is truncated"),
        (FILE, "more belong to it"),
        (gguf_bytes.header({"general.name": "x"}) + b"\0" * 32, "has no weights, at most a vocabulary"),
        (
            gguf_bytes.header({"general.name": "x"}, [("x", (64,), 1)]) + b"\0" * 256,
            "The metadata has no general.architecture",
        ),
    ],
)
def test_a_file_that_is_no_model_is_named(registry: FakeRegistry, tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=f"^{path}.*{words}"):
        look(registry, {"name": "mine", "gguf": str(path)})


def test_parameters_of_the_definition_come_before_those_of_the_weights(registry: FakeRegistry) -> None:
    registry.publish_file("library/m:1", FILE, params={"num_ctx": 1024, "num_batch": 64})
    ((model,), _warnings) = look(registry, {"name": "mine", "from": "m:1", "parameters": {"num_ctx": 512}})
    assert (model.name, model.context, model.batch) == ("mine:latest", 512, 64)


def test_a_model_that_is_nowhere_is_an_error(registry: FakeRegistry) -> None:
    with pytest.raises(NotFound, match="has no model nosuch:1"):
        look(registry, "nosuch:1")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html>login</html>", "is not a GGUF file"),
        (HEADER[: len(HEADER) // 2], "is truncated"),
        (HEADER[:100], "is truncated"),
        (b"GGUF\x09\0\0\0" + b"\0" * 100, "of version 9"),
    ],
)
def test_a_file_at_the_registry_that_is_no_model_is_left_out(
    registry: FakeRegistry, content: bytes, words: str
) -> None:
    registry.publish_file("library/m:1", content)
    (models, (warning,)) = look(registry, "m:1")
    assert models == ()
    assert warning.startswith("The memory of m:1 is not planned for: m:1 at http://127.0.0.1:")
    assert words in warning


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (gguf_bytes.header({"general.architecture": "llama"}), "has no weights, at most a vocabulary."),
        (FILE[:-1], "more belong to it"),
    ],
)
def test_a_file_elsewhere_that_is_no_whole_model_is_left_out(
    registry: FakeRegistry, fake_mirror: FakeMirror, content: bytes, words: str
) -> None:
    fake_mirror.files["/m.gguf"] = content
    (models, (warning,)) = look(registry, {"name": "m", "gguf": f"{fake_mirror.url}/m.gguf", "sha256": "0" * 64})
    assert models == ()
    assert warning.startswith(f"The memory of m:latest is not planned for: {fake_mirror.url}/m.gguf ")
    assert words in warning


def test_a_model_without_a_file_is_left_out(registry: FakeRegistry) -> None:
    registry.publish("library/m:1")
    (models, (warning,)) = look(registry, "m:1")
    assert models == ()
    assert "without a GGUF file" in warning


def test_a_registry_out_of_reach_is_a_warning_for_each_model(registry: FakeRegistry) -> None:
    (models, warnings) = look(registry, "a:1", "b:1", url="http://127.0.0.1:1")
    assert models == ()
    assert [("not planned for" in text, "No answer" in text) for text in warnings] == [(True, True)] * 2


def test_what_a_declared_base_brings_along(registry: FakeRegistry) -> None:
    registry.publish_file("library/base:1", FILE)
    (models, warnings) = look(
        registry,
        {"name": "grandchild", "from": "child", "parameters": {"num_gpu": 3}},
        {"name": "child", "from": "base:1", "parameters": {"num_batch": 1024, "num_gpu": 0}},
        {"name": "base:1", "parameters": {"num_ctx": 1024}},
    )
    assert warnings == []
    assert [(each.name, each.context, each.batch, each.gpu_layers) for each in models] == [
        ("grandchild:latest", 1024, 1024, 3),
        ("child:latest", 1024, 1024, 0),
        ("base:1", 1024, None, None),
    ]
    assert len({each.blob for each in models}) == 1


def test_a_base_that_is_not_decided_yet(registry: FakeRegistry) -> None:
    registry.publish_file("library/base:small", FILE)
    (mine, child) = definitions(
        [{"name": "mine", "candidates": ["base:large", "base:small"]}, {"name": "child", "from": "mine"}]
    )
    with Registry() as questions:
        client = BareClient("http://127.0.0.1:1", 5.0)
        lookup = Lookup(client, Elsewhere(questions, registry.url), [mine, child])
        assert [each.name for each in lookup.models([child])] == ["child:latest"]
        assert lookup.warnings == []


def test_a_host_that_cannot_ask_says_why() -> None:
    lookup = Lookup(BareClient("http://127.0.0.1:1", 5.0), None)
    assert lookup.models(definitions(["m:1"])) == ()
    assert "lacks the Python library requests" in lookup.warnings[0]


@pytest.mark.parametrize("content", [b"", b"nothing", HEADER[:1000]])
def test_a_file_of_the_users_that_is_no_model_is_an_error(
    registry: FakeRegistry, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"m\.gguf"):
        look(registry, {"name": "mine", "gguf": str(path)})
    with pytest.raises(InvalidInput, match=r"no\.gguf"):
        look(registry, {"name": "mine", "gguf": str(tmp_path / "no.gguf")})
