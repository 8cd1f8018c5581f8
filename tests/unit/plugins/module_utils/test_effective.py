# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Each way in which what is configured is not what the server's process has."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils import effective as core
from ansible_collections.llmops.ollama.plugins.module_utils.engine import Engine
from ansible_collections.llmops.ollama.plugins.module_utils.errors import Unhealthy
from ansible_collections.llmops.ollama.plugins.module_utils.systemd import parse_time
from fake_host import SERVER, SERVICE, STARTED, FakeHost

GIB2 = str(2 << 30)


@pytest.fixture
def fake(tmp_path: Path) -> FakeHost:
    """A service as it should be: files older than the process, and a program behind a link."""
    host = FakeHost(tmp_path)
    program = tmp_path / "opt/0.34.0/bin/ollama"
    program.parent.mkdir(parents=True)
    program.touch()
    (tmp_path / "opt/current").symlink_to("0.34.0")
    start = f"{tmp_path}/opt/current/bin/ollama"
    host.properties["ExecStart"] = f"{{ path={start} ; argv[]={start} serve ; ignore_errors=no ; pid=0 }}"
    unit = tmp_path / SERVICE
    drop_in = tmp_path / f"{SERVICE}.d/50-tuning.conf"
    drop_in.parent.mkdir()
    for file in (unit, drop_in):
        file.touch()
        set_time(file, -60)
    host.properties.update(FragmentPath=str(unit), DropInPaths=str(drop_in), MemoryHigh=GIB2)
    host.process(SERVER, environment={"OLLAMA_NUM_PARALLEL": "2", "PATH": "/bin"}, executable=str(program))
    return host


def set_time(file: Path, seconds: float) -> None:
    """Let a file have been changed so long after the process started."""
    moment = parse_time(STARTED) + seconds
    os.utime(file, (moment, moment))


def proof(fake: FakeHost, version: str = "0.34.0", **wanted: Any) -> core.Proof:
    return core.Proof(core.Wanted(**wanted), SERVICE, fake.host, version)


def failure(check: Callable[[], str]) -> str:
    with pytest.raises(Unhealthy) as caught:
        check()
    return str(caught.value)


# --- the unit ------------------------------------------------------------------------------------------------------


def test_a_unit_as_it_should_be(fake: FakeHost) -> None:
    assert proof(fake).unit() == "process 77 is younger than the unit's 2 files"


def test_files_that_systemd_has_not_read(fake: FakeHost) -> None:
    fake.properties["NeedDaemonReload"] = "yes"
    assert failure(proof(fake).unit) == (
        "ollama.service does not run as it is configured: its files were changed without telling systemd"
        " (NeedDaemonReload). Restart it (systemctl daemon-reload && systemctl restart ollama.service)."
    )


def test_a_process_older_than_a_file_with_its_variables(fake: FakeHost) -> None:
    names = [fake.root / name for name in ("one.env", "two.env")]
    fake.properties["EnvironmentFiles"] = "\nEnvironmentFiles=".join(f"{name} (ignore_errors=yes)" for name in names)
    assert proof(fake).unit() == "process 77 is younger than the unit's 2 files", "they need not exist"
    for name, seconds in zip(names, (1, -60)):
        name.touch()
        set_time(name, seconds)
    assert f"{names[0]} was changed after process 77 started" in failure(proof(fake).unit)


def test_a_time_to_come_tells_nothing(fake: FakeHost) -> None:
    file = fake.root / f"{SERVICE}.d/50-tuning.conf"
    os.utime(file, (time.time() + 3600, time.time() + 3600))
    assert proof(fake).unit()


@pytest.mark.parametrize("name", [SERVICE, f"{SERVICE}.d/50-tuning.conf"])
def test_a_process_older_than_its_files(fake: FakeHost, name: str) -> None:
    set_time(fake.root / name, 1)
    assert f"{fake.root}/{name} was changed after process 77 started" in failure(proof(fake).unit)


