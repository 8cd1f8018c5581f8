#!/usr/bin/python
# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Thin module over ``module_utils/model_info.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: model_info
short_description: Tell which models an Ollama server has, and which of them run
version_added: 0.1.0
description:
  - Returns what C(ollama list), C(ollama ps) and C(ollama show) tell, as data - sizes, digests, quantization, context,
    parameters, and how long a loaded model will still stay in memory.
  - Loads nothing, and does not prolong the stay of a loaded model.
  - A model that the server does not show, such as one in the cloud while nobody is signed in, comes with what the list
    of models tells of it, and with a warning.
author:
  - llmops.ollama contributors (@llmops)
options:
  name:
    description:
      - The models to tell of, as Ollama writes their names. One that is not installed is left out. Without it all are
        told of.
    type: list
    elements: str
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
    description: The server may run elsewhere.
    support: full
    platforms: posix
"""

EXAMPLES = r"""
- name: Look at all models
  llmops.ollama.model_info:
  register: ollama

- name: Show what is in memory, and for how long
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.size_vram }} of {{ item.size }} bytes on GPUs, {{ item.expires_in }} s left"
  loop: "{{ ollama.running }}"
  loop_control:
    label: "{{ item.name }}"

- name: Look at one model
  llmops.ollama.model_info:
    name: gemma3:270m
"""

RETURN = r"""
version:
  description: The server's version.
  returned: always
  type: str
  sample: 0.34.0
models:
  description: The installed models.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The model's name with its tag.
      type: str
      sample: gemma3:270m
    digest:
      description: The sha256 of the model's manifest.
      type: str
    size:
      description: Bytes of the whole model.
      type: int
      sample: 253113335
    quantization:
      description: How the weights are stored.
      type: str
      sample: Q4_K_M
    family:
      description: The model's architecture.
      type: str
      sample: gemma3
    parameter_size:
      description: Number of parameters, as Ollama writes it.
      type: str
      sample: 268.10M
    parent:
      description: The model that it was made of; empty for one that was pulled.
      type: str
    modified_at:
      description: When it was pulled or made, in UTC.
      type: str
      sample: "2026-11-27T00:14:11Z"
    context_length:
      description: Tokens that it was trained for; null where the server does not tell.
      type: int
      sample: 32768
    capabilities:
      description: What it can do, for example V(completion), V(embedding), V(vision), V(tools).
      type: list
      elements: str
    parameters:
      description: Its parameters, as numbers, booleans, texts or lists of texts.
      type: dict
      sample:
        stop: <end_of_turn>
        temperature: 1
running:
  description: The models in memory.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The model's name with its tag.
      type: str
    digest:
      description: The sha256 of the model's manifest.
      type: str
    quantization:
      description: How the weights are stored.
      type: str
    size:
      description: Bytes that it takes in memory, by the server's account.
      type: int
    size_vram:
      description: Bytes of them in the memory of GPUs. Less than C(size) means that a part runs on the CPU.
      type: int
    context_length:
      description: Tokens of each slot; null where the server does not tell.
      type: int
      sample: 4096
    expires_at:
      description: When it is unloaded unless it is asked again, in UTC; null for never.
      type: str
      sample: "2026-11-28T00:48:43Z"
    expires_in:
      description: Seconds until then; null for never.
      type: float
      sample: 86399.6
"""

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.entry import SERVER_OPTIONS, Result, run
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmops.ollama.plugins.module_utils.client import Client
from ansible_collections.llmops.ollama.plugins.module_utils.errors import NotFound, UnexpectedAnswer
from ansible_collections.llmops.ollama.plugins.module_utils.model_info import installed, running
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName

ARGUMENT_SPEC: dict[str, Any] = {
    **SERVER_OPTIONS,
    "name": {"type": "list", "elements": "str"},
}


def execute(module: AnsibleModule) -> Result:
    """Ask the server, and keep what was asked for."""
    given = module.params
    names = None if given["name"] is None else {ModelName.parse(name).key for name in given["name"]}

    def wanted(entry: Mapping[str, Any]) -> bool:
        return names is None or str(entry["name"]).lower() in names

    with Client(given["url"], given["timeout"]) as client:
        loaded, now = client.ps(), datetime.now(timezone.utc)
        return {
            "changed": False,
            "version": client.version(),
            "models": [installed(tag, _show(client, tag, module)) for tag in client.tags() if wanted(tag)],
            "running": [running(entry, now) for entry in loaded if wanted(entry)],
        }


def _show(client: Client, tag: Mapping[str, Any], module: AnsibleModule) -> Mapping[str, Any]:
    """What the server shows of a model in its list. It may be gone since, or one in the cloud that is not for us."""
    name = str(tag.get("name", ""))
    try:
        return client.show(name)
    except (NotFound, UnexpectedAnswer) as error:
        module.warn(f"Of {name} there is only what the list of models tells: {error.problem}")
        return {}


def main() -> None:
    """The module's entry point."""
    run(execute, ARGUMENT_SPEC, requires=("requests",))


if __name__ == "__main__":
    main()
