# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All detectors over one host's evidence, and what was looked at."""

from __future__ import annotations

from ansible_collections.llmops.ollama.plugins.module_utils.doctor import memory, running, settings, speed
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.evidence import Evidence, mib
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.finding import PROBLEM, SEVERITIES, SYMPTOMS, Finding
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.journal import JOURNAL_LINES
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.proof import Detector, unexplained

DETECTORS: tuple[Detector, ...] = (
    *running.DETECTORS,
    *settings.DETECTORS,
    *memory.DETECTORS,
    *speed.DETECTORS,
)


def diagnose(seen: Evidence) -> list[Finding]:
    """Everything that was found, problems first."""
    by_detector = {detector: list(detector(seen)) for detector in DETECTORS}
    found = [finding for findings in by_detector.values() for finding in findings]
    found += unexplained(seen, [detector for detector, findings in by_detector.items() if findings])
    return sorted(found, key=lambda each: (SEVERITIES.index(each.severity), SYMPTOMS.index(each.symptom)))


def healthy(found: list[Finding]) -> bool:
    """Whether there is no problem; warnings may be."""
    return all(finding.severity != PROBLEM for finding in found)


def checked(seen: Evidence, hours: float) -> list[str]:
    """What was looked at, so that finding nothing means something; what could not be is said, too."""
    unit, kills = seen.unit, seen.after
    groups = sorted({seen.after.memory_group, seen.after.cpu_group} - {""})
    process = f"process {unit.main_pid}" if unit.main_pid else "no process"
    return [
        f"unit {unit.name}: {unit.active_state}, {process}, restarts by systemd: {unit.restarts}",
        f"journal: {len(seen.journal)} lines of the last {hours:g} h"
        + (", of requests only the newest" if len(seen.journal) >= JOURNAL_LINES else "")
        if seen.journal
        else "journal: empty or not readable",
        f"kernel log: lines about killed processes: {len(seen.kernel)}"
        if seen.kernel
        else "kernel log: nothing, or not readable",
        f"environment: {len(seen.environment)} variables of {process}, {len(seen.wanted)} wanted"
        if seen.environment is not None
        else f"environment: {f'that of {process} may not be read' if unit.main_pid else 'no process to read it from'}",
        f"unit files: {', '.join(file.path for file in seen.files) or 'none'}",
        f"API: {seen.api_problem}"
        if seen.api_problem
        else f"API: version {seen.version}, models loaded: {len(seen.loaded)}",
        f"lock: {len(seen.drifted)} of {seen.pinned} pinned models drifted" if seen.pinned else "lock: none given",
        f"model store: {mib(seen.disk_free)} of {mib(seen.disk_size)} are free in {seen.store}"
        if seen.disk_size
        else "model store: not found, or not readable",
        f"memory: {mib(seen.memory_free)} of {mib(seen.memory_limit)} left, service uses {mib(seen.service_rss)}",
        f"control groups: {', '.join(groups) or 'none readable'}"
        + (f"; killed in {kills.memory_group} since it was made: {kills.oom_kills}" if kills.oom_kills else ""),
        f"CPUs: load {seen.load_average:.1f}, {len(seen.processes)} other processes watched for {seen.seconds:g} s, "
        f"model processes: {len(seen.runners)}, threads of each: {', '.join(map(str, seen.threads)) or 'unknown'}",
    ]
