# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a server shows of a model, and what of an overlay that lacks."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.model_parameters import lacking, of_show
from ansible_collections.llmops.ollama.plugins.module_utils.model_recipe import Overlay

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
    assert lacking(Overlay(wanted), SHOW) == Overlay(left)


def test_texts_are_compared_too() -> None:
    show = {**SHOW, "system": "Be brief."}
    assert not lacking(Overlay({}, "Be brief.", "{{ .Prompt }}"), show)
    assert lacking(Overlay({}, "Be long.", "{{ .System }}"), show) == Overlay({}, "Be long.", "{{ .System }}")
    assert lacking(Overlay({}, "Be brief."), SHOW) == Overlay({}, "Be brief.")
