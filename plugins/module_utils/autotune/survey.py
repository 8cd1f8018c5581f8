# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looks at a host before anything is tried: is there what a search needs, and what runs now?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

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
from ansible_collections.llmops.ollama.plugins.module_utils.loaded_model import same_model
from ansible_collections.llmops.ollama.plugins.module_utils.memory_plan import Workload
from ansible_collections.llmops.ollama.plugins.module_utils.model_facts import Declared, Lookup, Model
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from ansible_collections.llmops.ollama.plugins.module_utils.policy import Policy
from ansible_collections.llmops.ollama.plugins.module_utils.runner import read_environ
from ansible_collections.llmops.ollama.plugins.module_utils.tuning import Intent

MARKER = "Managed by llmops.ollama"


@dataclass(frozen=True)
class Survey:
    """A host on which a search can begin. ``model`` is what is measured; ``version`` is the running server's."""

    situation: Situation
    model: Model
    version: str
    fingerprint: Fingerprint


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


def survey(
    client: Client, name: str, models: Sequence[str], service: str, policy: Policy, given: dict[str, object], demand: Demand
) -> Survey:
    """Look at the host. ``given`` are variables that the user set. Raises an ``OllamaError``."""
    host = Host()
    unit = host.unit(service)
    version = client.version()
    tag = next((each for each in client.tags() if same_model(str(each.get("name")), name)), None)
    if tag is None:
        have = ", ".join(sorted(str(each.get("name")) for each in client.tags())) or "none"
        raise NotFound(
            f"{client.url} does not have model {name!r}, and only an installed one can be measured.",
            f"Pull it first (llmops.ollama.model), or choose one that is installed ({have}).",
        )
    parsed = str(ModelName.parse(name))
    known = Lookup(client, None).models([Declared.of(each) for each in dict.fromkeys([name, *models])])
    model = next(each for each in known if each.name == parsed)
    if model.shape.is_embedding:
        raise InvalidInput(f"{name} generates no text.", "Name a model that does: goodput counts its answers.")
    shown = model_parameters.of_show(client.show(name))
    hardware = probe()
    situation = Situation(
        hardware=hardware,
        policy=policy,
        intent=Intent.make(engine_version=version, environment=given),
        workload=Workload(known, unknown=0),
        has=read_environ(unit.main_pid),
        parameters={key: found[-1] for key, found in shown.items()},
    )
    fingerprint = Fingerprint(
        hardware=of_hardware(hardware),
        engine_version=version,
        model=parsed,
        weights=model.blob,
        digest=str(tag.get("digest") or ""),
        workload=demand.to_dict(),
    )
    return Survey(situation, model, version, fingerprint)
