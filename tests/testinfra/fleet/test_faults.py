# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bad input and real faults: one clear message, and what ran before runs on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import RunPlaybook
from testinfra.host import Host

testinfra_hosts = ["ansible://ollama1"]

ONE = ("--limit", "localhost,ollama1")


def process(host: Host) -> str:
    return host.check_output("systemctl show ollama -p MainPID,ActiveState")


# What is asked for, and what the message must name: the value and the remedy.
FAULTS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "wrong checksum": ({"ollama_sha256": "0" * 64}, ("0" * 64, "sha256")),
    "unreachable mirror": (
        {"ollama_version": "0.34.1", "ollama_release_url": "http://127.0.0.1:9/releases"},
        ("127.0.0.1:9", "refused"),
    ),
    "version that does not exist": ({"ollama_version": "0.99.0"}, ("0.99.0", "404")),
    "model that does not exist": ({"ollama_models": ["nosuch:1b"]}, ("nosuch:1b",)),
    "model name that is none": ({"ollama_models": ["a b"]}, ("a b",)),
    "no room at all": ({"ollama_min_free_mb": 10**9}, ("1000000000", "Make room")),
    "file system that is full": ({"ollama_install_root": "/srv/full"}, ("/srv/full", "free")),
    "profile that is none": ({"ollama_profile": "turbo"}, ("turbo", "conservative")),
    "policy key that is none": ({"ollama_tuning_policy": {"paralel": 3}}, ("paralel",)),
    "memory that is not there": (
        {"ollama_tuning_policy": {"reserve": {"min_mb": 3900}}},
        ("gemma3:270m Q4_K_M would take up to", "reserve of 3900 MiB", "The service was not touched"),
    ),
    "number that is none": ({"ollama_environment": {"OLLAMA_NUM_PARALLEL": "four"}}, ("OLLAMA_NUM_PARALLEL", "four")),
    "address among the variables": (
        {"ollama_environment": {"OLLAMA_HOST": "0.0.0.0:8080", "OLLAMA_MODELS": "/data"}},
        ("OLLAMA_HOST and OLLAMA_MODELS", "Set ollama_host", "ollama_models_path"),
    ),
    "address that is not ours": ({"ollama_host": "192.0.2.1:11434"}, ("ollama.service", "previous files are back")),
}


@pytest.fixture(scope="module")
def full_disk(host: Host) -> Any:
    host.check_output("mkdir -p /srv/full && mount -t tmpfs -o size=4m tmpfs /srv/full")
    yield
    host.check_output("umount /srv/full && rmdir /srv/full")


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_and_changes_nothing(host: Host, run_playbook: RunPlaybook, fault: str) -> None:
    variables, words = FAULTS[fault]
    if fault == "file system that is full":
        variables = {**variables, "ollama_min_free_mb": 1}
    before = process(host)
    code, output = run_playbook(*ONE, variables=variables)
    assert code != 0
    assert "ollama1" in output
    for word in words:
        assert word in output, output
    assert "Traceback" not in output
    after = process(host)
    assert "ActiveState=active" in after
    # Only the address was tried on the running service; everything else was refused before.
    assert after == before or fault == "address that is not ours"
    assert host.check_output("ollama-health") == "Ollama is healthy"


def test_the_faults_left_nothing_to_repair(run_playbook: RunPlaybook) -> None:
    code, output = run_playbook(*ONE)
    assert code == 0, output
    assert "changed=1" not in output.split("PLAY RECAP")[1], output


def test_a_bad_nginx_option_keeps_the_old_configuration(run_playbook: RunPlaybook, gateway_url: str) -> None:
    code, output = run_playbook("--limit", "localhost,edge", variables={"gateway_server_options": {"no_such": "on"}})
    assert code != 0
    assert 'unknown directive "no_such"' in output
    assert requests.get(f"{gateway_url}/api/version", timeout=10).status_code == 200


def test_an_inventory_without_the_group(run_playbook: RunPlaybook, tmp_path: Path) -> None:
    source = tmp_path / "hosts"
    source.write_text("[servers]\na.example.org\n", encoding="utf-8")
    code, output = run_playbook(source=str(source))
    assert code != 0
    assert "no host in the group 'ollama'" in output
    assert "servers" in output


def test_a_changed_value_restarts_once(host: Host, run_playbook: RunPlaybook) -> None:
    started = "journalctl -u ollama --no-pager -q | grep -c 'Started ollama.service'"
    before = int(host.check_output(started))
    code, output = run_playbook(*ONE, variables={"ollama_environment": {"OLLAMA_MAX_QUEUE": "99"}})
    assert code == 0, output
    assert int(host.check_output(started)) == before + 1
    assert "OLLAMA_MAX_QUEUE                     99" in host.check_output("ollama-config")
    code, output = run_playbook(*ONE)
    assert code == 0, output
    assert int(host.check_output(started)) == before + 2
