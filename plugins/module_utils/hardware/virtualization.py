# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether the host is a container or a virtual machine, in the words of ``systemd-detect-virt``."""

from __future__ import annotations

from ansible_collections.llmops.ollama.plugins.module_utils.hardware.files import Files

CONTAINER_MARKS = (
    ("/run/secrets/kubernetes.io", "kubernetes"),
    ("/run/.containerenv", "podman"),
    ("/.dockerenv", "docker"),
    ("/dev/lxd", "lxc"),
    ("/dev/.lxc", "lxc"),
)

# The first of these in the firmware's vendor and product names decides.
MACHINE_MARKS = (
    ("Amazon EC2", "amazon"),
    ("Google", "google"),
    ("VMware", "vmware"),
    ("VirtualBox", "oracle"),
    ("Virtual Machine", "microsoft"),
    ("Xen", "xen"),
    ("QEMU", "kvm"),
    ("KVM", "kvm"),
)


# In the release of the kernel that Windows runs Linux on.
WSL_MARKS = ("microsoft", "wsl")


def is_container(virtualization: str) -> bool:
    """Whether what is seen shares one kernel with others, and all of it one set of limits."""
    return virtualization not in ("none", "wsl", "vm-other", *(name for _, name in MACHINE_MARKS))


def read_virtualization(files: Files) -> str:
    """For example ``none``, ``podman``, ``lxc``, ``kvm``, ``wsl``; ``vm-other`` for an unknown hypervisor."""
    named = files.read("/run/systemd/container")
    if named:
        return named
    for path, name in CONTAINER_MARKS:
        if files.exists(path):
            return name
    release = files.read("/proc/sys/kernel/osrelease").lower()
    if any(mark in release for mark in WSL_MARKS):
        return "wsl"
    processor = files.read("/proc/cpuinfo")
    if "flags" in processor and " hypervisor" not in processor:
        # x86 tells by itself; the firmware of a cloud's bare-metal machine carries the cloud's name too.
        return "none"
    firmware = f"{files.read('/sys/class/dmi/id/sys_vendor')} {files.read('/sys/class/dmi/id/product_name')}"
    for mark, name in MACHINE_MARKS:
        if mark in firmware:
            return name
    return "vm-other" if " hypervisor" in processor else "none"
