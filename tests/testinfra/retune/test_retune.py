# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A roll-out of measured settings, while clients go on: nobody notices, and what got worse is set back.

The canary begins with a setting that is bad for certain: more threads than its quota lets run, while others work on
this machine's CPUs now and then, so that its threads wait for each other.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import RunPlaybook
from module_run import ModuleRun
from testinfra.host import Host

testinfra_hosts = ["ansible://edge"]

CANARY, OTHER = "ollama1", "ollama2"
PLAYBOOK = "playbooks/retune.yml"
FACT = "/etc/ansible/facts.d/ollama_tuning.fact"
SERVERS = "/etc/nginx/ollama-servers.conf"
TUNING = "/etc/systemd/system/ollama.service.d/50-tuning.conf"
BROKEN = "/etc/systemd/system/ollama.service.d/10-broken.conf"
THREADS = 2
# Short answers, few requests, and no other question than the number of threads.
SMALL: dict[str, Any] = {
    "retune_concurrency": 2,
    "retune_requests": 6,
    "retune_max_tokens": 4,
    "retune_space": {"parallel": [1], "threads": [1, THREADS]},
    # Certainty comes in less where nothing disturbs; what slows this machine down for a while must not end a search.
    "retune_max_minutes": 8,
    "retune_force": True,
}


# Works on one CPU for most of the time, and ends by itself.
NEIGHBOUR = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
end = time.monotonic() + 1800
while time.monotonic() < end:
    until = time.monotonic() + 0.15
    while time.monotonic() < until:
        pass
    time.sleep(0.05)
"""


@dataclass(frozen=True)
class State:
    """What a host has: the process of its server with the settings in it, and what was measured there."""

    pid: str
    threads: str
    fact: dict[str, Any]

    @classmethod
    def of(cls, host: Host) -> State:
        pid = host.check_output("systemctl show -p MainPID --value ollama")
        threads = host.check_output(f"tr '\\0' '\\n' < /proc/{pid}/environ | sed -n 's/^LLAMA_ARG_THREADS=//p'")
        return cls(pid, threads, json.loads(host.check_output(f"cat {FACT} 2> /dev/null || echo {{}}")))


@pytest.fixture
def canary(fleet_host: Callable[[str], Host]) -> Host:
    return fleet_host(CANARY)


@pytest.fixture
def other(fleet_host: Callable[[str], Host]) -> Host:
    return fleet_host(OTHER)


@pytest.fixture
def neighbours() -> Iterator[None]:
    """Others' work on all CPUs but one: a server with one thread does not mind, one with two is half as fast."""
    cpus = sorted(os.sched_getaffinity(0))[1:]
    working = [subprocess.Popen([sys.executable, "-c", NEIGHBOUR, str(cpu)]) for cpu in cpus]
    yield
    for each in working:
        each.terminate()
        each.wait()


@pytest.fixture(scope="module", autouse=True)
def badly_set(
    fleet_host: Callable[[str], Host], inventory: Path, model: str, run_playbook: RunPlaybook
) -> Iterator[None]:
    """The canary has a measured setting as the module keeps it, but for the number of threads; nothing stays of it."""
    host = fleet_host(CANARY)
    space = {"parallel": [1], "threads": [1]}
    given = {"model": model, "concurrency": 2, "workload": {"max_tokens": 4}, "space": space, "apply": True}
    assert not ModuleRun(inventory, CANARY, "llmops.ollama.autotune", given).result(600)["failed"]
    fact = json.loads(host.check_output(f"cat {FACT}"))
    fact["measured"]["threads"] = THREADS
    host.check_output("echo %s > %s", json.dumps(fact), FACT)
    code, output = run_playbook("--limit", CANARY)
    assert code == 0, output
    assert State.of(host).threads == str(THREADS)
    yield
    for name in (CANARY, OTHER):
        fleet_host(name).check_output(f"rm -f {FACT}")
    code, output = run_playbook()
    assert code == 0, output


