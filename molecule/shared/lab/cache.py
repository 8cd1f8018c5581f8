# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is built once a machine: shared by all checkouts, made by one at a time, never half there.

An entry is a folder. It is built beside its place and renamed into it, so that an interrupted build leaves nothing that
looks finished.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from .steps import Steps

# Part of every path: raise it when something is built differently under the same name.
RECIPES = "1"


def root(env: Mapping[str, str] = os.environ) -> Path:
    """The folder that all checkouts of this user share."""
    chosen = env.get("LLMOPS_CACHE")
    if chosen:
        return Path(chosen).absolute()
    base = env.get("XDG_CACHE_HOME") or Path(env.get("HOME", "~")).expanduser() / ".cache"
    return Path(base).absolute() / "llmops-ollama"


class Cache:
    """Entries by name under one folder."""

    def __init__(self, steps: Steps, folder: Path | None = None) -> None:
        self._steps = steps
        self.folder = (folder or root()) / RECIPES

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the lock of that name; waits, and says so, while another process has it."""
        path = self.folder / "locks" / name.replace("/", "-")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with self._steps.step(f"waiting for another process that makes {name}") as step:
                    step.say("")
                    fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def entry(self, name: str, build: Callable[[Path], None]) -> Path:
        """The folder of that name, built by ``build`` (given an empty folder to fill) where it is missing."""
        path = self.folder / name
        if path.is_dir():
            return path
        with self.lock(name):
            if path.is_dir():
                return path
            with self.scratch(path.parent) as scratch:
                draft = scratch / "new"
                draft.mkdir()
                build(draft)
                draft.rename(path)
        return path

    @contextlib.contextmanager
    def scratch(self, parent: Path | None = None) -> Iterator[Path]:
        """A folder on the cache's file system that is gone afterwards."""
        parent = parent or self.folder
        parent.mkdir(parents=True, exist_ok=True)
        path = Path(tempfile.mkdtemp(prefix=".building-", dir=parent))
        path.chmod(0o755)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
