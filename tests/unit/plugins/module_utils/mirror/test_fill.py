# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A mirror is filled from a server that misbehaves: what is there is whole, and the next run completes the rest."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils import model_lock
from ansible_collections.llmops.ollama.plugins.module_utils.download import Downloader
from ansible_collections.llmops.ollama.plugins.module_utils.errors import (
    ChecksumMismatch,
    NoSpace,
    NotFound,
    OllamaError,
    UnexpectedAnswer,
    Unreachable,
)
from ansible_collections.llmops.ollama.plugins.module_utils.mirror.fill import Outcome, fill
from ansible_collections.llmops.ollama.plugins.module_utils.mirror.layout import (
    LIST,
    LOCK,
    Layout,
    blob_name,
    manifest_name,
)
from ansible_collections.llmops.ollama.plugins.module_utils.mirror.origin import Upstream
from ansible_collections.llmops.ollama.plugins.module_utils.mirror.plan import Wanted
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from ansible_collections.llmops.ollama.plugins.module_utils.registry import Registry
from fake_http import sha256
from fake_mirror import FakeMirror, Fault

NOISE = random.Random(7)  # noqa: S311  # not a secret
WEIGHTS, OTHER, TEMPLATE = NOISE.randbytes(400_000), NOISE.randbytes(300_000), b"{{ .Prompt }}"
AMD, ARM, ROCM = NOISE.randbytes(200_000), NOISE.randbytes(150_000), NOISE.randbytes(50_000)
ARCHIVE = "/releases/v0.34.0/ollama-linux-amd64.tgz"
BLOB = f"/v2/library/m/blobs/sha256:{sha256(WEIGHTS)}"
MANIFEST = "/v2/library/m/manifests/t"

M, N = ModelName.parse("m:t"), ModelName.parse("team/n:q8")
WANTED = Wanted(releases=("0.34.0",), architectures=("amd64", "arm64"), models=(M, N))
FILES = [
    "releases/v0.34.0/ollama-linux-amd64.tgz",
    "releases/v0.34.0/ollama-linux-arm64.tgz",
    "releases/v0.34.0/sha256sum.txt",
    f"models/blobs/sha256-{sha256(WEIGHTS)}",
    f"models/blobs/sha256-{sha256(TEMPLATE)}",
    "models/manifests/registry.ollama.ai/library/m/t",
    f"models/blobs/sha256-{sha256(OTHER)}",
    "models/manifests/registry.ollama.ai/team/n/q8",
]


@pytest.fixture
def upstream(fake_mirror: FakeMirror) -> FakeMirror:
    fake_mirror.publish_release("0.34.0", amd64=AMD, arm64=ARM, amd64_rocm=ROCM)
    fake_mirror.publish_model("library/m:t", WEIGHTS, TEMPLATE)
    fake_mirror.publish_model("team/n:q8", OTHER, TEMPLATE, quantization="Q8_0")  # shares its template
    return fake_mirror


Run = Callable[..., Outcome]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "mirror"


def layout_of(root: Path) -> Layout:
    return Layout(root, root / "releases", root / "models")


@pytest.fixture
def run(upstream: FakeMirror, root: Path) -> Run:
    def run(wanted: Wanted = WANTED, retries: int = 0, lines: list[str] | None = None, **options: Any) -> Outcome:
        def silent(text: str) -> None:
            pass

        def no_wait(pause: float) -> None:
            pass

        downloads = Downloader(5, retries, silent, no_wait)
        asker = Registry(5, retries, silent, no_wait)
        origin = Upstream(upstream.releases, upstream.url, downloads, downloads, asker)
        report = ([] if lines is None else lines).append
        return fill(options.pop("layout", layout_of(root)), origin, wanted, report, **options)

    return run


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def whole(root: Path) -> None:
    """Everything that is offered is complete, and nothing else lies about."""
    subprocess.run(["sha256sum", "--check", "--quiet", LIST], cwd=root, check=True)
    listed = set(layout_of(root).listed())
    assert {*listed, LIST} == set(names(root))
    for model in layout_of(root).manifests():
        manifest = json.loads(layout_of(root).at(manifest_name(model)).read_bytes())
        for blob in [manifest["config"], *manifest["layers"]]:
            assert layout_of(root).at(blob_name(blob["digest"])).stat().st_size == blob["size"]


