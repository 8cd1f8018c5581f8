# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What control groups allow a process: CPU time and memory, as the tightest limit on the way up to the root.

Both versions and their mixture are read. A systemd unit is a control group, so ``CPUQuota=`` and ``MemoryMax=`` of the
unit and of its slices are among the limits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ansible_collections.llmops.ollama.plugins.module_utils.hardware.files import Files, cpu_list, to_int

# How deep a service's slices are looked for.
SLICES = 3


class Limits(NamedTuple):
    """None means no limit. ``cpus`` in CPUs (1.5 = one and a half), the others in bytes.

    ``memory_free`` is what can be had without taking from anybody, ``memory_most`` with all that files have in memory.
    """

    cpus: float | None = None
    memory: int | None = None
    memory_free: int | None = None
    memory_most: int | None = None


def read_limits(files: Files, pid: str, without: str = "", below: str | None = None) -> Limits:
    """The limits of a process (``self`` or a number), or of what will run in the group ``below`` beside it.

    Memory limits of the group named ``without`` are left out.
    """
    quotas = [quota for place in ancestors(files, pid, "cpu", below) for quota in _quota(files, place)]
    places = ancestors(files, pid, "memory", below)
    places = [place for place in places if not without or not place.endswith(f"/{without}")]
    memory = [limit for place in places for limit in _memory(files, place)]
    return Limits(
        cpus=min(quotas, default=None),
        memory=min((limit for limit, _, _ in memory), default=None),
        memory_free=min((free for _, free, _ in memory), default=None),
        memory_most=min((most for _, _, most in memory), default=None),
    )


def service_pids(files: Files, unit: str) -> list[str]:
    """The processes of a running system service. What they may use is what counts, not what this login may use."""
    for place in ancestors(files, "1", "name=systemd"):
        for depth in range(SLICES + 1):
            for path in files.glob(f"{place}/{'*.slice/' * depth}{unit}/cgroup.procs"):
                processes = files.read(path).split()
                if processes:
                    return processes
    return []


def root_limit(files: Files) -> int | None:
    """The memory limit of the group that the service manager has all others in: a container's own. Bytes."""
    for place in ancestors(files, "1", "memory", below="")[:1]:
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _limit(files.read(f"{place}/{name}"))
            if limit:
                return limit
    return None


def group_cpus(files: Files, below: str) -> frozenset[int]:
    """The CPUs of a group's cpuset, or of the innermost group above it that has one. Empty: unknown."""
    for place in ancestors(files, "1", "cpuset", below):
        cpus = cpu_list(files.read(f"{place}/cpuset.cpus.effective") or files.read(f"{place}/cpuset.cpus"))
        if cpus:
            return cpus
    return frozenset()


def ancestors(files: Files, pid: str, controller: str, below: str | None = None) -> list[str]:
    """The directories of a process's control group and of all groups above it that are visible here, innermost first.

    With ``below`` those of this group below that of the service manager (process 1), which is in ``init.scope``.

    A container often sees only its own subtree mounted while /proc/PID/cgroup still names the path from the host's
    root: the mount's root, from mountinfo, is what to take off. Where that does not fit, the mount itself is the group.
    """
    group = _group(files, pid, controller)
    if not group:
        return []
    version, path = group
    if below is not None:
        path = f"{path.removesuffix('/init.scope').rstrip('/')}/{below}"
    mounts = _mounts(files, controller if version == 1 else None)
    # Of several mounts the last is on top.
    fitting = [(root, top) for root, top in mounts if _is_inside(path, root)]
    if fitting:
        root, top = fitting[-1]
        names = [name for name in path[len(root.rstrip("/")) :].split("/") if name]
    elif mounts:
        top, names = mounts[-1][1], []
    else:
        return []
    places = ["/".join([top, *names[:depth]]) for depth in range(len(names), -1, -1)]
    return [place for place in places if files.exists(place)]


def _group(files: Files, pid: str, controller: str) -> tuple[int, str] | None:
    """Version and path of the process's group: in the version 1 hierarchy of this controller, else in version 2."""
    unified = None
    for line in files.read(f"/proc/{pid}/cgroup").splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        if controller in controllers.split(","):
            return 1, path
        if not controllers:
            unified = 2, path
    return unified


def _mounts(files: Files, controller: str | None) -> list[tuple[str, str]]:
    """Root and mount point of each mount of a version 1 controller's hierarchy; without a controller of version 2's."""
    mounts = []
    for line in files.read("/proc/self/mountinfo").splitlines():
        mount, _, filesystem = line.partition(" - ")
        kind, _, options = filesystem.partition(" ")
        fields, controllers = mount.split(), options.rpartition(" ")[2].split(",")
        if len(fields) > 4 and (kind == "cgroup" and controller in controllers if controller else kind == "cgroup2"):
            mounts.append((fields[3], fields[4]))
    return mounts


def _is_inside(path: str, root: str) -> bool:
    """Whether a mount with this root shows the group. A group outside of our namespace has a path with dots."""
    return ".." not in path and (path == root or path.startswith(root.rstrip("/") + "/"))


def _quota(files: Files, place: str) -> Iterator[float]:
    """The group's CPU bandwidth in CPUs, if limited."""
    fields = files.read(f"{place}/cpu.max").split() or [
        files.read(f"{place}/cpu.cfs_quota_us"),
        files.read(f"{place}/cpu.cfs_period_us"),
    ]
    numbers = [to_int(field) for field in fields]
    if len(numbers) == 2 and numbers[0] and numbers[1] and min(numbers[0], numbers[1]) > 0:
        yield numbers[0] / numbers[1]


def _limit(text: str) -> int | None:
    """A memory limit in bytes; None for ``max``, and for what no group in which something runs can have."""
    limit = to_int(text)
    return limit if limit and limit > 0 else None


def _memory(files: Files, place: str) -> Iterator[tuple[int, int, int]]:
    """The group's memory limits and what is left of each, in bytes: without, and with the files' pages in use."""
    stat = dict(line.split(" ", 1) for line in files.read(f"{place}/memory.stat").splitlines() if " " in line)
    limits = [_limit(files.read(f"{place}/{name}")) for name in ("memory.max", "memory.high", "memory.limit_in_bytes")]
    # Version 1 tells about the groups above the mount, which a container cannot see itself.
    limits.append(_limit(stat.get("hierarchical_memory_limit", "")))
    used = files.integer(f"{place}/memory.current") or files.integer(f"{place}/memory.usage_in_bytes") or 0
    inactive, active = (
        to_int(stat.get(f"total_{name}", stat.get(name, ""))) or 0 for name in ("inactive_file", "active_file")
    )
    for limit in limits:
        if limit is not None:
            free = min(limit, max(0, limit - used + inactive))
            yield limit, free, min(limit, free + active)
