# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module as Ansible runs it: what it changes, predicts, returns and refuses."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf_bytes
import pytest
from ansible_collections.llmops.ollama.plugins.module_utils import retry
from fake_http import Answer, FakeOllama, FakeRegistry, sha256
from fake_mirror import FakeMirror, Fault

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
        "made_of": None,
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
    assert registry.log == []
    assert model(state="latest")["models"] == second["models"]
    assert registry.log == ["GET /v2/library/gemma3/manifests/270m"]


def test_check_mode_predicts_what_then_happens(model: Fleet, ollama: FakeOllama, registry: FakeRegistry) -> None:
    registry.publish("library/gemma3:270m")
    registry.publish("library/other:latest", weights="other", quantization="F16")
    model("other")
    registry.publish("library/other:latest", weights="new", quantization="Q8_0")
    before = dict(ollama.models)
    predicted = model(["gemma3:270m", "other"], state="latest", check=True, diff=True)
    assert ollama.models == before
    assert "POST /api/pull" not in ollama.log[-3:]
    done = model(["gemma3:270m", "other"], state="latest", diff=True)
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
    result = model(registry=f"http://127.0.0.1:{closed_port}", state="latest")
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
        ({"name": "a b"}, "name[0]: 'a b' is not a model name"),
        ({"name": ["fine", ""]}, "name[1]: '' is not a model name: it is empty."),
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
    registry.publish_file("library/gemma3:270m", b"weights", params={"temperature": 1})
    first = model(parameters={"num_thread": 2}, diff=True)
    assert [row["action"] for row in first["models"]] == ["pulled"]
    assert " (new digest) " in first["diff"]["after"]
    assert first["diff"]["after"].endswith(" num_thread=2\n")
    assert len(first["models"][0]["digest"]) == 64
    assert ollama.show("gemma3:270m")["parameters"].split() == ["num_thread", "2", "temperature", "1"]
    assert list(ollama.models) == ["gemma3:270m"]

    ollama.log.clear()
    assert model(parameters={"num_thread": 2})["changed"] is False
    assert ollama.log == ["GET /api/tags"]

    predicted = model(parameters={"num_thread": 3}, check=True)
    assert [row["action"] for row in predicted["models"]] == ["rebuilt"]
    assert "POST /api/create" not in ollama.log
    done = model(parameters={"num_thread": 3})
    assert [(row["action"], row["bytes"]) for row in done["models"]] == [("rebuilt", 0)]
    assert ollama.show("gemma3:270m")["parameters"].split() == ["num_thread", "3", "temperature", "1"]


def test_without_parameters_a_model_becomes_the_registrys_again(
    model: Fleet, ollama: FakeOllama, registry: FakeRegistry
) -> None:
    digest = registry.publish_file("library/gemma3:270m", b"weights")
    model(parameters={"num_thread": 2})
    (row,) = model()["models"]
    assert (row["action"], row["digest"], row["bytes"]) == ("rebuilt", digest, 0)
    assert model()["changed"] is False


def test_parameters_are_set_without_the_registry(model: Fleet, registry: FakeRegistry, closed_port: int) -> None:
    registry.publish_file("library/gemma3:270m", b"weights")
    model()
    result = model(parameters={"num_gpu": 0}, registry=f"http://127.0.0.1:{closed_port}")
    assert [row["action"] for row in result["models"]] == ["rebuilt"]
    assert "warnings" not in result


