# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Numbers and counts as a person reads them. What is None becomes ``NOTHING``, never a zero."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

NOTHING = "\u2013"
_THIN = "\u202f"  # between groups of three digits, as a unit is set apart
_MINUS = "\u2212"


def fixed(value: float | None, digits: int) -> str:
    """A number with so many digits after its point, so that a column of them is aligned."""
    return NOTHING if value is None else f"{value:,.{digits}f}".replace(",", _THIN).replace("-", _MINUS)


def unit(number: str, name: str) -> str:
    """A number and its unit, which no end of a line tears apart."""
    return f"{number}\u00a0{name}"


def rate(value: float | None) -> str:
    return fixed(value, 2)


def seconds(value: float | None) -> str:
    return fixed(value, 2)


def milliseconds(value: float | None) -> str:
    """Seconds as milliseconds."""
    return fixed(None if value is None else value * 1000, 0)


def percent(value: float | None) -> str:
    """A change, with its sign."""
    if value is None:
        return NOTHING
    return ("+" if value >= 0 else "") + fixed(value, 0 if abs(value) >= 10 or value == int(value) else 1)


def span(low: float | None, high: float | None, digits: int = 2) -> str:
    """An interval."""
    if low is None or high is None:
        return NOTHING
    return f"{fixed(low, digits)} to {fixed(high, digits)}"


def mib(value: float | None) -> str:
    return fixed(value, 0)


def gib(value_mb: float | None) -> str:
    """MiB as GiB."""
    return fixed(None if value_mb is None else value_mb / 1024, 1)


def count(number: int, one: str, many: str = "") -> str:
    """``1 server``, ``2 servers``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def errors(kinds: Mapping[str, int]) -> str:
    """How many requests failed, and how."""
    named = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    return f"{sum(kinds.values())} ({named})" if named else "0"


def listed(items: Iterable[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *first, last = [*items] or [""]
    return f"{', '.join(first)} and {last}" if first else last
