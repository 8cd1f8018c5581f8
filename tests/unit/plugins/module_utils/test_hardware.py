# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hosts recorded or rebuilt as files, with expectations written by hand; bad descriptions; the live host."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from ansible_collections.llmops.ollama.plugins.module_utils.engine import Engine
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput, OllamaError
from ansible_collections.llmops.ollama.plugins.module_utils.hardware import gpu
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.cgroup import read_limits, service_pids
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import Gpu, Hardware, visible_gpus
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.files import Files, cpu_list
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.probe import probe
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.unit import slices
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.virtualization import read_virtualization
from ansible_collections.llmops.ollama.plugins.module_utils.policy import Policy
from ansible_collections.llmops.ollama.plugins.module_utils.tuning import Intent, recommend
from hypothesis import given
from hypothesis import strategies as st

HOSTS = sorted((Path(__file__).resolve().parents[2] / "fixtures/hosts").glob("*.yml"))


def write(root: Path, path: str, text: str) -> None:
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")


def write_topology(root: Path, package: int, first: int, cores: int, step: int = 1, sibling: int | None = None) -> None:
    """The kernel's files of some cores from CPU ``first`` on; ``sibling`` is the distance of the second thread."""
    for core in range(first, first + cores * step, step):
        cpus = [core] if sibling is None else [core, core + sibling]
        shared = f"{cpus[0]}-{cpus[1]}" if sibling == 1 else ",".join(map(str, cpus))
        for cpu in cpus:
            topology = f"/sys/devices/system/cpu/cpu{cpu}/topology"
            write(root, f"{topology}/core_cpus_list", f"{shared}\n")
            write(root, f"{topology}/physical_package_id", f"{package}\n")


def build(root: Path, host: dict[str, Any]) -> Callable[[Sequence[str]], str | None]:
    """Write a host's files below ``root``; returns what runs its commands."""
    for cores in host.get("topology", []):
        write_topology(root, **cores)
    for path, text in host["files"].items():
        write(root, path, text)
    commands = host.get("commands", {})

    def run(command: Sequence[str]) -> str | None:
        assert command[0] == "nvidia-smi"
        assert commands or "/dev/nvidia0" in host["files"], "a tool was started for a device that is not there"
        return next((output for argument, output in commands.items() if argument in command), None)

    return run


@pytest.mark.parametrize("path", HOSTS, ids=lambda path: path.stem)
def test_probe_reads_the_host(path: Path, tmp_path: Path) -> None:
    host = yaml.safe_load(path.read_text(encoding="utf-8"))
    hardware = probe(str(tmp_path), run=build(tmp_path, host))
    values = hardware.to_dict()
    assert {key: values[key] for key in host["hardware"]} == host["hardware"]
    assert Hardware.describe(values) == hardware, "facts can be given back as a description"

    expected = host["tuning"]
    tuning = recommend(hardware, Policy.load(), Intent.make())
    found = {each.key: each.value for each in tuning.recommendations}
    assert (tuning.profile, found["parallel"], found["threads"], found["num_gpu"]) == (
        expected["profile"],
        expected["parallel"],
        expected["threads"],
        expected.get("num_gpu", 0),
    )


# What makes numbers of a host that no user would write.
ODD = {
    "a little of a CPU": {"/etc/systemd/system/ollama.service.d/10-site.conf": "[Service]\nCPUQuota=0.5%\n"},
    "hardly any memory": {"/proc/meminfo": "MemTotal: 131072 kB\nMemAvailable: 65536 kB\nSwapTotal: 0 kB"},
    "all of it set aside": {"/proc/meminfo": "MemTotal: 8388608 kB\nHugetlb: 9000000 kB\nSwapTotal: 0 kB"},
    "endless swap": {"/proc/meminfo": "MemTotal: 8388608 kB\nSwapTotal: 18446744073709551612 kB"},
    "nothing below 0": {"/proc/meminfo": "MemTotal: 8388608 kB\nMemFree: -1 kB\nSwapTotal: -1 kB"},
    "negative limits": {"/sys/fs/cgroup/memory.max": "-1", "/sys/fs/cgroup/cpu.max": "100000 -1"},
    "a small AMD card": {
        "/dev/kfd": "",
        "/dev/dri/renderD128": "",
        "/sys/class/drm/card0/device/vendor": "0x1002",
        "/sys/class/drm/card0/device/mem_info_vram_total": str(64 << 20),
    },
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
@pytest.mark.parametrize("path", HOSTS, ids=lambda path: path.stem)
def test_what_is_found_can_be_given_back(path: Path, odd: dict[str, str], tmp_path: Path) -> None:
    host = yaml.safe_load(path.read_text(encoding="utf-8"))
    run = build(tmp_path, {**host, "files": {**host["files"], **odd}})
    hardware = probe(str(tmp_path), run=lambda command: run(command) if command[0] == "nvidia-smi" else None)
    assert Hardware.describe(hardware.to_dict()) == hardware


def test_a_file_system_without_end_can_be_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1 << 63, 0, 1 << 63))
    hardware = probe(models_path="/")
    assert hardware.disk_mb == hardware.disk_free_mb == 1 << 36
    assert Hardware.describe(hardware.to_dict()) == hardware


def test_more_cpus_than_a_user_may_mean_can_be_given_back(tmp_path: Path) -> None:
    hardware = probed(tmp_path, {"/sys/devices/system/cpu/online": "0-5000", "/proc/1/status": ""})
    assert hardware.cpu_cores == hardware.usable_cpus == 4096
    assert Hardware.describe(hardware.to_dict()) == hardware


def test_there_are_enough_hosts() -> None:
    assert len(HOSTS) >= 16


def test_probe_of_the_live_host_agrees_with_psutil() -> None:
    hardware = probe(models_path="/var/lib/not/there/yet")
    assert hardware.cpu_cores == psutil.cpu_count()
    assert hardware.usable_cpus == len(psutil.Process().cpu_affinity())
    assert hardware.memory_mb == psutil.virtual_memory().total >> 20
    assert 0 <= (hardware.disk_free_mb or -1) <= (hardware.disk_mb or 0)
    assert Hardware.describe(hardware.to_dict()) == hardware


