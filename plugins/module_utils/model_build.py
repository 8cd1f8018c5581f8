# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Making a model on the server of what is there: a second name, another model with an overlay, a GGUF file."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Mapping
from typing import Any, Callable

from ansible_collections.llmops.ollama.plugins.module_utils.client import Client
from ansible_collections.llmops.ollama.plugins.module_utils.errors import (
    NotFound,
    OllamaError,
    UnexpectedAnswer,
    Unreachable,
)
from ansible_collections.llmops.ollama.plugins.module_utils.gguf_file import GgufFile
from ansible_collections.llmops.ollama.plugins.module_utils.model_lock import weights_of
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from ansible_collections.llmops.ollama.plugins.module_utils.model_parameters import lacking
from ansible_collections.llmops.ollama.plugins.module_utils.model_plan import OF_FILE, Making, Step
from ansible_collections.llmops.ollama.plugins.module_utils.model_recipe import Overlay, Record
from ansible_collections.llmops.ollama.plugins.module_utils.model_state import State, installed_models
from ansible_collections.llmops.ollama.plugins.module_utils.progress import Report
from ansible_collections.llmops.ollama.plugins.module_utils.retry import Wait, with_retries

# Seconds of silence in which the server may read, check and write a large file anew.
SILENCE = 3600.0

# Brings a file's bytes to the server, as the blob of its digest.
Upload = Callable[[GgufFile], None]


def unless_gone(change: Callable[..., None], *names: str) -> None:
    """Do it, and take it for done where somebody else has removed the model meanwhile."""
    with contextlib.suppress(NotFound):
        change(*names)


def give_name(client: Client, source: str, name: ModelName, spare: ModelName | None) -> None:
    """Give a model another name, too. No moment is without a model of that name, and no old layer is left behind.

    ``spare`` is a name to keep the model under that had the name before; None where there was none. Names that somebody
    else removes meanwhile are no failure here: what stands in the end is looked at afterwards.
    """
    if spare:  # its layers are freed only when the last name that uses them is deleted
        unless_gone(client.copy, str(name), str(spare))
    unless_gone(client.copy, source, str(name))
    if spare:
        unless_gone(client.delete, str(spare))


class Maker:
    """Makes models through one client."""

    def __init__(
        self, client: Client, retries: int, report: Report, upload: Upload, *, wait: Wait = time.sleep
    ) -> None:
        self._client, self._retries, self._report = client, retries, report
        self._upload, self._wait = upload, wait

    def make(self, step: Step) -> State:
        """Make what ``step`` says and return it as the server shows it. Raises ``OllamaError``."""
        if step.making is None:
            raise ValueError(f"{step} makes nothing")
        making = step.making
        if making.file and step.missing:
            self._upload(making.file)
        record = self._record(making)  # now: an attempt that breaks may have made the model already
        with_retries(lambda: self._attempt(step, making, record), self._retries, self._report, self._wait)
        return self._state(step.name)

    def _record(self, making: Making) -> Record:
        if making.file:
            return Record.make(making.overlay, OF_FILE, making.file.sha256, making.file.fingerprint)
        return Record.make(making.overlay, str(making.base), self._state(making.base).digest)

    def _attempt(self, step: Step, making: Making, record: Record) -> None:
        name = str(step.name)
        if not making.overlay and not making.file:
            spare = step.name._replace(tag="replaced-by-copy") if step.before else None
            give_name(self._client, str(making.base), step.name, spare)
        elif not making.recorded:
            self._create({"model": name, "from": name, **making.overlay.request()})
        else:
            self._build(step, making, record)
        left = lacking(making.overlay, self._client.show(name)).parameters
        if left:
            raise UnexpectedAnswer(
                f"{name} does not have {Overlay(left)} after the server was told to set it.",
                "Check the parameter's name against the documentation of this Ollama version.",
                model=name,
                status=http.client.OK,
            )

    def _build(self, step: Step, making: Making, record: Record) -> None:
        """Make it of a name that is there only meanwhile, and that the server remembers as its parent."""
        name, base = str(step.name), str(record.name)
        try:
            if making.file:
                self._create({"model": base, "files": {"model.gguf": f"sha256:{self._blob(step, making.file)}"}})
            else:
                self._client.copy(str(making.base), base)
            self._create({"model": name, "from": base, **making.overlay.request()})
        except OllamaError:
            # Another play that makes the same model may have removed the base's name: then its model is the right one.
            if self._parent(name) != base:
                raise
        finally:
            with contextlib.suppress(OllamaError):
                unless_gone(self._client.delete, base)

    def _blob(self, step: Step, file: GgufFile) -> str:
        """The blob to make a model of: the file's, or what the server once made of it."""
        if step.action != "rebuilt":
            return file.sha256
        return next(iter(weights_of(self._client.show(str(step.name)))), file.sha256)

    def _state(self, name: ModelName) -> State:
        models = installed_models(self._client.tags())
        if name.key not in models:
            raise NotFound(f"{name} is not on {self._client.url} any more.", "Run again: somebody has removed it.")
        return models[name.key]

    def _parent(self, name: str) -> str:
        try:
            details = self._client.show(name).get("details") or {}
        except OllamaError:
            return ""
        return str(details.get("parent_model") or "")

    def _create(self, request: Mapping[str, Any]) -> None:
        name = request["model"]
        status = ""
        try:
            with contextlib.closing(self._client.create(request, SILENCE)) as events:
                for event in events:
                    status = str(event.get("status", ""))
                    self._report(status)
        except UnexpectedAnswer as error:
            reported = error.details.get("reported") or error.problem.rstrip(".")
            raise UnexpectedAnswer(
                f"{name} could not be made: {reported}.",
                error.remedy or "Check the model's definition, and look at the server's log.",
                **error.details,
            ) from error
        if status != "success":
            raise Unreachable(
                f"The making of {name} ended after {status!r} and not with 'success'.",
                "Look at the server's log for a restart or a crash.",
            )
