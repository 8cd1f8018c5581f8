# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Can this host run Ollama as a service? Everything that stands against it, at once.

Only the standard library is used: this runs before anything is installed on the host.
"""

from __future__ import annotations

import os
import platform
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The oldest supported release of each distribution that others derive from.
OLDEST = {"debian": (12,), "ubuntu": (22, 4)}
# A derivative has version numbers of its own and says by code name which release it is built on.
CODENAMES = {
    "bookworm": ("debian", "12"),
    "trixie": ("debian", "13"),
    "forky": ("debian", "14"),
    "jammy": ("ubuntu", "22.04"),
    "noble": ("ubuntu", "24.04"),
    "questing": ("ubuntu", "25.10"),
    "resolute": ("ubuntu", "26.04"),
}
ARCHITECTURES = ("x86_64", "aarch64")
OLDEST_PYTHON = (3, 9)
MIB = 1024 * 1024


@dataclass(frozen=True)
class Disk:
    """Room for ``path``, which need not exist yet: ``at`` is the nearest folder that does. In MiB."""

    path: str
    at: str
    free_mb: int
    min_mb: int


@dataclass(frozen=True)
class Host:
    """What the checks look at.

    ``os`` and ``os_version`` are those of the distribution that this one derives from (Mint 22 is ``ubuntu`` 24.04),
    empty where that cannot be told; ``os_name`` is what the host calls itself.
    """

    os: str
    os_version: str
    os_name: str
    systemd: bool
    architecture: str
    python: tuple[int, ...]
    root: bool
    disk: tuple[Disk, ...]


@dataclass(frozen=True)
class Problem:
    """One reason why the host will not do, with the value that was found."""

    check: str
    problem: str
    remedy: str


def look(requests: Sequence[Mapping[str, Any]] = (), root: str = "/") -> Host:
    """Gather the facts. ``requests`` have ``path`` and ``min_mb``; ``root`` is where the host's files are."""
    base = Path(root)
    release = _os_release(base)
    name, version = distribution(release)
    return Host(
        os=name,
        os_version=version,
        os_name=release.get("PRETTY_NAME") or "an unknown system",
        systemd=(base / "run/systemd/system").is_dir(),
        architecture=platform.machine(),
        python=tuple(sys.version_info[:3]),
        root=os.geteuid() == 0,
        disk=tuple(_disk(base, str(request["path"]), int(request["min_mb"])) for request in requests),
    )


def parse_os_release(text: str) -> dict[str, str]:
    """The variables of an os-release file."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.lstrip().startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, value in pairs}


def distribution(release: Mapping[str, str]) -> tuple[str, str]:
    """Name and version of the supported distribution that a host runs or derives from; empty where there is none."""
    name, version = release.get("ID", ""), release.get("VERSION_ID", "")
    if name in OLDEST and version:
        return name, version
    if name not in OLDEST and not set(release.get("ID_LIKE", "").split()) & set(OLDEST):
        return "", ""
    for key in ("UBUNTU_CODENAME", "DEBIAN_CODENAME", "VERSION_CODENAME"):
        if release.get(key) in CODENAMES:
            return CODENAMES[release[key]]
    return "", ""


def problems(host: Host) -> list[Problem]:
    """Everything that stands against the host; empty for one that will do."""
    found = []
    if not host.os or _numbers(host.os_version) < OLDEST[host.os]:
        found.append(
            Problem(
                "os",
                f"The operating system is {host.os_name}.",
                "Use Debian 12 or newer, Ubuntu 22.04 or newer, or a system derived from one of these.",
            )
        )
    if not host.systemd:
        found.append(
            Problem(
                "systemd",
                "systemd does not manage this host (/run/systemd/system is missing).",
                "Boot the host, or the container, with systemd as process 1.",
            )
        )
    if host.architecture not in ARCHITECTURES:
        found.append(
            Problem(
                "architecture",
                f"The architecture is {host.architecture}.",
                f"Ollama is released for {' and '.join(ARCHITECTURES)} only.",
            )
        )
    if host.python[:2] < OLDEST_PYTHON:
        found.append(
            Problem(
                "python",
                f"Python is {'.'.join(map(str, host.python))}.",
                f"Set ansible_python_interpreter to {'.'.join(map(str, OLDEST_PYTHON))} or newer.",
            )
        )
    if not host.root:
        found.append(Problem("root", "This does not run as root.", "Use become: true."))
    found += [
        Problem(
            "disk",
            f"{disk.path} has {disk.free_mb} MiB free (on the file system of {disk.at}), {disk.min_mb} are needed.",
            "Make room there, or choose another path.",
        )
        for disk in host.disk
        if disk.free_mb < disk.min_mb
    ]
    return found


def message(found: Sequence[Problem]) -> tuple[str, str]:
    """Problem and remedy in the form of an ``OllamaError``, each problem with its own remedy."""
    lines = " ".join(f"({number}) {entry.problem} {entry.remedy}" for number, entry in enumerate(found, 1))
    return f"This host cannot run Ollama yet: {lines}", "Nothing was changed."


def foreign(store: str, user: str) -> list[str]:
    """Those of the two parts of a model store, behind links, that have a folder in which the user may not write.

    Their files are not looked at, which may be many: who gave the folders away, gave these away as well.
    """
    try:
        account = pwd.getpwnam(user)
    except KeyError:  # it is yet to be made
        uid, groups = -1, []
    else:
        uid, groups = account.pw_uid, os.getgrouplist(user, account.pw_gid)

    def writes(status: os.stat_result) -> bool:
        shared = status.st_mode & stat.S_IWGRP and status.st_gid in groups
        return bool(status.st_uid == uid or shared or status.st_mode & stat.S_IWOTH)

    found = []
    for part in (Path(store, "blobs"), Path(store, "manifests")):
        folders = (Path(folder) for folder, _, _ in os.walk(part))
        # One that was mounted to be read only is to stay as it is.
        if any(not writes(each.stat()) and not os.statvfs(each).f_flag & os.ST_RDONLY for each in folders):
            found.append(str(part.resolve()))
    return found


def missing_packages(names: Sequence[str], query: Callable[[Sequence[str]], str] | None = None) -> list[str]:
    """Those of the Debian packages that are not installed, in the order given."""
    if not names:
        return []
    installed = {
        line.split()[0] for line in (query or _query_packages)(names).splitlines() if line.split()[1:] == ["installed"]
    }
    return [name for name in names if name not in installed]


def _query_packages(names: Sequence[str]) -> str:
    # Packages that dpkg never heard of make it exit with 1 and are not in its output: they are missing, too.
    command = ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\\n", *names]
    try:
        return subprocess.run(  # a fixed command, without a shell
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False
        ).stdout
    except OSError:
        return ""


def _os_release(base: Path) -> dict[str, str]:
    for place in ("etc/os-release", "usr/lib/os-release"):
        try:
            return parse_os_release((base / place).read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
    return {}


def _disk(base: Path, path: str, min_mb: int) -> Disk:
    place = base / path.lstrip("/")
    while not place.is_dir() and place != base:
        place = place.parent
    return Disk(path, "/" + str(place.relative_to(base)).strip("."), shutil.disk_usage(place).free // MIB, min_mb)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())
