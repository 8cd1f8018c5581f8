# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the module ``model`` costs: ./dev exec python tests/benchmarks/models.py [-i INVENTORY]

1. A run over ten models that changes nothing, on top of a ping of the same host.
2. A pull through the module against a bare ``ollama pull`` from the same mirror.
3. What a person sees of a pull: lines each second, and the longest pause between two of them.

The first two run on the host itself, from the files that Ansible sends for them, so that the connection is no part of
it; rounds are interleaved, so that whatever else the machine does meets all alike. Brings up a fleet of its own and
removes it, unless an inventory names one of the lab's that ``site.yml`` has set up. Prints Markdown tables; exit code 1
if a goal is missed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import tuning_facts
from lab_fleet import Hosts, environment, lab

HOST, MIRROR = "ollama2", "edge"
COUNT = 10
ROUNDS, PULL_ROUNDS = 11, 15
MAX_SECONDS, MIN_SPEED, MIN_LINES = 1.0, 0.95, 1.0
BIG, NORMAL = "gemma3:270m-it-fp16", "gemma3:270m-it-q8_0"
RATE = "16m"  # of each of the server's connections, so that a pull lasts some seconds

# Beside the lab's mirror: ten names for one model, and a slow way to all of them.
STORE = "/srv/benchmark-models"
SITE = "/etc/nginx/conf.d/benchmark-models.conf"
PORT, SLOW = 5011, 5012
SERVER = """server {
  listen PORT;
  location ~ "^/v2/(?<model>[^/]+/[^/]+)/manifests/(?<tag>[^/]+)$" { alias STORE/$model/$tag; }
  location ~ "^/v2/[^/]+/[^/]+/blobs/sha256:(?<hex>[0-9a-f]{64})$" {
    add_header Location $request_uri;
    LIMIT
    alias /srv/ollama-mirror/models/blobs/sha256-$hex;
  }
}
"""
NAMES = [f"gemma3:benchmark-{number}" for number in range(1, COUNT + 1)]

# Runs on the host: pulls a model in turns, bare and through the module; then the module finds nothing to do. Prints for
# each round the seconds of all three, and the CPU time that the server and the module took for a pull.
PULLS = """
import json, resource, subprocess, sys, time
rounds, name, alias, module = int(sys.argv[1]), *sys.argv[2:]
pid = subprocess.check_output(["systemctl", "show", "ollama", "-p", "MainPID", "--value"], text=True).strip()

def server():
    fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100

def run(*command):
    before, served, start = resource.getrusage(resource.RUSAGE_CHILDREN), server(), time.monotonic()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    took, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": took, "own": own, "server": server() - served}

def pull(way):
    for each in (name, alias):
        subprocess.run(["ollama", "rm", each], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if way == "bare":
        return {"bare": run("ollama", "pull", "--insecure", alias)}
    return {"module": run(sys.executable, module), "nothing": run(sys.executable, module)}

ways = ["bare", "module"]
print(json.dumps([{**pull(ways[turn % 2]), **pull(ways[1 - turn % 2])} for turn in range(rounds)]))
"""


