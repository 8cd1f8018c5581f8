# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Folders that a run makes, and holds against another run."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.llmops.ollama.plugins.module_utils.errors import OllamaError


def make_folder(path: Path) -> None:
    """Make a folder that everybody may look into, whatever the umask is; it belongs to the owner of its parent."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir()
        path.chmod(0o755)
        own_like(path, path.parent)


def own_like(path: Path, other: Path) -> None:
    """Give a path to the owner of another one, where we may: in a server's own folder its user must go on."""
    if os.geteuid() == 0:
        there = other.stat()
        os.chown(path, there.st_uid, there.st_gid)


@contextlib.contextmanager
def exclusively(folder: Path, doing: str) -> Iterator[None]:
    """Hold a folder, which is made where it is missing; ``doing`` is what another run, which holds it, must be at."""
    make_folder(folder)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OllamaError(f"Another run is {doing} {folder}.", "Wait for it, then run again.") from None
        yield
    finally:
        os.close(descriptor)