# --- a good upstream -----------------------------------------------------------------------------------------------


def test_everything_comes_once_and_indexes_last(upstream: FakeMirror, run: Run, root: Path) -> None:
    lines: list[str] = []
    outcome = run(lines=lines)
    configs = [name for name in outcome.files if name.startswith("models/blobs") and name not in FILES]
    assert len(configs) == 2
    assert [name for name in outcome.files if name not in configs] == [*FILES, LOCK, LIST]
    whole(root)
    bodies = {path for path in upstream.files if "amd64-rocm" not in path and "sha256sum" not in path}
    gets = [request.path for request in upstream.log if request.method == "GET"]
    assert sorted(gets) == sorted(
        {*bodies, "/releases/v0.34.0/sha256sum.txt"} - {f"/v2/team/n/blobs/sha256:{sha256(TEMPLATE)}"}
    )
    assert lines[-1].startswith("7/7 team/n:q8: 100 % of ")
    assert outcome.bytes == sum(
        path.stat().st_size for path in root.rglob("*") if path.name.startswith(("ollama", "sha256-"))
    )


def test_a_second_run_asks_nobody_and_changes_nothing(upstream: FakeMirror, run: Run, root: Path) -> None:
    first = run()
    upstream.log.clear()
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    second = run()
    assert (second.changed, second.bytes, second.lock) == (False, 0, first.lock)
    assert upstream.log == []
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_the_lock_has_every_model(run: Run, root: Path, upstream: FakeMirror) -> None:
    outcome = run()
    assert set(outcome.lock) == {"m:t", "team/n:q8"}
    assert outcome.lock["m:t"].digest == sha256(upstream.files[MANIFEST])
    assert (outcome.lock["team/n:q8"].weights, outcome.lock["team/n:q8"].quantization) == (sha256(OTHER), "Q8_0")
    yaml = pytest.importorskip("yaml")
    assert model_lock.parse(yaml.safe_load((root / LOCK).read_text())) == outcome.lock


def test_files_can_be_read_by_everybody(run: Run, root: Path) -> None:
    old = os.umask(0o077)
    try:
        run()
    finally:
        os.umask(old)
    assert {path.stat().st_mode & 0o777 for path in root.rglob("*") if path.is_file()} == {0o644}
    assert {path.stat().st_mode & 0o777 for path in [root, *root.rglob("*")] if path.is_dir()} == {0o755}


def test_check_mode_predicts_and_loads_nothing(upstream: FakeMirror, run: Run, root: Path) -> None:
    predicted = run(check=True)
    assert not root.exists()
    asked = {request.path for request in upstream.log if request.method == "GET"}
    assert not [path for path in asked if "ollama-linux" in path or sha256(WEIGHTS) in path]
    real = run()
    assert (predicted.files, predicted.lock, predicted.bytes) == (real.files, real.lock, 0)
    assert not run(check=True).changed


def test_more_is_added_and_the_rest_stays(upstream: FakeMirror, run: Run, root: Path) -> None:
    run(Wanted(releases=("0.34.0",), architectures=("amd64",), models=(M,)))
    upstream.publish_release("0.35.0", amd64=ARM)
    more = Wanted(releases=("0.34.0", "0.35.0"), architectures=("amd64",), variants=(), models=(N,))
    outcome = run(more)
    assert "releases/v0.35.0/ollama-linux-amd64.tgz" in outcome.files
    assert set(outcome.lock) == {"m:t", "team/n:q8"}
    with_rocm = Wanted(releases=("0.34.0",), architectures=("amd64", "arm64"), variants=("rocm",))
    assert [name for name in run(with_rocm).files if "SUMS" not in name] == [
        "releases/v0.34.0/ollama-linux-arm64.tgz",
        "releases/v0.34.0/ollama-linux-amd64-rocm.tgz",
    ]
    whole(root)


def test_a_variant_that_no_architecture_has(run: Run) -> None:
    with pytest.raises(NotFound, match=r"no archive ollama-linux-amd64-jetpack6\.tar\.zst or \.tgz.*it lists: ollama"):
        run(Wanted(releases=("0.34.0",), architectures=("amd64", "arm64"), variants=("jetpack6",)))


