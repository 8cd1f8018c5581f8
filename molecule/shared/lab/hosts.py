# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The fleets of the lab, as data: a further scenario names another fleet or adds one here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Host:
    """One host of a fleet."""

    name: str
    debian: str  # release
    groups: tuple[str, ...]
    cpus: float | None = None  # quota in cores
    memory: str | None = None  # limit, as podman reads it (4g)
    spare_cpus: int = 0  # of this machine's first CPUs stay for other hosts: hosts that share them slow each other down
    gateway: bool = False  # its port 8080 is published on this machine
    mirror: bool = False  # gets the cache's releases and models where substitutes are used


def small_memory(cpuinfo: str) -> str:
    """Memory that the lab's model just fits into; on some processors it is in memory twice (docs/memory-model.md)."""
    twice = re.search(r"^(flags|Features)\b.*\b(amx_int8|asimddp)\b", cpuinfo, re.MULTILINE)
    return "896m" if twice else "704m"


DEFAULT = (
    Host("ollama1", "12", ("ollama",), cpus=1, memory="4g"),
    Host("ollama2", "13", ("ollama",), spare_cpus=1),
    Host("edge", "12", ("gateway",), gateway=True, mirror=True),
)

FLEETS: dict[str, tuple[Host, ...]] = {
    "default": DEFAULT,
    # One server with all that this machine has, for benchmarks.
    "single": (Host("ollama1", "12", ("ollama",)), Host("edge", "12", ("gateway",), gateway=True, mirror=True)),
    # What the scenarios need beside the default: a host that an untuned server soon fills.
    "molecule": (*DEFAULT, Host("small", "12", ("limited",), memory=small_memory(Path("/proc/cpuinfo").read_text()))),
}

# Releases of the engine that a fleet's mirror has beside the current one.
OLDER_ENGINES: dict[str, tuple[str, ...]] = {"molecule": ("0.24.0",)}