def test_check_mode_says_what_would_be_measured(
    host: Host, canary: Host, other: Host, run_playbook: RunPlaybook
) -> None:
    before = (State.of(canary), State.of(other), host.file(SERVERS).content_string)
    code, output = run_playbook("--check", playbook=PLAYBOOK, variables=SMALL)
    assert code == 0, output
    assert output.index(f"ok: [{CANARY}] => ") < output.index(f"ok: [{OTHER}] => ")
    assert output.count("first:") == 2
    assert (State.of(canary), State.of(other), host.file(SERVERS).content_string) == before


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"retune_canary": "nosuch"}, "retune_canary is 'nosuch', which is not in the group 'ollama'"),
        ({"retune_model": "nosuch:1b"}, "'nosuch:1b'"),
        ({"retune_slo": {"ttft_s": -1}}, "ttft_s"),
        ({"retune_space": {"threads": [0]}}, "threads has 0"),
        ({"retune_assert": {"min_gian": 1}}, "min_gian"),
        ({"retune_assert": {"min_gain": "twice"}}, "min_gain"),
        ({"retune_assert": {"min_goodput_gain": 1}}, "min_goodput_gain has nothing to compare with"),
    ],
)
def test_a_mistake_is_named_and_nothing_changes(
    host: Host, canary: Host, other: Host, run_playbook: RunPlaybook, variables: dict[str, Any], words: str
) -> None:
    before = (State.of(canary), State.of(other), host.file(SERVERS).content_string)
    code, output = run_playbook(playbook=PLAYBOOK, variables={**SMALL, **variables})
    assert code != 0
    assert words in output
    assert "Traceback" not in output
    assert (State.of(canary), State.of(other), host.file(SERVERS).content_string) == before


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("ansible_connection: local", "The gateway has no server 'ollama1'"),
        ("ansible_host: 127.0.0.1, ansible_port: 9", "ssh: connect to host 127.0.0.1 port 9: Connection refused"),
    ],
    ids=["not a gateway", "out of reach"],
)
def test_a_host_that_cannot_leave_all_gateways_goes_on_serving(
    host: Host, canary: Host, other: Host, run_playbook: RunPlaybook, tmp_path: Path, how: str, reason: str
) -> None:
    before = (State.of(canary), State.of(other), host.file(SERVERS).content_string)
    second = tmp_path / "second.yml"
    second.write_text(f"gateway: {{hosts: {{second: {{{how}}}}}}}\n", encoding="utf-8")
    code, output = run_playbook("-i", str(second), playbook=PLAYBOOK, variables=SMALL)
    assert code != 0
    said = next(line for line in output.splitlines() if "could not leave all gateways, and serves as before" in line)
    assert reason in said
    assert "Lost" not in output
    assert (State.of(canary), State.of(other), host.file(SERVERS).content_string) == before


@pytest.mark.usefixtures("neighbours")
def test_a_host_that_got_worse_is_set_back_and_the_roll_out_stops(
    host: Host, canary: Host, other: Host, run_playbook: RunPlaybook, tmp_path: Path
) -> None:
    before, untouched, servers = State.of(canary), State.of(other), host.file(SERVERS).content_string
    # What nothing can reach stands for a measurement that is worse.
    given = {**SMALL, "retune_min_gain": 1000, "report_path": str(tmp_path / "report")}
    code, output = run_playbook(playbook=PLAYBOOK, variables=given)
    assert code != 0
    assert "ollama1 is set back: requests_per_second is " in output
    assert "The roll-out stops here. Set back: ollama1." in output
    after = State.of(canary)
    assert (after.threads, after.fact) == (before.threads, before.fact)
    assert after.pid != before.pid
    assert State.of(other) == untouched
    assert host.file(SERVERS).content_string == servers
    report = (tmp_path / "report/report.md").read_text(encoding="utf-8")
    assert "set back" in report


