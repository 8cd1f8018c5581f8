# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The tuner's policy: the guide's table and every other number that a recommendation is made from, as data.

A user overrides any part of it with a mapping of the same shape; a given ``table`` replaces the whole table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.engine import VARIABLES
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput

PROFILES = ("minimal", "conservative", "balanced", "high")

# Seconds that a request may take where the user does not say; the guide's.
REQUEST_TIMEOUT = 300

DEFAULT_POLICY: dict[str, Any] = {
    # A host is in the last row whose minima it meets. Cores are logical CPUs that it may use, memory is in decimal GB.
    # From the guide: 4-8 cores/16 GB, 8-16/32 GB, 16+/64 GB+ (6-8 slots: 8 from twice that size on).
    "table": [
        {"profile": "minimal", "min_cores": 0, "min_memory_gb": 0.0, "parallel": 1, "loaded_models": 1},
        {"profile": "conservative", "min_cores": 4, "min_memory_gb": 16.0, "parallel": 2, "loaded_models": 1},
        {"profile": "balanced", "min_cores": 8, "min_memory_gb": 32.0, "parallel": 4, "loaded_models": 2},
        {"profile": "high", "min_cores": 16, "min_memory_gb": 64.0, "parallel": 6, "loaded_models": 3},
        {"profile": "high", "min_cores": 32, "min_memory_gb": 128.0, "parallel": 8, "loaded_models": 3},
    ],
    # The guide's: how long an idle model stays in memory.
    "keep_alive": "24h",
    # Tokens of each slot. The key-value cache is parallel x this, so it must not depend on what the engine finds.
    "context_length": 4096,
    # Requests that may wait for a model to load, for each slot; 8 slots give the engine's own default of 512.
    "queue_per_slot": 64,
    # Seconds. A load that stalls is given up after the request timeout, but not before the engine's own default.
    "min_load_timeout": 300,
    # Threads on the slow cores of a hybrid CPU hold the fast ones up: each step waits for the last thread.
    "efficiency_cores": False,
    # The share of memory for the prompt caches of all loaded models, at most the engine's default for each,
    # in steps so that it does not change with every few megabytes.
    "prompt_cache": {"memory_share": 0.1, "max_mb": 8192, "step_mb": 64},
}

# Allowed range of each number.
RANGES: dict[str, tuple[float, float]] = {
    "min_cores": (0, 4096),
    "min_memory_gb": (0, 65536),
    "parallel": (1, 256),
    "loaded_models": (1, 256),
    "context_length": (256, 1 << 24),
    "queue_per_slot": (1, 65536),
    "min_load_timeout": (1, 86400),
    "memory_share": (0, 0.9),
    "max_mb": (0, 1 << 20),
    "step_mb": (1, 1 << 20),
}


@dataclass(frozen=True)
class Row:
    """One row of the table: the profile of hosts that have at least these cores and this memory (decimal GB)."""

    profile: str
    min_cores: int
    min_memory_gb: float
    parallel: int
    loaded_models: int

    def admits(self, cores: float, memory_gb: float) -> bool:
        return cores >= self.min_cores and memory_gb >= self.min_memory_gb


@dataclass(frozen=True)
class PromptCache:
    memory_share: float
    max_mb: int
    step_mb: int


@dataclass(frozen=True)
class Policy:
    """A validated policy; the fields are those of ``DEFAULT_POLICY``."""

    table: tuple[Row, ...]
    keep_alive: str
    context_length: int
    queue_per_slot: int
    min_load_timeout: int
    efficiency_cores: bool
    prompt_cache: PromptCache

    @classmethod
    def load(cls, overrides: Mapping[str, Any] | None = None) -> Policy:
        """The default policy with a user's changes. Raises ``InvalidInput`` that names the key and what is allowed."""
        data = _merge(DEFAULT_POLICY, overrides or {}, "policy")
        return cls(
            **dict(
                data,
                table=_table(data["table"]),
                prompt_cache=PromptCache(**data["prompt_cache"]),
            )
        )

    def best_row(self, cores: float, memory_gb: float, profile: str | None = None) -> Row:
        """The highest row that admits the host, within a profile if one is named.

        A host below a named profile gets the lowest row of it.
        """
        rows = [row for row in self.table if profile in (None, row.profile)]
        if not rows:
            raise InvalidInput(
                f"profile is {profile!r}, which the policy's table does not have.",
                f"It has: {', '.join(dict.fromkeys(row.profile for row in self.table))}.",
                key="profile",
            )
        return [rows[0], *(row for row in rows if row.admits(cores, memory_gb))][-1]

    def row_above(self, row: Row) -> Row | None:
        """The next higher row, or None for the highest."""
        return dict(zip(self.table, self.table[1:])).get(row)


