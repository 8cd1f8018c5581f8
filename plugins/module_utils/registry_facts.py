# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a model is made of that nobody has pulled yet: from its manifest and the head of its file at the registry."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.errors import UnexpectedAnswer
from ansible_collections.llmops.ollama.plugins.module_utils.gguf_file import check_whole
from ansible_collections.llmops.ollama.plugins.module_utils.gguf_reader import read_header
from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import Definition
from ansible_collections.llmops.ollama.plugins.module_utils.model_facts import Model, with_parameters
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from ansible_collections.llmops.ollama.plugins.module_utils.model_shape import from_header
from ansible_collections.llmops.ollama.plugins.module_utils.registry import Registry, source_of
from ansible_collections.llmops.ollama.plugins.module_utils.remote_file import header_at

# Layers beside the weights that are loaded with them.
LOADED_LAYERS = ("projector", "adapter")


class Elsewhere:
    """Answers about models that are not on the host yet; ``url`` is the registry's address."""

    def __init__(self, registry: Registry, url: str) -> None:
        self._registry, self._url = registry, url

    def model(self, name: ModelName) -> Model:
        """The model that the registry offers. Raises ``OllamaError``."""
        source, registry = source_of(name, self._url), self._registry
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
        parameters: dict[str, Any] = {}
        for layer in manifest.of_kind("params"):
            parameters.update(registry.json_blob(source, layer))
        vision = shape.vision or bool(manifest.of_kind("projector"))
        shape = replace(shape, weight_bytes=shape.weight_bytes + beside, vision=vision)
        blob = weights[0].digest.replace(":", "-")
        return with_parameters(Model(str(name), shape, blob=blob, source="registry", size=manifest.size), parameters)

    def file(self, definition: Definition) -> Model:
        """The GGUF file at an address. Raises ``OllamaError``."""
        header, size = header_at(definition.gguf, self._registry.timeout)
        check_whole(header, size or header.file_bytes, definition.gguf)
        blob = f"sha256-{definition.sha256}"
        return Model(str(definition.name), from_header(header), blob=blob, source="address", size=size)
