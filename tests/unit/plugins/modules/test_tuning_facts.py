# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module as Ansible runs it: facts, warnings, refusals."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., dict[str, Any]]

FIELDS = {"key", "value", "rule", "reason", "variable", "directive", "parameter"}
BALANCED = {"cpu_cores": 8, "memory_mb": 32768}


def test_this_host(run_module: Run) -> None:
    result = run_module("tuning_facts", models_path="/", engine_version="0.34.0")
    assert result["changed"] is False
    facts = result["ansible_facts"]["ollama_tuning"]
    assert set(facts) == {
        "profile",
        "environment",
        "directives",
        "model_parameters",
        "memory",
        "gpu",
        "recommendations",
        "hardware",
        "warnings",
    }
    assert facts["hardware"]["disk_mb"] > 0
    assert all(isinstance(value, str) for value in facts["environment"].values())
    assert all(set(each) == FIELDS for each in facts["recommendations"])


def test_a_host_that_is_elsewhere_needs_no_psutil(run_module: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def without_psutil(name: str, package: str | None = None) -> Any:
        if name == "psutil":
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", without_psutil)
    result = run_module("tuning_facts", hardware=BALANCED)
    assert result["ansible_facts"]["ollama_tuning"]["environment"]["OLLAMA_NUM_PARALLEL"] == "4"
    refused = run_module("tuning_facts")
    assert refused["failed"]
    assert "psutil" in refused["msg"]


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
        ({"hardware": {"cpu_cores": -1, "memory_mb": 1024}}, ["hardware: cpu_cores is -1", "1 to 4096"]),
        ({"hardware": {}}, ["cpu_cores is missing"]),
        ({"policy": {"tabel": []}}, ["unknown key 'tabel'"]),
        ({"environment": {"OLLAMA_NUM_PARALLEL": "many"}}, ["OLLAMA_NUM_PARALLEL is 'many'"]),
        ({"profile": "turbo"}, ["turbo", "conservative"]),
        ({"engine_version": "latest"}, ["engine_version is 'latest'"]),
        ({"num_gpu": -7}, ["num_gpu is -7"]),
        ({"request_timeout": 0}, ["request_timeout is 0"]),
    ],
)
def test_a_bad_argument_fails_with_what_to_do(run_module: Run, arguments: dict[str, Any], words: list[str]) -> None:
    result = run_module("tuning_facts", **{"hardware": BALANCED, **arguments})
    assert result["failed"]
    assert all(word in result["msg"] for word in words), result["msg"]
