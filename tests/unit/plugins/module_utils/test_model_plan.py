# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is decided for models, from what is installed, what is declared and what the registry offers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.errors import ChecksumMismatch, NotFound, Unreachable
from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import definitions
from ansible_collections.llmops.ollama.plugins.module_utils.model_lock import Pin
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from ansible_collections.llmops.ollama.plugins.module_utils.model_plan import Planner, Server, Step, keep, remove
from ansible_collections.llmops.ollama.plugins.module_utils.model_recipe import Overlay, Record
from ansible_collections.llmops.ollama.plugins.module_utils.model_state import State, installed_models
from ansible_collections.llmops.ollama.plugins.module_utils.registry import Registry
from fake_http import Answer, FakeRegistry

GEMMA = ModelName.parse("gemma3:270m")
INSTALLED = State("0" * 64, 5, "Q8_0", "gemma3", "268.10M")

# An entry of /api/tags as a server of version 0.34.0 gives it.
TAG = {
    "name": "gemma3:270m",
    "model": "gemma3:270m",
    "modified_at": "2026-11-25T14:00:00.000000000Z",
    "size": 253136896,
    "digest": "ea58e06c1b41f6fb4a0ea2a2cc2e6f8a1d2b2e0d2f0c9d7a4a2b8f2d6a0e5c11",
    "details": {
        "parent_model": "",
        "format": "gguf",
        "family": "gemma3",
        "families": ["gemma3"],
        "parameter_size": "268.10M",
        "quantization_level": "Q4_K_M",
        "context_length": 32768,
        "embedding_length": 640,
    },
    "capabilities": ["completion"],
}


@pytest.fixture
def asker() -> Iterator[Registry]:
    with Registry(timeout=5.0, retries=2, wait=lambda pause: None) as asker:
        yield asker


Decide = Callable[..., list[Step]]


@pytest.fixture
def decide(registry: FakeRegistry, asker: Registry) -> Decide:
    """Plans for a server with these models, by name, that shows what is given."""

    def decide(installed: dict[str, State], *entries: Any, **options: Any) -> list[Step]:
        shows = options.pop("shows", {})
        has_blob = options.pop("has_blob", lambda digest: False)
        url = options.pop("url", registry.url)
        server = Server(has_blob, lambda name: shows.get(name, {}))
        return Planner(installed, server, asker, url, **options).bring(definitions(entries))

    return decide


def actions(steps: list[Step]) -> list[tuple[str, str]]:
    return [(str(step.name), step.action) for step in steps]


def made(of: State, overlay: Overlay, origin: str, base: str) -> State:
    """A model as this collection makes it."""
    return replace(of, digest="f" * 64, parent=str(Record.make(overlay, origin, base).name))


def test_installed_models() -> None:
    models = installed_models([TAG, {"name": "Team/M:T", "digest": "d", "size": 1, "details": None}])
    assert models == {
        "gemma3:270m": State(str(TAG["digest"]), 253136896, "Q4_K_M", "gemma3", "268.10M", ""),
        "team/m:t": State("d", 1, "", "", "", None),
    }


# The registry's model as it is


def test_a_model_that_is_absent_is_pulled(registry: FakeRegistry, decide: Decide) -> None:
    digest = registry.publish("library/gemma3:270m", size=1000)
    (step,) = decide({}, "gemma3:270m")
    config = step.missing[-1]
    assert (step.action, step.before, step.warning, step.promised) == ("pulled", None, "", digest)
    assert step.after == State(digest, 1000 + config.size, "Q4_K_M", "gemma3", "268.10M")
    assert step.bytes_to_bring == 1000 + config.size


def test_what_the_server_has_is_not_counted(registry: FakeRegistry, decide: Decide) -> None:
    registry.publish("library/gemma3:270m", size=1000)
    (step,) = decide({}, "gemma3:270m")
    (step,) = decide({}, "gemma3:270m", has_blob=lambda digest: digest == step.missing[-1].digest)
    assert step.bytes_to_bring == 1000


def test_a_blob_that_a_manifest_names_twice_is_counted_once(registry: FakeRegistry, decide: Decide) -> None:
    registry.publish("library/gemma3:270m", size=1000)
    (step,) = decide({}, "gemma3:270m")
    layer = step.missing[0]
    registry.manifests["library/gemma3:270m"] = registry.manifests["library/gemma3:270m"].replace(
        b'"layers": [', f'"layers": [{{"digest": "{layer.digest}", "size": {layer.size}}}, '.encode()
    )
    (step,) = decide({}, "gemma3:270m")
    assert [blob.size for blob in step.missing].count(1000) == 1


