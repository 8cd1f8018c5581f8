# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Main memory and swap, and what processes hold of it, in bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ansible_collections.llmops.ollama.plugins.module_utils.hardware.files import Files, to_int


@dataclass(frozen=True)
class Memory:
    """Bytes. ``available`` is the kernel's estimate of what new processes can get without swapping."""

    total: int
    available: int
    swap: int


def read_memory(files: Files) -> Memory:
    """Read /proc/meminfo (its ``kB`` are 1024 bytes)."""
    values = {}
    for line in files.read("/proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        values[name] = 1024 * (to_int(value.replace("kB", "").strip()) or 0)
    total = values.get("MemTotal", 0)
    return Memory(total=total, available=values.get("MemAvailable", total), swap=values.get("SwapTotal", 0))


def held(files: Files, pids: Iterable[str]) -> int:
    """Memory of processes that the kernel cannot get back by dropping pages of files."""
    return sum(
        1024 * (to_int(value.replace("kB", "").strip()) or 0)
        for pid in pids
        for name, _, value in (line.partition(":") for line in files.read(f"/proc/{pid}/status").splitlines())
        if name in ("RssAnon", "RssShmem")
    )
