# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Did every wanted value reach the running server? Its models are looked at in ``loaded_model.py``.

Each method of ``Proof`` is one check: it returns what it found, or raises an ``OllamaError`` where that is wrong.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Callable

from ansible_collections.llmops.ollama.plugins.module_utils import runner as processes
from ansible_collections.llmops.ollama.plugins.module_utils.engine import (
    GPU_NONE,
    Engine,
    unusable,
    variable_problem,
)
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput, OllamaError, Unhealthy
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.files import Files
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.unit import TUNED, last_words
from ansible_collections.llmops.ollama.plugins.module_utils.memory_model import MIB
from ansible_collections.llmops.ollama.plugins.module_utils.systemd import (
    FILE_PROPERTIES,
    Systemd,
    Unit,
    all_files,
    byte_limit,
    unit_files,
)

UNIT_PROPERTIES = (*FILE_PROPERTIES, "ExecStart", "ControlGroup")
# The kernel's files, in a control group of version 2, for limits of a unit.
KERNEL_LIMITS = {
    "MemoryHigh": "memory.high",
    "MemoryMax": "memory.max",
    "MemoryLow": "memory.low",
    "MemoryMin": "memory.min",
    "MemorySwapMax": "memory.swap.max",
}
_PAGE = 65536  # the largest; the kernel rounds limits down to whole pages


