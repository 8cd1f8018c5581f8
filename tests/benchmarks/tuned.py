# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A tuned server against Ollama as it comes: ./dev exec python tests/benchmarks/tuned.py [-i INVENTORY] [--rounds 9]

Sets up a server with ``site.yml`` and ``retune.yml``, and runs a second one on the same host, with the same program and
models but none of the settings. In each round all of them get the same requests, one after the other; who begins
changes. Brings up a server with all cores of this machine and removes it, unless an inventory names one. Prints a
Markdown table of medians and of the rounds' ratios; exit code 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from lab_fleet import Hosts, lab

F16, Q8, Q4_K_M, Q4_0 = "gemma3:270m-it-fp16", "gemma3:270m-it-q8_0", "gemma3:270m", "gemma3:270m-it-q4_0"
CONCURRENCY, REQUESTS, MAX_TOKENS = 10, 30, 32
# Beside the tuned server, whose user, program and models it has.
UNIT, PORT = "ollama-default", 11500
START = f"""
systemd-run --quiet --collect --unit={UNIT} --uid=ollama --setenv=HOME=/tmp --setenv=OLLAMA_HOST=127.0.0.1:{PORT} \\
  --setenv=OLLAMA_MODELS=/var/lib/ollama/models /opt/ollama/current/bin/ollama serve
for try in $(seq 100); do OLLAMA_HOST=127.0.0.1:{PORT} ollama list > /dev/null 2>&1 && exit 0; sleep 0.1; done
systemctl status {UNIT}; exit 1
"""


@dataclass(frozen=True)
class Way:
    """One of the servers with one of the models."""

    name: str
    port: int
    model: str


DEFAULT_F16 = Way("as it comes, F16", PORT, F16)
DEFAULT_SAME = Way("as it comes, Q4_K_M", PORT, Q4_K_M)
TUNED_SAME = Way("tuned, Q4_K_M", 11434, Q4_K_M)
TUNED = Way("tuned, Q4_0", 11434, Q4_0)
WAYS = (DEFAULT_F16, DEFAULT_SAME, TUNED_SAME, TUNED)
# The least of the medians of the ratios.
GOALS = ((TUNED, DEFAULT_F16, 2.5), (TUNED_SAME, DEFAULT_SAME, 1.5))


def measure(hosts: Hosts, host: str, way: Way, seed: int) -> dict[str, Any]:
    """One level of load at one server: the module's document."""
    result = hosts.result(
        host,
        "llmops.ollama.benchmark",
        url=f"http://127.0.0.1:{way.port}",
        model=way.model,
        concurrency=[CONCURRENCY],
        requests=REQUESTS,
        max_tokens=MAX_TOKENS,
        seed=seed,
        single=False,
    )
    return dict(result["benchmark"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-i", "--inventory", type=Path, help="of a fleet of the lab")
    parser.add_argument("--host", default="ollama1", help="[%(default)s]")
    parser.add_argument("--rounds", type=int, default=9, help="[%(default)s]")
    asked = parser.parse_args()
    with lab("tuned-benchmark", asked.inventory, "single") as inventory:
        hosts = Hosts(inventory)
        models = [Q4_0, Q4_K_M, Q8, F16]
        hosts.play("site.yml", ollama_models=models)
        hosts.play(
            "playbooks/retune.yml",
            ollama_models=models,
            retune_canary=asked.host,
            retune_drain=False,
            retune_quantizations=models,
            retune_max_minutes=9,
        )
        hosts.shell(asked.host, START)
        try:
            rounds = [
                {way: measure(hosts, asked.host, way, number) for way in (*WAYS[number % 4 :], *WAYS[: number % 4])}
                for number in range(asked.rounds)
            ]
        finally:
            hosts.shell(asked.host, f"systemctl stop {UNIT}")
        fact = json.loads(hosts.shell(asked.host, "cat /etc/ansible/facts.d/ollama_tuning.fact"))
    print(f"{fact['evidence']['verdict']}\n")
    show_quantizations(fact["evidence"]["quantizations"])
    return show(rounds)


def show_quantizations(advice: dict[str, Any]) -> None:
    """What the search said of them with the adopted setting."""
    print("| quantization | requests/s | memory MiB | loss % | on the frontier |\n|---|---|---|---|---|")
    for each in advice["variants"]:
        names = ("quantization", "requests_per_second", "memory_mb", "loss_percent", "on_frontier")
        print(f"| {' | '.join(str(each[name]) for name in names)} |")
    print(f"\n{advice['text']}\n")


def show(rounds: list[dict[Way, dict[str, Any]]]) -> int:
    """The tables; 1 if a goal is missed."""
    print("| server | slots | threads | requests/s | tokens/s | TTFT p95 s | latency p95 s | memory MiB |")
    print("|---|---|---|---|---|---|---|---|")
    for way in WAYS:
        levels = [each[way]["levels"][0] for each in rounds]
        runner, variables = (rounds[0][way]["settings"][name] for name in ("runner", "environment"))
        values = (
            f"{runner['slots']} | {variables.get('LLAMA_ARG_THREADS', 'its choice')}",
            f"{median(level['requests_per_second'] for level in levels):.2f}",
            f"{median(level['output_tokens_per_second'] for level in levels):.1f}",
            f"{median(level['ttft_s']['p95'] for level in levels):.2f}",
            f"{median(level['latency_s']['p95'] for level in levels):.2f}",
            f"{max(level['server']['rss_peak_mb'] for level in levels):.0f}",
        )
        print(f"| {way.name} | {' | '.join(values)} |")
    print("\n| requests/s of | against | median ratio | rounds |\n|---|---|---|---|")
    missed = False
    for one, other, least in GOALS:
        ratios = [
            each[one]["levels"][0]["requests_per_second"] / each[other]["levels"][0]["requests_per_second"]
            for each in rounds
        ]
        shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"| {one.name} | {other.name} | {median(ratios):.2f} | {shown} |")
        if median(ratios) < least:
            missed = True
            print(f"MISSED: {one.name} against {other.name}: {median(ratios):.2f}, not {least}", file=sys.stderr)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
