# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the files of a mirror come from: over the network, or from a bundle that somebody carried here."""

from __future__ import annotations

import contextlib
import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from ansible_collections.llmops.ollama.plugins.module_utils.download import (
    READ_BYTES,
    Downloader,
    Incoming,
    Moved,
    Rest,
    checked,
)
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput, NotFound, UnexpectedAnswer
from ansible_collections.llmops.ollama.plugins.module_utils.mirror.layout import (
    LIST,
    archive_name,
    blob_name,
    manifest_name,
    model_of,
)
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from ansible_collections.llmops.ollama.plugins.module_utils.registry import Layer, Manifest, Registry, source_of
from ansible_collections.llmops.ollama.plugins.module_utils.release import CHECKSUMS, parse_checksums


@dataclass(frozen=True)
class File:
    """A file that is to come: its ``name`` in the mirror, ``sha256`` (hex), ``size`` in bytes (0: not known).

    ``label`` is what it is for a person, ``url`` where it is.
    """

    name: str
    sha256: str
    size: int
    label: str
    url: str = ""


class Origin(Protocol):
    """Where files come from. Every method raises an ``OllamaError`` that names the file or the address."""

    def checksums(self, version: str) -> bytes:
        """The list ``sha256sum.txt`` of a release."""

    def archive(self, version: str, file: str, sha256: str) -> File:
        """One archive of a release."""

    def manifest(self, model: ModelName) -> tuple[Manifest, bytes]:
        """The manifest of a model, and the bytes that its digest is over."""

    def blob(self, model: ModelName, layer: Layer) -> File:
        """One blob of a model."""

    def small_blob(self, model: ModelName, layer: Layer) -> bytes:
        """The content of a small blob of a model."""

    def save(self, file: File, partial: Path, moved: Moved) -> int:
        """Complete a file at ``partial``; returns the bytes that came."""


class Upstream:
    """The addresses of releases and of a registry: the official ones, or those of another mirror."""

    def __init__(self, releases: str, registry: str, downloads: Downloader, blobs: Downloader, asker: Registry) -> None:
        self._releases, self._registry = releases.rstrip("/"), registry
        self._downloads, self._blobs, self._asker = downloads, blobs, asker

    def checksums(self, version: str) -> bytes:
        try:
            return self._downloads.read(f"{self._releases}/v{version}/{CHECKSUMS}")
        except NotFound as error:
            raise NotFound(
                f"There is no release {version} below {self._releases}: {error.problem}",
                "Check the version and release_url.",
                **error.details,
            ) from None

    def archive(self, version: str, file: str, sha256: str) -> File:
        url = f"{self._releases}/v{version}/{file}"
        return File(archive_name(version, file), sha256, self._downloads.size(url), f"{version} {file}", url)

    def manifest(self, model: ModelName) -> tuple[Manifest, bytes]:
        return self._asker.served_manifest(source_of(model, self._registry), patient=True)

    def blob(self, model: ModelName, layer: Layer) -> File:
        source = source_of(model, self._registry)
        url = f"{source.registry}/v2/{model.namespace}/{model.model}/blobs/{layer.digest}"
        return File(blob_name(layer.digest), layer.digest.partition(":")[2], layer.size, str(model), url)

    def small_blob(self, model: ModelName, layer: Layer) -> bytes:
        return self._blobs.read(self.blob(model, layer).url)

    def save(self, file: File, partial: Path, moved: Moved) -> int:
        source = self._blobs if file.name.startswith("models/") else self._downloads
        return source.save(file.url, partial, file.sha256, file.size, moved)