def test_probe_without_proc_says_so(tmp_path: Path) -> None:
    with pytest.raises(OllamaError, match="size of memory cannot be read"):
        probe(str(tmp_path))


def test_a_model_store_behind_a_closed_directory_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", refuse)
    hardware = probe(models_path="/closed/models")
    assert (hardware.disk_mb, hardware.disk_free_mb) == (None, None)


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("0-3,8\n", {0, 1, 2, 3, 8}),
        ("5", {5}),
        ("", set()),
        ("0-1, 4-5", {0, 1, 4, 5}),
        ("x-3,2", {2}),
    ],
)
def test_cpu_list(text: str, cpus: set[int]) -> None:
    assert cpu_list(text) == cpus


# One group of version 2 in a container's own namespace.
NAMESPACE = {
    "/proc/self/cgroup": "0::/",
    "/proc/self/mountinfo": "9 8 0:1 / /sys/fs/cgroup ro - cgroup2 cgroup rw",
}


@pytest.mark.parametrize(
    ("cpu_max", "cpus"),
    [
        ("150000 100000", 1.5),
        ("max 100000", None),
        ("50000 100000", 0.5),
        ("", None),
        ("garbage", None),
        ("0 0", None),
        ("9 -1", None),
    ],
)
def test_quota(cpu_max: str, cpus: float | None, tmp_path: Path) -> None:
    for path, text in {**NAMESPACE, "/sys/fs/cgroup/cpu.max": cpu_max}.items():
        write(tmp_path, path, text)
    assert read_limits(Files(str(tmp_path)), "self").cpus == cpus


@pytest.mark.parametrize("limit", ["-1", "0", "max", "-9223372036854775808"])
def test_what_cannot_be_a_limit_of_memory_is_none(limit: str, tmp_path: Path) -> None:
    groups = ("/sys/fs/cgroup", "/sys/fs/cgroup/system.slice")
    names = ("memory.max", "memory.high", "memory.limit_in_bytes")
    limits = {f"{group}/{name}": limit for group in groups for name in names}
    share = {SITE: "[Service]\nMemoryMax=50%\n"}
    hardware = probed(tmp_path, limits, {"/sys/fs/cgroup/memory.stat": f"hierarchical_memory_limit {limit}"})
    assert (hardware.memory_limit_mb, hardware.memory_room_mb) == (None, hardware.memory_available_mb)
    assert probed(tmp_path, share).memory_limit_mb == 32768


@pytest.mark.parametrize(
    ("group", "line"),
    [
        ("0::/", " - cgroup2 cgroup rw"),
        ("0::/", "9 8 0:1 / - cgroup2 cgroup rw"),
        ("1:cpu:/", "9 8 0:1 / /sys/fs/cgroup/cpu ro - cgroup"),
        ("1:cpu:/", "9 8 0:1 / /sys/fs/cgroup/cpu ro - cgroup "),
        ("1:cpu:/", " - cgroup cgroup rw,cpu"),
    ],
)
def test_damaged_mounts_are_passed_over(group: str, line: str, tmp_path: Path) -> None:
    write(tmp_path, "/proc/self/cgroup", group)
    write(tmp_path, "/sys/fs/cgroup/cpu/cpu.max", "200000 100000")
    write(tmp_path, "/proc/self/mountinfo", f"x\n{line}\nx")
    assert read_limits(Files(str(tmp_path)), "self").cpus is None
    kind = "cgroup2 cgroup rw" if group == "0::/" else "cgroup cgroup rw,cpu"
    write(tmp_path, "/proc/self/mountinfo", f"{line}\n9 8 0:1 / /sys/fs/cgroup/cpu ro - {kind}")
    assert read_limits(Files(str(tmp_path)), "self").cpus == 2.0


@pytest.mark.parametrize(
    ("group", "root"),
    [
        ("/../../system.slice/x.service", "/"),  # a process outside of our namespace
        ("/machine/a", "/machine/b"),  # a mount of another group
        ("/machine/ab", "/machine/a"),  # not below it, although the text begins alike
        ("/a/b/c", "/../.."),
    ],
)
def test_a_group_that_cannot_be_found_falls_back_to_the_mount(group: str, root: str, tmp_path: Path) -> None:
    write(tmp_path, "/proc/self/cgroup", f"0::{group}")
    write(tmp_path, "/proc/self/mountinfo", f"9 8 0:1 {root} /sys/fs/cgroup ro - cgroup2 cgroup rw")
    write(tmp_path, "/sys/fs/cgroup/cpu.max", "200000 100000")
    write(tmp_path, "/sys/fs/cgroup/b/cpu.max", "100000 100000")  # somebody else's
    assert read_limits(Files(str(tmp_path)), "self").cpus == 2.0


def test_the_upper_one_of_two_mounts_counts(tmp_path: Path) -> None:
    """As podman prepares a container for systemd: its own group first, the whole hierarchy mounted over it."""
    for path, text in {
        "/proc/1/cgroup": "1:name=systemd:/libpod/c1/init.scope",
        "/proc/self/mountinfo": (
            "302 183 0:37 /libpod/c1 /sys/fs/cgroup/systemd ro - cgroup cgroup rw,name=systemd\n"
            "303 302 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd"
        ),
        "/sys/fs/cgroup/systemd/libpod/c1/init.scope/cgroup.procs": "1",
        "/sys/fs/cgroup/systemd/libpod/c1/system.slice/ollama.service/cgroup.procs": "77\n78",
    }.items():
        write(tmp_path, path, text)
    assert service_pids(Files(str(tmp_path)), "ollama.service") == ["77", "78"]
    assert service_pids(Files(str(tmp_path)), "nginx.service") == []


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("system.slice", "system.slice"),
        ("a-b.slice", "a.slice/a-b.slice"),
        ("a-b-c", "a.slice/a-b.slice/a-b-c.slice"),
        ("-.slice", ""),
    ],
)
def test_slices_are_nested_by_their_names(name: str, path: str) -> None:
    assert "/".join(slices(name)) == path


