# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Limits that an operator wrote into unit files, apart from those that the tuning wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.files import Files
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.probe import probe
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.unit import (
    TUNED_BASIS,
    TUNED_PATH,
    foreign_unit,
    last_words,
    own_limits,
    parse_size,
    read_tuned,
)

GIB = 1 << 30
ETC = "/etc/systemd/system/ollama.service"
TUNED = """# Managed
[Service]
Environment="LLAMA_ARG_THREADS=8"
Environment="OLLAMA_ORIGINS=http://a\\"b%%20\\\\"
MemoryHigh=6144M
MemoryMax=7168M
"""


def host(root: Path, files: dict[str, str]) -> Files:
    for path, text in files.items():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    return Files(str(root))


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, None),
        ({ETC: "[Service]\nMemoryMax=4G\n"}, 4),
        ({ETC: "[Service]\nMemoryMax=4G\n", TUNED_PATH: TUNED}, 4),
        ({TUNED_PATH: TUNED}, None),
        ({f"{ETC}.d/10-local.conf": "[Service]\nMemoryMax=8G\nMemoryHigh = 6G\n"}, 6),
        ({f"{ETC}.d/10-a.conf": "MemoryMax=8G\n", f"{ETC}.d/20-b.conf": "MemoryMax=2G\n"}, 2),
        ({f"{ETC}.d/10-a.conf": "MemoryMax=2G\n", f"{ETC}.d/20-b.conf": "MemoryMax=infinity\n"}, None),
        ({f"{ETC}.d/10-a.conf": "MemoryMax=2G\n", f"{ETC}.d/20-b.conf": "MemoryMax=\n"}, None),
        ({f"{ETC}.d/10-a.conf": "# MemoryMax=2G\n;MemoryHigh=1G\n"}, None),
        ({f"{ETC}.d/10-a.conf": "MemoryMax=50%\n"}, 16),
        # The same name in a folder of higher precedence hides the other one.
        (
            {f"{ETC}.d/10-a.conf": "", "/usr/lib/systemd/system/ollama.service.d/10-a.conf": "MemoryMax=2G\n"},
            None,
        ),
        ({"/etc/systemd/system.control/ollama.service.d/50-MemoryMax.conf": "[Service]\nMemoryMax=3221225472\n"}, 3),
        ({"/etc/systemd/system/service.d/all.conf": "[Service]\nMemoryMax=5G\n"}, 5),
        ({ETC: "MemoryMax=4G\n", "/usr/lib/systemd/system/ollama.service": "MemoryMax=2G\n"}, 4),
        # What is no size leaves the one before in force.
        *(({ETC: f"MemoryMax=4G\nMemoryMax={size}\n"}, 4) for size in ("8GB", "8g", "0", "0%", "150%", "512M 8G")),
        ({ETC: "MemoryMax=8g\n"}, None),
    ],
)
def test_the_operators_own_memory_limit(tmp_path: Path, files: dict[str, str], limit: int | None) -> None:
    assert own_limits(host(tmp_path, files), 32 * GIB).memory == (None if limit is None else limit * GIB)


@pytest.mark.parametrize(
    ("text", "cpus", "allowed"),
    [
        ("", None, None),
        ("CPUQuota=150%", 1.5, None),
        ("CPUQuota=150%\nCPUQuota=", None, None),
        ("CPUQuota=12.5%", 0.125, None),
        ("CPUQuota=0%\nAllowedCPUs=none", None, None),
        *((f"CPUQuota=200%\nCPUQuota={share}", 2.0, None) for share in ("400", "0%", "400 %", "infinity")),
        ("AllowedCPUs=0-3\nAllowedCPUs=x,6", None, {0, 1, 2, 3}),
        ("AllowedCPUs=0-1\t4,\t 6", None, {0, 1, 4, 6}),
        ("CPUQuotaPeriodSec=10ms", None, None),
        ("AllowedCPUs=0-3,8 10", None, {0, 1, 2, 3, 8, 10}),
        ("AllowedCPUs=0-3\nAllowedCPUs=6", None, {0, 1, 2, 3, 6}),
        ("AllowedCPUs=0-3\nAllowedCPUs=\nAllowedCPUs=6", None, {6}),
        ("AllowedCPUs=0-3\nCPUAffinity=2-5", None, {0, 1, 2, 3}),
        ("AllowedCPUs=0-99999999", None, None),
        ("AllowedCPUs=²,1", None, None),
        ("# as agreed \\\nCPUQuota=50%", 0.5, None),
        ("CPUQuota=50% \\\n# since May\n", 0.5, None),
        (f"CPUQuota={'9' * 400}%\nMemoryMax={'9' * 400}", None, None),
        ("AllowedCPUs=0 1 \\\n 4 5\nCPUQuota=\\\n50%", 0.5, {0, 1, 4, 5}),
    ],
)
def test_the_operators_own_cpu_limits(tmp_path: Path, text: str, cpus: float | None, allowed: set[int] | None) -> None:
    limits = own_limits(host(tmp_path, {f"{ETC}.d/10-a.conf": f"[Service]\n{text}\n"}), GIB)
    assert (limits.cpus, limits.allowed) == (cpus, allowed)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1024", 1024),
        ("1.5G", 3 * GIB // 2),
        ("512 M", 512 << 20),
        ("25%", 250),
        ("29%", 290),
        ("12.5%", 125),
        ("1E", 1 << 60),
        ("4G 512M", 9 * GIB // 2),
        ("1G1K 1", GIB + 1025),
        ("10.M", 10 << 20),
        *((text, None) for text in ("infinity", "", "x", "0", "8g", "8GB", "512M 4G", "4 512", ".5G", "40 %", "99E")),
    ],
)
def test_sizes(text: str, size: int | None) -> None:
    assert parse_size(text, 1000) == size


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "system.slice"),
        ("Slice=llm-big.slice", "llm-big.slice"),
        ("Slice=a.slice\nSlice=", "system.slice"),
        ("Slice=a.slice\nSlice=b", "a.slice"),
    ],
)
def test_the_slice_that_the_operator_puts_it_in(tmp_path: Path, text: str, place: str) -> None:
    assert own_limits(host(tmp_path, {ETC: f"[Service]\n{text}\n"}), GIB).slice == place


