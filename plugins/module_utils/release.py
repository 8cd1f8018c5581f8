# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Installs releases of Ollama side by side: ``<root>/<version>/{bin,lib}``.

A version's directory appears under its name only when it is complete; everything unfinished lives under ``.tmp-*`` in
the same root, so that an interrupted run leaves nothing that could be mistaken for a release.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess  # only GNU tar, without a shell
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.download import Downloader
from ansible_collections.llmops.ollama.plugins.module_utils.errors import (
    InvalidInput,
    NoSpace,
    NotFound,
    UnexpectedAnswer,
    from_os_error,
)
from ansible_collections.llmops.ollama.plugins.module_utils.folder import exclusively
from ansible_collections.llmops.ollama.plugins.module_utils.progress import Report, Transfer, shown
from ansible_collections.llmops.ollama.plugins.module_utils.words import from_json, http_url, size_text

# Where Ollama's own releases are.
RELEASES_URL = "https://github.com/ollama/ollama/releases/download"
# Names of the architectures in the release's files, by what the kernel calls them.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# In the order of preference: zstd archives are smaller and unpack faster; older releases have only gzip.
SUFFIXES = (".tar.zst", ".tgz")
ARCHIVE = "ollama-linux-"
CHECKSUMS = "sha256sum.txt"
# Unpacked bytes per byte of archive, for the check of free space: GPU libraries shrink to about half; 3 leaves room.
EXPANSION_FACTOR = 3
# Left inside a complete release: which files it came from.
MARKER = ".llmops-release.json"
TEMPORARY = ".tmp-"

VERSION = re.compile(r"\d+\.\d+\.\d+(?:-[0-9A-Za-z.]+)?")
_CHECKSUM_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](?:\./)?(\S+)")


@dataclass(frozen=True)
class Release:
    """One version as the user wants it. ``sha256`` (hex) is the user's own for the main archive, or empty."""

    version: str
    base_url: str
    architecture: str
    variants: tuple[str, ...] = ()
    sha256: str = ""

    def url(self, name: str) -> str:
        """Where a file of this release lies."""
        return f"{self.base_url}/v{self.version}/{name}"

    def stems(self) -> list[str]:
        """The archives' names without suffix; the main one first."""
        return [stem_of(self.architecture, variant) for variant in ("", *self.variants)]


@dataclass(frozen=True)
class Outcome:
    """What an installation did, or under check mode would do. ``bytes`` were downloaded by this run."""

    path: str
    installed: bool
    sha256: str
    bytes: int
    removed: tuple[str, ...]


def release(
    version: str, base_url: str, machine: str, variants: Sequence[str] = (), sha256: str | None = None
) -> Release:
    """Check what the user gave. ``machine`` is the kernel's name of the architecture.

    Raises ``InvalidInput``.
    """
    if machine not in ARCHITECTURES:
        raise InvalidInput(
            f"Ollama has no release for the architecture {machine}.", f"Use a host with {' or '.join(ARCHITECTURES)}."
        )
    if sha256 and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise InvalidInput(f"sha256 {sha256!r} is not a checksum.", "Give 64 hexadecimal digits.")
    return Release(
        version=version_number(version),
        base_url=http_url("base_url", base_url),
        architecture=ARCHITECTURES[machine],
        variants=distinct_variants(variants),
        sha256=(sha256 or "").lower(),
    )


def version_number(text: str) -> str:
    """A version without the leading ``v`` that a user may give it. Raises ``InvalidInput``."""
    number = text.strip().removeprefix("v")
    if not VERSION.fullmatch(number):
        raise InvalidInput(f"{text!r} is not a version of Ollama.", "Give one release, for example 0.34.0.")
    return number


def distinct_variants(variants: Sequence[str]) -> tuple[str, ...]:
    """The variants of a list in its order, each once. Raises ``InvalidInput``."""
    for variant in variants:
        if not re.fullmatch(r"[a-z0-9]+", variant):
            raise InvalidInput(f"{variant!r} is not a variant of a release.", "Give for example rocm or jetpack6.")
    return tuple(dict.fromkeys(variants))


def stem_of(architecture: str, variant: str = "") -> str:
    """The name of an archive without its suffix; the main one has no variant."""
    return f"{ARCHIVE}{architecture}" + (f"-{variant}" if variant else "")


def parse_checksums(text: str) -> dict[str, str]:
    """File name → sha256 from the output of ``sha256sum``; lines of any other form are left out."""
    found = (_CHECKSUM_LINE.fullmatch(line.strip()) for line in text.splitlines())
    return {match.group(2): match.group(1).lower() for match in found if match}


