# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real autotune against a sweep: ./dev exec python tests/benchmarks/autotune.py -i INVENTORY [--host ollama1]

Searches on a converged host, and then measures every setting of the same space beside the current one, in the same run
of the module, so that a host that becomes slower does so for both. Prints Markdown tables; exit code 1 if the search
took longer than its time or gives away more than the goal.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[2]
REGRET = 0.03
MINUTES = 6.0


class Host:
    """One host, reached by ad-hoc commands. Raises ``SystemExit`` with what Ansible printed on failure."""

    def __init__(self, inventory: str, name: str, given: dict[str, Any]) -> None:
        self._command = [str(Path(sys.executable).with_name("ansible")), name, "-i", inventory, "-b"]
        self._given = given

    def tune(self, check: bool = False, **arguments: Any) -> dict[str, Any]:
        """Run the module and return its result."""
        command = [*self._command, "-m", "llmops.ollama.autotune", "-a", json.dumps({**self._given, **arguments})]
        environment = {**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        environment["ANSIBLE_CALLBACK_RESULT_FORMAT"] = "json"
        done = subprocess.run(
            [*command, *(["--check"] if check else [])], env=environment, capture_output=True, text=True, check=False
        )
        found = re.search(r"^\S+ \| \S+ => (\{.*)", done.stdout, re.MULTILINE | re.DOTALL)
        if done.returncode or not found:
            raise SystemExit(done.stdout + done.stderr)
        result: dict[str, Any] = json.loads(found[1])
        return result


def setting(of: dict[str, Any]) -> tuple[int, int]:
    return of["parallel"], of["threads"]


def main() -> int:
    parser = argparse.ArgumentParser(description="A real autotune against an exhaustive sweep.")
    parser.add_argument("-i", "--inventory", required=True)
    parser.add_argument("--host", default="ollama1", help="[%(default)s]")
    parser.add_argument("--model", default="gemma3:270m", help="[%(default)s]")
    parser.add_argument("--concurrency", type=int, default=10, help="[%(default)s]")
    parser.add_argument("--max-tokens", type=int, default=32, help="[%(default)s]")
    parser.add_argument("--no-sweep", action="store_true", help="only the search")
    asked = parser.parse_args()
    given = {"model": asked.model, "concurrency": asked.concurrency, "workload": {"max_tokens": asked.max_tokens}}
    host = Host(asked.inventory, asked.host, given)
    start = time.monotonic()
    found = host.tune(max_minutes=MINUTES)["autotune"]
    took = time.monotonic() - start
    print(f"Search: {took:.0f} s, noise {found['evidence']['noise']:.1%}. {found['verdict']}\n")
    print("| tried | parallel | threads | requests/s | 95 % interval | measurements | TTFT p95 s | latency p95 s |")
    print("|---|---|---|---|---|---|---|---|")
    for number, trial in enumerate(found["evidence"]["trials"], 1):
        interval = " to ".join(f"{bound:.2f}" for bound in trial["interval"] or [])
        times = f"{trial.get('ttft_p95_s')} | {trial.get('latency_p95_s')}"
        rate = trial["failure"] or f"{trial['goodput']:.2f}"
        cells = f"{trial['parallel']} | {trial['threads']} | {rate} | {interval} | {trial['measurements']}"
        print(f"| {number} | {cells} | {times} |")
    if asked.no_sweep:
        return 0 if took <= MINUTES * 60 else 1
    plan = host.tune(check=True)["plan"]
    current, space = setting(plan["current"]), plan["space"]
    sweep = {current: 1.0}
    for parallel in space["parallel"]:
        for threads in space["threads"]:
            if (parallel, threads) != current and parallel <= space["memory_allows"]["f16"]:
                sweep[parallel, threads] = beside_the_current(host, parallel, threads)
    best = max(sweep, key=lambda each: sweep[each])
    chosen = setting(found["best"])
    regret = 1 - sweep[chosen] / sweep[best]
    print("\n| parallel | threads | against the current setting |\n|---|---|---|")
    for (parallel, threads), ratio in sorted(sweep.items()):
        print(f"| {parallel} | {threads} | {ratio:.2f} |")
    print(f"\nThe sweep's best is {best}; the search chose {chosen}: regret {regret:.1%}.")
    return 0 if took <= MINUTES * 60 and regret <= REGRET else 1


def beside_the_current(host: Host, parallel: int, threads: int) -> float:
    """How many times as many requests per second a setting answers as the current one, in one run of the module."""
    # No gain is enough, so that nothing is measured but the two of them.
    run = host.tune(space={"parallel": [parallel], "threads": [threads]}, max_minutes=MINUTES, min_gain=1000)
    trials = {setting(trial): trial["goodput"] or 0.0 for trial in run["autotune"]["evidence"]["trials"]}
    return float(trials.get((parallel, threads), 0.0) / trials[setting(run["autotune"]["current"])])


if __name__ == "__main__":
    sys.exit(main())
