# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the module ``model`` tells of its work: a row for each model, and the difference for a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.model_plan import Step
from ansible_collections.llmops.ollama.plugins.module_utils.model_state import State
from ansible_collections.llmops.ollama.plugins.module_utils.model_store import Leftover

_FACTS = ("digest", "size", "quantization", "family", "parameter_size")


def row(step: Step, state: State | None, seconds: float) -> dict[str, Any]:
    """One model: what was done in how many ``seconds``, and what it is now (None: absent)."""
    return {
        "name": str(step.name),
        "action": step.action,
        "made_of": made_of(step),
        "bytes": step.bytes_to_bring,
        "seconds": round(seconds, 1),
        **{fact: getattr(state, fact, None) for fact in _FACTS},
    }


def made_of(step: Step) -> str | None:
    """The model or the file that it is made of now; None for the registry's own, and where nothing is made."""
    making = step.making
    if making is None:
        return None
    return making.file.origin if making.file else str(making.base) if making.base.key != step.name.key else None


def difference(steps: Sequence[Step], leftovers: Sequence[Leftover]) -> dict[str, str]:
    """The models that change and the files that go, before and after."""
    changes = [step for step in steps if step.changed]
    before = [_line(step, step.before) for step in changes if step.before]
    after = [_line(step, step.after) + _made(step) for step in changes if step.after]
    before += [f"{each.digest[:19]} {each.size} bytes of a broken pull" for each in leftovers]
    return {
        "before": "".join(f"{line}\n" for line in before),
        "after": "".join(f"{line}\n" for line in after),
        "before_header": "models",
        "after_header": "models",
    }


def _line(step: Step, state: State | None) -> str:
    if state is None:
        return ""
    return f"{step.name} {state.digest[:12] or '(new digest)'} {state.size} bytes {state.quantization}".rstrip()


def _made(step: Step) -> str:
    origin, overlay = made_of(step), step.making.overlay if step.making else None
    return (f" from {origin}" if origin else "") + (f" {overlay}" if overlay else "")
