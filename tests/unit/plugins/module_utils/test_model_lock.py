# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lock file: what is written is read again, and what is none is refused."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.model_lock import Pin, parse, to_data
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from ansible_collections.llmops.ollama.plugins.module_utils.registry import Registry, source_of
from fake_http import FakeRegistry, sha256

PIN = Pin("a" * 64, "b" * 64, 253113335, "Q4_K_M")


def entry(**changes: Any) -> dict[str, Any]:
    return {"digest": "a" * 64, "weights": "b" * 64, "size": 1, **changes}


def test_through_a_file_and_back() -> None:
    text = yaml.safe_dump(to_data({"Gemma3:270m": PIN, "a/b:1": Pin("c" * 64, "", 7)}))
    assert parse(yaml.safe_load(text)) == {"gemma3:270m": PIN, "a/b:1": Pin("c" * 64, "", 7)}


@pytest.mark.parametrize("nothing", [None, {}, ""])
def test_nothing_pins_nothing(nothing: Any) -> None:
    assert parse(nothing) == {}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([1], "no mapping models"),
        ("models", "no mapping models"),
        ({"models": {}}, "another format than 1"),
        ({"format": 2, "models": {}}, "another format than 1"),
        ({"format": 1, "models": []}, "no mapping models"),
        ({"format": 1, "models": {"m": entry(digest="abc")}}, "The lock's entry of m is"),
        ({"format": 1, "models": {"m": entry(weights="xyz")}}, "digest and weights (64 hex digits)"),
        ({"format": 1, "models": {"m": entry(size=-1)}}, "The lock's entry of m is"),
        ({"format": 1, "models": {"m": entry(size="big")}}, "The lock's entry of m is"),
        ({"format": 1, "models": {"m": "abc"}}, "The lock's entry of m is 'abc'"),
        ({"format": 1, "models": {"m": None}}, "The lock's entry of m is None"),
        ({"format": 1, "models": {"a b": entry()}}, "'a b' is not a model name"),
    ],
)
def test_what_is_no_lock_is_refused(data: Any, words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(data)
    assert words in str(refused.value)


def test_the_pin_of_what_a_registry_offers(registry: FakeRegistry) -> None:
    digest = registry.publish_file("library/m:1", b"weights", params={"num_ctx": 1})
    source = source_of(ModelName.parse("m:1"), registry.url)
    with Registry() as questions:
        manifest = questions.manifest(source)
        pin = Pin.of_offer(questions.offer(source, manifest))
    assert (pin.digest, pin.weights, pin.quantization) == (digest, sha256(b"weights"), "Q4_K_M")
    assert pin.size == manifest.size
