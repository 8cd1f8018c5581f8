# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host showed, before anyone judges it. Plain data: a recorded host is diagnosed like a live one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.doctor import journal
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.journal import Line, Load
from ansible_collections.llmops.ollama.plugins.module_utils.engine import GPU_ALL, Engine, clean
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import Hardware
from ansible_collections.llmops.ollama.plugins.module_utils.model_lock import Drift
from ansible_collections.llmops.ollama.plugins.module_utils.systemd import Unit

MIB = 1 << 20

# Memory is short when less than this share of what may be used is left; a full plan leaves a little more of its budget.
SHORT_SHARE = 0.04


@dataclass(frozen=True)
class Setting:
    """One variable as one of the unit's files sets it."""

    file: str
    name: str
    value: str


@dataclass(frozen=True)
class UnitFile:
    """A unit's file; ``changed`` in seconds since the epoch. ``main`` is the unit itself, the others are drop-ins.

    ``unread`` is one that systemd does not know of yet, ``variables`` one that the unit takes variables from.
    """

    path: str
    changed: float
    main: bool = False
    unread: bool = False
    variables: bool = False


@dataclass(frozen=True)
class Runner:
    """A process that runs a model. Bytes; ``environment`` is what it inherited."""

    pid: int
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    rss: int = 0
    swap: int = 0

    def option(self, *names: str) -> int | None:
        """The number after one of the command line's options, or None."""
        for word, value in zip(self.command, self.command[1:]):
            if word in names and value.isdecimal():
                return int(value)
        return None

    @property
    def model(self) -> str:
        """The file of the model in the store; empty where the command line does not name it."""
        paths = (value for word, value in zip(self.command, self.command[1:]) if word == "--model")
        return next(paths, "").rpartition("/")[2]

    @property
    def own_threads(self) -> int | None:
        """Threads that the command line says, which come from num_thread of the model or of a request."""
        return self.option("-t", "--threads")


@dataclass(frozen=True)
class Process:
    """A process of the host that is not the service's. ``cpu`` in CPUs (0.5 is half of one), ``rss`` in bytes."""

    pid: int
    command: str
    cpu: float
    rss: int


@dataclass(frozen=True)
class Sample:
    """Counters that only grow, at one moment. ``steal`` and ``ticks`` are of all CPUs together."""

    memory_group: str = ""
    oom_kills: int = 0
    limit_hits: int = 0
    high_hits: int = 0
    cpu_group: str = ""
    periods: int = 0
    throttled: int = 0
    steal: int = 0
    ticks: int = 0
    major_faults: int = 0


@dataclass(frozen=True)
class Loaded:
    """A model that the server has in memory now. Bytes."""

    name: str
    quantization: str
    size: int
    size_vram: int

    @classmethod
    def of_ps(cls, entry: Mapping[str, Any]) -> Loaded:
        """From an entry of ``/api/ps``."""
        quantization = str((entry.get("details") or {}).get("quantization_level") or "")
        return cls(str(entry["name"]), quantization, int(entry.get("size") or 0), int(entry.get("size_vram") or 0))


@dataclass(frozen=True)
class FailedCheck:
    """A check of ``health`` that failed: what it found, and what to do, as sentences."""

    name: str
    problem: str
    remedy: str

    @classmethod
    def of_result(cls, check: Mapping[str, Any]) -> FailedCheck:
        """From one of the checks in the module's result, whose detail ends in the remedy."""
        remedy = str(check.get("remedy") or "")
        return cls(str(check.get("name", "")), str(check.get("detail", "")).removesuffix(remedy).strip(), remedy)


