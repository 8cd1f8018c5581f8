# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is set over weights, and the name that remembers it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import Definition
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from ansible_collections.llmops.ollama.plugins.module_utils.model_recipe import Overlay, Record, same_digest
from hypothesis import given
from hypothesis import strategies as st

DIGEST = "0123456789abcdef" * 4
HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
OVERLAYS = st.builds(
    Overlay,
    st.dictionaries(
        st.sampled_from(["num_ctx", "seed", "stop"]), st.one_of(st.integers(0, 9), st.lists(st.text(), min_size=1))
    ),
    st.none() | st.text(min_size=1),
    st.none() | st.text(min_size=1),
)


def test_a_definitions_own_parameters_come_first() -> None:
    definition = Definition.parse({"name": "m", "parameters": {"num_ctx": 2048}, "system": "Be brief."})
    overlay = Overlay.of(definition, {"num_ctx": 1, "num_thread": 2})
    assert overlay == Overlay({"num_ctx": 2048, "num_thread": 2}, "Be brief.")
    assert overlay.request() == {"parameters": {"num_ctx": 2048, "num_thread": 2}, "system": "Be brief."}
    assert str(overlay) == 'num_ctx=2048 num_thread=2 system="Be brief."'
    assert not Overlay.of(Definition.parse("m"), {})


def test_a_long_text_is_cut_for_a_person() -> None:
    assert len(str(Overlay(template="x" * 500))) < 90


@given(overlay=OVERLAYS, base=HEX, file=st.just("") | HEX)
def test_a_record_fits_into_a_name_and_is_read_from_it(overlay: Overlay, base: str, file: str) -> None:
    record = Record.make(overlay, "gemma3:270m", base, file)
    name = ModelName.parse(str(record.name))  # the server would refuse another one
    assert name == record.name
    assert Record.of_parent(str(name)) == record
    assert record.is_of(base)


@given(one=OVERLAYS, other=OVERLAYS)
def test_another_definition_has_another_record(one: Overlay, other: Overlay) -> None:
    assert (Record.make(one, "m", DIGEST) == Record.make(other, "m", DIGEST)) == (one == other)
    assert Record.make(one, "m", DIGEST) != Record.make(one, "n", DIGEST)


@pytest.mark.parametrize(
    "parent",
    ["", "gemma3:270m", "llmops/definition:latest", "llmops/definition:0123-4567", "other/definition:" + "0" * 57],
)
def test_other_parents_hold_no_record(parent: str) -> None:
    assert Record.of_parent(parent) is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (DIGEST, DIGEST, True),
        (DIGEST[:40], DIGEST, True),
        (DIGEST, DIGEST[:40], True),
        (DIGEST[:12], DIGEST, False),  # too little to tell
        ("", DIGEST, False),
        ("", "", False),
        ("f" * 40, DIGEST, False),
    ],
)
def test_digests_and_their_beginnings(one: Any, other: Any, same: bool) -> None:
    assert same_digest(one, other) is same
