# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The tuner's policy: the guide's tables and every other number that a recommendation is made from, as data.

A user overrides any part of it with a mapping of the same shape; a given list replaces the whole list.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.llmops.ollama.plugins.module_utils.engine import VARIABLES
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.words import boolean, number

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
    # What it may give way to where memory is short.
    "min_context_length": 2048,
    # Type of the key-value cache, and whether it may become q8_0 where memory is short: half the size, a small loss.
    "kv_type": "f16",
    "quantized_kv": False,
    # What the service leaves to everything else on the host: this share of memory, but not less than min_mb.
    "reserve": {"share": 0.1, "min_mb": 1024},
    # The same for each GPU: its driver and the engine's own context.
    "gpu_reserve": {"share": 0.1, "min_mb": 512},
    # Predictions are taken to be so much too low: what docs/memory-model.md found as the worst case.
    "prediction_margin": 0.05,
    # A recommendation this close to what the last run set is not worth a restart.
    "tolerance": 0.05,
    # Requests that may wait for a model to load, for each slot; 8 slots give the engine's own default of 512.
    "queue_per_slot": 64,
    # Seconds. A load that stalls is given up after the request timeout, but not before the engine's own default.
    "min_load_timeout": 300,
    # Threads on the slow cores of a hybrid CPU hold the fast ones up: each step waits for the last thread.
    "efficiency_cores": False,
    # The share of the budget for the prompt caches of all loaded models, at most the engine's default for each,
    # in steps so that it does not change with every few megabytes.
    "prompt_cache": {"memory_share": 0.25, "max_mb": 8192, "step_mb": 64},
    # The guide's, from large to small: bits of a weight, speed against F16 and loss of quality in percent.
    "quantizations": [
        {"name": "F16", "bits": 16.0, "speed_gain": 0.0, "loss": 0.0},
        {"name": "Q8_0", "bits": 8.5, "speed_gain": 15.0, "loss": 2.0},
        {"name": "Q4_K_M", "bits": 4.9, "speed_gain": 35.0, "loss": 3.0},
        {"name": "Q4_0", "bits": 4.5, "speed_gain": 40.0, "loss": 5.0},
    ],
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
    "min_context_length": (256, 1 << 24),
    "prediction_margin": (0, 1),
    "tolerance": (0, 0.5),
    "share": (0, 0.9),
    "min_mb": (0, 1 << 24),
    "memory_share": (0, 0.9),
    "max_mb": (0, 1 << 20),
    "step_mb": (1, 1 << 20),
    "bits": (1, 32),
    "speed_gain": (-100, 1000),
    "loss": (0, 100),
}

# Form of each text: a pattern, and in words.
TEXTS: dict[str, tuple[str, str]] = {
    "profile": ("|".join(PROFILES), f"one of {', '.join(PROFILES)}"),
    "keep_alive": VARIABLES["OLLAMA_KEEP_ALIVE"],
    "kv_type": VARIABLES["OLLAMA_KV_CACHE_TYPE"],
    "name": (r"[A-Z0-9_]+", "a quantization such as Q4_K_M"),
}


class Row(NamedTuple):
    """One row of the table: the profile of hosts that have at least these cores and this memory (decimal GB)."""

    profile: str
    min_cores: int
    min_memory_gb: float
    parallel: int
    loaded_models: int

    def admits(self, cores: float, memory_gb: float) -> bool:
        return cores >= self.min_cores and memory_gb >= self.min_memory_gb


class Quantization(NamedTuple):
    """One row of the guide's comparison: bits of a weight, speed against F16 and loss of quality in percent."""

    name: str
    bits: float
    speed_gain: float
    loss: float


class Reserve(NamedTuple):
    """What is left to others: ``share`` of the whole, but not less than ``min_mb`` (MiB)."""

    share: float
    min_mb: int

    def of(self, whole_mb: int) -> int:
        """MiB of a whole (MiB), which it never exceeds."""
        return min(whole_mb, max(int(whole_mb * self.share), self.min_mb))

    def whole(self, left_mb: int) -> int:
        """MiB of a whole of which so much is left."""
        return max(left_mb + self.min_mb, math.ceil(left_mb / (1 - self.share)))


class PromptCache(NamedTuple):
    memory_share: float
    max_mb: int
    step_mb: int