def test_files_that_do_not_count(fake: FakeHost) -> None:
    # The distribution's for all services, one that systemctl set-property wrote, and one that is gone.
    names = ["service.d/10-all.conf", f"system.control/{SERVICE}.d/50-MemoryHigh.conf"]
    for name in names:
        (fake.root / name).parent.mkdir(parents=True)
        (fake.root / name).touch()
        set_time(fake.root / name, 60)
    gone = f"{fake.root}/{SERVICE}.d/60-gone.conf"
    fake.properties["DropInPaths"] += "".join(f" {fake.root}/{name}" for name in names) + f" {gone}"
    assert proof(fake).unit()


def test_a_program_that_was_replaced(fake: FakeHost) -> None:
    exe = fake.proc / str(SERVER) / "exe"
    exe.unlink()
    exe.symlink_to("/opt/ollama/0.33.0/bin/ollama (deleted)")
    assert "its program /opt/ollama/0.33.0/bin/ollama was replaced or deleted" in failure(proof(fake).unit)


def test_a_link_that_leads_to_another_release_now(fake: FakeHost) -> None:
    (fake.root / "opt/0.35.0/bin").mkdir(parents=True)
    (fake.root / "opt/0.35.0/bin/ollama").touch()
    (fake.root / "opt/current").unlink()
    (fake.root / "opt/current").symlink_to("0.35.0")
    root = fake.root / "opt"
    expected = f"it runs {root}/0.34.0/bin/ollama, and {root}/current/bin/ollama is now {root}/0.35.0/bin/ollama"
    assert expected in failure(proof(fake).unit)


@pytest.mark.parametrize("start", ["", "{ path=/usr/bin/numactl ; argv[]=/usr/bin/numactl ollama serve }"])
def test_a_program_started_by_another(fake: FakeHost, start: str) -> None:
    fake.properties["ExecStart"] = start
    assert proof(fake).unit()


def test_several_faults_at_once(fake: FakeHost) -> None:
    fake.properties["NeedDaemonReload"] = "yes"
    set_time(fake.root / SERVICE, 1)
    text = failure(proof(fake, directives={"MemoryHigh": "1G"}).unit)
    assert text.count(";") == 2
    assert "MemoryHigh should be 1G" in text


def test_a_service_without_a_process(fake: FakeHost) -> None:
    fake.properties["MainPID"] = "0"
    for check in (proof(fake).unit, proof(fake).settings, proof(fake, directives={"MemoryHigh": "1G"}).fit):
        assert "ollama.service has no running process. Start it" in failure(check)


def test_a_process_that_ended_since_systemd_was_asked(fake: FakeHost) -> None:
    fake.properties["MainPID"] = "99"
    assert "Process 99 has just ended." in failure(proof(fake).unit)
    assert "Process 99 has just ended." in failure(proof(fake).settings)


# --- directives ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "wanted", "has"),
    [
        ("MemoryHigh", "2048M", GIB2),
        ("MemoryHigh", "2G", GIB2),
        ("MemoryHigh", GIB2, GIB2),
        ("MemoryMax", "infinity", "infinity"),
        ("MemoryMax", "infinity", "18446744073709551615"),
        ("NoNewPrivileges", "yes", "yes"),
    ],
)
def test_a_directive_in_effect(fake: FakeHost, name: str, wanted: str, has: str) -> None:
    fake.properties[name] = has
    assert f"has {name} as wanted" in proof(fake, directives={name: wanted}).unit()


