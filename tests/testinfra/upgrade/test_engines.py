# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One host from the engine of before 0.30 to the current one and back: each enforces and proves settings in its way.

The tests follow each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import RunPlaybook
from module_run import StartModule
from testinfra.host import Host

testinfra_hosts = ["ansible://ollama1"]

OLD = "0.24.0"
# As the scenario was converged with.
ENVIRONMENT = {"OLLAMA_NUM_PARALLEL": "2", "OLLAMA_KV_CACHE_TYPE": "q8_0"}
LOCAL = "/etc/systemd/system/ollama.service.d/60-local.conf"
RESTART = "systemctl daemon-reload && systemctl restart ollama"
ANSWERS = "for try in $(seq 60); do ollama-health > /dev/null 2>&1 && break; sleep 0.5; done; ollama-health"

# A copy of a model's file that says of itself that it pools: an embedding model. What is put in keeps the alignment.
POOLED = """
import struct, sys
content = open(sys.argv[1], "rb").read()
magic, version, tensors, pairs = struct.unpack("<4sIQQ", content[:24])
text = lambda value: struct.pack("<Q", len(value)) + value
added = text(b"gemma3.pooling_type") + struct.pack("<II", 4, 1)
padding = b"-" * (-(len(added) + len(text(b"padding")) + 12) % 32)
added += text(b"padding") + struct.pack("<I", 8) + text(padding)
open(sys.argv[2], "wb").write(struct.pack("<4sIQQ", magic, version, tensors, pairs + 2) + added + content[24:])
"""


# What `health` finds of a model with wanted settings: by the name of a check whether it passed, and the detail.
Checks = Callable[..., "dict[str, tuple[bool, str]]"]


@pytest.fixture
def checks(start_module: StartModule) -> Checks:
    def run(model: str, **wanted: Any) -> dict[str, tuple[bool, str]]:
        arguments = {"level": "effective", "model": model, "fail_when_unhealthy": False, "wait": 20, **wanted}
        result = start_module("llmops.ollama.health", arguments).result()
        return {check["name"]: (check["ok"], check["detail"]) for check in result["checks"]}

    return run


def parameters(host: Host, model: str) -> dict[str, str]:
    lines = host.check_output(f"ollama show {model} --parameters").splitlines()
    return dict(re.split(r"\s+", line.strip(), maxsplit=1) for line in lines)  # type: ignore[misc]


def site(run_playbook: RunPlaybook, version: str) -> str:
    """Bring the host to a version; returns what was printed."""
    variables = {"ollama_version": version, "ollama_environment": ENVIRONMENT}
    code, output = run_playbook("--limit", "localhost,ollama1", variables=variables)
    assert code == 0, output
    return output


def test_settings_are_in_effect_before_0_30(checks: Checks, model: str) -> None:
    found = checks(model, environment=ENVIRONMENT, threads=1)
    assert all(ok for ok, _ in found.values()), found
    assert found["version"][1] == OLD
    assert "has 2 slots (the load's log)" in found["slots"][1]
    assert "runs with 1 thread (the load's log)" in found["threads"][1]
    assert "keeps keys and values as q8_0" in found["kv_cache"][1]


def test_limits_of_the_unit_that_was_replaced_stay(host: Host) -> None:
    assert host.check_output("systemctl show --property=TasksMax --value ollama") == "4000"
    assert host.file("/etc/systemd/system/ollama.service").content_string.startswith("# Managed by llmops.ollama")
    assert host.service("ollama").is_enabled


def test_threads_are_a_parameter_of_the_model_before_0_30(host: Host, model: str) -> None:
    assert parameters(host, model)["num_thread"] == "1"
    assert "LLAMA_ARG" not in host.check_output("ollama-config")


@pytest.fixture
def local_settings(host: Host) -> Iterator[None]:
    """Somebody's own file, read after ours."""
    host.check_output(f"printf '[Service]\\nEnvironment=OLLAMA_FLASH_ATTENTION=0 LLAMA_ARG_THREADS=1\\n' > {LOCAL}")
    host.check_output(f"{RESTART} && {{ {ANSWERS}; }}")
    yield
    host.check_output(f"rm {LOCAL} && {RESTART} && {{ {ANSWERS}; }}")


@pytest.mark.usefixtures("local_settings")
def test_what_the_engine_of_before_0_30_does_not_do_is_named(checks: Checks, model: str) -> None:
    found = checks(model, environment=ENVIRONMENT, threads=1)
    wrong = {name: detail for name, (ok, detail) in found.items() if not ok}
    assert wrong.keys() == {"settings", "kv_cache"}, found
    assert f"LLAMA_ARG_THREADS is read by Ollama 0.30 and newer only, not by Ollama {OLD}" in wrong["settings"]
    assert "keeps keys and values as f16, and OLLAMA_KV_CACHE_TYPE should make them q8_0" in wrong["kv_cache"]


def test_an_upgrade_moves_the_settings_to_where_the_new_engine_reads_them(
    host: Host, model: str, checks: Checks, run_playbook: RunPlaybook, fleet_variables: dict[str, Any]
) -> None:
    new = fleet_variables["ollama_version"]
    site(run_playbook, new)
    wanted = {**ENVIRONMENT, "LLAMA_ARG_THREADS": "1", "LLAMA_ARG_CACHE_RAM": "768"}
    found = checks(model, environment=wanted)
    assert all(ok for ok, _ in found.values()), found
    assert found["version"][1] == new
    assert "has 2 slots (-np 2, /props says 2)" in found["slots"][1]
    assert "num_thread" not in parameters(host, model)
    assert host.file(f"/opt/ollama/{OLD}").is_directory, "the way back is kept"
    assert re.search(r"ollama1 : ok=\d+ changed=0 ", site(run_playbook, new))


def test_a_model_that_the_engine_gives_one_slot_is_told_from_a_setting_without_effect(
    host: Host, model: str, checks: Checks, start_module: StartModule
) -> None:
    host.check_output(
        "cd /root && weights=$(ollama show %s --modelfile | sed -n 's/^FROM //p') && python3 -c %s $weights pooled.gguf"
        " && echo FROM ./pooled.gguf > Modelfile && ollama create pooled && rm pooled.gguf Modelfile",
        model,
        POOLED,
    )
    try:
        found = checks("pooled", environment=ENVIRONMENT)
        plan = start_module("llmops.ollama.tuning_facts", {"models": ["pooled"], "environment": ENVIRONMENT}).result()
    finally:
        host.check_output("ollama rm pooled")
    assert found["slots"][0], found
    assert "1 slot: an embedding model is always given one slot, whatever OLLAMA_NUM_PARALLEL" in found["slots"][1]
    tuning = plan["ansible_facts"]["ollama_tuning"]
    assert [planned["slots"] for planned in tuning["memory"]["models"]] == [1]


def test_the_way_back(host: Host, model: str, checks: Checks, run_playbook: RunPlaybook) -> None:
    site(run_playbook, OLD)
    found = checks(model, environment=ENVIRONMENT, threads=1)
    assert all(ok for ok, _ in found.values()), found
    assert parameters(host, model)["num_thread"] == "1"
    assert "LLAMA_ARG" not in host.check_output("ollama-config")