def test_presence_asks_nobody_and_the_latest_costs_one_question(registry: FakeRegistry, decide: Decide) -> None:
    current = replace(INSTALLED, digest=registry.publish("library/gemma3:270m"))
    old = {"gemma3:270m": INSTALLED}
    nobody = {"has_blob": lambda digest: pytest.fail("asked for blobs")}
    assert decide(old, "gemma3:270m", **nobody) == [keep(GEMMA, INSTALLED)]
    assert registry.log == []
    assert decide({"gemma3:270m": current}, "gemma3:270m", latest=True, **nobody) == [keep(GEMMA, current)]
    assert len(registry.log) == 1
    (step,) = decide(old, "gemma3:270m", latest=True)
    assert (step.action, step.before) == ("updated", INSTALLED)
    assert step.after is not None
    assert step.after.quantization == "Q4_K_M"


@pytest.mark.parametrize("answer", [Answer(404), Answer(429), Answer(500), Answer(401), Answer(200, b"<html>")])
def test_an_installed_model_is_kept_whatever_the_registry_says(
    registry: FakeRegistry, decide: Decide, answer: Answer
) -> None:
    registry.queue.append(answer)
    (step,) = decide({"gemma3:270m": INSTALLED}, "gemma3:270m", latest=True)
    assert (step.action, step.after, step.changed) == ("none", INSTALLED, False)
    assert step.warning.startswith("gemma3:270m is installed and stays as it is; it could not be compared. ")
    assert registry.url in step.warning
    assert len(registry.log) == 1


def test_a_missing_model_needs_the_registry(registry: FakeRegistry, decide: Decide) -> None:
    with pytest.raises(NotFound):
        decide({}, "gemma3:270m")
    with pytest.raises(Unreachable):
        decide({}, "gemma3:270m", url="http://127.0.0.1:1")


def test_remove() -> None:
    assert remove(GEMMA, INSTALLED) == Step(GEMMA, "removed", INSTALLED, None)
    assert remove(GEMMA, None) == Step(GEMMA, "none", None, None)
    assert not keep(GEMMA, None).changed


# Pins


def test_a_pinned_model_is_right_or_pulled_or_an_error(registry: FakeRegistry, decide: Decide) -> None:
    digest = registry.publish("library/gemma3:270m")
    lock = {"gemma3:270m": Pin(digest, "", 1)}
    right = {"gemma3:270m": replace(INSTALLED, digest=digest)}
    assert actions(decide(right, "gemma3:270m", lock=lock, latest=True)) == [("gemma3:270m", "none")]
    assert registry.log == []  # the pin says what is right, also where the latest is asked for
    assert actions(decide({"gemma3:270m": INSTALLED}, "gemma3:270m", lock=lock)) == [("gemma3:270m", "updated")]
    assert actions(decide({}, "gemma3:270m", lock=lock)) == [("gemma3:270m", "pulled")]
    other = registry.publish("library/gemma3:270m", weights="other")
    for installed in ({}, {"gemma3:270m": INSTALLED}):
        with pytest.raises(ChecksumMismatch) as refused:
            decide(installed, "gemma3:270m", lock=lock)
        assert f"gemma3:270m is pinned to {digest}, but the registry {registry.url} offers {other}." in str(
            refused.value
        )
    with pytest.raises(Unreachable):  # what is installed is known to be wrong
        decide({"gemma3:270m": INSTALLED}, "gemma3:270m", lock=lock, url="http://127.0.0.1:1")


def test_the_base_of_a_model_is_pinned(registry: FakeRegistry, decide: Decide) -> None:
    digest = registry.publish("library/gemma3:270m")
    lock = {"gemma3:270m": Pin(digest, "", 1)}
    registry.publish("library/gemma3:270m", weights="other")
    with pytest.raises(ChecksumMismatch):
        decide({}, {"name": "mine", "from": "gemma3:270m"}, lock=lock)
    over = made(INSTALLED, Overlay({"num_ctx": 1}), "gemma3:270m", digest)
    entry = {"name": "gemma3:270m", "parameters": {"num_ctx": 1}}
    assert actions(decide({"gemma3:270m": over}, entry, lock=lock)) == [("gemma3:270m", "none")]