@pytest.mark.parametrize(
    ("name", "wanted", "has", "words"),
    [
        ("MemoryHigh", "2048M", "infinity", "MemoryHigh should be 2048M and is infinity"),
        ("MemoryHigh", "infinity", GIB2, f"MemoryHigh should be infinity and is {GIB2}"),
        ("MemoryHigh", "2G", "2147483647", "MemoryHigh should be 2G and is 2147483647"),
        ("MemoryHigh", "50%", GIB2, f"MemoryHigh should be 50% and is {GIB2}"),
        ("MemoryMax", "4G", "", "MemoryMax should be 4G and is not set"),
        ("NoNewPrivileges", "yes", "no", "NoNewPrivileges should be yes and is no"),
    ],
)
def test_a_directive_that_is_not(fake: FakeHost, name: str, wanted: str, has: str, words: str) -> None:
    fake.properties[name] = has
    assert words in failure(proof(fake, directives={name: wanted}).unit)


def test_a_directive_that_a_later_file_overrides(fake: FakeHost) -> None:
    tuned = fake.root / f"{SERVICE}.d/50-tuning.conf"
    tuned.write_text("[Service]\nMemoryHigh=3G\n")
    set_time(tuned, -60)
    wanted = {"MemoryHigh": "3G"}
    assert failure(proof(fake, directives=wanted).unit).endswith(
        f"MemoryHigh should be 3G and is {GIB2}. Run site.yml; if it stays, see what else sets it"
        " (systemctl cat ollama.service)."
    )
    later = tuned.with_name("override.conf")
    later.write_text("[Service]\nMemoryHigh=2G\n")
    set_time(later, -60)
    fake.properties["DropInPaths"] += f" {later}"
    assert failure(proof(fake, directives=wanted).unit).endswith(
        f"MemoryHigh should be 3G and is {GIB2}. {later} overrides MemoryHigh: take it out there, then run site.yml."
    )
    set_time(later, 1)
    assert failure(proof(fake, directives=wanted).unit).endswith(
        "Restart it (systemctl daemon-reload && systemctl restart ollama.service)."
    )


def test_a_directive_that_systemd_does_not_know(fake: FakeHost) -> None:
    text = failure(proof(fake, directives={"MemoryHihg": "2G"}).unit)
    assert "systemd has no property MemoryHihg for it, which should be 2G" in text


def kernel(fake: FakeHost, text: str) -> None:
    folder = fake.sys / "fs/cgroup/system.slice" / SERVICE
    folder.mkdir(parents=True)
    (folder / "memory.high").write_text(text)


@pytest.mark.parametrize(("wanted", "text"), [("2G", f"{GIB2}\n"), ("2147483650", f"{GIB2}\n")])
def test_a_limit_that_the_kernel_enforces(fake: FakeHost, wanted: str, text: str) -> None:
    kernel(fake, text)
    fake.properties["MemoryHigh"] = wanted if wanted.isdigit() else GIB2
    assert proof(fake, directives={"MemoryHigh": wanted}).unit().endswith("has MemoryHigh as wanted")


@pytest.mark.parametrize(("text", "told"), [("max\n", "inf"), ("1073741824\n", "1073741824")])
def test_a_limit_that_the_kernel_does_not_have(fake: FakeHost, text: str, told: str) -> None:
    kernel(fake, text)
    words = f"MemoryHigh should be 2G, and the kernel enforces {told} bytes"
    assert words in failure(proof(fake, directives={"MemoryHigh": "2G"}).unit)


def test_a_kernel_without_such_limits_is_remarked_on(fake: FakeHost) -> None:
    text = proof(fake, directives={"MemoryHigh": "2G"}).unit()
    assert text.endswith("the kernel has no memory.high here, so that MemoryHigh is not enforced")


# --- settings ------------------------------------------------------------------------------------------------------


def set_environment(fake: FakeHost, **variables: str) -> None:
    text = "".join(f"{name}={value}\0" for name, value in variables.items())
    (fake.proc / str(SERVER) / "environ").write_text(text)


def test_settings_that_the_server_reads(fake: FakeHost) -> None:
    set_environment(
        fake,
        OLLAMA_NUM_PARALLEL=' "4" ',
        OLLAMA_KEEP_ALIVE="",
        LLAMA_ARG_THREADS="2",
        # Others' may be as they like.
        MOTD="line 1\nline 2",
        TABLE="a\tb",
        **{"BASH_FUNC_which%%": "() {\n}"},
    )
    assert proof(fake).settings() == "Ollama 0.34.0 reads all 3 variables of process 77"


