# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What declared models are made of: asked of the server that has them, else of the registry, before a pull."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput, NotFound, OllamaError
from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import Definition
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from ansible_collections.llmops.ollama.plugins.module_utils.model_shape import (
    ModelShape,
    from_header,
    from_server,
    lacks_lists,
)

# Source of the facts about an installed model.
SERVER = "server"
# What an answer from elsewhere needs.
REQUESTS = "the Python library requests to ask a registry with"


class Model(NamedTuple):
    """A model as the memory plan needs it.

    ``context`` (tokens), ``batch`` and ``gpu_layers`` (-1: all) are parameters of its own, which come before the
    server's settings. ``blob`` is the name of its weights in a store, ``path`` where they are in a file whose digest is
    not known, ``size`` what a store needs for all of it (bytes). ``source`` is where all of this is from: server,
    registry or file.
    """

    name: str
    shape: ModelShape
    context: int | None = None
    batch: int | None = None
    gpu_layers: int | None = None
    blob: str = ""
    source: str = "file"
    size: int = 0
    path: str = ""

    @property
    def weights(self) -> str:
        """The same for models of the same file, of which the server has only one in memory at a time."""
        return self.blob or self.path or self.name


class Server(Protocol):
    """What is asked of a server."""

    def tags(self) -> list[dict[str, Any]]: ...

    def show(self, model: str, verbose: bool = False) -> dict[str, Any]: ...


class Remote(Protocol):
    """What is asked of a registry and of the addresses of files; where it is nothing, ``NotFound`` is raised."""

    def model(self, name: ModelName) -> Model: ...

    def file(self, definition: Definition) -> Model: ...


class Candidate(NamedTuple):
    """One of the models that a definition may be made of.

    ``model`` is None where nobody could tell, and ``problem`` says why; ``absent``: because there is no such model.
    ``others`` are the models that are, in turn, made of it.
    """

    base: ModelName
    model: Model | None
    problem: str = ""
    absent: bool = False
    others: tuple[Model, ...] = ()


class Lookup:
    """Looks declared models up: at the server, else where they come from; None where the host cannot ask there.

    What cannot be looked up is left out with a warning. A model that is nowhere, and a file that the user named and
    that is no model, raise an ``OllamaError``. ``declared`` are all definitions, since one may be made of another.
    """

    def __init__(self, server: Server, remote: Remote | None, declared: Sequence[Definition] = ()) -> None:
        self._server, self._remote = server, remote
        self._declared = {definition.name.key: definition for definition in declared}
        self._bases: dict[str, Model | None] = {}
        self._installed: dict[str, Mapping[str, Any]] | None = None
        self.warnings: list[str] = []

    def models(self, definitions: Sequence[Definition]) -> tuple[Model, ...]:
        """The models that could be looked up, in order. Each definition has one base or a file."""
        return tuple(model for model in map(self._model, definitions) if model)

    def candidates(self, definition: Definition) -> list[Candidate]:
        """Each base of a definition, and what it is made of, if anybody can tell."""
        return [self._candidate(definition, base) for base in definition.bases]

    def _candidate(self, definition: Definition, base: ModelName) -> Candidate:
        try:
            model = self._defined(replace(definition, bases=(base,)))
        except NotFound as error:
            return Candidate(base, None, str(error), absent=True)
        except OllamaError as error:
            return Candidate(base, None, str(error))
        return Candidate(base, model, "" if model else f"The host lacks {REQUESTS}.")

    def _model(self, definition: Definition) -> Model | None:
        try:
            model = self._defined(definition)
        except NotFound:
            raise
        except OllamaError as error:
            if definition.gguf and not definition.is_download:  # the user's own file
                raise
            self.warnings.append(f"The memory of {definition.name} is not planned for: {error}")
            return None
        if model is None:
            self.warnings.append(f"The memory of {definition.name} is not planned for: the host lacks {REQUESTS}.")
        return model

    def _defined(self, definition: Definition) -> Model | None:
        """The model with the parameters of its definition; None where nobody can be asked."""
        model = self._weights(definition)
        return made_of(model, definition) if model else None

    def _weights(self, definition: Definition) -> Model | None:
        """What the definition's weights are and bring along."""
        if definition.is_download:
            there = self._of_server(definition.name)
            return there or (self._remote.file(definition) if self._remote else None)
        if definition.gguf:
            return _of_file(definition)
        base = definition.bases[0]
        declared = self._declared.get(base.key)
        if declared and base.key != definition.name.key:
            return self._base(declared)
        return self._of_server(base) or (self._remote.model(base) if self._remote else None)

    def _base(self, declared: Definition) -> Model | None:
        """What another model is made of, as it is declared and not as the last run left it."""
        key = declared.name.key
        if key not in self._bases:
            self._bases[key] = self._first(declared) if declared.is_open else self._defined(declared)
        return self._bases[key]

    def _first(self, declared: Definition) -> Model:
        """The first candidate that can be looked up, where it is not decided yet what a model will be made of."""
        candidates = self.candidates(declared)
        found = next((each.model for each in candidates if each.model), None)
        if found is None:
            raise OllamaError(candidates[0].problem)
        return found

    def _of_server(self, name: ModelName) -> Model | None:
        if self._installed is None:
            try:
                tags = self._server.tags()
            except OllamaError:  # no server yet, or none that answers: health() is for that
                tags = []
            self._installed = {ModelName.parse(str(entry["name"])).key: entry for entry in tags if "name" in entry}
        entry = self._installed.get(name.key)
        if entry is None:
            return None
        show = self._server.show(str(name))
        if lacks_lists(show):  # all of it takes a while to read
            show = self._server.show(str(name), verbose=True)
        told = entry.get("size")
        size = told if isinstance(told, int) else 0
        shape = from_server(show, size)
        if show.get("projector_info"):
            shape = replace(shape, weight_bytes=max(shape.weight_bytes, size), vision=True)
        said = str(show.get("parameters") or "")
        parameters = dict(re.findall(r"^(num_ctx|num_batch|num_gpu)\s+(-?\d+)\s*$", said, re.M))
        if _is_made_here(show.get("details")):
            # Made here, with what the last run gave every model; what the next one gives is not settled yet.
            parameters = {key: value for key, value in parameters.items() if key == "num_ctx"}
        blob = re.search(r"^FROM \S*(sha256-[0-9a-f]{64})", str(show.get("modelfile") or ""), re.M)
        model = Model(str(name), shape, blob=blob[1] if blob else "", source=SERVER, size=size)
        return with_parameters(model, parameters)