def _merge(default: Mapping[str, Any], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The default with the given values, each checked against the type and range of what it replaces."""
    merged = dict(default)
    if not isinstance(given, Mapping):
        raise InvalidInput(
            f"{where} is {given!r}.", f"It must be a mapping with the keys {', '.join(default)}.", key=where
        )
    for key, value in given.items():
        if key not in default:
            raise InvalidInput(f"{where}: unknown key {key!r}.", f"Known keys: {', '.join(default)}.", key=str(key))
        merged[key] = _checked(key, value, default[key], f"{where}: {key}")
    return merged


def _checked(key: str, value: Any, default: Any, where: str) -> Any:
    if isinstance(default, dict):
        return _merge(default, value, where)
    if isinstance(default, list):
        return _rows(value, where)
    if isinstance(default, bool):
        return _boolean(value, where)
    if isinstance(default, (int, float)):
        return _number(value, RANGES[key], where, whole=isinstance(default, int))
    if key == "profile":
        return _matching(value, "|".join(PROFILES), f"one of {', '.join(PROFILES)}", where)
    return _matching(value, *VARIABLES["OLLAMA_KEEP_ALIVE"], where)


def _rows(value: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise InvalidInput(f"{where} is {value!r}.", "It must be a list of rows.", key=where)
    template = DEFAULT_POLICY["table"][0]
    rows = []
    for index, row in enumerate(value):
        place = f"{where}[{index}]"
        rows.append(_merge(template, row, place))
        missing = [key for key in template if key not in row]
        if missing:
            raise InvalidInput(
                f"{place}: {', '.join(missing)} missing.", f"A row has the keys {', '.join(template)}.", key=place
            )
    return rows


def _table(rows: Sequence[Mapping[str, Any]]) -> tuple[Row, ...]:
    """The rows, which must ascend: a bigger host never gets less, and every host finds a row."""
    table = tuple(Row(**row) for row in rows)
    if (table[0].min_cores, table[0].min_memory_gb) != (0, 0):
        raise InvalidInput(
            f"policy: table[0] starts at {table[0].min_cores} cores and {table[0].min_memory_gb:g} GB.",
            "Its min_cores and min_memory_gb must be 0, so that every host is in some row.",
            key="table",
        )
    for index, (lower, higher) in enumerate(zip(table, table[1:]), start=1):
        for key in ("min_cores", "min_memory_gb", "parallel", "loaded_models"):
            if getattr(higher, key) < getattr(lower, key):
                raise InvalidInput(
                    f"policy: table[{index}]: {key} is {getattr(higher, key)}, less than {getattr(lower, key)} before.",
                    "Rows must ascend in every column.",
                    key="table",
                )
    return table


def _number(value: Any, allowed: tuple[float, float], where: str, whole: bool) -> float:
    """A number in range, given as a number or as text (Ansible's templates make text of numbers)."""
    try:
        number = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not allowed[0] <= number <= allowed[1] or (whole and number != int(number)):
        kind = "a whole number" if whole else "a number"
        raise InvalidInput(
            f"{where} is {value!r}.", f"It must be {kind} from {allowed[0]:g} to {allowed[1]:.10g}.", key=where
        )
    return int(number) if whole else number


def _boolean(value: Any, where: str) -> bool:
    words = {"true": True, "yes": True, "false": False, "no": False}
    text = str(value).lower()
    if text not in words:
        raise InvalidInput(f"{where} is {value!r}.", "It must be true or false.", key=where)
    return words[text]


def _matching(value: Any, pattern: str, form: str, where: str) -> str:
    if isinstance(value, bool) or not re.fullmatch(pattern, str(value)):
        raise InvalidInput(f"{where} is {value!r}.", f"It must be {form}.", key=where)
    return str(value)


Policy.load()  # the default must hold what is asked of any other