def test_a_parameter_that_the_server_drops_is_an_error(
    model: Fleet, ollama: FakeOllama, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.publish_file("library/gemma3:270m", b"weights")
    monkeypatch.setattr(ollama, "_create", lambda body: iter([{"status": "success"}]))
    result = model(parameters={"num_thread": 2})
    assert result["failed"]
    assert "gemma3:270m does not have num_thread=2" in result["msg"]


ASSISTANT = {"name": "assistant", "from": "gemma3:270m", "system": "Be brief.", "parameters": {"num_ctx": 2048}}


@pytest.mark.parametrize("version", ["0.34.0", "0.24.0"])
def test_a_model_of_another_one(model: Fleet, ollama: FakeOllama, registry: FakeRegistry, version: str) -> None:
    ollama.version = version
    registry.publish_file("library/gemma3:270m", b"weights", params={"temperature": 1})
    first = model([ASSISTANT], diff=True)
    assert [(row["name"], row["action"], row["made_of"]) for row in first["models"]] == [
        ("gemma3:270m", "pulled", None),
        ("assistant:latest", "created", "gemma3:270m"),
    ]
    assert first["diff"]["after"].splitlines()[1].endswith(' Q4_K_M from gemma3:270m num_ctx=2048 system="Be brief."')
    assert sorted(ollama.models) == ["assistant:latest", "gemma3:270m"]
    assert model([ASSISTANT])["changed"] is False
    assert model([ASSISTANT], state="latest")["changed"] is False

    dropped = {**ASSISTANT, "parameters": {}, "template": "{{ .Prompt }}"}
    assert [row["action"] for row in model([dropped], check=True)["models"]] == ["none", "rebuilt"]
    assert [row["action"] for row in model([dropped])["models"]] == ["none", "rebuilt"]
    shown = ollama.show("assistant:latest")
    assert (shown["parameters"].split(), shown["system"]) == (["temperature", "1"], "Be brief.")
    assert shown["template"] == "{{ .Prompt }}"

    registry.publish_file("library/gemma3:270m", b"new weights")
    assert model([dropped])["changed"] is False
    assert [row["action"] for row in model([dropped], state="latest")["models"]] == ["updated", "rebuilt"]


def test_a_second_name_of_a_model(model: Fleet, ollama: FakeOllama, registry: FakeRegistry) -> None:
    digest = registry.publish("library/gemma3:270m")
    first = model([{"name": "chat", "from": "gemma3:270m"}])
    assert [(row["action"], row["digest"]) for row in first["models"]] == [("pulled", digest), ("created", digest)]
    assert model([{"name": "chat", "from": "gemma3:270m"}])["changed"] is False
    registry.publish("library/gemma3:270m", weights="new")
    model([{"name": "chat", "from": "gemma3:270m"}], state="latest")
    assert ollama.models["chat:latest"] == ollama.models["gemma3:270m"]
    assert len(ollama.models) == 2


def test_two_plays_make_the_same_model(
    model: Fleet, ollama: FakeOllama, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.publish_file("library/gemma3:270m", b"weights")
    create = ollama._create
    calls = iter([True, False])

    def meanwhile(body: dict[str, Any]) -> Any:
        if next(calls, False):  # the other one is faster, and removes the name that holds the base
            list(create(body))
            ollama.models.pop(body["from"])
        return create(body)

    monkeypatch.setattr(ollama, "_create", meanwhile)
    assert model([ASSISTANT])["models"][1]["action"] == "created"
    assert sorted(ollama.models) == ["assistant:latest", "gemma3:270m"]
    assert model([ASSISTANT])["changed"] is False


def test_what_is_not_declared_is_removed_where_that_is_asked_for(
    model: Fleet, ollama: FakeOllama, registry: FakeRegistry
) -> None:
    for name in ("library/gemma3:270m", "library/old:1b"):
        registry.publish(name, weights=name)
    model(["old:1b", ASSISTANT])
    predicted = model([ASSISTANT], exclusive=True, check=True, diff=True)
    assert len(ollama.models) == 3
    done = model([ASSISTANT], exclusive=True, diff=True)
    assert sorted(ollama.models) == ["assistant:latest", "gemma3:270m"]
    for result in (predicted, done):
        assert [(row["name"], row["action"]) for row in result["models"]][2:] == [("old:1b", "removed")]
        assert result["diff"]["before"].startswith("old:1b ")
        assert result["diff"]["after"] == ""
    assert model([ASSISTANT], exclusive=True)["changed"] is False


def lock(**digests: str) -> dict[str, Any]:
    entries = {name: {"digest": digest, "weights": "", "size": 1} for name, digest in digests.items()}
    return {"format": 1, "models": entries}


def test_a_pinned_model_that_the_registry_has_no_more(model: Fleet, ollama: FakeOllama, registry: FakeRegistry) -> None:
    digest = registry.publish("library/m:latest")
    pins = lock(m=digest)
    assert model("m", lock=pins)["models"][0]["digest"] == digest
    other = registry.publish("library/m:latest", weights="other")
    assert model("m", lock=pins, state="latest")["changed"] is False
    ollama.models.clear()
    result = model("m", lock=pins)
    assert result["failed"]
    assert f"m:latest is pinned to {digest}, but the registry {registry.url} offers {other}." in result["msg"]
    assert (result["pinned"], result["offered"]) == (digest, other)
    assert "POST /api/pull" not in ollama.log[-3:]


def test_a_pinned_model_that_drifted_is_pulled_again(model: Fleet, registry: FakeRegistry) -> None:
    registry.publish("library/m:latest")
    model("m")
    digest = registry.publish("library/m:latest", weights="right")
    assert model("m")["changed"] is False
    (row,) = model("m", lock=lock(m=digest))["models"]
    assert (row["action"], row["digest"]) == ("updated", digest)


def test_leftovers_of_broken_pulls_are_removed(model: Fleet, registry: FakeRegistry, tmp_path: Path) -> None:
    registry.publish("library/m:latest")
    leftover = tmp_path / "blobs" / ("sha256-" + "a" * 64 + "-partial")
    leftover.parent.mkdir()
    leftover.write_bytes(b"x" * 4096)
    os.utime(leftover, (0, 0))
    model("m")
    predicted = model("m", models_path=str(tmp_path), check=True, diff=True)
    assert (predicted["freed"] >= 4096, leftover.exists()) == (True, True)
    assert "bytes of a broken pull" in predicted["diff"]["before"]
    done = model("m", models_path=str(tmp_path))
    assert (done["changed"], done["freed"], leftover.exists()) == (True, predicted["freed"], False)
    assert model("m", models_path=str(tmp_path))["changed"] is False


def test_what_a_broken_pull_left_is_looked_at_before_the_server_believes_it(
    model: Fleet, ollama: FakeOllama, registry: FakeRegistry, tmp_path: Path
) -> None:
    registry.publish("library/m:latest", size=1000)
    whole = model("m", check=True)["models"][0]["bytes"]
    digest = next(digest for digest in model("m") and ollama.blobs if digest not in registry.blobs)
    model("m", state="absent")
    blob = tmp_path / "blobs" / digest.replace(":", "-")
    blob.parent.mkdir()
    blob.write_bytes(b"x" * 500)
    predicted = model("m", models_path=str(tmp_path), check=True)
    assert (predicted["freed"], blob.exists()) == (500, True)
    done = model("m", models_path=str(tmp_path))
    assert (done["freed"], blob.exists()) == (500, False)
    assert done["models"][0]["bytes"] == predicted["models"][0]["bytes"] <= whole
    assert done["models"][0]["bytes"] >= 1000


def test_models_are_loaded_and_must_stay(model: Fleet, ollama: FakeOllama, registry: FakeRegistry) -> None:
    registry.publish_file("library/m:latest", b"m")
    registry.publish_file("library/n:latest", b"n")
    ollama.loads = {"m:latest": [3.0, 0.05], "n:latest": [2.0, 0.01]}
    result = model(["m", "n"], warm=True)
    assert [row["load_seconds"] for row in result["models"]] == [0.05, 0.01]
    asked = [body for body in ollama.bodies if body.get("prompt")]
    assert [body["model"] for body in asked] == ["m:latest", "n:latest", "m:latest", "n:latest"]
    assert asked[0] == {"model": "m:latest", "prompt": "Hello", "options": {"num_predict": 1}, "stream": True}
    ollama.loads = {"m:latest": [3.0, 2.9, 0.1]}
    failed = model(["m", "n"], warm=True)
    assert (
        "m:latest was in memory, and the next request loaded it anew (2.9 s). In memory now: m:latest." in failed["msg"]
    )
    assert "OLLAMA_MAX_LOADED_MODELS" in failed["msg"]
    ollama.version, ollama.loads = "0.24.0", {"m:latest": [3.0, 0.46]}
    assert "failed" not in model(["m", "n"], warm=True)


def test_a_busy_host_is_not_taken_for_one_that_unloads(
    model: Fleet, ollama: FakeOllama, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.publish_file("library/m:latest", b"m")
    ollama.loads = {"m:latest": [9.0, 2.2, 1.4]}
    assert "failed" not in model("m", warm=True)
    # A model that is unloaded after each answer takes the same time each time.
    answer = ollama.answer
    monkeypatch.setattr(
        ollama,
        "answer",
        lambda request, body: Answer(200, {"models": []}) if "ps" in request else answer(request, body),
    )
    ollama.loads = {"m:latest": [2.0]}
    assert "OLLAMA_KEEP_ALIVE=0" in model("m", warm=True)["msg"]


def test_layers_that_are_no_longer_limited_need_a_new_load(
    model: Fleet, ollama: FakeOllama, registry: FakeRegistry
) -> None:
    """Where a model says nothing of it the server goes on with as many as it has loaded."""
    registry.publish_file("library/m:latest", b"m")
    limited = {"name": "m", "parameters": {"num_gpu": 5, "num_ctx": 512}}
    for entry, loaded in (
        ({"name": "m", "parameters": {"num_ctx": 512}}, ["m:latest"]),
        (limited, ["m:latest"]),
        (limited, ["m:latest"]),
        ({"name": "m", "parameters": {"num_ctx": 1024}}, []),
        (limited, ["m:latest"]),
        ("m", []),
    ):
        ollama.loaded = ["m:latest"]
        assert "failed" not in model([entry])
        assert ollama.loaded == loaded, entry


def test_models_of_the_same_weights_unload_each_other(model: Fleet, ollama: FakeOllama, registry: FakeRegistry) -> None:
    registry.publish_file("library/gemma3:270m", b"weights")
    ollama.loads = {"gemma3:270m": [3.0, 3.0, 0.1]}
    failed = model(["gemma3:270m", ASSISTANT], warm=True)
    assert "made of the same weights as assistant:latest" in failed["msg"]
    assert [row["action"] for row in failed["models"]] == ["pulled", "created"]


def test_a_model_that_cannot_be_loaded(
    model: Fleet, ollama: FakeOllama, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.publish_file("library/m:latest", b"m")
    answer = ollama.answer
    words = "model requires more system memory (40.3 GiB) than is available (21.0 GiB)"
    refusal = Answer(500, {"error": words})
    monkeypatch.setattr(
        ollama, "answer", lambda request, body: refusal if "generate" in request else answer(request, body)
    )
    result = model("m", warm=True)
    assert result["msg"].startswith("m:latest could not be loaded. ")
    assert words in result["msg"]
    assert result["changed"] is True


def test_a_model_that_only_embeds_is_loaded_by_that(
    model: Fleet, ollama: FakeOllama, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.publish_file("library/m:latest", b"m")
    answer = ollama.answer
    refusal = Answer(400, {"error": '"m:latest" does not support generate'})
    embedded = Answer(200, {"embeddings": [[0.1]], "load_duration": 12_000_000})

    def embed(request: str, body: dict[str, Any]) -> Any:
        return refusal if "generate" in request else embedded if "embed" in request else answer(request, body)

    monkeypatch.setattr(ollama, "answer", embed)
    assert model("m", warm=True)["models"][0]["load_seconds"] == 0.012
    assert ollama.log.count("POST /api/embed") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": [], "exclusive": True}, "exclusive is true, but no model is declared."),
        ({"exclusive": True, "state": "absent"}, "state is absent, and exclusive is true."),
        ({"warm": True, "state": "absent"}, "state is absent, and warm is true."),
        ({"name": [{"name": "m", "fro": "x"}]}, "name[0] has the unknown key 'fro'."),
        ({"name": [{"name": "m", "from": "x", "gguf": "/x"}]}, "name[0] has from and gguf."),
        ({"name": ["m", {"name": "m", "system": "x"}]}, "name[1] declares m:latest a second time, differently."),
        ({"parameters": {"num_ctxx": 1}}, "parameters: num_ctxx is no parameter of a model. Did you mean num_ctx?"),
        ({"lock": {"models": {}}}, "The lock is not one of this collection's"),
        ({"policy": {"resrve": {}}}, "policy: unknown key 'resrve'."),
        ({"name": ["http://h/m"]}, "name[0]: 'http://h/m' is not a model name"),
    ],
)  # fmt: skip
def test_contradictions_are_refused(model: Fleet, ollama: FakeOllama, arguments: dict[str, Any], message: str) -> None:
    result = model(**arguments)
    assert result["failed"] is True
    assert result["msg"].startswith(message)
    assert ollama.log == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(401, {"errors": []}), "answered 401"),
        (Answer(403, b"no"), "answered 403"),
        (Answer(404), "has no model gemma3:270m"),
        (Answer(429), "limits its requests"),
        (Answer(500, b"<html>broken</html>"), "answered 500"),
        (Answer(200, b"<html>Log in</html>"), "but not as a registry does"),
        (Answer(200, b'{"config": 1}'), "but not as a registry does"),
    ],
)
def test_a_registry_that_does_not_play_along(
    model: Fleet, ollama: FakeOllama, registry: FakeRegistry, answer: Answer, words: str
) -> None:
    registry.queue += [answer] * 4
    result = model()
    assert result["failed"] is True
    assert words in result["msg"]
    assert "exception" not in result
    assert ollama.models == {}


