# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module as Ansible runs it: facts, warnings, refusals."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf_bytes
import psutil
import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.hardware import probe
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.cpu import read_topology
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.files import Files
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.memory import Memory
from ansible_collections.llmops.ollama.plugins.modules import tuning_facts
from fake_http import FakeRegistry

Run = Callable[..., dict[str, Any]]

FIELDS = {"key", "value", "rule", "reason", "variable", "directive", "parameter"}
FILE = gguf_bytes.header(
    {
        "general.architecture": "llama",
        "llama.block_count": 2,
        "llama.embedding_length": 64,
        "llama.context_length": 2048,
        "llama.attention.head_count": 4,
        "llama.feed_forward_length": 128,
    },
    [("token_embd.weight", (64, 20000), 1)],
)
BALANCED = {"cpu_cores": 8, "memory_mb": 32768}


def test_this_host(run_module: Run) -> None:
    result = run_module("tuning_facts", models_path="/", engine_version="0.34.0")
    assert result["changed"] is False
    facts = result["ansible_facts"]["ollama_tuning"]
    assert set(facts) == {
        "profile",
        "basis",
        "environment",
        "directives",
        "model_parameters",
        "memory",
        "models",
        "model_names",
        "unplanned",
        "choices",
        "gpu",
        "recommendations",
        "hardware",
        "carried",
        "warnings",
    }
    assert facts["hardware"]["disk_mb"] > 0
    assert all(isinstance(value, str) for value in facts["environment"].values())
    assert all(set(each) == FIELDS for each in facts["recommendations"])


def test_cores_are_counted_by_psutil_where_sysfs_does_not_tell(
    run_module: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def physical_cores() -> int:
        cores: int = run_module("tuning_facts")["ansible_facts"]["ollama_tuning"]["hardware"]["physical_cores"]
        return cores

    real = read_topology(Files(), frozenset())
    cpus = {number: str(number) for number in range(4)}
    hidden = real._replace(core=cpus, performance=frozenset(cpus), siblings_known=False)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: 2)
    assert physical_cores() == (real.cores(real.online) if real.siblings_known else 2)
    monkeypatch.setattr(probe, "read_topology", lambda files, allowed: hidden)
    assert physical_cores() == 2
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: None)
    assert physical_cores() == 4
    monkeypatch.setitem(sys.modules, "psutil", None)  # a bare host
    assert physical_cores() == 4


def test_a_bare_host_without_requests_plans_no_models(run_module: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning_facts, "find_spec", lambda name: None)
    result = run_module("tuning_facts", hardware=BALANCED, models=["gemma3:270m"])
    facts = result["ansible_facts"]["ollama_tuning"]
    assert facts["memory"]["models"] == []
    assert ["lacks the Python library requests" in text for text in facts["warnings"]] == [True]


def test_will_it_fit_before_anything_is_pulled(run_module: Run, registry: FakeRegistry, closed_port: int) -> None:
    registry.publish_file("library/m:1", FILE)
    asked: dict[str, Any] = {
        "models": ["m:1"],
        "registry": registry.url,
        "url": f"http://127.0.0.1:{closed_port}",
        "hardware": BALANCED,
    }
    memory = run_module("tuning_facts", **asked)["ansible_facts"]["ollama_tuning"]["memory"]
    assert memory["fits"]
    assert [(model["name"], model["source"], model["slots"]) for model in memory["models"]] == [("m:1", "registry", 4)]
    refused = run_module("tuning_facts", **{**asked, "models": ["m:2"]})
    assert refused["failed"]
    assert "has no model m:2" in refused["msg"]


def test_a_file_on_the_host_is_looked_into(run_module: Run, tmp_path: Path) -> None:
    gguf_bytes.whole_file(tmp_path / "m.gguf", FILE)
    models = [{"name": "mine", "gguf": str(tmp_path / "m.gguf")}]
    facts = run_module("tuning_facts", hardware=BALANCED, models=models)["ansible_facts"]["ollama_tuning"]
    assert facts["memory"]["models"][0]["source"] == "file"