@dataclass(frozen=True)
class Wanted:
    """What must be in effect: variables, properties of the unit, how much of the models is on GPUs, and threads.

    ``gpu`` is one of ``GPU_CHOICES``; ``threads`` None means any number.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    directives: Mapping[str, str] = field(default_factory=dict)
    gpu: str = GPU_NONE
    threads: int | None = None

    def count(self, name: str) -> int | None:
        """A variable that is a positive number; None where none is wanted, or where the server decides by itself."""
        value = self.environment.get(name, "")
        return int(value) if value.isdecimal() and int(value) else None


@dataclass(frozen=True)
class Host:
    """Where to look: roots of file systems and the service manager."""

    systemd: Systemd = field(default_factory=Systemd)
    proc: str = "/proc"
    sys: str = "/sys"

    def unit(self, service: str) -> Unit:
        """A service with a running process. Raises ``Unhealthy``."""
        unit = self.systemd.show(service)
        if not unit.main_pid:
            raise Unhealthy(f"{service} has no running process.", f"Start it (systemctl start {service}).")
        return unit


def kept_for(service: str, wanted: Wanted, host: Host) -> str:
    """For how long a server keeps a model that it has answered with, as it was told; empty where it was not."""
    has: Mapping[str, str] = {}
    with contextlib.suppress(OllamaError):  # what cannot be read, the checks name
        has = processes.read_environ(host.unit(service).main_pid, host.proc)
    return has.get("OLLAMA_KEEP_ALIVE") or wanted.environment.get("OLLAMA_KEEP_ALIVE") or ""


# Names of checks, and what runs them; one after the other, as what a check finds may decide which ones follow.
Checks = Iterator["tuple[str, Callable[[], str]]"]


class Proof:
    """The checks of one server. ``version`` is what it says of itself, and may be empty."""

    def __init__(self, wanted: Wanted, service: str, host: Host, version: str = "") -> None:
        self._wanted, self._service, self._host, self._version = wanted, service, host, version
        self._restart = f"systemctl daemon-reload && systemctl restart {service}"

    def of_process(self) -> Checks:
        """What the server's own process shows."""
        yield "unit", self.unit
        yield "settings", self.settings

    def of_memory(self) -> Checks:
        """What shows after models were loaded."""
        if self._limit():
            yield "fit", self.fit

    def unit(self) -> str:
        """The process runs the program and the files that the unit has now, and all directives are in effect."""
        unit = self._host.unit(self._service)
        names = [*UNIT_PROPERTIES, *self._wanted.directives]
        properties = self._host.systemd.properties(self._service, names)
        unlike, wrong, remarks = self._directives(properties)
        if unit.need_daemon_reload:
            wrong.append("its files were changed without telling systemd (NeedDaemonReload)")
        files = unit_files(properties, self._service)
        wrong += [f"{file} was changed after process {unit.main_pid} started" for file in newer(files, unit.started)]
        program = stale_program(
            processes.executable(unit.main_pid, self._host.proc), start_path(properties.get("ExecStart", ""))
        )
        if program:
            wrong.append(program)
        if unlike or wrong:
            raise Unhealthy(
                f"{self._service} does not run as it is configured: {'; '.join([*unlike.values(), *wrong])}.",
                f"Restart it ({self._restart})." if wrong else how_to_apply(unit, properties, unlike),
            )
        found = f"process {unit.main_pid} is younger than the unit's {len(files)} files"
        if self._wanted.directives:
            found += f" and has {', '.join(sorted(self._wanted.directives))} as wanted"
        return "; ".join([found, *remarks])

    def settings(self) -> str:
        """Every variable of the server is one that it reads, with a value that it takes."""
        unit = self._host.unit(self._service)
        has = processes.read_environ(unit.main_pid, self._host.proc)
        engine = engine_of(self._version)
        judged = {name: setting_problems(name, value, engine, has) for name, value in sorted(has.items())}
        wrong = {name: problems for name, problems in judged.items() if problems}
        if wrong:
            remedy = f"Find them (systemctl cat {self._service}), correct them and restart it ({self._restart})."
            if wrong.keys() <= self._wanted.environment.keys():
                remedy = "Correct ollama_environment and run site.yml."
            said = " ".join(chain.from_iterable(wrong.values()))
            raise Unhealthy(f"Process {unit.main_pid} of {self._service} has settings without effect. {said}", remedy)
        ours = [name for name in has if name.startswith(("OLLAMA_", "LLAMA_ARG_"))]
        return f"{engine} reads all {len(ours)} variables of process {unit.main_pid}"

    def fit(self) -> str:
        """The largest resident sets of all processes together are below the unit's limit."""
        unit = self._host.unit(self._service)
        name, limit = self._limit() or ("", math.inf)
        server, *runners = processes.peaks(unit.main_pid, self._host.proc)
        total = server + sum(runners)
        numbers = f"{total // MIB} MiB at most so far (server {server // MIB}, runners {mib(runners)})"
        if total < limit:
            return f"resident memory was {numbers}, below {name} of {int(limit) // MIB} MiB"
        raise Unhealthy(
            f"Resident memory was {numbers}, which is not below {name} of {int(limit) // MIB} MiB.",
            "Lower OLLAMA_NUM_PARALLEL, OLLAMA_CONTEXT_LENGTH, LLAMA_ARG_CACHE_RAM or OLLAMA_MAX_LOADED_MODELS,"
            f" choose a smaller model, or raise {name}.",
        )

    def _limit(self) -> tuple[str, float] | None:
        """The lower of the wanted limits, where there is one."""
        for name in ("MemoryHigh", "MemoryMax"):
            limit = bytes_or_none(self._wanted.directives.get(name, ""))
            if limit is not None and limit < math.inf:
                return name, limit
        return None

    def _directives(self, properties: Mapping[str, str]) -> tuple[dict[str, str], list[str], list[str]]:
        """Directives that the unit has otherwise, by name; others that are not in effect; and remarks.

        These are on directives that systemd knows and the kernel does not.
        """
        unlike: dict[str, str] = {}
        wrong, remarks = [], []
        group = Path(self._host.sys, "fs/cgroup", properties.get("ControlGroup", "").lstrip("/"))
        for name, wanted in sorted(self._wanted.directives.items()):
            has = properties.get(name)
            if has is None:
                wrong.append(f"systemd has no property {name} for it, which should be {wanted}")
                continue
            limit = bytes_or_none(wanted)
            if not (has == wanted or (limit is not None and limit == bytes_or_none(has))):
                unlike[name] = f"{name} should be {wanted} and is {has or 'not set'}"
            elif name in KERNEL_LIMITS and limit is not None:
                kernel = kernel_limit(group / KERNEL_LIMITS[name])
                if kernel is None:
                    remarks.append(f"the kernel has no {KERNEL_LIMITS[name]} here, so that {name} is not enforced")
                elif not same_limit(kernel, limit):
                    wrong.append(f"{name} should be {wanted}, and the kernel enforces {kernel:.0f} bytes")
        return unlike, wrong, remarks


