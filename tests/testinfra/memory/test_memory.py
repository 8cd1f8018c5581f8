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
RESERVE = 224  # MiB, as the scenario has it

# Runs on the host: distinct prompts one after the other until one fails. Both versions of control groups tell of kills
# and of the demand, as a share of the limit: without swap only pages of files can be given back, and of these the
# programs need what they had mapped while there was room. Above 1 the kernel kills, or those pages come and go so fast
# that nothing gets on, for hours: then there is no reason to wait long for an answer, and the runner is ended here.
LOAD = """
import glob, json, os, random, re, urllib.request

GROUP, USED, LIMIT, EVENTS, FILES, MAPPED = (
    ("memory/memory", "usage_in_bytes", "limit_in_bytes", "oom_control", "total_%s_file", "total_mapped_file")
    if os.path.isdir("/sys/fs/cgroup/memory") else
    ("memory", "current", "max", "events", "%s_file", "file_mapped")
)

def number(name, key=""):
    return int(re.search(rf"^{key} ?(\\d+)", open(f"/sys/fs/cgroup/{GROUP}.{name}").read(), re.M)[1])

def kills():
    return number(EVENTS, "oom_kill")

def demand():
    global programs
    programs = max(programs, number("stat", MAPPED))
    files = number("stat", FILES % "active") + number("stat", FILES % "inactive")
    return (number(USED) - files + programs) / number(LIMIT)

def ask(seed, patience):
    words = random.Random(seed)
    prompt = " ".join("".join(words.choices("abcdefghijklmnopqrstuvwxyz", k=4)) for _word in range(235))
    body = {"model": MODEL, "prompt": prompt, "raw": True, "stream": False, "options": {"num_predict": 2}}
    request = urllib.request.Request("http://127.0.0.1:11434/api/generate", json.dumps(body).encode())
    return json.load(urllib.request.urlopen(request, timeout=patience))["prompt_eval_count"]

def end_runners():
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        with open(path, "rb") as command:
            if b"--model" in command.read().split(b"\\0"):
                os.kill(int(path.split("/")[2]), 9)

before, answered, error, programs, most = kills(), [], "", 0, 0
for seed in range(PROMPTS):
    most = max(most, demand())
    try:
        answered.append(ask(seed, 15 if most > 1 else 120))
    except OSError as failure:
        error = str(failure)
        break
result = {"answered": len(answered), "tokens": sum(answered), "error": error}
result = {**result, "demand": most, "kills": kills() - before}
if error and not result["kills"]:
    end_runners()
print(json.dumps(result))
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
    limit = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2> /dev/null || cat /sys/fs/cgroup/memory.max"
    memory = int(host.check_output(limit)) // 2**20
    assert f"MemoryHigh={memory - RESERVE}M" in settings
    assert f"MemoryMax={memory - RESERVE // 2}M" in settings


def test_what_the_tuner_accepted_is_never_killed(host: Host, model: str) -> None:
    result = load(host, model)
    assert result["answered"] == PROMPTS, result
    assert result["kills"] == 0, result
    assert result["demand"] < 0.8, result


@pytest.mark.usefixtures("untuned")
def test_the_engines_defaults_exceed_the_same_host(host: Host, model: str) -> None:
    wait(host)
    result = load(host, model)
    # Where a host without room stalls for long before the kernel kills, the demand says what is the matter.
    assert result["error"], result
    assert result["kills"] >= 1 or result["demand"] > 1, result
    findings = host.ansible("llmops.ollama.doctor", check=False)["findings"]
    problems = [row["what"] for row in findings if (row["symptom"], row["severity"]) == ("out of memory", "problem")]
    assert any("prompt cache may grow" in what for what in problems), findings
    if result["kills"]:
        assert any("killed" in what or "memory limit" in what for what in problems), findings


def test_the_tuned_server_is_back(host: Host, model: str) -> None:
    wait(host)
    assert host.service("ollama").is_running
