# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What people write, and what Ansible's templates make of it, as values; and values for people to read."""

from __future__ import annotations

from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput

_BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}


def boolean(value: Any, where: str) -> bool:
    """True or false, also as text. Raises ``InvalidInput``."""
    text = str(value).lower()
    if text not in _BOOLEANS:
        raise InvalidInput(f"{where} is {value!r}.", "It must be true or false.", key=where)
    return _BOOLEANS[text]


def number(value: Any, allowed: tuple[float, float], where: str, whole: bool = True) -> float:
    """A number in range, also as text. Raises ``InvalidInput``."""
    try:
        found = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = float("nan")
    if not allowed[0] <= found <= allowed[1] or (whole and found != int(found)):
        kind = "a whole number" if whole else "a number"
        raise InvalidInput(
            f"{where} is {value!r}.", f"It must be {kind} from {allowed[0]:g} to {allowed[1]:.10g}.", key=where
        )
    return int(found) if whole else found


def size_text(count: float) -> str:
    """A number of bytes for a person, in powers of 1000: ``1.8 GB``."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.{0 if unit == 'B' else 1}f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
