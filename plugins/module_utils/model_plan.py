# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What has to be done so that a server has the declared models: decided from digests, before it is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Optional

from ansible_collections.llmops.ollama.plugins.module_utils.errors import OllamaError
from ansible_collections.llmops.ollama.plugins.module_utils.gguf_file import GgufFile
from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import Definition, Parameters
from ansible_collections.llmops.ollama.plugins.module_utils.model_lock import Lock, check_offer
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from ansible_collections.llmops.ollama.plugins.module_utils.model_parameters import lacking
from ansible_collections.llmops.ollama.plugins.module_utils.model_recipe import Overlay, Record, same_digest
from ansible_collections.llmops.ollama.plugins.module_utils.model_state import State
from ansible_collections.llmops.ollama.plugins.module_utils.registry import Layer, Registry, Source, source_of


@dataclass(frozen=True)
class Making:
    """How a model is made on the server, once its weights are there: of ``base`` or of ``file``, with an overlay.

    Without an overlay it is a second name of the base. ``recorded`` is false where leftovers of an earlier definition
    may stay in it, so that it must not count as defined.
    """

    base: ModelName
    overlay: Overlay = field(default_factory=Overlay)
    file: GgufFile | None = None
    recorded: bool = True


@dataclass(frozen=True)
class Step:
    """What happens to one model.

    ``action`` is ``none``, ``pulled`` (was not there), ``updated`` (other weights), ``created`` (of another model or a
    file), ``rebuilt`` (the same weights, defined anew) or ``removed``. ``before`` and ``after`` are the model's states,
    None where it is absent. ``source`` says where a pull gets it, ``promised`` the digest that it then has, and
    ``missing`` which blobs the server does not have yet; ``making`` follows. ``warning`` is what the user should know.
    """

    name: ModelName
    action: str
    before: State | None
    after: State | None
    source: Source | None = None
    promised: str = ""
    missing: tuple[Layer, ...] = ()
    making: Making | None = None
    warning: str = ""

    @property
    def changed(self) -> bool:
        return self.action != "none"

    @property
    def bytes_to_bring(self) -> int:
        """Bytes that the server does not have yet."""
        return sum(blob.size for blob in self.missing)

    @property
    def bytes_meanwhile(self) -> int:
        """Bytes of disk that are needed only meanwhile: the server writes a file anew to check it."""
        file = self.making.file if self.making and self.missing else None
        return file.size * (2 if file.is_download else 1) if file else 0


def keep(name: ModelName, state: State | None, warning: str = "") -> Step:
    """Leave a model as it is."""
    return Step(name, "none", state, state, warning=warning)


def remove(name: ModelName, installed: State | None) -> Step:
    """Remove a model, if it is there."""
    return Step(name, "removed", installed, None) if installed else keep(name, None)


# Finds out what a definition's file is; for one that a model is already made of, as its record says, without a look
# into all of it. Raises ``OllamaError``.
Files = Callable[[Definition, Optional[Record]], GgufFile]
# The origin in the record of a model that was made of a file.
OF_FILE = "gguf"


@dataclass(frozen=True)
class Server:
    """What the plan asks the server: whether it holds a blob, and what it shows of a model."""

    has_blob: Callable[[str], bool]
    show: Callable[[str], Mapping[str, Any]] = field(default=lambda name: {})