def test_releases_and_models_may_be_elsewhere(run: Run, root: Path, tmp_path: Path) -> None:
    layout = Layout(root, tmp_path / "r", tmp_path / "m")
    outcome = run(layout=layout)
    assert names(root) == [LIST, LOCK]
    assert (tmp_path / "r/v0.34.0/ollama-linux-amd64.tgz").read_bytes() == AMD
    assert set(outcome.lock) == {"m:t", "team/n:q8"}
    assert not run(layout=layout).changed


def test_a_store_that_somebody_else_filled_is_taken_as_it_is(upstream: FakeMirror, run: Run, root: Path) -> None:
    run(Wanted(models=(M,)))
    (root / LIST).unlink()
    upstream.log.clear()
    outcome = run(Wanted(models=(M,)))
    assert (upstream.log, outcome.files) == ([], [LIST])
    whole(root)


# --- newer versions, pins ------------------------------------------------------------------------------------------


def test_present_keeps_and_latest_renews(upstream: FakeMirror, run: Run, root: Path) -> None:
    run()
    digest = upstream.publish_model("library/m:t", OTHER)
    assert not run().changed
    outcome = run(Wanted(models=(M,), renew=True))
    assert outcome.lock["m:t"].digest == digest
    assert f"models/blobs/sha256-{sha256(OTHER)}" not in outcome.files  # it was there already
    assert not run(Wanted(models=(M,), renew=True)).changed
    whole(root)


def test_latest_of_a_release_that_was_published_anew(upstream: FakeMirror, run: Run, root: Path) -> None:
    release = Wanted(releases=("0.34.0",), architectures=("amd64",))
    run(release)
    upstream.publish_release("0.34.0", amd64=ROCM)
    assert not run(release).changed
    run(Wanted(releases=("0.34.0",), architectures=("amd64",), renew=True))
    assert (root / "releases/v0.34.0/ollama-linux-amd64.tgz").read_bytes() == ROCM
    whole(root)


def test_a_pin_is_kept_or_said(upstream: FakeMirror, run: Run, root: Path) -> None:
    lock = run(Wanted(models=(M,))).lock
    pinned = Wanted(models=(M,), pins=lock, renew=True)
    assert not run(pinned).changed
    new = upstream.publish_model("library/m:t", OTHER)
    with pytest.raises(ChecksumMismatch) as caught:
        run(pinned)
    assert new in str(caught.value) and lock["m:t"].digest in str(caught.value)
    assert "Accept that with state latest" in str(caught.value)
    assert not run(Wanted(models=(M,), pins=lock)).changed  # what is there is what is pinned
    shutil.rmtree(root)
    with pytest.raises(ChecksumMismatch):
        run(Wanted(models=(M,), pins=lock))
    assert names(root) == []


def test_another_pin_than_what_is_there_is_fetched(upstream: FakeMirror, run: Run) -> None:
    run(Wanted(models=(M,)))
    upstream.publish_model("library/m:t", OTHER)
    lock = run(Wanted(models=(M,), renew=True)).lock
    upstream.publish_model("library/m:t", WEIGHTS, TEMPLATE)
    run(Wanted(models=(M,), renew=True))
    upstream.publish_model("library/m:t", OTHER)
    assert run(Wanted(models=(M,), pins=lock)).lock["m:t"] == lock["m:t"]


# --- damage --------------------------------------------------------------------------------------------------------


def damage(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)


@pytest.mark.parametrize("name", ["releases/v0.34.0/ollama-linux-amd64.tgz", f"models/blobs/sha256-{sha256(WEIGHTS)}"])
def test_verify_finds_a_flipped_bit_and_loads_the_file_again(
    upstream: FakeMirror, run: Run, root: Path, name: str
) -> None:
    run()
    damage(root / name)
    assert not run().changed  # it reads nothing again
    upstream.log.clear()
    lines: list[str] = []
    outcome = run(Wanted(**{**WANTED.__dict__, "verify": True}), lines=lines)
    assert (outcome.damaged, outcome.files) == ([name], [name])
    assert (
        len(
            [
                request
                for request in upstream.log
                if request.method == "GET" and "manifests" not in request.path and "sha256sum" not in request.path
            ]
        )
        == 1
    )
    assert lines[0].startswith("verifying: ")
    assert not run(Wanted(**{**WANTED.__dict__, "verify": True})).changed
    whole(root)


