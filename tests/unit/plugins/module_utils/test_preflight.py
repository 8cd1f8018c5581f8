# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which hosts will do, and what is said about those that will not."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils import preflight as core

GOOD = core.Host(
    os="debian",
    os_version="12",
    os_name="Debian GNU/Linux 12 (bookworm)",
    systemd=True,
    architecture="x86_64",
    python=(3, 11, 2),
    root=True,
    disk=(core.Disk("/opt/ollama", "/opt", 5000, 5000),),
)

# What the distributions ship as /etc/os-release, cut to the lines that matter here.
RELEASES = {
    "Debian 11": ('ID=debian\nVERSION_ID="11"\nVERSION_CODENAME=bullseye', ("debian", "11"), False),
    "Debian 12": ('ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm', ("debian", "12"), True),
    "Debian 13": ('ID=debian\nVERSION_ID="13"\nVERSION_CODENAME=trixie', ("debian", "13"), True),
    "Debian testing": ("ID=debian\nVERSION_CODENAME=forky", ("debian", "14"), True),
    "Ubuntu 20.04": (
        'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="20.04"\nUBUNTU_CODENAME=focal',
        ("ubuntu", "20.04"),
        False,
    ),
    "Ubuntu 22.04": ('ID=ubuntu\nID_LIKE=debian\nVERSION_ID="22.04"\nUBUNTU_CODENAME=jammy', ("ubuntu", "22.04"), True),
    "Ubuntu 24.04": ('ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"', ("ubuntu", "24.04"), True),
    "Linux Mint 22": (
        'ID=linuxmint\nID_LIKE="ubuntu debian"\nVERSION_ID="22"\nVERSION_CODENAME=wilma\nUBUNTU_CODENAME=noble',
        ("ubuntu", "24.04"),
        True,
    ),
    "Linux Mint 20": (
        'ID=linuxmint\nID_LIKE=ubuntu\nVERSION_ID="20.3"\nVERSION_CODENAME=una\nUBUNTU_CODENAME=focal',
        ("", ""),
        False,
    ),
    "Raspbian 12": ('ID=raspbian\nID_LIKE=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm', ("debian", "12"), True),
    "Rocky 9": ('ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"', ("", ""), False),
    "Alpine": ("ID=alpine\nVERSION_ID=3.20.0", ("", ""), False),
    "no os-release": ("", ("", ""), False),
}


@pytest.mark.parametrize(("text", "expected", "good"), RELEASES.values(), ids=RELEASES.keys())
def test_distributions(text: str, expected: tuple[str, str], good: bool) -> None:
    name, version = core.distribution(core.parse_os_release(text))
    assert (name, version) == expected
    found = core.problems(replace(GOOD, os=name, os_version=version, os_name="This System 1"))
    assert [(entry.check, entry.problem) for entry in found] == (
        [] if good else [("os", "The operating system is This System 1.")]
    )


def test_os_release_quotes_and_comments() -> None:
    text = "# comment=1\nPRETTY_NAME=\"Debian GNU/Linux 12\"\nHOME_URL='https://a/?b=c'\n\nID=debian\n"
    assert core.parse_os_release(text) == {
        "PRETTY_NAME": "Debian GNU/Linux 12",
        "HOME_URL": "https://a/?b=c",
        "ID": "debian",
    }


@pytest.mark.parametrize(
    ("host", "check", "value"),
    [
        (replace(GOOD, systemd=False), "systemd", "/run/systemd/system is missing"),
        (replace(GOOD, architecture="riscv64"), "architecture", "riscv64"),
        (replace(GOOD, python=(3, 8, 18)), "python", "3.8.18"),
        (replace(GOOD, root=False), "root", "root"),
        (replace(GOOD, disk=(core.Disk("/a/b", "/a", 4999, 5000),)), "disk", "/a/b has 4999 MiB free"),
    ],
)
def test_each_problem_alone(host: core.Host, check: str, value: str) -> None:
    (only,) = core.problems(host)
    assert only.check == check
    assert value in only.problem
    assert only.remedy


@pytest.mark.parametrize(
    "host", [GOOD, replace(GOOD, architecture="aarch64", python=(3, 9, 0)), replace(GOOD, disk=())]
)
def test_a_good_host(host: core.Host) -> None:
    assert core.problems(host) == []


