# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a server shows of a model's parameters and texts, compared with what the model shall have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import Value
from ansible_collections.llmops.ollama.plugins.module_utils.model_recipe import Overlay


def of_show(show: Mapping[str, Any]) -> dict[str, list[str]]:
    """The parameters in an answer to ``/api/show``, each with its values as text."""
    found: dict[str, list[str]] = {}
    for line in str(show.get("parameters") or "").splitlines():
        name, _, value = line.strip().partition(" ")
        if name:
            found.setdefault(name, []).append(_unquoted(value.strip()))
    return found


def lacking(wanted: Overlay, show: Mapping[str, Any]) -> Overlay:
    """What of an overlay the model that is shown does not have. It may have more."""
    has = of_show(show)
    return Overlay(
        {name: value for name, value in wanted.parameters.items() if not _same(value, has.get(name, []))},
        None if wanted.system == (show.get("system") or "") else wanted.system,
        None if wanted.template == (show.get("template") or "") else wanted.template,
    )


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
