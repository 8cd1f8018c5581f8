# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""CPU time of tuning_facts on a host: ./dev exec python tests/benchmarks/tuning_facts.py -i INVENTORY [--host ollama1]

Runs the module once through Ansible and keeps the file that Ansible sent to the host. Then the host runs that file
again and again, and the kernel tells what each run and its child processes took. Prints a Markdown table; exit code 1
if a median is above the goal.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
GOAL = 0.3  # seconds
RUNS = 15

MEASURE = """
import json, os, resource, subprocess, sys, time
runs = []
for _run in range(int(sys.argv[2])):
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([sys.executable, sys.argv[1]], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    runs.append((cpu, time.monotonic() - start))
print(json.dumps(runs))
"""


def ansible(inventory: str, host: str, *arguments: str) -> str:
    """Run an ad-hoc command and return what it printed. Raises ``SystemExit`` with it on failure."""
    command = [str(Path(sys.executable).with_name("ansible")), host, "-i", inventory, "-b", *arguments]
    environment = {**os.environ, "ANSIBLE_KEEP_REMOTE_FILES": "1", "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description="CPU time of tuning_facts on a host.")
    parser.add_argument("-i", "--inventory", required=True)
    parser.add_argument("--host", default="ollama1", help="[%(default)s]")
    asked = parser.parse_args()
    rows = []
    for label, models in (("no models", []), ("the inventory's models", "{{ ollama_models }}")):
        arguments = json.dumps({"models": models, "models_path": "/var/lib/ollama/models"})
        clean = "rm -rf ~/.ansible/tmp"
        ansible(asked.inventory, asked.host, "-m", "ansible.builtin.shell", "-a", clean)
        pipelining = ["-e", '{"ansible_pipelining": false, "ansible_ssh_pipelining": false}']
        ansible(asked.inventory, asked.host, "-m", "llmops.ollama.tuning_facts", "-a", arguments, *pipelining)
        find = f"python3 -c {shlex.quote(MEASURE)} ~/.ansible/tmp/*/AnsiballZ_tuning_facts.py {RUNS}"
        printed = ansible(asked.inventory, asked.host, "-m", "ansible.builtin.shell", "-a", find)
        runs = json.loads(printed[printed.index("[[") :])
        rows.append((label, statistics.median(cpu for cpu, _ in runs), statistics.median(wall for _, wall in runs)))
        ansible(asked.inventory, asked.host, "-m", "ansible.builtin.shell", "-a", clean)
    print(f"| tuning_facts, {RUNS} runs | CPU s (median) | elapsed s (median) |\n|---|---|---|")
    for label, cpu, wall in rows:
        print(f"| {label} | {cpu:.3f} | {wall:.3f} |")
    return 0 if all(cpu <= GOAL for _, cpu, _ in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
