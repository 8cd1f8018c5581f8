# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What declared models are made of: asked of the server that has them, else of the registry, before a pull."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.client import Client
from ansible_collections.llmops.ollama.plugins.module_utils.errors import (
    InvalidInput,
    NotFound,
    OllamaError,
    UnexpectedAnswer,
)
from ansible_collections.llmops.ollama.plugins.module_utils.gguf import read_header
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from ansible_collections.llmops.ollama.plugins.module_utils.model_shape import ModelShape, from_header, from_server
from ansible_collections.llmops.ollama.plugins.module_utils.registry import DEFAULT_URL, Registry, source_of

# Layers beside the weights that are loaded with them.
LOADED_LAYERS = ("projector", "adapter")
KEYS = ("name", "gguf")


@dataclass(frozen=True)
class Model:
    """A model as the memory plan needs it.

    ``context`` (tokens) and ``batch`` are parameters of its own, which come before the server's settings. ``blob`` is
    the name of its weights in a store, ``source`` where all of this is from: server, registry or file.
    """

    name: str
    shape: ModelShape
    context: int | None = None
    batch: int | None = None
    blob: str = ""
    source: str = "file"


@dataclass(frozen=True)
class Declared:
    """One entry of a list of models: the name, and a GGUF file on the host where there is one to look into."""

    name: ModelName
    gguf: str = ""

    @classmethod
    def of(cls, entry: Any, place: str = "models") -> Declared:
        """From a name, or a mapping with ``name`` and perhaps ``gguf``. Raises ``InvalidInput``."""
        if isinstance(entry, str):
            return cls(ModelName.parse(entry))
        if not isinstance(entry, Mapping):
            raise InvalidInput(
                f"{place} is {entry!r}.", f"Give a name, or a mapping with {', '.join(KEYS)}.", key=place
            )
        unknown = [str(key) for key in entry if key not in KEYS]
        if unknown or not isinstance(entry.get("name"), str):
            what = f"unknown key {unknown[0]!r}" if unknown else "name is missing"
            raise InvalidInput(f"{place}: {what}.", f"Known keys: {', '.join(KEYS)}.", key=place)
        return cls(ModelName.parse(entry["name"]), str(entry.get("gguf") or ""))


class Lookup:
    """Looks declared models up. ``client`` and ``registry`` may be None where the host cannot ask.

    What cannot be looked up is left out with a warning. A model that is nowhere, and a file that the user named and
    that is no model, raise an ``OllamaError``.
    """

    def __init__(self, client: Client | None, registry: Registry | None, registry_url: str = DEFAULT_URL) -> None:
        self._client, self._registry, self._registry_url = client, registry, registry_url
        self._installed: dict[str, Mapping[str, Any]] | None = None
        self.warnings: list[str] = []

    def models(self, declared: Sequence[Declared]) -> tuple[Model, ...]:
        """The models that could be looked up, in order, each once."""
        unique = {each.name.key: each for each in declared}
        return tuple(model for model in map(self._model, unique.values()) if model)

    def _model(self, declared: Declared) -> Model | None:
        if declared.gguf:
            return Model(str(declared.name), from_header(read_header(declared.gguf)))
        try:
            return self._of_server(declared.name) or self._of_registry(declared.name)
        except NotFound:
            raise
        except OllamaError as error:
            self.warnings.append(f"The memory of {declared.name} is not planned for: {error}")
            return None

    def _of_server(self, name: ModelName) -> Model | None:
        if self._client is None:
            return None
        if self._installed is None:
            try:
                tags = self._client.tags()
            except OllamaError:  # no server yet, or none that answers: health() is for that
                tags = []
            self._installed = {ModelName.parse(str(entry["name"])).key: entry for entry in tags}
        entry = self._installed.get(name.key)
        if entry is None:
            return None
        show = self._client.show(str(name))
        size = int(entry.get("size") or 0)
        shape = from_server(show, size)
        if show.get("projector_info"):
            shape = replace(shape, weight_bytes=max(shape.weight_bytes, size))
        parameters = dict(re.findall(r"^(num_ctx|num_batch)\s+(\d+)\s*$", str(show.get("parameters") or ""), re.M))
        blob = re.search(r"^FROM \S*(sha256-[0-9a-f]{64})", str(show.get("modelfile") or ""), re.M)
        return _model(str(name), shape, parameters, blob[1] if blob else "", "server")

    def _of_registry(self, name: ModelName) -> Model | None:
        if self._registry is None:
            self.warnings.append(
                f"The memory of {name} is not planned for: the host lacks the Python library requests to ask with."
            )
            return None
        registry, source = self._registry, source_of(name, self._registry_url)
        manifest = registry.manifest(source)
        weights = manifest.of_kind("model")
        if not weights:
            raise UnexpectedAnswer(
                f"{source.registry} has {name} without a GGUF file.", "Choose a model in GGUF format."
            )
        offer = registry.offer(source, manifest)
        header = read_header(
            lambda offset, length: registry.read_blob(source, weights[0], offset, length),
            f"{name} at {source.registry}",
        )
        shape = from_header(header, offer.quantization, offer.family)
        beside = sum(layer.size for layer in manifest.of_kind(*LOADED_LAYERS))
        shape = replace(shape, weight_bytes=shape.weight_bytes + beside)
        parameters: dict[str, Any] = {}
        for layer in manifest.of_kind("params"):
            parameters.update(registry.json_blob(source, layer))
        return _model(str(name), shape, parameters, weights[0].digest.replace(":", "-"), "registry")


def _model(name: str, shape: ModelShape, parameters: Mapping[str, Any], blob: str, source: str) -> Model:
    def number(key: str) -> int | None:
        value = str(parameters.get(key, ""))
        return int(value) if value.isdigit() and int(value) > 0 else None

    return Model(name, shape, number("num_ctx"), number("num_batch"), blob, source)
