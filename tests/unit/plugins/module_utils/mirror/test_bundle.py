# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A bundle is carried to a site without network, as a directory or as a tar, whole or not quite."""

from __future__ import annotations

import random
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.download import Downloader
from ansible_collections.llmops.ollama.plugins.module_utils.errors import (
    ChecksumMismatch,
    InvalidInput,
    NoSpace,
    NotFound,
    OllamaError,
)
from ansible_collections.llmops.ollama.plugins.module_utils.mirror.archive import is_current
from ansible_collections.llmops.ollama.plugins.module_utils.mirror.fill import Outcome, fill
from ansible_collections.llmops.ollama.plugins.module_utils.mirror.layout import LIST, Layout
from ansible_collections.llmops.ollama.plugins.module_utils.mirror.origin import Bundle, Upstream
from ansible_collections.llmops.ollama.plugins.module_utils.mirror.plan import Wanted
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from ansible_collections.llmops.ollama.plugins.module_utils.registry import Registry
from fake_http import sha256
from fake_mirror import FakeMirror

WEIGHTS, ARCHIVE = (random.Random(seed).randbytes(300_000) for seed in (1, 2))  # noqa: S311  # not secrets
BLOB = f"models/blobs/sha256-{sha256(WEIGHTS)}"
PACKED = "releases/v0.34.0/ollama-linux-amd64.tgz"
MANIFEST = "models/manifests/registry.ollama.ai/library/m/t"
WANTED = Wanted(releases=("0.34.0",), architectures=("amd64",), models=(ModelName.parse("m:t"),))


def layout_of(root: Path) -> Layout:
    return Layout(root, root / "releases", root / "models")


def silent(text: str) -> None:
    pass


@pytest.fixture
def made(fake_mirror: FakeMirror, tmp_path: Path) -> Path:
    """A directory, and beside it bundle.tar, as the connected side makes them."""
    fake_mirror.publish_release("0.34.0", amd64=ARCHIVE)
    fake_mirror.publish_model("library/m:t", WEIGHTS)
    downloads = Downloader(5, 0)
    origin = Upstream(fake_mirror.releases, fake_mirror.url, downloads, downloads, Registry(5))
    fill(layout_of(tmp_path / "bundle"), origin, WANTED, silent, tmp_path / "bundle.tar")
    return tmp_path / "bundle"


@pytest.fixture(params=["directory", "tar"])
def carried(request: pytest.FixtureRequest, made: Path) -> Path:
    if request.param == "directory":
        made.with_suffix(".tar").unlink()
        return made
    shutil.rmtree(made)
    return made.with_suffix(".tar")


