# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What declared models are made of: asked of the server that has them, else of the registry, before a pull."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Callable, Protocol

from ansible_collections.llmops.ollama.plugins.module_utils.errors import NotFound, OllamaError
from ansible_collections.llmops.ollama.plugins.module_utils.gguf import read_header
from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import Definition
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from ansible_collections.llmops.ollama.plugins.module_utils.model_shape import ModelShape, from_header, from_server


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


class Server(Protocol):
    """What is asked of a server."""

    def tags(self) -> list[dict[str, Any]]: ...

    def show(self, model: str) -> dict[str, Any]: ...


# What a registry offers under a name. Raises ``OllamaError``, ``NotFound`` where it is nothing.
Offered = Callable[[ModelName], Model]


class Lookup:
    """Looks declared models up: at the server, else at the registry; the latter is None where the host cannot ask it.

    What cannot be looked up is left out with a warning. A model that is nowhere, and a file that the user named and
    that is no model, raise an ``OllamaError``.
    """

    def __init__(self, server: Server, offered: Offered | None) -> None:
        self._server, self._offered = server, offered
        self._installed: dict[str, Mapping[str, Any]] | None = None
        self.warnings: list[str] = []

    def models(self, definitions: Sequence[Definition]) -> tuple[Model, ...]:
        """The models that could be looked up, in order. Each definition has one base or a file."""
        return tuple(model for model in map(self._model, definitions) if model)

    def _model(self, definition: Definition) -> Model | None:
        try:
            model = self._weights(definition)
        except NotFound:
            raise
        except OllamaError as error:
            if definition.gguf and "://" not in definition.gguf:  # the user's own file
                raise
            self.warnings.append(f"The memory of {definition.name} is not planned for: {error}")
            return None
        if model is None:
            self.warnings.append(
                f"The memory of {definition.name} is not planned for: the host lacks the Python library requests to "
                "ask a registry with."
            )
            return None
        own = make_model(definition.name, model.shape, definition.parameters, model.blob, model.source)
        return replace(own, context=own.context or model.context, batch=own.batch or model.batch)

    def _weights(self, definition: Definition) -> Model | None:
        """What the definition's weights are and bring along."""
        if definition.gguf:
            return Model(str(definition.name), from_header(read_header(definition.gguf)))
        base = definition.bases[0]
        return self._of_server(base) or (self._offered(base) if self._offered else None)

    def _of_server(self, name: ModelName) -> Model | None:
        if self._installed is None:
            try:
                tags = self._server.tags()
            except OllamaError:  # no server yet, or none that answers: health() is for that
                tags = []
            self._installed = {ModelName.parse(str(entry["name"])).key: entry for entry in tags}
        entry = self._installed.get(name.key)
        if entry is None:
            return None
        show = self._server.show(str(name))
        size = int(entry.get("size") or 0)
        shape = from_server(show, size)
        if show.get("projector_info"):
            shape = replace(shape, weight_bytes=max(shape.weight_bytes, size))
        parameters = dict(re.findall(r"^(num_ctx|num_batch)\s+(\d+)\s*$", str(show.get("parameters") or ""), re.M))
        blob = re.search(r"^FROM \S*(sha256-[0-9a-f]{64})", str(show.get("modelfile") or ""), re.M)
        return make_model(name, shape, parameters, blob[1] if blob else "", "server")


def make_model(name: ModelName, shape: ModelShape, parameters: Mapping[str, Any], blob: str, source: str) -> Model:
    """A model with those of its parameters that matter for memory."""

    def number(key: str) -> int | None:
        value = str(parameters.get(key, ""))
        return int(value) if value.isdigit() and int(value) > 0 else None

    return Model(str(name), shape, number("num_ctx"), number("num_batch"), blob, source)
