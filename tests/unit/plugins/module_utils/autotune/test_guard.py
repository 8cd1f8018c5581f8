# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The guard's script with a real shell and a real lock; only systemctl is a script of the test's."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.guard import Busy, Guard
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput, Unhealthy
from ansible_collections.llmops.ollama.plugins.module_utils.systemd import Completed

SERVICE = "ollama.service"


class Machine:
    """Runs what systemd-run is told, as systemd would: with doubled dollars made single."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.trial = root / "trial.conf"
        self.trial.write_text("[Service]\n")
        self.log = root / "log"
        tools = root / "tools"
        tools.mkdir()
        (tools / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {self.log}\n')
        (tools / "systemctl").chmod(0o755)
        self.environment = {"PATH": f"{tools}:{os.environ['PATH']}"}
        self.units: list[subprocess.Popen[bytes]] = []
        self.commands: list[Sequence[str]] = []
        self.refuses = False

    def run(self, command: Sequence[str], timeout: float) -> Completed:
        self.commands.append(command)
        if self.refuses:
            return Completed(1, "", "Failed to start transient service unit: no.\n")
        if command[0] == "systemd-run":
            words = [word.replace("$$", "$") for word in command[command.index("/bin/sh") :]]
            self.units.append(subprocess.Popen(words, env=self.environment))
        elif command[:2] == ["systemctl", "stop"]:
            self.units[-1].terminate()
            self.units[-1].wait(10)
        return Completed(0, "", "")

    def guard(self, seconds: float = 60) -> Guard:
        return Guard(SERVICE, str(self.trial), seconds, self.run, str(self.root))

    def restored(self) -> bool:
        """Wait for the guard's end; whether it has restored the service."""
        self.units[-1].wait(20)
        done = self.log.read_text().splitlines() if self.log.exists() else []
        expected = ["daemon-reload", f"reset-failed {SERVICE}", f"restart {SERVICE}"]
        return not self.trial.exists() and done == expected


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_run_that_ends_well_stops_it(machine: Machine) -> None:
    with machine.guard():
        assert machine.units[-1].poll() is None
        assert "--unit=llmops-autotune-ollama.service" in machine.commands[0]
        assert "--collect" in machine.commands[0]
    assert not machine.restored()
    assert machine.trial.exists()  # its removal is the transaction's


def test_an_error_after_which_all_is_restored_stops_it(machine: Machine) -> None:
    with pytest.raises(Unhealthy), machine.guard() as guard:
        guard.needed = True
        guard.needed = False
        raise Unhealthy("No.")
    assert not machine.restored()


def test_an_error_after_which_it_is_not_leaves_it_to_the_guard(machine: Machine) -> None:
    with pytest.raises(Unhealthy), machine.guard() as guard:
        guard.needed = True
        raise Unhealthy("No.")
    assert machine.restored()


def test_a_process_that_is_killed_is_followed_by_the_guard(machine: Machine) -> None:
    program = f"""
import sys, time, subprocess
sys.path[:0] = {sys.path!r}
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.guard import Guard
from ansible_collections.llmops.ollama.plugins.module_utils.systemd import Completed
def run(command, timeout):
    words = [word.replace("$$", "$") for word in command[command.index("/bin/sh"):]]
    print(subprocess.Popen(words, env={machine.environment!r}).pid, flush=True)
    return Completed(0, "", "")
with Guard({SERVICE!r}, {str(machine.trial)!r}, 60, run, {str(machine.root)!r}):
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout
    unit = int(process.stdout.readline())
    assert (machine.root / "llmops-autotune-ollama.lock").read_text() == f"{process.pid}\n"
    with pytest.raises(Busy, match=rf"already \(process {process.pid}\)"):
        machine.guard().__enter__()
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{unit}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)  # not our child, so that there is nothing to wait for
    assert not machine.trial.exists()
    assert f"restart {SERVICE}" in machine.log.read_text()
    with machine.guard():  # the lock is free again
        pass


def test_a_process_that_hangs_does_not_keep_its_trial(machine: Machine) -> None:
    with machine.guard(seconds=1):
        assert machine.restored()


def test_a_guard_that_cannot_be_started(machine: Machine) -> None:
    machine.refuses = True
    with pytest.raises(Unhealthy, match=r"cannot be started: Failed to start transient service unit: no\. Nothing was"):
        machine.guard().__enter__()
    machine.refuses = False
    with machine.guard():
        pass


def test_a_folder_that_only_root_may_write(machine: Machine) -> None:
    with pytest.raises(InvalidInput, match="become"):
        Guard(SERVICE, "/x", 1, machine.run, "/proc").__enter__()
