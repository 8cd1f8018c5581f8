#!/usr/bin/python
# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Thin module over ``module_utils/autotune``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: autotune
short_description: Find the best number of parallel requests and threads of an Ollama service by measuring
version_added: 0.1.0
description:
  - Tries settings on the running service with the load of O(concurrency) clients, and finds those with the highest
    goodput, the rate of requests that meet O(slo). It starts as tuning guides advise, with 2 parallel requests and then
    more, goes on to what promises most, and measures at most 8 settings.
  - The best setting is confirmed against the current one in interleaved rounds. It is adopted only if the gain is above
    O(min_gain) with 95 % confidence; of settings that are as good the smallest is taken.
  - Whatever happens, the service runs with its previous settings in the end. Trial settings live below C(/run) only. If
    the module is killed, a guard outside of it takes them back.
  - Only settings for which the tuner's memory plan has room are tried. Variables in O(environment) stay as they are.
  - Requests that the service gets from others meanwhile suffer from its restarts, and spoil the measurements. Take the
    host out of its gateway first (M(llmops.ollama.gateway_servers)).
options:
  model:
    description:
      - The installed model to measure with.
    type: str
    required: true
  models:
    description:
      - All models that the service shall serve, as for M(llmops.ollama.tuning_facts), for the memory plan.
        O(model) is always one of them; those that are not installed are left out.
    type: list
    elements: raw
    default: []
  concurrency:
    description:
      - How many requests the clients have under way at any time. No more parallel requests than these are tried.
    type: int
    default: 10
  slo:
    description:
      - What clients are promised, in seconds. Only requests that meet all of it count; without it all that succeed do.
    type: dict
    suboptions:
      ttft_s:
        description:
          - Time to the first token, with the time in the queue.
        type: float
      tpot_s:
        description:
          - Time per output token after the first.
        type: float
      latency_s:
        description:
          - Time to the end of the answer.
        type: float
  workload:
    description:
      - What the clients ask.
    type: dict
    suboptions:
      prompt_set:
        description:
          - The kind of prompts, as for M(llmops.ollama.benchmark).
        type: str
        choices: [chat, guide, document, shared_prefix]
        default: chat
      max_tokens:
        description:
          - Output tokens of a request, at most.
        type: int
        default: 32
      seed:
        description:
          - Where the prompts come from. The same seed is the same prompts.
        type: int
        default: 1
  space:
    description:
      - What may be tried.
    type: dict
    suboptions:
      parallel:
        description:
          - Numbers of parallel requests. By default 1, 2, 3, 4, 6, 8, 12 and so on, as far as memory allows.
        type: list
        elements: int
      max_parallel:
        description:
          - The highest number of parallel requests by default.
        type: int
        default: 64
      threads:
        description:
          - Numbers of threads. By default all up to the number of cores, or steps around the computed number where
            there are more than 4. Those above the number of CPUs that a host may use are left out.
        type: list
        elements: int
      kv_types:
        description:
          - Types of the key-value cache. By default only the current one, since a smaller one loses some quality.
        type: list
        elements: str
      batch:
        description:
          - Sizes of a batch beside the current one, which only a model's parameter C(num_batch) sets.
        type: list
        elements: int
        default: []
  quantizations:
    description:
      - Installed models to compare with the adopted setting, usually quantizations of the same model. Measuring them
        takes a part of O(max_minutes).
    type: list
    elements: str
    default: []
  max_minutes:
    description:
      - How long all of it may take. When time is short, fewer settings are tried; without time for the confirmation
        nothing is adopted.
    type: float
    default: 6.0
  min_gain:
    description:
      - The gain in percent that is worth a change.
    type: float
    default: 5.0
  apply:
    description:
      - Whether to keep the result on the host, in C(/etc/ansible/facts.d/ollama_tuning.fact). From then on
        M(llmops.ollama.tuning_facts) recommends the adopted setting, until hardware, engine or model change.
      - Nothing changes in the running service; run the role after it.
    type: bool
    default: false
  force:
    description:
      - Whether to measure also where O(apply=true) and the host has a result for the same hardware, engine, model and
        workload. Otherwise that one is returned.
    type: bool
    default: false
  environment:
    description:
      - Variables of the service that the user sets, as for M(llmops.ollama.tuning_facts). They are not varied.
    type: dict
    default: {}
  policy:
    description:
      - Changes to the tuner's policy, as for M(llmops.ollama.tuning_facts).
    type: dict
    default: {}
  service:
    description:
      - The systemd unit that runs the server. It must have been set up by this collection.
    type: str
    default: ollama
  ready_timeout:
    description:
      - Seconds in which the service must answer after a restart.
    type: float
    default: 60.0
  timeout:
    description:
      - Seconds that a request may take, the loading of the model included.
    type: float
    default: 300.0
extends_documentation_fragment:
  - llmops.ollama.server
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    description: Returns what would be tried, and touches nothing.
    support: full
  diff_mode:
    description: Shows the fact before and after.
    support: full
  platform:
    description: Linux with systemd.
    support: full
    platforms: linux
author:
  - llmops.ollama contributors (@llmops)
"""

EXAMPLES = r"""
- name: Find the best setting for ten clients that wait at most 2 s for the first word
  llmops.ollama.autotune:
    model: gemma3:270m
    concurrency: 10
    slo:
      ttft_s: 2
      tpot_s: 0.1
    apply: true
    environment: "{{ ollama_environment }}"
    policy: "{{ ollama_tuning_policy }}"
    models: "{{ ollama_models }}"
  become: true
  throttle: 1  # hosts that share CPUs would spoil each other's measurements