def test_a_slice_that_systemd_has_not_made_yet_is_read_from_its_files(tmp_path: Path) -> None:
    for path, text in {
        "/proc/meminfo": "MemTotal: 16777216 kB\nMemAvailable: 16000000 kB\nSwapTotal: 0 kB",
        "/proc/self/mountinfo": "34 24 0:30 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw",
        "/proc/1/cgroup": "0::/init.scope",
        "/proc/1/status": "Cpus_allowed_list: 0-7",
        "/sys/devices/system/cpu/online": "0-7",
        "/sys/fs/cgroup/init.scope/cgroup.procs": "1",
        "/run/systemd/system/x": "",
        "/etc/systemd/system/ollama.service.d/10-site.conf": "[Service]\nSlice=llm-big.slice\nCPUQuota=600%\n",
        "/etc/systemd/system/llm.slice": "[Slice]\nCPUQuota=200%\nAllowedCPUs=0-3\n",
        "/etc/systemd/system/llm-.slice.d/50-all.conf": "[Slice]\nMemoryMax=4G\n",
        "/etc/systemd/system/slice.d/50-all.conf": "[Slice]\nMemoryMax=8G\n",
        "/etc/systemd/system/service.d/50-all.conf": "[Service]\nAllowedCPUs=1-7\n",
    }.items():
        write(tmp_path, path, text)
    found = probe(str(tmp_path))
    assert (found.cpu_quota, found.memory_limit_mb, found.usable_cpus) == (2.0, 4096, 3)
    assert found.unit_limits == (), "they are the slice's"


def test_a_service_beside_all_slices_is_found(tmp_path: Path) -> None:
    for path, text in {
        "/proc/meminfo": "MemTotal: 16777216 kB\nMemAvailable: 16000000 kB\nSwapTotal: 0 kB",
        "/proc/self/mountinfo": "34 24 0:30 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw",
        "/proc/1/cgroup": "0::/init.scope",
        "/proc/77/cgroup": "0::/ollama.service",
        "/proc/77/status": "Cpus_allowed_list: 0-7",
        "/sys/devices/system/cpu/online": "0-7",
        "/sys/fs/cgroup/ollama.service/cgroup.procs": "77",
        "/sys/fs/cgroup/ollama.service/cpu.max": "200000 100000",
        "/etc/systemd/system/ollama.service.d/10-site.conf": "[Service]\nSlice=-.slice\n",
    }.items():
        write(tmp_path, path, text)
    assert probe(str(tmp_path)).cpu_quota == 2.0


def test_limits_of_a_slice_of_its_own_count_before_and_while_it_runs(tmp_path: Path) -> None:
    place = "/sys/fs/cgroup/llm.slice/llm-big.slice"
    for path, text in {
        "/proc/meminfo": "MemTotal: 16777216 kB\nMemAvailable: 16000000 kB\nSwapTotal: 0 kB",
        "/proc/self/mountinfo": "34 24 0:30 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw",
        "/proc/1/cgroup": "0::/init.scope",
        "/proc/1/status": "Cpus_allowed_list: 0-7",
        "/sys/devices/system/cpu/online": "0-7",
        "/run/systemd/system/llm-big.slice": "",
        "/etc/systemd/system/ollama.service.d/10-site.conf": "[Service]\nSlice=llm-big.slice\n",
        f"{place}/cpu.max": "max 100000",
        f"{place}/memory.max": str(8 << 30),
        "/sys/fs/cgroup/llm.slice/cpu.max": "300000 100000",
        "/sys/fs/cgroup/system.slice/memory.max": str(1 << 30),
        "/sys/fs/cgroup/llm.slice/cpuset.cpus.effective": "2-5",
    }.items():
        write(tmp_path, path, text)
    before = probe(str(tmp_path))
    assert (before.cpu_quota, before.memory_limit_mb, before.usable_cpus) == (3.0, 8192, 4)
    for path, text in {
        f"{place}/ollama.service/cgroup.procs": "77",
        "/proc/77/cgroup": "0::/llm.slice/llm-big.slice/ollama.service",
        "/proc/77/status": "Cpus_allowed_list: 2-5",
    }.items():
        write(tmp_path, path, text)
    assert service_pids(Files(str(tmp_path)), "ollama.service") == ["77"]
    assert probe(str(tmp_path)) == before


# A host with systemd on which the service does not run yet.
PLAIN = {
    "/proc/meminfo": "MemTotal: 67108864 kB\nMemAvailable: 60000000 kB\nSwapTotal: 0 kB",
    "/proc/self/mountinfo": "34 24 0:30 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw",
    "/proc/1/cgroup": "0::/init.scope",
    "/proc/1/status": "Cpus_allowed_list: 0-1\nMems_allowed_list: 0-1",
    "/sys/devices/system/cpu/online": "0-15",
    "/run/systemd/system/empty": "",
    "/sys/devices/system/node/online": "0-1",
    "/sys/devices/system/node/node0/meminfo": "Node 0 MemTotal:       25165824 kB\nNode 0 MemFree: 9 kB",
    "/sys/devices/system/node/node1/meminfo": "Node 1 MemTotal:       41943040 kB\nNode 1 MemFree: 9 kB",
}
RUNNING = {
    "/proc/77/cgroup": "0::/system.slice/ollama.service",
    "/sys/fs/cgroup/system.slice/ollama.service/cgroup.procs": "77",
}
SITE = "/etc/systemd/system/ollama.service.d/10-site.conf"


def probed(root: Path, *changes: dict[str, str]) -> Hardware:
    for files in (PLAIN, *changes):
        for path, text in files.items():
            write(root, path, text)
    return probe(str(root))


@pytest.mark.parametrize(
    ("lines", "available_mb"),
    [
        ("MemAvailable: 4194304 kB\nMemFree: 1048576 kB", 4096),
        ("MemAvailable: 0 kB\nMemFree: 1048576 kB\nActive(file): 2097152 kB\nSReclaimable: 1024 kB", 3073),
        ("MemFree: 1048576 kB\nInactive(file): 2097152 kB", 3072),
        ("MemAvailable: 99999999 kB\nMemFree: 1048576 kB", 1024),
        ("", 16384),
    ],
)
def test_available_memory_where_the_kernels_estimate_is_missing(lines: str, available_mb: int, tmp_path: Path) -> None:
    hardware = probed(tmp_path, {"/proc/meminfo": f"MemTotal: 16777216 kB\n{lines}"})
    assert (hardware.memory_mb, hardware.memory_available_mb) == (16384, available_mb)


