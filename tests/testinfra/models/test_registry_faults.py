# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Registries that refuse, lie or are silent: one clear message, nothing half-written, and the next run completes."""

from __future__ import annotations

from typing import Any

import pytest
from faulty_registry import SMALL, FaultyRegistry, Published
from module_run import StartModule
from ollama_server import OllamaServer

testinfra_hosts = ["ansible://ollama2"]

MODULE = "llmops.ollama.model"

# What the message must have, and how often the registry is asked where one more try is allowed.
WITHOUT_MANIFEST: dict[str, tuple[tuple[str, ...], int]] = {
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
WITHOUT_WEIGHTS: dict[str, tuple[str, ...]] = {
    "401": ("wants a login", "private"),
    "403": ("403", "private"),
    "404": ("does not exist", "holds all of its files"),
    "429": ("429", "try again later"),
    "500": ("500", "registry's own log"),
    "HTML": ("no Location header", "role mirror"),
    "a redirect to a login page": ("no Location header", "role mirror"),
    "a reset": ("connection reset by peer", "Check the way from the host to"),
    "silence": ("Check the way from the host to",),
}


def impatient(registry: FaultyRegistry, site: str, name: str, **more: Any) -> dict[str, Any]:
    return {"name": [name], "registry": registry.url(site), "retries": 1, "timeout": 1, "stall_timeout": 2, **more}


@pytest.mark.parametrize("answer", WITHOUT_MANIFEST)
def test_a_registry_that_gives_no_manifest(
    registry: FaultyRegistry, server: OllamaServer, start_module: StartModule, answer: str
) -> None:
    words, times = WITHOUT_MANIFEST[answer]
    site = f"manifest: {answer}"
    result = start_module(MODULE, impatient(registry, site, "small:1")).result()
    assert result["failed"], result
    for word in (registry.url(site), *words):
        assert word in result["msg"], result
    assert len(registry.requests("/manifests/")) == times
    assert "small:1" not in server.models()


@pytest.mark.parametrize("answer", WITHOUT_WEIGHTS)
def test_a_registry_that_gives_no_weights(
    registry: FaultyRegistry, server: OllamaServer, start_module: StartModule, model: str, answer: str
) -> None:
    site = f"weights: {answer}"
    result = start_module(MODULE, impatient(registry, site, "small:1")).result()
    assert result["failed"], result
    for word in (registry.url(site), "small:1", *WITHOUT_WEIGHTS[answer]):
        assert word in result["msg"], result
    assert list(server.models()) == [model]
    result = start_module(MODULE, impatient(registry, "whole", "small:1")).result()
    assert not result["failed"], result
    assert result["models"][0]["action"] == "pulled"
    assert server.models()["small:1"] == registry.small.digest


# Registries that give something else than they promise


@pytest.fixture
def fresh(registry: FaultyRegistry) -> Published:
    """A model that the server has never heard of, and that a test may damage."""
    return registry.publish_new("fresh:1", SMALL)


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
    "a manifest without a size": ("sed --in-place s/size/length/ {manifest}", ("not as a registry does",)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_model_that_is_damaged_at_the_registry(
    registry: FaultyRegistry, fresh: Published, server: OllamaServer, start_module: StartModule, model: str, damage: str
) -> None:
    command, words = DAMAGE[damage]
    places = {name: getattr(fresh, f"{name}_path") for name in ("weights", "configuration", "manifest")}
    registry.host.check_output(command.format(**places))
    result = start_module(MODULE, impatient(registry, "whole", fresh.name)).result()
    assert result["failed"], result
    for word in (registry.url("whole"), fresh.name, *words):
        assert word in result["msg"], result
    assert list(server.models()) == [model]
    assert f"blobs/sha256-{fresh.weights}" not in server.files()
    registry.publish(fresh.name, SMALL, fresh.seed)
    assert not start_module(MODULE, impatient(registry, "whole", fresh.name)).result()["failed"]
    assert server.models()[fresh.name] == fresh.digest


def test_an_update_that_is_damaged_leaves_the_old_version(
    registry: FaultyRegistry, fresh: Published, server: OllamaServer, start_module: StartModule
) -> None:
    arguments = impatient(registry, "whole", fresh.name, state="latest")
    assert not start_module(MODULE, arguments).result()["failed"]
    update = registry.publish_new(fresh.name, SMALL)
    registry.host.check_output(f"{FLIP} {update.weights_path}")
    result = start_module(MODULE, arguments).result()
    assert result["failed"], result
    assert "digest mismatch" in result["msg"], result
    assert server.models()[fresh.name] == fresh.digest
    assert f"blobs/sha256-{fresh.weights}" in server.files()
    registry.publish(update.name, SMALL, update.seed)
    assert start_module(MODULE, arguments).result()["models"][0]["action"] == "updated"
    assert server.models()[fresh.name] == update.digest
    assert f"blobs/sha256-{fresh.weights}" not in server.files()


def test_damaged_weights_of_a_pull_that_broke_off_are_never_believed(
    registry: FaultyRegistry, server: OllamaServer, start_module: StartModule
) -> None:
    small = registry.small
    blob = server.host.file(f"{server.store}/blobs/sha256-{small.weights}")
    result = start_module(MODULE, impatient(registry, "broken off", small.name)).result()
    assert result["failed"], result
    assert "answered 500" in result["msg"], result
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
    other = registry.publish_new("fresh:new", SMALL)
    arguments = impatient(registry, "moving", fresh.name)
    result = start_module(MODULE, arguments).result()
    assert result["failed"], result
    for word in (fresh.name, registry.url("moving"), fresh.digest, other.digest, "Run again"):
        assert word in result["msg"], result
    assert fresh.name not in server.models()
    registry.publish(fresh.name, SMALL, other.seed)
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
    assert result["failed"], result
    assert f"https://{host}" in result["msg"], result
    assert "Check the option registry" in result["msg"], result


def test_upper_case_is_the_same_model_on_the_host(
    registry: FaultyRegistry, server: OllamaServer, start_module: StartModule, model: str
) -> None:
    before = server.models()
    result = start_module(MODULE, impatient(registry, "whole", model.upper())).result()
    assert (result["failed"], result["changed"]) == (False, False), result
    assert server.models() == before
    # A registry of plain files has each model in one spelling.
    result = start_module(MODULE, impatient(registry, "whole", "SMALL:1")).result()
    assert result["failed"], result
    for word in ("has no model SMALL:1", registry.url("whole"), "spelling"):
        assert word in result["msg"], result


@pytest.mark.parametrize(
    "name",
    ["a b", "", "small:1;reboot", "../../../etc/passwd", "http://edge/small", "模型:1", "-x:1", "small:" + "1" * 81],
    ids=["space", "nothing", "shell", "path", "address", "letters", "dash", "length"],
)
def test_a_name_that_is_none(registry: FaultyRegistry, start_module: StartModule, name: str) -> None:
    result = start_module(MODULE, impatient(registry, "whole", name)).result()
    assert result["failed"], result
    for word in (repr(name), "is not a model name"):
        assert word in result["msg"], result
    assert registry.requests() == []