class Policy(NamedTuple):
    """A validated policy; the fields are those of ``DEFAULT_POLICY``."""

    table: tuple[Row, ...]
    keep_alive: str
    context_length: int
    min_context_length: int
    kv_type: str
    quantized_kv: bool
    reserve: Reserve
    gpu_reserve: Reserve
    prediction_margin: float
    tolerance: float
    queue_per_slot: int
    min_load_timeout: int
    efficiency_cores: bool
    prompt_cache: PromptCache
    quantizations: tuple[Quantization, ...]

    @classmethod
    def load(cls, overrides: Mapping[str, Any] | None = None) -> Policy:
        """The default policy with a user's changes. Raises ``InvalidInput`` that names the key and what is allowed."""
        given = overrides or {}
        data = _merge(DEFAULT_POLICY, given, "policy")
        if data["min_context_length"] > data["context_length"]:
            if isinstance(given, Mapping) and "min_context_length" in given:
                raise InvalidInput(
                    f"policy: min_context_length is {data['min_context_length']}, more than the context_length of "
                    f"{data['context_length']}.",
                    "Lower one or raise the other.",
                    key="min_context_length",
                )
            data["min_context_length"] = data["context_length"]
        return cls(
            **dict(
                data,
                table=_table(data["table"]),
                quantizations=_quantizations(data["quantizations"]),
                reserve=Reserve(**data["reserve"]),
                gpu_reserve=Reserve(**data["gpu_reserve"]),
                prompt_cache=_prompt_cache(data["prompt_cache"]),
            )
        )

    @property
    def id(self) -> str:
        """Tells policies apart."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]

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
        return _rows(value, default[0], where)
    if isinstance(default, bool):
        return boolean(value, where)
    if isinstance(default, (int, float)):
        return number(value, RANGES[key], where, whole=isinstance(default, int))
    return _matching(value, *TEXTS[key], where)


def _rows(value: Any, template: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise InvalidInput(f"{where} is {value!r}.", "It must be a list of rows.", key=where)
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
        if (higher.min_cores, higher.min_memory_gb) == (lower.min_cores, lower.min_memory_gb):
            raise InvalidInput(
                f"policy: table[{index}] begins where the row before does, at {lower.min_cores} cores and "
                f"{lower.min_memory_gb:g} GB.",
                "Raise its min_cores or min_memory_gb, or leave one of them out.",
                key="table",
            )
        if PROFILES.index(higher.profile) < PROFILES.index(lower.profile):
            raise InvalidInput(
                f"policy: table[{index}]: profile {higher.profile} comes after {lower.profile}.",
                f"Profiles must ascend as {', '.join(PROFILES)} do.",
                key="table",
            )
    return table


def _quantizations(rows: Sequence[Mapping[str, Any]]) -> tuple[Quantization, ...]:
    """From large to small, so that the first that fits is the best that fits."""
    found = tuple(Quantization(**row) for row in rows)
    for index, (larger, smaller) in enumerate(zip(found, found[1:]), start=1):
        if smaller.bits >= larger.bits:
            raise InvalidInput(
                f"policy: quantizations[{index}]: {smaller.name} has {smaller.bits:g} bits, {larger.name} before it "
                f"{larger.bits:g}.",
                "List them from large to small.",
                key="quantizations",
            )
        if smaller.name in [each.name for each in found[:index]]:
            raise InvalidInput(
                f"policy: quantizations[{index}]: {smaller.name} is listed twice.",
                "List each once.",
                key="quantizations",
            )
    return found


def _prompt_cache(given: Mapping[str, Any]) -> PromptCache:
    cache = PromptCache(**given)
    if 0 < cache.max_mb < cache.step_mb:
        raise InvalidInput(
            f"policy: prompt_cache: max_mb is {cache.max_mb}, less than one step of {cache.step_mb} MiB.",
            "Lower step_mb, raise max_mb, or set max_mb to 0 for no prompt cache.",
            key="max_mb",
        )
    return cache


def _matching(value: Any, pattern: str, form: str, where: str) -> str:
    if isinstance(value, bool) or not re.fullmatch(pattern, str(value)):
        raise InvalidInput(f"{where} is {value!r}.", f"It must be {form}.", key=where)
    return str(value)


Policy.load()  # the default must hold what is asked of any other