def choose(stem: str, checksums: Mapping[str, str], sha256: str = "") -> tuple[str, str] | None:
    """The archive to take for ``stem`` and the sha256 that it must have, or ``None`` where nothing suitable is listed.

    A sha256 that the user gave wins, and among the listed archives it names the one that has it.
    """
    listed = [stem + suffix for suffix in SUFFIXES if stem + suffix in checksums]
    if not listed:
        return None
    name = next((name for name in listed if checksums[name] == sha256), listed[0])
    return name, sha256 or checksums[name]


def version_key(version: str) -> tuple[tuple[int, ...], bool, str]:
    """Sorts versions by age: ``0.9.0 < 0.34.0-rc1 < 0.34.0``."""
    numbers, _, candidate = version.partition("-")
    return tuple(int(part) for part in numbers.split(".")), not candidate, candidate


def superfluous(installed: Sequence[str], wanted: str, active: str | None, keep: int) -> list[str]:
    """The installed versions to remove, oldest first.

    Besides ``wanted``, ``keep`` versions stay: the active one (always) and then the newest.
    """
    others = sorted((version for version in installed if version != wanted), key=version_key, reverse=True)
    others.sort(key=lambda version: version != active)  # stable: the active one first, the rest from new to old
    stay = max(keep, 1) if active in others else keep
    return list(reversed(others[stay:]))


class Installation:
    """The releases below one ``root``, for example ``/opt/ollama``."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)

    def marker(self, version: str) -> dict[str, Any] | None:
        """What a complete release says about itself: ``archives``, file name → sha256; ``None`` where there is none."""
        try:
            value: dict[str, Any] = from_json((self.root / version / MARKER).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        return value

    def installed(self) -> list[str]:
        """The versions that are complete, in no order."""
        if not self.root.is_dir():
            return []
        return [
            entry.name for entry in self.root.iterdir() if VERSION.fullmatch(entry.name) and self.marker(entry.name)
        ]

    def active(self) -> str | None:
        """The version that ``<root>/current`` leads to."""
        try:
            return Path((self.root / "current").readlink()).name
        except OSError:
            return None

    def recorded_sha256(self, wanted: Release) -> str | None:
        """The main archive's sha256 where ``wanted`` is completely installed, else ``None``."""
        archives = (self.marker(wanted.version) or {}).get("archives", {})
        found = [(choose(stem, archives) or ("", ""))[1] for stem in wanted.stems()]
        if not all(found) or (wanted.sha256 and found[0] != wanted.sha256):
            return None
        return found[0]

    def install(self, wanted: Release, source: Downloader, keep: int, report: Report, check: bool = False) -> Outcome:
        """Bring ``wanted`` to its place and remove what is superfluous. ``check``: only say what would be done.

        A release that is complete needs no network. Raises any ``OllamaError``; what is installed then stays as it was.
        """
        with self._plain_errors():
            return self._install(wanted, source, keep, report, check)

    def _install(self, wanted: Release, source: Downloader, keep: int, report: Report, check: bool) -> Outcome:
        path = self.root / wanted.version
        if path.exists() and self.marker(wanted.version) is None:
            raise InvalidInput(f"{path} exists but was not installed by this module.", "Move it away, then run again.")
        removed = superfluous(self.installed(), wanted.version, self.active(), keep)
        sha256 = self.recorded_sha256(wanted)
        if check:
            archives = [] if sha256 else self._archives(wanted, source)
            return Outcome(str(path), not sha256, sha256 or archives[0][1], 0, tuple(removed))
        received = 0
        missing = not sha256
        with exclusively(self.root, "installing below"):
            for leftover in self.root.glob(f"{TEMPORARY}*"):
                shutil.rmtree(leftover)
            if missing:
                sha256, received = self._bring(wanted, source, path, report)
            for version in removed:
                # Renamed first: a removal that is interrupted must not leave half a release under its name.
                doomed = self.root / f"{TEMPORARY}{version}"
                (self.root / version).rename(doomed)
                shutil.rmtree(doomed)
        return Outcome(str(path), missing, sha256 or "", received, tuple(removed))

    def _bring(self, wanted: Release, source: Downloader, path: Path, report: Report) -> tuple[str, int]:
        """Download, verify and unpack into a temporary directory; give it its name when it is complete."""
        archives = self._archives(wanted, source)
        if any(name.endswith(".tar.zst") for name, _ in archives) and not shutil.which("zstd"):
            raise InvalidInput(
                "The release is a .tar.zst archive, but this host has no zstd to unpack it.",
                "Install the package zstd.",
            )
        received = 0
        with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=self.root) as temporary:
            tree = Path(temporary, "tree")
            tree.mkdir()
            for name, expected in archives:
                archive, url = Path(temporary, name), wanted.url(name)
                show = shown(f"downloading {name}", report)
                received += source.save(
                    url, archive, expected, moved=show, announced=partial(_require_space, url, tree)
                )
                unpack(archive, tree, report)
                archive.unlink()
            if not os.access(tree / "bin" / "ollama", os.X_OK):
                raise UnexpectedAnswer(
                    f"{wanted.url(archives[0][0])} holds no bin/ollama.", "Check version and base_url."
                )
            (tree / MARKER).write_text(json.dumps({"archives": dict(archives)}, indent=1) + "\n", encoding="utf-8")
            tree.chmod(0o755)
            if path.exists():
                path.rename(Path(temporary, "replaced"))
            tree.rename(path)
        return archives[0][1], received

    def _archives(self, wanted: Release, source: Downloader) -> list[tuple[str, str]]:
        """Name and sha256 of every archive to fetch, from the release's own list; the main one first."""
        try:
            checksums = parse_checksums(source.read(wanted.url(CHECKSUMS)).decode("utf-8", "replace"))
        except NotFound as error:
            raise NotFound(
                f"There is no release {wanted.version} below {wanted.base_url}: {error.problem}",
                "Check version and base_url (a mirror must serve sha256sum.txt beside the archives).",
                **error.details,
            ) from None
        if not checksums:
            raise UnexpectedAnswer(f"{wanted.url(CHECKSUMS)} holds no checksums.", "Check base_url.")
        archives: list[tuple[str, str]] = []
        for stem in wanted.stems():
            archive = choose(stem, checksums, wanted.sha256 if not archives else "")
            if not archive:
                raise NotFound(
                    f"Release {wanted.version} at {wanted.base_url} has no archive {stem}{' or '.join(SUFFIXES)}.",
                    f"It lists: {', '.join(sorted(checksums))}.",
                )
            archives.append(archive)
        return archives

    @contextlib.contextmanager
    def _plain_errors(self) -> Iterator[None]:
        """Say what the operating system refused, in words that name the path."""
        try:
            yield
        except OSError as error:
            raise from_os_error(error, self.root, "Check root and the user that this runs as.") from error


