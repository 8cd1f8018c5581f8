# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""GGUF headers for tests, written byte by byte after the format's description."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.gguf_reader import read_header

UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def value(item: Any) -> tuple[int, bytes]:
    """Type number and bytes of a metadata value."""
    if isinstance(item, bool):
        return BOOL, struct.pack("<?", item)
    if isinstance(item, int):
        return UINT32, struct.pack("<I", item)
    if isinstance(item, float):
        return FLOAT32, struct.pack("<f", item)
    if isinstance(item, str):
        return STRING, text(item)
    kinds, parts = zip(*map(value, item))
    return ARRAY, struct.pack("<IQ", kinds[0], len(parts)) + b"".join(parts)


def header(
    metadata: Mapping[str, Any],
    tensors: Iterable[tuple[str, tuple[int, ...], int]] = (),
    version: int = 3,
) -> bytes:
    """A header; ``tensors`` are name, shape and type number."""
    rows = list(tensors)
    parts = [b"GGUF", struct.pack("<IQQ", version, len(rows), len(metadata))]
    for key, item in metadata.items():
        kind, data = value(item)
        parts += [text(key), struct.pack("<I", kind), data]
    for name, shape, kind in rows:
        parts += [text(name), struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, 0)]
    return b"".join(parts)


def whole_file(path: Path, head: bytes) -> Path:
    """A file with this header, as long as it says, of which the weights take no room."""
    path.write_bytes(head)
    os.truncate(path, read_header(head).file_bytes)
    return path
