# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A mirror as one .tar file, not compressed, since its content is: a bundle that is easy to carry."""

from __future__ import annotations

import hashlib
import os
import tarfile
from pathlib import Path
from typing import BinaryIO, Callable

from ansible_collections.llmops.ollama.plugins.module_utils.download import checked
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.mirror.layout import LIST, Layout
from ansible_collections.llmops.ollama.plugins.module_utils.mirror.origin import Tar
from ansible_collections.llmops.ollama.plugins.module_utils.progress import Report, Transfer


def is_current(path: Path, layout: Layout) -> bool:
    """Whether the archive is there and has the mirror's files as the mirror's list has them now."""
    listed = layout.read(LIST)
    if listed is None or not path.is_file():
        return False
    try:
        archive = Tar(path)
    except InvalidInput:
        return False
    sizes = {name: layout.at(name).stat().st_size for name in layout.listed() if layout.at(name).is_file()}
    return archive.content(LIST) == listed and all(archive.size(name) == size for name, size in sizes.items())


def pack(path: Path, layout: Layout, report: Report) -> None:
    """Write all files of the mirror's list into an archive, which gets its name when it is complete.

    Raises ``ChecksumMismatch`` for a file that is no longer as it came.
    """
    listed = layout.listed()
    names = [LIST, *sorted(listed)]
    progress = Transfer(f"packing {path.name}", sum(layout.at(name).stat().st_size for name in names))
    partial = path.with_name(f".{path.name}.partial")
    done = 0

    def moved(count: int) -> None:
        nonlocal done
        done += count
        report(progress.text(done))

    try:
        with partial.open("wb") as target:
            with tarfile.open(fileobj=target, mode="w", format=tarfile.GNU_FORMAT) as archive:
                for name in names:
                    with layout.at(name).open("rb") as stream:
                        entry = tarfile.TarInfo(name)
                        there = os.fstat(stream.fileno())
                        entry.size, entry.mtime, entry.mode = there.st_size, int(there.st_mtime), 0o644
                        watched = _Watched(stream, moved)
                        archive.addfile(entry, watched)
                    if name in listed:
                        checked(str(layout.at(name)), listed[name], watched.digest.hexdigest())
            target.flush()
            os.fsync(target.fileno())
        partial.chmod(0o644)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


class _Watched:
    """A file whose bytes are counted and hashed as they are read."""

    def __init__(self, stream: BinaryIO, moved: Callable[[int], None]) -> None:
        self._stream, self._moved = stream, moved
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.digest.update(data)
        self._moved(len(data))
        return data