def test_damage_is_named_also_when_nothing_can_replace_it(upstream: FakeMirror, run: Run, root: Path) -> None:
    run()
    name = f"models/blobs/sha256-{sha256(WEIGHTS)}"
    damage(root / name)
    upstream.faults[MANIFEST] = [Fault(500, b"")]
    with pytest.raises(UnexpectedAnswer) as caught:
        run(Wanted(models=(M,), verify=True))
    assert (caught.value.details["damaged"], caught.value.details["changed"]) == ([name], False)


def test_verify_in_check_mode_only_tells(run: Run, root: Path) -> None:
    run()
    name = f"models/blobs/sha256-{sha256(WEIGHTS)}"
    damage(root / name)
    before = (root / name).read_bytes()
    outcome = run(Wanted(models=(M,), verify=True), check=True)
    assert (outcome.damaged, outcome.files[0]) == ([name], name)
    assert (root / name).read_bytes() == before


@pytest.mark.parametrize(
    "name",
    [
        f"models/blobs/sha256-{sha256(WEIGHTS)}",
        "models/manifests/registry.ollama.ai/library/m/t",
        "releases/v0.34.0/sha256sum.txt",
    ],
)
def test_what_is_truncated_or_changed_in_an_index_is_seen_at_once(run: Run, root: Path, name: str) -> None:
    run()
    (root / name).write_bytes((root / name).read_bytes()[:-3])
    outcome = run()
    assert name in outcome.damaged and name in outcome.files
    whole(root)


def test_a_model_that_lost_a_blob_is_complete_again(upstream: FakeMirror, run: Run, root: Path) -> None:
    run()
    (root / f"models/blobs/sha256-{sha256(TEMPLATE)}").unlink()
    assert run().files == [f"models/blobs/sha256-{sha256(TEMPLATE)}"]
    whole(root)


def test_a_model_that_lost_a_blob_which_is_not_offered_any_more_is_renewed(
    upstream: FakeMirror, run: Run, root: Path
) -> None:
    run(Wanted(models=(M,)))
    (root / f"models/blobs/sha256-{sha256(WEIGHTS)}").unlink()
    digest = upstream.publish_model("library/m:t", OTHER)
    del upstream.files[BLOB]
    assert run(Wanted(models=(M,))).lock["m:t"].digest == digest


# --- exclusive -----------------------------------------------------------------------------------------------------


def test_exclusive_removes_the_rest(run: Run, root: Path) -> None:
    run(Wanted(**{**WANTED.__dict__, "variants": ("rocm",)}))
    only = Wanted(releases=("0.34.0",), architectures=("arm64",), models=(N,), exclusive=True)
    predicted = run(only, check=True)
    outcome = run(only)
    assert sorted(predicted.removed) == sorted(outcome.removed)
    assert predicted.lock == outcome.lock
    assert set(outcome.lock) == {"team/n:q8"}
    assert [name for name in names(root) if "blobs" not in name] == [
        "SHA256SUMS",
        "models.lock.yml",
        "models/manifests/registry.ollama.ai/team/n/q8",
        "releases/v0.34.0/ollama-linux-arm64.tgz",
        "releases/v0.34.0/sha256sum.txt",
    ]
    assert f"models/blobs/sha256-{sha256(WEIGHTS)}" in outcome.removed
    assert f"models/blobs/sha256-{sha256(TEMPLATE)}" not in outcome.removed  # the other model's, too
    assert not (root / "models/manifests/registry.ollama.ai/library").exists()
    assert not run(only).changed
    whole(root)


def test_exclusive_leaves_what_is_not_ours(run: Run, root: Path) -> None:
    run()
    strangers = [root / "notes.txt", root / "releases/README", root / "models/blobs/sha256-abc-partial-0"]
    for path in strangers:
        path.write_text("mine")
    run(Wanted(exclusive=True))
    assert all(path.exists() for path in strangers)
    assert layout_of(root).files() == []


