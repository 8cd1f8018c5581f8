#!/usr/bin/python
# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Thin module over ``module_utils/model_plan.py`` and ``model_pull.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: model
short_description: Have models on an Ollama server, or not have them
version_added: 0.1.0
description:
  - Compares the digest of each installed model with the one that the registry offers, and pulls only what is missing or
    has changed there. A model that is current costs one small request to the registry.
  - Shows the progress of a pull while it runs, resumes a pull that breaks, and believes it only when the server shows
    the digest that the registry promised.
  - A model that is installed stays as it is, with a warning, when the registry cannot be asked.
author:
  - llmops.ollama contributors (@llmops)
options:
  name:
    description:
      - The models. Each is a name as Ollama writes it, C([HOST[:PORT]/][NAMESPACE/]MODEL[:TAG]), with the tag V(latest)
        if left out, or a mapping with V(name).
      - A name that carries a registry is pulled from there, over https unless it is the host of O(registry).
    type: list
    elements: raw
    required: true
    aliases: [models]
  state:
    description:
      - V(present) has each model as the registry offers it now.
      - V(absent) removes each model that is there, and its files where no other model uses them.
    type: str
    choices: [present, absent]
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
      - Parameters that each model of O(name) shall have, over those that it brings along, for example C(num_thread).
      - Its weights stay as they are. A model whose weights, template and system text are the registry's counts as
        current, and is given only the parameters that differ.
    type: dict
    default: {}
  models_path:
    description:
      - Directory of the server's models on the host that the module runs on (C(OLLAMA_MODELS)). If given, the free
        space there is compared with what is to be pulled before the first byte.
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
attributes:
  check_mode:
    description: Predicts from the registry's manifest; nothing is pulled or removed.
    support: full
  diff_mode:
    description: Shows digest, size, quantization and new parameters, for the models that change.
    support: full
  platform:
    description: The server may run elsewhere; only O(models_path) must be on the host.
    support: full
    platforms: posix
"""

EXAMPLES = r"""
- name: Have a model
  llmops.ollama.model:
    name: gemma3:270m

- name: Have several models, pulled from a mirror without TLS
  llmops.ollama.model:
    name:
      - gemma3:270m
      - hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M
    registry: http://mirror.example.com:5001
    models_path: /var/lib/ollama/models

- name: Have a model that computes with two threads, for Ollama before 0.30
  llmops.ollama.model:
    name: gemma3:270m
    parameters:
      num_thread: 2

- name: Remove a model
  llmops.ollama.model:
    name: gpt-oss:20b
    state: absent
"""

RETURN = r"""
models:
  description: The models of O(name) in its order, each once, as they are now (in check mode, as they would be).
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The model's name with its tag, as C(ollama list) shows it.
      type: str
      sample: gemma3:270m
    action:
      description: What was done, V(none), V(pulled), V(updated), V(configured) (parameters only) or V(removed).
      type: str
    digest:
      description:
        - The sha256 of the model's manifest; null if the model is absent, and empty in check mode if parameters are to
          be set.
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
      description: Bytes that the server did not have before and that were pulled, or would be.
      type: int
    seconds:
      description: How long that took.
      type: float
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmops.ollama.plugins.module_utils.client import Client, seconds
from ansible_collections.llmops.ollama.plugins.module_utils.entry import SERVER_OPTIONS, Result, run
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput, OllamaError, Unreachable
from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import (
    Parameters,
    check_parameters,
    definitions,
)
from ansible_collections.llmops.ollama.plugins.module_utils.model_parameters import text
from ansible_collections.llmops.ollama.plugins.module_utils.model_plan import (
    Model,
    Server,
    Step,
    bring,
    check_space,
    installed_models,
    remove,
)
from ansible_collections.llmops.ollama.plugins.module_utils.model_pull import Puller
from ansible_collections.llmops.ollama.plugins.module_utils.progress import reporter
from ansible_collections.llmops.ollama.plugins.module_utils.registry import DEFAULT_URL, Registry, source_of

