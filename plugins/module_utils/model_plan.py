# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What has to be done so that a server has a model, or no longer has it: decided from digests, before it is done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable

from ansible_collections.llmops.ollama.plugins.module_utils.errors import NoSpace, OllamaError
from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import Parameters
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from ansible_collections.llmops.ollama.plugins.module_utils.model_parameters import differing, same_base
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


@dataclass(frozen=True)
class Step:
    """What happens to one model. ``action`` is ``none``, ``pulled``, ``updated``, ``configured`` or ``removed``.

    ``before`` and ``after`` are the model's states, None where it is absent; ``source`` says where a pull gets it and
    ``missing`` which blobs the server does not have yet. ``parameters`` are set after that. ``warning`` is what the
    user should know nevertheless.
    """

    name: ModelName
    action: str
    before: Model | None
    after: Model | None
    source: Source | None = None
    missing: tuple[Layer, ...] = ()
    warning: str = ""
    parameters: Parameters = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        return self.action != "none"

    @property
    def bytes_to_pull(self) -> int:
        return sum(blob.size for blob in self.missing)


def keep(name: ModelName, model: Model | None) -> Step:
    """Leave a model as it is."""
    return Step(name, "none", model, model)


@dataclass(frozen=True)
class Server:
    """What the plan asks the server: whether it holds a blob, and what it shows of a model."""

    has_blob: Callable[[str], bool]
    show: Callable[[str], Mapping[str, Any]] = field(default=lambda name: {})


def bring(
    name: ModelName,
    installed: Model | None,
    source: Source,
    registry: Registry,
    server: Server,
    parameters: Parameters | None = None,
) -> Step:
    """Have the model that the registry offers now, with these parameters: nothing to do if the installed one is it.

    If the registry cannot tell, an installed model is kept at once; for one that is not, the registry is asked again
    and its error is raised in the end.
    """
    wanted = parameters or {}
    patient = installed is None
    try:
        manifest = registry.manifest(source, patient)
        if installed and wanted:
            show = server.show(str(name))
            if manifest.digest == installed.digest or same_base(manifest, show):
                return _configure(name, installed, differing(wanted, show))
        elif installed and manifest.digest == installed.digest:
            return keep(name, installed)
        offer = registry.offer(source, manifest, patient)
    except OllamaError as error:
        if installed is None:
            raise
        step = _configure(name, installed, differing(wanted, server.show(str(name))) if wanted else {})
        doubt = f"{name} is installed and stays as it is; it could not be compared. {error}"
        return replace(step, warning=doubt)
    missing = tuple(blob for blob in dict.fromkeys(manifest.blobs) if not server.has_blob(blob.digest))
    action = "updated" if installed else "pulled"
    return Step(name, action, installed, Model.of_offer(offer), source, missing, parameters=wanted)


def _configure(name: ModelName, installed: Model, parameters: Parameters) -> Step:
    """Give an installed model parameters; its digest is known only afterwards."""
    if not parameters:
        return keep(name, installed)
    return Step(name, "configured", installed, replace(installed, digest=""), parameters=parameters)


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
