# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Registries that refuse, lie or are silent: one clear message, nothing half-written, and the next run completes."""

from __future__ import annotations

from typing import Any

import pytest
from faulty_registry import PORTS, SMALL, FaultyRegistry, Published
from module_run import RunEach, StartModule
from ollama_server import OllamaServer

testinfra_hosts = ["ansible://ollama2"]

MODULE = "llmops.ollama.model"

# What the message must have, and how often the registry is asked where one more try is allowed.
NO_MANIFEST: dict[str, tuple[tuple[str, ...], int]] = {
    "401": (("small:1", "answered 401", "password"), 1),
    "403": (("small:1", "answered 403", "private"), 1),
    "404": (("has no model small:1", "spelling"), 1),
    "429": (("small:1", "answered 429", "slow down", "try again later"), 2),
    "500": (("small:1", "answered 500", "registry's own log"), 2),
    "HTML": (("small:1", "not as a registry does", "Welcome to the hotel", "login page"), 1),
    "a redirect to a login page": (("small:1", "not as a registry does", "login page"), 1),
    "a reset": (("Connection reset by peer", "Check the option registry"), 2),
    "silence": (("timed out", "Check the option registry"), 2),
}
NO_BLOB: dict[str, tuple[str, ...]] = {
    "401": ("wants a login", "private"),
    "403": ("answered 403", "private"),
    "404": ("does not exist", "holds all of its files"),
    "429": ("answered 429", "try again later"),
    "500": ("answered 500", "registry's own log"),
    "HTML": ("no Location header", "role mirror"),
    "HTML with a Location": ("digest mismatch", "copy is damaged"),
    "a redirect to a login page": ("no Location header", "role mirror"),
    "a reset": ("connection reset by peer", "Check the way from the host to"),
    "silence": ("Check the way from the host to",),
}
# What is done to a file of the model, and what the message must have.
FLIP = """python3 -c 'import sys
with open(sys.argv[1], "r+b") as file:
    data = file.read()
    file.seek(0)
    file.write(data[:-1] + bytes([data[-1] ^ 1]))'"""
DAMAGE: dict[str, tuple[str, tuple[str, ...]]] = {
    "weights that were cut off": ("truncate --size=150000 {weights}", ("digest mismatch", "copy is damaged")),
    "weights with one other bit": (FLIP + " {weights}", ("digest mismatch", "copy is damaged")),
    "no weights": ("rm {weights}", ("does not exist", "holds all of its files")),
    "no configuration": ("rm {configuration}", ("but not its file sha256:", "is not whole")),
    "half a manifest": ("truncate --size=200 {manifest}", ("not as a registry does", "looks like another service")),
    "an empty manifest": ("truncate --size=0 {manifest}", ("not as a registry does", "looks like another service")),
    "no size": ("sed --in-place s/size/length/ {manifest}", ("not as a registry does", "looks like another service")),
}


def impatient(registry: FaultyRegistry, site: str, *names: str, **more: Any) -> dict[str, Any]:
    limits = {"retries": 1, "timeout": 1, "stall_timeout": 2}
    return {"name": list(names), "registry": registry.url(site), **limits, **more}


def refused(result: dict[str, Any], *words: str) -> None:
    """It failed, and the message has these words."""
    assert result["failed"], result
    for word in words:
        assert word in result["msg"], result


def test_registries_that_give_no_manifest(
    registry: FaultyRegistry, server: OllamaServer, run_each: RunEach, model: str, subtests: pytest.Subtests
) -> None:
    sites = {answer: f"no manifest: {answer}" for answer in NO_MANIFEST}
    results = run_each(MODULE, {answer: impatient(registry, site, "small:1") for answer, site in sites.items()})
    asked = [request.port for request in registry.requests("/manifests/")]
    for answer, (words, times) in NO_MANIFEST.items():
        with subtests.test(answer):
            refused(results[answer], registry.url(sites[answer]), *words)
            assert asked.count(PORTS[sites[answer]]) == times
    assert list(server.models()) == [model]


def test_a_service_that_is_no_registry(registry: FaultyRegistry, start_module: StartModule) -> None:
    result = start_module(MODULE, impatient(registry, "other JSON", "small:1")).result()
    refused(result, registry.url("other JSON"), "small:1", "not as a registry does", '"status": "ok"')


def test_registries_that_give_the_server_no_file(
    registry: FaultyRegistry,
    server: OllamaServer,
    run_each: RunEach,
    start_module: StartModule,
    model: str,
    subtests: pytest.Subtests,
) -> None:
    models = dict(zip(NO_BLOB, registry.publish_all(f"m{number}:1" for number in range(len(NO_BLOB))), strict=True))
    asks = {answer: impatient(registry, f"no blob: {answer}", each.name) for answer, each in models.items()}
    results = run_each(MODULE, asks)
    for answer, words in NO_BLOB.items():
        with subtests.test(answer):
            refused(results[answer], registry.url(f"no blob: {answer}"), models[answer].name, *words)
    assert list(server.models()) == [model]
    complete(registry, server, start_module, *models.values())


def complete(registry: FaultyRegistry, server: OllamaServer, start_module: StartModule, *models: Published) -> None:
    """The next run brings all of them, from a registry that is all right."""
    names = [model.name for model in models]
    result = start_module(MODULE, impatient(registry, "whole", *names, models_path=server.store)).result()
    assert not result["failed"], result
    assert {row["action"] for row in result["models"]} == {"pulled"}
    there = server.models()
    assert {model.name: there[model.name] for model in models} == {model.name: model.digest for model in models}


# Registries that give something else than they promise


