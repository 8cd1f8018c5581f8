# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run leaves behind: one JSON document, saved whole or not at all, and read again as a baseline."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.load import load_name
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.measure import Measurement, Ratios
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.plan import Plan
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.statistics import (
    UNKNOWN,
    Interval,
    Level,
    Slo,
    ratio_of_rates,
)
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.subject import Subject
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput, from_os_error
from ansible_collections.llmops.ollama.plugins.module_utils.words import from_json

SAVE_REMEDY = "Give the path of a file in a folder that exists and may be written."
SCHEMA = "llmops.ollama.benchmark/1"

Document = dict[str, Any]

# The parts of a workload that make two measurements incomparable when they differ. The seed is none: it should differ,
# because a server may have kept what it was asked.
_SAME = ("endpoint", "stream", "options", "prompt_set", "prompts_digest", "max_tokens", "arrivals")

_RATES = ("requests_per_second", "output_tokens_per_second", "goodput")


def workload(plan: Plan) -> Document:
    """What was asked, in a form that can be compared with another run's."""
    own = plan.workload.prompts
    return {
        "endpoint": plan.target.endpoint,
        "stream": plan.target.stream,
        "options": dict(plan.target.options),
        "prompt_set": None if own else plan.workload.prompt_set,
        "prompts": len(own) or None,
        "prompts_digest": hashlib.sha256("\0".join(own).encode()).hexdigest() if own else None,
        "max_tokens": plan.workload.max_tokens,
        "seed": plan.workload.seed,
        "arrivals": plan.levels[0].arrivals if plan.levels[0].rate is not None else None,
        "warmup": plan.warmup.requests if plan.warmup else 0,
    }


def document(plan: Plan, measured: Measurement, subject: Subject, gains: list[Ratios] | None) -> Document:
    """The whole result."""
    comparison = None
    if plan.other:
        comparison = {
            "url": plan.other.url,
            "rounds": plan.rounds,
            "levels": [asdict(level) for level in measured.others],
            "ratios": [asdict(each) for each in measured.compared],
        }
    return {
        "schema": SCHEMA,
        "measured_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "url": plan.target.url,
        "model": plan.target.model,
        **asdict(subject),
        "workload": workload(plan),
        "slo": asdict(plan.slo) if plan.slo else None,
        "single": asdict(measured.single) if measured.single else None,
        "levels": [asdict(level) for level in measured.levels],
        "comparison": comparison,
        "gains": None if gains is None else [asdict(each) for each in gains],
    }


class Baseline:
    """An earlier document, given itself or by the path of a file on this host. Raises ``InvalidInput``."""

    def __init__(self, value: Any) -> None:
        if isinstance(value, str):
            value = _read(value)
        schema = value.get("schema") if isinstance(value, Mapping) else None
        if schema is None:
            has = f" It has {', '.join(map(str, value))}." if isinstance(value, Mapping) else ""
            raise InvalidInput(
                f"The baseline is not a result of this module: it names no schema.{has}",
                "Pass the key benchmark of an earlier result (before.benchmark where before was registered), or the"
                " path of a file that save wrote.",
            )
        if schema != SCHEMA:
            raise InvalidInput(
                f"The baseline has the schema {schema!r}, this module writes and reads {SCHEMA!r}.",
                "Measure the baseline again with this version of the collection.",
            )
        try:
            self._workload = dict(value["workload"])
            self._slo = value.get("slo")
            self._levels = {_key(level): level for level in value["levels"]}
            for level in self._levels.values():
                if not float(level["requests_per_second"]) > 0:
                    raise InvalidInput("The baseline has a level without a successful request.", "Measure it again.")
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(
                f"The baseline says that it has the schema {SCHEMA!r}, but it is damaged ({error!r}).",
                "Measure the baseline again.",
            ) from None

    def check(self, plan: Plan, goodput: bool = False) -> None:
        """Raise ``InvalidInput`` unless it measured the plan's workload, at one of the plan's levels at least.

        ``goodput``: also with the same objectives, since it is to be compared.
        """
        mine = workload(plan)
        different = [name for name in _SAME if self._workload.get(name) != mine[name]]
        if different:
            raise InvalidInput(
                "The baseline was measured with another workload: "
                + ", ".join(f"{name} {self._workload.get(name)!r}, now {mine[name]!r}" for name in different)
                + ".",
                "Use the same for both runs; only the model, the seed and the address may differ.",
            )
        if goodput and not self._has(plan.slo):
            raise InvalidInput(
                f"min_goodput_gain compares with a baseline whose slo is {self._slo or 'not set'}; here it is "
                f"{asdict(plan.slo)}.",
                "Measure the baseline again with this slo, or leave min_goodput_gain out.",
            )
        if not any((load.concurrency, load.rate) in self._levels for load in plan.levels):
            raise InvalidInput(
                f"The baseline has no level of this run: it has {_names(list(self._levels))}, this run has"
                f" {_names([(load.concurrency, load.rate) for load in plan.levels])}.",
                "Use the same concurrency or rate for both runs.",
            )

    def _has(self, slo: Slo) -> bool:
        return bool(self._slo == (asdict(slo) if slo else None))

    def gains(self, levels: tuple[Level, ...], slo: Slo) -> list[Ratios]:
        """The rates of each level that both have, as multiples of the baseline's; goodput only of the same ``slo``."""
        found = []
        for level in levels:
            before = self._levels.get((level.concurrency, level.rate))
            if before is None:
                continue
            ratios = {}
            for name in _RATES if self._has(slo) else _RATES[:-1]:
                rate, earlier = getattr(level, name), before.get(name)
                if rate is not None and earlier:
                    bounds: Interval = tuple((before.get("intervals") or {}).get(name) or UNKNOWN)
                    ratios[name] = ratio_of_rates(earlier, bounds, rate, level.intervals.get(name, UNKNOWN))
            found.append(Ratios(level.concurrency, level.rate, ratios))
        return found


def check_path(path: str) -> None:
    """Raise ``InvalidInput`` where ``save`` could not write, before anything is measured for it."""
    target = Path(path)
    if target.is_dir() or not os.access(target.parent, os.W_OK | os.X_OK):
        raise InvalidInput(f"save is {path}, where no file can be written.", SAVE_REMEDY)


def save(path: str, content: Document) -> None:
    """Write a document, whole or not at all. Raises an ``OllamaError`` where the path cannot be written."""
    target = Path(path)
    draft = ""
    try:
        descriptor, draft = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(content, stream, indent=2)
            stream.write("\n")
            stream.flush()
            os.fsync(descriptor)
        Path(draft).chmod(0o644)
        Path(draft).replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            Path(draft).unlink()
        raise from_os_error(error, path, SAVE_REMEDY) from error


def _read(path: str) -> Any:
    try:
        return from_json(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise from_os_error(error, path, "Give the path of a file on the host that the module runs on.") from None
    except ValueError:
        raise InvalidInput(f"The baseline {path} is not JSON.", "Give a file that save wrote.") from None


def _key(level: Mapping[str, Any]) -> tuple[int | None, float | None]:
    return level["concurrency"], level["rate"]


def _names(levels: list[tuple[int | None, float | None]]) -> str:
    return ", ".join(load_name(*each) for each in levels)