@pytest.mark.parametrize("cpuinfo", ["", "vendor_id : IBM/S390\nprocessor 0: version = FF\nprocessor 1: version = FF"])
def test_cpus_that_only_an_affinity_tells_of(cpuinfo: str, tmp_path: Path) -> None:
    for path, text in {**PLAIN, "/proc/1/status": "Cpus_allowed_list: 0-3", "/proc/cpuinfo": cpuinfo}.items():
        if not path.startswith("/sys/devices"):
            write(tmp_path, path, text)
    hardware = probe(str(tmp_path))
    assert (hardware.cpu_cores, hardware.usable_cpus, hardware.usable_cores) == (4, 4, 4)


@pytest.mark.parametrize("name", ["a**b.slice", "**.slice", "../..", "a/b.slice"])
def test_what_is_no_slice_changes_nothing(name: str, tmp_path: Path) -> None:
    """As for systemd."""
    site = {SITE: f"[Service]\nSlice=llm.slice\nSlice={name}\n", "/etc/systemd/system/llm.slice": "CPUQuota=200%"}
    assert probed(tmp_path, site).cpu_quota == 2.0


@pytest.mark.parametrize(
    ("settings", "cpus"),
    [
        ("", 2),
        ("CPUAffinity=2-15", 14),
        ("CPUAffinity=2-15\nAllowedCPUs=0-7", 6),
        ("CPUAffinity=1 2", 2),
        ("CPUAffinity=90", 2),
    ],
)
def test_a_units_affinity_comes_in_the_place_of_the_service_managers(settings: str, cpus: int, tmp_path: Path) -> None:
    assert probed(tmp_path, {SITE: f"[Service]\n{settings}\n"}).usable_cpus == cpus


def test_a_units_affinity_while_it_runs_is_the_processes(tmp_path: Path) -> None:
    site = {SITE: "[Service]\nCPUAffinity=2-15\n"}
    before = probed(tmp_path, site)
    status = {"/proc/77/status": "Cpus_allowed_list: 2-15\nMems_allowed_list: 0-1"}
    assert probed(tmp_path, site, RUNNING, status).usable_cpus == before.usable_cpus == 14


def test_a_share_of_memory_is_one_of_a_containers_own(tmp_path: Path) -> None:
    container = {"/sys/fs/cgroup/memory.max": str(8 << 30), SITE: "[Service]\nMemoryMax=50%\n"}
    assert probed(tmp_path, container).memory_limit_mb == 4096


def test_a_share_of_memory_where_a_container_sees_its_hosts_groups(tmp_path: Path) -> None:
    """The service manager's own group is what it takes for the whole, not the host's."""
    own = "/system.slice/docker-abc.scope"
    container = {
        "/proc/1/cgroup": f"0::{own}/init.scope",
        f"/sys/fs/cgroup{own}/init.scope/cgroup.procs": "1",
        f"/sys/fs/cgroup{own}/memory.max": str(8 << 30),
        SITE: "[Service]\nMemoryMax=50%\n",
    }
    assert probed(tmp_path, container).memory_limit_mb == 4096


@pytest.mark.parametrize(
    ("lines", "limit"),
    [
        ("Hugetlb: 50331648 kB", 16384),
        ("HugePages_Total: 24576\nHugepagesize: 2048 kB", 16384),
        ("HugePages_Total: 0\nHugepagesize: 2048 kB\nHugetlb: 0 kB", None),
    ],
)
def test_huge_pages_that_are_set_aside_are_not_to_be_had(lines: str, limit: int | None, tmp_path: Path) -> None:
    hardware = probed(tmp_path, {"/proc/meminfo": f"{PLAIN['/proc/meminfo']}\n{lines}"})
    assert (hardware.memory_mb, hardware.memory_limit_mb) == (65536, limit)


def test_a_container_that_shows_its_hosts_huge_pages(tmp_path: Path) -> None:
    text = "MemTotal: 8388608 kB\nMemAvailable: 8000000 kB\nSwapTotal: 0 kB\nHugetlb: 50331648 kB"
    lxcfs = "813 800 0:52 /proc/meminfo /proc/meminfo rw,nosuid - fuse.lxcfs lxcfs rw"
    mounts = {"/proc/self/mountinfo": f"{PLAIN['/proc/self/mountinfo']}\n{lxcfs}"}
    hardware = probed(tmp_path, {"/proc/meminfo": text, "/run/systemd/container": "lxc", **mounts})
    assert (hardware.memory_mb, hardware.memory_limit_mb) == (8192, None)


def test_a_container_that_shows_its_hosts_memory_and_huge_pages(tmp_path: Path) -> None:
    text = f"{PLAIN['/proc/meminfo']}\nHugetlb: 50331648 kB"
    hardware = probed(tmp_path, {"/proc/meminfo": text, "/run/systemd/container": "docker"})
    assert (hardware.memory_mb, hardware.memory_limit_mb) == (65536, 16384)


def test_huge_pages_of_the_nodes_that_the_service_may_use(tmp_path: Path) -> None:
    pages = {
        "/proc/meminfo": f"{PLAIN['/proc/meminfo']}\nHugetlb: 41943040 kB",
        "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages": "8192",
        "/sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages": "4096",
        "/sys/devices/system/node/node1/hugepages/hugepages-1048576kB/nr_hugepages": "16",
    }
    assert probed(tmp_path, pages).memory_limit_mb == 24576
    one = {SITE: "[Service]\nAllowedMemoryNodes=0\n"}
    assert probed(tmp_path, pages, one).memory_limit_mb == 8192
    other = {SITE: "[Service]\nAllowedMemoryNodes=1\n"}
    assert probed(tmp_path, pages, other).memory_limit_mb == 16384


