# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looking at a host. Nothing is changed, and what cannot be read is left out: a broken host must still be diagnosed."""

from __future__ import annotations

import re
import shlex
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Callable, NamedTuple
from urllib.parse import urlsplit

from ansible_collections.llmops.ollama.plugins.module_utils.client import Client
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.evidence import (
    Evidence,
    FailedCheck,
    Loaded,
    Process,
    Runner,
    Sample,
    Setting,
    UnitFile,
)
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.journal import JOURNAL_LINES, Line, parse_journal
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.live import IsService, port_holder, watch_processes
from ansible_collections.llmops.ollama.plugins.module_utils.engine import GPU_ALL, clean
from ansible_collections.llmops.ollama.plugins.module_utils.errors import OllamaError, Unreachable
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.cgroup import ancestors, read_limits
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import UNIT_LIMITS, Hardware
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.files import Files, to_int
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.memory import read_memory
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.probe import probe
from ansible_collections.llmops.ollama.plugins.module_utils.health import Installed
from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import Definition
from ansible_collections.llmops.ollama.plugins.module_utils.model_lock import Lock, drifts, weights_of
from ansible_collections.llmops.ollama.plugins.module_utils.runner import read_environ
from ansible_collections.llmops.ollama.plugins.module_utils.systemd import (
    QUERY_SECONDS,
    Run,
    Systemd,
    Unit,
    environment_files,
    parse_properties,
    run_command,
)

# What is logged for each request, by Ollama and by llama-server, is all that a busy server's newest lines hold.
NO_REQUEST = r"^(?!\[GIN\]|slot |srv |que |\s)"
KERNEL_LINES = 5000
# Which process the kernel killed, and before it which group that was in, or that all of a group have to go.
KERNEL_MARKS = ("Killed process", "oom-kill:", "are going to be killed")
# Where an administrator's drop-ins are.
DROP_INS = ("/etc/systemd/system", "/run/systemd/system")
# A stopped unit has no process whose control groups could be read: this one's are the nearest.
SELF = "self"

# What may be a variable; systemd ignores another assignment.
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)

# Watches the host's processes for so many seconds; told which belong to the service.
Watch = Callable[[float, IsService], "tuple[Process, ...]"]
# Names the process, not of the service, that listens on a port; empty where there is none.
Holder = Callable[[int, IsService], str]


