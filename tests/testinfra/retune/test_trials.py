# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whatever ends a search, the host runs with its previous settings afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from module_run import ModuleRun, StartModule
from testinfra.host import Host

testinfra_hosts = ["ansible://ollama1"]

TRIAL = "/run/systemd/system/ollama.service.d/90-llmops-trial.conf"
GUARD = "llmops-autotune-ollama.service"
LOCK = "/run/llmops-autotune-ollama.lock"
FACT = "/etc/ansible/facts.d/ollama_tuning.fact"
BROKEN = "/etc/systemd/system/ollama.service.d/10-broken.conf"

# A small search: two settings, short answers. A gain that nothing reaches ends it soon after both were measured; the
# time is for machines that have other things to do.
SMALL: dict[str, Any] = {
    "concurrency": 2,
    "workload": {"max_tokens": 4},
    "space": {"parallel": [1, 2], "threads": [1]},
    "max_minutes": 8,
    "min_gain": 1000,
}
# Where it does not matter how far a search gets.
SHORT = {"max_minutes": 0.6}
ANSWERS = "for try in $(seq 120); do ollama-health > /dev/null 2>&1 && break; sleep 0.5; done; ollama-health"
# Waits until a trial with two slots has a process of its own.
TRYING = (
    f"for try in $(seq 1500); do pid=$(systemctl show -p MainPID --value ollama);"
    f" grep -qs OLLAMA_NUM_PARALLEL=2 /proc/$pid/environ && test -e {TRIAL} && exit 0; sleep 0.2; done; exit 1"
)

Start = Callable[..., ModuleRun]


def settings(host: Host) -> list[str]:
    """What the running server was started with, as far as a search changes it."""
    environment = host.check_output("tr '\\0' '\\n' < /proc/$(systemctl show -p MainPID --value ollama)/environ")
    return sorted(line for line in environment.splitlines() if line.startswith(("OLLAMA_", "LLAMA_")))


@pytest.fixture
def start(start_module: StartModule, model: str) -> Start:
    """Starts a small search on the host, with further arguments and options of ansible."""
    return lambda *options, **arguments: start_module(
        "llmops.ollama.autotune", {"model": model, **SMALL, **arguments}, *options
    )


def outcome(run: ModuleRun) -> dict[str, Any]:
    """What the module returned. The time is for machines that have other things to do."""
    return run.result(1300)


@pytest.fixture(autouse=True)
def as_before(host: Host) -> Iterator[None]:
    """After every test: the same settings, nothing of a trial left, and the guard gone."""
    before = settings(host)
    yield
    host.check_output(ANSWERS)
    assert not host.file(TRIAL).exists
    assert settings(host) == before
    assert host.check_output(f"systemctl list-units --no-legend --all {GUARD}") == ""
    assert host.check_output("systemctl show -p NeedDaemonReload --value ollama") == "no"


def test_check_mode_touches_nothing(host: Host, start: Start) -> None:
    before = host.check_output("systemctl show ollama -p MainPID")
    result = outcome(start("--check"))
    assert result["plan"]["space"]["parallel"] == [1, 2]
    assert result["plan"]["current"] == {"parallel": 1, "threads": 1, "kv_type": "f16", "batch": None}
    assert [each["parallel"] for each in result["plan"]["first"]] == [1, 2]
    assert host.check_output("systemctl show ollama -p MainPID") == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"model": "nosuch:1b"}, ("does not have model 'nosuch:1b'", "gemma3:270m")),
        ({"service": "cron"}, ("cron.service is not managed by this collection",)),
        ({"url": "http://127.0.0.1:9"}, ("127.0.0.1:9", "refused")),
        ({"space": {"threads": [0]}}, ("threads has 0",)),
        ({"max_minutes": 0}, ("max_minutes is 0",)),
        ({"slo": {"ttft_s": -1}}, ("ttft_s",)),
    ],
)
def test_a_mistake_is_named(start: Start, arguments: dict[str, Any], words: tuple[str, ...]) -> None:
    result = outcome(start(**arguments))
    assert result["failed"]
    for word in words:
        assert word in result["msg"]