def test_names_with_a_port_upper_case_and_odd_characters(
    model: Fleet, ollama: FakeOllama, registry: FakeRegistry
) -> None:
    registry.publish("library/Mixed_Case-1.5:Q4_K_M")
    name = f"{registry.host}/library/Mixed_Case-1.5:Q4_K_M"
    assert model(["Mixed_Case-1.5:Q4_K_M", name])["changed"] is True
    assert sorted(ollama.models) == sorted(["Mixed_Case-1.5:Q4_K_M", name])
    assert model(["mixed_case-1.5:q4_k_m", name.upper().replace("/LIBRARY", "/library")])["changed"] is False


# GGUF files

HEAD = gguf_bytes.header(
    {"general.architecture": "llama", "general.file_type": 7}, [("token_embd.weight", (64, 4000), 8)]
)
GGUF = HEAD + b"\0" * (-len(HEAD) % 32) + b"w" * (64 * 4000 // 32 * 34)


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    path = tmp_path / "mine.gguf"
    path.write_bytes(GGUF)
    return path


@pytest.mark.parametrize("rewrites", [False, True])
def test_a_model_of_a_file(model: Fleet, ollama: FakeOllama, gguf: Path, tmp_path: Path, rewrites: bool) -> None:
    ollama.rewrites = rewrites
    mine = {"name": "mine", "gguf": str(gguf), "system": "Be brief."}
    predicted = model([mine], check=True)["models"][0]
    assert (predicted["action"], predicted["quantization"], predicted["bytes"]) == ("created", "Q8_0", len(GGUF))
    first = model([mine], diff=True)["models"][0]
    assert (first["action"], first["made_of"], first["bytes"]) == ("created", str(gguf), len(GGUF))
    assert list(ollama.models) == ["mine:latest"]
    assert ollama.contents[f"sha256:{sha256(GGUF)}"] == GGUF

    ollama.log.clear()
    assert model([mine])["changed"] is False
    assert ollama.log == ["GET /api/tags"]
    os.utime(gguf, (1, 1))  # the same content
    assert model([mine])["changed"] is False
    assert model([{**mine, "sha256": sha256(GGUF)}])["changed"] is False

    ollama.log.clear()
    other = {"name": "mine", "gguf": str(gguf), "parameters": {"num_ctx": 2048}}
    (row,) = model([other])["models"]
    assert (row["action"], row["bytes"]) == ("rebuilt", 0)
    assert not [line for line in ollama.log if line.startswith("POST /api/blobs")]
    shown = ollama.show("mine:latest")
    assert (shown["parameters"].split(), shown["system"]) == (["num_ctx", "2048"], "")

    gguf.write_bytes(GGUF[:-1] + b"x")
    (row,) = model([other])["models"]
    assert (row["action"], row["bytes"]) == ("updated", len(GGUF))
    gguf.unlink()
    assert model([{**other, "sha256": sha256(GGUF[:-1] + b"x")}])["changed"] is False  # it is there
    assert "No such file" in model([other])["msg"]


def test_a_model_of_a_file_elsewhere(model: Fleet, ollama: FakeOllama, fake_mirror: FakeMirror, tmp_path: Path) -> None:
    path = "/files/theirs.gguf"
    fake_mirror.files[path] = GGUF
    theirs = {"name": "theirs", "gguf": fake_mirror.url + path, "sha256": sha256(GGUF)}
    assert model([theirs], models_path=str(tmp_path), check=True)["models"][0]["bytes"] == len(GGUF)
    fake_mirror.faults[path] = [Fault(), Fault(cut=200_000)]  # the head, then a download that breaks
    assert model([theirs], models_path=str(tmp_path))["models"][0]["action"] == "created"
    assert fake_mirror.asked(path)[-1] == "bytes=196608-"
    assert list(tmp_path.iterdir()) == []
    fake_mirror.log.clear()
    assert model([theirs], models_path=str(tmp_path))["changed"] is False
    assert fake_mirror.log == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (gguf_bytes.header({"general.architecture": "llama"}), "has no weights, at most a vocabulary."),
        (GGUF[:-1], "1 more belong to it"),
    ],
)
def test_a_file_elsewhere_that_is_no_whole_model_is_not_downloaded(
    model: Fleet, ollama: FakeOllama, fake_mirror: FakeMirror, content: bytes, words: str
) -> None:
    path = "/files/theirs.gguf"
    fake_mirror.files[path] = content
    result = model([{"name": "theirs", "gguf": fake_mirror.url + path, "sha256": sha256(content)}])
    assert f"{fake_mirror.url}{path} " in result["msg"]
    assert words in result["msg"]
    assert fake_mirror.asked(path) == ["bytes=0-262143"]
    assert ollama.log == ["GET /api/tags"]


