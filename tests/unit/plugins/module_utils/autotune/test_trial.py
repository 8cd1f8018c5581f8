# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Trials on a service made of files, whose server answers: what is tried is in effect, and nothing of it is left."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.demand import Demand
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.guard import Guard
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.measurement import Failed, Reading
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.rounds import Rounds
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.setting import Setting
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.trial import (
    Change,
    Subject,
    Trials,
    remove_leftover,
    trial_path,
)
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.prompts import Workload
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.statistics import NO_SLO
from ansible_collections.llmops.ollama.plugins.module_utils.effective import Host
from ansible_collections.llmops.ollama.plugins.module_utils.engine import Engine
from ansible_collections.llmops.ollama.plugins.module_utils.errors import Interrupted, Unhealthy
from ansible_collections.llmops.ollama.plugins.module_utils.systemd import Systemd, Unit
from fake_host import SERVICE, FakeHost
from fake_http import Answer, FakeServer, Json, Stream

BLOB = f"sha256-{'a' * 64}"
BEFORE = {"OLLAMA_NUM_PARALLEL": "1", "LLAMA_ARG_THREADS": "1"}
CURRENT, OTHER = Setting(1, 1), Setting(2, 1)


class Front(FakeServer):
    """What answers at the service's address and at its runner's."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self._machine = machine

    def answer(self, request: str, body: Json) -> Answer | Stream | None:
        return self._machine.answer(request, body) or super().answer(request, body)


class Machine(Systemd):
    """Restarting the service gives it a process with what its files say. ``breaks`` are settings it does not stand.

    ``ignores`` are variables that its model does not get, ``dies`` whether a process ends while it is measured.
    """

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.server = Front(self)
        self.files = FakeHost(root)
        self.folder = str(root / "units")
        self.path = Path(trial_path(SERVICE, self.folder))
        self.unit = Unit(SERVICE, "loaded", "active", "running", main_pid=1000)
        self.done: list[str] = []
        self.breaks: set[str] = set()
        self.ignores: set[str] = set()
        self.dies = 0  # measurements
        self.failing = False
        self.guard = Guard(SERVICE, str(self.path), 60, folder=str(root))  # without a process of its own here
        self._process()

    # --- systemd -------------------------------------------------------------------------------------------------

    def show(self, unit: str) -> Unit:
        return self.unit

    def journal(self, unit: str, since: float, lines: int = 15) -> list[str]:
        return []

    def log_between(self, unit: str, since: float, until: float) -> str:
        return ""

    def daemon_reload(self) -> None:
        self.done.append("daemon-reload")

    def restart(self, unit: str) -> None:
        self.done.append("restart")
        for pid in (self.unit.main_pid, self.unit.main_pid + 1):
            shutil.rmtree(self.files.proc / str(pid), ignore_errors=True)
        self.unit = self.unit._replace(active_state="active", sub_state="running", main_pid=self.unit.main_pid + 10)
        if self.environment().get("OLLAMA_NUM_PARALLEL") in self.breaks:
            self.unit = self.unit._replace(active_state="failed", sub_state="failed", main_pid=0, result="exit-code")
            return
        self._process()

    def environment(self) -> dict[str, str]:
        """What the unit's files say."""
        text = self.path.read_text() if self.path.exists() else ""
        return {**BEFORE, **dict(re.findall(r'^Environment="(\w+)=(.*)"$', text, re.MULTILINE))}

    def _process(self) -> None:
        environment = self.environment()
        pid = self.unit.main_pid
        slots = int(environment["OLLAMA_NUM_PARALLEL"])
        self.files.process(pid, environment=environment)
        own = {name: value for name, value in environment.items() if name not in self.ignores}
        command = (
            f"llama-server --model /m/{BLOB} --port {self.server.url.rpartition(':')[2]} -np {slots} -c {4096 * slots}"
        )
        self.files.process(pid + 1, pid, command, own)

    # --- HTTP ----------------------------------------------------------------------------------------------------

    def answer(self, request: str, body: Json) -> Answer | Stream | None:
        if request == "GET /api/tags":
            return Answer(200, {"models": []})
        if request == "POST /api/show":
            return Answer(200, {"modelfile": f"FROM /m/{BLOB}", "capabilities": ["completion"]})
        if request == "GET /props":
            return Answer(200, {"total_slots": int(self.environment()["OLLAMA_NUM_PARALLEL"])})
        if request == "POST /api/generate":
            if body["options"]["num_predict"] > 2 and self.failing:
                return Answer(500, {"error": "llama runner process no longer running"})
            if self.dies and "question 1:" in body["prompt"] and body["options"]["num_predict"] > 2:
                self.dies -= 1
                self.unit = self.unit._replace(restarts=self.unit.restarts + 1)
            return Stream([{"response": "x"}, {"response": "y"}, {"done": True, "eval_count": 2}])
        return None