@pytest.mark.parametrize(
    ("text", "nodes", "affinity"),
    [
        ("NUMAMask=0", None, None),
        ("NUMAPolicy=bind\nNUMAMask=0", {0}, None),
        ("NUMAPolicy=bind\nNUMAPolicy=tight\nNUMAMask=0", {0}, None),
        ("NUMAPolicy=bind\nNUMAPolicy=\nNUMAMask=0", None, None),
        ("NUMAPolicy=bind\nNUMAMask=0-1\nAllowedMemoryNodes=1", {1}, None),
        ("NUMAPolicy=bind\nNUMAMask=all", {0, 1}, None),
        ("CPUAffinity=9\nCPUAffinity=numa\nNUMAMask=1", None, {2, 3}),
        ("CPUAffinity=numa\nNUMAMask=all\nCPUAffinity=9", None, {9}),
        ("CPUAffinity=numa\nNUMAMask=all\nCPUAffinity=", None, None),
    ],
)
def test_numa_nodes_that_the_operator_binds_it_to(
    tmp_path: Path, text: str, nodes: set[int] | None, affinity: set[int] | None
) -> None:
    places = {"online": "0-1", "node0/cpulist": "0-1", "node1/cpulist": "2-3"}
    files = {f"/sys/devices/system/node/{name}": value for name, value in places.items()}
    limits = own_limits(host(tmp_path, {**files, ETC: f"[Service]\n{text}\n"}), GIB)
    assert (limits.nodes, limits.affinity) == (nodes, affinity)


@pytest.mark.parametrize(
    ("files", "directives"),
    [
        ({}, ()),
        ({TUNED_PATH: TUNED}, ()),
        ({TUNED_PATH: TUNED, f"{ETC}.d/override.conf": "[Service]\nMemoryMax=4G\n"}, ("MemoryMax",)),
        ({f"{ETC}.d/override.conf": "MemoryMax=infinity\nMemoryHigh=\nCPUQuota=50%\n"}, ("MemoryMax", "MemoryHigh")),
        ({f"{ETC}.d/override.conf": "MemoryMax=8g\nMemoryHigh=0\n"}, ()),
        ({"/etc/systemd/system/system.slice.d/a.conf": "MemoryMax=4G\n"}, ()),
    ],
)
def test_memory_limits_of_the_unit_that_the_operator_set(
    tmp_path: Path, files: dict[str, str], directives: tuple[str, ...]
) -> None:
    assert own_limits(host(tmp_path, files), GIB).directives == directives


def test_what_is_carried_gives_way_to_the_operators_drop_ins(tmp_path: Path) -> None:
    """As the unit's file did, in whose place it is."""
    local = "[Service]\nCPUQuota=200%\nMemoryMax=4G\nAllowedCPUs=\nAllowedCPUs=2-3\n"
    unit = "[Service]\nCPUQuota=800%\nMemoryMax=12G\nAllowedCPUs=0-7\n"
    before, after = (
        own_limits(host(tmp_path / name, {path: unit, f"{ETC}.d/10-limits.conf": local}), GIB)
        for name, path in (("before", ETC), ("after", f"{ETC}.d/00-carried.conf"))
    )
    assert before == after
    assert (after.memory, after.cpus, after.allowed) == (4 * GIB, 2.0, frozenset({2, 3}))


UPSTREAMS = """[Unit]
Description=Ollama Service

[Service]
ExecStart=/usr/local/bin/ollama serve
Restart=always
Environment="PATH=/usr/bin"
"""


