# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host with a service and its processes, made of files in a temporary directory and of what systemd's tools print."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ansible_collections.llmops.ollama.plugins.module_utils.effective import Host
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.systemd import Completed, Systemd

FIXTURES = Path(__file__).parents[1] / "fixtures"
SERVICE = "ollama.service"
SERVER = 77  # its process number
BOOT = 1_764_000_000  # when the host was booted, in seconds since the epoch
STARTED = "Wed 2026-11-25 14:23:32.979172 UTC"


class FakeHost:
    """What a test sets in ``properties`` (of the unit) and ``journal`` is what systemctl and journalctl print."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.proc, self.sys = root / "proc", root / "sys"
        self.properties = {
            "Id": SERVICE,
            "ActiveState": "active",
            "MainPID": str(SERVER),
            "NeedDaemonReload": "no",
            "ExecMainStartTimestamp": STARTED,
            "FragmentPath": "",
            "DropInPaths": "",
            "ExecStart": "",
            "ControlGroup": f"/system.slice/{SERVICE}",
        }
        self.journal = ""
        self.commands: list[str] = []
        self.proc.mkdir()
        (self.proc / "stat").write_text(f"cpu  1 2 3\nbtime {BOOT}\n")

    def process(
        self,
        pid: int,
        parent: int = 1,
        command: str = "/opt/ollama/bin/ollama serve",
        environment: Mapping[str, str] | None = None,
        peak_mib: int = 50,
        executable: str = "/opt/ollama/bin/ollama",
    ) -> Path:
        """A process, started 100 s after the boot; returns its directory."""
        folder = self.proc / str(pid)
        folder.mkdir()
        fields = ["S", str(parent), *["0"] * 17, str(100 * os.sysconf("SC_CLK_TCK")), "0", "0"]
        (folder / "stat").write_text(f"{pid} (a) name) {' '.join(fields)}\n")
        (folder / "cmdline").write_bytes(command.replace(" ", "\0").encode() + b"\0")
        pairs = "".join(f"{name}={value}\0" for name, value in (environment or {}).items())
        (folder / "environ").write_text(pairs)
        (folder / "status").write_text(f"Name:\ta\nVmPeak:\t 9999999 kB\nVmHWM:\t {peak_mib * 1024} kB\n")
        (folder / "exe").symlink_to(executable)
        return folder

    def run(self, command: Sequence[str], timeout: float) -> Completed:
        self.commands.append(" ".join(command))
        if command[0] == "journalctl":
            return Completed(0, self.journal, "")
        if command[:2] != ["systemctl", "show"]:
            raise InvalidInput(f"{command} in a test")
        (names,) = [word.partition("=")[2].split(",") for word in command if word.startswith("--property=")]
        lines = [f"{name}={self.properties[name]}" for name in names if name in self.properties]
        return Completed(0, "\n".join(lines) + "\n", "")

    @property
    def host(self) -> Host:
        return Host(Systemd(self.run), str(self.proc), str(self.sys))
