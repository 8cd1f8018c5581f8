# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real autotune against a sweep: ./dev exec python tests/benchmarks/autotune.py [-i INVENTORY] [--host ollama1]

Searches on a host, and then measures every setting of the same space beside the current one, in the same run of the
module, so that a host that becomes slower does so for both. Brings up a server of its own with all cores of this
machine and removes it, unless an inventory is given. Prints Markdown tables; exit code 1 if the search took longer than
its time or gives away more than the goal.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from lab_fleet import Hosts, Stopwatch, lab

REGRET = 0.03
MINUTES = 6.0


class Server:
    """The host whose service is searched."""

    def __init__(self, hosts: Hosts, name: str, given: dict[str, Any]) -> None:
        self._hosts, self._name, self._given = hosts, name, given

    def tune(self, **arguments: Any) -> dict[str, Any]:
        """Run the module and return what it found."""
        given = {**self._given, **arguments}
        return dict(self._hosts.result(self._name, "llmops.ollama.autotune", **given)["autotune"])

    def plan(self) -> dict[str, Any]:
        """What the module would try."""
        result = self._hosts.result(self._name, "llmops.ollama.autotune", check=True, **self._given)
        return dict(result["plan"])

    def beside_the_current(self, parallel: int, threads: int) -> float:
        """How many times as many requests per second a setting answers as the current one, in one run of the module."""
        # No gain is enough, so that nothing is measured but the two of them.
        space = {"parallel": [parallel], "threads": [threads]}
        run = self.tune(space=space, max_minutes=MINUTES, min_gain=1000)
        trials = {setting(trial): trial["goodput"] or 0.0 for trial in run["evidence"]["trials"]}
        return float(trials.get((parallel, threads), 0.0) / trials[setting(run["current"])])


def setting(of: dict[str, Any]) -> tuple[int, int]:
    return of["parallel"], of["threads"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-i", "--inventory", type=Path, help="of a fleet of the lab that site.yml has set up")
    parser.add_argument("--host", default="ollama1", help="[%(default)s]")
    parser.add_argument("--model", default="gemma3:270m", help="[%(default)s]")
    parser.add_argument("--concurrency", type=int, default=10, help="[%(default)s]")
    parser.add_argument("--max-tokens", type=int, default=32, help="[%(default)s]")
    parser.add_argument("--no-sweep", action="store_true", help="only the search")
    asked = parser.parse_args()
    given = {"model": asked.model, "concurrency": asked.concurrency, "workload": {"max_tokens": asked.max_tokens}}
    with lab("autotune-benchmark", asked.inventory, "single") as inventory:
        hosts = Hosts(inventory)
        if not asked.inventory:
            hosts.play("site.yml")
        server = Server(hosts, asked.host, given)
        with Stopwatch() as watch:
            found = server.tune(max_minutes=MINUTES)
        show(found, watch.seconds)
        regret = 0.0 if asked.no_sweep else sweep(server, found)
    return 0 if watch.seconds <= MINUTES * 60 and regret <= REGRET else 1


def show(found: dict[str, Any], seconds: float) -> None:
    """What the search tried, as a table."""
    print(f"Search: {seconds:.0f} s, noise {found['evidence']['noise']:.1%}. {found['verdict']}\n")
    print("| tried | parallel | threads | requests/s | 95 % interval | measurements | TTFT p95 s | latency p95 s |")
    print("|---|---|---|---|---|---|---|---|")
    for number, trial in enumerate(found["evidence"]["trials"], 1):
        interval = " to ".join(f"{bound:.2f}" for bound in trial["interval"] or [])
        times = f"{trial.get('ttft_p95_s')} | {trial.get('latency_p95_s')}"
        rate = trial["failure"] or f"{trial['goodput']:.2f}"
        cells = f"{trial['parallel']} | {trial['threads']} | {rate} | {interval} | {trial['measurements']}"
        print(f"| {number} | {cells} | {times} |", flush=True)


def sweep(server: Server, found: dict[str, Any]) -> float:
    """Every setting of the space beside the current one; the share of the best that the search's choice gives away."""
    plan = server.plan()
    current, space = setting(plan["current"]), plan["space"]
    ratios = {current: 1.0}
    for parallel in space["parallel"]:
        for threads in space["threads"]:
            if (parallel, threads) != current and parallel <= space["memory_allows"]["f16"]:
                ratios[parallel, threads] = server.beside_the_current(parallel, threads)
    best = max(ratios, key=lambda each: ratios[each])
    chosen = setting(found["best"])
    regret = 1 - ratios[chosen] / ratios[best]
    print("\n| parallel | threads | against the current setting |\n|---|---|---|")
    for (parallel, threads), ratio in sorted(ratios.items()):
        print(f"| {parallel} | {threads} | {ratio:.2f} |")
    print(f"\nThe sweep's best is {best}; the search chose {chosen}: regret {regret:.1%}.")
    return regret


if __name__ == "__main__":
    sys.exit(main())