def damage(bundle: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change the content of one file, in a directory or within a tar; its length may only shrink in a directory."""
    if bundle.is_dir():
        (bundle / name).write_bytes(change((bundle / name).read_bytes()))
        return
    with tarfile.open(bundle) as archive:
        member = archive.getmember(name)
    with bundle.open("r+b") as stream:
        stream.seek(member.offset_data)
        body = change(stream.read(member.size))
        stream.seek(member.offset_data)
        stream.write(body)


def flip(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]


def install(bundle: Path, root: Path, wanted: Wanted = WANTED) -> Outcome:
    return fill(layout_of(root), Bundle(bundle), wanted, silent)


def test_a_mirror_is_filled_from_a_bundle(carried: Path, tmp_path: Path) -> None:
    outcome = install(carried, tmp_path / "site")
    assert outcome.files[:2] == [PACKED, "releases/v0.34.0/sha256sum.txt"]
    assert outcome.lock["m:t"].weights == sha256(WEIGHTS)
    subprocess.run(["sha256sum", "--check", "--quiet", LIST], cwd=tmp_path / "site", check=True)
    assert (tmp_path / "site" / PACKED).read_bytes() == ARCHIVE
    assert not install(carried, tmp_path / "site").changed


def test_a_mirror_is_a_bundle_itself(made: Path, tmp_path: Path) -> None:
    install(made, tmp_path / "first")
    install(tmp_path / "first", tmp_path / "second")
    assert (tmp_path / "second" / LIST).read_bytes() == (made / LIST).read_bytes()


@pytest.mark.parametrize(
    "command", [["-C", "{made}", "."], ["-C", "{made}/..", "bundle"], ["-C", "{made}/..", "./bundle"]]
)
def test_a_tar_that_somebody_made_by_hand(made: Path, tmp_path: Path, command: list[str]) -> None:
    subprocess.run(["tar", "-cf", tmp_path / "by-hand.tar", *(word.format(made=made) for word in command)], check=True)
    assert install(tmp_path / "by-hand.tar", tmp_path / "site").changed


@pytest.mark.parametrize("name", [BLOB, PACKED, MANIFEST, "releases/v0.34.0/sha256sum.txt"])
def test_a_flipped_bit_is_refused_by_name(carried: Path, tmp_path: Path, name: str) -> None:
    original = (carried / name).read_bytes() if carried.is_dir() else tar_content(carried, name)
    damage(carried, name, flip)
    with pytest.raises(ChecksumMismatch) as caught:
        install(carried, tmp_path / "site")
    for word in (str(carried), name, sha256(original), sha256(flip(original))):
        assert word in str(caught.value)
    assert not (tmp_path / "site" / name).exists()
    assert not (tmp_path / "site" / MANIFEST).exists()
    damage(carried, name, flip)  # carried over again
    assert install(carried, tmp_path / "site").changed


def tar_content(bundle: Path, name: str) -> bytes:
    with tarfile.open(bundle) as archive:
        stream = archive.extractfile(name)
        assert stream
        return stream.read()


def test_a_list_that_was_changed_is_noticed(carried: Path, tmp_path: Path) -> None:
    digest = sha256(tar_content(carried, MANIFEST) if carried.is_file() else (carried / MANIFEST).read_bytes()).encode()
    damage(carried, LIST, lambda body: body.replace(digest, b"0" * 64))
    with pytest.raises(ChecksumMismatch, match="m/t has the sha256"):
        install(carried, tmp_path / "site")


@pytest.mark.parametrize("name", [BLOB, PACKED])
def test_a_truncated_file(made: Path, tmp_path: Path, name: str) -> None:
    damage(made, name, lambda body: body[:-1])
    with pytest.raises(OllamaError) as caught:
        install(made, tmp_path / "site")
    assert f"{made}: {name}" in str(caught.value)
    assert not (tmp_path / "site" / name).exists()


@pytest.mark.parametrize("name", [BLOB, PACKED, MANIFEST])
def test_a_missing_file(made: Path, tmp_path: Path, name: str) -> None:
    (made / name).unlink()
    with pytest.raises(NotFound, match=f"The bundle {made} has no "):
        install(made, tmp_path / "site")


def test_what_was_not_bundled_is_said_with_what_was(carried: Path, tmp_path: Path) -> None:
    for wanted, words in (
        (Wanted(models=(ModelName.parse("nosuch:1b"),)), "has no model nosuch:1b. It has m:t."),
        (Wanted(releases=("0.9.9",), architectures=("amd64",)), "has no release 0.9.9. It has v0.34.0."),
        (Wanted(releases=("0.34.0",), architectures=("arm64",)), "has no archive ollama-linux-arm64"),
    ):
        with pytest.raises(NotFound) as caught:
            install(carried, tmp_path / "site", wanted)
        assert words in str(caught.value)


def test_an_interrupted_copy_goes_on(made: Path, tmp_path: Path) -> None:
    partial = tmp_path / "site/models/.partial" / sha256(WEIGHTS)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(WEIGHTS[:100_000])
    config = next(path for path in (made / "models/blobs").iterdir() if path.stat().st_size < 1000)
    outcome = install(made, tmp_path / "site")
    assert outcome.bytes == len(ARCHIVE) + len(WEIGHTS) - 100_000 + config.stat().st_size


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(lambda made, path: path.write_bytes(b"x" * 2000), "cannot be read as a bundle", id="no tar"),
        pytest.param(
            lambda made, path: path.write_bytes(made.with_suffix(".tar").read_bytes()[:400_000]),
            "cannot be read as a bundle: .*complete and not compressed",
            id="cut off",
        ),
        pytest.param(
            lambda made, path: subprocess.run(["tar", "-czf", path, "-C", made, "."], check=True),
            "cannot be read as a bundle: .*not compressed",
            id="compressed",
        ),
        pytest.param(
            lambda made, path: subprocess.run(["tar", "-cf", path, "-C", made, "releases"], check=True),
            f"is not a bundle, or not a complete one: it has no {LIST}",
            id="part of it",
        ),
        pytest.param(lambda made, path: path.mkdir(), f"it has no {LIST}", id="empty directory"),
    ],
)
def test_what_is_no_bundle(made: Path, tmp_path: Path, content: Callable[[Path, Path], object], words: str) -> None:
    path = tmp_path / "other"
    content(made, path)
    with pytest.raises(InvalidInput, match=words):
        Bundle(path)


# --- the archive ---------------------------------------------------------------------------------------------------


def test_the_archive_is_written_once(made: Path) -> None:
    archive = made.with_suffix(".tar")
    assert archive.stat().st_mode & 0o777 == 0o644
    before = archive.stat().st_mtime_ns
    outcome = fill(layout_of(made), Bundle(archive), WANTED, silent, archive)
    assert not outcome.changed
    assert archive.stat().st_mtime_ns == before
    with tarfile.open(archive) as packed:
        names = packed.getnames()
    assert names[0] == LIST
    assert set(names[1:]) == set(layout_of(made).listed())


@pytest.mark.parametrize("loss", ["cut", "gone", "older"])
def test_an_archive_that_is_not_current_is_written_anew(made: Path, loss: str) -> None:
    archive = made.with_suffix(".tar")
    good = archive.read_bytes()
    if loss == "cut":
        archive.write_bytes(good[:-20_000])
    elif loss == "gone":
        archive.unlink()
    else:
        subprocess.run(["tar", "--delete", "-f", archive, MANIFEST], check=True)
    assert not is_current(archive, layout_of(made))
    outcome = fill(layout_of(made), Bundle(shutil.copytree(made, made.with_name("copy"))), WANTED, silent, archive)
    assert outcome.files == [str(archive)]
    assert archive.read_bytes() == good


def test_an_archive_is_not_made_of_damaged_files(made: Path) -> None:
    archive = made.with_suffix(".tar")
    archive.unlink()
    damage(made, BLOB, flip)
    copy = shutil.copytree(made, made.with_name("copy"))
    with pytest.raises(ChecksumMismatch, match=BLOB):
        fill(layout_of(made), Bundle(copy), WANTED, silent, archive)
    assert sorted(path.name for path in made.parent.iterdir()) == ["bundle", "copy"]


def test_room_for_the_archive_is_looked_for_first(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used = sum(path.stat().st_size for path in made.rglob("*") if path.is_file())
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 0, used))
    with pytest.raises(NoSpace, match=r"needs 1\.2 MB more"):
        fill(layout_of(tmp_path / "site"), Bundle(made), WANTED, silent, tmp_path / "site.tar")
    assert not (tmp_path / "site/models").exists()


def test_a_bundle_is_only_read(carried: Path, tmp_path: Path) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in [carried, *carried.rglob("*")])
    install(carried, tmp_path / "site")
    assert sorted((path, path.stat().st_mtime_ns) for path in [carried, *carried.rglob("*")]) == before