def _of_file(definition: Definition) -> Model:
    """What a GGUF file on this host is. Raises ``InvalidInput`` that names it."""
    # Imported here since few models come from files, and importing is most of what the tuner takes.
    from ansible_collections.llmops.ollama.plugins.module_utils.gguf_file import check_whole  # noqa: PLC0415
    from ansible_collections.llmops.ollama.plugins.module_utils.gguf_reader import read_header  # noqa: PLC0415

    path = os.path.realpath(definition.gguf)
    header = read_header(definition.gguf)
    size = os.stat(path).st_size  # noqa: PTH116
    check_whole(header, size, definition.gguf)
    try:
        shape = from_header(header)
    except InvalidInput as error:
        raise InvalidInput(f"{definition.gguf}: {error.problem}", error.remedy) from error
    blob = f"sha256-{definition.sha256}" if definition.sha256 else ""
    return Model(str(definition.name), shape, blob=blob, size=size, path=path)


def _is_made_here(details: Any) -> bool:
    parent = details.get("parent_model") if isinstance(details, dict) else None
    if not parent:
        return False
    from ansible_collections.llmops.ollama.plugins.module_utils.model_recipe import Record  # noqa: PLC0415  # as above

    return Record.of_parent(str(parent)) is not None


def made_of(base: Model, definition: Definition) -> Model:
    """What a definition makes of a base: its own parameters come first."""
    own = with_parameters(base._replace(name=str(definition.name)), definition.parameters)
    layers = base.gpu_layers if own.gpu_layers is None else own.gpu_layers
    return own._replace(context=own.context or base.context, batch=own.batch or base.batch, gpu_layers=layers)


def with_parameters(model: Model, parameters: Mapping[str, Any]) -> Model:
    """A model with those of its parameters that matter for memory."""

    def number(key: str) -> int | None:
        value = str(parameters.get(key, ""))
        return int(value) if re.fullmatch(r"0*[1-9]\d{0,9}", value) else None

    layers = str(parameters.get("num_gpu", ""))
    return model._replace(
        context=number("num_ctx"),
        batch=number("num_batch"),
        gpu_layers=int(layers) if re.fullmatch(r"-1|\d{1,4}", layers) else None,
    )
