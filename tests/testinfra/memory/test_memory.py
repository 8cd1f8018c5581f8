# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The kernel's OOM killer under distinct prompts, on a host with little memory: never tuned, soon with the defaults."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from testinfra.host import Host

testinfra_hosts = ["ansible://small"]

DROP_IN = "/etc/systemd/system/ollama.service.d/50-tuning.conf"
PROMPTS = 26

# Runs on the host: distinct prompts one after the other until one fails. Both versions of control groups tell of kills.
LOAD = """
import json, random, re, sys, urllib.request

def number(pattern, *paths):
    for path in paths:
        try:
            return int(re.search(pattern, open(path).read())[1])
        except OSError:
            pass

def kills():
    group = "/sys/fs/cgroup"
    return number(r"oom_kill (\\d+)", f"{group}/memory/memory.oom_control", f"{group}/memory.events")

def ask(seed):
    words = random.Random(seed)
    prompt = " ".join("".join(words.choices("abcdefghijklmnopqrstuvwxyz", k=4)) for _word in range(235))
    body = {"model": MODEL, "prompt": prompt, "raw": True, "stream": False, "options": {"num_predict": 2}}
    request = urllib.request.Request("http://127.0.0.1:11434/api/generate", json.dumps(body).encode())
    return json.load(urllib.request.urlopen(request, timeout=120))["prompt_eval_count"]

before, answered, error = kills(), [], ""
for seed in range(PROMPTS):
    try:
        answered.append(ask(seed))
    except OSError as failure:
        error = str(failure)
        break
print(json.dumps({"answered": len(answered), "tokens": sum(answered), "error": error, "kills": kills() - before}))
"""


def load(host: Host, model: str) -> dict[str, Any]:
    script = LOAD.replace("MODEL", repr(model)).replace("PROMPTS", str(PROMPTS))
    result: dict[str, Any] = json.loads(host.check_output("python3 -c %s", script))
    return result


@pytest.fixture
def untuned(host: Host) -> Iterator[None]:
    """The same server as its own defaults have it."""
    restart = "systemctl daemon-reload && systemctl restart ollama"
    host.check_output(f"mv {DROP_IN} /root/tuning.conf && {restart}")
    yield
    host.check_output(f"mv /root/tuning.conf {DROP_IN} && {restart}")


def wait(host: Host) -> None:
    host.check_output("for i in $(seq 100); do ollama-health >/dev/null 2>&1 && break; sleep 0.1; done; ollama-health")


def test_the_tuner_plans_for_this_host(host: Host) -> None:
    settings = host.file(DROP_IN).content_string
    assert 'Environment="LLAMA_ARG_CACHE_RAM=' in settings
    assert "MemoryHigh=480M" in settings
    assert "MemoryMax=592M" in settings


def test_what_the_tuner_accepted_is_never_killed(host: Host, model: str) -> None:
    assert load(host, model) == {"answered": PROMPTS, "tokens": pytest.approx(1e9, abs=1e9), "error": "", "kills": 0}


@pytest.mark.usefixtures("untuned")
def test_the_engines_defaults_exceed_the_same_host(host: Host, model: str) -> None:
    wait(host)
    result = load(host, model)
    assert result["kills"] >= 1, result
    assert result["answered"] < PROMPTS
    findings = host.ansible("llmops.ollama.doctor", check=False)["findings"]
    assert "out of memory" in [finding["symptom"] for finding in findings], findings


def test_the_tuned_server_is_back(host: Host, model: str) -> None:
    wait(host)
    assert host.service("ollama").is_running
