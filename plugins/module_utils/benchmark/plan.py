# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a whole run measures, from the options of the module."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.load import Load
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.prompts import Workload, parse_prompts
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.protocol import Target
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.statistics import NO_SLO, Slo
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput, from_os_error
from ansible_collections.llmops.ollama.plugins.module_utils.words import http_url, seconds

CONCURRENCY = 10  # the guide's
MAX_WARMUP = 100_000
MAX_ROUNDS = 1000


@dataclass(frozen=True)
class Plan:
    """One run: ``warmup`` requests, perhaps one alone, then each level; all within ``max_seconds``.

    With ``other``, every level is measured in ``rounds`` rounds, in turns with the same load on that target.
    """

    target: Target
    workload: Workload
    levels: tuple[Load, ...]
    warmup: Load | None = None
    single: bool = True
    slo: Slo = NO_SLO
    max_seconds: float = 900.0
    other: Target | None = None
    rounds: int = 9


def plan_from(params: Mapping[str, Any]) -> Plan:
    """The plan that the module's options describe. Raises ``InvalidInput``."""
    target = Target(
        http_url("url", params["url"]),
        params["model"],
        params["endpoint"],
        params["stream"],
        params["options"] or {},
        params["timeout"],
    )
    workload = Workload(
        secrets.randbits(32) if params["seed"] is None else params["seed"],
        params["prompt_set"],
        params["max_tokens"],
        _own_prompts(params),
    )
    slo = Slo(**(params["slo"] or {}))
    if not target.stream and (slo.ttft_s or slo.tpot_s):
        raise InvalidInput(
            "slo has a ttft_s or tpot_s, but stream is false.", "Without a stream only latency_s is seen."
        )
    other = None
    if params["compare_url"] is not None:
        other = replace(target, url=http_url("compare_url", params["compare_url"]))
    if not 2 <= params["compare_rounds"] <= MAX_ROUNDS:
        raise InvalidInput(f"compare_rounds is {params['compare_rounds']}.", f"Give a value from 2 to {MAX_ROUNDS:,}.")
    levels = _levels(params)
    return Plan(
        target,
        workload,
        levels,
        _warmup(params["warmup"], levels),
        params["single"],
        slo,
        seconds("max_seconds", params["max_seconds"]),
        other,
        params["compare_rounds"],
    )


def _levels(params: Mapping[str, Any]) -> tuple[Load, ...]:
    concurrencies, rates = params["concurrency"], params["rate"]
    if concurrencies is not None and rates is not None:
        raise InvalidInput("Both concurrency and rate are given.", "Give one of the two.")
    for name, values in (("concurrency", concurrencies), ("rate", rates)):
        if values is not None and not values:
            raise InvalidInput(f"{name} is empty.", "Give at least one level of load.")
        if values and len(set(values)) < len(values):
            raise InvalidInput(f"{name} names a level twice: {values}.", "Name each level once.")
    bounds = {
        "requests": params["requests"],
        "seconds": math.inf if params["level_seconds"] is None else params["level_seconds"],
        "arrivals": params["arrivals"],
        "max_in_flight": params["max_in_flight"],
    }
    if rates is not None:
        return tuple(Load(rate=rate, **bounds) for rate in rates)
    return tuple(Load(concurrency=count, **bounds) for count in concurrencies or [CONCURRENCY])


def _warmup(count: int | None, levels: tuple[Load, ...]) -> Load | None:
    at_once = max(level.concurrency or CONCURRENCY for level in levels)
    count = at_once if count is None else count
    if not 0 <= count <= MAX_WARMUP:
        raise InvalidInput(f"warmup is {count}.", f"Give a value from 0 to {MAX_WARMUP:,}.")
    return Load(concurrency=min(at_once, count), requests=count) if count else None


def _own_prompts(params: Mapping[str, Any]) -> tuple[str, ...]:
    prompts, path = params["prompts"], params["prompts_file"]
    if prompts is not None and path is not None:
        raise InvalidInput("Both prompts and prompts_file are given.", "Give one of the two.")
    if path is not None:
        try:
            return parse_prompts(Path(path).read_text(encoding="utf-8"), path)
        except UnicodeDecodeError:
            raise InvalidInput(f"{path} is not text in UTF-8.", "Write one prompt on each line.") from None
        except OSError as error:
            raise from_os_error(error, path, "Give the path of a file on the host that the module runs on.") from None
    if prompts is not None and not prompts:
        raise InvalidInput("prompts is empty.", "Give at least one prompt, or leave it out.")
    return tuple(prompts or ())