def test_what_was_found_before_is_forgotten_where_it_does_not_hold(
    host: Host, other: Host, inventory: Path, model: str, run_playbook: RunPlaybook
) -> None:
    """A result of an earlier search that is only now put into effect, and is worse than what runs."""
    before, servers = State.of(other), host.file(SERVERS).content_string
    assert (before.threads, before.fact) == ("1", {})
    given = {"model": model, "concurrency": 2, "workload": {"max_tokens": 4}, "apply": True}
    given["space"] = {"parallel": [1], "threads": [1]}
    assert not ModuleRun(inventory, OTHER, "llmops.ollama.autotune", given).result(600)["failed"]
    fact = json.loads(other.check_output(f"cat {FACT}"))
    fact["measured"]["threads"] = fact["evidence"]["adopted"]["threads"] = THREADS
    other.check_output("echo %s > %s", json.dumps(fact), FACT)
    kept = {**SMALL, "retune_canary": OTHER, "retune_force": False, "retune_min_gain": 1000}
    code, output = run_playbook(playbook=PLAYBOOK, variables=kept)
    assert code != 0
    assert "The roll-out stops here. Set back: ollama2." in output
    after = State.of(other)
    assert (after.threads, after.fact) == ("1", {})
    assert host.file(SERVERS).content_string == servers


@pytest.mark.usefixtures("neighbours")
def test_a_server_that_does_not_come_up_is_set_back(
    host: Host, canary: Host, other: Host, run_playbook: RunPlaybook
) -> None:
    before, untouched, servers = State.of(canary), State.of(other), host.file(SERVERS).content_string
    # Trials come up, for they are not in that file; what is adopted does not.
    content = f"[Service]\nExecStartPre=/usr/bin/grep -q LLAMA_ARG_THREADS={THREADS} {TUNING}\n"
    canary.check_output("echo %s > %s && systemctl daemon-reload", content, BROKEN)
    try:
        code, output = run_playbook(playbook=PLAYBOOK, variables=SMALL)
    finally:
        canary.check_output(f"rm {BROKEN} && systemctl daemon-reload")
    assert code != 0
    assert "The roll-out stops here. Set back: ollama1." in output
    after = State.of(canary)
    assert (after.threads, after.fact) == (before.threads, before.fact)
    assert State.of(other) == untouched
    assert host.file(SERVERS).content_string == servers


@pytest.mark.usefixtures("neighbours")
def test_a_better_setting_is_adopted(host: Host, canary: Host, other: Host, run_playbook: RunPlaybook) -> None:
    before = State.of(canary)
    code, output = run_playbook(playbook=PLAYBOOK, variables=SMALL)
    assert code == 0, output
    after = State.of(canary)
    assert (before.threads, after.threads) == (str(THREADS), "1"), output
    assert after.fact["measured"]["threads"] == State.of(other).fact["measured"]["threads"] == 1
    assert after.fact["evidence"]["gain"]["lower"] > 0.05
    # Both came back, each with the share that it was measured to deserve.
    servers = host.file(SERVERS).content_string
    assert servers.count("requests_per_second=") == 2
    assert " down" not in servers


class Traffic:
    """Clients that go on asking the gateway, each as soon as it is answered."""

    def __init__(self, url: str, model: str, clients: int = 4) -> None:
        self._url, self._model = url, model
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._client) for _ in range(clients)]
        self.answers: list[int | str] = []

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(300)

    def _client(self) -> None:
        body = {"model": self._model, "prompt": "The sea is", "stream": False, "options": {"num_predict": 8}}
        while not self._stop.is_set():
            try:
                self.answers.append(requests.post(f"{self._url}/api/generate", json=body, timeout=300).status_code)
            except requests.RequestException as error:
                self.answers.append(str(error))


def test_clients_lose_no_request(
    host: Host, canary: Host, other: Host, gateway_url: str, model: str, run_playbook: RunPlaybook, tmp_path: Path
) -> None:
    before = (State.of(canary).pid, State.of(other).pid)
    space = {"parallel": [1, 2], "threads": [1]}
    # Whether they become better does not matter here.
    given = {**SMALL, "retune_space": space, "retune_max_minutes": 0.6, "report_path": str(tmp_path / "report")}
    with Traffic(gateway_url, model) as traffic:
        code, output = run_playbook(playbook=PLAYBOOK, variables=given)
    assert code == 0, output
    # Trials restart the server.
    assert all(now != then for now, then in zip((State.of(canary).pid, State.of(other).pid), before, strict=True))
    assert len(traffic.answers) > 20
    assert set(traffic.answers) == {200}
    assert " down" not in host.file(SERVERS).content_string
    report = json.loads((tmp_path / "report/report.json").read_text(encoding="utf-8"))
    assert [each["name"] for each in report["hosts"]] == [CANARY, OTHER]