@pytest.mark.parametrize(
    ("change", "limit"),
    [
        ({}, None),
        ({"/proc/1/status": "Cpus_allowed_list: 0-15\nMems_allowed_list: 0"}, 24576),
        ({SITE: "[Service]\nAllowedMemoryNodes=1\n"}, 40960),
        ({"/etc/systemd/system/system.slice.d/a.conf": "[Slice]\nAllowedMemoryNodes=1\n"}, 40960),
        ({**RUNNING, "/proc/77/status": "Cpus_allowed_list: 0-15\nMems_allowed_list: 1"}, 40960),
        ({SITE: "[Service]\nAllowedMemoryNodes=7\n"}, None),
        ({SITE: "[Service]\nNUMAPolicy=bind\nNUMAMask=0\n"}, 24576),
        ({**RUNNING, SITE: "[Service]\nNUMAPolicy=bind\nNUMAMask=0\n"}, 24576),
        ({SITE: "[Service]\nNUMAPolicy=preferred\nNUMAMask=0\n"}, None),
        ({SITE: "[Service]\nNUMAPolicy=bind\nNUMAMask=all\n"}, None),
    ],
)
def test_memory_of_nodes_that_the_service_may_not_use_does_not_count(
    change: dict[str, str], limit: int | None, tmp_path: Path
) -> None:
    assert probed(tmp_path, change).memory_limit_mb == limit


def test_an_affinity_that_follows_from_the_nodes(tmp_path: Path) -> None:
    nodes = {
        "/sys/devices/system/node/node0/cpulist": "0-9",
        "/sys/devices/system/node/node1/cpulist": "10-15",
        SITE: "[Service]\nCPUAffinity=numa\nNUMAMask=1\n",
    }
    assert probed(tmp_path, nodes).usable_cpus == 6


def test_cpus_that_a_container_sees_under_numbers_of_its_own(tmp_path: Path) -> None:
    container = {
        "/run/systemd/container": "lxc",
        "/sys/devices/system/cpu/online": "0-3",
        "/proc/1/status": "Cpus_allowed_list: 2-9",
        "/sys/fs/cgroup/cpuset.cpus.effective": "2-9",
        "/sys/fs/cgroup/cpu.max": "400000 100000",
    }
    hardware = probed(tmp_path, container)
    assert (hardware.usable_cpus, hardware.usable_cores, hardware.cpu_quota) == (4, 4, None)
    allowed = {SITE: "[Service]\nAllowedCPUs=2-3\n"}
    assert probed(tmp_path, container, allowed).usable_cpus == 2


@pytest.mark.parametrize(
    ("capacities", "performance"),
    [
        ((571, 571, 1024, 1024), 2),  # Apple M2
        ((414, 414, 1024, 1024), 2),
        ((414, 717, 799, 1024), 3),
        ((1024, 1024, 1024, 1024), 4),
    ],
)
def test_efficiency_cores_of_arm(capacities: tuple[int, ...], performance: int, tmp_path: Path) -> None:
    cpu = "/sys/devices/system/cpu"
    sizes = {f"{cpu}/cpu{number}/cpu_capacity": str(size) for number, size in enumerate(capacities)}
    assert probed(tmp_path, sizes, {f"{cpu}/online": "0-3"}).performance_cores == performance


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"card0/device/device": "0x4680"}, (None, True)),
        ({}, (None, True)),
        ({"card0/device/device": "0x56a0"}, (None, False)),
        ({"card0/lmem_total_bytes": str(16 << 30)}, (16384, False)),
        (
            {
                "card0/device/device": "0xe20b",
                "card0/device/tile0/physical_vram_size_bytes": str(12 << 30),
            },
            (12288, False),
        ),
    ],
)
def test_intels_cards_and_integrated_gpus(
    files: dict[str, str], found: tuple[int | None, bool], tmp_path: Path
) -> None:
    own = {f"/sys/class/drm/{path}": text for path, text in files.items()}
    for path, text in {"/sys/class/drm/card0/device/vendor": "0x8086", "/dev/dri/renderD128": "", **own}.items():
        write(tmp_path, path, text)
    (intel,) = gpu.read_gpus(Files(str(tmp_path)), 32000, lambda command: None)
    assert (intel.memory_mb, intel.integrated) == found


def test_a_card_in_wsl(tmp_path: Path) -> None:
    write(tmp_path, "/dev/dxg", "")
    row = "NVIDIA GeForce RTX 4090, 24564, [N/A]\n"
    assert gpu.read_gpus(Files(str(tmp_path)), 16000, lambda command: row) == (Gpu("nvidia", row[:23], 24564),)
    assert gpu.read_gpus(Files(str(tmp_path)), 16000, lambda command: None) == ()


RELEASE = "/proc/sys/kernel/osrelease"


@pytest.mark.parametrize("memory", ["[N/A]", "[Not Supported]"])
def test_an_nvidia_gpu_without_memory_of_its_own(memory: str, tmp_path: Path) -> None:
    write(tmp_path, "/dev/nvidia0", "")
    (found,) = gpu.read_gpus(Files(str(tmp_path)), 122570, lambda command: f"NVIDIA GB10, {memory}, [N/A]\n")
    assert found == Gpu("nvidia", "NVIDIA GB10", 122570, integrated=True)


@pytest.mark.parametrize("said", ["[GPU requires reset]", "[GPU is lost]", "[Unknown Error]"])
def test_an_nvidia_gpu_that_does_not_work_is_still_expected_to(said: str, tmp_path: Path) -> None:
    """Planning for the CPU as if there were none would hide it."""
    write(tmp_path, "/dev/nvidia0", "")
    table = f"NVIDIA A100, {said}, {said}\nNVIDIA L4, 23034, [N/A]\n"
    broken, well = gpu.read_gpus(Files(str(tmp_path)), 16000, lambda command: table)
    assert broken == Gpu("nvidia", f"NVIDIA A100 {said}")
    assert broken.is_expected
    assert well == Gpu("nvidia", "NVIDIA L4", 23034)


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (
            {"/proc/cpuinfo": "flags : fpu", "/sys/class/dmi/id/sys_vendor": "Amazon EC2"},
            "none",
        ),  # a bare-metal instance
        ({"/proc/cpuinfo": "flags : fpu hypervisor", "/sys/class/dmi/id/sys_vendor": "QEMU"}, "kvm"),
        ({"/proc/cpuinfo": "flags : fpu hypervisor", "/sys/class/dmi/id/sys_vendor": "Nobody"}, "vm-other"),
        ({"/proc/cpuinfo": "Features : fp", "/sys/class/dmi/id/product_name": "KVM"}, "kvm"),
        ({"/run/systemd/container": "podman\n", "/.dockerenv": ""}, "podman"),
        ({"/proc/cpuinfo": "flags : fpu hypervisor", RELEASE: "5.15.90.1-microsoft-standard-WSL2"}, "wsl"),
        ({"/proc/cpuinfo": "flags : fpu", RELEASE: "4.4.0-19041-Microsoft"}, "wsl"),
        ({"/.dockerenv": "", RELEASE: "6.6.87.2-microsoft-standard-WSL2"}, "docker"),
        ({"/proc/cpuinfo": "flags : fpu hypervisor", RELEASE: "6.8.0-1021-azure"}, "vm-other"),
        ({}, "none"),
    ],
)
def test_virtualization(files: dict[str, str], name: str, tmp_path: Path) -> None:
    for path, text in files.items():
        write(tmp_path, path, text)
    assert read_virtualization(Files(str(tmp_path))) == name


