# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One module on one host, as a task of a play runs it: what it shows while it runs, and its result; or many at once."""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]


class ModuleRun:
    """A running ad-hoc command; every wait has an end. ``options`` are ansible's own, such as ``--check``."""

    def __init__(self, inventory: Path, host: str, module: str, arguments: dict[str, Any], *options: str) -> None:
        command = [str(Path(sys.executable).with_name("ansible")), host, "-i", str(inventory), "-m", module]
        command += ["-a", json.dumps(arguments), *options]
        settings = {"CONFIG": str(ROOT / "ansible.cfg"), "NOCOLOR": "1", "CALLBACK_RESULT_FORMAT": "json"}
        environment = {**os.environ, **{f"ANSIBLE_{name}": value for name, value in settings.items()}}
        self.shown: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self._process.stdout is not None
        threading.Thread(target=self._follow, args=(self._process.stdout,), daemon=True).start()

    def _follow(self, stream: IO[str]) -> None:
        for line in stream:
            self._lines.put(line)
        self._lines.put(None)

    def _next(self, deadline: float) -> str | None:
        """The next line that is shown; None at the end."""
        try:
            line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise AssertionError(f"nothing more came: {''.join(self.shown)}") from None
        if line is not None:
            self.shown.append(line)
        return line

    def wait_for(self, pattern: str, seconds: float = 60.0) -> re.Match[str]:
        """The first line from now on that has the pattern."""
        deadline = time.monotonic() + seconds
        while (line := self._next(deadline)) is not None:
            found = re.search(pattern, line)
            if found:
                return found
        raise AssertionError(f"it ended without {pattern!r}: {''.join(self.shown)}")

    def result(self, seconds: float = 120.0) -> dict[str, Any]:
        """What the module returned, once it has ended: ``failed`` says whether it did."""
        deadline = time.monotonic() + seconds
        while self._next(deadline) is not None:
            pass
        self._process.wait(timeout=max(0.0, deadline - time.monotonic()))
        text = "".join(self.shown)
        assert "Traceback" not in text, text
        found = re.search(r"^\S+ \| (\w+)!? => (?={)", text, re.MULTILINE)
        assert found, text
        result: dict[str, Any] = json.JSONDecoder().raw_decode(text[found.end() :])[0]
        return {**result, "failed": found[1] == "FAILED"}

    def stop(self) -> None:
        """End it, if it still runs."""
        self._process.kill()
        self._process.wait(timeout=30)


def run_each(
    inventory: Path, host: str, module: str, arguments: Mapping[str, dict[str, Any]], folder: Path
) -> dict[str, dict[str, Any]]:
    """The results of a module with each of the arguments, one after the other in one play; a failure ends nothing.

    ``folder`` is for the play and what it returns.
    """
    tasks: list[dict[str, Any]] = [
        {module: each, "register": f"result{number}", "ignore_errors": True}
        for number, each in enumerate(arguments.values())
    ]
    results = ", ".join(f"result{number}" for number in range(len(tasks)))
    answer = folder / "results.json"
    tasks.append({"ansible.builtin.copy": {"content": f"{{{{ [{results}] | to_json }}}}", "dest": str(answer)}})
    tasks[-1]["delegate_to"] = "localhost"
    play = folder / "play.yml"
    play.write_text(json.dumps([{"hosts": host, "gather_facts": False, "tasks": tasks}]), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), str(play)]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert "Traceback" not in text, text
    return dict(zip(arguments, json.loads(answer.read_text(encoding="utf-8")), strict=True))


# Starts a module with its arguments and options of ansible.
StartModule = Callable[..., ModuleRun]
# Runs a module with each of several arguments, by a name for each.
RunEach = Callable[[str, Mapping[str, "dict[str, Any]"]], "dict[str, dict[str, Any]]"]
