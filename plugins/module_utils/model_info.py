# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a server says of its models, installed and running, as plain data with numbers where it gives text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

from ansible_collections.llmops.ollama.plugins.module_utils.model_parameters import of_show

# A model that shall stay for ever gets a time some centuries ahead.
FOREVER = timedelta(days=365 * 50)

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)")

_Kind = TypeVar("_Kind")


def installed(tag: Mapping[str, Any], show: Mapping[str, Any]) -> dict[str, Any]:
    """One installed model, from its entry in ``/api/tags`` and the answer to ``/api/show``. Sizes in bytes."""
    details = _part(tag, "details", dict)
    about = _part(show, "model_info", dict)
    parameters = of_show({"parameters": _part(show, "parameters", str)})
    return {
        "name": str(tag.get("name", "")),
        "digest": str(tag.get("digest", "")),
        "size": _part(tag, "size", int),
        "quantization": str(details.get("quantization_level") or ""),
        "family": str(details.get("family") or ""),
        "parameter_size": str(details.get("parameter_size") or ""),
        "parent": str(_part(show, "details", dict).get("parent_model") or ""),
        "modified_at": _iso(_time(tag.get("modified_at"))),
        "context_length": _part(about, f"{about.get('general.architecture')}.context_length", int) or None,
        "capabilities": [str(each) for each in _part(show, "capabilities", list)],
        "parameters": {name: _value(values) for name, values in sorted(parameters.items())},
    }


def running(entry: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """One loaded model, from its entry in ``/api/ps``. ``expires_in`` in seconds, None: never; sizes in bytes."""
    details = _part(entry, "details", dict)
    expires = _time(entry.get("expires_at"))
    left = expires - now if expires else None
    stays = left is None or left > FOREVER
    return {
        "name": str(entry.get("name", "")),
        "digest": str(entry.get("digest", "")),
        "quantization": str(details.get("quantization_level") or ""),
        "size": _part(entry, "size", int),
        "size_vram": _part(entry, "size_vram", int),
        "context_length": _part(entry, "context_length", int) or None,
        "expires_at": None if stays else _iso(expires),
        "expires_in": None if stays or left is None else round(max(0.0, left.total_seconds()), 1),
    }


def _part(answer: Mapping[str, Any], name: str, kind: type[_Kind]) -> _Kind:
    """A part of an answer; an empty one, or 0, where it is not there or of another form."""
    value = answer.get(name)
    return value if type(value) is kind else kind()


def _time(text: Any) -> datetime | None:
    """A time as Go writes it, with any number of digits behind the second; None for anything else."""
    found = _TIME.fullmatch(str(text or ""))
    if not found:
        return None
    zone = found[3].replace("Z", "+00:00")
    try:
        return datetime.fromisoformat(f"{found[1]}{(found[2] or '.0')[:7]:0<7}{zone}").astimezone(timezone.utc)
    except (ValueError, OverflowError):  # a 13th month, or beyond the last year
        return None


def _iso(time: datetime | None) -> str | None:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ") if time else None


def _value(values: list[str]) -> Any:
    """A parameter's value as a number, a boolean, a text, or a list of texts."""
    if len(values) > 1:
        return values
    text = values[0]
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