@pytest.mark.parametrize(
    ("vram_gib", "gtt_gib", "integrated"),
    [
        (0.5, 31, True),  # an APU
        (4, 3, False),  # a small card in a small desktop
        (0.5, 4, False),  # too little to borrow
        (8, 256, False),  # a card in a server with much memory
        (96, 16, False),  # an APU that was given most of the memory
    ],
)
def test_integrated_amd_gpus(vram_gib: float, gtt_gib: int, integrated: bool, tmp_path: Path) -> None:
    device = "/sys/class/drm/card0/device"
    write(tmp_path, "/dev/kfd", "")
    write(tmp_path, "/dev/dri/renderD128", "")
    write(tmp_path, f"{device}/vendor", "0x1002")
    write(tmp_path, f"{device}/mem_info_vram_total", str(int(vram_gib * 2**30)))
    write(tmp_path, f"{device}/mem_info_gtt_total", str(gtt_gib * 2**30))
    (found,) = gpu.read_gpus(Files(str(tmp_path)), 16000)
    assert (found.integrated, found.offloads) == (integrated, not integrated)


@pytest.mark.parametrize("name", ["mem_info_vram_vendor", "board_info"])
def test_a_small_amd_card_in_a_host_with_much_memory(name: str, tmp_path: Path) -> None:
    device = "/sys/class/drm/card0/device"
    for path, text in {
        "/dev/kfd": "",
        "/dev/dri/renderD128": "",
        f"{device}/vendor": "0x1002",
        f"{device}/mem_info_vram_total": str(4 << 30),
        f"{device}/mem_info_gtt_total": str(31 << 30),
    }.items():
        write(tmp_path, path, text)
    assert gpu.read_gpus(Files(str(tmp_path)), 64000)[0].integrated
    write(tmp_path, f"{device}/{name}", "samsung")
    (found,) = gpu.read_gpus(Files(str(tmp_path)), 64000)
    assert (found.memory_mb, found.integrated, found.offloads) == (4096, False, True)


@pytest.mark.parametrize(("version", "target", "offloads"), [(110501, "gfx1151", True), (110003, "gfx1103", False)])
def test_an_integrated_amd_gpu_that_is_used_by_default(
    version: int, target: str, offloads: bool, tmp_path: Path
) -> None:
    device, nodes = "/sys/class/drm/card1/device", "/sys/class/kfd/kfd/topology/nodes"
    for path, text in {
        "/dev/kfd": "",
        "/dev/dri/renderD129": "",
        f"{device}/vendor": "0x1002",
        f"{device}/device": "0x1586",
        f"{device}/drm/renderD129/dev": "226:129",
        f"{device}/mem_info_vram_total": str(1 << 29),
        f"{device}/mem_info_gtt_total": str(62 << 30),
        f"{nodes}/0/properties": "cpu_cores_count 32\ndrm_render_minor 0\ngfx_target_version 0",
        f"{nodes}/1/properties": "drm_render_minor 128\ngfx_target_version 90010",
        f"{nodes}/2/properties": f"drm_render_minor 129\ngfx_target_version {version}",
    }.items():
        write(tmp_path, path, text)
    found = gpu.read_gpus(Files(str(tmp_path)), 128000)
    assert found == (Gpu("amd", "AMD 0x1586", 512, integrated=True, target=target),)
    assert found[0].offloads == offloads
    assert Hardware.describe({**GOOD, "gpus": [each.to_dict() for each in found]}).gpus == found


@pytest.mark.parametrize(
    ("environment", "version", "used"),
    [
        ({}, "0.34.0", ["jetson", "halo", "card"]),
        ({"OLLAMA_IGPU_ENABLE": ""}, "0.34.0", ["jetson", "halo", "card"]),
        ({"OLLAMA_IGPU_ENABLE": "0"}, "0.34.0", ["card"]),
        ({"OLLAMA_IGPU_ENABLE": "'false'"}, None, ["card"]),
        ({"OLLAMA_IGPU_ENABLE": "1"}, "0.34.0", ["jetson", "iris", "halo", "card"]),
        ({"OLLAMA_IGPU_ENABLE": "0"}, "0.24.0", ["jetson", "halo", "card"]),
    ],
)
def test_which_integrated_gpus_a_server_uses(environment: dict[str, str], version: str | None, used: list[str]) -> None:
    gpus = [
        Gpu("nvidia", "jetson", integrated=True),
        Gpu("intel", "iris", integrated=True),
        Gpu("amd", "halo", integrated=True, target="gfx1151"),
        Gpu("amd", "card"),
    ]
    found = visible_gpus(gpus, {"OLLAMA_VULKAN": "1", **environment}, Engine.parse(version))
    assert [each.name for each in found if each.offloads] == used


