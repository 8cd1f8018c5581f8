# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What has to come, be replaced or go, so that a mirror has what it shall have: decided before a byte is loaded."""

from __future__ import annotations

import hashlib
import shutil
import stat
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.llmops.ollama.plugins.module_utils.download import sha256_of
from ansible_collections.llmops.ollama.plugins.module_utils.errors import ChecksumMismatch, NoSpace, NotFound
from ansible_collections.llmops.ollama.plugins.module_utils.mirror.layout import (
    Layout,
    archive_name,
    blob_name,
    manifest_name,
)
from ansible_collections.llmops.ollama.plugins.module_utils.mirror.origin import File, Origin
from ansible_collections.llmops.ollama.plugins.module_utils.model_lock import Lock, Pin
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from ansible_collections.llmops.ollama.plugins.module_utils.progress import Report, Transfer
from ansible_collections.llmops.ollama.plugins.module_utils.registry import Layer, Manifest, Offer
from ansible_collections.llmops.ollama.plugins.module_utils.release import (
    CHECKSUMS,
    SUFFIXES,
    choose,
    parse_checksums,
    stem_of,
)
from ansible_collections.llmops.ollama.plugins.module_utils.words import from_json, size_text


@dataclass(frozen=True)
class Wanted:
    """What a mirror shall have.

    ``renew``: as the origin has it now, and not only something under that name. ``verify``: read all that is there.
    ``exclusive``: nothing else. ``pins`` are the models' digests that are accepted.
    """

    releases: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    models: tuple[ModelName, ...] = ()
    pins: Mapping[str, Pin] | None = None
    renew: bool = False
    verify: bool = False
    exclusive: bool = False


@dataclass(frozen=True)
class Unit:
    """A release or a model: its index (the list of checksums, or the manifest) and the files that this is about.

    ``name`` is that of the index and ``content`` what is to be written there, None where it stays. ``files`` are all
    that it is about, by name with their size (0: not known), ``missing`` those that have to come. ``model`` and its
    ``manifest`` as it will be are None for a release.
    """

    label: str
    name: str
    content: bytes | None
    files: Mapping[str, int]
    missing: tuple[File, ...]
    model: ModelName | None = None
    manifest: Manifest | None = None

    @property
    def changed(self) -> bool:
        return self.content is not None or bool(self.missing)


@dataclass(frozen=True)
class Plan:
    """What has to be done. ``damaged`` and ``removed`` are names of files that go; the damaged ones come back."""

    units: tuple[Unit, ...]
    damaged: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def missing(self) -> list[File]:
        return [file for unit in self.units for file in unit.missing]

    @property
    def changed(self) -> bool:
        return bool(self.damaged or self.removed) or any(unit.changed for unit in self.units)


class Planner:
    """Compares a mirror with what is wanted. The origin is asked only about what is not there, unless ``renew``."""

    def __init__(self, layout: Layout, origin: Origin, wanted: Wanted, report: Report) -> None:
        self._layout, self._origin, self._wanted = layout, origin, wanted
        self._listed = layout.listed()
        self.damaged: dict[str, None] = {}  # in the order in which it was found
        self._known: dict[tuple[str, str], bool] = {}
        self._coming: set[str] = set()
        self._reading = _Reading(layout, report)

    def plan(self) -> Plan:
        """Raises any ``OllamaError``."""
        units = [self._release(version) for version in self._wanted.releases]
        units += [self._model(model) for model in self._wanted.models]
        removed = self._superfluous(units) if self._wanted.exclusive else []
        return Plan(tuple(units), tuple(self.damaged), tuple(removed))

    # releases

    def _release(self, version: str) -> Unit:
        name = archive_name(version, CHECKSUMS)
        index = self._index(name)
        recorded = parse_checksums((index or b"").decode("utf-8", "replace"))
        archives = self._choose(version, recorded) if recorded and not self._wanted.renew else {}
        if not archives or not all(self._has(archive_name(version, file), archives[file]) for file in archives):
            index = self._origin.checksums(version)
            archives = self._choose(version, parse_checksums(index.decode("utf-8", "replace")))
        missing = []
        for file, sha256 in archives.items():
            if not self._has(archive_name(version, file), sha256, read=recorded.get(file) != sha256):
                missing.append(self._origin.archive(version, file, sha256))
        content = None if index == self._index(name) else index
        files = {archive_name(version, file): 0 for file in archives}
        return Unit(f"Ollama {version}", name, content, files, tuple(missing))

    def _choose(self, version: str, checksums: Mapping[str, str]) -> dict[str, str]:
        """Archive → sha256. A variant need not exist for every architecture. Raises ``NotFound``."""
        chosen: dict[str, str] = {}
        for variant in ("", *self._wanted.variants):
            stems = [stem_of(architecture, variant) for architecture in self._wanted.architectures]
            found = {each: choose(each, checksums) for each in stems}
            lacking = [each for each in stems if not found[each]]
            if lacking and (not variant or len(lacking) == len(stems)):
                raise NotFound(
                    f"Release {version} has no archive {lacking[0]}{' or '.join(SUFFIXES)}.",
                    f"Check architectures and variants; it lists: {', '.join(sorted(checksums)) or 'nothing'}.",
                )
            chosen.update(dict(archive for archive in found.values() if archive))
        return chosen

    # models

    def _model(self, model: ModelName) -> Unit:
        name = manifest_name(model)
        index = self._index(name)
        manifest = _parse(index)
        if manifest is None and index is not None:
            self.damaged[name] = None
        pin = (self._wanted.pins or {}).get(model.key)
        if (
            manifest is None
            or self._wanted.renew
            or (pin and pin.digest != manifest.digest)
            or not all(self._has_blob(blob) for blob in manifest.blobs)
        ):
            manifest, index = self._origin.manifest(model)
            _check_pin(model, pin, manifest)
        missing = [self._origin.blob(model, blob) for blob in dict.fromkeys(manifest.blobs) if not self._has_blob(blob)]
        missing = [file for file in missing if file.name not in self._coming]
        self._coming.update(file.name for file in missing)
        content = None if index == self._index(name) else index
        files = {blob_name(blob.digest): blob.size for blob in manifest.blobs}
        return Unit(str(model), name, content, files, tuple(missing), model, manifest)

    def _has_blob(self, blob: Layer) -> bool:
        return self._has(blob_name(blob.digest), blob.digest.partition(":")[2], blob.size)

    # what is there

    def _index(self, name: str) -> bytes | None:
        """A small file as it is, unless the list of files knows it by another sha256."""
        content = self._layout.read(name)
        if content is not None and self._listed.get(name, "") not in ("", hashlib.sha256(content).hexdigest()):
            self.damaged[name] = None
            return None
        return content

    def _has(self, name: str, sha256: str, size: int = 0, read: bool = False) -> bool:
        """Whether a file is there and good: by its size, and with ``verify`` or ``read`` by its content."""
        known = self._known.get((name, sha256))
        if known is None:
            known = self._known[name, sha256] = self._look(name, sha256, size, read or self._wanted.verify)
        return known

    def _look(self, name: str, sha256: str, size: int, read: bool) -> bool:
        try:
            there = self._layout.at(name).stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        good = stat.S_ISREG(there.st_mode) and size in (0, there.st_size)
        if good and read:
            good = self._reading.sha256(name) == sha256
        if not good:
            self.damaged[name] = None
        return good

    def _superfluous(self, units: Iterable[Unit]) -> list[str]:
        """What no unit is about."""
        used = {name for unit in units for name in (unit.name, *unit.files)}
        return [name for name in self._layout.files() if name not in used]