@dataclass(frozen=True)
class Evidence:
    """Everything that was seen on one host.

    ``wanted`` is what the process should have, ``environment`` what it has (None: it could not be read or there is no
    process). ``settings`` and ``files`` are in the order in which systemd reads them: the last one wins.
    ``api_problem`` is why the server did not answer. ``memory_free`` (bytes) is what is left below the tightest limit,
    ``memory_limit`` that limit. ``port_holder`` listens on the server's port and is not the service. ``gpu`` is how
    much of each model should be on GPUs, where there are any; ``gpu_layers`` what models were declared with.
    ``unread`` are models that the server has and cannot tell about, with what it says. ``taken_back`` has the file in
    which an empty assignment takes a variable back that another file sets. What was asked after ``until`` (s since the
    epoch) was asked in order to see whether the server answers, which is how ``failed`` was found. ``declared`` are the
    models that the host shall have. ``refused`` is why they cannot fit, in the tuner's words. ``limits`` are the memory
    limits that the unit's files set; ``missing`` are files that it must take variables from and that are not there.
    ``store`` is where the server keeps its models, on a file system of ``disk_size`` bytes (0: not known).
    """

    unit: Unit
    now: float = 0.0
    wanted: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] | None = None
    settings: tuple[Setting, ...] = ()
    files: tuple[UnitFile, ...] = ()
    journal: tuple[Line, ...] = ()
    kernel: tuple[Line, ...] = ()
    version: str = ""
    api_problem: str = ""
    loaded: tuple[Loaded, ...] = ()
    installed: tuple[tuple[str, str], ...] = ()  # name and quantization
    runners: tuple[Runner, ...] = ()
    service_rss: int = 0
    service_swap: int = 0
    hardware: Hardware | None = None
    memory_free: int = 0
    memory_limit: int = 0
    load_average: float = 0.0
    processes: tuple[Process, ...] = ()
    port_holder: str = ""
    before: Sample = Sample()
    after: Sample = Sample()
    seconds: float = 0.0
    predicted_mb: int | None = None
    gpu: str = GPU_ALL
    gpu_layers: Mapping[str, int] = field(default_factory=dict)
    drifted: tuple[Drift, ...] = ()
    pinned: int = 0  # models in the lock
    unread: Mapping[str, str] = field(default_factory=dict)
    taken_back: Mapping[str, str] = field(default_factory=dict)
    until: float = float("inf")
    failed: tuple[FailedCheck, ...] = ()
    declared: tuple[str, ...] = ()
    refused: str = ""
    limits: tuple[Setting, ...] = ()
    missing: tuple[str, ...] = ()
    store: str = ""
    disk_free: int = 0
    disk_size: int = 0

    @property
    def engine(self) -> Engine:
        """The release, by its own word or its log's; the newest where neither tells."""
        try:
            return Engine.parse(self.version or journal.version(self.journal))
        except InvalidInput:
            return Engine()

    @property
    def has(self) -> Mapping[str, str]:
        """The process's environment, empty where there is none."""
        return self.environment or {}

    @property
    def current(self) -> tuple[Line, ...]:
        """The journal since the running process was started."""
        return journal.since(self.journal, self.unit.started)

    @property
    def loads(self) -> tuple[Load, ...]:
        """The loads of the running process."""
        return journal.loads(self.current) if self.unit.running else ()

    @property
    def parallel(self) -> int:
        """Slots that the process was told to use."""
        value = clean(self.has.get("OLLAMA_NUM_PARALLEL", "1"))
        return int(value) if value.isdecimal() and int(value) > 0 else 1

    @property
    def threads(self) -> list[int]:
        """Threads of the models' runners: from the command line, the environment, or what was logged."""
        logged = {load.model: load.threads for load in self.loads if load.threads}
        found = []
        for runner in self.runners:
            given = runner.environment.get("LLAMA_ARG_THREADS", "")
            inherited = int(given) if self.engine.runs_llama_server and given.isdecimal() else None
            threads = runner.own_threads or inherited or logged.get(runner.model)
            found += [threads] if threads else []
        return found or list(logged.values())[-1:]

    @property
    def memory_short(self) -> bool:
        """Whether hardly any memory is left."""
        return self.memory_limit > 0 and self.memory_free < SHORT_SHARE * self.memory_limit


def mib(size: float) -> str:
    """A size in bytes for a person."""
    return f"{size / MIB:.0f} MiB" if size < 10 * 1024 * MIB else f"{size / MIB / 1024:.1f} GiB"
