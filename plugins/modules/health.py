#!/usr/bin/python
# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Thin module over ``module_utils/health.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: health
short_description: Check that an Ollama server works, and with the settings that it should have
version_added: 0.1.0
description:
  - Runs a list of checks and fails with one message that names every failed one and its remedy.
  - C(api) - GET C(/api/tags) answers 200. C(version) - the server tells its version. C(generate) - a model generates
    one token, or embeds a text if that is all that it can. C(environment) - the running process has the variables that
    it should have, where any are given.
  - C(lock) - the installed models are those that O(lock) pins, where it pins any.
  - At the level V(effective) also the following, each where something is wanted that it can prove.
  - C(unit) - systemd has read the unit's files, the process is younger than they are and runs the program that they
    name, and O(directives) are in effect. C(settings) - the process has no variable that this Ollama does not read, or
    whose value it silently replaces.
  - C(runner) - which process runs the model. C(slots), C(threads), C(kv_cache) - that process was started with
    C(OLLAMA_NUM_PARALLEL), C(LLAMA_ARG_THREADS) or O(threads), and C(OLLAMA_KV_CACHE_TYPE). C(context) - each slot has
    C(OLLAMA_CONTEXT_LENGTH) tokens, or what the model's own parameters or training make of it.
  - C(gpu) - O(gpu) of the models is in GPU memory. C(fit) - the largest resident sets of the server and its
    runners are below C(MemoryHigh), or C(MemoryMax) where that is the only limit.
author:
  - llmops.ollama contributors (@llmops)
