# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the files of the service's unit and of its slices say: the operator's limits, and what the last tuning wrote.

Before the first start there is no control group that shows the operator's limits. Later it shows them and the tuning's
as one number: without telling these apart, each run would take the memory limit of the run before for the host's and
tune for a little less.

Source: systemd.unit(5) for the order of files, systemd.resource-control(5) for the sizes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import UNIT_LIMITS
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.files import Files, cpu_list

SERVICE = "ollama.service"
# The drop-in that the role writes the tuned values into.
TUNED = "50-tuning.conf"
TUNED_PATH = f"/etc/systemd/system/{SERVICE}.d/{TUNED}"
# Beside it: the policy that these follow from.
TUNED_POLICY = TUNED_PATH.replace(".conf", ".policy")

# From the highest precedence to the lowest; `systemctl set-property` writes into the first two.
FOLDERS = (
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
DEFAULT_SLICE = "system.slice"
ROOT_SLICE = "-.slice"
MANAGED = "# Managed by llmops.ollama"
# Settings of systemd.resource-control(5), and those that say how much a process may have.
_RESOURCES = re.compile(r"CPU|Memory|IO|Tasks|Allowed|Startup|Slice$|Nice$|Limit")
_VARIABLE = re.compile(r"(?:^|\s)[\"']?([A-Za-z_]\w*)=")
LISTS = ("AllowedCPUs", "CPUAffinity", "AllowedMemoryNodes")
_UNITS = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}


@dataclass(frozen=True)
class OwnLimits:
    """What files of units limit: bytes, CPUs (1.5 = one and a half) and CPU numbers; None means no limit.

    ``allowed`` are CPUs and ``nodes`` NUMA nodes of control groups; ``affinity`` are CPUs that the service's process
    is put on, whatever the service manager's own are. ``slice`` is where they put the service, below the limits of
    others. ``directives`` are the memory limits that they set for the service itself.
    """

    memory: int | None = None
    cpus: float | None = None
    allowed: frozenset[int] | None = None
    nodes: frozenset[int] | None = None
    affinity: frozenset[int] | None = None
    slice: str = DEFAULT_SLICE
    directives: tuple[str, ...] = ()

    def within(self, other: OwnLimits) -> OwnLimits:
        """The tighter of both for each kind, of which those CPUs and nodes are left that both allow."""
        return replace(
            self,
            memory=min((each.memory for each in (self, other) if each.memory is not None), default=None),
            cpus=min((each.cpus for each in (self, other) if each.cpus is not None), default=None),
            allowed=_both(self.allowed, other.allowed),
            nodes=_both(self.nodes, other.nodes),
        )


def _both(one: frozenset[int] | None, other: frozenset[int] | None) -> frozenset[int] | None:
    return one & other if one and other else one or other


def own_limits(files: Files, memory: int, unit: str = SERVICE) -> OwnLimits:
    """The tightest limits in the files of the unit and of its slices that the tuning did not write.

    ``memory`` is what systemd takes for the host's in bytes, of which a limit may be a percentage. It makes the group
    of a slice only when something runs in it: before that its files are all there is.
    """
    own = _limits(files, memory, unit)
    for name in slices(own.slice):
        own = own.within(_limits(files, memory, name))
    return own


def slices(name: str) -> list[str]:
    """A slice and those that it is in, outermost first: ``a-b.slice`` is in ``a.slice``; ``-.slice`` holds all."""
    parts = name.removesuffix(".slice").split("-") if name != ROOT_SLICE else []
    return [f"{'-'.join(parts[: number + 1])}.slice" for number in range(len(parts))]


def _limits(files: Files, memory: int, unit: str) -> OwnLimits:
    """What the files of one unit limit."""
    sizes: dict[str, int | None] = {}
    quota: float | None = None
    lists: dict[str, frozenset[int]] = {}
    place = ""
    for path in _paths(files, unit):
        for name, value in _assignments(files.read(path)):
            if name in UNIT_LIMITS:
                sizes[name] = parse_size(value, memory)
            elif name == "CPUQuota":
                quota = parse_quota(value)
            elif name == "Slice":
                place = value
            elif name in LISTS:
                # Lists add up; an empty one takes back what was before.
                lists[name] = lists.get(name, frozenset()) | cpu_list(value.replace(" ", ",")) if value else frozenset()
    return OwnLimits(
        memory=min((size for size in sizes.values() if size is not None), default=None),
        cpus=quota,
        allowed=lists.get("AllowedCPUs") or None,
        nodes=lists.get("AllowedMemoryNodes") or None,
        affinity=lists.get("CPUAffinity") or None,
        slice=place or DEFAULT_SLICE,
        directives=tuple(sizes),
    )


