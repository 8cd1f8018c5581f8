# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a search found, as data and in words; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.autotune.bounds import Situation
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.confirmation import ratio
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.demand import Demand
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.measurement import Judge, Reading, Trial
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.record import Measured
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.search import Found, Limits, Progress
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.setting import Setting, Space
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.statistics import Slo

# Names in a reading's details and in an SLO, of times that are promised.
PROMISED = (
    ("ttft_s", "ttft_p95_s", "TTFT"),
    ("tpot_s", "tpot_p50_s", "TPOT"),
    ("latency_s", "latency_p95_s", "latency"),
)


def describe(found: Found, demand: Demand) -> dict[str, Any]:
    """The outcome as plain data for Ansible."""
    judge = found.judge
    best = _trial(found, found.best)
    return {
        "demand": demand.to_dict(),
        "current": found.current.to_dict(),
        "best": found.best.to_dict(),
        "adopted": found.adopted.to_dict(),
        "gain": found.gain.to_dict() if found.gain else None,
        "verdict": found.verdict,
        "slo_met": judge.met if demand.slo else None,
        "slo_remark": slo_remark(best, judge, demand.slo),
        "evidence": evidence(found),
        "seconds": round(found.seconds, 1),
        "timed_out": found.timed_out,
    }


def evidence(found: Found) -> dict[str, Any]:
    """Every setting with its numbers, in the order in which they were tried, and the rounds of the confirmation."""
    judge = found.judge
    return {
        "noise": round(judge.noise, 4),
        "trials": [_describe_trial(trial, judge) for trial in found.trials],
        "confirmation": [
            {
                "best": best.goodput,
                "current": current.goodput,
                "ratio": round(ratio(best.worth(judge.met), current.worth(judge.met)), 4),
            }
            for best, current in found.rounds
        ],
    }


def _describe_trial(trial: Trial, judge: Judge) -> dict[str, Any]:
    value: dict[str, Any] = {
        **trial.setting.to_dict(),
        "failure": trial.failure,
        "measurements": len(trial.readings),
        "goodput": None,
        "interval": None,
        "miss": None,
    }
    if trial.readings:
        usable = Trial(trial.setting, trial.readings)
        value["goodput"] = round(_middle([reading.goodput for reading in trial.readings]), 4)
        if judge.met:
            value["interval"] = [round(bound, 4) for bound in judge.interval(usable)]
        value["miss"] = round(_middle([reading.miss for reading in trial.readings]), 4)
        value.update(_details(trial.readings))
    return value


def _details(readings: Sequence[Reading]) -> dict[str, Any]:
    """The medians of all further numbers."""
    names = dict.fromkeys(name for reading in readings for name in reading.details)
    known = {name: [each.details[name] for each in readings if each.details.get(name) is not None] for name in names}
    return {name: round(_middle(values), 4) if values else None for name, values in known.items()}


def slo_remark(best: Trial, judge: Judge, slo: Slo) -> str:
    """By how much even the best setting misses the SLO; empty where it is met by most requests, or there is none."""
    if not slo or not best.readings:
        return ""
    details = _details(best.readings)
    seen = ", ".join(
        f"{label} is {details[measured]:g} s and should be {getattr(slo, name):g} s"
        for name, measured, label in PROMISED
        if getattr(slo, name) is not None and details.get(measured) is not None
    )
    if not judge.met:
        factor = _middle([reading.miss for reading in best.readings])
        return (
            f"No setting meets the SLO: with the best one, {best.setting}, the slower half of the requests takes at "
            f"least {factor:.1f} times as long as promised ({seen})."
        )
    share = float(details.get("slo_met") or 0.0)
    if share >= 0.95:
        return ""
    return f"With the best setting, {best.setting}, {share:.0%} of the requests meet the SLO ({seen})."


def reason(found: Found, demand: Demand, date: str) -> str:
    """Why the adopted setting is what it is, with its numbers: a sentence or two for the tuner."""
    judge, trial = found.judge, _trial(found, found.adopted)
    low, high = judge.interval(trial)
    if judge.met:
        rate = f"{judge.value(trial):.2f} requests/s ({low:.2f} to {high:.2f})"
    else:
        rate = "no request within the SLO, but nearest to it,"
    text = f"Measured on {date[:10]}: {rate} with {demand.concurrency} at a time"
    if not found.changed:
        others = len(found.trials) - 1
        return f"{text}; none of the other {others} settings was better for certain." if others else f"{text}."
    if found.gain is None:
        return f"{text}; {found.current} failed."
    gain = found.gain
    return (
        f"{text}, {gain.median:+.0%} ({gain.lower:+.0%} to {gain.upper:+.0%}) against {found.current}, the best of "
        f"{len(found.trials)} settings."
    )


def measured(found: Found, space: Space, demand: Demand, date: str) -> Measured:
    """What the tuner is told."""
    adopted = found.adopted
    return Measured(
        parallel=adopted.parallel,
        threads=adopted.threads,
        kv_type=adopted.kv_type if len(space.kv_types) > 1 else None,
        batch=adopted.batch if len(space.batches) > 1 else None,
        reason=reason(found, demand, date),
        date=date,
    )


def plan(situation: Situation, space: Space, limits: Limits, fresh: bool) -> dict[str, Any]:
    """What a search would do, for check mode."""
    current = situation.current()
    return {
        "current": current.to_dict(),
        "first": [setting.to_dict() for setting in (current, *space.doublings(current))],
        "space": {
            "parallel": list(space.parallel),
            "threads": list(space.threads),
            "kv_types": list(space.kv_types),
            "batch": list(space.batches),
            "memory_allows": dict(space.fits or {}),
        },
        "settings_at_most": limits.settings,
        "seconds_at_most": round(limits.seconds),
        "measured_already": fresh,
    }


def progress_line(progress: Progress, unit: str, left: float, detail: str = "") -> str:
    """For a person who watches: ``setting 3: parallel 4, threads 2 (raising parallel); best so far …; 200 s left``."""
    parts = [f"setting {progress.number}: {progress.setting} ({progress.phase}{', ' + detail if detail else ''})"]
    if progress.best is not None:
        parts.append(f"best so far {progress.best}: {progress.best_value:.2f} {unit}")
    parts.append(f"at most {max(0.0, left):.0f} s left")
    return "; ".join(parts)


def _trial(found: Found, setting: Setting) -> Trial:
    return next(trial for trial in found.trials if trial.setting == setting)


def _middle(values: Sequence[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return float(ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2)
