#!/usr/bin/python
# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Thin module over ``module_utils/hardware`` and ``module_utils/tuning.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tuning_facts
short_description: Recommend settings of an Ollama service for a host, each with its reason
version_added: 0.1.0
description:
  - Looks at the CPUs and the memory that a host really has for Ollama, cut by CPU affinity, CPU quotas and memory
    limits (control groups of both versions, with those of the unit C(ollama.service) once it runs), and at its GPUs.
  - Recommends how many requests to serve in parallel, by a table of cores and memory, and all other settings.
  - Plans the memory. What O(models) take in the worst case, with every slot full and every cache grown, must fit into
    the host's memory without a reserve. Where it does not, these give way in this order - prompt cache, models in
    memory together, parallel, type of the key-value cache (if the policy allows), context.
  - Settings that M(llmops.ollama.autotune) found best on this host come before computed ones, as long as the hardware,
    the engine and the model are those that were measured; where they are not, a warning says what changed. Memory is
    planned all the same, and what O(environment) sets wins.
  - Changes nothing on the host.
options:
  profile:
    description:
      - V(auto) takes the highest row of the table whose number of cores and size of memory the host both has.
      - V(minimal), V(conservative), V(balanced) and V(high) take the row of that name, with a warning where the host
        is too small for it.
      - V(off) recommends nothing. What is asked for by O(environment), O(num_gpu) or another O(request_timeout) than
        the default remains.
    type: str
    choices: [auto, minimal, conservative, balanced, high, 'off']
    default: auto
  engine_version:
    description:
      - Version of Ollama that the settings are for, such as V(0.34.0). It decides what enforces the number of threads
        and whether there is a prompt cache to be capped.
      - Without it version 0.30 or newer is assumed.
    type: str
  num_gpu:
    description:
      - Layers of a model on the GPU. V(0) uses the CPU only, by hiding every GPU from the service. V(-1) puts all
        layers on the GPU. Another number is enforced by the model parameter of the same name.
      - Without it the hardware decides.
    type: int
  request_timeout:
    description:
      - Seconds that a request may take. Ollama has no such setting; the time is meant for the proxy in front of it, and
        sets after which time a load that stalls is given up.
    type: int
    default: 300
  environment:
    description:
      - Variables of the service that the user sets. They are taken as they are, and other settings are made to fit.
      - A value that Ollama would silently replace by its default is refused. A variable that Ollama does not read is
        warned of.
    type: dict
    default: {}
  policy:
    description:
      - Changes to the policy that recommendations are made from, as a mapping with the keys to change. A V(table)
        replaces the whole table.
      - Keys are V(table), V(keep_alive), V(context_length), V(min_context_length), V(kv_type), V(quantized_kv),
        V(reserve), V(gpu_reserve), V(prediction_margin), V(tolerance), V(queue_per_slot), V(min_load_timeout),
        V(efficiency_cores), V(prompt_cache) and V(quantizations); docs/tuning.md of the collection lists them with
        their defaults, ranges and meaning.
    type: dict
    default: {}
  models:
    description:
      - The models that the host shall serve, in every form that O(llmops.ollama.model#module:name) takes.
      - A named model is looked up at the server of O(url) if that has it, else in O(registry), where only the head of
        its file is read. Nothing is pulled.
      - Of a model's candidates the first is chosen that the host's memory and disk have room for with as many slots and
        as much context as it should have; only where there is none, one for which these have to give way.
      - A model that cannot be looked up because neither answers is left out of the memory plan, with a warning. One
        that the registry does not have fails the task.
    type: list
    elements: raw
    default: []
  registry:
    description:
      - Address of the registry that models will be pulled from.
    type: str
    default: https://registry.ollama.ai
  hardware:
    description:
      - Describes a host to advise on, instead of looking at the one the module runs on.
      - V(cpu_cores) (logical CPUs) and V(memory_mb) (MiB) are required. All keys of the returned C(hardware) are
        accepted, among them V(physical_cores), V(cpu_quota) (CPUs), V(memory_limit_mb), V(disk_free_mb) (MiB) and
        V(gpus).
    type: dict
  models_path:
    description:
      - Directory of the model store, whose file system is reported.
    type: path
extends_documentation_fragment:
  - llmops.ollama.server
  - llmops.ollama.access
  - ansible.builtin.action_common_attributes
  - ansible.builtin.action_common_attributes.facts
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  facts:
    support: full
  platform:
    platforms: linux
    details: With O(hardware) it runs anywhere.
requirements:
  - psutil (Debian and Ubuntu package python3-psutil) to count physical cores where /sys does not tell; without it each
    CPU counts as one there
  - requests (python3-requests) to look models up; without it they are left out of the memory plan, with a warning
author:
  - llmops.ollama contributors (@llmops)
"""

EXAMPLES = r"""
- name: Recommend settings for this host
  llmops.ollama.tuning_facts:
    engine_version: 0.34.0
    models_path: /usr/share/ollama/.ollama/models

- name: Show every setting and why
  ansible.builtin.debug:
    msg: "{{ item.key }} = {{ item.value }} ({{ item.reason }})"
  loop: "{{ ansible_facts.ollama_tuning.recommendations }}"
  loop_control:
    label: "{{ item.key }}"

- name: Ask whether models would fit a host that does not exist yet
  llmops.ollama.tuning_facts:
    hardware:
      cpu_cores: 32
      memory_mb: 131072
      gpus:
        - vendor: nvidia
          memory_mb: 24576
    models:
      - gpt-oss:20b
      - nomic-embed-text
  delegate_to: localhost

- name: Keep a setting of one's own, and change the policy
  llmops.ollama.tuning_facts:
    environment:
      OLLAMA_NUM_PARALLEL: 3
    policy:
      context_length: 8192
      quantized_kv: true
      reserve:
        min_mb: 4096
"""

RETURN = r"""
ansible_facts:
  description: Facts to add to the host.
  returned: success
  type: dict
  contains:
    ollama_tuning:
      description: The recommendation and what it was made from.
      type: dict
      contains:
        profile:
          description: Name of the row that was taken, or V(off).
          type: str
          sample: balanced
        basis:
          description:
            - What the next run has to know of this one, name to text. Numbers are kept within the policy's tolerance if
              they are of the same C(Policy), and were computed, which those of the variables in C(Set) were not.
              C(Memory) is the usable memory that they go by, in MiB.
          type: dict
          sample:
            Policy: 5f1c0a9b7e3d
            Memory: "32768"
            Set: ""
        environment:
          description: The service's environment, name to text. The variables that the user set are among them.
          type: dict
          sample:
            OLLAMA_KEEP_ALIVE: 24h
            OLLAMA_NUM_PARALLEL: "4"
        directives:
          description: Directives of the service's unit, name to text.
          type: dict
          sample:
            MemoryHigh: 29492M
            MemoryMax: 31130M
        model_parameters:
          description: Parameters that each model should have, since no setting of the server does the same.
          type: dict
          sample:
            num_thread: 8
        memory:
          description:
            - The memory plan. Sizes are in MiB. C(budget_mb) is what the service may take, C(planned_mb) what it takes
              in the worst case with a margin, C(fits) whether that is within it, and C(advice) what would help. It is
              about the models that could be looked up; C(unplanned) has the others. C(gpu_budget_mb) and
              C(gpu_planned_mb) are the same of GPUs' own memory.
              C(refused) says that it would not fit without O(environment) either, on the GPUs that this leaves.
            - C(models) lists each model with its C(slots), C(context) and memory, C(peak_mb) in all. C(calibrated) says
              that the log of a real load corrected the prediction.
          type: dict
          sample:
            budget_mb: 29492
            reserve_mb: 3276
            gpu_budget_mb: 0
            gpu_planned_mb: 0
            fits: true
            refused: false
            planned_mb: 14104
            predicted_mb: 13433
            on_gpu: false
            advice: ""
            models:
              - name: llama3.1:8b
                architecture: llama
                quantization: Q4_K_M
                source: registry
                calibrated: false
                slots: 4
                context: 4096
                weights_mb: 4685
                kv_mb: 2048
                compute_mb: 306
                runtime_mb: 85
                growth_mb: 3648
                peak_mb: 10772
        models:
          description: O(models) with their candidates chosen, as O(llmops.ollama.model#module:name) takes them.
          type: list
          elements: raw
          sample:
            - name: gemma3:270m-it
              from: gemma3:270m-it-q8_0
        model_names:
          description: The names of the models.
          type: list
          elements: str
        unplanned:
          description: The names of those that could not be looked up; a warning says why.
          type: list
          elements: str
          sample: []
        choices:
          description: For each model with candidates its C(name), the C(chosen) one and the C(reason).
          type: list
          elements: dict
          sample:
            - name: gemma3:270m-it
              chosen: gemma3:270m-it-q8_0
              reason: >-
                Q8_0 is the first of 2 that fits with 2 x 4096 tokens (1210 of 3072 MiB); about 2 % loss, +15 % speed
                against F16.
        gpu:
          description:
            - What of each model must be on GPUs, V(none), V(some) or V(all) of it; where it is less, it fell back to
              the CPU.
          type: str
          sample: none
        recommendations:
          description:
            - The settings. C(rule) is V(explicit) or V(option) for a value of the user's, V(measured) for one that
              M(llmops.ollama.autotune) found, else it names where the value comes from. C(variable), C(directive) or
              C(parameter) names what enforces it; where all are null, C(reason) says what does.
          type: list
          elements: dict
          sample:
            - key: threads
              value: 8
              rule: physical-cores
              reason: One for each of the 8 physical cores that may be used.
              variable: LLAMA_ARG_THREADS
              directive: null
              parameter: null
        hardware:
          description:
            - The host. Sizes are in MiB. What may be used is in C(usable_cpus) (logical CPUs in the affinity mask),
              C(usable_cores) (physical cores among them), C(cpu_quota) and C(memory_limit_mb) (null without a limit);
              C(memory_room_mb) is what other processes leave to the service now.
          type: dict
          sample:
            cpu_cores: 16
            physical_cores: 8
            performance_cores: 8
            usable_cpus: 16
            usable_cores: 8
            usable_performance_cores: 8
            cpu_quota: null
            memory_mb: 64000
            memory_available_mb: 60000
            memory_room_mb: 61500
            memory_limit_mb: null
            cpu_features: [avx2, avx512]
            gpus: []
        carried:
          description:
            - Resource settings of a unit file that somebody else wrote, such as C(CPUQuota), which stay in force when
              it is replaced.
          type: list
          elements: str
          sample: []
        warnings:
          description: What a person should look at. They are also shown as warnings of the task.
          type: list
          elements: str
          sample: []
"""

from functools import cache, partial
from importlib.util import find_spec
from typing import Any, Callable

from ansible_collections.llmops.ollama.plugins.module_utils.entry import ACCESS_OPTIONS, SERVER_OPTIONS, Result, run
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.record import valid
from ansible_collections.llmops.ollama.plugins.module_utils.bare_client import BareClient
from ansible_collections.llmops.ollama.plugins.module_utils.errors import OllamaError
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.cgroup import service_pids
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import MIB, Hardware
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.files import Files
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.probe import probe
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.unit import (
    SERVICE,
    Foreign,
    foreign_unit,
    read_tuned,
)
from ansible_collections.llmops.ollama.plugins.module_utils.load_log import read_load
from ansible_collections.llmops.ollama.plugins.module_utils.memory_plan import Workload, calibrations
from ansible_collections.llmops.ollama.plugins.module_utils.model_choice import Host, resolve
from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import Definition, definitions
from ansible_collections.llmops.ollama.plugins.module_utils.model_facts import Lookup, Model, Remote
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import (
    DEFAULT_REGISTRY,
    ModelName,
    registry_url,
)
from ansible_collections.llmops.ollama.plugins.module_utils.packing import Packing
from ansible_collections.llmops.ollama.plugins.module_utils.policy import REQUEST_TIMEOUT, Policy
from ansible_collections.llmops.ollama.plugins.module_utils.runner import runners, started
from ansible_collections.llmops.ollama.plugins.module_utils.systemd import Systemd
from ansible_collections.llmops.ollama.plugins.module_utils.tuning import (
    PROFILE_CHOICES,
    Intent,
    recommend,
)

ARGUMENT_SPEC: dict[str, Any] = {
    **SERVER_OPTIONS,
    **ACCESS_OPTIONS,
    "profile": {"type": "str", "choices": list(PROFILE_CHOICES), "default": "auto"},
    "engine_version": {"type": "str"},
    "num_gpu": {"type": "int"},
    "request_timeout": {"type": "int", "default": REQUEST_TIMEOUT},
    "environment": {"type": "dict", "default": {}},
    "policy": {"type": "dict", "default": {}},
    "models": {"type": "list", "elements": "raw", "default": []},
    "registry": {"type": "str", "default": f"https://{DEFAULT_REGISTRY}"},
    "hardware": {"type": "dict"},
    "models_path": {"type": "path"},
}


def execute(module: AnsibleModule) -> Result:
    """Look, recommend, warn."""
    options = module.params
    policy = Policy.load(options["policy"])
    intent = Intent.make(
        **{name: options[name] for name in ("profile", "engine_version", "num_gpu", "request_timeout", "environment")}
    )
    declared, registry = definitions(options["models"]), registry_url(options["registry"])
    here = options["hardware"] is None
    hardware = probe(models_path=options["models_path"]) if here else Hardware.describe(options["hardware"])
    tuned = read_tuned(Files()) if here else None
    foreign = foreign_unit(Files()) if here else None

    host = Host.of(hardware, policy, intent, tuned, len(declared), *room(hardware, options["models_path"], here))
    server = BareClient(options["url"], options["timeout"])
    lookup = Lookup(server, Ask(registry, options) if find_spec("requests") else None, declared)
    found = resolve(declared, lookup, host)
    log = load_log() if here and found.models else ""
    known = calibrations(log, found.models, intent.engine, Packing.of(hardware.cpu_features))
    workload = Workload(found.models, known, unknown=len(declared) - len(found.models))
    weights = {str(each.name): "" for each in found.definitions}
    weights.update({model.name: model.blob for model in found.models})
    measured, stale = valid(Files(), hardware, options["engine_version"], weights) if here else (None, [])
    planned = {ModelName.parse(model.name).key for model in found.models}
    tuning = recommend(hardware, policy, intent, workload, tuned, measured)
    facts = {
        **tuning.to_dict(),
        "hardware": hardware.to_dict(),
        "models": [each.to_data() for each in found.definitions],
        "model_names": [str(each.name) for each in found.definitions],
        "unplanned": [str(each.name) for each in found.definitions if each.name.key not in planned],
        "choices": [choice.to_dict() for choice in found.choices],
        "carried": list(foreign.settings) if foreign else [],
        "warnings": [*found.warnings, *stale, *tuning.warnings, *replaced(foreign)],
    }
    for warning in facts["warnings"]:
        module.warn(warning)
    return {"changed": False, "ansible_facts": {"ollama_tuning": facts}}


def room(hardware: Hardware, store: str | None, here: bool) -> tuple[Callable[[Model], int], int | None]:
    """What a model still needs of the disk (bytes), and what is free there; of a described host nothing is known."""
    if here and store:
        from ansible_collections.llmops.ollama.plugins.module_utils.model_store import (  # noqa: PLC0415
            free_bytes,
            missing_bytes,
        )

        return lambda model: missing_bytes(store, model.blob, model.size), free_bytes(store)
    if not here and hardware.disk_free_mb is not None:
        return lambda model: model.size, hardware.disk_free_mb * MIB
    return lambda model: 0, None


def replaced(foreign: Foreign | None) -> list[str]:
    """What becomes of somebody else's unit file, where that is worth a word."""
    if not foreign or not (foreign.settings or foreign.variables or foreign.variable_files):
        return []
    text = f"{foreign.path} is not of this collection, and the role puts its own in the place of it."
    if foreign.settings:
        text += f" {', '.join(foreign.settings)} move to a drop-in."
    lost = [*foreign.variables, *(f"all that is in {path}" for path in foreign.variable_files)]
    if lost:
        text += f" Variables are lost ({', '.join(lost)}): set in ollama_environment what shall stay."
    return [text]


def load_log() -> str:
    """What the running service logged when it loaded each of its models; requests since then are many."""
    server = service_pids(Files(), SERVICE)[:1]
    read = partial(Systemd().log_between, SERVICE)
    try:
        found = [runner for pid in server for runner in runners(int(pid))]
        return "\n".join(read_load(read, started(runner.pid), runner.port) for runner in found)
    except OllamaError:  # it has just ended, or its journal cannot be read: nothing to correct predictions with
        return ""


class Ask:
    """Asks the registry, which is needed only for models that the server does not have."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self._url, self._options = url, options

    def model(self, name: ModelName) -> Model:
        return self._elsewhere().model(name)

    def file(self, definition: Definition) -> Model:
        return self._elsewhere().file(definition)

    @cache  # noqa: B019  # one for the process
    def _elsewhere(self) -> Remote:
        # Imported here since it takes a sixth of the CPU time that this module may use.
        from ansible_collections.llmops.ollama.plugins.module_utils.access import access_to  # noqa: PLC0415
        from ansible_collections.llmops.ollama.plugins.module_utils.registry import (  # noqa: PLC0415
            DEFAULT_URL,
            Registry,
        )
        from ansible_collections.llmops.ollama.plugins.module_utils.registry_facts import Elsewhere  # noqa: PLC0415

        url, options = self._url, self._options
        access = access_to(url, DEFAULT_URL, options["username"], options["password"], options["ca_path"])
        return Elsewhere(Registry(options["timeout"], access=access), url)


def main() -> None:
    """The module's entry point."""
    run(execute, ARGUMENT_SPEC)


if __name__ == "__main__":
    main()
