# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Settings that look right and are not in effect: the playbook that checks a running fleet names each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from conftest import RunPlaybook
from testinfra.host import Host

testinfra_hosts = ["ansible://ollama1"]

LOCAL = "/etc/systemd/system/ollama.service.d/60-local.conf"
RELOAD, RESTART = "systemctl daemon-reload", "systemctl restart ollama"
ANSWERS = "for try in $(seq 60); do ollama-health > /dev/null 2>&1 && break; sleep 0.5; done; ollama-health"

# Lines of a local drop-in, what is done after it was written, and the words that must be told.
FAULTS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "misspelt variable": (
        "Environment=OLLAMA_NUM_PARALEL=4",
        (RELOAD, RESTART),
        ("(settings)", "OLLAMA_NUM_PARALEL is not known", "Did you mean OLLAMA_NUM_PARALLEL?", "systemctl cat"),
    ),
    "variable that nobody reads": (
        "Environment=OLLAMA_REQUEST_TIMEOUT=300",
        (RELOAD, RESTART),
        ("(settings)", "OLLAMA_REQUEST_TIMEOUT is read by no current Ollama"),
    ),
    "value that is replaced": (
        "Environment=OLLAMA_MAX_TRANSFER_STREAMS=many",
        (RELOAD, RESTART),
        ("(settings)", "OLLAMA_MAX_TRANSFER_STREAMS is 'many'", "silently replaces"),
    ),
    "tuned value that is overridden": (
        "Environment=OLLAMA_NUM_PARALLEL=7 OLLAMA_CONTEXT_LENGTH=1536",
        (RELOAD, RESTART),
        (
            "(environment)",
            f"{LOCAL} overrides OLLAMA_CONTEXT_LENGTH, OLLAMA_NUM_PARALLEL: take it out there",
            "(slots)",
            "has 7 slots",
            "(context)",
            "has 1536 tokens",
        ),
    ),
    "file that systemd has not read": (
        "Environment=OLLAMA_DEBUG=1",
        (),
        ("(unit)", "NeedDaemonReload", "systemctl daemon-reload && systemctl restart ollama.service"),
    ),
    "process older than its file": (
        "Environment=OLLAMA_DEBUG=1",
        (RELOAD,),
        ("(unit)", f"{LOCAL} was changed after process"),
    ),
}


@pytest.fixture
def break_it(host: Host) -> Iterator[Callable[[str, tuple[str, ...]], None]]:
    def write(line: str, commands: tuple[str, ...]) -> None:
        host.check_output("printf '[Service]\\n%%s\\n' %s > %s", line, LOCAL)
        for command in commands:
            host.check_output(command)
        host.check_output(ANSWERS)

    yield write
    host.check_output(f"rm -f {LOCAL} && {RELOAD} && {RESTART}")
    host.check_output(ANSWERS)


def check(run_playbook: RunPlaybook) -> tuple[int, str]:
    # In a dry run it looks as it always does.
    return run_playbook("--limit", "localhost,ollama1", "--check", playbook="playbooks/health.yml")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_setting_without_effect_is_named(
    break_it: Callable[[str, tuple[str, ...]], None], run_playbook: RunPlaybook, fault: str
) -> None:
    line, commands, words = FAULTS[fault]
    break_it(line, commands)
    code, output = check(run_playbook)
    assert code != 0, output
    assert "ollama1" in output
    for word in words:
        assert word in output, output
    assert "Traceback" not in output


def test_a_program_that_was_replaced_is_named(host: Host, run_playbook: RunPlaybook) -> None:
    program = host.check_output("readlink -f /opt/ollama/current/bin/ollama")
    host.check_output(f"cp -p {program} {program}.new && mv {program}.new {program}")
    try:
        code, output = check(run_playbook)
    finally:
        host.check_output(RESTART)
        host.check_output(ANSWERS)
    assert code != 0, output
    assert f"its program {program} was replaced or deleted since it started" in output


@pytest.mark.parametrize(
    "change",
    [
        # As by systemctl edit, which tells systemd and restarts nothing.
        f"printf '[Service]\\nLimitNOFILE=65535\\n' > {LOCAL} && {RELOAD}",
        # As by a release that is unpacked anew under the same version.
        "touch /opt/ollama/current/.llmops-release.json",
    ],
)
def test_a_process_that_is_older_than_what_it_reads_is_restarted_once(
    host: Host, run_playbook: RunPlaybook, change: str
) -> None:
    tune = ("--limit", "localhost,ollama1", "--tags", "tune")
    process = "systemctl show ollama -p MainPID"
    before = host.check_output(process)
    try:
        host.check_output(change)
        code, output = run_playbook(*tune)
        after = host.check_output(process)
        again, second = run_playbook(*tune)
    finally:
        host.check_output(f"rm -f {LOCAL} && {RELOAD} && {RESTART}")
        host.check_output(ANSWERS)
    assert (code, again) == (0, 0), output + second
    assert after != before
    assert "changed=1" not in second.split("PLAY RECAP")[1], second


@pytest.mark.parametrize("tag", ["install", "tune", "models", "verify", "gateway", "mirror"])
def test_each_tag_works_by_itself(run_playbook: RunPlaybook, tag: str) -> None:
    code, output = run_playbook("--tags", tag)
    assert code == 0, output
    assert "changed=1" not in output.split("PLAY RECAP")[1], output


def test_afterwards_everything_is_in_effect(run_playbook: RunPlaybook) -> None:
    code, output = check(run_playbook)
    assert code == 0, output