# Parameters over the registry's model


def test_parameters_are_set_over_what_is_there_without_the_registry(registry: FakeRegistry, decide: Decide) -> None:
    entry = {"name": "gemma3:270m", "parameters": {"num_ctx": 8192}}
    (step,) = decide({"gemma3:270m": INSTALLED}, entry, parameters={"num_thread": 2, "num_ctx": 1})
    assert (step.action, step.after, step.source) == ("rebuilt", replace(INSTALLED, digest=""), None)
    assert step.making is not None
    assert step.making.overlay == Overlay({"num_thread": 2, "num_ctx": 8192})
    assert registry.log == []
    current = made(INSTALLED, step.making.overlay, "gemma3:270m", INSTALLED.digest)
    (step,) = decide({"gemma3:270m": current}, entry, parameters={"num_thread": 2, "num_ctx": 1})
    assert not step.changed
    assert registry.log == []


@pytest.mark.parametrize("entry", ["gemma3:270m", {"name": "gemma3:270m", "parameters": {"top_k": 1}}])
def test_what_is_dropped_from_a_definition_goes_from_the_model(
    registry: FakeRegistry, decide: Decide, entry: Any
) -> None:
    digest = registry.publish("library/gemma3:270m")
    before = made(INSTALLED, Overlay({"top_k": 1}, "Be brief."), "gemma3:270m", digest)
    (step,) = decide({"gemma3:270m": before}, entry)
    assert (step.action, step.promised) == ("rebuilt", digest)
    assert (step.making is None) == isinstance(entry, str)


def test_parameters_over_an_older_version_are_kept_unless_the_latest_is_asked_for(
    registry: FakeRegistry, decide: Decide
) -> None:
    registry.publish("library/gemma3:270m")
    entry = {"name": "gemma3:270m", "parameters": {"top_k": 1}}
    before = {"gemma3:270m": made(INSTALLED, Overlay({"top_k": 1}), "gemma3:270m", "0" * 64)}
    assert actions(decide(before, entry)) == [("gemma3:270m", "none")]
    assert registry.log == []
    assert actions(decide(before, entry, latest=True)) == [("gemma3:270m", "updated")]


def test_a_hand_made_model_is_made_anew_where_parameters_are_declared(registry: FakeRegistry, decide: Decide) -> None:
    registry.publish("library/gemma3:270m")
    before = {"gemma3:270m": replace(INSTALLED, parent="gemma3:270m")}
    assert actions(decide(before, "gemma3:270m")) == [("gemma3:270m", "none")]
    entry = {"name": "gemma3:270m", "parameters": {"top_k": 1}}
    assert actions(decide(before, entry)) == [("gemma3:270m", "updated")]


def test_without_the_registry_nothing_is_taken_away(decide: Decide) -> None:
    before = {"gemma3:270m": made(INSTALLED, Overlay({"top_k": 1, "num_ctx": 2}), "gemma3:270m", "0" * 64)}
    shows = {"gemma3:270m": {"parameters": "top_k 1\nnum_ctx 2"}}
    entry = {"name": "gemma3:270m", "parameters": {"top_k": 1}}
    (step,) = decide(before, entry, shows=shows, url="http://127.0.0.1:1")
    assert (step.action, "stays as it is; it could not be compared" in step.warning) == ("none", True)
    entry = {"name": "gemma3:270m", "parameters": {"top_k": 1, "seed": 7}}
    (step,) = decide(before, entry, shows=shows, url="http://127.0.0.1:1")
    assert (step.action, "gets only what it lacks" in step.warning) == ("rebuilt", True)
    assert step.making is not None
    assert (step.making.overlay, step.making.recorded) == (Overlay({"seed": 7}), False)


def test_a_server_that_does_not_list_parents_is_asked_for_them(registry: FakeRegistry, decide: Decide) -> None:
    digest = registry.publish("library/gemma3:270m")
    record = Record.make(Overlay({"top_k": 1}), "gemma3:270m", digest)
    before = {"gemma3:270m": replace(INSTALLED, parent=None)}
    shows = {"gemma3:270m": {"details": {"parent_model": str(record.name)}}}
    entry = {"name": "gemma3:270m", "parameters": {"top_k": 1}}
    assert actions(decide(before, entry, shows=shows)) == [("gemma3:270m", "none")]
    assert actions(decide(before, "gemma3:270m", shows=shows)) == [("gemma3:270m", "rebuilt")]