def test_candidates_are_chosen_for_the_host(run_module: Run, registry: FakeRegistry, closed_port: int) -> None:
    registry.publish_file("library/m:1-q8_0", FILE, "Q8_0")
    asked: dict[str, Any] = {
        "models": [{"name": "m:1", "candidates": ["fp16", "q8_0"], "parameters": {"num_ctx": 512}}],
        "registry": registry.url,
        "url": f"http://127.0.0.1:{closed_port}",
        "hardware": BALANCED,
    }
    facts = run_module("tuning_facts", **asked)["ansible_facts"]["ollama_tuning"]
    assert facts["models"] == [{"name": "m:1", "from": "m:1-q8_0", "parameters": {"num_ctx": 512}}]
    assert facts["model_names"] == ["m:1"]
    (choice,) = facts["choices"]
    assert (choice["name"], choice["chosen"]) == ("m:1", "m:1-q8_0")
    assert choice["reason"].startswith("Q8_0 is the first of 2 that fits with 4 x 4096 tokens (")
    assert [(model["name"], model["context"]) for model in facts["memory"]["models"]] == [("m:1", 512)]
    assert facts["warnings"][0].startswith("m:1-fp16 is passed over for m:1. The registry")
    away = run_module("tuning_facts", **{**asked, "registry": "http://127.0.0.1:1"})
    facts = away["ansible_facts"]["ollama_tuning"]
    assert facts["models"] == [{"name": "m:1", "candidates": ["m:1-fp16", "m:1-q8_0"], "parameters": {"num_ctx": 512}}]
    assert facts["choices"] == []
    assert facts["warnings"][0].startswith("What m:1 is made of could not be decided. No answer from the registry")


def test_candidates_are_chosen_for_the_disk_of_a_described_host(
    run_module: Run, registry: FakeRegistry, closed_port: int
) -> None:
    for tag, padding in (("q8_0", 8 << 20), ("q4_0", 0)):
        registry.publish_file(f"library/m:1-{tag}", FILE + b"\0" * padding, tag.upper())
    asked: dict[str, Any] = {
        "models": [{"name": "m:1", "candidates": ["q8_0", "q4_0"]}],
        "registry": registry.url,
        "url": f"http://127.0.0.1:{closed_port}",
    }
    for free, chosen in ((None, "m:1-q8_0"), (100, "m:1-q8_0"), (6, "m:1-q4_0")):
        hardware = {**BALANCED, "disk_free_mb": free}
        (choice,) = run_module("tuning_facts", hardware=hardware, **asked)["ansible_facts"]["ollama_tuning"]["choices"]
        assert choice["chosen"] == chosen


def test_a_proc_that_cannot_be_read_is_said(run_module: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "read_memory", lambda files: Memory(0, 0, 0))
    refused = run_module("tuning_facts")
    assert "The size of memory cannot be read. Check that /proc/meminfo is readable." in refused["msg"]


def test_models_of_one_file_count_once(run_module: Run, tmp_path: Path) -> None:
    path = str(gguf_bytes.whole_file(tmp_path / "m.gguf", FILE))
    longer = {"name": "longer", "from": "m", "parameters": {"num_ctx": 1024}}
    for pinned in ({}, {"sha256": "0" * 64}):
        models = [{"name": "m", "gguf": path, **pinned}, longer]
        facts = run_module("tuning_facts", hardware=BALANCED, models=models)["ansible_facts"]["ollama_tuning"]
        assert facts["environment"]["OLLAMA_MAX_LOADED_MODELS"] == "1"
        assert "are made of the same weights" in facts["warnings"][0]


def test_a_store_without_room_for_a_model_without_candidates_is_said(
    run_module: Run, registry: FakeRegistry, closed_port: int
) -> None:
    registry.publish_file("library/m:1", FILE + b"\0" * (8 << 20))
    asked = {"models": ["m:1"], "registry": registry.url, "url": f"http://127.0.0.1:{closed_port}"}
    for free, said in ((9, []), (3, ["The models need 8."])):
        result = run_module("tuning_facts", hardware={**BALANCED, "disk_free_mb": free}, **asked)
        warnings = result["ansible_facts"]["ollama_tuning"]["warnings"]
        assert [text[: len("The models need 8.")] for text in warnings] == said


