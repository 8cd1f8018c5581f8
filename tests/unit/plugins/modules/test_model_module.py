# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module as Ansible runs it: what it changes, predicts, returns and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils import retry
from fake_http import Answer, FakeOllama, FakeRegistry

Result = dict[str, Any]
RunModule = Callable[..., Result]


class Fleet:
    """The module ``model``, aimed at a fake server and a fake mirror."""

    def __init__(self, run_module: RunModule, ollama: FakeOllama, registry: FakeRegistry) -> None:
        self._run, self.ollama, self.registry = run_module, ollama, registry

    def __call__(self, name: object = "gemma3:270m", **arguments: Any) -> Result:
        arguments = {"url": self.ollama.url, "registry": self.registry.url, "timeout": 5.0, **arguments}
        return self._run("model", name=name, **arguments)


@pytest.fixture
def model(run_module: RunModule, ollama: FakeOllama, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    monkeypatch.setattr(retry, "PAUSES", (0.0,))
    return Fleet(run_module, ollama, registry)


def test_a_missing_model_is_pulled_and_then_current(model: Fleet, ollama: FakeOllama, registry: FakeRegistry) -> None:
    digest = registry.publish("library/gemma3:270m", size=253_000_000)
    config = len(registry.blobs[next(iter(registry.blobs))])
    size = 253_000_000 + config
    first = model(diff=True)
    expected = {
        "name": "gemma3:270m",
        "digest": digest,
        "size": size,
        "quantization": "Q4_K_M",
        "family": "gemma3",
        "parameter_size": "268.10M",
    }
    assert first["changed"] is True
    assert first["models"] == [{**expected, "action": "pulled", "bytes": size, "seconds": pytest.approx(0, abs=5)}]
    assert first["diff"]["before"] == ""
    assert first["diff"]["after"] == f"gemma3:270m {digest[:12]} {size} bytes Q4_K_M\n"

    ollama.log.clear()
    registry.log.clear()
    second = model()
    assert second["changed"] is False
    assert second["models"] == [{**expected, "action": "none", "bytes": 0, "seconds": 0.0}]
    assert second["diff"]["before"] == second["diff"]["after"] == ""
    assert ollama.log == ["GET /api/tags"]
    assert registry.log == ["GET /v2/library/gemma3/manifests/270m"]


def test_check_mode_predicts_what_then_happens(model: Fleet, ollama: FakeOllama, registry: FakeRegistry) -> None:
    registry.publish("library/gemma3:270m")
    registry.publish("library/other:latest", weights="other", quantization="F16")
    model("other")
    registry.publish("library/other:latest", weights="new", quantization="Q8_0")
    before = dict(ollama.models)
    predicted = model(["gemma3:270m", "other"], check=True, diff=True)
    assert ollama.models == before
    assert "POST /api/pull" not in ollama.log[-3:]
    done = model(["gemma3:270m", "other"], diff=True)
    for result in (predicted, done):
        for row in result["models"]:
            row["seconds"] = 0.0
        result.pop("invocation", None)  # newer ansible-core leaves it out
    assert predicted == done
    assert [row["action"] for row in done["models"]] == ["pulled", "updated"]
    assert done["diff"]["before"].splitlines()[0].endswith(" F16")
    assert done["diff"]["after"].splitlines()[1].endswith(" Q8_0")
    assert list(ollama.models) == ["other:latest", "gemma3:270m"]


def test_blobs_that_models_share_are_counted_once(model: Fleet, registry: FakeRegistry) -> None:
    registry.publish("library/a:latest", size=1000)
    registry.publish("library/a:again", size=1000)
    predicted = model(["a", "a:again"], check=True)["models"]
    done = model(["a", "a:again"])["models"]
    for rows in (predicted, done):
        assert [row["action"] for row in rows] == ["pulled", "pulled"]
        assert [row["bytes"] for row in rows] == [rows[0]["size"], 0]


def test_absent(model: Fleet, ollama: FakeOllama, registry: FakeRegistry) -> None:
    digest = registry.publish("library/gemma3:270m")
    model()
    registry.log.clear()
    predicted = model(["gemma3:270m", "never-there"], state="absent", check=True)
    assert list(ollama.models) == ["gemma3:270m"]
    done = model(["gemma3:270m", "never-there"], state="absent")
    assert ollama.models == {}
    assert predicted["models"] == done["models"]
    assert [(row["name"], row["action"], row["digest"]) for row in done["models"]] == [
        ("gemma3:270m", "removed", None),
        ("never-there:latest", "none", None),
    ]
    assert done["diff"]["before"].startswith(f"gemma3:270m {digest[:12]} ")
    assert done["diff"]["after"] == ""
    assert registry.log == []  # nobody asks a registry in order to remove
    assert model(state="absent")["changed"] is False


def test_an_installed_model_survives_a_registry_that_is_away(
    model: Fleet, ollama: FakeOllama, registry: FakeRegistry, closed_port: int
) -> None:
    registry.publish("library/gemma3:270m")
    model()
    result = model(registry=f"http://127.0.0.1:{closed_port}")
    assert result["changed"] is False
    assert result["models"][0]["action"] == "none"
    warning = str(result["warnings"])  # ansible-core wraps it, and how depends on its version
    assert len(result["warnings"]) == 1
    assert "gemma3:270m is installed and stays as it is; it could not be compared. No answer from" in warning
    assert "Connection refused" in warning


def test_a_missing_model_fails_where_the_registry_is_away(model: Fleet, closed_port: int) -> None:
    result = model(registry=f"http://127.0.0.1:{closed_port}", retries=1)
    assert result["failed"] is True
    assert result["msg"].startswith(f"No answer from the registry http://127.0.0.1:{closed_port}: Connection refused.")


def test_a_server_that_is_away(model: Fleet, closed_port: int) -> None:
    result = model(url=f"http://127.0.0.1:{closed_port}")
    assert result["failed"] is True
    assert f"No answer from http://127.0.0.1:{closed_port}/api/tags: Connection refused" in result["msg"]


def test_a_dry_run_before_there_is_a_server(model: Fleet, registry: FakeRegistry, closed_port: int) -> None:
    registry.publish("library/gemma3:270m")
    result = model(url=f"http://127.0.0.1:{closed_port}", check=True)
    assert [row["action"] for row in result["models"]] == ["pulled"]
    assert "server without models" in str(result["warnings"])


def test_a_model_that_nobody_has(model: Fleet, ollama: FakeOllama) -> None:
    result = model("gema3:270m")
    assert result["failed"] is True
    assert f"The registry {model.registry.url} has no model gema3:270m. Check the spelling" in result["msg"]
    assert "POST /api/pull" not in ollama.log


def test_a_full_disk_is_found_before_the_first_byte(
    model: Fleet, ollama: FakeOllama, registry: FakeRegistry, tmp_path: Path
) -> None:
    registry.publish("library/gemma3:270m", size=10**18)
    result = model(models_path=str(tmp_path))
    assert result["failed"] is True
    assert result["needed"] > 10**18
    assert 0 < result["free"] < 10**18
    assert "POST /api/pull" not in ollama.log


def test_a_failure_tells_what_was_done_before_it(model: Fleet, ollama: FakeOllama, registry: FakeRegistry) -> None:
    registry.publish("library/a:latest", weights="a")
    registry.publish("library/b:latest", weights="b")
    ollama.faults = [None, "unauthorized"]
    result = model(["a", "b"])
    assert result["failed"] is True
    assert result["msg"].startswith("The pull of b:latest from ")
    assert result["changed"] is True
    assert [(row["name"], row["action"]) for row in result["models"]] == [("a:latest", "pulled")]


def test_a_broken_pull_is_resumed_within_one_task(model: Fleet, ollama: FakeOllama, registry: FakeRegistry) -> None:
    digest = registry.publish("library/gemma3:270m")
    ollama.faults = ["break"]
    assert model(retries=1)["models"][0]["digest"] == digest
    assert ollama.log.count("POST /api/pull") == 2


def test_the_next_run_completes_what_one_run_could_not(
    model: Fleet, ollama: FakeOllama, registry: FakeRegistry
) -> None:
    registry.publish("library/gemma3:270m")
    ollama.faults = ["break"]
    assert model(retries=0)["failed"] is True
    assert ollama.models == {}
    assert model(retries=0)["changed"] is True
    assert list(ollama.models) == ["gemma3:270m"]


def test_a_name_with_the_mirror_beside_the_plain_one(model: Fleet, ollama: FakeOllama, registry: FakeRegistry) -> None:
    registry.publish("library/gemma3:270m")
    names = ["gemma3:270m", f"{registry.host}/library/gemma3:270m"]
    assert model(names)["changed"] is True
    assert sorted(ollama.models) == sorted(names)
    assert model(names)["changed"] is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "a b"}, "'a b' is not a model name"),
        ({"name": ["fine", ""]}, "'' is not a model name: it is empty."),
        ({"url": "127.0.0.1:11434"}, "url is '127.0.0.1:11434', which is not an address. Write it as http://HOST:PORT."),
        ({"registry": "edge:5001"}, "registry is 'edge:5001', which is not an address."),
        ({"timeout": 0}, "timeout is 0 seconds. Give a number above 0"),
        ({"stall_timeout": -1}, "stall_timeout is -1 seconds. Give a number above 0"),
        ({"retries": -1}, "retries is -1. Give 0 or a positive number."),
    ],
)  # fmt: skip
def test_values_that_are_not_usable(model: Fleet, arguments: dict[str, Any], message: str) -> None:
    result = model(**arguments)
    assert result["failed"] is True
    assert result["msg"].startswith(message)
    assert "exception" not in result


