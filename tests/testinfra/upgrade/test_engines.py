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


def processes(host: Host) -> tuple[dict[str, str], str]:
    """The environment of the server, and the command lines of all processes."""
    pid = host.check_output("systemctl show --property=MainPID --value ollama")
    lines = host.check_output(f"tr '\\0' '\\n' < /proc/{pid}/environ").splitlines()
    commands = host.check_output(
        "for each in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $each 2> /dev/null; echo; done; true"
    )
    return dict(line.split("=", 1) for line in lines if "=" in line), commands


def site(run_playbook: RunPlaybook, version: str, **more: Any) -> str:
    """Bring the host to a version; returns what was printed."""
    variables = {"ollama_version": version, "ollama_environment": ENVIRONMENT, **more}
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
def local_settings(host: Host, request: pytest.FixtureRequest) -> Iterator[None]:
    """Somebody's own file, read after ours."""
    host.check_output("printf '[Service]\\n%%s\\n' %s > %s", request.param, LOCAL)
    host.check_output(f"{RESTART} && {{ {ANSWERS}; }}")
    yield
    host.check_output(f"rm {LOCAL} && {RESTART} && {{ {ANSWERS}; }}")


@pytest.mark.parametrize("local_settings", ["Environment=OLLAMA_FLASH_ATTENTION=0 LLAMA_ARG_THREADS=1"], indirect=True)
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


OVERRIDDEN = ("LLAMA_ARG_CTX_SIZE=1024", "LLAMA_ARG_N_PARALLEL=7", "LLAMA_ARG_CACHE_TYPE_K=q4_0", "LLAMA_ARG_UBATCH=32")


@pytest.mark.parametrize("local_settings", [f"Environment={' '.join(OVERRIDDEN)}"], indirect=True)
@pytest.mark.usefixtures("local_settings")
def test_what_the_server_overrides_is_named_and_has_no_effect(checks: Checks, model: str) -> None:
    found = checks(model, environment={**ENVIRONMENT, "OLLAMA_CONTEXT_LENGTH": "4096"})
    wrong = {name: detail for name, (ok, detail) in found.items() if not ok}
    assert wrong.keys() == {"settings"}, found
    for setting in OVERRIDDEN:
        assert f"{setting.split('=')[0]} has no effect" in wrong["settings"]


def test_layers_on_gpus_are_enforced_by_what_the_engine_reads(
    host: Host, model: str, run_playbook: RunPlaybook, fleet_variables: dict[str, Any]
) -> None:
    new, hidden = fleet_variables["ollama_version"], ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
    site(run_playbook, new, ollama_num_gpu=0)
    assert [processes(host)[0].get(name) for name in hidden] == ["-1", "-1"]
    output = site(run_playbook, new, ollama_num_gpu=5)
    environment, commands = processes(host)
    assert not set(hidden) & set(environment)
    assert parameters(host, model)["num_gpu"] == "5"
    assert " -ngl 5 " in commands
    assert "num_gpu is 5, but there is no GPU that Ollama would find and use" in output
    site(run_playbook, new)
    assert "num_gpu" not in parameters(host, model)
    assert " -ngl " not in processes(host)[1]


@pytest.mark.parametrize("local_settings", ["MemoryMax=3G"], indirect=True)
@pytest.mark.usefixtures("local_settings")
def test_a_limit_of_the_operators_is_planned_with_and_left_alone(
    host: Host, run_playbook: RunPlaybook, fleet_variables: dict[str, Any]
) -> None:
    new = fleet_variables["ollama_version"]
    site(run_playbook, new)
    limits = "systemctl show --property=MemoryHigh,MemoryMax ollama"
    assert host.check_output(limits).split() == [f"MemoryHigh={2048 << 20}", f"MemoryMax={3072 << 20}"]
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
