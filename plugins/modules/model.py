#!/usr/bin/python
# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Thin module over ``module_utils/model_work.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: model
short_description: Have models on an Ollama server, or not have them
version_added: 0.1.0
description:
  - Has the declared models on a server - pulled from a registry or a mirror, made of other models with parameters and
    texts of their own, or made of GGUF files. All that can be checked is checked before the first byte is pulled.
  - Shows the progress of a pull while it runs, resumes a pull that breaks, and believes it only when the server shows
    the digest that the registry promised.
  - A model that is made here is made anew when its definition or what it is made of changes, and only then. What it was
    made of is written into the name of its parent (C(llmops/definition:...)), which C(ollama show) tells; no model of
    that name stays.
  - A model that is installed stays as it is, with a warning, when the registry cannot be asked.
author:
  - llmops.ollama contributors (@llmops)
options:
  name:
    description:
      - The models. Each is a name as Ollama writes it, C([HOST[:PORT]/][NAMESPACE/]MODEL[:TAG]), with the tag V(latest)
        if left out, or a mapping with the key V(name) and any of the following.
      - V(from) is another model that this one is made of. It is pulled where it is missing.
      - V(candidates) lists other models, or quantizations of V(name) such as V(q8_0), the best one first. The first is
        taken that the host's memory and the disk of O(models_path) have room for with as many slots and as much context
        as the host should have; only where there is none, one for which these have to give way. Must run on the
        server's host. Candidates that the registry does not have are passed over, with a warning.
      - V(gguf) is the path of a GGUF file on the host that the module runs on, or its address, V(sha256) the file's
        digest. An address needs it; a path without it is read again only when the file has changed.
      - V(parameters), V(system) and V(template) are set over what the weights bring along. Without V(from),
        V(candidates) and V(gguf) they are set over the registry's model of that name.
      - A name that carries a registry is pulled from there, over https unless it is the host of O(registry).
    type: list
    elements: raw
    required: true
    aliases: [models]
  state:
    description:
      - V(present) has each model installed. The registry is asked only for what is missing, was defined otherwise
        before, or has another digest than O(lock) pins.
      - V(latest) has each model as the registry offers it now, which costs one small request for each. What O(lock)
        pins stays as it is pinned.
      - V(absent) removes each model that is there, and its files where no other model uses them.
    type: str
    choices: [present, latest, absent]
    default: present
  registry:
    description:
      - Address of the registry to compare with and to pull from, for example a mirror V(http://mirror:5001). It must be
        reachable from the host for the module and for the server alike.
      - A model from a mirror gets its plain name. The name that contains the mirror is removed again, unless O(name)
        lists it too.
    type: str
    default: https://registry.ollama.ai
  parameters:
    description:
      - Parameters that each model of O(name) shall have, under those of its own definition, for example C(num_thread).
    type: dict
    default: {}
  lock:
    description:
      - Contents of a C(models.lock.yml), which pins digests of models. A pinned model is pulled with that digest or not
        at all, and one that is installed with another is pulled again.
    type: dict
    default: {}
  exclusive:
    description:
      - Whether all models are removed that are neither declared nor what a declared one is made of.
    type: bool
    default: false
  warm:
    description:
      - Whether each model is loaded once all are there. The task fails where a second request has to wait for a load
        again, since something unloads the model.
    type: bool
    default: false
  policy:
    description:
      - Changes to the policy that candidates are chosen by, as in M(llmops.ollama.tuning_facts).
    type: dict
    default: {}
  models_path:
    description:
      - Directory of the server's models on the host that the module runs on (C(OLLAMA_MODELS)).
      - If given, the free space there is compared with what is to be pulled before the first byte, downloads of GGUF
        files arrive there, partial files of other pulls that nobody has touched for an hour are removed, and so are
        files that a broken pull left with other bytes than their name says, which the server would believe in.
    type: path
  retries:
    description:
      - How often a broken pull is taken up again, after the first attempt, with growing pauses.
    type: int
    default: 3
  stall_timeout:
    description:
      - Seconds without progress after which a pull counts as broken. The server itself tries again for about a minute
        before it reports a registry that does not answer.
    type: float
    default: 90.0
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - llmops.ollama.server
  - llmops.ollama.access
attributes:
  check_mode:
    description: Predicts from digests and manifests; nothing is pulled, made, loaded or removed.
    support: full
  diff_mode:
    description: Shows digest, size, quantization and definition of each model that changes, before and after.
    support: full
  platform:
    description: The server may run elsewhere; O(models_path), files and candidates are of the host.
    support: full
    platforms: posix
"""

EXAMPLES = r"""
- name: Have a model
  llmops.ollama.model:
    name: gemma3:270m

- name: Have several models as the mirror offers them now, and no others
  llmops.ollama.model:
    name:
      - gemma3:270m
      - hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M
    state: latest
    exclusive: true
    registry: http://mirror.example.com:5001
    models_path: /var/lib/ollama/models

- name: Have one name for clients, with the best weights that this host has room for
  llmops.ollama.model:
    name:
      - name: gpt-oss:20b-local
        candidates: [gpt-oss:20b-q8_0, gpt-oss:20b-q4_K_M, gpt-oss:20b-q4_0]
    models_path: /var/lib/ollama/models
  become: true

- name: Have an assistant made of a model, keep it in memory, and prove that it stays there
  llmops.ollama.model:
    name:
      - name: assistant
        from: gemma3:270m
        system: You answer in one sentence.
        parameters:
          num_ctx: 8192
          stop: ["<end_of_turn>"]
    warm: true

- name: Have models made of GGUF files
  llmops.ollama.model:
    name:
      - name: mine
        gguf: /srv/models/mine-Q4_K_M.gguf
      - name: theirs
        gguf: https://example.org/theirs-Q8_0.gguf
        sha256: 5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9
    models_path: /var/lib/ollama/models

- name: Have what the lock file pins
  llmops.ollama.model:
    name: gemma3:270m
    lock: "{{ lookup('ansible.builtin.file', 'models.lock.yml') | from_yaml }}"

- name: Remove a model
  llmops.ollama.model:
    name: gpt-oss:20b
    state: absent
"""

RETURN = r"""
models:
  description:
    - The models of O(name) and what they are made of, each once, as they are now (in check mode, as they would be), and
      those that were removed. A model that another one is made of comes before it.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The model's name with its tag, as C(ollama list) shows it.
      type: str
      sample: gemma3:270m
    action:
      description:
        - What was done. V(none), V(pulled) (it was not there), V(updated) (other weights than before), V(created) (of
          another model or a file), V(rebuilt) (the same weights, defined otherwise) or V(removed).
      type: str
    made_of:
      description: The other model or the file that it was made of just now; null where it was not.
      type: str
    digest:
      description:
        - The sha256 of the model's manifest; null if the model is absent, and empty in check mode where it is known
          only once the model is made.
      type: str
    size:
      description: Bytes of the whole model; null if the model is absent.
      type: int
      sample: 253136896
    quantization:
      description: How the weights are stored; null if the model is absent.
      type: str
      sample: Q4_K_M
    family:
      description: The model's architecture; null if the model is absent.
      type: str
      sample: gemma3
    parameter_size:
      description: Number of parameters, as Ollama writes it; null if the model is absent.
      type: str
      sample: 268.10M
    bytes:
      description: Bytes that the server did not have before and that were pulled or uploaded, or would be.
      type: int
    seconds:
      description: How long that took.
      type: float
    load_seconds:
      description: How long the second request waited for the model.
      returned: with O(warm)
      type: float
choices:
  description: For each model with V(candidates) its C(name), the C(chosen) one and the C(reason).
  returned: always
  type: list
  elements: dict
  sample:
    - name: gemma3:270m-it
      chosen: gemma3:270m-it-q8_0
      reason: >-
        Q8_0 is the first of 2 that fits with 2 x 4096 tokens (1210 of 3072 MiB); about 2 % loss, +15 % speed against
        F16.
freed:
  description: Bytes of partial and damaged files that were removed, or would be.
  returned: always
  type: int
"""

from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.entry import ACCESS_OPTIONS, SERVER_OPTIONS, Result, run
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmops.ollama.plugins.module_utils.access import access_to
from ansible_collections.llmops.ollama.plugins.module_utils.client import Client
from ansible_collections.llmops.ollama.plugins.module_utils.errors import OllamaError
from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import check_parameters, definitions
from ansible_collections.llmops.ollama.plugins.module_utils.model_lock import parse
from ansible_collections.llmops.ollama.plugins.module_utils.model_work import STATES, Order, Work
from ansible_collections.llmops.ollama.plugins.module_utils.policy import Policy
from ansible_collections.llmops.ollama.plugins.module_utils.progress import reporter
from ansible_collections.llmops.ollama.plugins.module_utils.registry import DEFAULT_URL, Registry

ARGUMENT_SPEC: dict[str, Any] = {
    **SERVER_OPTIONS,
    **ACCESS_OPTIONS,
    "name": {"type": "list", "elements": "raw", "required": True, "aliases": ["models"]},
    "state": {"type": "str", "choices": list(STATES), "default": "present"},
    "registry": {"type": "str", "default": DEFAULT_URL},
    "parameters": {"type": "dict", "default": {}},
    "lock": {"type": "dict", "default": {}},
    "exclusive": {"type": "bool", "default": False},
    "warm": {"type": "bool", "default": False},
    "policy": {"type": "dict", "default": {}},
    "models_path": {"type": "path"},
    "retries": {"type": "int", "default": 3},
    "stall_timeout": {"type": "float", "default": 90.0},
}


def manage(module: AnsibleModule) -> Result:
    """Plan, then carry out."""
    given = module.params
    order = Order(
        models=tuple(definitions(given["name"], "name")),
        parameters=check_parameters(given["parameters"]),
        lock=parse(given["lock"]),
        policy=Policy.load(given["policy"]),
        **{
            option: given[option]
            for option in ("state", "registry", "exclusive", "warm", "models_path", "retries", "stall_timeout")
        },
    )
    report = reporter(given["progress_file"])
    access = access_to(given["registry"], DEFAULT_URL, given["username"], given["password"], given["ca_path"])
    with (
        Client(given["url"], given["timeout"]) as client,
        Registry(given["timeout"], order.retries, report, access=access) as registry,
    ):
        work = Work(order, client, registry, report, module.check_mode)
        work.plan()
        for warning in work.warnings:
            module.warn(warning)
        try:
            work.carry_out()
        except OllamaError as error:  # what was done before it is done, and must be told
            error.details.update(work.to_dict())
            raise
    return work.to_dict()


def main() -> None:
    run(manage, ARGUMENT_SPEC, requires=("requests",))


if __name__ == "__main__":
    main()
