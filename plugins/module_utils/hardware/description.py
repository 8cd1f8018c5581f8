# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The description of a host: what it has and what may be used of it.

``Hardware.to_dict()`` is what the facts show; ``Hardware.describe()`` accepts the same mapping or a few of its keys, so
that one can ask about a host without being on it. Sizes are in MiB, as in ``ansible_facts.memtotal_mb``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.llmops.ollama.plugins.module_utils.engine import (
    VISIBILITY,
    Engine,
    clean,
    computes_on,
    is_on,
    visible,
)
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.words import boolean, number

MIB = 1 << 20

MAX_CPUS = 4096
MAX_MEMORY_MB = 64 << 20  # 64 TiB
# Below this no Ollama server runs; a smaller number is usually gigabytes given as megabytes.
MIN_MEMORY_MB = 256
MAX_GPUS = 64
MIN_GPU_MB = 2048

# Instruction sets for which engines lay out weights anew, with the flags of /proc/cpuinfo that each needs.
FEATURES: dict[str, tuple[str, ...]] = {
    "avx2": ("avx2",),
    "avx512": ("avx512f",),
    "amx": ("amx_tile", "amx_int8", "avx512_vnni", "avx512_bf16"),
    "dotprod": ("asimddp",),
}

# Directives that limit a unit's memory.
UNIT_LIMITS = ("MemoryMax", "MemoryHigh", "MemoryLimit")

# Allowed range of each number.
RANGES: dict[str, tuple[float, float]] = {
    "cpu_cores": (1, MAX_CPUS),
    "physical_cores": (1, MAX_CPUS),
    "performance_cores": (1, MAX_CPUS),
    "usable_cpus": (1, MAX_CPUS),
    "usable_cores": (1, MAX_CPUS),
    "usable_performance_cores": (0, MAX_CPUS),
    "sockets": (1, MAX_CPUS),
    "numa_nodes": (1, MAX_CPUS),
    "cpu_quota": (0.01, MAX_CPUS),
    "memory_mb": (MIN_MEMORY_MB, MAX_MEMORY_MB),
    "memory_available_mb": (0, MAX_MEMORY_MB),
    "memory_room_mb": (0, MAX_MEMORY_MB),
    "memory_limit_mb": (1, MAX_MEMORY_MB),
    "swap_mb": (0, MAX_MEMORY_MB),
    "disk_mb": (0, MAX_MEMORY_MB * 1024),
    "disk_free_mb": (0, MAX_MEMORY_MB * 1024),
}
# What each list may hold.
WORDS: dict[str, tuple[str, ...]] = {"cpu_features": tuple(FEATURES), "unit_limits": UNIT_LIMITS}
REQUIRED = ("cpu_cores", "memory_mb")
# A part cannot be larger than the whole.
PARTS = (
    ("physical_cores", "cpu_cores"),
    ("performance_cores", "physical_cores"),
    ("usable_cpus", "cpu_cores"),
    ("usable_cores", "physical_cores"),
    ("usable_cores", "usable_cpus"),
    ("usable_performance_cores", "usable_cores"),
    ("usable_performance_cores", "performance_cores"),
    ("memory_available_mb", "memory_mb"),
    ("memory_room_mb", "memory_mb"),
    ("disk_free_mb", "disk_mb"),
)


GPU_KEYS = ("vendor", "name", "memory_mb", "integrated", "target")

# What ROCm compiles for on integrated GPUs that Ollama uses by itself: Ryzen AI Max. Source: discover/runner.go.
INTEGRATED_TARGETS = ("gfx1151",)