class Models:
    """The measurements."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._files = tuning_facts.Host(str(hosts.inventory), HOST)
        self.missed: list[str] = []

    def prepare(self) -> None:
        """The mirror with ten names, and the ten models on the host."""
        folder = f"{STORE}/library/gemma3"
        source = "/srv/ollama-mirror/models/manifests/registry.ollama.ai/library/gemma3"
        sites = "".join(
            SERVER.replace("PORT", str(port)).replace("STORE", STORE).replace("LIMIT", limit)
            for port, limit in ((PORT, ""), (SLOW, f"limit_rate {RATE};"))
        )
        copies = "; ".join(f"cp {source}/270m {folder}/benchmark-{number}" for number in range(1, COUNT + 1))
        self._hosts.shell(
            MIRROR,
            f"mkdir -p {folder}; cp {source}/* {folder}; {copies}; cat > {SITE} <<'END'\n{sites}END\nnginx -s reload",
        )
        self._hosts.module(HOST, "llmops.ollama.model", name=NAMES, registry=f"http://{MIRROR}:{PORT}")

    def clean(self) -> None:
        """Leave nothing behind."""
        self._hosts.module(HOST, "llmops.ollama.model", name=[*NAMES, BIG, NORMAL], state="absent")
        self._hosts.shell(HOST, "rm -f /root/ping.py /root/present.py /root/latest.py /root/pull.py")
        self._hosts.shell(MIRROR, f"rm -rf {STORE} {SITE}; nginx -s reload")

    def no_change(self) -> None:
        """Ten models that are there already."""
        states = ("present", "latest")
        files = [self._files.keep(tuning_facts.PING, "", "/root/ping.py")]
        files += [self._keep(f"/root/{state}.py", name=NAMES, state=state) for state in states]
        script = f"python3 -c {shlex.quote(tuning_facts.MEASURE)} {ROUNDS} {' '.join(files)}"
        ping, *runs = json.loads(self._hosts.shell(HOST, script))
        print(f"\n| a run over {COUNT} models that changes nothing | s on top of a ping | most | CPU s |")
        print("|---|---|---|---|")
        for state, run in zip(states, runs):
            cpu, seconds = ([each[kind] - nothing[kind] for each, nothing in zip(run, ping)] for kind in (0, 1))
            print(f"| `state: {state}` | {median(seconds):.2f} | {max(seconds):.2f} | {median(cpu):.2f} |")
            self._goal(median(seconds) <= MAX_SECONDS, f"state {state} takes {median(seconds):.2f} s")
        cpu, seconds = (median(each[kind] for each in ping) for kind in (0, 1))
        print(f"\nA ping: {seconds:.2f} s, {cpu:.2f} s of CPU.")

    def pulls(self) -> None:
        """The module against the server's own command. A run that finds nothing to do is what any task costs."""
        kinds = ("`ollama pull`, s", "module, s", "with nothing to do, s", "speed of the pull", "of the whole task")
        print(f"\n| pull of | from | {' | '.join(kinds)} | rounds |\n|---|---|---|---|---|---|---|---|")
        costs = []
        for name, port in ((NORMAL, PORT), (BIG, PORT), (BIG, SLOW)):
            registry, alias = f"http://{MIRROR}:{port}", f"{MIRROR}:{port}/library/{name}"
            file = self._keep("/root/pull.py", name=name, registry=registry)
            script = f"python3 -c {shlex.quote(PULLS)} {PULL_ROUNDS} {name} {alias} {file}"
            rounds = json.loads(self._hosts.shell(HOST, script))
            bare, module, nothing = ([each[way]["seconds"] for each in rounds] for way in ("bare", "module", "nothing"))
            pulls = [whole - rest for whole, rest in zip(module, nothing)]
            ratios = [one / other for one, other in zip(bare, pulls)]
            speed, whole = median(ratios), median(one / other for one, other in zip(bare, module))
            shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            times = " | ".join(f"{median(each):.2f}" for each in (bare, module, nothing))
            place = f"a mirror, {RATE} a connection" if port == SLOW else "a mirror"
            print(f"| {name} | {place} | {times} | {speed:.2f} | {whole:.2f} | {shown} |")
            self._goal(speed >= MIN_SPEED, f"{name} is pulled from {place} at {speed:.2f} of the bare speed")
            cpu = [
                median(each[way][kind] for each in rounds)
                for way, kind in (("bare", "server"), ("module", "server"), ("module", "own"), ("nothing", "own"))
            ]
            costs.append(f"| {name} | {place} | {' | '.join(f'{each:.2f}' for each in cpu)} |")
        print("\n| CPU s of a pull | from | the server, bare | the server, module | the module | with nothing to do |")
        print("|---|---|---|---|---|---|", *costs, sep="\n")

    def _keep(self, place: str, /, **arguments: object) -> str:
        """The file that runs the module on the host; it has run once."""
        given = {"registry": f"http://{MIRROR}:{PORT}", **arguments}
        return self._files.keep("llmops.ollama.model", json.dumps(given), place)

    def progress(self) -> None:
        """A slow pull, as it is shown without a terminal."""
        self._hosts.shell(HOST, f"ollama rm {BIG} >/dev/null 2>&1 || true")
        registry = f"http://{MIRROR}:{SLOW}"
        command = self._hosts.command(HOST, "llmops.ollama.model", name=BIG, registry=registry)
        shown = re.compile(rf"{HOST}: {re.escape(BIG)}: \d+ % of [\d.]+ MB")
        whole = re.compile(r"\d+ % of [\d.]+ MB, [\d.]+ .B/s, \d+ s left$")
        controls = 0
        times: list[float] = []
        lines: list[str] = []
        with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout or ():
                controls += any(not character.isprintable() for character in line.rstrip("\n"))
                if shown.search(line):
                    times.append(time.monotonic())
                    lines.append(line.strip())
        pauses = [after - before for before, after in itertools.pairwise(times)]
        rate = len(pauses) / (times[-1] - times[0])
        told = sum(bool(whole.search(line)) for line in lines)
        print("\n| lines of progress | each second | longest pause, s | with percent, speed and time left |")
        print(f"|---|---|---|---|\n| {len(times)} | {rate:.2f} | {max(pauses):.2f} | {told} |")
        print(f"\nFor example: `{lines[len(lines) // 2]}`")
        self._goal(rate >= MIN_LINES, f"{rate:.2f} lines are shown each second")
        self._goal(told >= len(lines) - 1, f"only {told} of {len(lines)} lines tell speed and time left")
        self._goal(not controls, f"{controls} lines are not plain text though there is no terminal")

    def _goal(self, reached: bool, otherwise: str) -> None:
        if not reached:
            self.missed.append(otherwise)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-i", "--inventory", type=Path, help="of a fleet of the lab that site.yml has set up")
    given = parser.parse_args()
    with lab("models-benchmark", given.inventory) as inventory:
        hosts = Hosts(inventory)
        if not given.inventory:
            hosts.play("site.yml")
        models = Models(hosts)
        try:
            models.prepare()
            models.no_change()
            models.pulls()
            models.progress()
        finally:
            models.clean()
    for missed in models.missed:
        print(f"MISSED: {missed}", file=sys.stderr)
    return bool(models.missed)


if __name__ == "__main__":
    sys.exit(main())
