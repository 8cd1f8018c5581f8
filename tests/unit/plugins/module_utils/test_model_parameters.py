# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Parameters of models: what a server shows of them, and whether a model is still what the registry offers."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.model_parameters import (
    differing,
    of_show,
    same_base,
    text,
)
from ansible_collections.llmops.ollama.plugins.module_utils.registry import Layer, Manifest

# As Ollama 0.34.0 shows them.
SHOW = {
    "parameters": (
        "num_thread                     2\n"
        'stop                           "<end_of_turn>"\n'
        'stop                           "a \\"b\\""\n'
        "temperature                    0.7\n"
        "use_mmap                       false"
    ),
    "template": "{{ .Prompt }}",
    "modelfile": f"# comment\nFROM /var/lib/ollama/models/blobs/sha256-{'a' * 64}\nTEMPLATE x",
}


def test_what_a_server_shows() -> None:
    assert of_show(SHOW) == {
        "num_thread": ["2"],
        "stop": ["<end_of_turn>", 'a "b"'],
        "temperature": ["0.7"],
        "use_mmap": ["false"],
    }
    assert of_show({}) == {}


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        ({"num_thread": 2}, {}),
        ({"num_thread": 3}, {"num_thread": 3}),
        ({"temperature": 0.70}, {}),
        ({"use_mmap": False}, {}),
        ({"use_mmap": True}, {"use_mmap": True}),
        ({"stop": ["<end_of_turn>", 'a "b"']}, {}),
        ({"stop": ["<end_of_turn>"]}, {"stop": ["<end_of_turn>"]}),
        ({"num_ctx": 4096, "num_thread": 2}, {"num_ctx": 4096}),
    ],
)
def test_what_differs(wanted: dict[str, Any], left: dict[str, Any]) -> None:
    assert differing(wanted, SHOW) == left


def manifest(weights: str = "a" * 64, template: str = "{{ .Prompt }}") -> Manifest:
    layers = (
        Layer(f"sha256:{weights}", 9, "model"),
        Layer(f"sha256:{hashlib.sha256(template.encode()).hexdigest()}", 9, "template"),
        Layer("sha256:" + "c" * 64, 9, "license"),
    )
    return Manifest("d" * 64, Layer("sha256:" + "b" * 64, 9), layers)


def test_a_model_is_current_while_weights_and_texts_are() -> None:
    assert same_base(manifest(), SHOW)
    assert not same_base(manifest(weights="e" * 64), SHOW)
    assert not same_base(manifest(template="new"), SHOW)
    assert not same_base(Manifest("d", Layer("sha256:" + "b" * 64, 9), ()), SHOW)
    assert not same_base(manifest(), {})


def test_for_a_person() -> None:
    assert text({"num_thread": 2, "stop": ["a"]}) == 'num_thread=2 stop=["a"]'
