# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reading headers: what is in them, and what is no header at all."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils import gguf_reader
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.gguf import Tensor, tensor_bytes
from ansible_collections.llmops.ollama.plugins.module_utils.gguf_reader import FIRST_READ, KEPT_ITEMS, read_header
from gguf_bytes import header, text
from hypothesis import given
from hypothesis import strategies as st

METADATA: dict[str, Any] = {
    "general.architecture": "gemma3",
    "gemma3.block_count": 18,
    "gemma3.rope.freq_base": 1000000.0,
    "tokenizer.ggml.add_bos_token": True,
    "gemma3.attention.head_count_kv": [1, 2, 0],
    "general.tags": ["a", "ü"],
    "tokenizer.ggml.tokens": [f"token{number}" for number in range(KEPT_ITEMS + 1)],
    "tokenizer.ggml.scores": [0.0] * (KEPT_ITEMS + 2),
}
TENSORS = [("token_embd.weight", (640, 262144), 8), ("output_norm.weight", (640,), 0)]
DATA = header(METADATA, TENSORS)


def test_keeps_values_and_short_arrays_and_counts_long_ones() -> None:
    found = read_header(DATA)
    assert found.version == 3
    assert found.metadata == {
        "general.architecture": "gemma3",
        "gemma3.block_count": 18,
        "gemma3.rope.freq_base": 1000000.0,
        "tokenizer.ggml.add_bos_token": True,
        "gemma3.attention.head_count_kv": (1, 2, 0),
    }
    assert found.lengths["general.tags"] == 2
    assert found.lengths["tokenizer.ggml.tokens"] == 1025
    assert found.lengths["tokenizer.ggml.scores"] == 1026
    assert found.tensors[0] == Tensor("token_embd.weight", (640, 262144), "Q8_0", 0)
    assert [tensor.bytes for tensor in found.tensors] == [178257920, 2560]
    assert found.data_offset % 32 == 0
    assert 0 <= found.data_offset - len(DATA) < 32


@pytest.mark.parametrize(
    ("shape", "kind", "expected"),
    [
        ((640, 256), "F32", 655360),
        ((640, 256), "f16", 327680),
        ((640, 1024), "Q5_0", 450560),
        ((1024, 640), "Q4_K", 368640),
        ((2048, 640), "Q6_K", 1075200),
        ((640, 256), "Q8_0", 174080),
    ],
)
def test_bytes_of_a_real_files_tensors(shape: tuple[int, ...], kind: str, expected: int) -> None:
    assert tensor_bytes(shape, kind) == expected


