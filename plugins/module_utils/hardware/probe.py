# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Probe a host: one call that reads every source and returns a ``Hardware``."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil

from ansible_collections.llmops.ollama.plugins.module_utils.errors import OllamaError
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.cgroup import (
    group_cpus,
    read_limits,
    root_limit,
    service_pids,
)
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.cpu import allowed_cpus, read_topology
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import MIB, Hardware
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.files import Files
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.gpu import Run, read_gpus, run_command
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.memory import held, node_memory, read_memory
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.unit import SERVICE, OwnLimits, own_limits, slices
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.virtualization import (
    is_container,
    read_virtualization,
)

# Exists where systemd is the service manager: sd_booted(3).
BOOTED = "/run/systemd/system"


def probe(root: str = "/", models_path: str | None = None, run: Run = run_command) -> Hardware:
    """Describe the host whose files lie below ``root``.

    The limits are those of the running Ollama service, which may have a control group of its own. Before it runs they
    are those of its unit's files and of where systemd will put it; without systemd those of this process. A memory
    limit that the tuning itself wrote is none of them. Where sysfs does not tell which CPUs share a physical core,
    psutil says how many cores the live host has, if it is installed.
    ``models_path`` names the model store whose file system is measured.
    """
    files = Files(root)
    running = service_pids(files, SERVICE)
    # Where processes of others are hidden, this one's limits are the best guess.
    to_come = not running and files.exists(BOOTED) and bool(files.read("/proc/1/cgroup"))
    pid = running[0] if running else ("1" if to_come else "self")
    memory = read_memory(files)
    if memory.total < MIB:
        raise OllamaError(
            "The size of memory cannot be read.", f"Check that {files.path('/proc/meminfo')} is readable."
        )
    own = own_limits(files, min(memory.total, root_limit(files) or memory.total))
    allowed = allowed_cpus(files, pid)
    topology = read_topology(files, allowed)
    online = topology.online
    below = "/".join(slices(own.slice)) if to_come else None
    virtualization = read_virtualization(files)
    # lxcfs may count the CPUs that it shows to a container from 0, where all limits have the kernel's numbers.
    renumbered = is_container(virtualization) and len(allowed & online) < min(len(allowed), len(online))
    usable = _usable_cpus(files, allowed, allowed if renumbered else online, own, below)
    if renumbered:
        usable = frozenset(sorted(online)[: len(usable)])
    cpu_cores = len(online)
    live = root == "/" and not topology.siblings_known
    physical = min((_psutil_cores() if live else None) or topology.cores(online), cpu_cores)
    performance = min(topology.cores(topology.performance), physical)
    usable_cpus = min(len(usable), cpu_cores)
    usable_cores = min(topology.cores(usable), physical, usable_cpus)
    limits = read_limits(files, pid, without=SERVICE, below=below)
    common = memory.total - memory.reserved
    nodes = node_memory(files, pid, own.nodes)
    memory_limit = min(limit for limit in (limits.memory, own.memory, nodes, common) if limit is not None)
    quota = min(limit for limit in (limits.cpus, own.cpus, float(cpu_cores)) if limit is not None)
    available = min(memory.available, memory.total if limits.memory_free is None else limits.memory_free)
    most = min(memory.available, memory.total if limits.memory_most is None else limits.memory_most)
    disk, disk_free = _disk(files, models_path)
    found = Hardware(
        cpu_cores=cpu_cores,
        physical_cores=physical,
        performance_cores=performance,
        usable_cpus=usable_cpus,
        usable_cores=usable_cores,
        usable_performance_cores=min(topology.cores(usable & topology.performance), performance, usable_cores),
        memory_mb=memory.total // MIB,
        memory_available_mb=available // MIB,
        memory_room_mb=min(memory_limit, most + held(files, running)) // MIB,
        # Having no limit is written as a very large one in places.
        memory_limit_mb=max(1, memory_limit // MIB) if memory_limit < memory.total else None,
        cpu_quota=quota if quota < cpu_cores else None,
        unit_limits=own.directives,
        sockets=topology.sockets,
        numa_nodes=topology.numa_nodes,
        swap_mb=memory.swap // MIB,
        disk_mb=disk,
        disk_free_mb=disk_free,
        gpus=read_gpus(files, memory.total // MIB, run),
        architecture=platform.machine() if root == "/" else "",
        cpu_model=topology.model,
        cpu_features=topology.features,
        virtualization=virtualization,
    )
    return found.within_ranges()


def _usable_cpus(
    files: Files, allowed: frozenset[int], known: frozenset[int], own: OwnLimits, below: str | None
) -> frozenset[int]:
    """Those of the ``known`` CPUs that the service may run on; with ``below`` once systemd starts it in this group.

    ``allowed`` are those of the process whose limits it has.
    """
    # What systemd starts gets its affinity anew, which need not be within that of systemd itself.
    anew = known & own.affinity if own.affinity and below is not None else frozenset()
    usable = anew or (allowed & known) or known
    if below is not None:
        usable = (usable & group_cpus(files, below)) or usable
    for cpus in (own.allowed, own.affinity):
        usable = (usable & (cpus or usable)) or usable
    return usable


def _psutil_cores() -> int | None:
    """Physical cores by other sources than sysfs; None where these do not tell either."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # a bare host; a /proc/cpuinfo of another form
        import psutil  # noqa: PLC0415  # seldom needed, and a tenth of what the tuner takes

        cores: int | None = psutil.cpu_count(logical=False)
        return cores
    return None


def _disk(files: Files, path: str | None) -> tuple[int | None, int | None]:
    """Size and free space in MiB of the file system that holds the path, or will hold it once it is created.

    Unknown where a directory on the way may not be searched: another file system may be mounted behind it.
    """
    if not path:
        return None, None
    place = files.path(os.path.abspath(path))  # noqa: PTH100  # a path of that host, not to be resolved here
    try:
        while not place.exists() and place != place.parent:
            place = place.parent
        usage = shutil.disk_usage(place)
    except OSError:
        return None, None
    return usage.total // MIB, usage.free // MIB