def change(setting: Setting) -> Change:
    if setting == CURRENT:
        return Change()
    return Change({"OLLAMA_NUM_PARALLEL": str(setting.parallel), "LLAMA_ARG_THREADS": str(setting.threads)})


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.setenv("no_proxy", "*")
    made = Machine(tmp_path)
    with made.server:
        yield made


@pytest.fixture
def host(machine: Machine) -> Host:
    return Host(machine, str(machine.files.proc), str(machine.files.sys))


def trials(machine: Machine, host: Host, **subject: Any) -> Trials:
    demand = Demand(Workload(1, max_tokens=8), 2, NO_SLO)
    values = {"engine": Engine.parse("0.34.0"), "change": change, "ready_timeout": 2.0, "request_timeout": 5.0}
    about = Subject(SERVICE, machine.server.url, "gemma3:270m", **{**values, **subject})
    return Trials(about, Rounds(demand, 0.05), machine.guard, host, machine.folder)


def test_settings_are_tried_and_taken_back(machine: Machine, host: Host) -> None:
    with trials(machine, host) as tried:
        assert "only tried out" in machine.path.read_text()
        assert machine.guard.needed
        first = tried.measure(CURRENT, 0)
        restarts = machine.done.count("restart")
        second = tried.measure(OTHER, 0)
        assert machine.environment() == {"OLLAMA_NUM_PARALLEL": "2", "LLAMA_ARG_THREADS": "1"}
        assert machine.done.count("restart") == restarts + 1
        third = tried.measure(OTHER, 1)
        assert machine.done.count("restart") == restarts + 1  # it runs already
    for reading in (first, second, third):
        assert isinstance(reading, Reading)
        assert reading.goodput > 0 < reading.seconds
        assert reading.details["failed"] == 0
    assert not machine.path.exists()
    assert machine.environment() == BEFORE
    assert machine.done[-2:] == ["daemon-reload", "restart"]
    assert not machine.guard.needed


def test_rounds_of_the_same_number_ask_the_same(machine: Machine, host: Host) -> None:
    def asked() -> set[str]:
        measured = [body for body in machine.server.bodies if body.get("options", {}).get("num_predict") == 8]
        machine.server.bodies.clear()
        return {body["prompt"] for body in measured if "question 1:" in body["prompt"]}

    with trials(machine, host) as tried:
        tried.measure(CURRENT, 0)
        first = asked()
        tried.measure(OTHER, 0)
        assert len(first) == 1
        assert first == asked()
        tried.measure(OTHER, 1)
        assert not first & asked()


def test_a_setting_with_which_the_service_does_not_start(machine: Machine, host: Host) -> None:
    machine.breaks = {"2"}
    with trials(machine, host) as tried:
        found = tried.measure(OTHER, 0)
        assert isinstance(found, Failed)
        assert found.reason == (
            "ollama.service did not stay up (exit-code, exit status 0). ollama.service ended with exit-code."
        )
        assert machine.done.count("restart") == 3  # the trial began, and two attempts
        assert isinstance(tried.measure(CURRENT, 0), Reading)
    assert machine.unit.running


