# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Choosing between candidates on the host that this runs on, for which nobody has computed a tuning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Callable

from ansible_collections.llmops.ollama.plugins.module_utils.client import Client
from ansible_collections.llmops.ollama.plugins.module_utils.errors import Unreachable
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.files import Files
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.probe import probe
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.unit import read_tuned
from ansible_collections.llmops.ollama.plugins.module_utils.model_choice import Host, Resolution, resolve
from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import Definition
from ansible_collections.llmops.ollama.plugins.module_utils.model_facts import Lookup
from ansible_collections.llmops.ollama.plugins.module_utils.model_store import free_bytes
from ansible_collections.llmops.ollama.plugins.module_utils.policy import Policy
from ansible_collections.llmops.ollama.plugins.module_utils.registry import Registry
from ansible_collections.llmops.ollama.plugins.module_utils.registry_facts import Elsewhere
from ansible_collections.llmops.ollama.plugins.module_utils.tuning import Intent


def decide(
    models: Sequence[Definition],
    client: Client,
    registry: Registry,
    url: str,
    policy: Policy,
    models_path: str | None,
    has_blob: Callable[[str], bool],
) -> Resolution:
    """Definitions with one base each. ``url`` is the registry's; ``has_blob`` tells of the server's store.

    Raises ``OllamaError``, also where nobody can tell just now what a candidate is made of.
    """
    host = Host.of(
        probe(models_path=models_path),
        policy,
        Intent.make(engine_version=_version(client)),
        read_tuned(Files()),
        len(models),
        lambda model: 0 if not model.blob or has_blob(model.blob.replace("-", ":")) else model.size,
        free_bytes(models_path) if models_path else None,
    )
    found = resolve(models, Lookup(client, Elsewhere(registry, url), models), host)
    if any(definition.is_open for definition in found.definitions):
        raise Unreachable(found.warnings[-1], "Run again when the registry answers.")
    return found


def _version(client: Client) -> str:
    """The server's; that of the newest where there is none yet."""
    try:
        return client.version()
    except Unreachable:
        return ""
