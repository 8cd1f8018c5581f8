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


ODD = ["x", 5, 2.5, ["a"], {"a": 1}, True, None]


@pytest.mark.parametrize("odd", ODD, ids=str)
@pytest.mark.parametrize("part", ["details", "size", "modified_at", "model_info", "capabilities", "parameters"])
def test_what_is_of_another_form_is_not_told(part: str, odd: Any) -> None:
    found = installed({**TAG, part: odd}, {**SHOW, part: odd})
    untold = installed({**TAG, part: None}, {**SHOW, part: None})
    right = {"size": int, "capabilities": list, "parameters": str}.get(part, dict)
    if part == "modified_at" or type(odd) is not right:
        assert found == untold
    else:
        assert found["digest"] == untold["digest"]


@pytest.mark.parametrize("odd", ODD, ids=str)
@pytest.mark.parametrize("part", ["details", "size", "size_vram", "context_length", "expires_at"])
def test_what_is_of_another_form_of_a_loaded_model(part: str, odd: Any) -> None:
    found, untold = running({**LOADED, part: odd}, NOW), running({**LOADED, part: None}, NOW)
    assert found == untold or type(odd) is (dict if part == "details" else int)


@pytest.mark.parametrize("time", ["2026-13-27T01:14:11Z", "2026-11-27T25:14:11Z", "9999-12-31T23:59:59-09:00"])
def test_a_time_that_there_is_not(time: str) -> None:
    assert installed({**TAG, "modified_at": time}, SHOW)["modified_at"] is None


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
    def answer(self, request: str, body: dict[str, Any]) -> Answer | None:
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


class Refusing(Told):
    """One of its models is in the cloud, and another one was just deleted."""

    def answer(self, request: str, body: dict[str, Any]) -> Answer | None:
        if request == "GET /api/tags":
            return Answer(200, {"models": [*({**TAG, "name": name} for name in ("cloud:1b", "gone:1b", "m:1b")), "x"]})
        refusals = {"cloud:1b": (403, "not signed in"), "gone:1b": (404, "model 'gone:1b' not found")}
        if body.get("model") in refusals:
            status, words = refusals[body["model"]]
            return Answer(status, {"error": words})
        return super().answer(request, body)


def test_a_model_that_cannot_be_shown_is_told_of_as_far_as_it_is_known(run_module: Run) -> None:
    with Refusing() as server:
        told = run_module("model_info", url=server.url)
    assert [(model["name"], model["size"], model["context_length"]) for model in told["models"]] == [
        ("cloud:1b", TAG["size"], None),
        ("gone:1b", TAG["size"], None),
        ("m:1b", TAG["size"], 32768),
    ]
    cloud, gone = map(str, told["warnings"])
    assert "cloud:1b" in cloud
    assert "403: not signed in" in cloud
    assert "404: model 'gone:1b' not found" in gone


class HangingUp(Told):
    def answer(self, request: str, body: dict[str, Any]) -> Answer | None:
        return None if request == "POST /api/show" else super().answer(request, body)


def test_a_server_that_goes_away_meanwhile(run_module: Run) -> None:
    with HangingUp() as server:
        told = run_module("model_info", url=server.url)
    assert told["failed"]
    assert "No answer from" in told["msg"]


def test_nobody_there(run_module: Run, closed_port: int) -> None:
    told = run_module("model_info", url=f"http://127.0.0.1:{closed_port}")
    assert told["failed"]
    assert f"No answer from http://127.0.0.1:{closed_port}/api/" in told["msg"]
    assert "systemctl status ollama" in told["msg"]
    assert "'a b' is not a model name" in run_module("model_info", name=["a b"])["msg"]
