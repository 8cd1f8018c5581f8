# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the module ``model`` costs: ./dev exec python tests/benchmarks/models.py [-i INVENTORY]

1. A run over ten models that changes nothing, on top of a ping of the same host.
2. A pull through the module against a bare ``ollama pull`` from the same mirror, both on top of the connection.
3. What a person sees of a pull: lines each second, and the longest pause between two of them.

Rounds are interleaved, so that whatever else the machine does meets all alike. Brings up a fleet of its own and removes
it, unless an inventory names one of the lab's that ``site.yml`` has set up. Prints Markdown tables; exit code 1 if a
goal is missed.
"""

from __future__ import annotations

import argparse
import itertools
import re
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from lab_fleet import Hosts, Stopwatch, environment, lab

HOST, MIRROR = "ollama2", "edge"
COUNT = 10
ROUNDS, PULL_ROUNDS = 9, 5
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


class Models:
    """The measurements."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
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
        self._hosts.shell(MIRROR, f"rm -rf {STORE} {SITE}; nginx -s reload")

    def no_change(self) -> None:
        """Ten models that are there already."""
        print(f"\n| a run over {COUNT} models that changes nothing | seconds on top of a ping, median | slowest |")
        print("|---|---|---|")
        cases = {"`state: present`": "present", "`state: latest`": "latest"}
        took: dict[str, list[float]] = {case: [] for case in cases}
        for _ in range(ROUNDS):
            ping = self._seconds("ansible.builtin.ping")
            for case, state in cases.items():
                took[case].append(self._model(name=NAMES, state=state) - ping)
        for case, seconds in took.items():
            print(f"| {case} | {median(seconds):.2f} | {max(seconds):.2f} |")
            self._goal(median(seconds) <= MAX_SECONDS, f"{case} takes {median(seconds):.2f} s")

    def pulls(self) -> None:
        """The module against the server's own command."""
        print("\n| pull of | module, s | `ollama pull`, s | speed of the module, median of ratios | rounds |")
        print("|---|---|---|---|---|")
        for name in (NORMAL, BIG):
            took: list[tuple[float, float]] = []
            for turn in range(PULL_ROUNDS):
                ways = [self._pull_by_module, self._pull_bare]
                seconds = {way: way(name) for way in (ways if turn % 2 else reversed(ways))}
                took.append((seconds[ways[0]], seconds[ways[1]]))
            ratios = [bare / module for module, bare in took]
            module, bare = (median(values) for values in zip(*took))
            rounds = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            print(f"| {name} | {module:.1f} | {bare:.1f} | {median(ratios):.2f} | {rounds} |")
            self._goal(median(ratios) >= MIN_SPEED, f"{name} is pulled at {median(ratios):.2f} of the bare speed")

    def progress(self) -> None:
        """A slow pull, as it is shown without a terminal."""
        self._hosts.shell(HOST, f"ollama rm {BIG} >/dev/null 2>&1 || true")
        registry = f"http://{MIRROR}:{SLOW}"
        command = self._hosts.command(HOST, "llmops.ollama.model", name=BIG, registry=registry)
        shown = re.compile(rf"{HOST}: {re.escape(BIG)}: \d+ % of [\d.]+ MB, [\d.]+ .B/s(, \d+ s left)?$")
        times: list[float] = []
        lines: list[str] = []
        with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout or ():
                if shown.search(line.rstrip()):
                    times.append(time.monotonic())
                    lines.append(line.strip())
        pauses = [after - before for before, after in itertools.pairwise(times)]
        rate = len(pauses) / (times[-1] - times[0])
        print("\n| lines of progress | each second | longest pause, s |\n|---|---|---|")
        print(f"| {len(times)} | {rate:.2f} | {max(pauses):.2f} |")
        print(f"\nFor example: `{lines[len(lines) // 2]}`")
        self._goal(rate >= MIN_LINES, f"{rate:.2f} lines are shown each second")

    def _pull_by_module(self, name: str) -> float:
        self._hosts.shell(HOST, f"ollama rm {name} >/dev/null 2>&1 || true")
        return self._model(name=name) - self._seconds("ansible.builtin.ping")

    def _pull_bare(self, name: str) -> float:
        alias = f"{MIRROR}:{PORT}/library/{name}"
        self._hosts.shell(HOST, f"ollama rm {name} {alias} >/dev/null 2>&1 || true")
        with Stopwatch() as nothing:
            self._hosts.shell(HOST, "true")
        with Stopwatch() as pull:
            self._hosts.shell(HOST, f"ollama pull --insecure {alias} 2>/dev/null")
        self._hosts.shell(HOST, f"ollama rm {alias} >/dev/null 2>&1")
        return pull.seconds - nothing.seconds

    def _model(self, **arguments: object) -> float:
        return self._seconds("llmops.ollama.model", registry=f"http://{MIRROR}:{PORT}", **arguments)

    def _seconds(self, module: str, /, **arguments: object) -> float:
        with Stopwatch() as watch:
            self._hosts.module(HOST, module, **arguments)
        return watch.seconds

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
