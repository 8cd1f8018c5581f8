# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""GGUF files that models are made of: whole ones, others, and how a changed one is noticed."""

from __future__ import annotations

import os
from pathlib import Path

import gguf_bytes
import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.errors import (
    ChecksumMismatch,
    InvalidInput,
    NotFound,
    OllamaError,
    UnexpectedAnswer,
    Unreachable,
)
from ansible_collections.llmops.ollama.plugins.module_utils.gguf_file import fingerprint, inspect
from ansible_collections.llmops.ollama.plugins.module_utils.gguf_reader import read_header
from ansible_collections.llmops.ollama.plugins.module_utils.remote_file import header_at
from fake_http import sha256
from fake_mirror import FakeMirror, Fault

# 1280000 bytes of embeddings, as F16.
HEAD = gguf_bytes.header(
    {"general.architecture": "llama", "general.file_type": 1}, [("token_embd.weight", (64, 10000), 1)]
)
HEAD += b"\0" * (-len(HEAD) % 32)
CONTENT = HEAD + b"w" * 1_280_000

NO_WEIGHTS = "has no weights, at most a vocabulary."


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "m.gguf"
    path.write_bytes(CONTENT)
    return path


def test_a_whole_file(path: Path) -> None:
    said: list[str] = []
    file = inspect(str(path), report=said.append)
    assert (file.origin, file.sha256, file.size) == (str(path), sha256(CONTENT), len(CONTENT))
    assert file.fingerprint == fingerprint(str(path))
    assert file.header is not None
    assert (file.header.quantization, file.header.architecture, file.header.parameter_size) == ("F16", "llama", "0.64M")
    assert said[-1].startswith("reading m.gguf: 100 % of 1.3 MB")
    assert inspect(str(path), sha256(CONTENT)).fingerprint == ""  # its digest says it all


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"", InvalidInput, "is truncated: it ends after 0 bytes"),
        (b"<html>", InvalidInput, "is not a GGUF file: it starts with b'<htm'. Give a GGUF file."),
        (HEAD[:50], InvalidInput, "is truncated"),
        (
            CONTENT[:-7],
            InvalidInput,
            f"it has {len(CONTENT) - 7} bytes, and 7 more belong to it. Fetch the file again.",
        ),
        (
            gguf_bytes.header({"general.architecture": "llama"}),
            InvalidInput,
            f"{NO_WEIGHTS} Give the file of a language",
        ),
        (gguf_bytes.header({"general.architecture": "llama"}, [("t", (0, 64), 1)]), InvalidInput, NO_WEIGHTS),
        (CONTENT + b"\0", ChecksumMismatch, f"but {sha256(CONTENT)} is declared."),
        (CONTENT[:-1] + b"x", ChecksumMismatch, "or correct sha256 in the model's definition"),
    ],
)
def test_what_is_not_the_declared_file(path: Path, content: bytes, error: type[OllamaError], words: str) -> None:
    path.write_bytes(content)
    with pytest.raises(error) as refused:
        inspect(str(path), sha256(CONTENT))
    assert str(path) in str(refused.value)
    assert words in str(refused.value)


@pytest.mark.parametrize(("name", "words"), [("none.gguf", "No such file"), (".", "Is a directory")])
def test_what_cannot_be_read(tmp_path: Path, name: str, words: str) -> None:
    for look in (inspect, fingerprint):
        with pytest.raises(InvalidInput, match=words) as refused:
            look(str(tmp_path / name))
        assert "Give the path of a " in str(refused.value)


def test_a_fingerprint_follows_the_content_and_its_time(path: Path) -> None:
    first = fingerprint(str(path))
    assert first == fingerprint(str(path))
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    touched = fingerprint(str(path))
    path.write_bytes(CONTENT[: len(CONTENT) // 2] + b"X" + CONTENT[len(CONTENT) // 2 + 1 :])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as some tools do
    changed = fingerprint(str(path))
    path.write_bytes(CONTENT + b"\0")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert len({first, touched, changed, fingerprint(str(path))}) == 4


# Files elsewhere

HREF = "/files/m.gguf"


def test_the_head_of_a_file_elsewhere(fake_mirror: FakeMirror) -> None:
    fake_mirror.files[HREF] = CONTENT
    header, size = header_at(fake_mirror.url + HREF, 5.0)
    assert (header, size) == (read_header(CONTENT), len(CONTENT))
    assert fake_mirror.sent < len(CONTENT)
    fake_mirror.faults[HREF] = [Fault(ranges=False)]
    assert header_at(fake_mirror.url + HREF, 5.0) == (header, size)
    fake_mirror.faults[HREF] = [Fault(ranges=False, measured=False)]
    assert header_at(fake_mirror.url + HREF, 5.0) == (header, 0)


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (Fault(404, b""), NotFound, "answered 404"),
        (Fault(401, b""), UnexpectedAnswer, "answered 401"),
        (Fault(500, b""), UnexpectedAnswer, "answered 500"),
        (Fault(200, b"<html>Log in</html>"), InvalidInput, "is not a GGUF file: it starts with b'<htm'"),
        (Fault(200, HEAD[:40]), InvalidInput, "is truncated"),
    ],
)
def test_what_is_no_file_elsewhere(fake_mirror: FakeMirror, fault: Fault, error: type[OllamaError], words: str) -> None:
    fake_mirror.faults[HREF] = [fault] * 3
    with pytest.raises(error) as refused:
        header_at(fake_mirror.url + HREF, 5.0)
    assert f"{fake_mirror.url}{HREF}" in str(refused.value)
    assert words in str(refused.value)


def test_an_address_where_nobody_is(closed_port: int) -> None:
    with pytest.raises(Unreachable, match="Connection refused"):
        header_at(f"http://127.0.0.1:{closed_port}/m.gguf", 5.0)