options:
  level:
    description:
      - V(live) asks whether the server answers; V(ready) has it generate a token too, which loads the model;
        V(effective) also proves that what is wanted has reached the running server and the model that it loaded.
      - V(effective) reads from C(/proc) and the journal what only root may, so that it needs C(become).
    type: str
    choices: [live, ready, effective]
    default: live
  model:
    description:
      - The model for V(ready) and V(effective). Without it the first that is installed.
      - Loading a large model takes time before the first byte of the answer; raise O(timeout) for it.
    type: str
  environment:
    description:
      - Variables that the process of O(service) must have, name to value. The module must run on the server's host, as
        a user that may read the process's environment.
    type: dict
    default: {}
  directives:
    description:
      - Properties that the unit O(service) must have, as C(systemctl show) names them, for example C(MemoryHigh).
        Limits are compared in bytes, so that V(2048M) and V(2G) are the same. For the level V(effective).
    type: dict
    default: {}
  gpu:
    description:
      - What must be in GPU memory. V(all) is all of every loaded model, V(some) any part of the model that is loaded
        for the check unless it was declared with a C(num_gpu) of 0, and V(none) nothing. For the level V(effective).
    type: str
    choices: [none, some, all]
    default: none
  threads:
    description:
      - With how many threads the model must run where no variable sets them, which is so before Ollama 0.30. For the
        level V(effective); without it any number is right.
    type: int
  lock:
    description:
      - Contents of a C(models.lock.yml). Every model that it pins must be installed with the pinned digest, or with the
        pinned weights where parameters were set over it.
    type: dict
    default: {}
  models:
    description:
      - The models that the host shall have, in every form that O(llmops.ollama.model#module:name) takes. If given, only
        their pins of O(lock) count. An empty list loads none, unless O(model) names one; V(effective) then proves all
        that shows without a model.
    type: list
    elements: raw
  service:
    description:
      - The systemd unit that runs the server.
    type: str
    default: ollama
  wait:
    description:
      - For how many seconds to look again until the server is healthy.
    type: float
    default: 0.0
  fail_when_unhealthy:
    description:
      - Whether the task fails for a server that is not healthy.
    type: bool
    default: true
extends_documentation_fragment:
  - llmops.ollama.server
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    description: Does the same, since it only looks.
    support: full
  diff_mode:
    description: Nothing changes.
    support: none
  platform:
    description: Linux.
    support: full
    platforms: linux
"""

EXAMPLES = r"""
- name: Check that the server answers
  llmops.ollama.health:

- name: Prove that the tuned server generates
  llmops.ollama.health:
    level: ready
    model: gemma3:270m
    environment: "{{ ollama_tuning.environment }}"
    wait: 30
  become: true

- name: Prove that every setting is in effect
  llmops.ollama.health:
    level: effective
    model: gemma3:270m
    environment:
      OLLAMA_NUM_PARALLEL: "4"
      OLLAMA_CONTEXT_LENGTH: "4096"
      LLAMA_ARG_THREADS: "8"
    directives:
      MemoryHigh: 12G
  become: true
"""

RETURN = r"""
healthy:
  description: Whether every check succeeded.
  returned: always
  type: bool
level:
  description: What was asked for.
  returned: always
  type: str
version:
  description: The server's version; empty when it did not tell.
  returned: always
  type: str
  sample: 0.34.0
models:
  description: The installed models, each with C(name) and C(quantization).
  returned: always
  type: list
  elements: dict
checks:
  description:
    - What was looked at, each with C(name), C(ok), C(detail), C(latency_ms) and, where it failed, C(remedy), with which
      the detail ends.
  returned: always
  type: list
  elements: dict
began:
  description: When the checks were begun, in seconds since the epoch by the host's clock.
  returned: always
  type: float
"""

from dataclasses import asdict
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.entry import SERVER_OPTIONS, Result, run
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmops.ollama.plugins.module_utils.client import Client
from ansible_collections.llmops.ollama.plugins.module_utils.effective import Wanted
from ansible_collections.llmops.ollama.plugins.module_utils.engine import GPU_CHOICES, GPU_NONE
from ansible_collections.llmops.ollama.plugins.module_utils.errors import Unhealthy
from ansible_collections.llmops.ollama.plugins.module_utils.health import LEVELS, Examination, message, wait_for
from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import definitions
from ansible_collections.llmops.ollama.plugins.module_utils.model_lock import parse
from ansible_collections.llmops.ollama.plugins.module_utils.systemd import systemd_text, unit_name

ARGUMENT_SPEC: dict[str, Any] = {
    **SERVER_OPTIONS,
    "level": {"type": "str", "choices": list(LEVELS), "default": "live"},
    "model": {"type": "str"},
    "environment": {"type": "dict", "default": {}},
    "directives": {"type": "dict", "default": {}},
    "gpu": {"type": "str", "choices": list(GPU_CHOICES), "default": GPU_NONE},
    "threads": {"type": "int"},
    "lock": {"type": "dict", "default": {}},
    "models": {"type": "list", "elements": "raw"},
    "service": {"type": "str", "default": "ollama"},
    "wait": {"type": "float", "default": 0.0},
    "fail_when_unhealthy": {"type": "bool", "default": True},
}


def execute(module: AnsibleModule) -> Result:
    """Examine the server."""
    given = module.params
    with Client(given["url"], given["timeout"]) as client:
        examination = Examination(
            client,
            level=given["level"],
            model=given["model"],
            wanted=Wanted(
                environment={name: str(value) for name, value in given["environment"].items()},
                directives={name: systemd_text(value) for name, value in given["directives"].items()},
                gpu=given["gpu"],
                threads=given["threads"],
            ),
            service=unit_name(given["service"]),
            lock=parse(given["lock"]),
            models=None if given["models"] is None else definitions(given["models"]),
        )
        health = wait_for(examination.run, given["wait"])
    result = {"changed": False, "healthy": health.healthy, **asdict(health)}
    if given["fail_when_unhealthy"] and not health.healthy:
        raise Unhealthy(message(health, client.url), **result)
    return result


def main() -> None:
    """The module's entry point."""
    run(execute, ARGUMENT_SPEC, requires=("requests",))


if __name__ == "__main__":
    main()
