# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Root file systems made from Debian packages, through whatever mirror this machine is configured for."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .steps import Step, run


def machine_mirror() -> str | None:
    """The mirror that apt uses on this machine, or None where it is not Debian: then the tool's default serves."""
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
    step: Step, suite: str, target: Path, packages: Sequence[str], *, variant: str, options: Sequence[str] = ()
) -> None:
    """Install (``variant`` minbase) or only unpack (extract) packages and what they need into a .tar file."""
    mode = "root" if os.geteuid() == 0 else "unshare"
    command = ["mmdebstrap", f"--mode={mode}", f"--variant={variant}", f"--include={','.join(packages)}"]
    command += [f"--aptopt={option}" for option in options]
    command += [suite, str(target)]
    mirror = machine_mirror()
    command += [mirror] if mirror else []

    def line(text: str) -> None:
        if text.startswith("I: ") and "tempdir" not in text:
            step.say(text.removeprefix("I: ").rstrip("."))

    run(command, line=line)


def unpacked_root(step: Step, suite: str, target: Path, packages: Sequence[str]) -> None:
    """Unpack packages and what they need into a folder, to take files out of it; nothing in it is set up."""
    archive = target.with_suffix(".tar")
    # A testing suite may come from a mirror that is a little behind; its signature is checked all the same.
    make_root(step, suite, archive, packages, variant="extract", options=["Acquire::Check-Valid-Until false"])
    target.mkdir()
    run(["tar", "--no-same-owner", "--exclude=./dev", "-xf", archive, "-C", target])
    archive.unlink()
