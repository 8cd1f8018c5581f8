# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Releases are installed whole or not at all, from a server that misbehaves in every way that was thought of."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils import release as core
from ansible_collections.llmops.ollama.plugins.module_utils.download import Downloader
from ansible_collections.llmops.ollama.plugins.module_utils.errors import (
    ChecksumMismatch,
    InvalidInput,
    NoSpace,
    NotFound,
    OllamaError,
    UnexpectedAnswer,
    Unreachable,
)
from hypothesis import given
from hypothesis import strategies as st

NOISE = random.Random(1).randbytes(150_000).hex()  # noqa: S311  # does not compress away


def archive(version: str = "0.34.0", **members: str) -> bytes:
    """A small release as .tgz; ``members`` are more files, name → content."""
    files = {
        "bin/ollama": f"#!/bin/sh\necho {version}\n",
        "lib/ollama/llama-server": NOISE,
        **members,
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.uid = len(text), 0o755, 12345
            tar.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


class Answer(NamedTuple):
    """How the mirror answers one request: the first ``cut`` bytes of the body, then it hangs up."""

    body: bytes = b""
    status: int = 200
    content_type: str = "application/octet-stream"
    cut: int | None = None
    ranges: bool = True


class Quiet(ThreadingHTTPServer):
    """Says nothing of a client that has gone."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Mirror:
    """A release mirror: ``files`` by path, ``faults`` are answers given first, ``requests`` what was asked."""

    def __init__(self) -> None:
        self.files: dict[str, Answer] = {}
        self.faults: dict[str, list[Answer]] = {}
        self.requests: list[tuple[str, str | None]] = []
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                mirror.requests.append((self.path, self.headers["Range"]))
                waiting = mirror.faults.get(self.path)
                answer = waiting.pop(0) if waiting else mirror.files.get(self.path, Answer(b"no", 404, "text/plain"))
                body, status, start = answer.body, answer.status, 0
                if answer.ranges and self.headers["Range"]:
                    start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
                    status = 206
                self.send_response(status)
                self.send_header("Content-Type", answer.content_type)
                self.send_header("Content-Length", str(len(body) - start))
                if status == 206:
                    self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
                self.end_headers()
                self.wfile.write(body[start : answer.cut])
                if answer.cut is not None:
                    self.close_connection = True

            def log_message(self, *args: Any) -> None:
                pass

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def publish(self, version: str, sums: dict[str, str] | None = None, **archives: bytes) -> None:
        """Serve a release. ``archives``: name with ``__`` for its first dot; ``sums`` replaces the true checksums."""
        named = {name.replace("__", "."): body for name, body in archives.items()}
        named = {name.replace("_", "-"): body for name, body in named.items()}
        true = {name: hashlib.sha256(body).hexdigest() for name, body in named.items()}
        lines = "".join(f"{digest}  ./{name}\n" for name, digest in (sums or true).items())
        self.files[f"/v{version}/sha256sum.txt"] = Answer(lines.encode(), content_type="text/plain")
        for name, body in named.items():
            self.files[f"/v{version}/{name}"] = Answer(body)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


TGZ = "/v0.34.0/ollama-linux-amd64.tgz"


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    served = Mirror()
    served.publish("0.34.0", ollama_linux_amd64__tgz=archive())
    yield served
    served.close()


def wanted(mirror: Mirror, version: str = "0.34.0", **options: Any) -> core.Release:
    return core.release(version, mirror.url, "x86_64", **options)


def install(
    root: Path, release: core.Release, keep: int = 2, lines: list[str] | None = None, check: bool = False
) -> core.Outcome:
    report = ([] if lines is None else lines).append
    source = Downloader(timeout=5, retries=2, report=report, wait=lambda seconds: None)
    return core.Installation(str(root)).install(release, source, keep, report, check)


def left_over(root: Path) -> list[str]:
    return [entry.name for entry in root.glob(".tmp-*")]


# --- what the user gives -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "number"), [("0.34.0", "0.34.0"), ("v0.24.0", "0.24.0"), (" 0.35.0-rc1 ", "0.35.0-rc1")]
)
def test_version_is_taken_with_or_without_v(version: str, number: str) -> None:
    assert core.release(version, "https://example.com/", "aarch64").version == number


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "latest"}, "'latest' is not a version"),
        ({"version": "0.34"}, "'0.34' is not a version"),
        ({"version": "../../etc"}, "is not a version"),
        ({"machine": "riscv64"}, "architecture riscv64. Use a host with x86_64 or aarch64."),
        ({"base_url": "ftp://example.com"}, "base_url is 'ftp://example.com', which is not an address"),
        ({"sha256": "abc"}, "sha256 'abc' is not a checksum"),
        ({"variants": ["../x"]}, "'../x' is not a variant"),
    ],
)
def test_unusable_input_is_named(change: dict[str, Any], words: str) -> None:
    good: dict[str, Any] = {"version": "0.34.0", "base_url": "https://example.com", "machine": "x86_64"}
    with pytest.raises(InvalidInput) as caught:
        core.release(**{**good, **change})
    assert words in str(caught.value)


def test_checksums_are_read_in_every_form_that_sha256sum_prints() -> None:
    a, b, c = "a" * 64, "B" * 64, "c" * 64
    text = f"{a}  ./ollama-linux-amd64.tgz\r\n{b} *ollama-linux-arm64.tgz\n{c}  Ollama.dmg\n<html>\n{a[:63]}  short\n"
    assert core.parse_checksums(text) == {
        "ollama-linux-amd64.tgz": a,
        "ollama-linux-arm64.tgz": b.lower(),
        "Ollama.dmg": c,
    }


@pytest.mark.parametrize(
    ("listed", "given_sha256", "expected"),
    [
        ({"x.tgz": "1", "x.tar.zst": "2"}, "", ("x.tar.zst", "2")),
        ({"x.tgz": "1"}, "", ("x.tgz", "1")),
        ({"x.tgz": "1", "x.tar.zst": "2"}, "1", ("x.tgz", "1")),
        ({"x.tgz": "1", "x.tar.zst": "2"}, "3", ("x.tar.zst", "3")),
        ({"x-rocm.tgz": "1"}, "", None),
    ],
)
def test_choice_of_the_archive(listed: dict[str, str], given_sha256: str, expected: tuple[str, str] | None) -> None:
    assert core.choose("x", listed, given_sha256) == expected


# --- which releases stay -------------------------------------------------------------------------------------------

VERSIONS = ["0.9.0", "0.24.0", "0.33.1", "0.34.0-rc1", "0.34.0"]


@pytest.mark.parametrize(
    ("wanted_version", "active", "keep", "removed"),
    [
        ("0.34.0", "0.34.0", 2, ["0.9.0", "0.24.0"]),
        ("0.34.0", "0.9.0", 2, ["0.24.0", "0.33.1"]),
        ("0.34.0", "0.9.0", 0, ["0.24.0", "0.33.1", "0.34.0-rc1"]),
        ("0.24.0", "0.34.0", 1, ["0.9.0", "0.33.1", "0.34.0-rc1"]),
        ("0.35.0", None, 9, []),
    ],
)
def test_superfluous_releases(wanted_version: str, active: str | None, keep: int, removed: list[str]) -> None:
    assert core.superfluous(VERSIONS, wanted_version, active, keep) == removed


@given(
    installed=st.sets(st.sampled_from(VERSIONS)),
    wanted_version=st.sampled_from(VERSIONS),
    active=st.none() | st.sampled_from(VERSIONS),
    keep=st.integers(0, 5),
)
def test_neither_the_wanted_nor_the_active_release_is_removed(
    installed: set[str], wanted_version: str, active: str | None, keep: int
) -> None:
    removed = set(core.superfluous(sorted(installed), wanted_version, active, keep))
    assert not removed & {wanted_version, active}
    assert removed <= installed
    others_left = len(installed - removed - {wanted_version})
    assert others_left <= max(keep, 1)
    assert not removed or others_left >= keep


# --- a good mirror -------------------------------------------------------------------------------------------------


def test_installs_a_release(mirror: Mirror, tmp_path: Path) -> None:
    root = tmp_path / "opt" / "ollama"
    lines: list[str] = []
    outcome = install(root, wanted(mirror), lines=lines)
    digest = hashlib.sha256(mirror.files[TGZ].body).hexdigest()
    size = len(mirror.files[TGZ].body)
    assert outcome == core.Outcome(str(root / "0.34.0"), True, digest, size, ())
    program = root / "0.34.0" / "bin" / "ollama"
    assert program.read_text() == "#!/bin/sh\necho 0.34.0\n"
    assert os.access(program, os.X_OK)
    assert program.stat().st_uid == os.geteuid()
    assert (root / "0.34.0").stat().st_mode & 0o777 == 0o755
    assert [entry.name for entry in root.iterdir()] == ["0.34.0"]
    assert lines[-1].startswith(f"downloading ollama-linux-amd64.tgz: 100 % of {size / 1000:.1f} kB, ")


def test_a_complete_release_needs_no_network(mirror: Mirror, tmp_path: Path) -> None:
    first = install(tmp_path, wanted(mirror))
    mirror.close()
    assert install(tmp_path, wanted(mirror)) == replace(first, installed=False, bytes=0)


def test_zstd_is_preferred_and_unpacked(mirror: Mirror, tmp_path: Path) -> None:
    command = ["zstd", "--quiet", "--stdout"]
    packed = subprocess.run(command, input=gzip.decompress(archive()), capture_output=True, check=True).stdout
    mirror.publish("0.34.0", ollama_linux_amd64__tgz=archive(), ollama_linux_amd64__tar__zst=packed)
    outcome = install(tmp_path, wanted(mirror))
    assert outcome.sha256 == hashlib.sha256(packed).hexdigest()
    assert os.access(tmp_path / "0.34.0" / "bin" / "ollama", os.X_OK)


def test_missing_zstd_is_said_before_the_download(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.publish("0.34.0", ollama_linux_amd64__tar__zst=b"whatever")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InvalidInput, match="Install the package zstd"):
        install(tmp_path, wanted(mirror))
    assert mirror.requests == [("/v0.34.0/sha256sum.txt", None)]


def test_variants_are_unpacked_into_the_same_release_and_added_later(mirror: Mirror, tmp_path: Path) -> None:
    rocm = archive(**{"lib/ollama/rocm.so": "rocm"})
    mirror.publish("0.34.0", ollama_linux_amd64__tgz=archive(), ollama_linux_amd64_rocm__tgz=rocm)
    install(tmp_path, wanted(mirror))
    assert not (tmp_path / "0.34.0/lib/ollama/rocm.so").exists()
    with_rocm = wanted(mirror, variants=["rocm"])
    assert install(tmp_path, with_rocm).installed
    assert (tmp_path / "0.34.0/lib/ollama/rocm.so").read_text() == "rocm"
    assert not install(tmp_path, with_rocm).installed
    assert not install(tmp_path, wanted(mirror)).installed
    assert left_over(tmp_path) == []


def test_old_releases_go_when_the_new_one_is_there(mirror: Mirror, tmp_path: Path) -> None:
    for version in ("0.30.0", "0.31.0", "0.32.0", "0.33.0"):
        mirror.publish(version, ollama_linux_amd64__tgz=archive(version))
        install(tmp_path, wanted(mirror, version), keep=9)
    (tmp_path / "0.29.0").mkdir()  # not ours: it has no marker
    (tmp_path / "current").symlink_to("0.30.0")
    assert install(tmp_path, wanted(mirror), check=True).removed == ("0.31.0", "0.32.0")
    assert install(tmp_path, wanted(mirror)).removed == ("0.31.0", "0.32.0")
    assert {entry.name for entry in tmp_path.iterdir()} == {"0.29.0", "0.30.0", "0.33.0", "0.34.0", "current"}


# --- check mode ----------------------------------------------------------------------------------------------------


def test_check_mode_predicts_and_changes_nothing(mirror: Mirror, tmp_path: Path) -> None:
    root = tmp_path / "root"
    predicted = install(root, wanted(mirror), check=True)
    assert not root.exists()
    assert [path for path, _ in mirror.requests] == ["/v0.34.0/sha256sum.txt"]
    real = install(root, wanted(mirror))
    assert (predicted.path, predicted.installed, predicted.sha256) == (real.path, real.installed, real.sha256)
    assert not install(root, wanted(mirror), check=True).installed


# --- a bad mirror --------------------------------------------------------------------------------------------------


def test_wrong_bytes_are_not_installed(mirror: Mirror, tmp_path: Path) -> None:
    mirror.publish("0.34.0", sums={"ollama-linux-amd64.tgz": "0" * 64}, ollama_linux_amd64__tgz=archive())
    with pytest.raises(ChecksumMismatch) as caught:
        install(tmp_path, wanted(mirror))
    got = hashlib.sha256(mirror.files[TGZ].body).hexdigest()
    assert caught.value.details == {"url": mirror.url + TGZ, "expected": "0" * 64, "got": got}
    assert "0" * 64 in str(caught.value) and got in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_given_sha256_wins_over_the_mirror(mirror: Mirror, tmp_path: Path) -> None:
    body = mirror.files[TGZ].body
    digest = hashlib.sha256(body).hexdigest()
    mirror.publish("0.34.0", sums={"ollama-linux-amd64.tgz": "0" * 64}, ollama_linux_amd64__tgz=body)
    assert install(tmp_path, wanted(mirror, sha256=digest.upper())).sha256 == digest
    assert not install(tmp_path, wanted(mirror, sha256=digest)).installed
    # What is installed is not what the user now asks for: it must not pass for it.
    with pytest.raises(ChecksumMismatch):
        install(tmp_path, wanted(mirror, sha256="1" * 64))
    assert (tmp_path / "0.34.0/bin/ollama").exists()


@pytest.mark.parametrize(
    ("faults", "ranges"),
    [
        pytest.param([Answer(cut=65_536)], [None, "bytes=65536-"], id="cut"),
        pytest.param(
            [Answer(cut=65_536), Answer(cut=131_072)], [None, "bytes=65536-", "bytes=131072-"], id="cut twice"
        ),
        pytest.param([Answer(cut=65_536), Answer(ranges=False)], [None, "bytes=65536-"], id="no ranges"),
        pytest.param([Answer(b"busy", 503), Answer(b"slow down", 429)], [None, None, None], id="busy"),
        pytest.param(
            [Answer(cut=65_536), Answer(b"busy", 503, ranges=False)], [None, "bytes=65536-", "bytes=65536-"], id="both"
        ),
    ],
)
def test_a_broken_download_is_taken_up_again(
    mirror: Mirror, tmp_path: Path, faults: list[Answer], ranges: list[str | None]
) -> None:
    body = mirror.files[TGZ].body
    mirror.faults[TGZ] = [fault if fault.body else fault._replace(body=body) for fault in faults]
    outcome = install(tmp_path, wanted(mirror))
    again = 65_536 if any(not fault.ranges and fault.status == 200 for fault in faults) else 0
    assert (outcome.sha256, outcome.bytes) == (hashlib.sha256(body).hexdigest(), len(body) + again)
    assert [asked for path, asked in mirror.requests if path == TGZ] == ranges


def test_a_download_that_never_completes_ends(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files[TGZ] = mirror.files[TGZ]._replace(cut=500)
    with pytest.raises(Unreachable) as caught:
        install(tmp_path, wanted(mirror))
    assert f"{mirror.url}{TGZ} could not be fetched: " in str(caught.value)
    assert len([path for path, _ in mirror.requests if path == TGZ]) == 3
    assert list(tmp_path.iterdir()) == []


def test_unreachable_mirror(mirror: Mirror, tmp_path: Path) -> None:
    mirror.close()
    with pytest.raises(Unreachable) as caught:
        install(tmp_path / "root", wanted(mirror))
    assert "Connection refused" in str(caught.value) and "set base_url to a mirror" in str(caught.value)


def test_version_that_does_not_exist(mirror: Mirror, tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        install(tmp_path, wanted(mirror, "9.9.9"))
    assert f"There is no release 9.9.9 below {mirror.url}" in str(caught.value)
    assert "Check version and base_url" in str(caught.value)


def test_architecture_or_variant_that_the_release_lacks(mirror: Mirror, tmp_path: Path) -> None:
    with pytest.raises(
        NotFound, match=r"no archive ollama-linux-amd64-rocm\.tar\.zst or \.tgz.*ollama-linux-amd64\.tgz"
    ):
        install(tmp_path, wanted(mirror, variants=["rocm"]))


@pytest.mark.parametrize("path", [TGZ, "/v0.34.0/sha256sum.txt"])
def test_a_web_page_is_not_a_release(mirror: Mirror, tmp_path: Path, path: str) -> None:
    mirror.files[path] = Answer(b"<html>Please log in</html>", content_type="text/html; charset=utf-8")
    with pytest.raises(UnexpectedAnswer, match=r"web page instead of the file.*Check base_url"):
        install(tmp_path, wanted(mirror))
    assert [asked for asked, _ in mirror.requests].count(path) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_list_without_checksums(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["/v0.34.0/sha256sum.txt"] = Answer(b"hello", content_type="text/plain")
    with pytest.raises(UnexpectedAnswer, match="holds no checksums"):
        install(tmp_path, wanted(mirror))


def test_refused_access_is_not_retried(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["/v0.34.0/sha256sum.txt"] = Answer(b"", 403)
    with pytest.raises(UnexpectedAnswer, match="answered 403: Forbidden"):
        install(tmp_path, wanted(mirror))
    assert len(mirror.requests) == 1


# --- a bad archive -------------------------------------------------------------------------------------------------


def special(entry: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO(archive())
    with tarfile.open(fileobj=buffer) as good:
        members = [(member, good.extractfile(member)) for member in good.getmembers()]
        changed = io.BytesIO()
        with tarfile.open(fileobj=changed, mode="w:gz") as tar:
            for member, content in members:
                tar.addfile(member, content)
            tar.addfile(entry, io.BytesIO(b"x" * entry.size))
    return changed.getvalue()


def entry_of(name: str, link: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    if link:
        entry.type, entry.linkname = tarfile.SYMTYPE, link
    else:
        entry.size = 1
    return entry


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param(special(entry_of("../../evil")), "Member name contains '..'", id="outside"),
        pytest.param(special(entry_of("lib/out", "/etc")), "link that leads outside: lib/out -> /etc", id="absolute"),
        pytest.param(special(entry_of("lib/out", "../../..")), "link that leads outside", id="relative"),
        pytest.param(b"not an archive", "tar cannot unpack", id="rubbish"),
        pytest.param(archive()[:20_000], "tar cannot unpack", id="truncated before it was hashed"),
    ],
)
def test_archives_that_are_refused(mirror: Mirror, tmp_path: Path, body: bytes, words: str) -> None:
    mirror.publish("0.34.0", ollama_linux_amd64__tgz=body)
    root = tmp_path / "a" / "b"
    with pytest.raises(UnexpectedAnswer) as caught:
        install(root, wanted(mirror))
    assert words in str(caught.value)
    assert list(root.iterdir()) == []
    assert not list(tmp_path.rglob("evil"))


def test_links_inside_the_release_are_fine(mirror: Mirror, tmp_path: Path) -> None:
    mirror.publish("0.34.0", ollama_linux_amd64__tgz=special(entry_of("lib/ollama/engine", "llama-server")))
    install(tmp_path, wanted(mirror))
    assert (tmp_path / "0.34.0/lib/ollama/engine").resolve().name == "llama-server"


def test_an_archive_without_the_program(mirror: Mirror, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz"):
        pass
    mirror.publish("0.34.0", ollama_linux_amd64__tgz=buffer.getvalue())
    with pytest.raises(UnexpectedAnswer, match="holds no bin/ollama"):
        install(tmp_path, wanted(mirror))
    assert list(tmp_path.iterdir()) == []


# --- a bad host ----------------------------------------------------------------------------------------------------


def test_too_little_space_is_said_before_the_first_byte(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(mirror.files[TGZ].body)
    needed = 4 * size
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - needed + 1, needed - 1)
    )
    lines: list[str] = []
    with pytest.raises(NoSpace) as caught:
        install(tmp_path, wanted(mirror), lines=lines)
    assert caught.value.details == {"needed": needed, "free": needed - 1}
    assert str(tmp_path) in str(caught.value) and "set root to a larger file system" in str(caught.value)
    assert lines == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - needed, needed))
    assert install(tmp_path, wanted(mirror)).installed


def test_a_file_system_that_fills_up_on_the_way(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dumps", full)
    with pytest.raises(NoSpace, match="is full"):
        install(tmp_path, wanted(mirror))
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_an_interrupted_run_are_cleaned(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / ".tmp-abc" / "tree" / "bin").mkdir(parents=True)
    (tmp_path / ".tmp-abc" / "tree" / "bin" / "ollama").touch()
    install(tmp_path, wanted(mirror))
    assert left_over(tmp_path) == []


def test_two_runs_at_once(mirror: Mirror, tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(OllamaError, match="Another run is installing"):
            install(tmp_path, wanted(mirror))
    finally:
        os.close(descriptor)
    assert install(tmp_path, wanted(mirror)).installed


def test_a_directory_of_somebody_else_is_left_alone(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "0.34.0").mkdir()
    (tmp_path / "0.34.0" / "mine").touch()
    with pytest.raises(InvalidInput, match=r"0\.34\.0 exists but was not installed by this module"):
        install(tmp_path, wanted(mirror))
    assert (tmp_path / "0.34.0" / "mine").exists()


def test_a_root_that_cannot_be(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match=f"{tmp_path}/file.*Check root"):
        install(tmp_path / "file" / "root", wanted(mirror))


def test_the_marker_names_every_archive(mirror: Mirror, tmp_path: Path) -> None:
    install(tmp_path, wanted(mirror))
    digest = hashlib.sha256(mirror.files[TGZ].body).hexdigest()
    assert json.loads((tmp_path / "0.34.0" / core.MARKER).read_text()) == {
        "archives": {"ollama-linux-amd64.tgz": digest}
    }
