# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A GGUF file on the host that a model is made of: what it is, and whether it is whole, before anything is uploaded."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.llmops.ollama.plugins.module_utils.errors import (
    ChecksumMismatch,
    InvalidInput,
    from_os_error,
)
from ansible_collections.llmops.ollama.plugins.module_utils.gguf import Header
from ansible_collections.llmops.ollama.plugins.module_utils.gguf_reader import read_header
from ansible_collections.llmops.ollama.plugins.module_utils.progress import Report, Transfer

CHUNK_BYTES = 1 << 20
# A fingerprint reads so many pieces of a file, evenly spread, of so many bytes each.
PIECES, PIECE_BYTES = 64, 16384

_REMEDY = "Give the path of a GGUF file that the task's user can read on the host."


@dataclass(frozen=True)
class GgufFile:
    """``origin`` is a path on the host or an address, ``sha256`` its digest (64 hex digits), ``size`` in bytes.

    ``fingerprint`` stands in for the digest of a file that is not declared with one, so that it is hashed only once.
    ``header`` is None for a file that is not on the host yet.
    """

    origin: str
    sha256: str
    size: int
    fingerprint: str = ""
    header: Header | None = None

    @property
    def is_download(self) -> bool:
        return "://" in self.origin


def fingerprint(path: str) -> str:
    """Changes when the file does: of its size, the time of its last change and samples of its content. 64 hex digits.

    Raises ``InvalidInput`` for a file that cannot be read.
    """
    try:
        with open(path, "rb") as stream:  # noqa: PTH123  # its errors name the path
            status = os.fstat(stream.fileno())
            digest = hashlib.sha256(f"{status.st_size} {status.st_mtime_ns}".encode())
            for piece in range(PIECES):
                stream.seek(status.st_size * piece // PIECES)
                digest.update(stream.read(PIECE_BYTES))
            stream.seek(max(0, status.st_size - PIECE_BYTES))
            digest.update(stream.read(PIECE_BYTES))
    except OSError as error:
        raise from_os_error(error, path, _REMEDY) from error
    return digest.hexdigest()


def inspect(path: str, sha256: str = "", report: Report = lambda text: None, origin: str = "") -> GgufFile:
    """The file at ``path``, read in whole. ``sha256`` is what it must have; ``origin`` names it if not its path.

    Raises ``InvalidInput`` for what is no whole GGUF file, ``ChecksumMismatch`` for another one than declared.
    """
    name = origin or path
    header = read_header(path, name)
    size = Path(path).stat().st_size
    check_whole(header, size, name)
    digest, done = hashlib.sha256(), 0
    progress = Transfer(f"reading {name.rpartition('/')[2]}", size)
    for chunk in chunks(path):
        digest.update(chunk)
        done += len(chunk)
        report(progress.text(done))
    check_digest(digest.hexdigest(), sha256, name)
    return GgufFile(name, digest.hexdigest(), size, "" if sha256 else fingerprint(path), header)


def chunks(path: str) -> Iterator[bytes]:
    """The bytes of a file. Raises ``InvalidInput`` where it cannot be read."""
    try:
        with open(path, "rb") as stream:  # noqa: PTH123  # its errors name the path
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk
    except OSError as error:
        raise from_os_error(error, path, _REMEDY) from error


def check_whole(header: Header, size: int, name: str) -> None:
    """Raise ``InvalidInput`` for a file without weights, and where one of ``size`` bytes lacks some of them."""
    if not header.parameters:
        raise InvalidInput(f"{name} has no weights, at most a vocabulary.", "Give the file of a language model.")
    missing = header.file_bytes - size
    if missing > 0:
        raise InvalidInput(
            f"{name} is truncated: it has {size} bytes, and {missing} more belong to it.",
            "Fetch the file again.",
            missing=missing,
        )


def check_digest(has: str, wanted: str, name: str) -> None:
    """Raise ``ChecksumMismatch`` where a wanted digest is not the one that a file has."""
    if wanted and has != wanted:
        raise ChecksumMismatch(
            f"{name} has the SHA-256 {has}, but {wanted} is declared.",
            "Fetch the file again, or correct sha256 in the model's definition if this is the right file.",
            sha256=has,
            wanted=wanted,
        )
