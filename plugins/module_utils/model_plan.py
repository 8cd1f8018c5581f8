# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What has to be done so that a server has a model, or no longer has it: decided from digests, before it is done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

from ansible_collections.llmops.ollama.plugins.module_utils.errors import NoSpace, OllamaError
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from ansible_collections.llmops.ollama.plugins.module_utils.progress import size_text
from ansible_collections.llmops.ollama.plugins.module_utils.registry import Layer, Offer, Registry, Source


@dataclass(frozen=True)
class Model:
    """A model as ``/api/tags`` describes it: ``digest`` is the sha256 of its manifest, ``size`` is in bytes."""

    digest: str
    size: int
    quantization: str
    family: str
    parameter_size: str

    @classmethod
    def of_tag(cls, entry: Mapping[str, Any]) -> Model:
        """An installed model, from its entry in the answer to ``/api/tags``."""
        details = entry.get("details") or {}
        return cls(
            digest=str(entry.get("digest", "")),
            size=int(entry.get("size", 0)),
            quantization=str(details.get("quantization_level") or ""),
            family=str(details.get("family") or ""),
            parameter_size=str(details.get("parameter_size") or ""),
        )

    @classmethod
    def of_offer(cls, offer: Offer) -> Model:
        """What a model will be once it is pulled."""
        return cls(offer.manifest.digest, offer.manifest.size, offer.quantization, offer.family, offer.parameter_size)


def installed_models(tags: Iterable[Mapping[str, Any]]) -> dict[str, Model]:
    """The models of ``/api/tags`` by the key of their name (``ModelName.key``)."""
    return {str(entry.get("name", "")).lower(): Model.of_tag(entry) for entry in tags}


def distinct_names(texts: Iterable[str]) -> list[ModelName]:
    """The names of a list in its order, each model once. Raises ``InvalidInput``."""
    return list({name.key: name for name in map(ModelName.parse, texts)}.values())


@dataclass(frozen=True)
class Step:
    """What happens to one model. ``action`` is ``none``, ``pulled``, ``updated`` or ``removed``.

    ``before`` and ``after`` are the model's states, None where it is absent; ``source`` says where a pull gets it and
    ``missing`` which blobs the server does not have yet. ``warning`` is what the user should know nevertheless.
    """

    name: ModelName
    action: str
    before: Model | None
    after: Model | None
    source: Source | None = None
    missing: tuple[Layer, ...] = ()
    warning: str = ""

    @property
    def changed(self) -> bool:
        return self.action != "none"

    @property
    def bytes_to_pull(self) -> int:
        return sum(blob.size for blob in self.missing)


def keep(name: ModelName, model: Model | None, doubt: OllamaError | None = None) -> Step:
    """Leave a model as it is; ``doubt`` is why it could not be compared with the registry."""
    warning = f"{name} is installed and stays as it is; it could not be compared. {doubt}" if doubt else ""
    return Step(name, "none", model, model, warning=warning)


def bring(
    name: ModelName,
    installed: Model | None,
    source: Source,
    registry: Registry,
    has_blob: Callable[[str], bool],
) -> Step:
    """Have the model that the registry offers now: nothing to do if the installed digest is the same.

    If the registry cannot tell, an installed model is kept at once; for one that is not, the registry is asked again
    and its error is raised in the end. ``has_blob`` says whether the server already holds a blob.
    """
    patient = installed is None
    try:
        manifest = registry.manifest(source, patient)
        if installed and manifest.digest == installed.digest:
            return keep(name, installed)
        offer = registry.offer(source, manifest, patient)
    except OllamaError as error:
        if installed is None:
            raise
        return keep(name, installed, error)
    missing = tuple(blob for blob in dict.fromkeys(manifest.blobs) if not has_blob(blob.digest))
    return Step(name, "updated" if installed else "pulled", installed, Model.of_offer(offer), source, missing)


def remove(name: ModelName, installed: Model | None) -> Step:
    """Remove a model, if it is there."""
    return Step(name, "removed", installed, None) if installed else keep(name, None)


def check_space(models_path: str, steps: Iterable[Step]) -> None:
    """Raise ``NoSpace`` if the file system of ``models_path`` cannot take the blobs that are missing.

    What an interrupted pull already wrote is not counted again. The directory itself need not exist yet.
    """
    missing = {blob.digest: blob.size for step in steps for blob in step.missing}
    store = Path(models_path)
    needed = sum(size - _written(store, digest) for digest, size in missing.items())
    existing = next(folder for folder in (store, *store.parents) if os.path.isdir(folder))  # noqa: PTH112  # no errors
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise NoSpace(
            f"The models need {size_text(needed)} more in {models_path}, but only {size_text(free)} are free there.",
            "Free some space, move the model store to a larger file system (OLLAMA_MODELS), or choose smaller models.",
            needed=needed,
            free=free,
            models_path=models_path,
        )


def _written(store: Path, digest: str) -> int:
    """Bytes on disk of a blob that is being pulled: the file has its final length from the start, but with holes."""
    try:
        return (store / "blobs" / f"{digest.replace(':', '-')}-partial").stat().st_blocks * 512
    except OSError:
        return 0
