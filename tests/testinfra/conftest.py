# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tests of a running fleet share: its inventory, and ways to run playbooks and modules against it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import testinfra
import yaml
from module_run import ROOT, ModuleRun, RunEach, StartModule, run_each
from testinfra.host import Host

# Molecule's. What the tests start is read by them, and this would win over ANSIBLE_NOCOLOR.
os.environ.pop("ANSIBLE_FORCE_COLOR", None)

# Runs `ansible-playbook` with extra variables; returns the exit code and everything that it printed.
RunPlaybook = Callable[..., "tuple[int, str]"]


@pytest.fixture(scope="session")
def inventory(request: pytest.FixtureRequest) -> Path:
    return Path(request.config.getoption("--ansible-inventory"))


@pytest.fixture(scope="session")
def fleet_variables(inventory: Path) -> dict[str, Any]:
    variables: dict[str, Any] = yaml.safe_load(inventory.read_text(encoding="utf-8"))["all"]["vars"]
    return variables


@pytest.fixture(scope="session")
def gateway_url(fleet_variables: dict[str, Any]) -> str:
    return str(fleet_variables["gateway_url"])


@pytest.fixture(scope="session")
def model(fleet_variables: dict[str, Any]) -> str:
    return str(fleet_variables["ollama_models"][0])


@pytest.fixture(scope="session")
def run_playbook(inventory: Path) -> RunPlaybook:
    """Runs a playbook of the checkout as a person would, and returns the exit code and what it printed in one line."""

    def run(
        *arguments: str, variables: dict[str, Any] | None = None, source: str | None = None, playbook: str = "site.yml"
    ) -> tuple[int, str]:
        command = [str(Path(sys.executable).with_name("ansible-playbook")), playbook, "-i", source or str(inventory)]
        command += ["-e", json.dumps(variables or {}), *arguments]
        environment = dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_NOCOLOR="1")
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    return run


@pytest.fixture(scope="session")
def fleet_host(inventory: Path) -> Callable[[str], Host]:
    """Another host of the fleet than the one that a test is about, by its name."""
    return lambda name: testinfra.get_host(f"ansible://{name}", ansible_inventory=str(inventory))


@pytest.fixture
def start_module(host: Host, inventory: Path) -> Iterator[StartModule]:
    """Starts a module on the test's host; what still runs at the end of the test is ended."""
    runs: list[ModuleRun] = []

    def start(module: str, arguments: dict[str, Any], *options: str) -> ModuleRun:
        runs.append(ModuleRun(inventory, host.backend.host, module, arguments, *options))
        return runs[-1]

    yield start
    for run in runs:
        run.stop()


@pytest.fixture(name="run_each")
def run_each_here(host: Host, inventory: Path, tmp_path: Path) -> RunEach:
    """Runs a module on the test's host several times in one play."""
    return lambda module, arguments: run_each(inventory, host.backend.host, module, arguments, tmp_path)