class _Configured(NamedTuple):
    """What a unit's files say; see ``Evidence``."""

    files: tuple[UnitFile, ...] = ()
    settings: tuple[Setting, ...] = ()
    taken_back: Mapping[str, str] = {}
    limits: tuple[Setting, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Looker:
    """How a host is looked at; each part can be replaced by a recording."""

    root: str = "/"
    run: Run = run_command
    watch: Watch = watch_processes
    holder: Holder = port_holder
    hardware: Callable[[], Hardware] = probe
    now: Callable[[], float] = time.time

    def look(
        self,
        client: Client,
        service: str,
        wanted: Mapping[str, str],
        hours: float = 24.0,
        seconds: float = 1.0,
        predicted_mb: int | None = None,
        lock: Lock | None = None,
        models: Sequence[Definition] | None = None,
        gpu: str = GPU_ALL,
        until: float | None = None,
        failed: Sequence[FailedCheck] = (),
        refused: str = "",
    ) -> Evidence:
        """Gather everything about one host; takes ``seconds``, and the time that a silent server is waited for."""
        files, now = Files(self.root), self.now()
        unit = Systemd(self.run).show(service)
        pid = str(unit.main_pid) if unit.main_pid else SELF
        configured = self._configured(files, service)
        runners = _runners(files, unit.main_pid)
        pids = [unit.main_pid, *(runner.pid for runner in runners)] if unit.main_pid else []

        def is_service(other: int) -> bool:
            return other in pids or f"/{service}" in files.read(f"/proc/{other}/cgroup")

        before = _sample(files, pid, pids)
        started = time.monotonic()
        processes = self.watch(seconds, is_service)
        seconds = round(time.monotonic() - started, 1)
        after = _sample(files, pid, pids)
        port = urlsplit(client.url).port or 80
        memory, limits = read_memory(files), read_limits(files, pid)
        # Pages of files give way: after a load the weights' file is among them.
        free = [memory.available, *([limits.memory_most] if limits.memory_most is not None else [])]
        limit = [memory.total, *([limits.memory] if limits.memory is not None else [])]
        environment = self._environment(unit)
        store = _store(environment or {each.name: each.value for each in configured.settings})
        disk_size, disk_free = _disk(files, store)
        seen = Evidence(
            unit=unit,
            now=now,
            wanted=wanted,
            environment=environment,
            settings=configured.settings,
            taken_back=configured.taken_back,
            limits=configured.limits,
            files=configured.files,
            missing=configured.missing,
            store=store,
            disk_free=disk_free,
            disk_size=disk_size,
            until=float("inf") if until is None else until,
            failed=tuple(failed),
            declared=tuple(str(model.name) for model in models or ()),
            refused=refused,
            journal=self._service_journal(service, now - hours * 3600),
            kernel=tuple(
                line
                for line in self._journal(["--dmesg"], now - hours * 3600, KERNEL_LINES)
                if any(mark in line.text for mark in KERNEL_MARKS)
            ),
            # Where memory is used up, even looking may be what ends one.
            runners=tuple(runner for runner in runners if files.exists(f"/proc/{runner.pid}")),
            service_rss=sum(_status(files, each, "VmRSS") for each in pids),
            service_swap=sum(_status(files, each, "VmSwap") for each in pids),
            hardware=self._hardware(),
            memory_free=min(free),
            memory_limit=min(limit),
            load_average=_float(files.read("/proc/loadavg").partition(" ")[0]),
            processes=processes,
            port_holder=self.holder(port, is_service),
            before=before,
            after=after,
            seconds=seconds,
            predicted_mb=predicted_mb,
            gpu=gpu,
            gpu_layers={
                str(model.name): layers
                for model in models or ()
                if isinstance(layers := model.parameters.get("num_gpu"), int)
            },
        )
        return _ask(client, seen, lock or {}, models)

    def _environment(self, unit: Unit) -> dict[str, str] | None:
        if not unit.main_pid:
            return None
        try:
            return read_environ(unit.main_pid, str(Files(self.root).path("/proc")))
        except OllamaError:
            return None

    def _hardware(self) -> Hardware | None:
        try:
            return self.hardware()
        except OllamaError:
            return None

    def _journal(self, which: Sequence[str], start: float, lines: int) -> tuple[Line, ...]:
        # In reverse, since with --since systemd 252 counts --lines from the oldest entry on, and the newest matter.
        command = ["journalctl", *which, f"--since=@{start:.0f}", f"--lines={lines}", "--output=short-unix"]
        try:
            newest_first = self.run([*command, "--reverse", "--no-pager", "--quiet"], QUERY_SECONDS).output
            return parse_journal(newest_first)[::-1]
        except OllamaError:
            return ()

    def _service_journal(self, service: str, start: float) -> tuple[Line, ...]:
        """The service's newest lines; where these do not reach back, what was said before them but for requests."""
        newest = self._journal([f"--unit={service}"], start, JOURNAL_LINES)
        if len(newest) < JOURNAL_LINES:
            return newest
        others = self._journal([f"--unit={service}", f"--grep={NO_REQUEST}"], start, JOURNAL_LINES)
        return (*(line for line in others if line.time < newest[0].time), *newest)

    def _configured(self, files: Files, service: str) -> _Configured:
        """The unit's files, and what they set in the order in which systemd reads them."""
        command = ["systemctl", "show", service, "--property=FragmentPath,DropInPaths,EnvironmentFiles"]
        try:
            output = self.run(command, QUERY_SECONDS).output
        except OllamaError:
            return _Configured()
        values = parse_properties(output)
        main = values.get("FragmentPath", "")
        known = values.get("DropInPaths", "").split()
        on_disk = [path for folder in DROP_INS for path in files.glob(f"{folder}/{service}.d/*.conf")]
        # Of files of one name the others are hidden.
        names = {path.rpartition("/")[2] for path in known}
        unread = [path for path in on_disk if path.rpartition("/")[2] not in names]
        found: list[UnitFile] = []
        settings: list[Setting] = []
        limits: list[Setting] = []
        missing: list[str] = []
        taken_back: dict[str, str] = {}
        for path in [*([main] if main else []), *known, *unread]:
            changed = _changed(files, path)
            if changed is None:
                continue
            found.append(UnitFile(path, changed, path == main, path in unread))
            for key, value in _service_lines(files, path) if path not in unread else ():
                if key in UNIT_LIMITS:
                    limits.append(Setting(path, key, value))
                elif key == "Environment" and value:
                    assigned = _assignments(path, value)
                    settings += assigned
                    for setting in assigned:
                        taken_back.pop(setting.name, None)
                elif key == "Environment":  # it takes back all before it
                    taken_back.update({each.name: path for each in settings})
                    settings = []
        # systemd reads these last, and names them as it reads them, without its specifiers.
        named = values.get("EnvironmentFiles", "")
        for pattern in environment_files(named):
            paths = files.glob(pattern)
            for path in paths:
                found.append(UnitFile(path, _changed(files, path) or 0.0, variables=True))
                settings += _variables(files, path)
            if not paths and f"{pattern} (ignore_errors=no)" in named.splitlines():
                missing.append(pattern)
        return _Configured(tuple(found), tuple(settings), taken_back, tuple(limits), tuple(missing))


def _changed(files: Files, path: str) -> float | None:
    try:
        return files.path(path).stat().st_mtime
    except OSError:
        return None


def _store(environment: Mapping[str, str]) -> str:
    """Where the server keeps its models; empty where nothing says so."""
    home = environment.get("HOME", "")
    return clean(environment.get("OLLAMA_MODELS", "")) or (f"{home}/.ollama/models" if home else "")


def _disk(files: Files, folder: str) -> tuple[int, int]:
    """Size of a folder's file system, and what of it users other than root may still write. Bytes."""
    try:
        usage = shutil.disk_usage(files.path(folder)) if folder else None
    except OSError:
        usage = None
    return (usage.total, usage.free) if usage else (0, 0)


def _service_lines(files: Files, path: str) -> Iterator[tuple[str, str]]:
    """What a unit's file sets of the service. Of what is in another section, or in none, systemd takes nothing."""
    section = ""
    for line in files.read(path).replace("\\\n", " ").splitlines():
        if line.lstrip().startswith("["):
            section = line.strip()
        key, _, value = (part.strip() for part in line.partition("="))
        if section == "[Service]":
            yield key, value


def _variables(files: Files, path: str) -> Iterator[Setting]:
    """What a file with variables sets: one in a line, as it is there but for quotes around it."""
    for row in files.read(path).replace("\\\n", "").splitlines():
        name, equals, value = row.strip().partition("=")
        if equals and _NAME.fullmatch(name.strip()):
            text = value.strip()
            quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
            yield Setting(path, name.strip(), text[1:-1] if quoted else text)


def _assignments(path: str, text: str) -> list[Setting]:
    """``A=1 "B=two words"`` as systemd splits it."""
    try:
        words = shlex.split(text)
    except ValueError:  # an open quote: systemd ignores the line
        return []
    pairs = (word.partition("=") for word in words if "=" in word)
    return [Setting(path, name, value.replace("%%", "%")) for name, _, value in pairs if _NAME.fullmatch(name)]


def _ask(client: Client, seen: Evidence, lock: Lock, models: Sequence[Definition] | None) -> Evidence:
    """Add what the server itself says."""
    try:
        seen = replace(seen, version=client.version())
        seen = replace(seen, loaded=tuple(Loaded.of_ps(entry) for entry in client.ps()))
        tags = client.tags()
    except OllamaError as error:
        return replace(seen, api_problem=str(error))
    installed = tuple((model.name, model.quantization) for model in map(Installed.of_tag, tags))
    digests = {str(entry["name"]).lower(): str(entry.get("digest") or "") for entry in tags}
    unread: dict[str, str] = {}

    def weights(name: str) -> list[str]:
        try:
            return weights_of(client.show(name))
        except Unreachable:  # that is not the model's fault
            raise
        except OllamaError as error:
            unread[name] = str(error)
            return []

    try:
        drifted = tuple(drift for drift in drifts(lock, digests, weights, models) if drift.name not in unread)
    except Unreachable as error:
        return replace(seen, installed=installed, api_problem=str(error))
    return replace(seen, installed=installed, drifted=drifted, pinned=len(lock), unread=unread)


def _runners(files: Files, pid: int) -> tuple[Runner, ...]:
    """The processes below the server."""
    found: list[Runner] = []
    for path in files.glob(f"/proc/{pid}/task/*/children") if pid else ():
        for child in map(int, files.read(path).split()):
            command = tuple(files.read(f"/proc/{child}/cmdline").split("\0"))
            try:
                environment = read_environ(child, str(files.path("/proc")))
            except OllamaError:
                if not files.exists(f"/proc/{child}"):
                    continue  # it has just ended
                environment = {}  # only root may read it
            rss, swap = _status(files, child, "VmRSS"), _status(files, child, "VmSwap")
            found += [Runner(child, command, environment, rss, swap), *_runners(files, child)]
    return tuple(found)


def _status(files: Files, pid: int, key: str) -> int:
    """A size from a process's status, in bytes."""
    for line in files.read(f"/proc/{pid}/status").splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return 1024 * (to_int(value.replace("kB", "").strip()) or 0)
    return 0


def _sample(files: Files, pid: str, pids: Sequence[int]) -> Sample:
    """The counters now: memory events of the innermost group, throttling of the group that was throttled most."""
    memory = next(iter(ancestors(files, pid, "memory")), "")
    events = {**_pairs(files, f"{memory}/memory.oom_control"), **_pairs(files, f"{memory}/memory.events")}
    throttling = [(place, _pairs(files, f"{place}/cpu.stat")) for place in ancestors(files, pid, "cpu")]
    cpu, stat = max(throttling, key=lambda each: each[1].get("nr_throttled", 0), default=("", {}))
    ticks = [to_int(field) or 0 for field in files.read("/proc/stat").partition("\n")[0].split()[1:9]]
    return Sample(
        memory_group=memory,
        oom_kills=events.get("oom_kill", 0),
        limit_hits=events.get("max", files.integer(f"{memory}/memory.failcnt") or 0),
        high_hits=events.get("high", 0),
        cpu_group=cpu,
        periods=stat.get("nr_periods", 0),
        throttled=stat.get("nr_throttled", 0),
        steal=ticks[7] if len(ticks) > 7 else 0,
        ticks=sum(ticks),
        major_faults=sum(_major_faults(files, each) for each in pids),
    )


def _pairs(files: Files, path: str) -> dict[str, int]:
    """A file of lines with a name and a number."""
    rows = (line.split() for line in files.read(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdecimal()}


def _major_faults(files: Files, pid: int) -> int:
    # The command's name is in parentheses and may hold anything, spaces too; majflt is the tenth field after it.
    fields = files.read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(fields[9]) if len(fields) > 9 else 0


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