@pytest.mark.parametrize(
    ("said", "memory_mb"),
    [
        ('{"card0": {"VRAM Total Memory (B)": "1"}, "card1": {"VRAM Total Memory (B)": "17163091968"}}', 16368),
        ('{"card0": {"VRAM Total Memory (B)": "1"}}', None),
        ('{"card1": {"VRAM Total Memory (B)": "N/A"}}', None),
        ('{"card1": []}', None),
        ('{"card1": {"VRAM Total Memory (B)": 17163091968}}', 16368),
        ('{"card1": {"VRAM Total Memory (B)": 1e999}}', None),
        ('{"card1": {"VRAM Total Memory (B)": null}}', None),
        ("[" * 100_000, None),
        ("[]", None),
        ("WARNING: No AMD GPUs specified", None),
        (None, None),
    ],
)
def test_rocm_smi_is_asked_for_the_memory_that_sysfs_does_not_tell(
    said: str | None, memory_mb: int | None, tmp_path: Path
) -> None:
    for card, vendor in (("card0", "0x8086"), ("card1", "0x1002"), ("card2", "0x1002")):
        write(tmp_path, f"/sys/class/drm/{card}/device/vendor", vendor)
    write(tmp_path, "/sys/class/drm/card1/device/mem_info_vram_total", str(8 << 30))
    write(tmp_path, "/dev/kfd", "")
    write(tmp_path, "/dev/dri/renderD128", "")
    found = gpu.read_gpus(Files(str(tmp_path)), 16000, lambda command: said if command[0] == "rocm-smi" else None)
    assert [each.memory_mb for each in found if each.vendor == "amd"] == [8192, memory_mb]


def test_a_container_has_the_cards_whose_nodes_it_was_given(tmp_path: Path) -> None:
    for card, vendor in enumerate(("0x1002", "0x1002", "0x1002", "0x8086", "0x8086")):
        device = f"/sys/class/drm/card{card}/device"
        write(tmp_path, f"{device}/vendor", vendor)
        write(tmp_path, f"{device}/device", f"0x{card}")
        write(tmp_path, f"{device}/drm/renderD{128 + card}/dev", f"226:{128 + card}")
    for node in ("/dev/kfd", "/dev/dri/renderD129", "/dev/dri/renderD132"):
        write(tmp_path, node, "")
    found = gpu.read_gpus(Files(str(tmp_path)), 16000, lambda command: None)
    assert [each.name for each in found] == ["AMD 0x1", "Intel 0x4"]


@pytest.mark.parametrize(
    ("vendor", "seen", "node", "needed"),
    [
        ("amd", ("/sys/class/drm/card0/device/vendor", "0x1002"), "/dev/dri/renderD128", "/dev/kfd"),
        ("intel", ("/sys/class/drm/card0/device/vendor", "0x8086"), "/dev/dri/card0", "/dev/dri/renderD128"),
        ("nvidia", ("/proc/driver/nvidia/gpus/0/information", "Model: Tesla T4"), "/dev/nvidia-uvm", "/dev/nvidiactl"),
        ("nvidia", ("/proc/driver/nvidia/gpus/0/information", "Model: Tesla T4"), "/dev/nvidia-uvm", "/dev/nvidia3"),
    ],
)
def test_a_card_without_its_device_node_is_not_ours(
    vendor: str, seen: tuple[str, str], node: str, needed: str, tmp_path: Path
) -> None:
    def found() -> list[str]:
        return [each.vendor for each in gpu.read_gpus(Files(str(tmp_path)), 16000, lambda command: None)]

    write(tmp_path, "/.dockerenv", "")
    write(tmp_path, *seen)
    write(tmp_path, node, "")
    assert found() == []
    write(tmp_path, needed, "")
    assert found() == [vendor]


@pytest.mark.parametrize(
    ("listing", "names"),
    [
        (
            "GPU 0: A (UUID: 1)\n  MIG 1g.10gb  Device 0: (UUID: 2)\n  MIG 2g.20gb  Device 1: (UUID: 3)",
            ["A MIG 1g.10gb"],
        ),
        ("GPU 0: A (UUID: 1)\nGPU 1: B (UUID: 4)\n  MIG 2g.20gb  Device 0: (UUID: 5)", ["B MIG 2g.20gb"]),
        ("GPU 0: A (UUID: 1)\nGPU 1: B (UUID: 4)", ["C"]),  # nothing is partitioned off yet
    ],
)
def test_one_instance_of_partitioned_gpus_counts(listing: str, names: list[str], tmp_path: Path) -> None:
    write(tmp_path, "/dev/nvidia0", "")
    table = "A, 81920, Enabled\nB, 81920, Enabled\nC, 15360, [N/A]\n"
    found = gpu.read_gpus(Files(str(tmp_path)), 16000, lambda command: listing if "-L" in command else table)
    assert [each.name for each in found] == names


@pytest.mark.parametrize(
    ("model", "compatible", "found"),
    [
        ("NVIDIA Orin Nano Developer Kit\0", "nvidia,p3768-0000\0nvidia,tegra234\0", 1),
        ("NVIDIA Jetson Nano\0", "", 1),
        ("Raspberry Pi 5\0", "raspberrypi,5-model-b\0brcm,bcm2712\0", 0),
    ],
)
def test_jetson(model: str, compatible: str, found: int, tmp_path: Path) -> None:
    write(tmp_path, "/proc/device-tree/model", model)
    write(tmp_path, "/proc/device-tree/compatible", compatible)
    expected = Gpu("nvidia", model.rstrip("\0"), 8000, integrated=True)
    assert gpu.read_gpus(Files(str(tmp_path)), 8000, lambda command: None) == (expected,) * found


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("No devices were found\n", 0),
        ("Unable to determine the device handle for GPU 0000:01:00.0: Unknown Error\n", 0),
        ("Unable to determine the device handle for GPU 0000:01:00.0: Unknown Error\nTesla T4, 15360, [N/A]\n", 1),
    ],
)
def test_a_complaint_of_the_tool_is_no_gpu(said: str, found: int, tmp_path: Path) -> None:
    write(tmp_path, "/dev/nvidia0", "")
    assert (
        gpu.read_gpus(Files(str(tmp_path)), 16000, lambda command: said) == (Gpu("nvidia", "Tesla T4", 15360),) * found
    )


def test_nodes_that_the_driver_has_still_to_make_are_not_missed(tmp_path: Path) -> None:
    write(tmp_path, "/proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: Tesla T4")
    found = gpu.read_gpus(Files(str(tmp_path)), 16000, lambda command: "Tesla T4, 15360, [N/A]\n")
    assert found == (Gpu("nvidia", "Tesla T4", 15360),)