def test_models_that_are_damaged_at_the_registry(
    registry: FaultyRegistry,
    server: OllamaServer,
    run_each: RunEach,
    start_module: StartModule,
    model: str,
    subtests: pytest.Subtests,
) -> None:
    models = dict(zip(DAMAGE, registry.publish_all(f"d{number}:1" for number in range(len(DAMAGE))), strict=True))
    for damage, (command, _words) in DAMAGE.items():
        each = models[damage]
        places = {"weights": each.weights_path, "configuration": each.configuration_path}
        registry.host.check_output(command.format(manifest=each.manifest_path, **places))
    results = run_each(MODULE, {damage: impatient(registry, "whole", each.name) for damage, each in models.items()})
    for damage, (_command, words) in DAMAGE.items():
        with subtests.test(damage):
            refused(results[damage], registry.url("whole"), models[damage].name, *words)
    assert list(server.models()) == [model]
    files = server.files()
    assert [each.name for each in models.values() if f"blobs/sha256-{each.weights}" in files] == []
    registry.repair(*models.values())
    complete(registry, server, start_module, *models.values())


@pytest.fixture
def fresh(registry: FaultyRegistry) -> Published:
    """A model that the server has never heard of, and that a test may damage."""
    return registry.publish("fresh:1")


def test_an_update_that_is_damaged_leaves_the_old_version(
    registry: FaultyRegistry, fresh: Published, server: OllamaServer, start_module: StartModule
) -> None:
    arguments = impatient(registry, "whole", fresh.name, state="latest")
    assert not start_module(MODULE, arguments).result()["failed"]
    update = registry.publish(fresh.name)
    registry.host.check_output(f"{FLIP} {update.weights_path}")
    result = start_module(MODULE, arguments).result()
    refused(result, "digest mismatch")
    assert server.models()[fresh.name] == fresh.digest
    assert f"blobs/sha256-{fresh.weights}" in server.files()
    registry.repair(update)
    assert start_module(MODULE, arguments).result()["models"][0]["action"] == "updated"
    assert server.models()[fresh.name] == update.digest
    assert f"blobs/sha256-{fresh.weights}" not in server.files()


def test_damaged_weights_of_a_pull_that_broke_off_are_never_believed(
    registry: FaultyRegistry, server: OllamaServer, start_module: StartModule
) -> None:
    small = registry.small
    blob = server.host.file(f"{server.store}/blobs/sha256-{small.weights}")
    result = start_module(MODULE, impatient(registry, "broken off", small.name)).result()
    refused(result, "answered 500")
    # The server has not checked them, and would not the next time.
    assert blob.sha256sum != small.weights
    result = start_module(MODULE, impatient(registry, "whole", small.name, models_path=server.store)).result()
    assert not result["failed"], result
    assert result["freed"] == small.size
    assert server.models()[small.name] == small.digest
    assert blob.sha256sum == small.weights


def test_wrong_sizes_in_a_manifest_let_no_other_bytes_in(
    registry: FaultyRegistry, fresh: Published, server: OllamaServer, start_module: StartModule
) -> None:
    registry.host.check_output(f"sed --in-place s/{SMALL}/{SMALL - 1000}/ {fresh.manifest_path}")
    result = start_module(MODULE, impatient(registry, "whole", fresh.name)).result()
    assert not result["failed"], result
    blob = f"{server.store}/blobs/sha256-{fresh.weights}"
    assert server.host.file(blob).sha256sum == fresh.weights


def test_a_manifest_that_changes_between_two_requests(
    registry: FaultyRegistry, fresh: Published, server: OllamaServer, start_module: StartModule, model: str
) -> None:
    other = registry.publish("fresh:new")
    arguments = impatient(registry, "moving", fresh.name)
    result = start_module(MODULE, arguments).result()
    refused(result, fresh.name, registry.url("moving"), fresh.digest, other.digest, "Run again")
    assert fresh.name not in server.models()
    registry.host.check_output(f"cp {other.manifest_path} {fresh.manifest_path}")
    assert not start_module(MODULE, arguments).result()["failed"]
    assert server.models() == {model: server.models()[model], fresh.name: other.digest}


# Names


def test_a_name_with_a_port_stays_as_it_is(
    registry: FaultyRegistry, server: OllamaServer, start_module: StartModule
) -> None:
    host = registry.url("whole").partition("//")[2]
    name = f"{host}/library/small:1"
    result = start_module(MODULE, impatient(registry, "whole", name)).result()
    assert not result["failed"], result
    assert server.models()[name] == registry.small.digest
    assert "small:1" not in server.models()
    # Without the option registry it is asked over TLS, which it does not speak.
    result = start_module(MODULE, {"name": [f"{host}/library/small:2"], "retries": 0, "timeout": 5}).result()
    refused(result, f"https://{host}", "Check the option registry")


def test_upper_case_is_the_same_model_on_the_host(
    registry: FaultyRegistry, server: OllamaServer, start_module: StartModule, model: str
) -> None:
    before = server.models()
    result = start_module(MODULE, impatient(registry, "whole", model.upper())).result()
    assert (result["failed"], result["changed"]) == (False, False), result
    assert server.models() == before
    # A registry of plain files has each model in one spelling.
    result = start_module(MODULE, impatient(registry, "whole", "SMALL:1")).result()
    refused(result, "has no model SMALL:1", registry.url("whole"), "spelling")


def test_names_that_are_none(registry: FaultyRegistry, run_each: RunEach, subtests: pytest.Subtests) -> None:
    names = ["a b", "small:1;reboot", "../../../etc/passwd", "模型:1", "m:" + "1" * 81]
    for name, result in run_each(MODULE, {name: impatient(registry, "whole", name) for name in names}).items():
        with subtests.test(name):
            refused(result, repr(name), "is not a model name")
    assert registry.requests() == []
