# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The doctor on a running fleet: silent where all is well, and real faults named with what a person needs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import RunPlaybook
from testinfra.host import Host

testinfra_hosts = ["ansible://ollama1"]

DROP_IN = "/etc/systemd/system/ollama.service.d/60-local.conf"
# Long enough for the playbook to see it; it ends by itself.
BUSY_SECONDS = 40


def examine(run_playbook: RunPlaybook) -> str:
    """What the doctor prints about the host, in one line; finding something is no failure and no change."""
    # Without localhost, as a person names the host that is in trouble.
    code, output = run_playbook("--limit", "ollama1", playbook="playbooks/doctor.yml")
    assert code == 0, output
    recap = output.split("PLAY RECAP")[1]
    assert "changed=0" in recap, output
    assert "changed=1" not in recap, output
    return output.split("=== ollama1:", 1)[1].split("PLAY RECAP")[0]


@pytest.fixture
def misspelt(host: Host) -> Iterator[None]:
    host.check_output(f"printf '[Service]\\nEnvironment=OLLAMA_NUM_PARALEL=4\\n' > {DROP_IN}")
    host.check_output("systemctl daemon-reload && systemctl restart ollama")
    yield
    host.check_output(f"rm {DROP_IN} && systemctl daemon-reload && systemctl restart ollama")


@pytest.fixture
def unread(host: Host) -> Iterator[None]:
    host.check_output(f"printf '[Service]\\nEnvironment=OLLAMA_DEBUG=1\\n' > {DROP_IN}")
    yield
    host.check_output(f"rm {DROP_IN} && systemctl daemon-reload")


@pytest.fixture
def ignored(host: Host) -> Iterator[None]:
    host.check_output(f"printf '[Service]\\nEnviroment=OLLAMA_MAX_QUEUE=4\\n' > {DROP_IN}")
    host.check_output("systemctl daemon-reload")
    yield
    host.check_output(f"rm {DROP_IN} && systemctl daemon-reload")


@pytest.fixture
def replaced(host: Host) -> Iterator[None]:
    host.check_output("b=$(readlink -f /opt/ollama/current/bin/ollama) && cp -a $b $b.new && mv $b.new $b")
    yield
    host.check_output("systemctl restart ollama")


@pytest.fixture
def busy(host: Host) -> Iterator[str]:
    program = f"timeout {BUSY_SECONDS} python3 -c 'while True: pass'"
    pid = host.check_output(f"{program} > /dev/null 2>&1 & echo $!").strip()
    yield pid
    # It may have ended by itself.
    host.run(f"kill {pid}")


@pytest.fixture
def stopped(host: Host) -> Iterator[None]:
    host.check_output("systemctl stop ollama")
    yield
    host.check_output("systemctl start ollama")


def test_a_healthy_host_has_no_problem(run_playbook: RunPlaybook) -> None:
    report = examine(run_playbook)
    assert "!!" not in report, report
    assert "What was looked at" in report
    assert "unit ollama.service: active" in report


@pytest.mark.usefixtures("misspelt")
def test_a_misspelt_variable_is_named_with_its_file(run_playbook: RunPlaybook) -> None:
    report = examine(run_playbook)
    assert "Problem 1: a setting had no effect !! OLLAMA_NUM_PARALEL is not known" in report, report
    assert f"{DROP_IN}: OLLAMA_NUM_PARALEL=4" in report, report
    assert "Did you mean OLLAMA_NUM_PARALLEL?" in report, report


@pytest.mark.usefixtures("unread")
def test_a_drop_in_that_systemd_has_not_read_is_named(run_playbook: RunPlaybook) -> None:
    report = examine(run_playbook)
    assert f"not read yet: {DROP_IN}" in report, report
    assert "systemctl daemon-reload && systemctl restart ollama.service" in report, report


@pytest.mark.usefixtures("ignored")
def test_a_line_that_systemd_ignores_is_named_in_its_words(run_playbook: RunPlaybook) -> None:
    report = examine(run_playbook)
    assert f"systemd ignores line 2 of {DROP_IN}." in report, report
    assert "Unknown key" in report, report


@pytest.mark.usefixtures("replaced")
def test_what_only_the_proof_of_health_sees_is_told(run_playbook: RunPlaybook) -> None:
    report = examine(run_playbook)
    assert "The service does not run as it is configured." in report, report
    assert "was replaced or deleted since it started" in report, report


def test_a_process_that_takes_the_cpu_is_named(run_playbook: RunPlaybook, busy: str) -> None:
    report = examine(run_playbook)
    assert int(busy) > 1
    assert "Problem 3: slow answers" in report, report
    assert "competes with the server for CPUs" in report, report
    assert "python3" in report, report


@pytest.mark.usefixtures("stopped")
def test_a_stopped_service_is_named(run_playbook: RunPlaybook) -> None:
    report = examine(run_playbook)
    assert "ollama.service is stopped." in report, report
    assert "ActiveState=inactive" in report, report
    assert "systemctl start ollama.service" in report, report


def test_nothing_is_left(host: Host, run_playbook: RunPlaybook) -> None:
    assert not host.file(DROP_IN).exists
    assert host.service("ollama").is_running
    code, output = run_playbook("--limit", "localhost,ollama1")
    assert code == 0, output
    assert "changed=1" not in output.split("PLAY RECAP")[1], output