# Models of other models

ASSISTANT = {"name": "assistant", "from": "gemma3:270m", "system": "Be brief."}


def test_a_base_comes_before_what_is_made_of_it(registry: FakeRegistry, decide: Decide) -> None:
    digest = registry.publish("library/gemma3:270m")
    steps = decide({}, ASSISTANT)
    assert actions(steps) == [("gemma3:270m", "pulled"), ("assistant:latest", "created")]
    base = {"gemma3:270m": replace(INSTALLED, digest=digest)}
    current = made(INSTALLED, Overlay(system="Be brief."), "gemma3:270m", digest)
    assert actions(decide({**base, "assistant:latest": current}, ASSISTANT)) == [
        ("gemma3:270m", "none"),
        ("assistant:latest", "none"),
    ]


@pytest.mark.parametrize(
    ("overlay", "origin", "digest"),
    [
        (Overlay(system="Be long."), "gemma3:270m", INSTALLED.digest),
        (Overlay({"top_k": 1}, "Be brief."), "gemma3:270m", INSTALLED.digest),
        (Overlay(system="Be brief."), "gemma3:1b", INSTALLED.digest),
        (Overlay(system="Be brief."), "gemma3:270m", "1" * 64),
    ],
)
def test_a_model_is_made_anew_when_its_definition_or_its_base_changes(
    decide: Decide, overlay: Overlay, origin: str, digest: str
) -> None:
    installed = {"gemma3:270m": INSTALLED, "assistant:latest": made(INSTALLED, overlay, origin, digest)}
    assert actions(decide(installed, ASSISTANT))[1] == ("assistant:latest", "rebuilt")


def test_a_second_name_is_the_base_itself(registry: FakeRegistry, decide: Decide) -> None:
    entry = {"name": "chat", "from": "gemma3:270m"}
    (_, step) = decide({"gemma3:270m": INSTALLED}, entry)
    assert (step.action, step.after) == ("created", INSTALLED)
    both = {"gemma3:270m": INSTALLED, "chat:latest": INSTALLED}
    assert actions(decide(both, entry)) == [("gemma3:270m", "none"), ("chat:latest", "none")]
    registry.publish("library/gemma3:270m")
    assert actions(decide(both, entry, latest=True)) == [("gemma3:270m", "updated"), ("chat:latest", "rebuilt")]
    assert registry.log.count("GET /v2/library/gemma3/manifests/270m") == 1


def test_a_base_may_be_declared_with_parameters_of_its_own(decide: Decide) -> None:
    base = {"name": "gemma3:270m", "parameters": {"top_k": 1}}
    steps = decide({"gemma3:270m": INSTALLED}, ASSISTANT, base)
    assert actions(steps) == [("gemma3:270m", "rebuilt"), ("assistant:latest", "created")]


def test_what_every_model_gets_a_mere_base_does_not(decide: Decide) -> None:
    steps = decide({"gemma3:270m": INSTALLED}, ASSISTANT, parameters={"num_thread": 2})
    assert actions(steps) == [("gemma3:270m", "none"), ("assistant:latest", "created")]
    assert steps[1].making is not None
    assert steps[1].making.overlay.parameters == {"num_thread": 2}


def test_blobs_that_models_share_are_brought_once(registry: FakeRegistry, decide: Decide) -> None:
    registry.publish("library/a:latest", size=1000)
    registry.publish("library/a:again", size=1000)
    first, second = decide({}, "a", "a:again")
    assert (first.bytes_to_bring > 1000, second.bytes_to_bring) == (True, 0)


def test_what_is_neither_declared_nor_a_base_is_excluded(registry: FakeRegistry, asker: Registry) -> None:
    installed = dict.fromkeys(("gemma3:270m", "assistant:latest", "old:1b", "host:5001/ns/x:y"), INSTALLED)
    current = made(INSTALLED, Overlay(system="Be brief."), "gemma3:270m", INSTALLED.digest)
    installed["assistant:latest"] = current
    planner = Planner(installed, Server(lambda digest: False), asker, registry.url)
    planner.bring(definitions([ASSISTANT]))
    assert actions(planner.exclude()) == [("host:5001/ns/x:y", "removed"), ("old:1b", "removed")]