- name: Compare quantizations, and change nothing
  llmops.ollama.autotune:
    model: gemma3:270m
    quantizations:
      - gemma3:270m
      - gemma3:270m-q8_0
      - gemma3:270m-f16
  become: true
  register: advice
"""

RETURN = r"""
autotune:
  description:
    - The outcome for a C(demand), which is O(concurrency), O(workload) and O(slo). C(current), C(best) and C(adopted)
      are settings, C(gain) that of the best against the current one with its bounds, as shares; C(verdict) says why it
      was adopted or was not.
    - C(evidence) has all C(trials) in their order, each with its goodput, an interval of 95 % and the further numbers,
      or with the reason of its C(failure); and the rounds of the C(confirmation).
    - C(slo_remark) says by how much even the best setting misses the SLO. C(quantizations) is the comparison.
  returned: when something was measured, or a kept result holds
  type: dict
  sample:
    demand: {concurrency: 10, prompt_set: chat, max_tokens: 32, slo: {ttft_s: null, tpot_s: null, latency_s: 30}}
    current: {parallel: 1, threads: 1, kv_type: f16, batch: null}
    best: {parallel: 8, threads: 2, kv_type: f16, batch: null}
    adopted: {parallel: 8, threads: 2, kv_type: f16, batch: null}
    gain: {rounds: 5, median: 0.561, lower: 0.52, upper: 0.61}
    verdict: The gain is +56.1% (+52.0% to +61.0%, 5 rounds), for certain above 5%.
    slo_met: true
    slo_remark: ""
    seconds: 301.2
    timed_out: false
    quantizations: null
plan:
  description: What would be tried, with its bounds.
  returned: in check mode
  type: dict
fact:
  description: Path of the kept result.
  returned: with O(apply=true)
  type: str
"""

from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.entry import SERVER_OPTIONS, Result, run
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmops.ollama.plugins.module_utils.autotune import report
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.bounds import MAX_PARALLEL
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.record import PATH, kept
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.run import Job, Run, alone, keep
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.survey import (
    Surveyor,
    require_managed,
    require_root,
)
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.prompts import PROMPT_SETS
from ansible_collections.llmops.ollama.plugins.module_utils.client import Client
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.files import Files
from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import definitions
from ansible_collections.llmops.ollama.plugins.module_utils.policy import Policy
from ansible_collections.llmops.ollama.plugins.module_utils.progress import reporter

TIMES = {name: {"type": "float"} for name in ("ttft_s", "tpot_s", "latency_s")}
ARGUMENT_SPEC: dict[str, Any] = {
    **SERVER_OPTIONS,
    "timeout": {"type": "float", "default": 300.0},
    "model": {"type": "str", "required": True},
    "models": {"type": "list", "elements": "raw", "default": []},
    "concurrency": {"type": "int", "default": 10},
    "slo": {"type": "dict", "options": TIMES},
    "workload": {
        "type": "dict",
        "options": {
            "prompt_set": {"type": "str", "choices": list(PROMPT_SETS), "default": "chat"},
            "max_tokens": {"type": "int", "default": 32},
            "seed": {"type": "int", "default": 1},
        },
    },
    "space": {
        "type": "dict",
        "options": {
            "parallel": {"type": "list", "elements": "int"},
            "max_parallel": {"type": "int", "default": MAX_PARALLEL},
            "threads": {"type": "list", "elements": "int"},
            "kv_types": {"type": "list", "elements": "str"},
            "batch": {"type": "list", "elements": "int", "default": []},
        },
    },
    "quantizations": {"type": "list", "elements": "str", "default": []},
    "max_minutes": {"type": "float", "default": 6.0},
    "min_gain": {"type": "float", "default": 5.0},
    "apply": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
    "environment": {"type": "dict", "default": {}},
    "policy": {"type": "dict", "default": {}},
    "service": {"type": "str", "default": "ollama"},
    "ready_timeout": {"type": "float", "default": 60.0},
}


def execute(module: AnsibleModule) -> Result:
    """Survey, search, keep."""
    given = module.params
    job = Job.of(given)
    policy = Policy.load(given["policy"])
    names = [given["model"], *(str(each.name) for each in definitions(given["models"]))]
    require_root()
    require_managed(job.service, Files())
    with Client(job.url, job.request_timeout) as client:

        def start() -> Run:
            surveyor = Surveyor(client, job.service)
            survey = surveyor.survey(job.demand, policy, given["environment"], names, given["quantizations"])
            return Run(job, survey, reporter(given["progress_file"]))

        before = kept(Files())
        if module.check_mode:
            one = start()
            return {"changed": False, "plan": one.plan(one.holds(before))}
        if given["apply"] and not given["force"] and before and start().holds(before):
            return {"changed": False, "autotune": before.evidence, "fact": PATH}
        with alone(job) as guard:
            one = start()
            found, advice = one.search(guard)
    for remark in one.remarks:
        module.warn(remark)
    result = {**report.describe(found, job.demand), "quantizations": advice.to_dict() if advice else None}
    if not given["apply"]:
        return {"changed": False, "autotune": result}
    record = one.record(found, result)
    diff = {"before": before.to_text() if before else "", "after": record.to_text()}
    return {"changed": keep(record), "autotune": result, "fact": PATH, "diff": diff}


def main() -> None:
    """The module's entry point."""
    run(execute, ARGUMENT_SPEC, requires=("requests",))


if __name__ == "__main__":
    main()
