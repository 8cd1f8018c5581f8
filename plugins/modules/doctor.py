#!/usr/bin/python
# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Thin module over ``module_utils/doctor``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: doctor
short_description: Find out why an Ollama server does not do well
version_added: 0.1.0
description:
  - Looks at the service, its journal, its processes, its control groups and the host, and says what stands behind the
    usual complaints - a setting had no effect, out of memory, slow, does not run - each with the evidence for it and
    what to do.
  - Changes nothing, and does not fail because of what it finds. A stopped server is diagnosed like a running one.
  - Must run as root on the server's host, to read the environment of its processes.
author:
  - llmops.ollama contributors (@llmops)
options:
  service:
    description:
      - The systemd unit that runs the server.
    type: str
    default: ollama
  environment:
    description:
      - Variables that the server's process should have, name to value, for example C(ollama_tuning.environment).
    type: dict
    default: {}
  predicted_mb:
    description:
      - How many MiB the models will need as they are configured, if that is known; it is compared with what is left.
    type: int
  lock:
    description:
      - Contents of a C(models.lock.yml), whose pins the installed models are compared with.
    type: dict
    default: {}
  models:
    description:
      - The models that the host shall have, in every form that O(llmops.ollama.model#module:name) takes. One that is
        not installed is a finding. If given, only their pins of O(lock) count.
    type: list
    elements: raw
  gpu:
    description:
      - How much of each model should be on GPUs where the host has any, V(none), V(some) or V(all) of it, for example
        C(ollama_tuning.gpu). Of one that O(models) gives a C(num_gpu) as much as that leaves.
    type: str
    choices: [none, some, all]
    default: all
  requests_until:
    description:
      - A moment in seconds since the epoch by the host's clock, after which requests were not those of users but of a
        check, for example RV(llmops.ollama.health#module:began). They do not count as use of a model.
    type: float
  checks:
    description:
      - What the health of the server was found to be, RV(llmops.ollama.health#module:checks). A check that failed is a
        finding where nothing else that is found says the same.
    type: list
    elements: dict
    default: []
  refused:
    description:
      - Why the models that the host shall have do not fit it, in the words of M(llmops.ollama.tuning_facts), where it
        says that they do not (C(ollama_tuning.memory.refused)). Then no value of O(environment) is to be had on the
        host, and this is the finding.
    type: str
    default: ''
  since_hours:
    description:
      - How far back the journal is read. Of what is logged for each request the newest 2000 lines count.
    type: float
    default: 24.0
  observe_seconds:
    description:
      - For how long processes and counters are watched.
    type: float
    default: 1.0
  fail_on_findings:
    description:
      - Whether the task fails where there is a finding of the severity C(problem).
    type: bool
    default: false
extends_documentation_fragment:
  - llmops.ollama.server
  - ansible.builtin.action_common_attributes
requirements:
  - psutil (Debian and Ubuntu package python3-psutil)
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
- name: Find out why the server is slow
  llmops.ollama.doctor:
    environment: "{{ ollama_tuning.environment }}"
    observe_seconds: 5
  become: true
  register: doctor

- name: Show what to do
  ansible.builtin.debug:
    msg: "{{ doctor.findings | map(attribute='remedy') }}"
"""

RETURN = r"""
healthy:
  description: Whether there is no finding of the severity C(problem).
  returned: always
  type: bool
findings:
  description:
    - What was found, problems first. Each has C(symptom) (C(does not run), C(setting had no effect), C(out of memory),
      C(slow)), C(severity) (C(problem), C(warning)), C(what), C(evidence) and C(remedy).
  returned: always
  type: list
  elements: dict
  sample:
    - symptom: setting had no effect
      severity: problem
      what: OLLAMA_NUM_PARALEL is not known to be read by any Ollama.
      evidence: "/etc/systemd/system/ollama.service.d/60-local.conf: OLLAMA_NUM_PARALEL=4"
      remedy: Did you mean OLLAMA_NUM_PARALLEL? Take it out of /etc/systemd/system/ollama.service.d/60-local.conf.
checked:
  description: What was looked at, and what could not be.
  returned: always
  type: list
  elements: str
"""

from dataclasses import asdict
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.entry import SERVER_OPTIONS, Result, run
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmops.ollama.plugins.module_utils.client import Client
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.diagnosis import checked, diagnose, healthy
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.evidence import FailedCheck
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.finding import PROBLEM
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.gather import Looker
from ansible_collections.llmops.ollama.plugins.module_utils.engine import GPU_ALL, GPU_CHOICES
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput, Unhealthy
from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import definitions
from ansible_collections.llmops.ollama.plugins.module_utils.model_lock import parse
from ansible_collections.llmops.ollama.plugins.module_utils.systemd import unit_name

# A longer watch belongs to monitoring, and a task must end.
MAX_SECONDS = 600.0
MAX_HOURS = 24.0 * 366

ARGUMENT_SPEC: dict[str, Any] = {
    **SERVER_OPTIONS,
    "service": {"type": "str", "default": "ollama"},
    "environment": {"type": "dict", "default": {}},
    "predicted_mb": {"type": "int"},
    "lock": {"type": "dict", "default": {}},
    "models": {"type": "list", "elements": "raw"},
    "gpu": {"type": "str", "choices": list(GPU_CHOICES), "default": GPU_ALL},
    "requests_until": {"type": "float"},
    "checks": {"type": "list", "elements": "dict", "default": []},
    "refused": {"type": "str", "default": ""},
    "since_hours": {"type": "float", "default": 24.0},
    "observe_seconds": {"type": "float", "default": 1.0},
    "fail_on_findings": {"type": "bool", "default": False},
}


def execute(module: AnsibleModule) -> Result:
    """Look, then judge."""
    given = module.params
    for option, most in (("observe_seconds", MAX_SECONDS), ("since_hours", MAX_HOURS)):
        if not 0 < given[option] <= most:
            raise InvalidInput(f"{option} is {given[option]:g}.", f"Give a number above 0 and not above {most:g}.")
    lock, models = parse(given["lock"]), None if given["models"] is None else definitions(given["models"])
    with Client(given["url"], given["timeout"]) as client:
        seen = Looker().look(
            client,
            unit_name(given["service"]),
            {name: str(value) for name, value in given["environment"].items()},
            hours=given["since_hours"],
            seconds=given["observe_seconds"],
            predicted_mb=given["predicted_mb"],
            lock=lock,
            models=models,
            gpu=given["gpu"],
            until=given["requests_until"],
            failed=[FailedCheck.of_result(check) for check in given["checks"] if not check.get("ok")],
            refused=given["refused"],
        )
    found = diagnose(seen)
    result: Result = {
        "changed": False,
        "healthy": healthy(found),
        "findings": [asdict(finding) for finding in found],
        "checked": checked(seen, given["since_hours"]),
    }
    if given["fail_on_findings"] and not healthy(found):
        problems = [f"({each.symptom}) {each.what} {each.remedy}" for each in found if each.severity == PROBLEM]
        raise Unhealthy(f"{client.url} does not do well: {' '.join(problems)}", **result)
    return result


def main() -> None:
    """The module's entry point."""
    run(execute, ARGUMENT_SPEC, requires=("requests", "psutil"))


if __name__ == "__main__":
    main()
