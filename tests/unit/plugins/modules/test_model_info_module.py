# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the module tells of a server's models, from answers as real servers give them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.model_info import installed, running
from fake_http import Answer, FakeServer

Run = Callable[..., dict[str, Any]]

SHOW: dict[str, Any] = json.loads((Path(__file__).parents[2] / "fixtures/models/gemma3-270m-show.json").read_text())
DETAILS = {
    "parent_model": "",
    "format": "gguf",
    "family": "gemma3",
    "families": ["gemma3"],
    "parameter_size": "268.10M",
    "quantization_level": "Q4_K_M",
}
TAG = {
    "name": "gemma3:270m",
    "model": "gemma3:270m",
    "modified_at": "2026-11-27T01:14:11.404777373+01:00",
    "size": 253113335,
    "digest": "01ffb7e26e5a119126d1337e0cc4a74d0b6f9c3f9e9dda3b9582bac4747baf96",
    "details": DETAILS,
}
LOADED = {
    "name": "gemma3:270m",
    "model": "gemma3:270m",
    "size": 287781682,
    "digest": TAG["digest"],
    "details": DETAILS,
    "expires_at": "2026-11-28T00:48:43.518166041Z",
    "size_vram": 0,
    "context_length": 4096,
}
NOW = datetime(2026, 11, 28, 0, 48, 13, tzinfo=timezone.utc)


def test_an_installed_model() -> None:
    parameters = 'num_ctx 2048\ntemperature 0.5\nuse_mmap false\nstop "<a>"\nstop "b"\nsystem_note "7"'
    show = {**SHOW, "parameters": parameters, "capabilities": ["completion", "tools"]}
    assert installed(TAG, {**show, "details": {"parent_model": "llmops/definition:1-2"}}) == {
        "name": "gemma3:270m",
        "digest": TAG["digest"],
        "size": 253113335,
        "quantization": "Q4_K_M",
        "family": "gemma3",
        "parameter_size": "268.10M",
        "parent": "llmops/definition:1-2",
        "modified_at": "2026-11-27T00:14:11Z",
        "context_length": 32768,
        "capabilities": ["completion", "tools"],
        "parameters": {
            "num_ctx": 2048,
            "stop": ["<a>", "b"],
            "system_note": 7,
            "temperature": 0.5,
            "use_mmap": False,
        },
    }


def test_a_server_that_tells_little() -> None:
    found = installed({"name": "m", "details": None}, {})
    assert (found["size"], found["context_length"], found["modified_at"], found["parameters"]) == (0, None, None, {})
    loaded = running({"name": "m"}, NOW)
    assert (loaded["context_length"], loaded["expires_at"], loaded["expires_in"]) == (None, None, None)


def test_a_loaded_model() -> None:
    assert running(LOADED, NOW) == {
        "name": "gemma3:270m",
        "digest": TAG["digest"],
        "quantization": "Q4_K_M",
        "size": 287781682,
        "size_vram": 0,
        "context_length": 4096,
        "expires_at": "2026-11-28T00:48:43Z",
        "expires_in": 30.5,
    }


@pytest.mark.parametrize(
    ("expires_at", "expected"),
    [
        ("2319-03-09T00:36:00.413919851Z", (None, None)),  # keep_alive is negative
        ("2026-11-28T00:48:03Z", ("2026-11-28T00:48:03Z", 0.0)),  # it is about to go
        ("2026-11-28T01:48:43.5+01:00", ("2026-11-28T00:48:43Z", 30.5)),
        ("soon", (None, None)),
    ],
)
def test_expiry(expires_at: str, expected: tuple[Any, Any]) -> None:
    found = running({**LOADED, "expires_at": expires_at}, NOW)
    assert (found["expires_at"], found["expires_in"]) == expected


class Told(FakeServer):
    def answer(self, request: str, body: dict[str, Any]) -> Answer:
        later = (datetime.now(timezone.utc) + timedelta(minutes=5)).isoformat()
        answers: dict[str, Any] = {
            "GET /api/version": {"version": "0.34.0"},
            "GET /api/tags": {"models": [TAG, {**TAG, "name": "other:1b"}]},
            "GET /api/ps": {"models": [{**LOADED, "expires_at": later}]},
            "POST /api/show": SHOW,
        }
        return Answer(200, answers[request])


def test_all_models_and_some(run_module: Run) -> None:
    with Told() as server:
        told = run_module("model_info", url=server.url)
        assert (told["changed"], told["version"]) == (False, "0.34.0")
        assert [model["name"] for model in told["models"]] == ["gemma3:270m", "other:1b"]
        assert 290 < told["running"][0]["expires_in"] < 301
        server.log.clear()
        one = run_module("model_info", url=server.url, name=["Other:1b", "absent"])
        assert [model["name"] for model in one["models"]] == ["other:1b"]
        assert one["running"] == []
        assert server.log.count("POST /api/show") == 1
        assert len(server.connections) == 2  # one for each run


def test_nobody_there(run_module: Run, closed_port: int) -> None:
    told = run_module("model_info", url=f"http://127.0.0.1:{closed_port}")
    assert told["failed"]
    assert f"No answer from http://127.0.0.1:{closed_port}/api/" in told["msg"]
    assert "systemctl status ollama" in told["msg"]
    assert "'a b' is not a model name" in run_module("model_info", name=["a b"])["msg"]
