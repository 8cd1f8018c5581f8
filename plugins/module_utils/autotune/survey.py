# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looks at a host before anything is tried: is there what a search needs, and what runs now?"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils import model_parameters
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.bounds import Situation
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.demand import Demand
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.record import Fingerprint, of_hardware
from ansible_collections.llmops.ollama.plugins.module_utils.client import Client
from ansible_collections.llmops.ollama.plugins.module_utils.effective import Host
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput, NotFound
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.files import Files
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.probe import probe
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.unit import TUNED
from ansible_collections.llmops.ollama.plugins.module_utils.memory_plan import Workload
from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import Definition
from ansible_collections.llmops.ollama.plugins.module_utils.model_facts import Lookup, Model
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from ansible_collections.llmops.ollama.plugins.module_utils.policy import Policy
from ansible_collections.llmops.ollama.plugins.module_utils.runner import read_environ
from ansible_collections.llmops.ollama.plugins.module_utils.tuning import Intent

MARKER = "Managed by llmops.ollama"


@dataclass(frozen=True)
class Survey:
    """A host on which a search can begin, and the models on it that were asked for, the one to be measured first.

    ``absent`` are names of those that are not installed.
    """

    situation: Situation
    models: tuple[Model, ...]
    quantizations: tuple[Model, ...]
    absent: tuple[str, ...]
    fingerprint: Fingerprint

    @property
    def model(self) -> str:
        return self.models[0].name


def require_root() -> None:
    """Raises ``InvalidInput``."""
    if os.geteuid() != 0:
        raise InvalidInput("Only root may try settings of a service.", "Use become: true.")


def require_managed(service: str, files: Files) -> None:
    """Refuse a service whose settings are somebody else's. Raises ``InvalidInput``."""
    path = f"/etc/systemd/system/{service}.d/{TUNED}"
    if MARKER not in files.read(path):
        raise InvalidInput(
            f"{service} is not managed by this collection: {path} is not there, or not from it.",
            "Set it up with the role llmops.ollama.ollama first, or name the service that it set up.",
        )


class Surveyor:
    """Asks the server and reads the files of its host."""

    def __init__(self, client: Client, service: str, host: Host | None = None, files: Files | None = None) -> None:
        self._client, self._service = client, service
        self._host, self._files = host or Host(), files or Files()

    def survey(
        self,
        demand: Demand,
        policy: Policy,
        environment: Mapping[str, Any],
        models: Sequence[str],
        quantizations: Sequence[str] = (),
    ) -> Survey:
        """``environment`` is what the user set; of ``models`` the first is measured. Raises an ``OllamaError``."""
        require_managed(self._service, self._files)
        unit = self._host.unit(self._service)
        version = self._client.version()
        tags = {ModelName.parse(str(each["name"])).key: each for each in self._client.tags()}
        wanted = [ModelName.parse(name) for name in models]
        compared = [ModelName.parse(name) for name in quantizations]
        tag = tags.get(wanted[0].key)
        if tag is None:
            have = ", ".join(sorted(tags)) or "none"
            raise NotFound(
                f"{self._client.url} does not have model {str(wanted[0])!r}; only an installed one can be measured.",
                f"Pull it first (llmops.ollama.model), or choose one of those that are installed ({have}).",
            )
        lookup = Lookup(self._client, None)

        def look_up(names: Sequence[ModelName]) -> tuple[Model, ...]:
            present = dict.fromkeys(name for name in names if name.key in tags)
            return lookup.models([Definition(name, bases=(name,)) for name in present])

        known = look_up(wanted)
        if known[0].shape.is_embedding:
            raise InvalidInput(
                f"{known[0].name} generates no text.", "Name a model that does: its answers are counted."
            )
        shown = model_parameters.of_show(self._client.show(known[0].name))
        hardware = probe()
        situation = Situation(
            hardware=hardware,
            policy=policy,
            intent=Intent.make(engine_version=version, environment=environment),
            workload=Workload(known),
            has=read_environ(unit.main_pid, self._host.proc),
            parameters={name: found[-1] for name, found in shown.items()},
        )
        fingerprint = Fingerprint(
            hardware=of_hardware(hardware),
            engine_version=version,
            model=known[0].name,
            weights=known[0].blob,
            digest=str(tag.get("digest") or ""),
            workload=demand.to_dict(),
        )
        absent = tuple(str(name) for name in (*wanted, *compared) if name.key not in tags)
        return Survey(situation, known, look_up(compared), absent, fingerprint)