class _Reading:
    """Reads files that are there, and shows how far it is with all of them."""

    def __init__(self, layout: Layout, report: Report) -> None:
        self._layout, self._report = layout, report
        self._done = 0
        self._progress: Transfer | None = None

    def sha256(self, name: str) -> str:
        if self._progress is None:
            total = sum(self._layout.at(each).stat().st_size for each in self._layout.files())
            self._progress = Transfer("verifying", total)
        return sha256_of(self._layout.at(name), self._moved)

    def _moved(self, count: int) -> None:
        self._done += count
        if self._progress:
            self._report(self._progress.text(self._done))


def pins(layout: Layout, without: Collection[str] = ()) -> Lock:
    """The models of which every file is there, as they are; ``without`` the manifests of these names."""
    found: Lock = {}
    for model in layout.manifests():
        if manifest_name(model) in without:
            continue
        manifest = _parse(layout.read(manifest_name(model)))
        if manifest is None or not all(_size(layout, blob) == blob.size for blob in manifest.blobs):
            continue
        found[model.key] = pin_of(manifest, layout.read(blob_name(manifest.config.digest)) or b"")
    return found


def pin_of(manifest: Manifest, config: bytes) -> Pin:
    """What a lock says of a model, from its manifest and the content of its configuration."""
    try:
        value = from_json(config)
        quantization = str(value.get("file_type") or "")
    except (ValueError, AttributeError):
        quantization = ""
    return Pin.of_offer(Offer(manifest, quantization, "", ""))


def check_space(layout: Layout, plan: Plan, archive: Path | None = None) -> None:
    """Raise ``NoSpace`` unless what is to come fits, and ``archive``, where one is to be written of all of it.

    What an earlier run left of a file is not counted again.
    """
    needed: dict[int, int] = {}
    places: dict[int, Path] = {}

    def need(folder: Path, count: int) -> None:
        while not folder.is_dir():
            folder = folder.parent
        device = folder.stat().st_dev
        needed[device] = needed.get(device, 0) + count
        places.setdefault(device, folder)

    coming = {file.name: file for file in plan.missing}
    for file in coming.values():
        partial = layout.partial(file.name, file.sha256)
        left = partial.stat().st_size if partial.is_file() else 0
        need(layout.at(file.name).parent, max(file.size - left, 0))
    if archive:
        there = (layout.at(name).stat().st_size for name in layout.files() if name not in coming)
        need(archive.parent, sum(there) + sum(file.size for file in coming.values()))
    for device, count in needed.items():
        free = shutil.disk_usage(places[device]).free
        if count > free:
            raise NoSpace(
                f"The mirror needs {size_text(count)} more on the file system of {places[device]}, but only"
                f" {size_text(free)} are free there.",
                "Free some space there, or choose another path. What has arrived already is kept.",
                needed=count,
                free=free,
            )


def _parse(body: bytes | None) -> Manifest | None:
    try:
        return Manifest.parse(body) if body is not None else None
    except ValueError:
        return None


def _size(layout: Layout, blob: Layer) -> int:
    try:
        return layout.at(blob_name(blob.digest)).stat().st_size
    except OSError:
        return -1


def _check_pin(model: ModelName, pin: Pin | None, manifest: Manifest) -> None:
    if pin and pin.digest != manifest.digest:
        raise ChecksumMismatch(
            f"{model} has the digest {manifest.digest} where it comes from, but the lock pins {pin.digest}.",
            "It was published anew. Accept that with state latest and without the lock, or take the model from where"
            " it still is as it was.",
            model=str(model),
            expected=pin.digest,
            got=manifest.digest,
        )