def engine_of(version: str) -> Engine:
    """The engine of a version; the newest where it is not known."""
    try:
        return Engine.parse(version)
    except InvalidInput:
        return Engine()


def setting_problems(name: str, value: str, engine: Engine, others: Collection[str] = ()) -> list[str]:
    """Why a variable of the server has no effect beside the ``others``, or not the one that it seems to have."""
    problem = variable_problem(name, engine, others)
    if problem:
        return [problem]
    wrong = unusable(name, value, engine)
    return [f"{name} is {value!r}: {wrong[0]}. {wrong[1]}"] if wrong else []


def how_to_apply(unit: Unit, properties: Mapping[str, str], names: Iterable[str], variables: bool = False) -> str:
    """What gives a service the values of these directives, or variables, that it should have and does not.

    ``properties`` name its files.
    """
    if unit.need_daemon_reload or newer(unit_files(properties, unit.name), unit.started):
        return (
            f"Restart it (systemctl daemon-reload && systemctl restart {unit.name}); where that does not help, run"
            " site.yml."
        )
    decides = last_words(Files(), all_files(properties))
    over: dict[str, list[str]] = {}
    for name in sorted(names):
        path = decides.get(name, "")
        # These two site.yml writes.
        if path and path != properties.get("FragmentPath") and Path(path).name != TUNED:
            over.setdefault(path, []).append(name)
    if over:
        found = "; ".join(f"{path} overrides {', '.join(names)}" for path, names in over.items())
        instead = " or set it in ollama_environment," if variables else ""
        return f"{found}: take it out there,{instead} then run site.yml."
    return f"Run site.yml; if it stays, see what else sets it (systemctl cat {unit.name})."


def start_path(value: str) -> str:
    """The program in systemd's form of ``ExecStart``; empty where there is none."""
    found = re.search(r"\bpath=(\S+)", value)
    return found[1] if found else ""


def newer(files: list[str], moment: float) -> list[str]:
    """Those files that were changed after a moment. A time to come tells nothing."""
    found = []
    for file in files:
        try:
            if moment < Path(file).stat().st_mtime <= time.time():
                found.append(file)
        except OSError:  # gone or out of reach: systemd asks for a reload then
            continue
    return found


def stale_program(runs: str, configured: str) -> str:
    """Why a process does not run the program that its unit names now; empty where it does."""
    if runs.endswith(processes.DELETED):
        return f"its program {runs[: -len(processes.DELETED)]} was replaced or deleted since it started"
    current = os.path.realpath(configured) if configured else ""
    # Another name is that of an interpreter, or of a program that a wrapper started.
    if current and Path(current).name == Path(runs).name and current != runs:
        return f"it runs {runs}, and {configured} is now {current}"
    return ""


def bytes_or_none(text: str) -> float | None:
    """A limit in bytes, or None for a text that is none."""
    try:
        return byte_limit(text)
    except InvalidInput:
        return None


def kernel_limit(path: Path) -> float | None:
    """What the kernel enforces, in bytes; None where it has no such limit."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return math.inf if text == "max" else bytes_or_none(text)


def same_limit(one: float, other: float) -> bool:
    """Whether two limits are equal in whole pages."""
    return one == other or (max(one, other) < math.inf and one // _PAGE == other // _PAGE)


def mib(sizes: list[int]) -> str:
    """Sizes in MiB, one by one."""
    return " + ".join(str(size // MIB) for size in sizes) or "none"
