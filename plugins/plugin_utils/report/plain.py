# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Careful access to data that others wrote: what is not there, or not of the expected kind, is None or empty."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

# Characters that no text of a report needs: controls, and those that turn the direction of what follows.
_UNWANTED = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)

TEXT_LENGTH = 2000  # characters; a longer text is a log that went astray


def text(value: Any) -> str:
    """One line of text; "" for None and for what is a list or a mapping."""
    if value is None or isinstance(value, (Mapping, list, tuple)):
        return ""
    words = " ".join(_UNWANTED.sub("", str(value)).split())
    return words if len(words) <= TEXT_LENGTH else words[: TEXT_LENGTH - 1] + "…"


def number(value: Any) -> float | None:
    """A finite number; Ansible's templates make text of numbers."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def whole(value: Any) -> int | None:
    """A number without its fraction."""
    found = number(value)
    return None if found is None else int(found)


def part(value: Any, *path: str) -> Mapping[str, Any]:
    """The mapping at a path of keys; an empty one where there is none."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def parts(value: Any, *path: str) -> list[Mapping[str, Any]]:
    """The mappings of the list at a path of keys."""
    if path:
        value = part(value, *path[:-1]).get(path[-1])
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, (list, tuple)) else []


def texts(value: Any) -> tuple[str, ...]:
    """The texts of a list, without empty ones."""
    return tuple(filter(None, map(text, value))) if isinstance(value, (list, tuple)) else ()