class Gpu(NamedTuple):
    """One GPU, or one MIG instance of a partitioned one. An integrated GPU lives in main memory.

    ``target`` is what ROCm compiles for on an AMD one. ``enabled`` is no fact of the host: whether the server's
    variables let it use integrated GPUs; None where they do not say.
    """

    vendor: str  # nvidia, amd, intel
    name: str = ""
    memory_mb: int | None = None
    integrated: bool = False
    target: str = ""
    enabled: bool | None = None

    @property
    def offloads(self) -> bool:
        """Whether Ollama puts models on it: by itself it passes over most integrated GPUs, but not NVIDIA's."""
        if not self.integrated:
            return True
        by_default = self.vendor == "nvidia" or self.target in INTEGRATED_TARGETS
        return by_default if self.enabled is None else self.enabled

    def within_range(self) -> Gpu:
        """As ``Hardware.within_ranges``."""
        return self._replace(memory_mb=_closest(self.memory_mb, _gpu_range(self.integrated)))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for Ansible."""
        return {name: value for name, value in self._asdict().items() if name in GPU_KEYS}

    @property
    def is_expected(self) -> bool:
        """Whether a part of any model should be on it; the engine may leave a smaller one alone."""
        return self.offloads and (self.memory_mb is None or self.memory_mb >= MIN_GPU_MB)


def visible_gpus(gpus: Sequence[Gpu], environment: Mapping[str, str], engine: Engine) -> tuple[Gpu, ...]:
    """The GPUs that a server with these variables sees."""
    found = [gpu for gpu in gpus if computes_on(gpu.vendor, environment, engine)]
    for vendor, names in VISIBILITY.items():
        for value in (environment[name] for name in names if name in environment):
            theirs = [gpu for gpu in found if gpu.vendor == vendor]
            left = [theirs[index] for index in visible(value, len(theirs))]
            found = [*(gpu for gpu in found if gpu.vendor != vendor), *left]
    # Engines before llama-server do not read it.
    asked = clean(environment.get("OLLAMA_IGPU_ENABLE", "")) if engine.runs_llama_server else ""
    return tuple(gpu._replace(enabled=is_on(asked) if asked else None) for gpu in found)


class Hardware(NamedTuple):
    """One host. None means unknown, or for ``cpu_quota`` and ``memory_limit_mb`` that there is no limit."""

    cpu_cores: int  # logical CPUs that are online
    physical_cores: int
    performance_cores: int  # physical cores without the efficiency cores of a hybrid CPU
    usable_cpus: int  # logical CPUs in the affinity mask
    usable_cores: int  # physical cores in the affinity mask
    usable_performance_cores: int
    memory_mb: int
    memory_available_mb: int | None = None
    memory_room_mb: int | None = None  # what others leave to the service: what is available, and what it holds itself
    memory_limit_mb: int | None = None
    cpu_quota: float | None = None  # CPUs' worth of time, for example 1.5
    unit_limits: tuple[str, ...] = ()  # memory limits that the operator's own files of the unit set: UNIT_LIMITS
    sockets: int = 1
    numa_nodes: int = 1
    swap_mb: int = 0
    disk_mb: int | None = None  # file system of the model store
    disk_free_mb: int | None = None
    gpus: tuple[Gpu, ...] = ()
    architecture: str = ""
    cpu_model: str = ""
    cpu_features: tuple[str, ...] = ()  # those of FEATURES
    virtualization: str = "none"

    @property
    def cpus(self) -> float:
        """Logical CPUs that may really be used: the affinity mask, cut by the quota."""
        return min(float(self.usable_cpus), self.cpu_quota or self.usable_cpus)

    @property
    def usable_memory_mb(self) -> int:
        return min(self.memory_mb, self.memory_limit_mb or self.memory_mb)

    @property
    def usable_memory_gb(self) -> float:
        """Decimal gigabytes: a machine sold as "16 GB" shows about 15.6 GiB, which is 16.7 of these."""
        return self.usable_memory_mb * MIB / 1e9

    @property
    def smt(self) -> bool:
        return self.cpu_cores > self.physical_cores

    def within_ranges(self) -> Hardware:
        """The same with the closest numbers that ``describe`` accepts.

        A host may have less than a user can mean, or show more than there is: a network's file system of 8 EiB.
        """
        numbers = {key: _closest(getattr(self, key), allowed) for key, allowed in RANGES.items()}
        return self._replace(gpus=tuple(gpu.within_range() for gpu in self.gpus[:MAX_GPUS]), **numbers)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for Ansible."""
        lists = {
            "gpus": [gpu.to_dict() for gpu in self.gpus],
            "cpu_features": list(self.cpu_features),
            "unit_limits": list(self.unit_limits),
        }
        return {**self._asdict(), **lists}

    @classmethod
    def describe(cls, values: Mapping[str, Any]) -> Hardware:
        """Make a host from a user's description; what is not said follows from ``cpu_cores`` and ``memory_mb``.

        Raises ``InvalidInput`` for an unknown key, a value out of range and parts larger than their whole.
        """
        for key in values:
            if key not in cls._fields:
                raise InvalidInput(f"hardware: unknown key {key!r}.", f"Known keys: {', '.join(cls._fields)}.", key=key)
        given = {key: _value(key, value) for key, value in values.items() if value is not None}
        for key in REQUIRED:
            if key not in given:
                raise InvalidInput(f"hardware: {key} is missing.", f"Give at least {' and '.join(REQUIRED)}.", key=key)
        physical = given.setdefault("physical_cores", given["cpu_cores"])
        performance = given.setdefault("performance_cores", physical)
        cpus = given.setdefault("usable_cpus", given["cpu_cores"])
        cores = given.setdefault("usable_cores", min(physical, cpus))
        given.setdefault("usable_performance_cores", min(performance, cores))
        for part, whole in PARTS:
            if part in given and whole in given and given[part] > given[whole]:
                raise InvalidInput(
                    f"hardware: {part} ({given[part]}) is larger than {whole} ({given[whole]}).",
                    f"Correct one of them: {part} is a part of {whole}.",
                    key=part,
                )
        return cls(**given)