@pytest.mark.parametrize(
    ("files", "settings", "variables"),
    [
        ({ETC: UPSTREAMS}, (), ()),
        (
            {ETC: f"{UPSTREAMS}Environment=OLLAMA_HOST=0.0.0.0 'A_B=x y'\nCPUQuota=200%\n MemoryMax = 8G\nNice=5\n"},
            ("CPUQuota=200%", "MemoryMax=8G", "Nice=5"),
            ("OLLAMA_HOST", "A_B"),
        ),
        ({"/usr/lib/systemd/system/ollama.service": "Slice=llm.slice\n"}, ("Slice=llm.slice",), ()),
        ({ETC: "NUMAPolicy=bind\nNUMAMask=0\n"}, ("NUMAPolicy=bind", "NUMAMask=0"), ()),
        ({ETC: "#MemoryMax=1G\n", "/usr/lib/systemd/system/ollama.service": "MemoryMax=8G\n"}, (), ()),
    ],
)
def test_what_a_unit_of_somebody_elses_holds(
    tmp_path: Path, files: dict[str, str], settings: tuple[str, ...], variables: tuple[str, ...]
) -> None:
    found = foreign_unit(host(tmp_path, files))
    assert found
    assert (found.settings, found.variables) == (settings, variables)


def test_variables_in_a_file_of_somebody_elses_unit(tmp_path: Path) -> None:
    found = foreign_unit(host(tmp_path, {ETC: f"{UPSTREAMS}EnvironmentFile=-/etc/default/ollama\nEnvironmentFile=\n"}))
    assert found
    assert found.variable_files == ("/etc/default/ollama",)


def test_a_unit_of_ours_is_not_somebody_elses(tmp_path: Path) -> None:
    assert foreign_unit(Files(str(tmp_path))) is None
    ours = "# Managed by llmops.ollama. More words.\n[Service]\nLimitNOFILE=65536\n"
    assert foreign_unit(host(tmp_path, {ETC: ours, "/usr/lib/systemd/system/ollama.service": "Nice=1\n"})) is None


@pytest.mark.parametrize(
    ("texts", "name", "decides"),
    [
        (["Environment=A=1\nMemoryMax=1G\n", "Environment=B=2\n"], "A", 0),
        (["Environment=A=1\n", 'Environment=B=2 "A=2"\n'], "A", 1),
        (["Environment=A=1\n", "# Environment=A=2\n"], "A", 0),
        (["Environment=A=1\n", "Environment=\n"], "A", 1),
        (["Environment=A=1\n", "Environment=\nEnvironment=B=2\n", "Environment=A=3\n"], "A", 2),
        (["Environment=A=1\n", "A=2\n"], "A", 1),
        (["MemoryMax=1G\n", "MemoryMax=infinity\n", "Environment=\n"], "MemoryMax", 1),
        (["Environment=A=1\n"], "MemoryMax", None),
    ],
)
def test_which_file_has_the_last_word(tmp_path: Path, texts: list[str], name: str, decides: int | None) -> None:
    paths = [f"{ETC}.d/{number}.conf" for number in range(len(texts))]
    last = last_words(host(tmp_path, dict(zip(paths, texts))), paths)
    assert last.get(name) == (None if decides is None else paths[decides])


def test_what_the_last_run_wrote(tmp_path: Path) -> None:
    assert read_tuned(host(tmp_path, {TUNED_PATH: TUNED})) == {
        "LLAMA_ARG_THREADS": "8",
        "OLLAMA_ORIGINS": 'http://a"b%20\\',
        "MemoryHigh": "6144M",
        "MemoryMax": "7168M",
    }
    assert read_tuned(Files(str(tmp_path / "bare"))) == {}
    basis = {"Policy": "5f1c0a9b7e3d", "Memory": "15259", "Set": ""}
    text = "".join(f"{name}={value}\n" for name, value in basis.items())
    assert read_tuned(host(tmp_path / "based", {TUNED_BASIS: text})) == basis


def test_a_limit_that_the_tuning_wrote_is_not_the_hosts(tmp_path: Path) -> None:
    """Otherwise each run would tune for what the run before had left."""
    files = {
        "/proc/meminfo": "MemTotal: 16777216 kB\nMemAvailable: 16000000 kB\nSwapTotal: 0 kB",
        "/proc/self/mountinfo": "34 24 0:30 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw",
        "/proc/1/cgroup": "0::/init.scope",
        "/proc/42/cgroup": "0::/system.slice/ollama.service",
        "/proc/42/status": "Cpus_allowed_list: 0",
        "/sys/fs/cgroup/system.slice/ollama.service/cgroup.procs": "42",
        "/sys/fs/cgroup/system.slice/ollama.service/memory.high": str(6144 << 20),
        "/sys/fs/cgroup/system.slice/ollama.service/memory.max": str(7168 << 20),
        TUNED_PATH: TUNED,
    }
    host(tmp_path, files)
    assert probe(str(tmp_path)).memory_limit_mb is None
    host(tmp_path, {f"{ETC}.d/60-local.conf": "[Service]\nMemoryMax=8G\n"})
    assert probe(str(tmp_path)).memory_limit_mb == 8192
    host(tmp_path, {"/sys/fs/cgroup/system.slice/memory.max": str(4096 << 20)})
    assert probe(str(tmp_path)).memory_limit_mb == 4096
