# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One run over the declared models of a server: choose, plan, check what can be checked, carry out, tell."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Callable

from ansible_collections.llmops.ollama.plugins.module_utils.client import Client
from ansible_collections.llmops.ollama.plugins.module_utils.download import Downloader
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput, OllamaError, Unreachable
from ansible_collections.llmops.ollama.plugins.module_utils.gguf_upload import Uploader, forget_upload, look_at
from ansible_collections.llmops.ollama.plugins.module_utils.model_build import Maker
from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import Definition, Parameters
from ansible_collections.llmops.ollama.plugins.module_utils.model_lock import Lock
from ansible_collections.llmops.ollama.plugins.module_utils.model_plan import Planner, Server, Step, remove
from ansible_collections.llmops.ollama.plugins.module_utils.model_pull import Puller
from ansible_collections.llmops.ollama.plugins.module_utils.model_report import difference, row
from ansible_collections.llmops.ollama.plugins.module_utils.model_state import State, installed_models
from ansible_collections.llmops.ollama.plugins.module_utils.model_store import (
    Leftover,
    check_space,
    damaged,
    leftovers,
)
from ansible_collections.llmops.ollama.plugins.module_utils.model_warm import LOAD_TIMEOUT, warm
from ansible_collections.llmops.ollama.plugins.module_utils.policy import Policy
from ansible_collections.llmops.ollama.plugins.module_utils.progress import Board, Report
from ansible_collections.llmops.ollama.plugins.module_utils.registry import Registry
from ansible_collections.llmops.ollama.plugins.module_utils.registry_relay import routed
from ansible_collections.llmops.ollama.plugins.module_utils.words import seconds

PRESENT, LATEST, ABSENT = STATES = ("present", "latest", "absent")


@dataclass(frozen=True)
class Order:
    """What a user asks for; the fields are the options of the module ``model``. Raises ``InvalidInput``."""

    models: tuple[Definition, ...]
    state: str
    registry: str
    parameters: Parameters
    lock: Lock
    exclusive: bool
    warm: bool
    policy: Policy
    models_path: str | None
    retries: int
    stall_timeout: float

    def __post_init__(self) -> None:
        seconds("stall_timeout", self.stall_timeout)
        if self.retries < 0:
            raise InvalidInput(f"retries is {self.retries}.", "Give 0 or a positive number.")
        if self.state == ABSENT and (self.exclusive or self.warm):
            other = "exclusive" if self.exclusive else "warm"
            raise InvalidInput(f"state is absent, and {other} is true.", "Only models that are there can be meant.")
        if self.exclusive and not self.models:
            raise InvalidInput(
                "exclusive is true, but no model is declared.", "It would remove every model: name those that stay."
            )