def test_models_that_cannot_be_looked_up_are_named(run_module: Run, closed_port: int, tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{closed_port}"
    models = ["m:1", {"name": "mine", "gguf": str(gguf_bytes.whole_file(tmp_path / "m.gguf", FILE))}]
    result = run_module("tuning_facts", hardware=BALANCED, models=models, registry=nowhere, url=nowhere)
    assert result["ansible_facts"]["ollama_tuning"]["unplanned"] == ["m:1"]


def test_models_of_the_same_weights_count_once(run_module: Run, registry: FakeRegistry, closed_port: int) -> None:
    registry.publish_file("library/m:1", FILE)
    same: list[Any] = ["m:1", {"name": "assistant", "from": "m:1", "system": "Be brief."}]
    asked: dict[str, Any] = {
        "registry": registry.url,
        "url": f"http://127.0.0.1:{closed_port}",
        "hardware": BALANCED,
    }
    facts = run_module("tuning_facts", models=same, **asked)["ansible_facts"]["ollama_tuning"]
    assert facts["environment"]["OLLAMA_MAX_LOADED_MODELS"] == "1"
    assert facts["warnings"] == []
    longer = [*same, {"name": "longer", "from": "m:1", "parameters": {"num_ctx": 1024}}]
    facts = run_module("tuning_facts", models=longer, **asked)["ansible_facts"]["ollama_tuning"]
    (warning,) = facts["warnings"]
    assert warning.startswith(
        "m:1 (2048 tokens), assistant:latest (2048 tokens), longer:latest (1024 tokens) are made of"
    )


def test_check_mode_answers_the_same(run_module: Run) -> None:
    assert run_module("tuning_facts", hardware=BALANCED, check=True) == run_module("tuning_facts", hardware=BALANCED)


def test_facts_can_be_asked_about_again(run_module: Run) -> None:
    first = run_module("tuning_facts")["ansible_facts"]["ollama_tuning"]
    again = run_module("tuning_facts", hardware=first["hardware"])["ansible_facts"]["ollama_tuning"]
    assert again == first


def test_warnings_are_shown_and_returned(run_module: Run) -> None:
    result = run_module("tuning_facts", hardware=BALANCED, environment={"OLLAMA_NUM_GPU": 0}, profile="high")
    warnings = result["ansible_facts"]["ollama_tuning"]["warnings"]
    assert ["Profile high" in warnings[0], "OLLAMA_NUM_GPU" in warnings[1]] == [True, True]
    shown = str(result["warnings"])
    assert all(text.split(".")[0] in shown for text in warnings)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"timeout": -1}, "timeout is -1 seconds."),
        ({"registry": "ftp://x"}, "registry is 'ftp://x', which is not an address."),
        ({"registry": "http://h:1/path"}, "but a model's name can carry only a host and a port."),
        ({"models": ["gemma3:27b", ""]}, "models[1]: '' is not a model name: it is empty."),
        ({"models": [{"name": "a", "from": "b c"}]}, "models[0]: from: 'b c' is not a model name"),
        ({"hardware": {"cpu_cores": -1, "memory_mb": 1024}}, ["hardware: cpu_cores is -1", "1 to 4096"]),
        ({"hardware": {}}, ["cpu_cores is missing"]),
        ({"policy": {"tabel": []}}, ["unknown key 'tabel'"]),
        ({"environment": {"OLLAMA_NUM_PARALLEL": "many"}}, ["OLLAMA_NUM_PARALLEL is 'many'"]),
        ({"profile": "turbo"}, ["turbo", "conservative"]),
        ({"engine_version": "latest"}, ["engine_version is 'latest'"]),
        ({"num_gpu": -7}, ["num_gpu is -7"]),
        ({"request_timeout": 0}, ["request_timeout is 0"]),
        ({"models": ["a b"]}, ["'a b' is not a model name"]),
        ({"models": [{"model": "m"}]}, ["models[0] has the unknown key 'model'", "name, from, candidates"]),
        ({"models": [{"name": "m", "gguf": "/nowhere/m.gguf"}]}, ["/nowhere/m.gguf", "No such file"]),
        ({"policy": {"kv_type": "q5_0"}}, ["kv_type is 'q5_0'", "f16, q8_0, q4_0"]),
        ({"environment": {"OLLAMA_KV_CACHE_TYPE": "f8"}}, ["OLLAMA_KV_CACHE_TYPE is 'f8'", "f16, q8_0, q4_0"]),
        ({"policy": {"min_context_length": 8192}}, ["min_context_length is 8192", "context_length of 4096"]),
    ],
)
def test_a_bad_argument_fails_with_what_to_do(run_module: Run, arguments: dict[str, Any], words: list[str]) -> None:
    result = run_module("tuning_facts", **{"hardware": BALANCED, **arguments})
    assert result["failed"]
    assert all(word in result["msg"] for word in words), result["msg"]
