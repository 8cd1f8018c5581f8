# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Container images that boot systemd like a freshly installed host."""

from __future__ import annotations

import hashlib
import subprocess

from .cache import Cache
from .debian import make_root
from .steps import Steps, run

# Debian release -> suite.
SUITES = {"12": "bookworm", "13": "trixie"}

# A minimal server as a cloud image has it; everything else is for the roles to install.
PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "python3",
    "python3-apt",
    "ca-certificates",
    "iproute2",
    "procps",
    "sudo",
    "openssh-server",
)
RECIPE = 1  # raise when an image is made differently from the same packages


def name(release: str) -> str:
    """Name and tag of the image of that Debian release; the tag changes with what is in the image."""
    content = hashlib.sha256(repr((RECIPE, SUITES[release], PACKAGES)).encode()).hexdigest()[:8]
    return f"localhost/llmops-debian:{release}-{content}"


def exists(image: str) -> bool:
    """Whether podman has the image."""
    return subprocess.run(["podman", "image", "exists", image], capture_output=True, check=False).returncode == 0


def ensure(steps: Steps, cache: Cache, release: str) -> str:
    """Make the image of that Debian release where it is missing; return its name."""
    image = name(release)
    if exists(image):
        return image
    with cache.lock(f"image-{release}"):
        if exists(image):
            return image
        with steps.step(f"image Debian {release}") as step, cache.scratch() as scratch:
            archive = scratch / "root.tar"
            make_root(step, SUITES[release], archive, PACKAGES, variant="minbase")
            step.say("importing into podman")
            # Logins come through `podman exec … sshd -i`: nothing has to listen.
            run(["podman", "import", "--change", "CMD /sbin/init", archive, image])
    return image


def forget() -> None:
    """Remove every image that the lab made, of this and of former recipes, unless a container uses it."""
    found = run(["podman", "images", "--format", "{{.Repository}}:{{.Tag}}", "localhost/llmops-debian"]).split()
    for image in found:
        subprocess.run(["podman", "rmi", image], capture_output=True, check=False)
