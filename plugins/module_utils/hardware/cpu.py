# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""CPUs: which are online, which share a physical core, which are performance cores, which a process may run on."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import NamedTuple

from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import FEATURES
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.files import Files, cpu_list

CPU = "/sys/devices/system/cpu"


class Topology(NamedTuple):
    """The CPUs that are online. ``core`` maps each to a name of its physical core; SMT siblings share one.

    ``siblings_known`` is False where the kernel does not tell all of them: then a CPU is a core.
    """

    core: dict[int, str]
    performance: frozenset[int]
    sockets: int
    numa_nodes: int
    model: str
    features: tuple[str, ...] = ()
    siblings_known: bool = True

    @property
    def online(self) -> frozenset[int]:
        return frozenset(self.core)

    def cores(self, cpus: AbstractSet[int]) -> int:
        """How many physical cores these CPUs are spread over."""
        return len({self.core[cpu] for cpu in cpus})


def read_topology(files: Files, allowed: frozenset[int]) -> Topology:
    """Read the topology from sysfs, which tells nothing in some containers.

    The CPUs that a process is ``allowed`` stand in where nothing else says which there are.
    """
    info = _cpuinfo(files)
    online = cpu_list(files.read(f"{CPU}/online")) or cpu_list(info["processors"]) or allowed or frozenset({0})
    core: dict[int, str] = {}
    sockets = set()
    siblings_known = True
    for cpu in sorted(online):
        topology = f"{CPU}/cpu{cpu}/topology"
        # thread_siblings_list is the older name of core_cpus_list.
        siblings = files.read(f"{topology}/core_cpus_list") or files.read(f"{topology}/thread_siblings_list")
        core[cpu] = siblings or str(cpu)
        siblings_known &= bool(siblings)
        sockets.add(files.read(f"{topology}/physical_package_id"))
    return Topology(
        core=core,
        performance=_performance(files, online),
        sockets=len(sockets),
        numa_nodes=max(1, len(cpu_list(files.read("/sys/devices/system/node/online")))),
        model=info.get("model name") or info.get("Model") or files.read("/proc/device-tree/model"),
        features=_features(info),
        siblings_known=siblings_known,
    )


def allowed_cpus(files: Files, pid: str) -> frozenset[int]:
    """The affinity mask of a process (``self`` or a number), which is never wider than its cpusets. Empty: unknown."""
    for line in files.read(f"/proc/{pid}/status").splitlines():
        name, _, value = line.partition(":")
        if name == "Cpus_allowed_list":
            return cpu_list(value)
    return frozenset()


def _performance(files: Files, online: frozenset[int]) -> frozenset[int]:
    """The fast cores of a hybrid CPU; on any other CPU all of them.

    Intel's kernel driver names the two kinds. Arm gives each core a capacity relative to the fastest (1024): that of
    LITTLE ones is up to 0.56 of it, that of big ones beside a prime one 0.7 and more.
    """
    fast = cpu_list(files.read("/sys/devices/cpu_core/cpus")) & online
    if fast and files.exists("/sys/devices/cpu_atom/cpus"):
        return fast
    capacity = {cpu: files.integer(f"{CPU}/cpu{cpu}/cpu_capacity") or 0 for cpu in online}
    return frozenset(cpu for cpu in online if 8 * capacity[cpu] >= 5 * max(capacity.values()))


def _features(info: dict[str, str]) -> tuple[str, ...]:
    """The instruction sets of ``FEATURES`` that all of their flags are there for, on x86 and on Arm."""
    flags = {*info.get("flags", "").split(), *info.get("Features", "").split()}
    return tuple(name for name, needed in FEATURES.items() if flags.issuperset(needed))


def _cpuinfo(files: Files) -> dict[str, str]:
    """The first value of each key of /proc/cpuinfo, and the list of its ``processors``."""
    info: dict[str, str] = {}
    processors = []
    for line in files.read("/proc/cpuinfo").splitlines():
        name, _, value = (part.strip() for part in line.partition(":"))
        if name == "processor":
            processors.append(value)
        info.setdefault(name, value)
    return {**info, "processors": ",".join(processors)}
