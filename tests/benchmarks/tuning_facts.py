# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""CPU time of tuning_facts on a host: ./dev exec python tests/benchmarks/tuning_facts.py -i INVENTORY [--host ollama1]

Runs the module once through Ansible and keeps the file that Ansible sent to the host; the same for Ansible's own ping,
which shows what any module costs. Then the host runs these files in turns, and the kernel tells what each run and its
child processes took. Prints a Markdown table; exit code 1 if the least of any is above the goal.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from statistics import median

CHECKOUT = Path(__file__).parents[2]
GOAL = 0.3  # seconds
RUNS = 15

PING = "ansible.builtin.ping"
TUNING = "llmops.ollama.tuning_facts"

MEASURE = """
import json, os, resource, subprocess, sys, time
files, rounds = sys.argv[2:], int(sys.argv[1])
runs = {file: [] for file in files}
for file in files * rounds:
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([sys.executable, file], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    runs[file].append((cpu, time.monotonic() - start))
print(json.dumps(list(runs.values())))
"""


class Host:
    """One host, reached by ad-hoc commands. Raises ``SystemExit`` with what Ansible printed on failure."""

    def __init__(self, inventory: str, name: str) -> None:
        self._command = [str(Path(sys.executable).with_name("ansible")), name, "-i", inventory, "-b"]

    def module(self, name: str, arguments: str = "", pipelining: bool = True) -> str:
        """Run a module and return the output."""
        command = [*self._command, "-m", name, "-a", arguments]
        if not pipelining:
            command += ["-e", json.dumps({"ansible_pipelining": False, "ansible_ssh_pipelining": False})]
        environment = {**os.environ, "ANSIBLE_KEEP_REMOTE_FILES": "1", "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        return done.stdout

    def keep(self, name: str, arguments: str, place: str) -> str:
        """Run a module and keep what was sent to the host for it, at that path."""
        self.module("ansible.builtin.shell", "rm -rf ~/.ansible/tmp")
        self.module(name, arguments, pipelining=False)
        self.module("ansible.builtin.shell", f"mv ~/.ansible/tmp/*/AnsiballZ_{name.rpartition('.')[2]}.py {place}")
        return place


def main() -> int:
    parser = argparse.ArgumentParser(description="CPU time of tuning_facts on a host.")
    parser.add_argument("-i", "--inventory", required=True)
    parser.add_argument("--host", default="ollama1", help="[%(default)s]")
    asked = parser.parse_args()
    host = Host(asked.inventory, asked.host)
    rows = {
        "ping, as any module costs": (PING, ""),
        "tuning_facts, no models": (TUNING, json.dumps({"models": []})),
        "tuning_facts, the inventory's models": (TUNING, json.dumps({"models": "{{ ollama_models }}"})),
    }
    files = [host.keep(*each, place=f"/root/measure{number}.py") for number, each in enumerate(rows.values())]
    try:
        command = f"python3 -c {shlex.quote(MEASURE)} {RUNS} {' '.join(files)}"
        printed = host.module("ansible.builtin.shell", command)
    finally:
        host.module("ansible.builtin.shell", f"rm -rf ~/.ansible/tmp {' '.join(files)}")
    runs = json.loads(printed[printed.index("[[") :])
    print(f"| {RUNS} runs of each, in turns | CPU s, least | median | elapsed s, median |\n|---|---|---|---|")
    for label, each in zip(rows, runs):
        cpu = [cpu for cpu, _ in each]
        print(f"| {label} | {min(cpu):.3f} | {median(cpu):.3f} | {median(elapsed for _, elapsed in each):.3f} |")
    # What other work on the machine adds is no cost of the module.
    return 0 if all(min(cpu for cpu, _ in each) <= GOAL for each in runs) else 1


if __name__ == "__main__":
    sys.exit(main())