ARGUMENT_SPEC: dict[str, Any] = {
    **SERVER_OPTIONS,
    "name": {"type": "list", "elements": "raw", "required": True, "aliases": ["models"]},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "registry": {"type": "str", "default": DEFAULT_URL},
    "parameters": {"type": "dict", "default": {}},
    "models_path": {"type": "path"},
    "retries": {"type": "int", "default": 3},
    "stall_timeout": {"type": "float", "default": 90.0},
}


def manage(module: AnsibleModule) -> Result:
    given = module.params
    report = reporter(given["progress_file"])
    stall_timeout = seconds("stall_timeout", given["stall_timeout"])
    if given["retries"] < 0:
        raise InvalidInput(f"retries is {given['retries']}.", "Give 0 or a positive number.")
    with Client(given["url"], given["timeout"]) as client:
        steps = plan(module, client, Registry(given["timeout"], given["retries"], report))
        done: list[dict[str, Any]] = []
        puller = Puller(client, given["retries"], stall_timeout, report)
        listed = {step.name.key for step in steps}
        for step in steps:
            begin = time.monotonic()
            try:
                model = step.after if module.check_mode else carry_out(step, client, puller, listed)
            except OllamaError as error:  # what was done before it is done, and must be told
                error.details.update(result(steps[: len(done)], done))
                raise
            done.append(row(step, model, time.monotonic() - begin))
    return result(steps, done)


def plan(module: AnsibleModule, client: Client, registry: Registry) -> list[Step]:
    """What is to be done, after every check that can be made before."""
    given = module.params
    names = [definition.name for definition in definitions(given["name"], "name")]
    parameters = check_parameters(given["parameters"])
    server = True
    try:
        installed = installed_models(client.tags())
    except Unreachable as error:
        if not module.check_mode:
            raise
        # A dry run on a host whose service the same run would have brought: there is nothing yet.
        module.warn(f"{error} The prediction is that of a server without models.")
        installed, server = {}, False
    if given["state"] == "absent":
        return [remove(name, installed.get(name.key)) for name in names]
    sources = [source_of(name, given["registry"]) for name in names]
    steps: list[Step] = []
    coming: set[str] = set()  # models may share blobs, and each is pulled once
    with registry:
        for name, source in zip(names, sources):
            step = bring(
                name,
                installed.get(name.key),
                source,
                registry,
                Server(lambda digest: digest in coming or (server and client.has_blob(digest)), client.show),
                parameters,
            )
            coming.update(blob.digest for blob in step.missing)
            steps.append(step)
    for step in steps:
        if step.warning:
            module.warn(step.warning)
    if given["models_path"]:
        check_space(given["models_path"], steps)
    return steps


def carry_out(step: Step, client: Client, puller: Puller, listed: set[str]) -> Model | None:
    if step.source:
        model = puller.install(step, keep_alias=step.source.name.key in listed)
        return puller.configure(step) if step.parameters else model
    if step.parameters:
        return puller.configure(step)
    if step.action == "removed":
        client.delete(str(step.name))
    return step.after


def row(step: Step, model: Model | None, duration: float) -> dict[str, Any]:
    facts = ("digest", "size", "quantization", "family", "parameter_size")
    return {
        "name": str(step.name),
        "action": step.action,
        "bytes": step.bytes_to_pull,
        "seconds": round(duration, 1),
        **{fact: getattr(model, fact, None) for fact in facts},
    }


def result(steps: list[Step], rows: list[dict[str, Any]]) -> Result:
    changes = [step for step in steps if step.changed]
    return {
        "changed": bool(changes),
        "models": rows,
        "diff": {
            "before": "".join(line(step, step.before) for step in changes),
            "after": "".join(line(step, step.after, step.parameters) for step in changes),
            "before_header": "models",
            "after_header": "models",
        },
    }


def line(step: Step, model: Model | None, parameters: Parameters | None = None) -> str:
    if model is None:
        return ""
    more = f" {text(parameters)}" if parameters else ""
    return f"{step.name} {model.digest[:12]} {model.size} bytes {model.quantization}{more}\n"


def main() -> None:
    run(manage, ARGUMENT_SPEC, requires=("requests",))


if __name__ == "__main__":
    main()
