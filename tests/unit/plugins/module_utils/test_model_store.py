# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The model store on the disk: room in it, and what broken pulls left behind."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.errors import NoSpace
from ansible_collections.llmops.ollama.plugins.module_utils.model_store import (
    DOWNLOADS,
    STALE,
    check_space,
    damaged,
    free_bytes,
    leftovers,
    missing_bytes,
)

Usage = namedtuple("Usage", "total used free")
BIG, SMALL = "sha256:" + "b" * 64, "sha256:" + "5" * 64


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A file system with 1 000 000 bytes free; the list tells which directories were measured."""
    measured: list[Path] = []

    def usage(path: Path) -> Usage:
        measured.append(path)
        return Usage(5_000_000, 4_000_000, 1_000_000)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    return measured


def test_enough_space(disk: list[Path], tmp_path: Path) -> None:
    check_space(str(tmp_path), {BIG: 1_000_000})
    check_space(str(tmp_path), {})
    assert disk == [tmp_path] * 2


def test_too_little_space(disk: list[Path], tmp_path: Path) -> None:
    with pytest.raises(NoSpace, match=r"The models need 1\.0 MB more in .*, but only 1\.0 MB are free") as caught:
        check_space(str(tmp_path), {BIG: 1_000_000, SMALL: 500})
    assert caught.value.details == {"needed": 1_000_500, "free": 1_000_000, "models_path": str(tmp_path)}
    with pytest.raises(NoSpace):
        check_space(str(tmp_path), {BIG: 1_000_000}, beside=1)


def partial(store: Path, digest: str, size: int, suffix: str = "-partial") -> Path:
    path = store / "blobs" / (digest.replace(":", "-") + suffix)
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as stream:
        stream.write(b"x" * size)
        os.fsync(stream.fileno())
    return path


def test_what_an_interrupted_pull_left_is_not_needed_again(disk: list[Path], tmp_path: Path) -> None:
    with partial(tmp_path, BIG, 0).open("wb") as stream:
        stream.truncate(1_000_000)
    with pytest.raises(NoSpace):  # only holes
        check_space(str(tmp_path), {BIG: 1_000_000, SMALL: 500})
    partial(tmp_path, BIG, 100_000)
    check_space(str(tmp_path), {BIG: 1_000_000, SMALL: 500})
    assert missing_bytes(str(tmp_path), BIG, 1_000_000) <= 900_000


def test_what_is_in_the_store_needs_no_room(tmp_path: Path) -> None:
    assert missing_bytes(str(tmp_path), BIG, 1000) == 1000
    assert missing_bytes("/" + "x" * 300, BIG, 1000) == 1000  # no file system has such names: an error, not an absence
    partial(tmp_path, BIG, 10, "")
    assert missing_bytes(str(tmp_path), BIG, 1000) == 0


def test_a_store_that_does_not_exist_yet(disk: list[Path], tmp_path: Path) -> None:
    assert free_bytes(str(tmp_path / "not" / "yet")) == 1_000_000
    assert disk == [tmp_path]
    assert leftovers(str(tmp_path / "not" / "yet"), []) == []


def test_a_blob_that_is_not_what_its_name_says(tmp_path: Path) -> None:
    right = "sha256:" + hashlib.sha256(b"right").hexdigest()
    blob = tmp_path / "blobs" / right.replace(":", "-")
    blob.parent.mkdir()
    assert damaged(str(tmp_path), right) is None  # there is none
    blob.write_bytes(b"right")
    assert damaged(str(tmp_path), right) is None
    blob.write_bytes(b"wrong!")
    found = damaged(str(tmp_path), right)
    assert found
    assert (found.digest, found.paths, found.size) == (right, (blob,), 6)
    # What a model refers to was checked when that came, and is not read at each run.
    manifest = tmp_path / "manifests/registry.ollama.ai/library/m/latest"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(f'{{"layers": [{{"digest": "{right}"}}]}}', encoding="utf-8")
    assert damaged(str(tmp_path), right) is None


def test_only_old_partial_files_of_others_are_left_over(tmp_path: Path) -> None:
    old = [partial(tmp_path, BIG, 5000), partial(tmp_path, BIG, 10, "-partial-0")]
    wanted = partial(tmp_path, SMALL, 5000)
    (tmp_path / DOWNLOADS).mkdir()
    download = tmp_path / DOWNLOADS / ("sha256-" + "d" * 64 + ".part")
    download.write_bytes(b"x" * 10)
    blob = partial(tmp_path, "sha256:" + "c" * 64, 5000, "")
    now = blob.stat().st_mtime
    later = now + STALE + 10
    assert leftovers(str(tmp_path), [], now) == []
    found = leftovers(str(tmp_path), [SMALL], later)
    assert [sorted(each.paths) for each in found] == [sorted(old), [download]]
    assert found[0].size >= 5000
    os.utime(old[1], (later, later))  # one file of the transfer is still being written
    assert [each.paths for each in leftovers(str(tmp_path), [SMALL], later)] == [(download,)]
    for each in found:
        each.remove()
    assert [path.exists() for path in (*old, download, wanted, blob)] == [False, False, False, True, True]