# --- breaks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [ARCHIVE, BLOB])
def test_an_upstream_that_dies_in_the_middle(upstream: FakeMirror, run: Run, root: Path, path: str) -> None:
    upstream.faults[path] = [Fault(cut=150_000)]
    with pytest.raises(Unreachable, match=upstream.url) as caught:
        run()
    assert not [name for name in names(root) if name.endswith((path.rpartition("/")[2].replace(":", "-"), "m/t"))]
    assert caught.value.details["files"] == FILES[: 3 if path == BLOB else 0]
    upstream.log.clear()
    run()
    assert [request.range for request in upstream.log if request.path == path and request.method == "GET"] != [""]
    whole(root)


@pytest.mark.parametrize("path", [ARCHIVE, BLOB])
def test_an_upstream_that_comes_back_is_asked_for_the_rest(
    upstream: FakeMirror, run: Run, root: Path, path: str
) -> None:
    upstream.faults[path] = [Fault(cut=70_000), Fault(503, b""), Fault(cut=70_000)]
    run(retries=3)
    ranges = [request.range for request in upstream.log if request.path == path and request.method == "GET"]
    assert ranges == ["", "bytes=65536-", "bytes=65536-", "bytes=131072-"]
    whole(root)


@pytest.mark.parametrize(
    ("path", "fault", "kind", "words"),
    [
        (ARCHIVE, Fault(body=AMD[:-1] + b"!"), ChecksumMismatch, sha256(AMD)),
        (BLOB, Fault(body=WEIGHTS[:-1] + b"!"), ChecksumMismatch, sha256(WEIGHTS)),
        (BLOB, Fault(body=WEIGHTS[:-1]), UnexpectedAnswer, "offers 399999 bytes, but 400000 were announced"),
        (BLOB, Fault(body=WEIGHTS + b"!"), UnexpectedAnswer, "offers 400001 bytes, but 400000 were announced"),
        (ARCHIVE, Fault(401, b""), UnexpectedAnswer, "401: Unauthorized. It wants a username"),
        (BLOB, Fault(429, b""), UnexpectedAnswer, "429: Too Many Requests"),
        (MANIFEST, Fault(401, b""), UnexpectedAnswer, "answered 401 when asked for m:t"),
        (MANIFEST, Fault(429, b""), UnexpectedAnswer, "The registry limits its requests"),
        (MANIFEST, Fault(500, b"oops"), UnexpectedAnswer, "answered 500 when asked for m:t: oops"),
        (MANIFEST, Fault(body=b"<html>Log in"), UnexpectedAnswer, "not as a registry does"),
        (MANIFEST, Fault(body=b"{}"), UnexpectedAnswer, "not as a registry does"),
        (BLOB, Fault(body=b"<html>", headers={"Content-Type": "text/html"}), UnexpectedAnswer, "web page"),
    ],
)
def test_other_answers(
    upstream: FakeMirror, run: Run, root: Path, path: str, fault: Fault, kind: type[OllamaError], words: str
) -> None:
    upstream.faults[path] = [fault]
    with pytest.raises(kind) as caught:
        run()
    assert words in str(caught.value)
    # Whatever it was, nothing is offered that is not complete, and the next run completes it.
    assert not (root / "models/manifests/registry.ollama.ai/library/m/t").exists()
    run()
    whole(root)


@pytest.mark.parametrize("path", [ARCHIVE, BLOB, MANIFEST, "/releases/v0.34.0/sha256sum.txt"])
def test_what_does_not_exist(upstream: FakeMirror, run: Run, root: Path, path: str) -> None:
    del upstream.files[path]
    with pytest.raises(NotFound) as caught:
        run()
    assert upstream.url in str(caught.value)
    assert not (root / "models/manifests/registry.ollama.ai/library/m/t").exists()


def test_a_busy_upstream_is_asked_again(upstream: FakeMirror, run: Run, root: Path) -> None:
    for path in (ARCHIVE, BLOB, MANIFEST, "/releases/v0.34.0/sha256sum.txt"):
        upstream.faults[path] = [Fault(429, b""), Fault(500, b"")]
    run(retries=2)
    whole(root)