@pytest.mark.parametrize("kind", ["KILL", "TERM"])
def test_a_module_that_is_killed(host: Host, start: Start, kind: str) -> None:
    run = start()
    host.check_output(TRYING)
    host.check_output(f"kill -{kind} $(cat {LOCK})")
    if kind == "TERM":
        message = outcome(run)["msg"]
        assert message.startswith("Interrupted by SIGTERM.")
        assert "The previous files are back and the service runs as before." in message
    else:
        run.stop()
    host.check_output(f"for try in $(seq 300); do systemctl is-active -q {GUARD} || exit 0; sleep 0.2; done; exit 1")


def test_a_second_search_is_refused(host: Host, start: Start) -> None:
    first = start()
    host.check_output(TRYING)
    second = outcome(start())
    assert second["failed"]
    assert "Settings of ollama.service are being tried already (process " in second["msg"]
    host.check_output(f"kill -TERM $(cat {LOCK})")
    assert "Interrupted by SIGTERM" in outcome(first)["msg"]


def test_a_server_that_is_killed_once_does_not_count(host: Host, start: Start) -> None:
    run = start()
    host.check_output(TRYING)
    host.check_output("kill -9 $(systemctl show -p MainPID --value ollama)")
    trials = outcome(run)["autotune"]["evidence"]["trials"]
    assert [trial["failure"] for trial in trials] == ["", ""]


def test_a_setting_with_which_the_service_does_not_start(host: Host, start: Start) -> None:
    content = "[Service]\\nExecStartPre=/bin/sh -c 'test \"$OLLAMA_NUM_PARALLEL\" != 2'\\n"
    host.check_output(f"printf '{content.replace(chr(39), chr(39) + chr(92) + chr(39) + chr(39))}' > {BROKEN}")
    host.check_output("systemctl daemon-reload")
    try:
        result = outcome(start())["autotune"]
    finally:
        host.check_output(f"rm {BROKEN}; systemctl daemon-reload")
    assert [trial["parallel"] for trial in result["evidence"]["trials"]] == [1, 2]
    assert result["evidence"]["trials"][0]["goodput"] > 0
    assert "ollama.service ended with exit-code." in result["evidence"]["trials"][1]["failure"]
    assert result["adopted"] == result["current"]


def test_a_kept_result_is_what_the_tuner_recommends(
    host: Host, start: Start, start_module: StartModule, model: str
) -> None:
    try:
        result = outcome(start(apply=True, **SHORT))
        assert (result["changed"], result["fact"]) == (True, FACT)
        assert host.file(FACT).mode == 0o644
        assert host.file(FACT).user == "root"
        again = outcome(start(apply=True, **SHORT))
        assert again["changed"] is False
        assert again["autotune"] == result["autotune"]

        def tuner() -> dict[str, Any]:
            given = {"models": [model], "engine_version": "0.34.0"}
            facts: dict[str, Any] = start_module("llmops.ollama.tuning_facts", given).result()["ansible_facts"]
            return dict(facts["ollama_tuning"])

        facts = tuner()
        rules = {each["key"]: each for each in facts["recommendations"]}
        assert rules["parallel"]["rule"] == rules["threads"]["rule"] == "measured"
        assert rules["parallel"]["value"] == result["autotune"]["adopted"]["parallel"]
        assert "Measured on 20" in rules["parallel"]["reason"]
        host.check_output(f"sed -i 's/0.34.0/0.33.0/' {FACT}")
        facts = tuner()
        assert any("stale, re-tune: the engine was 0.33.0 and is 0.34.0" in each for each in facts["warnings"])
        assert next(each["rule"] for each in facts["recommendations"] if each["key"] == "parallel") == "table"
    finally:
        host.check_output(f"rm -f {FACT}")


def test_an_slo_that_cannot_be_met(start: Start) -> None:
    result = outcome(start(slo={"ttft_s": 0.000001}, **SHORT))["autotune"]
    assert result["slo_met"] is False
    assert "No setting meets the SLO" in result["slo_remark"]
    assert "times as long as promised (TTFT is" in result["slo_remark"]