def test_the_next_run_takes_up_a_download_that_broke(model: Fleet, fake_mirror: FakeMirror, tmp_path: Path) -> None:
    path = "/files/theirs.gguf"
    fake_mirror.files[path] = GGUF
    theirs = {"name": "theirs", "gguf": fake_mirror.url + path, "sha256": sha256(GGUF)}
    fake_mirror.faults[path] = [Fault(), Fault(cut=200_000)]
    assert model([theirs], models_path=str(tmp_path), retries=0)["failed"]
    assert model([theirs], models_path=str(tmp_path), retries=0)["changed"] is True
    assert fake_mirror.asked(path)[-1] == "bytes=196608-"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html>", "is not a GGUF file"),
        (GGUF[:40], "is truncated"),
        (GGUF[:-1], "1 more belong to it"),
        (GGUF + b"x", "has the SHA-256"),
    ],
)
def test_a_bad_file_is_found_before_anything_is_uploaded(
    model: Fleet, ollama: FakeOllama, gguf: Path, content: bytes, words: str
) -> None:
    gguf.write_bytes(content)
    result = model([{"name": "mine", "gguf": str(gguf), "sha256": sha256(GGUF)}])
    assert result["failed"]
    assert words in result["msg"]
    assert "exception" not in result
    assert ollama.log == ["GET /api/tags"]


