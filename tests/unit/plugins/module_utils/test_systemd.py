# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real output of systemctl 252 (Debian 12) and 257 (Debian 13), and what goes wrong with the command itself."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils import systemd as core
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput, Unhealthy

SAMPLES = Path(__file__).resolve().parents[2] / "fixtures/systemd"
VERSIONS = ["252", "257"]


def sample(version: str, name: str) -> core.Unit:
    return core.parse_unit((SAMPLES / version / f"{name}.txt").read_text(encoding="utf-8"))


def utc(*parts: int) -> float:
    return datetime(*parts, tzinfo=timezone.utc).timestamp()  # type: ignore[misc, arg-type]  # up to seven numbers


def test_every_property_of_a_running_service() -> None:
    assert sample("252", "reloaded") == core.Unit(
        name="nginx.service",
        load_state="loaded",
        active_state="active",
        sub_state="running",
        file_state="enabled",
        main_pid=421,
        need_daemon_reload=False,
        result="success",
        exit_status=0,
        restarts=0,
        started=utc(2026, 11, 25, 14, 23, 32, 979172),
        changed=utc(2026, 11, 25, 14, 53, 27, 973843),
    )


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("name", "running", "gone", "need_daemon_reload"),
    [
        ("reloaded", True, False, False),
        ("not-found", False, True, False),
        ("auto-restart", False, True, False),
        ("need-reload", False, True, True),
        ("failed", False, True, False),
    ],
)
def test_states(version: str, name: str, running: bool, gone: bool, need_daemon_reload: bool) -> None:
    unit = sample(version, name)
    assert (unit.running, unit.gone, unit.need_daemon_reload) == (running, gone, need_daemon_reload)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_reload_counts_as_a_change_but_not_as_a_start(version: str) -> None:
    unit = sample(version, "reloaded")
    assert unit.changed > unit.started > utc(2026, 11, 25)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_failed_service_says_why(version: str) -> None:
    unit = sample(version, "failed")
    assert (unit.result, unit.exit_status, unit.active_state) == ("exit-code", 1, "failed")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_unit_that_does_not_exist_has_no_times(version: str) -> None:
    unit = sample(version, "not-found")
    assert (unit.load_state, unit.file_state, unit.started, unit.changed) == ("not-found", "", 0.0, 0.0)


@pytest.mark.parametrize("text", ["", "MainPID=[not set]\nNRestarts=\n", "no equals sign"])
def test_missing_properties_are_empty(text: str) -> None:
    unit = core.parse_unit(text)
    assert (unit.main_pid, unit.restarts, unit.started, unit.running) == (0, 0, 0.0, False)


@pytest.mark.parametrize(
    ("name", "full"), [("ollama", "ollama.service"), ("a.timer", "a.timer"), ("x.service", "x.service")]
)
def test_short_names(name: str, full: str) -> None:
    assert core.unit_name(name) == full


class Recorder:
    """Answers every command alike and remembers them."""

    def __init__(self, done: core.Completed) -> None:
        self.done = done
        self.commands: list[str] = []

    def __call__(self, command: Sequence[str], timeout: float) -> core.Completed:
        self.commands.append(" ".join(command))
        return self.done


def test_a_refusal_is_told_in_the_words_of_systemctl() -> None:
    words = "Failed to restart demo.service: Unit demo.service has a bad unit file setting.\nSee system logs.\n"
    systemd = core.Systemd(Recorder(core.Completed(1, "", words)))
    with pytest.raises(Unhealthy) as caught:
        systemd.restart("demo.service")
    assert caught.value.problem == (
        "systemctl restart demo.service failed:"
        " Failed to restart demo.service: Unit demo.service has a bad unit file setting."
    )


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_a_service_that_failed_too_often_can_be_started(verb: str) -> None:
    run = Recorder(core.Completed(0, "", ""))
    getattr(core.Systemd(run), verb)("demo.service")
    assert run.commands == ["systemctl reset-failed demo.service", f"systemctl {verb} demo.service"]


def test_the_journal_is_a_convenience() -> None:
    run = Recorder(core.Completed(1, "two \n\none\n", "no access"))
    assert core.Systemd(run).journal("demo.service", 5.25) == ["one", "two"]
    assert "--since=@5.250000 --lines=15 --reverse" in run.commands[0]

    def broken(command: Sequence[str], timeout: float) -> core.Completed:
        raise Unhealthy("journalctl did not end.")

    assert core.Systemd(broken).journal("demo.service", 5) == []


def test_properties_that_systemd_does_not_know_are_left_out() -> None:
    run = Recorder(core.Completed(0, "MemoryHigh=infinity\nExecStart={ path=/a ; argv[]=/a b=c }\n\n", ""))
    assert core.Systemd(run).properties("demo.service", ["MemoryHigh", "ExecStart", "Other"]) == {
        "MemoryHigh": "infinity",
        "ExecStart": "{ path=/a ; argv[]=/a b=c }",
    }
    assert run.commands == ["systemctl show demo.service --property=MemoryHigh,ExecStart,Other"]


def test_a_log_between_two_times() -> None:
    run = Recorder(core.Completed(0, "one\n\ntwo\n", ""))
    assert core.Systemd(run).log_between("demo.service", 5.4, 9.6) == "one\n\ntwo\n"
    assert "--since=@5 --until=@10 --output=cat" in run.commands[0]
    with pytest.raises(Unhealthy, match="no access"):
        core.Systemd(Recorder(core.Completed(1, "", "no access"))).log_between("demo.service", 5, 9)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("2048M", 2**31),
        ("2G", 2**31),
        ("512K", 2**19),
        ("0", 0),
        ("1E", 2**60),
        ("infinity", math.inf),
        ("18446744073709551615", math.inf),
    ],
)
def test_limits_in_bytes(text: str, limit: float) -> None:
    assert core.byte_limit(text) == limit


@pytest.mark.parametrize("text", ["", "2 G", "2g", "50%", "-1", "2GiB", "1.5G"])
def test_what_is_no_limit(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a limit in bytes"):
        core.byte_limit(text)


@pytest.mark.parametrize(("value", "text"), [(True, "yes"), (False, "no"), (5, "5"), ("2G", "2G")])
def test_values_as_systemd_writes_them(value: object, text: str) -> None:
    assert core.systemd_text(value) == text


def test_running_a_command() -> None:
    done = core.run_command(
        [sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr); exit(3)"], 60
    )
    assert done == core.Completed(3, "out\n", "err\n")


def test_a_command_that_is_not_there() -> None:
    with pytest.raises(InvalidInput, match=r"no-such-command -t cannot be run: No such file.*Install no-such-command"):
        core.run_command(["no-such-command", "-t"], 1)


def test_a_command_that_hangs() -> None:
    with pytest.raises(Unhealthy, match=r"did not end within 0\.05 s"):
        core.run_command([sys.executable, "-c", "input() if False else __import__('time').sleep(60)"], 0.05)