@pytest.mark.parametrize(
    ("version", "variable", "value", "words"),
    [
        ("0.34.0", "OLLAMA_NUM_PARALEL", "4", "Did you mean OLLAMA_NUM_PARALLEL?"),
        ("0.34.0", "OLLAMA_REQUEST_TIMEOUT", "300", "OLLAMA_REQUEST_TIMEOUT is read by no current Ollama."),
        ("0.24.0", "LLAMA_ARG_THREADS", "2", "read by Ollama 0.30 and newer only, not by Ollama 0.24.0."),
        (
            "0.34.0",
            "OLLAMA_NUM_PARALLEL",
            "four",
            "OLLAMA_NUM_PARALLEL is 'four': the server silently replaces it by its default. It must be a whole number",
        ),
        ("", "OLLAMA_FLASH_ATTENTION", "yes", "It must be true or false."),
        ("0.34.0", "LLAMA_ARG_THREADS", "four", "llama-server refuses it, so that no model loads."),
        ("0.34.0", "OLLAMA_NUM_PARALLEL", "²", "It must be a whole number, 1 or more."),
        ("0.34.0", "LLAMA_ARG_CTX_SIZE", "4096", "has no effect: Ollama gives llama-server the same"),
    ],
)
def test_settings_without_effect(fake: FakeHost, version: str, variable: str, value: str, words: str) -> None:
    set_environment(fake, **{variable: value})
    text = failure(proof(fake, version).settings)
    assert words in text
    assert text.startswith("Process 77 of ollama.service has settings without effect.")
    assert "Find them (systemctl cat ollama.service)" in text


def test_a_wanted_setting_without_effect_is_corrected_where_it_comes_from(fake: FakeHost) -> None:
    set_environment(fake, OLLAMA_NUM_PARALEL="4")
    wanted = core.Wanted({"OLLAMA_NUM_PARALEL": "4"})
    text = failure(core.Proof(wanted, SERVICE, fake.host, "0.34.0").settings)
    assert "Correct ollama_environment and run site.yml." in text


def test_a_version_that_is_none_counts_as_the_newest() -> None:
    assert core.engine_of("built by hand") == Engine()


# --- memory --------------------------------------------------------------------------------------------------------


def test_memory_below_the_limit(fake: FakeHost) -> None:
    fake.process(78, SERVER, peak_mib=400)
    fake.process(79, SERVER, peak_mib=600)
    directives = {"MemoryHigh": "2G", "MemoryMax": "3G"}
    assert proof(fake, directives=directives).fit() == (
        "resident memory was 1050 MiB at most so far (server 50, runners 400 + 600), below MemoryHigh of 2048 MiB"
    )


@pytest.mark.parametrize("name", ["MemoryHigh", "MemoryMax"])
def test_memory_beyond_the_limit(fake: FakeHost, name: str) -> None:
    fake.process(78, SERVER, peak_mib=462)
    text = failure(proof(fake, directives={name: "512M"}).fit)
    assert f"Resident memory was 512 MiB at most so far (server 50, runners 462), which is not below {name}" in text
    assert "Lower OLLAMA_NUM_PARALLEL" in text


@pytest.mark.parametrize("directives", [{}, {"MemoryHigh": "infinity"}, {"MemoryHigh": "50%"}, {"TasksMax": "9"}])
def test_no_limit_to_compare_with(fake: FakeHost, directives: dict[str, str]) -> None:
    assert list(proof(fake, directives=directives).of_memory()) == []


def test_names_of_the_checks(fake: FakeHost) -> None:
    looked = proof(fake, directives={"MemoryMax": "1G"})
    assert [name for name, _ in [*looked.of_process(), *looked.of_memory()]] == ["unit", "settings", "fit"]
