# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What systemd says about a unit, and the few commands that change it (``systemctl``, ``journalctl``)."""

from __future__ import annotations

import math
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Callable, NamedTuple

from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput, OllamaError, Unhealthy

# Stopping may take as long as a unit's TimeoutStopSec (90 s by default, more where long requests are drained).
JOB_SECONDS = 300.0
QUERY_SECONDS = 30.0

PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "MainPID",
    "NeedDaemonReload",
    "Result",
    "NRestarts",
    "ExecMainStatus",
    "ExecMainStartTimestamp",
    "StateChangeTimestamp",
)
# Those that name a unit's files.
FILE_PROPERTIES = ("FragmentPath", "DropInPaths", "EnvironmentFiles")


class Completed(NamedTuple):
    """A command that ended."""

    status: int
    output: str
    errors: str


Run = Callable[[Sequence[str], float], Completed]


def run_command(command: Sequence[str], timeout: float) -> Completed:
    """Run a command without a shell, at most ``timeout`` seconds. Raises ``InvalidInput``, ``Unhealthy``."""
    words = " ".join(command)
    try:
        done = subprocess.run(  # systemd's tools, or a validator that the user named
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
    except subprocess.TimeoutExpired:
        raise Unhealthy(f"{words} did not end within {timeout:g} s.", "Look at what it waits for.") from None
    except OSError as error:
        raise InvalidInput(f"{words} cannot be run: {error.strerror}.", f"Install {command[0]} on the host.") from None
    return Completed(done.returncode, done.stdout, done.stderr)


class Unit(NamedTuple):
    """The state of one unit; the words are systemd's. Times are seconds since the epoch, 0 where there is none.

    ``started`` is when the main process was started, ``changed`` when the unit last changed its state (a reload does).
    """

    name: str
    load_state: str = "not-found"
    active_state: str = "inactive"
    sub_state: str = "dead"
    file_state: str = ""
    main_pid: int = 0
    need_daemon_reload: bool = False
    result: str = "success"
    exit_status: int = 0
    restarts: int = 0
    started: float = 0.0
    changed: float = 0.0

    @property
    def running(self) -> bool:
        """The service is up (a reload in progress is)."""
        return self.active_state in ("active", "reloading", "refreshing")

    @property
    def gone(self) -> bool:
        """The service ended or failed, perhaps to be started again by systemd later."""
        return self.active_state in ("inactive", "failed") or self.sub_state.startswith("auto-restart")


def is_own_drop_in(path: str, service: str) -> bool:
    """Whether a process that is older than this drop-in has not read it.

    Not those for all services, which the distribution's updates rewrite, nor those of ``systemctl set-property``, which
    take effect at once.
    """
    template = re.sub(r"@.*(\.\w+)$", r"@\1", service)
    return any(f"/{name}.d/" in path for name in (service, template)) and "system.control" not in path


def parse_properties(text: str) -> dict[str, str]:
    """Name to value of ``systemctl show``; what it shows in several lines has as many."""
    values: dict[str, str] = {}
    for name, equals, value in (line.partition("=") for line in text.splitlines()):
        if equals:
            values[name] = f"{values[name]}\n{value}" if name in values else value
    return values


def environment_files(text: str) -> list[str]:
    """The paths of the property ``EnvironmentFiles``, in the order in which they are read."""
    return [line.rpartition(" (ignore_errors=")[0] or line for line in text.splitlines() if line]


def all_files(properties: Mapping[str, str]) -> list[str]:
    """All that makes up a unit, in the order in which it is read: what comes later wins. From ``FILE_PROPERTIES``."""
    drop_ins = properties.get("DropInPaths", "").split()
    patterns = environment_files(properties.get("EnvironmentFiles", ""))
    named = [str(path) for pattern in patterns for path in sorted(Path("/").glob(pattern.lstrip("/")))]
    return [path for path in (properties.get("FragmentPath", ""), *drop_ins, *named) if path]


def unit_files(properties: Mapping[str, str], service: str) -> list[str]:
    """A unit's own files and those with variables, all of which it reads as it starts. From ``FILE_PROPERTIES``."""
    foreign = {path for path in properties.get("DropInPaths", "").split() if not is_own_drop_in(path, service)}
    return [path for path in all_files(properties) if path not in foreign]


def unit_name(name: str) -> str:
    """``ollama`` is short for ``ollama.service``, as for systemctl."""
    return name if "." in name else f"{name}.service"


def parse_time(text: str) -> float:
    """Seconds since the epoch of ``Wed 2026-11-25 14:23:32.979172 UTC``; 0 for an empty text."""
    if not text or text == "n/a":
        return 0.0
    moment = datetime.strptime(" ".join(text.split()[1:3]), "%Y-%m-%d %H:%M:%S.%f")
    return moment.replace(tzinfo=timezone.utc).timestamp()


def parse_unit(text: str) -> Unit:
    """The output of ``systemctl show --timestamp=us+utc``; an older systemd leaves out properties it does not know."""
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def number(name: str) -> int:
        return int(values[name]) if values.get(name, "").isdecimal() else 0

    return Unit(
        name=values.get("Id", ""),
        load_state=values.get("LoadState", ""),
        active_state=values.get("ActiveState", ""),
        sub_state=values.get("SubState", ""),
        file_state=values.get("UnitFileState", ""),
        main_pid=number("MainPID"),
        need_daemon_reload=values.get("NeedDaemonReload") == "yes",
        result=values.get("Result", ""),
        exit_status=number("ExecMainStatus"),
        restarts=number("NRestarts"),
        started=parse_time(values.get("ExecMainStartTimestamp", "")),
        changed=parse_time(values.get("StateChangeTimestamp", "")),
    )


def systemd_text(value: object) -> str:
    """A value as ``systemctl show`` writes it: booleans are yes and no."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def byte_limit(text: str) -> float:
    """Bytes of a limit as unit files write it (``2048M``), or infinity. Raises ``InvalidInput``."""
    if text in ("infinity", str(2**64 - 1)):  # the second is how an older systemd shows it
        return math.inf
    found = re.fullmatch(r"(\d+)([KMGTPE]?)", text)
    if not found:
        raise InvalidInput(f"{text!r} is not a limit in bytes.", 'Write it as "2048M", "2G", bytes, or "infinity".')
    return int(found[1]) * 1024.0 ** " KMGTPE".index(found[2] or " ")


class Systemd:
    """The system's service manager. Every method raises an ``OllamaError`` with systemctl's own words on failure."""

    def __init__(self, run: Run = run_command) -> None:
        self._run = run

    def show(self, unit: str) -> Unit:
        """The state of a unit; one that does not exist has the load state ``not-found``."""
        command = ["systemctl", "show", unit, "--timestamp=us+utc", f"--property={','.join(PROPERTIES)}"]
        return parse_unit(self._checked(command, QUERY_SECONDS).output)

    def journal(self, unit: str, since: float, lines: int = 15) -> list[str]:
        """A unit's last log lines since a time (s since the epoch); none where the journal cannot be read."""
        # In reverse, since with --since systemd 252 counts --lines from the oldest entry on.
        command = ["journalctl", f"--unit={unit}", f"--since=@{since:.6f}", f"--lines={lines}", "--reverse"]
        try:
            done = self._run([*command, "--output=cat", "--no-pager", "--quiet"], QUERY_SECONDS)
        except OllamaError:
            return []
        return [line.rstrip() for line in reversed(done.output.splitlines()) if line.strip()]

    def properties(self, unit: str, names: Sequence[str]) -> dict[str, str]:
        """Properties of a unit in systemd's own form, name to value; those that it does not know are left out."""
        output = self._checked(["systemctl", "show", unit, f"--property={','.join(names)}"], QUERY_SECONDS).output
        return parse_properties(output)

    def log_between(self, unit: str, since: float, until: float) -> str:
        """All that a unit logged between two times (s since the epoch). Raises an ``OllamaError``."""
        times = [f"--since=@{since:.0f}", f"--until=@{until:.0f}"]
        command = ["journalctl", f"--unit={unit}", *times, "--output=cat", "--no-pager", "--quiet"]
        return self._checked(command, QUERY_SECONDS).output

    def daemon_reload(self) -> None:
        """Read all unit files again."""
        self._checked(["systemctl", "daemon-reload"], QUERY_SECONDS)

    def enable(self, unit: str) -> None:
        """Start the unit at boot from now on."""
        self._checked(["systemctl", "enable", "--quiet", unit], QUERY_SECONDS)

    def disable(self, unit: str) -> None:
        """Start the unit at boot no more."""
        self._checked(["systemctl", "disable", "--quiet", unit], QUERY_SECONDS)

    def start(self, unit: str) -> None:
        """Start the unit, also after it failed too often."""
        self._run(["systemctl", "reset-failed", unit], QUERY_SECONDS)
        self._checked(["systemctl", "start", unit], JOB_SECONDS)

    def restart(self, unit: str) -> None:
        """Stop and start the unit, also after it failed too often."""
        self._run(["systemctl", "reset-failed", unit], QUERY_SECONDS)
        self._checked(["systemctl", "restart", unit], JOB_SECONDS)

    def reload(self, unit: str) -> None:
        """Let the running process read its configuration again."""
        self._checked(["systemctl", "reload", unit], JOB_SECONDS)

    def stop(self, unit: str) -> None:
        """Stop the unit."""
        self._checked(["systemctl", "stop", unit], JOB_SECONDS)

    def _checked(self, command: Sequence[str], timeout: float) -> Completed:
        done = self._run(command, timeout)
        if done.status:
            reason = (done.errors.strip() or done.output.strip() or f"status {done.status}").splitlines()[0]
            words = " ".join(word for word in command if not word.startswith("-"))
            raise Unhealthy(f"{words} failed: {reason.rstrip('.')}.", "Look at the unit's log (journalctl -u).")
        return done