def unpack(archive: Path, tree: Path, report: Report) -> None:
    """Unpack a verified archive with GNU tar (which refuses ``..``); links that lead outside ``tree`` are refused here.

    Raises ``UnexpectedAnswer``, ``NoSpace``.
    """
    progress = Transfer(f"unpacking {archive.name}", archive.stat().st_size)
    command = ["tar", "--extract", "--file=-", f"--directory={tree}", "--no-same-owner", "--no-same-permissions"]
    command.append("--zstd" if archive.name.endswith(".zst") else "--gzip")
    with archive.open("rb") as stream, tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(  # a fixed command; the paths are ours
            command, stdin=stream, stderr=complaints, umask=0o022
        )
        while True:
            try:
                status = process.wait(timeout=0.5)
                break
            except subprocess.TimeoutExpired:
                # tar reads through the same open file, so its position is how far tar is.
                report(progress.text(os.lseek(stream.fileno(), 0, os.SEEK_CUR)))
        complaints.seek(0)
        words = complaints.read().decode("utf-8", "replace").strip()
    if status:
        if "No space left" in words:
            raise NoSpace(f"The file system of {tree} became full while {archive.name} was unpacked.", "Make room.")
        raise UnexpectedAnswer(f"tar cannot unpack {archive.name}: {words}.", "Check the archive on the mirror.")
    for folder, folders, files in os.walk(tree):
        for entry in (Path(folder, name) for name in folders + files):
            if entry.is_symlink() and not _inside(entry, tree):
                raise UnexpectedAnswer(
                    f"{archive.name} holds a link that leads outside: {entry.relative_to(tree)} -> {entry.readlink()}.",
                    "Do not use this archive.",
                )


def _inside(entry: Path, tree: Path) -> bool:
    return tree.resolve() in entry.resolve().parents


def _require_space(url: str, tree: Path, archive: int) -> None:
    """Raise ``NoSpace`` unless an archive of that many bytes and its content, in ``tree``, fit."""
    needed = archive * (1 + EXPANSION_FACTOR)
    free = shutil.disk_usage(tree).free
    if free < needed:
        raise NoSpace(
            f"{url} needs {size_text(needed)} on the file system of {tree.parents[1]} ({size_text(archive)} of archive"
            f" and up to {EXPANSION_FACTOR} times that unpacked); {size_text(free)} are free.",
            "Make room there, or set root to a larger file system.",
            needed=needed,
            free=free,
        )