def test_a_blob_that_goes_away_before_its_manifest_is_written(
    upstream: FakeMirror, run: Run, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Layout.place

    def place_and_lose(self: Layout, partial: Path, name: str) -> None:
        place(self, partial, name)
        if name.endswith(sha256(TEMPLATE)):
            self.at(name).unlink()

    monkeypatch.setattr(Layout, "place", place_and_lose)
    with pytest.raises(OllamaError, match=r"m:t is not complete: .* went away while the mirror was filled"):
        run()
    assert not (root / "models/manifests/registry.ollama.ai/library/m/t").exists()
    monkeypatch.undo()
    run()
    whole(root)


# --- the host ------------------------------------------------------------------------------------------------------


def test_room_is_looked_for_before_the_first_byte(
    upstream: FakeMirror, run: Run, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(AMD) + len(ARM)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 0, size - 1))
    with pytest.raises(NoSpace, match=r"The mirror needs 350\.0 kB more on the file system of") as caught:
        run(Wanted(releases=("0.34.0",), architectures=("amd64", "arm64")))
    assert caught.value.details["free"] == size - 1
    assert names(root) == [] and upstream.asked("ollama-linux") == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 0, size))
    run(Wanted(releases=("0.34.0",), architectures=("amd64", "arm64")))


def test_an_archive_whose_size_nobody_tells(upstream: FakeMirror, run: Run, root: Path) -> None:
    upstream.heads = 403  # as an address that is signed for GET alone
    lines: list[str] = []
    run(lines=lines)
    assert lines[0].startswith("1/7 0.34.0 ollama-linux-amd64.tgz: 65.5 kB, ")
    whole(root)


def test_what_an_earlier_run_left_needs_no_more_room(
    upstream: FakeMirror, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.faults[BLOB] = [Fault(cut=300_000)]
    with pytest.raises(Unreachable):
        run(Wanted(models=(M,)))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 0, 200_000))
    assert run(Wanted(models=(M,))).changed


def test_a_disk_that_fills_up_on_the_way(
    upstream: FakeMirror, run: Run, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoSpace, match="is full"):
        run()
    monkeypatch.undo()
    assert layout_of(root).files() == []
    run()
    whole(root)


def test_two_runs_at_once(run: Run, root: Path) -> None:
    root.mkdir()
    descriptor = os.open(root, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(OllamaError, match=f"Another run is filling {root}"):
            run()
    finally:
        os.close(descriptor)
    run()
    whole(root)


def test_a_path_that_cannot_be(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    where = tmp_path / "file" / "mirror"
    with pytest.raises(OllamaError, match=f"{tmp_path}/file.*Check the path"):
        run(layout=layout_of(where))


KILLED = """
import sys
from pathlib import Path
from ansible_collections.llmops.ollama.plugins.module_utils.download import Downloader
from ansible_collections.llmops.ollama.plugins.module_utils.mirror.fill import fill
from ansible_collections.llmops.ollama.plugins.module_utils.mirror.layout import Layout
from ansible_collections.llmops.ollama.plugins.module_utils.mirror.origin import Upstream
from ansible_collections.llmops.ollama.plugins.module_utils.mirror.plan import Wanted
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from ansible_collections.llmops.ollama.plugins.module_utils.registry import Registry
root, url = Path(sys.argv[1]), sys.argv[2]
origin = Upstream(url, url, Downloader(9, 0), Downloader(9, 0), Registry(9))
layout = Layout(root, root / "releases", root / "models")
fill(layout, origin, Wanted(models=(ModelName.parse("m:t"),)), lambda text: None)
"""


def test_a_run_that_is_killed_goes_on_where_it_was(upstream: FakeMirror, run: Run, root: Path) -> None:
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        go_on.wait(30)

    upstream.faults[BLOB] = [Fault(pause=hold, pause_at=200_000)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(root), upstream.url], env=environment)
    assert held.wait(30)
    partial = root / "models/.partial" / sha256(WEIGHTS)
    for _ in range(3000):  # until what was sent has been written; a file tells of no event
        if partial.exists() and partial.stat().st_size > 100_000:
            break
        go_on.wait(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    go_on.set()
    left = partial.stat().st_size
    assert 100_000 < left <= 200_000
    assert names(root) == [str(partial.relative_to(root))]
    upstream.log.clear()
    run(Wanted(models=(M,)))
    assert upstream.asked(sha256(WEIGHTS)) == [f"bytes={left}-"]
    whole(root)
