# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What weights take once they are laid out for a processor."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.engine import Engine
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import FEATURES
from ansible_collections.llmops.ollama.plugins.module_utils.memory_model import MIB, Load, predict_model
from ansible_collections.llmops.ollama.plugins.module_utils.packing import LAYOUTS, UNPACKED, Packing
from shapes import GEMMA, LLAMA_8B

AMX = Packing.of(("avx2", "avx512", "amx"))


def test_every_layout_is_for_a_feature_that_hosts_have() -> None:
    assert set(LAYOUTS) == set(FEATURES)


def test_tied_embeddings_are_there_twice_on_a_processor_with_amx() -> None:
    # Logged by llama-server on such a processor, as buffers named AMX and CPU.
    assert GEMMA.embedding_type == "Q8_0"
    logged = 213.91 + 211.79
    assert (GEMMA.weight_bytes + AMX.extra_bytes(GEMMA)) / MIB == pytest.approx(logged, rel=0.001)


@pytest.mark.parametrize("features", [(), ("avx2",), ("avx2", "avx512")])
def test_other_processors_leave_that_type_alone(features: tuple[str, ...]) -> None:
    assert Packing.of(features).extra_bytes(GEMMA) == 0


def test_arm_lays_it_out_in_the_same_size() -> None:
    assert Packing.of(("dotprod",)).extra_bytes(GEMMA) == GEMMA.embedding_bytes


def test_an_output_of_its_own_is_there_once() -> None:
    untied = replace(LLAMA_8B, embedding_type="Q4_K", matrices={"Q4_K": 144 * 1000, "Q6_K": 210 * 1000, "F32": 400})
    assert AMX.extra_bytes(untied) == 4 * 1000


def test_rows_that_do_not_come_in_eights_are_left_alone() -> None:
    assert AMX.extra_bytes(replace(GEMMA, vocabulary=50257, matrices={})) == 0


@pytest.mark.parametrize(("version", "more"), [("0.34.0", AMX.extra_bytes(GEMMA)), ("0.24.0", 0)])
def test_only_llama_server_is_known_to_do_so(version: str, more: int) -> None:
    engine = Engine.parse(version)
    plain, packed = (predict_model(Load(GEMMA, packing=each), engine) for each in (UNPACKED, AMX))
    assert packed.weights - plain.weights == more
