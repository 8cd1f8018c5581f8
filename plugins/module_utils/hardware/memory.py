# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Main memory and swap, and what processes hold of it, in bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from ansible_collections.llmops.ollama.plugins.module_utils.hardware.files import Files, cpu_list, to_int

NODES = "/sys/devices/system/node"
# What the kernel can give to a new process, in /proc/meminfo.
RECLAIMABLE = ("MemFree", "Active(file)", "Inactive(file)", "SReclaimable")


class Memory(NamedTuple):
    """Bytes. ``available`` is the kernel's estimate of what new processes can get without swapping.

    ``reserved`` are the huge pages among ``total`` that the administrator set aside: only programs that ask for such
    pages get them.
    """

    total: int
    available: int
    swap: int
    reserved: int = 0


def read_memory(files: Files) -> Memory:
    """Read /proc/meminfo (its ``kB`` are 1024 bytes)."""
    values = _sizes(files.read("/proc/meminfo"))
    total = values.get("MemTotal", 0)
    # Kernels before 4.19 have no sum over all sizes of pages.
    pages = values.get("HugePages_Total", 0) // 1024 * values.get("Hugepagesize", 0)
    return Memory(
        total=total,
        available=_available(values, total),
        swap=values.get("SwapTotal", 0),
        reserved=0 if _is_lxcfs(files) else values.get("Hugetlb", pages),
    )


def _available(values: dict[str, int], total: int) -> int:
    """The kernel's estimate. Some containers show none, 0 or the host's: then what is free and what files take."""
    estimate = values.get("MemAvailable", 0)
    if 0 < estimate <= total or "MemFree" not in values:
        return min(estimate or total, total)
    return min(total, sum(values.get(name, 0) for name in RECLAIMABLE))


def _is_lxcfs(files: Files) -> bool:
    """Whether lxcfs shows a container's own memory in /proc/meminfo, where huge pages stay the host's."""
    mounts = (line.split() for line in files.read("/proc/self/mountinfo").splitlines())
    return any(fields[4:5] == ["/proc/meminfo"] for fields in mounts)


def node_memory(files: Files, pid: str, allowed: frozenset[int] | None = None) -> int | None:
    """What the NUMA nodes have that a process may take memory of, without the huge pages that are set aside there.

    None where these are all nodes, or where it is unknown. ``allowed`` are those that the files of its unit leave it.
    """
    online = cpu_list(files.read(f"{NODES}/online"))
    lines = (line.partition(":") for line in files.read(f"/proc/{pid}/status").splitlines())
    listed = next((value for name, _, value in lines if name == "Mems_allowed_list"), "")
    usable = (cpu_list(listed) & online) or online
    usable = (usable & (allowed or usable)) or usable
    if usable == online:
        return None
    return sum(_node_total(files, node) - _node_reserved(files, node) for node in usable) or None


def _node_total(files: Files, node: int) -> int:
    text = re.sub(r"(?m)^Node \d+ +", "", files.read(f"{NODES}/node{node}/meminfo"))
    return _sizes(text).get("MemTotal", 0)


def _node_reserved(files: Files, node: int) -> int:
    """The huge pages of all sizes on one node."""
    sizes = files.glob(f"{NODES}/node{node}/hugepages/hugepages-*kB")
    return sum(
        1024 * int(path.rpartition("-")[2][:-2]) * (files.integer(f"{path}/nr_hugepages") or 0) for path in sizes
    )


def _sizes(text: str) -> dict[str, int]:
    """Name to bytes of lines as in /proc/meminfo."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: 1024 * max(0, to_int(value.replace("kB", "").strip()) or 0) for name, _, value in pairs}


def held(files: Files, pids: Iterable[str]) -> int:
    """Memory of processes that the kernel cannot get back by dropping pages of files."""
    return sum(
        1024 * (to_int(value.replace("kB", "").strip()) or 0)
        for pid in pids
        for name, _, value in (line.partition(":") for line in files.read(f"/proc/{pid}/status").splitlines())
        if name in ("RssAnon", "RssShmem")
    )