def test_all_problems_come_in_one_message() -> None:
    host = replace(GOOD, systemd=False, root=False, disk=(core.Disk("/x", "/", 1, 2), core.Disk("/y", "/", 1, 2)))
    text = " ".join(core.message(core.problems(host)))
    for words in ("(1) systemd", "(2) This does not run as root", "(3) /x has 1 MiB free", "(4) /y has 1 MiB free"):
        assert words in text


def test_facts_come_from_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/lib/os-release").write_text('PRETTY_NAME="Ubuntu 24.04.1 LTS"\nID=ubuntu\nVERSION_ID="24.04"\n')
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    (tmp_path / "var/lib").mkdir(parents=True)
    free = {tmp_path / "var/lib": 3 * core.MIB, tmp_path: 7 * core.MIB - 1}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**12, 0, free[path]))
    host = core.look(
        [{"path": "/var/lib/ollama/models", "min_mb": 1}, {"path": "/opt/ollama", "min_mb": 2}], root=str(tmp_path)
    )
    assert (host.os, host.os_version, host.os_name) == ("ubuntu", "24.04", "Ubuntu 24.04.1 LTS")
    assert host.systemd
    assert host.disk == (
        core.Disk("/var/lib/ollama/models", "/var/lib", 3, 1),
        core.Disk("/opt/ollama", "/", 6, 2),
    )


def test_facts_of_an_empty_root(tmp_path: Path) -> None:
    host = core.look(root=str(tmp_path))
    assert (host.os, host.os_name, host.systemd, host.disk) == ("", "an unknown system", False, ())


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A model store of whoever runs this test, behind a link."""
    for folder in ("blobs", "manifests/registry.ollama.ai/library/gemma3"):
        (tmp_path / "disk" / folder).mkdir(parents=True)
    (tmp_path / "disk/blobs/sha256-1").touch()
    (tmp_path / "models").symlink_to("disk")
    return tmp_path / "models"


def test_a_store_of_the_users_own(store: Path) -> None:
    assert core.foreign(str(store), pwd.getpwuid(os.getuid()).pw_name) == []
    assert core.foreign(str(store / "absent"), "nobody") == []


@pytest.mark.parametrize("user", ["nobody", "yet-to-be-made"])
def test_folders_that_somebody_else_may_not_write_in(store: Path, user: str) -> None:
    blobs, manifests = (str(store.resolve() / part) for part in ("blobs", "manifests"))
    assert core.foreign(str(store), user) == [blobs, manifests]
    for folder in ("blobs", "manifests", "manifests/registry.ollama.ai", "manifests/registry.ollama.ai/library"):
        (store / folder).chmod(0o777)
    # Files do not count, and one folder is enough.
    assert core.foreign(str(store), user) == [manifests]
    (store / "manifests/registry.ollama.ai/library/gemma3").chmod(0o777)
    assert core.foreign(str(store), user) == []


def test_folders_of_a_group_that_the_user_is_in(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getgrouplist", lambda user, group: [group, store.stat().st_gid])
    for folder, _, _ in os.walk(store.resolve()):
        Path(folder).chmod(0o775)
    assert core.foreign(str(store), "nobody") == []
    (store / "blobs").chmod(0o755)
    assert core.foreign(str(store), "nobody") == [str(store.resolve() / "blobs")]


def test_a_store_that_is_mounted_to_be_read(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_only = SimpleNamespace(f_flag=os.ST_RDONLY)
    monkeypatch.setattr(os, "statvfs", lambda path: read_only)
    assert core.foreign(str(store), "nobody") == []


def test_packages_that_are_not_installed_are_missing() -> None:
    # As dpkg-query prints it: one installed, one removed but not purged, one that it never heard of.
    def query(names: Sequence[str]) -> str:
        return "zstd installed\nnginx config-files\n"

    assert core.missing_packages(["nginx", "zstd", "python3-psutil"], query) == ["nginx", "python3-psutil"]


def test_no_packages_ask_nothing() -> None:
    def query(names: Sequence[str]) -> str:
        raise AssertionError("nothing to ask for")

    assert core.missing_packages([], query) == []
