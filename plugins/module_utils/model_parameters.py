# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Parameters that a model has of its own: the only way to some settings, such as num_thread before Ollama 0.30.

A model with parameters added keeps its name and its weights, but its manifest is no longer the registry's. Whether it
is still current is then decided by its parts.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import Parameters, Value
from ansible_collections.llmops.ollama.plugins.module_utils.registry import Manifest

_FROM = re.compile(r"^FROM .*?(sha256-[0-9a-f]{64})\s*$", re.MULTILINE)
# Parts of a model, by the kind of their layer, whose text the server shows.
_TEXTS = ("template", "system")


def of_show(show: Mapping[str, Any]) -> dict[str, list[str]]:
    """The parameters in an answer to ``/api/show``, each with its values as text."""
    found: dict[str, list[str]] = {}
    for line in str(show.get("parameters") or "").splitlines():
        name, _, value = line.strip().partition(" ")
        if name:
            found.setdefault(name, []).append(_unquoted(value.strip()))
    return found


def differing(wanted: Parameters, show: Mapping[str, Any]) -> Parameters:
    """Those wanted parameters that the model does not have."""
    has = of_show(show)
    return {name: value for name, value in wanted.items() if not _same(value, has.get(name, []))}


def same_base(manifest: Manifest, show: Mapping[str, Any]) -> bool:
    """Whether a model that the server shows was made of what the registry offers: weights, template, system."""
    weights = {layer.digest.replace(":", "-") for layer in manifest.of_kind("model")}
    if weights != set(_FROM.findall(str(show.get("modelfile") or ""))) & weights or not weights:
        return False
    texts = {layer.digest for layer in manifest.of_kind(*_TEXTS)}
    shown = {f"sha256:{hashlib.sha256(str(show.get(kind) or '').encode()).hexdigest()}" for kind in _TEXTS}
    return texts <= shown


def text(parameters: Parameters) -> str:
    """For a person: ``num_ctx=4096 num_thread=2``."""
    return " ".join(f"{name}={json.dumps(value)}" for name, value in sorted(parameters.items()))


def _same(value: Value | list[Value], has: list[str]) -> bool:
    values = value if isinstance(value, list) else [value]
    return len(values) == len(has) and all(_equal(one, other) for one, other in zip(values, has))


def _equal(value: Value, shown: str) -> bool:
    if isinstance(value, bool):
        return shown.lower() == str(value).lower()
    try:
        return float(value) == float(shown)
    except ValueError:
        return str(value) == shown


def _unquoted(value: str) -> str:
    if value.startswith('"'):
        try:
            return str(json.loads(value))
        except ValueError:
            return value.strip('"')
    return value