class Bundle:
    """A mirror's directory that was carried here, or one .tar file of it, which is read where it is.

    Each file is believed only if it has the sha256 that the bundle's list gives it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files = _Folder(path) if path.is_dir() else Tar(path)
        text = self._files.content(LIST)
        if text is None:
            raise InvalidInput(
                f"{path} is not a bundle, or not a complete one: it has no {LIST}.",
                "Give the directory, or the .tar file, that the playbook bundle wrote to its end.",
                key="source",
            )
        self._listed = parse_checksums(text.decode("utf-8", "replace"))

    def checksums(self, version: str) -> bytes:
        versions = sorted({name.split("/")[1] for name in self._listed if name.startswith("releases/")})
        return self._small(archive_name(version, CHECKSUMS), f"release {version}", versions)

    def archive(self, version: str, file: str, sha256: str) -> File:
        name = archive_name(version, file)
        others = [other for other in self._listed if other.startswith(archive_name(version, ""))]
        self._require(name, f"archive {file} of {version}", others)
        return File(name, sha256, self._files.size(name) or 0, f"{version} {file}")

    def manifest(self, model: ModelName) -> tuple[Manifest, bytes]:
        models = [str(found) for found in map(model_of, self._listed) if found]
        body = self._small(manifest_name(model), f"model {model}", models)
        try:
            return Manifest.parse(body), body
        except ValueError as error:
            raise UnexpectedAnswer(f"{self._path}: {manifest_name(model)} is no manifest.", "Make it anew.") from error

    def blob(self, model: ModelName, layer: Layer) -> File:
        return File(blob_name(layer.digest), layer.digest.partition(":")[2], layer.size, str(model))

    def small_blob(self, model: ModelName, layer: Layer) -> bytes:
        return self._small(blob_name(layer.digest), f"blob of {model}", [])

    def save(self, file: File, partial: Path, moved: Moved) -> int:
        self._require(file.name, f"file {file.name}", [])

        @contextlib.contextmanager
        def open_at(start: int) -> Iterator[Rest]:
            with self._files.open(file.name) as (stream, size):
                begin = min(start, size)
                stream.seek(begin, 1)
                yield Rest(begin, size, _pieces(stream, size - begin))

        incoming = Incoming(f"{self._path}: {file.name}", partial, file.size, moved)
        incoming.complete(file.sha256, open_at, lambda attempt: attempt())
        return incoming.received

    def _require(self, name: str, what: str, others: list[str]) -> None:
        if name not in self._listed or self._files.size(name) is None:
            known = f"It has {', '.join(others)}." if others else "Make the bundle anew, or carry all of it here."
            raise NotFound(f"The bundle {self._path} has no {what}.", known, name=name)

    def _small(self, name: str, what: str, others: list[str]) -> bytes:
        self._require(name, what, others)
        content = self._files.content(name) or b""
        checked(f"{self._path}: {name}", self._listed[name], hashlib.sha256(content).hexdigest())
        return content


class _Folder:
    """The files of a directory, by their names."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def size(self, name: str) -> int | None:
        path = self._path / name
        return path.stat().st_size if path.is_file() else None

    def content(self, name: str) -> bytes | None:
        path = self._path / name
        return path.read_bytes() if path.is_file() else None

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[tuple[BinaryIO, int]]:
        """The file at its first byte, and its size."""
        with (self._path / name).open("rb") as stream:
            yield stream, (self._path / name).stat().st_size


class Tar:
    """The files of an uncompressed tar, by their names, whatever folder they were packed with."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with tarfile.open(path, "r:") as archive:
                members = {member.name.lstrip("./"): member for member in archive if member.isreg()}
        except (tarfile.TarError, EOFError) as error:
            raise InvalidInput(
                f"{path} cannot be read as a bundle: {error}.",
                "Give a directory, or a .tar file that is complete and not compressed.",
                key="source",
            ) from error
        lists = sorted((name for name in members if f"/{name}".endswith(f"/{LIST}")), key=len)
        prefix = lists[0][: -len(LIST)] if lists else ""
        self._members = {
            name[len(prefix) :]: (member.offset_data, member.size)
            for name, member in members.items()
            if name.startswith(prefix)
        }

    def size(self, name: str) -> int | None:
        return self._members[name][1] if name in self._members else None

    def content(self, name: str) -> bytes | None:
        if name not in self._members:
            return None
        with self.open(name) as (stream, size):
            return stream.read(size)

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[tuple[BinaryIO, int]]:
        offset, size = self._members[name]
        with self._path.open("rb") as stream:
            stream.seek(offset)
            yield stream, size


def _pieces(stream: BinaryIO, length: int) -> Iterator[bytes]:
    while length > 0:
        piece = stream.read(min(READ_BYTES, length))
        if not piece:
            return
        length -= len(piece)
        yield piece
