# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Regret of autotune's search on synthetic servers: ./dev exec python tests/benchmarks/search.py [--runs 1000]

Each run searches a server of known rates with noisy measurements, and its choice is compared with what an exhaustive
sweep of the same space finds without noise. Runs with equal settings show how often something is adopted that brings
nothing. Prints Markdown tables; exit code 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
sys.path[:0] = [str(CHECKOUT / ".collections"), str(CHECKOUT / "tests/unit/plugins")]

from ansible_collections.llmops.ollama.plugins.module_utils.autotune.search import Found, Limits, search  # noqa: E402
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.setting import MAX_SETTINGS  # noqa: E402
from surfaces import NOISE, SHAPES, Meter, Surface, flat, surface  # noqa: E402

SMALL_REGRET = 0.02
GOAL = 0.95  # the share of runs with a small regret
WRONGLY = 0.05  # the share of runs that may adopt what brings nothing


@dataclass(frozen=True)
class Outcome:
    """One run: what it chose gives away, what it adopts gives away, and what it took."""

    name: str
    chosen: float
    adopted: float
    worthless: bool  # adopted something with less than the gain that it was to have
    settings: int
    space: int
    measurements: int
    rounds: int


def run(synthetic: Surface, seed: int, seconds: float) -> Outcome:
    meter = Meter(synthetic, seed)
    found = search(synthetic.space, synthetic.current, meter, Limits(seconds))
    return Outcome(
        synthetic.name,
        synthetic.regret(found.best),
        synthetic.regret(found.adopted),
        found.changed and true_gain(synthetic, found) <= Limits().min_gain,
        len(found.trials),
        len(synthetic.space.settings()),
        len(meter.log),
        len(found.rounds),
    )


def true_gain(synthetic: Surface, found: Found) -> float:
    return synthetic.rate(found.adopted) / synthetic.rate(found.current) - 1


def share(values: Sequence[bool]) -> float:
    return sum(values) / len(values)


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def row(name: str, runs: Sequence[Outcome]) -> str:
    regrets = sorted(each.chosen for each in runs)
    cells = [
        name,
        str(len(runs)),
        f"{share([each.chosen <= SMALL_REGRET for each in runs]):.1%}",
        f"{regrets[math.ceil(0.95 * len(regrets)) - 1]:.1%}",
        f"{share([each.adopted <= SMALL_REGRET for each in runs]):.1%}",
        f"{share([each.worthless for each in runs]):.1%}",
        f"{max(each.settings for each in runs)} of {mean([each.space for each in runs]):.0f}",
        f"{mean([each.measurements for each in runs]):.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def equals(runs: int, seed: int, noise: float, stalls: float) -> float:
    """How often something is adopted where all settings are equal."""
    changed = 0
    for number in range(seed, seed + runs):
        synthetic = flat(random.Random(number))  # noqa: S311  # a surface, not a secret
        changed += search(synthetic.space, synthetic.current, Meter(synthetic, number, noise, stalls)).changed
    return changed / runs


def main() -> int:
    parser = argparse.ArgumentParser(description="Regret of autotune's search on synthetic servers.")
    parser.add_argument("--runs", type=int, default=1000, help="[%(default)s]")
    parser.add_argument("--seed", type=int, default=1_000_000, help="of the first run [%(default)s]")
    parser.add_argument("--seconds", type=float, default=math.inf, help="for each run, at 6 s a measurement [no limit]")
    asked = parser.parse_args()
    outcomes = [run(surface(seed), seed, asked.seconds) for seed in range(asked.seed, asked.seed + asked.runs)]
    print(f"Noise of one measurement: {NOISE:.0%}.\n")
    titles = ("server", "runs", "regret <= 2 %", "95th percentile", "adopted <= 2 %", "in vain", "settings", "readings")
    print(f"| {' | '.join(titles)} |")
    print("|---" * len(titles) + "|")
    for name in dict.fromkeys(each.name for each in outcomes):
        print(row(name, [each for each in outcomes if each.name == name]))
    print(row("all", outcomes))
    few = max(1, asked.runs // len(SHAPES))
    print("\n| equal settings | runs | adopted |\n|---|---|---|")
    wrong = 0.0
    for noise, stalls in ((0.05, 0.0), (0.05, 0.1), (0.15, 0.0), (0.15, 0.1)):
        rate = equals(few, asked.seed, noise, stalls)
        wrong = max(wrong, rate)
        print(f"| noise {noise:.0%}{', one reading of ten stalls' if stalls else ''} | {few} | {rate:.1%} |")
    small = share([each.chosen <= SMALL_REGRET for each in outcomes])
    settings = max(each.settings for each in outcomes)
    return 0 if small >= GOAL and settings <= MAX_SETTINGS and wrong <= WRONGLY else 1


if __name__ == "__main__":
    sys.exit(main())