def test_a_setting_that_does_not_take_effect(machine: Machine, host: Host) -> None:
    machine.ignores = {"LLAMA_ARG_THREADS"}
    with trials(machine, host) as tried:
        found = tried.measure(Setting(2, 3), 0)
    assert isinstance(found, Failed)
    assert found.reason == "The runner of gemma3:270m has no LLAMA_ARG_THREADS, and should have 3."


def test_a_setting_that_a_later_file_overrides(machine: Machine, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    with trials(machine, host) as tried:
        monkeypatch.setattr(machine, "environment", lambda: {**BEFORE, "LLAMA_ARG_THREADS": "3"})
        found = tried.measure(Setting(2, 3), 0)
    assert isinstance(found, Failed)
    assert found.reason.startswith(
        "The server does not have what is tried: OLLAMA_NUM_PARALLEL should be '2' and is '1'."
    )


def test_a_server_that_ends_once_gets_a_second_chance(machine: Machine, host: Host) -> None:
    machine.dies = 1
    with trials(machine, host) as tried:
        assert isinstance(tried.measure(OTHER, 0), Reading)
        machine.dies = 100
        found = tried.measure(OTHER, 1)
    assert isinstance(found, Failed)
    assert "did not live to the end" in found.reason


def test_a_model_that_cannot_answer(machine: Machine, host: Host) -> None:
    machine.failing = True
    with trials(machine, host) as tried:
        found = tried.measure(OTHER, 0)
    assert isinstance(found, Failed)
    words = r"(\d+) of \1 requests failed \(http_500: llama runner process no longer running\)\."
    assert re.fullmatch(words, found.reason)


def test_threads_as_an_option_of_the_request(machine: Machine, host: Host) -> None:
    def by_option(setting: Setting) -> Change:
        return Change({"OLLAMA_NUM_PARALLEL": str(setting.parallel)}, {"num_thread": setting.threads})

    with trials(machine, host, change=by_option, engine=Engine.parse("0.24.0")) as tried:
        found = tried.measure(Setting(2, 3), 0)
    # This fake runner is a new one, which says nothing of its threads: that they were wanted is what counts here.
    assert isinstance(found, Failed)
    assert "should with 3" in found.reason or "3 threads" in found.reason
    asked = [body["options"].get("num_thread") for body in machine.server.bodies if "options" in body]
    assert set(asked) == {3}


def test_a_signal_ends_it_and_restores(machine: Machine, host: Host) -> None:
    def interrupt(samples: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match=r"Interrupted by SIGTERM.*runs as before"), trials(machine, host) as tried:
        tried.watch = interrupt
        tried.measure(OTHER, 0)
    assert not machine.path.exists()
    assert machine.environment() == BEFORE
    assert not machine.guard.needed


def test_what_cannot_be_restored_is_left_to_the_guard(machine: Machine, host: Host) -> None:
    with pytest.raises(Unhealthy, match="did not stay up"), trials(machine, host):
        machine.breaks = {"1"}
    assert machine.guard.needed
    assert not machine.path.exists()


def test_a_service_that_is_not_running_is_left_alone(machine: Machine, host: Host) -> None:
    machine.unit = machine.unit._replace(active_state="failed", main_pid=0)
    with pytest.raises(Unhealthy, match="has no running process"), trials(machine, host):
        pass
    assert machine.done == []
    assert not machine.path.exists()


def test_what_an_interrupted_run_left_is_removed(machine: Machine, host: Host) -> None:
    remove_leftover(SERVICE, host, lambda: None, machine.folder)
    assert machine.done == []
    machine.path.parent.mkdir(parents=True)
    machine.path.write_text('[Service]\nEnvironment="OLLAMA_NUM_PARALLEL=2"\n')
    remove_leftover(SERVICE, host, lambda: None, machine.folder)
    assert not machine.path.exists()
    assert machine.done == ["daemon-reload", "restart"]
