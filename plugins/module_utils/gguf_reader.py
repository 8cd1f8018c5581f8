# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads the header of a GGUF file without a byte of the weights.

Source: docs/gguf.md of ggml. Versions 2 and 3, little-endian.
"""

from __future__ import annotations

import struct
from math import prod
from pathlib import Path
from typing import Any, Callable, Union

from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput, from_os_error
from ansible_collections.llmops.ollama.plugins.module_utils.gguf import MAX_ELEMENTS, TENSOR_TYPES, Header, Tensor

# read(offset, length): the bytes at that place, fewer only where the file ends.
RangedRead = Callable[[int, int], bytes]
Source = Union[bytes, str, Path, RangedRead]

MAGIC = b"GGUF"
VERSIONS = (2, 3)

# A header is a few MB, nearly all of it the tokenizer's tables. The first read shows small ones whole; doubling keeps
# both the number of requests and the bytes read in vain small.
FIRST_READ = 256 * 1024
LARGEST_READ = 8 * 1024 * 1024

# Bounds far above any real file: what exceeds them is damaged or hostile.
MAX_HEADER = 256 * 1024 * 1024
MAX_KEYS = 1 << 16
MAX_TENSORS = 1 << 17
MAX_TEXT = 4 * 1024 * 1024  # a chat template
MAX_NAME = 1 << 16
MAX_ITEMS = 1 << 23
MAX_DIMENSIONS = 8
# Arrays of numbers up to this length are kept (head counts, window patterns); longer ones are tables of a tokenizer.
KEPT_ITEMS = 1024
# What is kept in all: bytes of texts, and so many of each number in an array. In memory it is several times as much.
MAX_KEPT = 16 * 1024 * 1024
NUMBER_BYTES = 8

# Metadata types by number: format of struct.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING = 8
_ARRAY = 9
_LENGTH = struct.Struct("<Q")


def read_header(source: Source, name: str = "") -> Header:
    """Read a header from bytes, from a path, or through a function for ranged reads (of HTTP, for example).

    ``name`` says in errors what is being read. Raises ``InvalidInput`` where it is not a GGUF file, is of another
    version, ends before the header does, or holds counts that no real file has.
    """
    if isinstance(source, bytes):
        data = source
        return _parse(lambda offset, length: data[offset : offset + length], name or "The data")
    if callable(source):
        return _parse(source, name or "The data")
    try:
        with open(source, "rb") as stream:  # noqa: PTH123  # a path may be a str

            def read(offset: int, length: int) -> bytes:
                stream.seek(offset)
                return stream.read(length)

            return _parse(read, name or str(source))
    except OSError as error:
        raise from_os_error(error, source, "Give the path of a readable GGUF file.") from error


class _Reader:
    """Walks through the bytes of a source; holds no more of them than the last read and what was left of it."""

    def __init__(self, read: RangedRead, name: str) -> None:
        self.name = name
        self._read = read
        self._start = 0  # offset in the source of the first byte held
        self._next_read = FIRST_READ
        self._kept = 0
        self.data = b""
        self.at = 0  # index in data of the next byte

    @property
    def offset(self) -> int:
        return self._start + self.at

    def need(self, length: int) -> None:
        """Have that many bytes at hand behind ``at``."""
        if len(self.data) - self.at >= length:
            return
        if self.offset + length > MAX_HEADER:
            raise self.error(f"its header is longer than {MAX_HEADER >> 20} MiB")
        rest = self.data[self.at :]
        self._start += self.at
        self.at = 0
        self.data = rest + self._read(self._start + len(rest), max(length - len(rest), self._next_read))
        self._next_read = min(2 * self._next_read, LARGEST_READ)
        missing = length - len(self.data)
        if missing > 0:
            end = self._start + len(self.data)
            raise InvalidInput(
                f"{self.name} is truncated: it ends after {end} bytes, its header at least {missing} bytes later.",
                "Fetch the file again.",
                missing=missing,
            )

    def error(self, what: str) -> InvalidInput:
        return InvalidInput(
            f"{self.name} is not a usable GGUF file: {what} (at byte {self.offset}).", "Fetch the file again."
        )

    def scalar(self, code: str) -> Any:
        return self.scalars(code, 1)[0]

    def scalars(self, code: str, count: int) -> tuple[Any, ...]:
        form = f"<{count}{code}"
        size = struct.calcsize(form)
        self.need(size)
        values = struct.unpack_from(form, self.data, self.at)
        self.at += size
        return values

    def count(self, what: str, limit: int, code: str = "Q") -> int:
        value = int(self.scalar(code))
        if value > limit:
            raise self.error(f"it claims {value} {what}, more than the {limit} that are believed")
        return value

    def keep(self, length: int) -> None:
        """Count what the header will hold on to."""
        self._kept += length
        if self._kept > MAX_KEPT:
            raise self.error(f"its texts and lists take more than {MAX_KEPT >> 20} MiB")

    def text(self, limit: int) -> str:
        length = self.count("bytes of text", limit)
        self.keep(length)
        self.need(length)
        value = self.data[self.at : self.at + length].decode("utf-8", "replace")
        self.at += length
        return value

    def skip(self, length: int) -> None:
        while length > 0:
            step = min(length, LARGEST_READ)
            self.need(step)
            self.at += step
            length -= step

    def skip_texts(self, count: int) -> None:
        """Pass over an array of strings: the one loop whose speed matters, 262144 turns for one common tokenizer."""
        unpack = _LENGTH.unpack_from
        while count:
            data, at = self.data, self.at
            last = len(data) - _LENGTH.size
            while count and at <= last:
                behind = at + _LENGTH.size + unpack(data, at)[0]
                if behind > len(data):
                    break
                at = behind
                count -= 1
            self.at = at
            if count:
                self.need(_LENGTH.size)
                length = unpack(self.data, self.at)[0]
                if length > MAX_TEXT:
                    raise self.error(f"it claims {length} bytes of text, more than the {MAX_TEXT} that are believed")
                self.need(_LENGTH.size + length)


def _parse(read: RangedRead, name: str) -> Header:
    reader = _Reader(read, name)
    reader.need(len(MAGIC))
    if not reader.data.startswith(MAGIC):
        raise InvalidInput(f"{name} is not a GGUF file: it starts with {reader.data[:4]!r}.", "Give a GGUF file.")
    reader.at = len(MAGIC)
    version = int(reader.scalar("I"))
    if version not in VERSIONS:
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
        what = f"big-endian, version {swapped}" if swapped in VERSIONS else f"of version {version}"
        raise InvalidInput(
            f"{name} is a GGUF file {what}.", "Convert it to little-endian GGUF of version 2 or 3.", version=version
        )
    tensor_count = reader.count("tensors", MAX_TENSORS)
    key_count = reader.count("keys", MAX_KEYS)
    metadata: dict[str, Any] = {}
    lengths: dict[str, int] = {}
    for _key in range(key_count):
        key = reader.text(MAX_NAME)
        kind = int(reader.scalar("I"))
        if kind == _ARRAY:
            length, kept = _array(reader)
            lengths[key] = length
            if kept is not None:
                metadata[key] = kept
        else:
            metadata[key] = _value(reader, kind)
    parts = metadata.get("split.count")
    if isinstance(parts, int) and parts > 1:
        raise InvalidInput(
            f"{name} is one of {parts} parts of a model.",
            "Join them to one file: llama-gguf-split --merge FIRST_PART NEW_FILE.",
        )
    tensors = tuple(_tensor(reader) for _tensor_number in range(tensor_count))
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1:
        raise reader.error(f"its alignment is {alignment!r}")
    return Header(version, metadata, tensors, lengths, -(-reader.offset // alignment) * alignment)


def _value(reader: _Reader, kind: int) -> Any:
    if kind == _STRING:
        return reader.text(MAX_TEXT)
    if kind not in _SCALARS:
        raise reader.error(f"it has a value of type {kind}, which does not exist")
    return reader.scalar(_SCALARS[kind])


def _array(reader: _Reader) -> tuple[int, tuple[Any, ...] | None]:
    """Length of an array and, where it is short and of numbers, its items."""
    kind = int(reader.scalar("I"))
    length = reader.count("items of an array", MAX_ITEMS)
    if kind == _STRING:
        reader.skip_texts(length)
        return length, None
    if kind not in _SCALARS:
        raise reader.error(f"it has an array of type {kind}, which no model uses")
    if length > KEPT_ITEMS:
        reader.skip(length * struct.calcsize("<" + _SCALARS[kind]))
        return length, None
    reader.keep(NUMBER_BYTES * length)
    return length, reader.scalars(_SCALARS[kind], length)


def _tensor(reader: _Reader) -> Tensor:
    name = reader.text(MAX_NAME)
    dimensions = reader.count("dimensions of a tensor", MAX_DIMENSIONS, "I")
    shape = reader.scalars("Q", dimensions)
    if prod(shape) > MAX_ELEMENTS:
        raise reader.error(f"tensor {name!r} has {' x '.join(map(str, shape))} elements, more than are believed")
    kind = int(reader.scalar("I"))
    if kind not in TENSOR_TYPES:
        raise InvalidInput(
            f"{reader.name} has a tensor {name!r} of type {kind}, which is not known here.",
            "If this is a new type, update the collection; else fetch the file again.",
            type=kind,
        )
    return Tensor(name, tuple(int(size) for size in shape), TENSOR_TYPES[kind][0], int(reader.scalar("Q")))
