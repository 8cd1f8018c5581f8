# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What others write (people, Ansible's templates, servers) as values; and values for people to read."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput

# A socket's timeout has an upper bound; a day (s) is beyond any sensible wait for one byte.
MAX_TIMEOUT = 86400.0
_BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}


def from_json(text: str | bytes) -> Any:
    """The value in a JSON text. Raises ``ValueError`` for what is none, or is nested deeper than can be read."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


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
            f"{where} is {value!r}.", f"It must be {kind} from {allowed[0]:.16g} to {allowed[1]:.16g}.", key=where
        )
    return int(found) if whole else found


def http_url(option: str, value: str) -> str:
    """``value`` without a slash at its end if it is an http or https address; ``option`` names it in the error."""
    try:
        parts = urlsplit(value)
        host = parts.hostname or ""
        host.encode("idna")  # refuses an empty or overlong label
        usable = parts.scheme in ("http", "https") and bool(host) and parts.port != 0
        usable = usable and value.isprintable() and " " not in value
    except ValueError:  # also a port that is no number, and a bracket that is not closed
        usable = False
    if not usable:
        raise InvalidInput(f"{option} is {value!r}, which is not an address.", "Write it as http://HOST:PORT.")
    return value.rstrip("/")


def seconds(option: str, value: float) -> float:
    """``value`` (s) if it can be waited for; ``option`` names it in the error."""
    if not 0 < value <= MAX_TIMEOUT:
        raise InvalidInput(
            f"{option} is {value:g} seconds.", f"Give a number above 0 and not above {MAX_TIMEOUT:.0f} (one day)."
        )
    return value


def size_text(count: float) -> str:
    """A number of bytes for a person, in powers of 1000: ``1.8 GB``."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.{0 if unit == 'B' else 1}f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
