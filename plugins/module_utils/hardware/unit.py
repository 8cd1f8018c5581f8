# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the files of the service's unit and of its slices say: the operator's limits, and what the last tuning wrote.

Before the first start there is no control group that shows the operator's limits. Later it shows them and the tuning's
as one number: without telling these apart, each run would take the memory limit of the run before for the host's and
tune for a little less.

Source: systemd.unit(5) for the order of files, systemd.resource-control(5) and systemd.exec(5) for the settings. What
is no value of a setting changes nothing, as for systemd.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import UNIT_LIMITS
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.files import Files, cpu_list
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.memory import NODES

SERVICE = "ollama.service"
# The drop-in that the role writes the tuned values into.
TUNED = "50-tuning.conf"
TUNED_PATH = f"/etc/systemd/system/{SERVICE}.d/{TUNED}"
# Beside it: what these follow from.
TUNED_BASIS = TUNED_PATH.replace(".conf", ".basis")

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
_RESOURCES = re.compile(r"CPU|NUMA|Memory|IO|Tasks|Allowed|Startup|Slice$|Nice$|Limit")
_SLICE = re.compile(r"[A-Za-z0-9:_.\\%-]+\.slice")
_VARIABLE = re.compile(r"(?:^|\s)[\"']?([A-Za-z_]\w*)=")
LISTS = ("AllowedCPUs", "CPUAffinity", "AllowedMemoryNodes", "NUMAMask")
BIND = "bind"
NUMA_POLICIES = ("", "default", "preferred", BIND, "interleave", "local")
_UNITS = {"E": 1 << 60, "P": 1 << 50, "T": 1 << 40, "G": 1 << 30, "M": 1 << 20, "K": 1 << 10, "B": 1, "": 1}
# Parts from the largest unit to the smallest, which add up.
_SIZE = re.compile("".join(rf"(?:\s*([0-9]{{1,19}}(?:\.[0-9]*)?)\s*{unit})?" for unit in _UNITS))
_SHARE = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,2})?)%")
_MOST = 1 << 64


class OwnLimits(NamedTuple):
    """What files of units limit: bytes, CPUs (1.5 = one and a half) and numbers of CPUs and nodes; None: no limit.

    ``allowed`` are CPUs of control groups; ``affinity`` are CPUs that the service's process is put on, whatever the
    service manager's own are. ``nodes`` are the NUMA nodes that memory has to come from. ``slice`` is where they put
    the service, below the limits of others. ``directives`` are the memory limits that they set for the service itself.
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
        return self._replace(
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
    place = policy = ""
    by_mask = False
    for path in _paths(files, unit):
        for name, value in _assignments(files.read(path)):
            if name in UNIT_LIMITS:
                size = parse_size(value, memory)
                if size or value in ("", "infinity"):
                    sizes[name] = size
            elif name == "CPUQuota":
                quota = parse_quota(value) or (quota if value else None)
            elif name == "Slice" and (not value or _SLICE.fullmatch(value)):
                place = value
            elif name == "NUMAPolicy" and value in NUMA_POLICIES:
                policy = value
            elif (name, value) == ("CPUAffinity", "numa"):
                by_mask, lists[name] = True, frozenset()
            elif name in LISTS:
                numbers = _numbers(files, name, value)
                if numbers is not None:
                    # Lists add up; an empty one takes back what was before.
                    lists[name] = lists.get(name, frozenset()) | numbers if numbers else frozenset()
                    by_mask = by_mask and name != "CPUAffinity"
    mask = lists.get("NUMAMask", frozenset())
    affinity = _node_cpus(files, mask) if by_mask else lists.get("CPUAffinity")
    return OwnLimits(
        memory=min((size for size in sizes.values() if size is not None), default=None),
        cpus=quota,
        allowed=lists.get("AllowedCPUs") or None,
        nodes=_both(lists.get("AllowedMemoryNodes"), mask if policy == BIND else None) or None,
        affinity=affinity or None,
        slice=place or DEFAULT_SLICE,
        directives=tuple(sizes),
    )


def _numbers(files: Files, name: str, value: str) -> frozenset[int] | None:
    """The numbers in a list such as ``0-3,8 10``; None for what is no list."""
    if (name, value) == ("NUMAMask", "all"):
        return cpu_list(files.read(f"{NODES}/online"))
    parts = [part for part in re.split(r"[\s,]+", value) if part]
    return cpu_list(",".join(parts)) if all(map(cpu_list, parts)) else None


def _node_cpus(files: Files, nodes: frozenset[int]) -> frozenset[int]:
    """The CPUs of NUMA nodes."""
    return cpu_list(",".join(files.read(f"{NODES}/node{node}/cpulist") for node in nodes))


class Foreign(NamedTuple):
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


def last_words(files: Files, paths: Iterable[str]) -> dict[str, str]:
    """Which of a unit's files decides each directive and each variable that they set, by its name.

    ``paths`` in the order in which they are read, with those that hold nothing but variables.
    """
    last: dict[str, str] = {}
    variables: set[str] = set()
    for path in paths:
        for name, value in _assignments(files.read(path)):
            if name == "Environment":
                variables.update(_VARIABLE.findall(value))
                # An empty one takes back all before it.
                last.update(dict.fromkeys(_VARIABLE.findall(value) if value else variables, path))
            else:
                last[name] = path
    return last


def read_tuned(files: Files, path: str = TUNED_PATH) -> dict[str, str]:
    """What the last tuning wrote: directives, environment variables and its basis, name to text. Empty before it."""
    values = dict(_assignments(files.read(TUNED_BASIS)))
    for name, value in _assignments(files.read(path)):
        variable = re.fullmatch(r'"?([A-Za-z_]\w*)=(.*?)"?', value) if name == "Environment" else None
        if variable:
            values[variable[1]] = re.sub(r"\\(.)", r"\1", variable[2]).replace("%%", "%")
        else:
            values[name] = value
    return values


def parse_size(text: str, memory: int) -> int | None:
    """Bytes of ``512M``, ``1.5G``, ``4G 512M``, ``40%`` (of ``memory``); None for ``infinity`` and what is no limit."""
    share, match = _SHARE.fullmatch(text), _SIZE.fullmatch(text)
    if share:
        size = int(float(share[1]) * memory / 100) if float(share[1]) <= 100 else 0
    else:
        parts = zip(match.groups(), _UNITS.values()) if match else ()
        size = sum(int(float(number) * unit) for number, unit in parts if number)
    return size if 0 < size < _MOST else None


def parse_quota(text: str) -> float | None:
    """CPUs of ``150%``; None for nothing, and what is no share of a CPU."""
    share = _SHARE.fullmatch(text)
    return (float(share[1]) / 100 or None) if share else None


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