class Planner:
    """Plans for one server with its ``installed`` models and one registry at the address ``url``.

    ``latest``: what the registry offers now is wanted, not only what is installed. ``lock`` says which digests are
    right. ``parameters`` are for every declared model, under its own.
    """

    def __init__(
        self,
        installed: Mapping[str, State],
        server: Server,
        registry: Registry,
        url: str,
        *,
        latest: bool = False,
        lock: Lock | None = None,
        parameters: Parameters | None = None,
        files: Files | None = None,
    ) -> None:
        self._installed, self._server, self._registry, self._url = installed, server, registry, url
        self._latest, self._lock, self._parameters = latest, lock or {}, parameters or {}
        self._files = files
        self._declared: dict[str, Definition] = {}
        self._steps: dict[str, Step] = {}
        self._coming: set[str] = set()  # models may share blobs, and each is brought once

    def bring(self, definitions: Sequence[Definition]) -> list[Step]:
        """Have these models, each with one base or a file. A base comes before what is made of it."""
        self._declared = {definition.name.key: definition for definition in definitions}
        for definition in definitions:
            self._step(definition)
        return list(self._steps.values())

    def exclude(self) -> list[Step]:
        """Remove what is installed and neither declared nor a base of what is."""
        others = {state.name or key: state for key, state in self._installed.items() if key not in self._steps}
        return [remove(ModelName.parse(name), others[name]) for name in sorted(others)]

    def _step(self, definition: Definition) -> Step:
        key = definition.name.key
        if key not in self._steps:
            declared = key in self._declared
            overlay = Overlay.of(definition, self._parameters) if declared else Overlay()
            before = self._installed.get(key)
            if definition.gguf:
                step = self._of_file(definition, before, overlay)
            elif definition.bases[0].key == key:
                step = self._of_registry(definition.name, before, overlay)
            else:
                step = self._of_other(definition, before, overlay)
            self._coming.update(blob.digest for blob in step.missing)
            self._steps[key] = step
        return self._steps[key]

    # The registry's model under its own name

    def _of_registry(self, name: ModelName, before: State | None, overlay: Overlay) -> Step:
        pin = self._lock.get(name.key)
        parent = self._parent(name, before)
        record = Record.of_parent(parent)
        pristine = before is not None and not parent
        # The digest of what the registry once gave; unknown where somebody else made the model.
        has = record.base if record else before.digest if before and pristine else ""
        right = before is not None and (same_digest(has, pin.digest) if pin else not self._latest)
        as_defined = record == Record.make(overlay, str(name), has) if overlay else record is None
        if right and as_defined:
            return keep(name, before)
        if right and before and pristine:
            return self._made(name, before, before, Making(name, overlay))
        source = source_of(name, self._url)
        try:
            manifest = self._registry.manifest(source, patient=before is None)
            if pin:
                check_offer(name, source.registry, manifest.digest, pin)
            if as_defined and same_digest(has, manifest.digest):
                return keep(name, before)
            if before and before.digest == manifest.digest:
                return self._made(name, before, before, Making(name, overlay))
            offer = self._registry.offer(source, manifest, patient=before is None)
        except OllamaError as error:
            if before is None or (pin and not right):
                raise
            return self._without_registry(name, before, overlay, error)
        action = "pulled" if before is None else "rebuilt" if same_digest(has, manifest.digest) else "updated"
        making = Making(name, overlay) if overlay else None
        after = replace(State.of_offer(offer), digest="") if making else State.of_offer(offer)
        return Step(name, action, before, after, source, manifest.digest, self._missing(manifest.blobs), making)

    def _without_registry(self, name: ModelName, before: State, overlay: Overlay, error: OllamaError) -> Step:
        """What can be done with an installed model that cannot be compared: set what it lacks, take nothing away."""
        left = lacking(overlay, self._server.show(str(name))) if overlay else overlay
        if left:
            doubt = f"{name} gets only what it lacks; it could not be compared. {error}"
            return replace(self._made(name, before, before, Making(name, left, recorded=False)), warning=doubt)
        return keep(name, before, f"{name} is installed and stays as it is; it could not be compared. {error}")

    # A model of another one

    def _of_other(self, definition: Definition, before: State | None, overlay: Overlay) -> Step:
        name, base = definition.name, definition.bases[0]
        of = self._step(self._declared.get(base.key) or Definition(base, (base,))).after
        if of is None:
            raise ValueError(f"{base} will not be there")
        if overlay:
            record = Record.of_parent(self._parent(name, before))
            same = record is not None and record == Record.make(overlay, str(base), of.digest)
        else:
            same = before is not None and before.digest == of.digest
        return keep(name, before) if same else self._made(name, before, of, Making(base, overlay))

    # A model of a file

    def _of_file(self, definition: Definition, before: State | None, overlay: Overlay) -> Step:
        name = definition.name
        record = Record.of_parent(self._parent(name, before))
        if self._files is None:
            raise ValueError("nobody can look at files")
        file = self._files(definition, record)
        if before and record == Record.make(overlay, OF_FILE, file.sha256, file.fingerprint):
            return keep(name, before)
        if before and record and record.is_of(file.sha256):
            # The server may have rewritten the file; what it made of it is as good, and is there.
            return self._made(name, before, before, Making(name, overlay, file))
        header = file.header
        after = State("", file.size, "", "", "")
        if header:
            after = State("", file.size, header.quantization, header.architecture, header.parameter_size)
        missing = self._missing([Layer(f"sha256:{file.sha256}", file.size, "model")])
        action = "updated" if before else "created"
        return Step(name, action, before, after, missing=missing, making=Making(name, overlay, file))

    @staticmethod
    def _made(name: ModelName, before: State | None, of: State, making: Making) -> Step:
        """Make a model of what is there by then; the digest of one with an overlay is known only afterwards."""
        after = of if making.base.key != name.key and not making.overlay else replace(of, digest="")
        return Step(name, "rebuilt" if before else "created", before, after, making=making)

    def _parent(self, name: ModelName, before: State | None) -> str:
        if before is None or before.parent is not None:
            return before.parent or "" if before else ""
        return str((self._server.show(str(name)).get("details") or {}).get("parent_model") or "")

    def _missing(self, blobs: Iterable[Layer]) -> tuple[Layer, ...]:
        new = [blob for blob in dict.fromkeys(blobs) if blob.digest not in self._coming]
        return tuple(blob for blob in new if not self._server.has_blob(blob.digest))
