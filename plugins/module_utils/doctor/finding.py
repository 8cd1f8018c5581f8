# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a detector found."""

from __future__ import annotations

from dataclasses import dataclass

# The guide's three kinds of trouble, and the one before all of them.
SETTING = "setting had no effect"
MEMORY = "out of memory"
SLOW = "slow"
STOPPED = "does not run"
SYMPTOMS = (STOPPED, SETTING, MEMORY, SLOW)

# A problem hurts now or has hurt; a warning may, or explains one.
PROBLEM = "problem"
WARNING = "warning"
SEVERITIES = (PROBLEM, WARNING)

EVIDENCE_LENGTH = 300  # characters of a log line that are shown


@dataclass(frozen=True)
class Finding:
    """``what`` and ``remedy`` are sentences; ``evidence`` is the line or the numbers that led to it."""

    symptom: str
    severity: str
    what: str
    evidence: str
    remedy: str


def times(count: int) -> str:
    """How often, in words."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def brief(line: str) -> str:
    """A log line, cut where it gets too long to read."""
    line = " ".join(line.split())
    return line if len(line) <= EVIDENCE_LENGTH else line[: EVIDENCE_LENGTH - 1] + "…"