def test_reads_a_path_and_ranges_alike(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(DATA + b"weights" * 1000)
    assert read_header(path) == read_header(str(path)) == read_header(DATA)
    assert read_header(lambda offset, length: DATA[offset : offset + length]) == read_header(DATA)


def test_ranged_reads_grow_and_never_reach_far_into_the_weights() -> None:
    tokens = [f"{number:06}" for number in range(60000)]
    data = header({"general.architecture": "llama", "tokenizer.ggml.tokens": tokens}, TENSORS)
    asked: list[tuple[int, int]] = []

    def read(offset: int, length: int) -> bytes:
        asked.append((offset, length))
        return (data[offset:] + bytes(length))[:length]

    assert read_header(read).lengths == {"tokenizer.ggml.tokens": 60000}
    assert len(data) > 3 * FIRST_READ
    assert [length for _offset, length in asked] == [FIRST_READ, 2 * FIRST_READ, 4 * FIRST_READ]
    assert [offset for offset, _length in asked] == [0, FIRST_READ, 3 * FIRST_READ]


@given(st.integers(min_value=0, max_value=len(DATA) - 1))
def test_every_cut_is_noticed(length: int) -> None:
    with pytest.raises(InvalidInput, match="truncated") as caught:
        read_header(DATA[:length], "model.gguf")
    assert f"it ends after {length} bytes" in str(caught.value)
    assert caught.value.details["missing"] >= 1


def prefix(tensors: int, keys: int, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<html><body>Not found", "not a GGUF file"),
        (b"PK\x03\x04" + bytes(50), "not a GGUF file"),
        (prefix(0, 0, version=1), "of version 1"),
        (prefix(0, 0, version=9), "of version 9"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian, version 3"),
        (prefix(1 << 60, 0), "claims 1152921504606846976 tensors"),
        (prefix(0, 1 << 40), "claims 1099511627776 keys"),
        (prefix(0, 1) + struct.pack("<Q", 1 << 50), "bytes of text"),
        (prefix(0, 1) + text("key") + struct.pack("<I", 77), "type 77"),
        (prefix(0, 1) + text("key") + struct.pack("<IIQ", 9, 4, 1 << 62), "items of an array"),
        (prefix(0, 1) + text("key") + struct.pack("<IIQ", 9, 9, 1), "array of type 9"),
        (prefix(0, 1) + text("key") + struct.pack("<IIQQ", 9, 8, 5000, 1 << 63), "bytes of text"),
        (prefix(1, 0) + text("t") + struct.pack("<I", 1000), "dimensions"),
        (prefix(1, 0) + text("t") + struct.pack("<IQIQ", 1, 8, 99, 0), "type 99"),
        (
            prefix(1, 0) + text("t") + struct.pack("<IQQIQ", 2, 1 << 60, 1 << 60, 0, 0),
            "elements, more than are believed",
        ),
        (header({"general.architecture": "llama", "general.alignment": 0}), "alignment is 0"),
        (
            header({"general.architecture": "llama", "split.count": 3, "split.no": 0}),
            r"is one of 3 parts of a model\. Join them to one file",
        ),
        (
            header({"general.architecture": "llama"}, [("t", (32, 2), 99)]),
            "of type 99, which is not known here",
        ),
    ],
)
def test_refuses_what_no_model_file_holds(data: bytes, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        read_header(data, "model.gguf")


def test_a_hostile_length_costs_no_memory() -> None:
    data = prefix(0, 1) + text("key") + struct.pack("<IIQ", 9, 6, 1 << 22)
    tracemalloc.start()
    with pytest.raises(InvalidInput, match="truncated"):
        read_header(data)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


ASTRAL = "\U0001f600" + "a" * ((1 << 22) - 4)  # 4 MiB, of which Python keeps 4 bytes for each character


@pytest.mark.parametrize(
    "keys",
    [
        [text("a") + struct.pack("<IIQ", 9, 8, 20) + text(ASTRAL) * 20],
        [text(f"{number}") + struct.pack("<I", 8) + text(ASTRAL) for number in range(20)],
        [text(f"{number}") + struct.pack("<IIQ", 9, 2, 1024) + b"\xff" * 2048 for number in range(6000)],
        [text(f"{number}{ASTRAL[:65000]}") + struct.pack("<IB", 0, 0) for number in range(800)],
    ],
    ids=["texts of one array", "texts", "numbers", "keys"],
)
def test_what_is_kept_of_a_header_is_bounded(keys: list[bytes]) -> None:
    data = prefix(0, len(keys)) + b"".join(keys)
    tracemalloc.start()
    with contextlib.suppress(InvalidInput):
        read_header(lambda offset, length: data[offset : offset + length])
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 128 << 20


def test_a_header_of_too_many_texts_is_refused() -> None:
    data = prefix(0, 5) + b"".join(text(f"{number}") + struct.pack("<I", 8) + text(ASTRAL) for number in range(5))
    with pytest.raises(InvalidInput, match="its texts and lists take more than 16 MiB"):
        read_header(data)


def test_an_endless_source_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_reader, "MAX_HEADER", 1 << 20)
    start = prefix(0, 1) + text("key") + struct.pack("<IIQ", 9, 0, 1 << 22)
    with pytest.raises(InvalidInput, match="longer than 1 MiB"):
        read_header(lambda offset, length: (start + bytes(length))[offset:][:length] if not offset else bytes(length))


def test_names_a_path_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"missing\.gguf"):
        read_header(tmp_path / "missing.gguf")