def test_a_driver_without_its_tool_still_shows_the_card(tmp_path: Path) -> None:
    write(tmp_path, "/dev/nvidia0", "")
    write(tmp_path, "/proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: \t Tesla T4\nIRQ: 11")
    assert gpu.read_gpus(Files(str(tmp_path)), 16000, run=lambda command: None) == (Gpu("nvidia", "Tesla T4"),)


def test_a_driver_that_does_not_know_mig_is_asked_again(tmp_path: Path) -> None:
    write(tmp_path, "/dev/nvidia0", "")
    old = "--query-gpu=name,memory.total"
    found = gpu.read_gpus(Files(str(tmp_path)), 16000, lambda command: "Tesla K80, 11441\n" if old in command else None)
    assert found == (Gpu("nvidia", "Tesla K80", 11441),)


def make_tool(root: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = root / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nexec sh -c '{script}'\n", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{root}:/usr/bin:/bin")


@pytest.mark.parametrize(("script", "output"), [("echo here", "here\n"), ("echo here; exit 3", None)], ids=str)
def test_run_command(script: str, output: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_tool(tmp_path, script, monkeypatch)
    assert gpu.run_command(["nvidia-smi"]) == output


def test_a_tool_that_hangs_is_left_behind_and_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its driver a tool may wait for ever, and no signal ends it."""
    make_tool(tmp_path, "exec sleep 30", monkeypatch)
    write(tmp_path, "/dev/nvidia0", "")
    write(tmp_path, "/proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: Tesla T4")
    left: list[subprocess.Popen[str]] = []

    def spare(process: subprocess.Popen[str]) -> None:
        left.append(process)

    monkeypatch.setattr(gpu, "TOOL_SECONDS", 0.2)
    monkeypatch.setattr(subprocess.Popen, "kill", spare)
    start = time.monotonic()
    try:
        assert gpu.read_gpus(Files(str(tmp_path)), 16000) == (Gpu("nvidia", "Tesla T4"),)
        assert time.monotonic() - start < 10
        assert len(left) == 1
    finally:
        for process in left:
            process.terminate()
            process.communicate()


def test_run_command_without_the_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    assert gpu.run_command(["nvidia-smi"]) is None


def test_description_fills_in_what_follows() -> None:
    hardware = Hardware.describe({"cpu_cores": "16", "memory_mb": 32768.0, "physical_cores": 8, "usable_cpus": 4})
    assert (hardware.usable_cores, hardware.performance_cores, hardware.usable_performance_cores) == (4, 8, 4)
    assert hardware.smt
    assert hardware.cpus == 4
    assert round(hardware.usable_memory_gb, 1) == 34.4


GOOD = {"cpu_cores": 8, "memory_mb": 32768}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cpu_cores": 0}, ["cpu_cores", "0", "1 to 4096"]),
        ({"cpu_cores": -4}, ["cpu_cores", "-4", "1 to 4096"]),
        ({"cpu_cores": 5000}, ["cpu_cores", "5000", "1 to 4096"]),
        ({"cpu_cores": 7.5}, ["cpu_cores", "7.5", "whole number"]),
        ({"cpu_cores": "many"}, ["cpu_cores", "'many'"]),
        ({"cpu_cores": True}, ["cpu_cores", "True"]),
        ({"cpu_cores": None}, ["cpu_cores is missing", "cpu_cores and memory_mb"]),
        ({"memory_mb": 64}, ["memory_mb", "64", "256 to 67108864"]),
        ({"memory_mb": 1 << 27}, ["memory_mb", "67108864"]),
        ({"memory_mb": float("nan")}, ["memory_mb", "nan"]),
        ({"memory_mb": float("inf")}, ["memory_mb", "inf"]),
        ({"memory_limit_mb": 0}, ["memory_limit_mb", "1 to"]),
        ({"cpu_quota": 0}, ["cpu_quota", "0.01 to 4096"]),
        ({"cpu_quota": [1]}, ["cpu_quota", "[1]"]),
        ({"cores": 8}, ["unknown key 'cores'", "cpu_cores"]),
        ({"physical_cores": 9}, ["physical_cores (9) is larger than cpu_cores (8)"]),
        ({"usable_cores": 6, "usable_cpus": 4}, ["usable_cores (6) is larger than usable_cpus (4)"]),
        ({"gpus": 2}, ["gpus is 2", "list"]),
        ({"cpu_features": ["sse9"]}, ["cpu_features is ['sse9']", "avx2, avx512, amx, dotprod"]),
        ({"gpus": ["rtx"]}, ["gpus[0]", "vendor"]),
        ({"gpus": [{"vendor": "nvidia", "vram": 8}]}, ["gpus[0]", "memory_mb"]),
        ({"gpus": [{"vendor": "3dfx"}]}, ["gpus[0]: vendor is '3dfx'", "nvidia, amd, intel"]),
        ({"gpus": [{"vendor": "amd", "memory_mb": -1}]}, ["gpus[0]: memory_mb is -1"]),
        ({"gpus": [{"vendor": "nvidia", "memory_mb": 24}]}, ["gpus[0]: memory_mb is 24", "256"]),
        ({"gpus": [{"vendor": "nvidia", "enabled": True}]}, ["gpus[0]", "memory_mb"]),
        ({"gpus": [{"vendor": "amd"}] * 65}, ["at most 64"]),
    ],
)
def test_a_bad_description_is_refused_with_key_value_and_range(change: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InvalidInput) as refused:
        Hardware.describe({**GOOD, **change})
    assert all(word in str(refused.value) for word in words), str(refused.value)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2),
)


@given(st.dictionaries(st.sampled_from([*GOOD, "gpus", "cpu_quota", "swap_mb", "x"]), ANYTHING))
def test_a_description_is_accepted_or_refused_but_never_breaks(values: dict[str, Any]) -> None:
    try:
        hardware = Hardware.describe({**GOOD, **values})
    except InvalidInput:
        return
    assert 1 <= hardware.usable_cores <= hardware.cpu_cores
