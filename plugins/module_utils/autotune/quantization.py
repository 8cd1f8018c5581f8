# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which quantization of a model to take: what each brings and costs, and which ones none beats; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.policy import Quantization

# A speed that is so little below another one is not worth a loss of quality.
SAME_SPEED = 0.05


@dataclass(frozen=True)
class Variant:
    """One quantization of a model. ``rate`` in requests per second that meet the SLO, ``memory_mb`` in the worst case.

    ``loss`` of quality in percent is the policy's; None where it does not know the quantization. ``problem`` says why
    one could not be measured.
    """

    model: str
    quantization: str
    rate: float | None
    memory_mb: int | None
    loss: float | None
    problem: str = ""

    @property
    def measured(self) -> bool:
        return self.rate is not None


@dataclass(frozen=True)
class Advice:
    """``frontier`` are those that no other one beats in speed, memory and loss at once, from the fastest on."""

    variants: tuple[Variant, ...]
    frontier: tuple[Variant, ...]
    recommended: Variant | None
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data for Ansible."""
        best = {each.model for each in self.frontier}
        return {
            "variants": [
                {
                    "model": each.model,
                    "quantization": each.quantization,
                    "requests_per_second": each.rate,
                    "memory_mb": each.memory_mb,
                    "loss_percent": each.loss,
                    "problem": each.problem,
                    "on_frontier": each.model in best,
                }
                for each in self.variants
            ],
            "recommended": self.recommended.model if self.recommended else None,
            "text": self.text,
        }


def loss_of(name: str, quantizations: Sequence[Quantization]) -> float | None:
    """The loss of quality (percent) that the policy states for a quantization."""
    return next((each.loss for each in quantizations if each.name == name.upper()), None)


def advise(variants: Sequence[Variant]) -> Advice:
    """Compare what was measured."""
    measured = sorted((each for each in variants if each.measured), key=_speed)
    frontier = tuple(each for each in measured if not any(_beats(other, each) for other in measured))
    return Advice(tuple(variants), frontier, *_recommend(frontier))


def _recommend(frontier: Sequence[Variant]) -> tuple[Variant | None, str]:
    """The least loss among those that are about as fast as the fastest, and what the others would give or take."""
    if not frontier:
        return None, "None of the quantizations could be measured."
    fastest = frontier[0]
    as_fast = [each for each in frontier if _rate(each) >= _rate(fastest) * (1 - SAME_SPEED)]
    chosen = min(as_fast, key=lambda each: (_loss(each), -_rate(each)))
    parts = [f"{_name(chosen)}: {_rate(chosen):.2f} requests/s{_costs(chosen)}."]
    for other in frontier:
        if other is not chosen:
            parts.append(f"{_name(other)} would be {_difference(other, chosen)}.")
    return chosen, " ".join(parts)


def _difference(other: Variant, chosen: Variant) -> str:
    change = _rate(other) / _rate(chosen) - 1 if _rate(chosen) else 0.0
    text = f"{abs(change):.0%} {'faster' if change > 0 else 'slower'}"
    if other.memory_mb is not None and chosen.memory_mb is not None and other.memory_mb != chosen.memory_mb:
        more = other.memory_mb - chosen.memory_mb
        text += f", with {abs(more)} MiB {'more' if more > 0 else 'less'} memory"
    if other.loss is not None:
        text += f" and about {other.loss:g} % loss of quality"
    return text


def _costs(variant: Variant) -> str:
    memory = f", {variant.memory_mb} MiB" if variant.memory_mb is not None else ""
    loss = "unknown loss" if variant.loss is None else f"about {variant.loss:g} % loss"
    return f"{memory}, {loss} of quality"


def _beats(one: Variant, other: Variant) -> bool:
    """Whether one is nowhere worse, and better somewhere; a loss that is not known is not better than any."""
    mine, theirs = _cost(one), _cost(other)
    return mine != theirs and all(a <= b for a, b in zip(mine, theirs))


def _cost(variant: Variant) -> tuple[float, float, float]:
    memory = float("inf") if variant.memory_mb is None else float(variant.memory_mb)
    return (-_rate(variant), memory, _loss(variant))


def _name(variant: Variant) -> str:
    return f"{variant.model} ({variant.quantization})" if variant.quantization else variant.model


def _speed(variant: Variant) -> float:
    return -_rate(variant)


def _rate(variant: Variant) -> float:
    return variant.rate or 0.0


def _loss(variant: Variant) -> float:
    return float("inf") if variant.loss is None else variant.loss