def test_an_upload_that_the_server_rewrote_does_not_stay(
    model: Fleet, ollama: FakeOllama, gguf: Path, tmp_path: Path
) -> None:
    ollama.rewrites = True
    uploaded = tmp_path / "blobs" / f"sha256-{sha256(GGUF)}"
    uploaded.parent.mkdir()
    uploaded.write_bytes(GGUF)  # as the server would
    model([{"name": "mine", "gguf": str(gguf)}], models_path=str(tmp_path))
    assert not uploaded.exists()
    ollama.rewrites = False
    uploaded.write_bytes(GGUF)
    model([{"name": "other", "gguf": str(gguf)}], models_path=str(tmp_path))
    assert uploaded.exists()


# Candidates


def test_a_model_is_made_of_the_first_candidate_that_fits(
    model: Fleet, ollama: FakeOllama, registry: FakeRegistry, tmp_path: Path
) -> None:
    metadata = {
        "general.architecture": "llama",
        "llama.block_count": 2,
        "llama.embedding_length": 64,
        "llama.context_length": 2048,
        "llama.attention.head_count": 4,
        "llama.feed_forward_length": 128,
    }
    for tag, width in (("big-fp16", 10**12), ("big-q4_0", 1000)):
        head = gguf_bytes.header(metadata, [("token_embd.weight", (64, width), 1)])
        registry.publish_file(f"library/m:{tag}", head, "Q4_0" if "q4" in tag else "F16")
    for name in ("m:big", "m:big-q4_0"):
        ollama.shows[name] = {"model_info": metadata}
    chat = {"name": "m:big", "candidates": ["fp16", "q8_0", "q4_0"]}
    predicted = model([chat], models_path=str(tmp_path), check=True)
    done = model([chat], models_path=str(tmp_path))
    for result in (predicted, done):
        assert [(row["name"], row["action"]) for row in result["models"]] == [
            ("m:big-q4_0", "pulled"),
            ("m:big", "created"),
        ]
        (choice,) = result["choices"]
        assert (choice["name"], choice["chosen"]) == ("m:big", "m:big-q4_0")
        assert "m:big-fp16 would take up to" in choice["reason"]
        assert "m:big-q8_0 is passed over for m:big. The registry" in " ".join(str(result["warnings"]).split())
    assert model([chat], models_path=str(tmp_path))["changed"] is False
    assert model([chat], exclusive=True)["changed"] is False
    nothing = model([{"name": "m:big", "candidates": ["q2_K", "q3_K"]}])
    assert "No candidate of m:big exists (m:big-q2_K, m:big-q3_K)." in nothing["msg"]
    away = model([chat], registry="http://127.0.0.1:1")
    assert (away["changed"], away["models"][1]["made_of"]) == (False, None)
    ollama.models.clear()
    away = model([chat], registry="http://127.0.0.1:1")
    assert "could not be decided. No answer from the registry http://127.0.0.1:1" in away["msg"]
