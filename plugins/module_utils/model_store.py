# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The directory that a server keeps its models in: room for what is to come, and what broken pulls left behind."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.llmops.ollama.plugins.module_utils.errors import NoSpace, from_os_error
from ansible_collections.llmops.ollama.plugins.module_utils.words import size_text

# Where files that models are made of arrive, beside the server's own folders.
DOWNLOADS = ".llmops-downloads"
# Seconds after which nobody is writing a partial file any more; the server's own measure when it starts.
STALE = 3600.0
BLOCK = 512  # bytes, of st_blocks
CHUNK = 1 << 20  # bytes that are read at once

_PARTIAL = re.compile(r"(sha256-[0-9a-f]{64})(-partial.*|\.part)")


@dataclass(frozen=True)
class Leftover:
    """Files of one transfer that was never finished; ``size`` is what they take on the disk, in bytes."""

    digest: str
    paths: tuple[Path, ...]
    size: int

    def remove(self) -> None:
        """Raises ``InvalidInput`` where that is not allowed."""
        for path in self.paths:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise from_os_error(error, path, "Use become: true.") from error


def check_space(models_path: str, missing: Mapping[str, int], beside: int = 0) -> None:
    """Raise ``NoSpace`` if the file system of ``models_path`` cannot take the missing blobs, digest to bytes.

    ``beside`` are bytes that are needed only meanwhile. What an interrupted pull already wrote is not counted again.
    """
    needed = beside + sum(size - _written(Path(models_path), digest) for digest, size in missing.items())
    free = free_bytes(models_path)
    if needed > free:
        raise NoSpace(
            f"The models need {size_text(needed)} more in {models_path}, but only {size_text(free)} are free there.",
            "Free some space, move the store to a larger file system (ollama_models_path), or choose smaller models.",
            needed=needed,
            free=free,
            models_path=models_path,
        )


def free_bytes(path: str) -> int:
    """Free space of the file system that a directory, which need not exist yet, is or will be on."""
    existing = next(folder for folder in (Path(path), *Path(path).parents) if os.path.isdir(folder))  # noqa: PTH112  # no errors
    return shutil.disk_usage(existing).free


def missing_bytes(models_path: str, digest: str, size: int) -> int:
    """What of a model of ``size`` bytes is not in the store, where ``digest`` is that of its weights."""
    store = Path(models_path)
    if os.path.exists(store / "blobs" / _file_name(digest)):  # noqa: PTH110  # no errors
        return 0
    return max(0, size - _written(store, digest))


def leftovers(models_path: str, wanted: Collection[str], now: float | None = None) -> list[Leftover]:
    """Partial files that nobody has touched for long, and that are not of the ``wanted`` blobs (``sha256:…``)."""
    kept = {_file_name(digest) for digest in wanted}
    latest = (time.time() if now is None else now) - STALE
    groups: dict[str, list[tuple[Path, os.stat_result]]] = {}
    for digest, path, status in _partials(Path(models_path)):
        if digest not in kept:
            groups.setdefault(digest, []).append((path, status))
    return [
        Leftover(digest, tuple(path for path, _ in files), sum(status.st_blocks * BLOCK for _, status in files))
        for digest, files in sorted(groups.items())
        if all(status.st_mtime < latest for _, status in files)
    ]


def damaged(models_path: str, digest: str) -> Leftover | None:
    """A blob (``sha256:…``) that is not what its name says; None where it is, and where it is some model's already.

    The server checks what a pull brought at the pull's end, and believes what was there at its beginning. A pull that
    broke off between the last byte and the check has left a file that nobody ever looked at.
    """
    store = Path(models_path)
    path = store / "blobs" / _file_name(digest)
    try:
        manifests = (each.read_bytes() for each in (store / "manifests").rglob("*") if each.is_file())
        if any(digest.encode() in manifest for manifest in manifests):
            return None
        found = hashlib.sha256()
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                found.update(chunk)
        return None if found.hexdigest() == digest.partition(":")[2] else Leftover(digest, (path,), path.stat().st_size)
    except OSError:  # not on this host, or not for this user
        return None


def _partials(store: Path) -> Iterator[tuple[str, Path, os.stat_result]]:
    for folder in (store / "blobs", store / DOWNLOADS):
        try:
            entries = list(os.scandir(folder))
        except OSError:  # there is no store yet, or not for this user
            continue
        for entry in entries:
            found = _PARTIAL.fullmatch(entry.name)
            with contextlib.suppress(OSError):  # it has just been finished
                if found:
                    yield found[1], Path(entry.path), entry.stat()


def _file_name(digest: str) -> str:
    return digest.replace(":", "-")


def _written(store: Path, digest: str) -> int:
    """Bytes on disk of a blob that is being pulled: the file has its final length from the start, but with holes."""
    try:
        return (store / "blobs" / f"{_file_name(digest)}-partial").stat().st_blocks * BLOCK
    except OSError:
        return 0
