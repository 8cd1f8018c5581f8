# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A fleet of the lab for benchmarks: brought up for one, or one that runs already."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).parents[2]


@contextmanager
def lab(instance: str, inventory: Path | None = None, fleet: str = "default") -> Iterator[Path]:
    """The given inventory, or that of a fleet with substitutes for the official sources, which is gone afterwards."""
    if inventory:
        yield inventory
        return
    command = [sys.executable, "-m", "lab", "--instance", instance]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "molecule/shared"), "LLMOPS_SOURCES": "substitutes"}
    try:
        subprocess.run([*command, "up", "--fleet", fleet], env=environment, cwd=CHECKOUT, check=True)
        yield CHECKOUT / ".dev/lab" / instance / "inventory.yml"
    finally:
        subprocess.run([*command, "down"], env=environment, cwd=CHECKOUT, check=True)


class Hosts:
    """Hosts of an inventory, told what to do. Every method raises ``SystemExit`` with what was printed on failure."""

    def __init__(self, inventory: Path) -> None:
        self.inventory = inventory
        value = yaml.safe_load(inventory.read_text(encoding="utf-8"))
        self.variables: dict[str, Any] = value["all"]["vars"]

    def shell(self, host: str, script: str) -> str:
        """Run a shell script on a host and return what it printed."""
        return run(["ssh", *self.variables["ansible_ssh_common_args"].split(), host, f"set -e; {script}"])

    def play(self, playbook: str, **variables: Any) -> None:
        """Run a playbook of the checkout."""
        run([program("ansible-playbook"), playbook, "-i", str(self.inventory), "-e", json.dumps(variables)])

    def command(self, host: str, module: str, /, check: bool = False, **arguments: Any) -> list[str]:
        """The command line that runs one module on a host, or in check mode says what it would do."""
        options = (["-a", json.dumps(arguments)] if arguments else []) + (["--check"] if check else [])
        return [program("ansible"), host, "-i", str(self.inventory), "-m", module, *options]

    def module(self, host: str, module: str, /, **arguments: Any) -> str:
        """Run one module on a host and return what was printed."""
        return run(self.command(host, module, **arguments))

    def result(self, host: str, module: str, /, check: bool = False, **arguments: Any) -> dict[str, Any]:
        """Run one module on a host, or see what it would do, and return its result."""
        printed = run(self.command(host, module, check, **arguments))
        found = re.search(r"^\S+ \| \S+ => (\{.*)", printed, re.MULTILINE | re.DOTALL)
        if not found:
            raise SystemExit(printed)
        value: dict[str, Any] = json.loads(found[1])
        return value


def program(name: str) -> str:
    """A program of the environment that this runs in."""
    return str(Path(sys.executable).with_name(name))


def environment() -> dict[str, str]:
    """For Ansible, as ./dev has it."""
    return {
        **os.environ,
        "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
    }


def run(command: list[str]) -> str:
    done = subprocess.run(command, env=environment(), cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


class Stopwatch:
    """Seconds of a ``with`` block."""

    seconds = 0.0

    def __enter__(self) -> Stopwatch:
        self._start = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self._start