@dataclass(frozen=True)
class Foreign:
    """A unit file of somebody else's that the role replaces: its resource settings, and the names of its variables.

    ``variable_files`` are those that it reads more variables from.
    """

    path: str
    settings: tuple[str, ...]
    variables: tuple[str, ...]
    variable_files: tuple[str, ...] = ()


def foreign_unit(files: Files, unit: str = SERVICE) -> Foreign | None:
    """The unit file that counts now, where this collection did not write it."""
    path = next((path for path in (f"{folder}/{unit}" for folder in FOLDERS) if files.exists(path)), None)
    text = files.read(path) if path else ""
    if not path or MANAGED in text:
        return None
    assigned = [*_assignments(text)]
    variables = [name for key, value in assigned if key == "Environment" for name in _VARIABLE.findall(value)]
    return Foreign(
        path,
        tuple(f"{name}={value}" for name, value in assigned if _RESOURCES.match(name)),
        tuple(dict.fromkeys(name for name in variables if name not in ("PATH", "HOME"))),
        tuple(value.lstrip("-") for key, value in assigned if key == "EnvironmentFile" and value),
    )


def read_tuned(files: Files, path: str = TUNED_PATH) -> dict[str, str]:
    """What the last tuning wrote: directives and environment variables, name to text. Empty before the first.

    ``Policy`` identifies the policy that it followed.
    """
    policy = files.read(TUNED_POLICY)
    values = {"Policy": policy} if policy else {}
    for name, value in _assignments(files.read(path)):
        variable = re.fullmatch(r'"?([A-Za-z_]\w*)=(.*?)"?', value) if name == "Environment" else None
        if variable:
            values[variable[1]] = re.sub(r"\\(.)", r"\1", variable[2]).replace("%%", "%")
        else:
            values[name] = value
    return values


def parse_size(text: str, memory: int) -> int | None:
    """Bytes of ``512M``, ``1.5G``, ``40%`` (of ``memory``); None for ``infinity``, nothing, and what is no size."""
    match = re.fullmatch(r"([0-9]{1,19}(?:\.[0-9]{1,19})?)\s*([BKMGTP%]?)", text.strip())
    if not match:
        return None
    number, unit = float(match.group(1)), match.group(2)
    return int(number * memory / 100) if unit == "%" else int(number * _UNITS[unit])


def parse_quota(text: str) -> float | None:
    """CPUs of ``150%``; None for nothing, and what is no share of a CPU."""
    match = re.fullmatch(r"([0-9]{1,19}(?:\.[0-9]{1,19})?)%", text.strip())
    return (float(match.group(1)) / 100 or None) if match else None


def _paths(files: Files, unit: str) -> Iterator[str]:
    """The unit's file and its drop-ins in the order in which they are read: what is read later wins."""
    yield from [path for path in (f"{folder}/{unit}" for folder in FOLDERS) if files.exists(path)][:1]
    drop_ins: dict[str, str] = {}
    for owner in _owners(unit):
        for folder in FOLDERS:
            for path in files.glob(f"{folder}/{owner}.d/*.conf"):
                drop_ins.setdefault(path.rpartition("/")[2], path)
    yield from (drop_ins[name] for name in sorted(drop_ins) if name != TUNED)


def _owners(unit: str) -> Iterator[str]:
    """Whose drop-ins a unit has, from the highest precedence on: its own, those of its prefixes and of its kind."""
    yield unit
    name, _, kind = unit.rpartition(".")
    parts = name.split("-")
    yield from (f"{'-'.join(parts[:count])}-.{kind}" for count in range(len(parts) - 1, 0, -1))
    yield kind


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    """The settings of a unit's file, in its order; a line that ends in a backslash goes on behind the comments."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(("#", ";"))]
    for line in re.sub(r"\\(\n|$)", " ", "\n".join(lines)).splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.lstrip().startswith("["):
            yield name.strip(), value.strip()