def _closest(value: Any, allowed: tuple[float, float]) -> Any:
    return None if value is None else min(max(value, allowed[0]), allowed[1])


def _value(key: str, value: Any) -> Any:
    if key == "gpus":
        return _gpus(value)
    if key in WORDS:
        return _words(key, value)
    if key in RANGES:
        return number(value, RANGES[key], f"hardware: {key}", whole=key != "cpu_quota")
    return str(value)


def _words(key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not set(map(str, value)) <= set(WORDS[key]):
        raise InvalidInput(
            f"hardware: {key} is {value!r}.",
            f"It must be a list of some of {', '.join(WORDS[key])}; [] for none.",
            key=key,
        )
    return tuple(map(str, value))


def _gpus(value: Any) -> tuple[Gpu, ...]:
    if not isinstance(value, (list, tuple)) or len(value) > MAX_GPUS:
        raise InvalidInput(
            f"hardware: gpus is {value!r}.",
            f"It must be a list of at most {MAX_GPUS} mappings; [] for none.",
            key="gpus",
        )
    return tuple(_gpu(index, entry) for index, entry in enumerate(value))


def _gpu_range(integrated: bool) -> tuple[int, int]:
    """Of main memory an integrated one may have next to nothing set apart; a card's smaller number is gigabytes."""
    return 1 if integrated else MIN_MEMORY_MB, MAX_MEMORY_MB


def _gpu(index: int, entry: Any) -> Gpu:
    where = f"hardware: gpus[{index}]"
    if not isinstance(entry, Mapping) or not set(entry) <= set(GPU_KEYS):
        raise InvalidInput(
            f"{where} is {entry!r}.", f"It must be a mapping with the keys {', '.join(GPU_KEYS)}.", key="gpus"
        )
    vendors = ("nvidia", "amd", "intel")
    if entry.get("vendor") not in vendors:
        raise InvalidInput(
            f"{where}: vendor is {entry.get('vendor')!r}.", f"It must be one of {', '.join(vendors)}.", key="gpus"
        )
    memory, given = entry.get("memory_mb"), entry.get("integrated")
    integrated = False if given is None else boolean(given, f"{where}: integrated")
    return Gpu(
        vendor=entry["vendor"],
        name=str(entry.get("name", "")),
        memory_mb=None if memory is None else int(number(memory, _gpu_range(integrated), f"{where}: memory_mb")),
        integrated=integrated,
        target=str(entry.get("target") or ""),
    )
