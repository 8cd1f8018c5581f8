# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Root file systems made from Debian packages, through whatever mirror this machine is configured for."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .steps import Step, run


def machine_mirror() -> str | None:
    """The mirror that apt uses on this machine, or None where the machine is not Debian (then the tool's default is used)."""
    try:
        if platform.freedesktop_os_release().get("ID") != "debian":
            return None
        targets = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(CREATED_BY) $(ORIGIN) $(CODENAME) $(REPO_URI)"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return mirror_from(targets, platform.freedesktop_os_release().get("VERSION_CODENAME", ""))


def mirror_from(targets: str, codename: str) -> str | None:
    """Pick the address of Debian's main archive from apt's list of index files."""
    for line in targets.splitlines():
        kind, origin, release, address = (line.split(" ") + [""] * 4)[:4]
        if kind == "Packages" and origin == "Debian" and release == codename and address:
            return address
    return None


def make_root(
    step: Step, suite: str, target: Path, packages: Sequence[str], *, variant: str, expired: bool = False
) -> None:
    """Install (``variant`` minbase) or only unpack (extract) packages and what they need into a folder or .tar file."""
    command = ["mmdebstrap", "--mode=root", f"--variant={variant}", f"--include={','.join(packages)}"]
    # A testing suite from a mirror that is a little behind: its signature is checked all the same.
    command += ["--aptopt=Acquire::Check-Valid-Until false"] if expired else []
    command += [suite, str(target)]
    mirror = machine_mirror()
    command += [mirror] if mirror else []

    def line(text: str) -> None:
        if text.startswith("I: ") and "tempdir" not in text:
            step.say(text.removeprefix("I: ").rstrip("."))

    run(command, line=line)
