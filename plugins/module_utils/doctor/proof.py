# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the checks of ``health`` found wrong and no detector tells of: the proof knows more than the detectors do."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Callable, NamedTuple

from ansible_collections.llmops.ollama.plugins.module_utils.doctor import journal, memory, running, settings, speed
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.evidence import Evidence
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.finding import (
    MEMORY,
    PROBLEM,
    SETTING,
    SLOW,
    STOPPED,
    Finding,
)
from ansible_collections.llmops.ollama.plugins.module_utils.loaded_model import same_model

Detector = Callable[[Evidence], Iterator[Finding]]


class Meaning(NamedTuple):
    """A failed check in a person's words, and the detectors that say the same.

    Of those in ``lately`` only what they find in the journal since the checks were begun, or of the model that was
    asked, says it. ``variable`` is what the check is about: that the process has another value than the wanted one is
    told of all variables.
    """

    symptom: str
    what: str
    told_by: tuple[Detector, ...] = ()
    lately: tuple[Detector, ...] = ()
    variable: str = ""


CHECKS = {
    "api": Meaning(STOPPED, "The server did not answer as it should.", (running.no_answer,)),
    "version": Meaning(STOPPED, "The server did not tell its version.", (running.no_answer,)),
    "lock": Meaning(
        SETTING, "The models are not those of the lock.", (settings.drifted_from_lock, settings.cannot_be_read)
    ),
    "generate": Meaning(
        STOPPED,
        "The server could not generate with its model.",
        (running.no_answer, settings.cannot_be_used),
        (
            settings.not_installed,
            settings.cannot_be_read,
            memory.refused,
            memory.not_allocated,
            memory.killed,
            running.runner_ended,
            running.no_permission,
        ),
    ),
    "environment": Meaning(
        SETTING,
        "The server does not have the variables that are wanted.",
        (settings.not_in_process, settings.overridden),
    ),
    "unit": Meaning(SETTING, "The service does not run as it is configured."),
    "settings": Meaning(
        SETTING, "The server has settings without effect.", (settings.read_by_nobody, settings.cannot_be_used)
    ),
    "slots": Meaning(
        SETTING,
        "The model does not have the wanted number of slots.",
        (settings.fewer_slots,),
        variable="OLLAMA_NUM_PARALLEL",
    ),
    "context": Meaning(SETTING, "The model does not have the wanted context.", variable="OLLAMA_CONTEXT_LENGTH"),
    "kv_cache": Meaning(SETTING, "The model's cache is not of the wanted type.", variable="OLLAMA_KV_CACHE_TYPE"),
    "threads": Meaning(
        SLOW,
        "The model does not run with the wanted threads.",
        (speed.too_many_threads,),
        variable="LLAMA_ARG_THREADS",
    ),
    "gpu": Meaning(SLOW, "The model is not on the GPU as it should be.", (speed.not_on_the_gpu,)),
    "fit": Meaning(MEMORY, "The server took more memory than its limit.", (memory.killed, memory.at_the_limit)),
}
# They compare the server with values that are not to be had on a host which its models do not fit.
OF_THE_PLAN = ("environment", "slots", "threads", "kv_cache", "context")
# What settings.needs_reload() and settings.older_than_its_files() say of a unit.
_TOLD_OF_UNIT = re.compile(r"NeedDaemonReload|was changed after process")


def unexplained(seen: Evidence, spoke: Collection[Detector]) -> Iterator[Finding]:
    """A finding for each failed check of which none of the detectors that ``spoke`` tells."""
    if not seen.unit.running:  # which is told, and nothing can be proved then
        return
    asked = seen.declared[:1]
    since = replace(
        seen,
        journal=journal.since(seen.journal, seen.until),
        declared=asked,
        unread={name: said for name, said in seen.unread.items() if not asked or same_model(name, asked[0])},
    )
    for check in seen.failed:
        meaning = CHECKS.get(check.name, Meaning(SETTING, f"The check {check.name} of the server's health failed."))
        if (
            (seen.refused and check.name in OF_THE_PLAN)
            or _is_otherwise(seen, meaning.variable)
            or any(detector in spoke for detector in meaning.told_by)
            or any(list(detector(since)) for detector in meaning.lately)
            or (check.name == "unit" and all(map(_TOLD_OF_UNIT.search, check.problem.split("; "))))
        ):
            continue
        remedy = check.remedy or f"Look at its log: journalctl -u {seen.unit.name}."
        yield Finding(meaning.symptom, PROBLEM, meaning.what, f"health, {check.name}: {check.problem}", remedy)


def _is_otherwise(seen: Evidence, variable: str) -> bool:
    wanted = seen.wanted.get(variable)
    return wanted is not None and seen.environment is not None and seen.environment.get(variable) != wanted