@dataclass
class Work:
    """One run. ``warnings`` is what the user should know; ``to_dict`` tells what has been done so far."""

    order: Order
    client: Client
    registry: Registry
    report: Report
    check: bool = False
    steps: list[Step] = field(default_factory=list)
    choices: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    _looked_at: dict[str, Leftover | None] = field(default_factory=dict)
    _stale: list[Leftover] = field(default_factory=list)
    _removed: list[Leftover] = field(default_factory=list)
    _rows: list[dict[str, Any]] = field(default_factory=list)

    def plan(self) -> None:
        """Decide what is to be done, after every check that can be made before. Raises ``OllamaError``."""
        order = self.order
        installed, there = self._installed()
        if order.state == ABSENT:
            self.steps = [remove(each.name, installed.get(each.name.key)) for each in order.models]
            return

        def has_blob(digest: str) -> bool:
            return there and self.client.has_blob(digest) and not self._is_damaged(digest)

        planner = Planner(
            installed,
            Server(has_blob, self.client.show),
            self.registry,
            order.registry,
            latest=order.state == LATEST,
            lock=order.lock,
            parameters=order.parameters,
            files=lambda definition, record: look_at(definition, record, self.registry.timeout, self.report),
        )
        self.steps = planner.bring(self._decided(has_blob))
        self.warnings += [step.warning for step in self.steps if step.warning]
        if order.models_path:
            self._look_at_store(order.models_path)
        if order.exclusive:
            self.steps += planner.exclude()

    def _installed(self) -> tuple[Mapping[str, State], bool]:
        """The server's models, and whether there is a server."""
        try:
            return installed_models(self.client.tags()), True
        except Unreachable as error:
            if not self.check:
                raise
            # A dry run on a host whose service the same run would have brought: there is nothing yet.
            self.warnings.append(f"{error} The prediction is that of a server without models.")
            return {}, False

    def _decided(self, has_blob: Callable[[str], bool]) -> tuple[Definition, ...]:
        """The definitions, each with one base; where there are candidates, this host decides."""
        order = self.order
        if not any(definition.is_open for definition in order.models):
            return order.models
        # Imported here since it takes as long as all the rest of a run in which nothing changes.
        from ansible_collections.llmops.ollama.plugins.module_utils.model_decision import decide  # noqa: PLC0415

        found = decide(
            order.models, self.client, self.registry, order.registry, order.policy, order.models_path, has_blob
        )
        self.choices = [choice.to_dict() for choice in found.choices]
        self.warnings += found.warnings
        return found.definitions

    def _is_damaged(self, digest: str) -> bool:
        """Whether a broken pull left other bytes under that digest; these go before the server believes them."""
        if digest not in self._looked_at and self.order.models_path:
            self._looked_at[digest] = damaged(self.order.models_path, digest)
        return self._looked_at.get(digest) is not None

    def _look_at_store(self, path: str) -> None:
        missing = {blob.digest: blob.size for step in self.steps for blob in step.missing}
        self._stale = [*leftovers(path, missing), *(each for each in self._looked_at.values() if each)]
        meanwhile = max((step.bytes_meanwhile for step in self.steps), default=0)
        check_space(path, missing, meanwhile - sum(each.size for each in self._stale))

    def carry_out(self) -> None:
        """Do it. Raises ``OllamaError``."""
        order = self.order
        if self.check:
            self._rows, self._removed = [row(step, step.after, 0.0) for step in self.steps], self._stale
            return
        for leftover in self._stale:
            leftover.remove()
            self._removed.append(leftover)
        board = Board(self.report, [step.bytes_to_bring for step in self.steps])
        downloader = Downloader(self.registry.timeout, order.retries, board.say, option="gguf")
        upload = Uploader(self.client, board, downloader, order.models_path)
        maker = Maker(self.client, order.retries, board.say, upload)
        sources = [step.source for step in self.steps if step.source]
        with routed(self.registry.access, sources, self.client.url, self.registry.timeout) as route:
            puller = Puller(self.client, order.retries, order.stall_timeout, board, route)
            for step in self.steps:
                begin = time.monotonic()
                board.begin(str(step.name))
                state = self._do(step, puller, maker)
                self._rows.append(row(step, state, time.monotonic() - begin))
        if order.warm:
            with Client(self.client.url, LOAD_TIMEOUT) as patient:
                loads = warm(patient, [str(each.name) for each in order.models], self.report)
            for each in self._rows:
                each["load_seconds"] = loads.get(each["name"])

    def _do(self, step: Step, puller: Puller, maker: Maker) -> State | None:
        if step.action == "removed":
            self.client.delete(str(step.name))
        had_layers = step.action == "rebuilt" and self._has_layers(step)
        state = step.after
        if step.source:
            listed = {other.name.key for other in self.steps if other.after}
            state = puller.install(step, keep_alias=step.source.name.key in listed)
        if step.making:
            state = maker.make(step)
            if step.making.file and step.missing and self.order.models_path:
                forget_upload(self.client, self.order.models_path, step.making.file.sha256)
        if had_layers and not self._has_layers(step):
            # For a request that does not say how many, the server goes on with those that it has loaded.
            self.client.unload(str(step.name))
        return state

    def _has_layers(self, step: Step) -> bool:
        """Whether the model says how many of its layers shall be on GPUs."""
        try:
            return "num_gpu" in str(self.client.show(str(step.name)).get("parameters") or "")
        except OllamaError:  # it cannot be read, which making it anew may mend
            return False

    def to_dict(self) -> dict[str, Any]:
        """The module's result."""
        done = self.steps[: len(self._rows)]
        return {
            "changed": any(step.changed for step in done) or bool(self._removed),
            "models": self._rows,
            "choices": self.choices,
            "freed": sum(leftover.size for leftover in self._removed),
            "diff": difference(done, self._removed),
        }
