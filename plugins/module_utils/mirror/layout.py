# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which file of a mirror is where. A file is known by its name, the path below the mirror's directory::

    releases/v0.34.0/ollama-linux-amd64.tar.zst
    releases/v0.34.0/sha256sum.txt
    models/blobs/sha256-<64 hex>
    models/manifests/registry.ollama.ai/library/gemma3/270m
    models.lock.yml
    SHA256SUMS

Nothing is under its name before it is complete; what is on its way lies in ``.partial`` of ``releases`` or ``models``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.llmops.ollama.plugins.module_utils.download import sha256_of
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.folder import make_folder, own_like
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from ansible_collections.llmops.ollama.plugins.module_utils.release import (
    ARCHIVE,
    CHECKSUMS,
    VERSION,
    parse_checksums,
)

LIST = "SHA256SUMS"
LOCK = "models.lock.yml"
PARTIAL = ".partial"


def archive_name(version: str, file: str) -> str:
    """The name of a file of a release."""
    return f"releases/v{version}/{file}"


def blob_name(digest: str) -> str:
    """The name of the blob ``sha256:<64 hex>``."""
    return f"models/blobs/{digest.replace(':', '-')}"


def manifest_name(model: ModelName) -> str:
    """The name of a model's manifest."""
    return f"models/manifests/{model.registry}/{model.namespace}/{model.model}/{model.tag}"


def model_of(name: str) -> ModelName | None:
    """The model whose manifest has this name; None for a file that is no manifest."""
    parts = name.split("/")
    if len(parts) != 6 or parts[:2] != ["models", "manifests"]:
        return None
    try:
        model = ModelName.parse("{}/{}/{}:{}".format(*parts[2:]))
    except InvalidInput:
        return None
    return model if manifest_name(model) == name else None


def format_list(digests: Mapping[str, str]) -> bytes:
    """A list of files that ``sha256sum --check`` reads; ``parse_checksums`` is its inverse."""
    return "".join(f"{digests[name]}  {name}\n" for name in sorted(digests)).encode()


@dataclass(frozen=True)
class Layout:
    """A mirror below ``root``; its releases and models may be elsewhere."""

    root: Path
    releases: Path
    models: Path

    def at(self, name: str) -> Path:
        """Where the file of that name is."""
        folder, _, rest = name.partition("/")
        known = {"releases": self.releases, "models": self.models}
        return known[folder] / rest if folder in known and rest else self.root / name

    @property
    def in_one_place(self) -> bool:
        """Whether everything is below ``root``, so that it can be carried away as it is."""
        return self.releases == self.root / "releases" and self.models == self.root / "models"

    def files(self) -> list[str]:
        """The names of all complete files of the mirror, except the list of files and the lock."""
        found = [
            archive_name(version, path.name)
            for version in self.versions()
            for path in _entries(self.releases / f"v{version}")
            if path.name == CHECKSUMS or path.name.startswith(ARCHIVE)
        ]
        found += [f"models/blobs/{path.name}" for path in _entries(self.models / "blobs") if _is_blob(path.name)]
        return sorted([*found, *map(manifest_name, self.manifests())])

    def versions(self) -> list[str]:
        """The releases of which anything is there."""
        names = (path.name for path in _entries(self.releases))
        return sorted(name[1:] for name in names if name.startswith("v") and VERSION.fullmatch(name[1:]))

    def manifests(self) -> list[ModelName]:
        """The models of which a manifest is there."""
        base = self.models / "manifests"
        names = (f"models/manifests/{path.relative_to(base)}" for path in base.glob("*/*/*/*") if path.is_file())
        return [model for model in map(model_of, sorted(names)) if model]

    def read(self, name: str) -> bytes | None:
        """The content of a small file; None where there is none."""
        try:
            return self.at(name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def listed(self) -> dict[str, str]:
        """The sha256 (hex) of each file by its name, as they were when they came; empty where there is no list."""
        return parse_checksums((self.read(LIST) or b"").decode("utf-8", "replace"))

    def digest(self, name: str) -> str:
        """The sha256 (hex) that a file had when it came: what its name or its release says; else it is read."""
        folder, _, file = name.rpartition("/")
        if folder == "models/blobs":
            return file.partition("-")[2]
        release = parse_checksums((self.read(f"{folder}/{CHECKSUMS}") or b"").decode("utf-8", "replace"))
        return release.get(file) or sha256_of(self.at(name))

    # writing

    def partial(self, name: str, sha256: str) -> Path:
        """Where a file with that content is while it is on its way."""
        return self._folder(name) / PARTIAL / sha256

    def place(self, partial: Path, name: str) -> None:
        """Give a complete file its name. Everybody may read it; it belongs to the owner of the folder."""
        path = self.at(name)
        make_folder(path.parent)
        partial.chmod(0o644)
        own_like(partial, path.parent)
        partial.replace(path)

    def write(self, name: str, content: bytes) -> None:
        """Put a small file in its place, at once and whole."""
        partial = self.partial(name, "new")
        make_folder(partial.parent)
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        self.place(partial, name)

    def remove(self, name: str) -> None:
        """Remove a file, and the folders that are empty without it."""
        path = self.at(name)
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            while path.parent not in (self.root, self.releases, self.models):
                path = path.parent
                path.rmdir()

    def clean(self) -> None:
        """Remove what never became complete, and is not wanted any more."""
        for folder in {self.root, self.releases, self.models}:
            if (folder / PARTIAL).is_dir():
                shutil.rmtree(folder / PARTIAL)

    def _folder(self, name: str) -> Path:
        return {"releases": self.releases, "models": self.models}.get(name.partition("/")[0], self.root)


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _is_blob(file: str) -> bool:
    kind, _, digest = file.partition("-")
    return kind == "sha256" and len(digest) == 64 and set(digest) <= set("0123456789abcdef")