def test_progress_is_published_and_then_removed(
    model: Fleet, registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.publish("library/gemma3:270m")
    path = tmp_path / "progress"
    published: list[str] = []
    unlink = Path.unlink

    def read_and_unlink(self: Path, missing_ok: bool = False) -> None:
        published.append(self.read_text(encoding="utf-8"))
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", read_and_unlink)
    model(progress_file=str(path))
    assert published[-1].startswith("gemma3:270m: ")
    assert not path.exists()


def test_an_answer_of_the_server_that_is_none(model: Fleet, ollama: FakeOllama) -> None:
    ollama.queue.append(Answer(200, b"<html>Log in</html>"))
    result = model()
    assert "Check that this address is an Ollama server" in result["msg"]


def test_parameters_are_set_once_and_in_place(model: Fleet, ollama: FakeOllama, registry: FakeRegistry) -> None:
    registry.publish_file("library/gemma3:270m", b"weights")
    weights = json.loads(registry.manifests["library/gemma3:270m"])["layers"][0]["digest"].replace(":", "-")
    ollama.shows["gemma3:270m"] = {"modelfile": f"FROM /models/blobs/{weights}", "parameters": "temperature 1"}
    first = model(parameters={"num_thread": 2}, diff=True)
    assert [row["action"] for row in first["models"]] == ["pulled"]
    assert first["diff"]["after"].endswith(" num_thread=2\n")
    assert ollama.shows["gemma3:270m"]["parameters"] == "temperature 1\nnum_thread    2"

    ollama.log.clear()
    assert model(parameters={"num_thread": 2})["changed"] is False
    assert ollama.log == ["GET /api/tags", "POST /api/show"]

    predicted = model(parameters={"num_thread": 3}, check=True)
    assert [row["action"] for row in predicted["models"]] == ["configured"]
    assert "POST /api/create" not in ollama.log
    done = model(parameters={"num_thread": 3})
    assert [(row["action"], row["bytes"]) for row in done["models"]] == [("configured", 0)]
    assert len(done["models"][0]["digest"]) == 64


def test_without_parameters_a_model_becomes_the_registrys_again(
    model: Fleet, ollama: FakeOllama, registry: FakeRegistry
) -> None:
    digest = registry.publish_file("library/gemma3:270m", b"weights")
    model(parameters={"num_thread": 2})
    (row,) = model()["models"]
    assert (row["action"], row["digest"], row["bytes"]) == ("updated", digest, 0)


def test_parameters_are_set_without_the_registry(
    model: Fleet, ollama: FakeOllama, registry: FakeRegistry, closed_port: int
) -> None:
    registry.publish_file("library/gemma3:270m", b"weights")
    model()
    ollama.shows["gemma3:270m"] = {}
    result = model(parameters={"num_gpu": 0}, registry=f"http://127.0.0.1:{closed_port}")
    assert [row["action"] for row in result["models"]] == ["configured"]
    assert "could not be compared" in str(result["warnings"])


def test_a_parameter_that_the_server_drops_is_an_error(
    model: Fleet, ollama: FakeOllama, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.publish_file("library/gemma3:270m", b"weights")
    monkeypatch.setattr(ollama, "_create", lambda body: iter([{"status": "success"}]))
    ollama.shows["gemma3:270m"] = {}
    result = model(parameters={"num_thread": 2})
    assert result["failed"]
    assert "gemma3:270m does not have num_thread=2" in result["msg"]
