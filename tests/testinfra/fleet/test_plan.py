# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan of a running fleet, and what real loads say to it."""

from __future__ import annotations

import json
import re

from conftest import RunPlaybook
from testinfra.host import Host

testinfra_hosts = ["ansible://ollama1"]


def test_a_plan_changes_nothing_and_shows_the_memory(run_playbook: RunPlaybook) -> None:
    code, output = run_playbook(playbook="playbooks/plan.yml")
    assert code == 0, output
    assert "memory in the worst case:" in output
    assert output.count("changed=0") == output.count("changed="), output
    # How much more some processors need for the same weights: docs/memory-model.md.
    (planned,) = re.findall(r" 3072 MiB (\d+) MiB yes", output)
    assert 1250 <= int(planned) <= 1500
    assert "MiB, with sizes from the log of its last load" in output


def test_a_plan_says_what_would_not_fit(run_playbook: RunPlaybook) -> None:
    policy = {"ollama_tuning_policy": {"reserve": {"min_mb": 3900}}}
    code, output = run_playbook("--limit", "localhost,ollama1", playbook="playbooks/plan.yml", variables=policy)
    assert code == 0, output
    assert "No quantization down to Q4_0 would make gemma3:270m fit" in output


def test_another_host_is_planned_for_with_the_models_of_this_one(host: Host, model: str) -> None:
    facts = host.ansible(
        "llmops.ollama.tuning_facts",
        json.dumps({"models": [model], "hardware": {"cpu_cores": 32, "memory_mb": 131072}}),
        check=False,
    )["ansible_facts"]["ollama_tuning"]
    assert facts["environment"]["OLLAMA_NUM_PARALLEL"] == "8"
    (planned,) = facts["memory"]["models"]
    assert (planned["source"], planned["slots"], planned["architecture"]) == ("server", 8, "gemma3")
