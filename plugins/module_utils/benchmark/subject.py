# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What was measured: the engine, the model, and on the server's own host its settings and hardware."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.client import Client
from ansible_collections.llmops.ollama.plugins.module_utils.engine import VARIABLES
from ansible_collections.llmops.ollama.plugins.module_utils.errors import OllamaError
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.probe import probe
from ansible_collections.llmops.ollama.plugins.module_utils.loaded_model import same_model
from ansible_collections.llmops.ollama.plugins.module_utils.runner import blobs_of, find_runner, read_environ


@dataclass(frozen=True)
class Subject:
    """What a result is about; None where it was not to be learnt.

    ``settings`` are variables of the server's process (``environment``) and what the model's runner was started with
    (``runner``); ``hardware`` is as the module tuning_facts returns it.
    """

    engine_version: str | None = None
    model_digest: str | None = None
    quantization: str | None = None
    settings: dict[str, Any] | None = None
    hardware: dict[str, Any] | None = None


def describe(client: Client, model: str, pid: int | None) -> Subject:
    """Ask the server, and this host if the server's process is here. What cannot be learnt is left out."""
    version = None
    tag: Mapping[str, Any] = {}
    with contextlib.suppress(OllamaError):
        version = client.version() or None
        tag = next((each for each in client.tags() if same_model(str(each.get("name")), model)), {})
    settings = hardware = None
    if pid:
        with contextlib.suppress(OllamaError):
            settings = {"environment": _environment(pid), "runner": _runner(client, model, pid)}
        with contextlib.suppress(OllamaError):
            hardware = probe().to_dict()
    details = tag.get("details") or {}
    return Subject(version, tag.get("digest"), details.get("quantization_level"), settings, hardware)


def _environment(pid: int) -> dict[str, str]:
    """The server's own settings only: what else is in an environment may be secret."""
    return {name: value for name, value in sorted(read_environ(pid).items()) if name in VARIABLES}


def _runner(client: Client, model: str, pid: int) -> dict[str, Any] | None:
    with contextlib.suppress(OllamaError):
        found = find_runner(pid, blobs_of(client.show(model)))
        if found:
            values = found._asdict()
            return {name: values[name] for name in ("slots", "cells", "threads", "kv_types")}
    return None
