# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: summary
short_description: Print what is known of the fleet after a run
version_added: 0.1.0
author: llmops.ollama contributors (@llmops)
description:
  - Prints one table of the fleet, and for each host every tuned value with its reason, and where its memory goes.
  - Reads what the collection's roles and playbooks left in the run's variables (C(ollama_tuning),
    C(ollama_health_result), C(ollama_models_result), C(ollama_benchmark_result), C(gateway_benchmark_result),
    C(ollama_doctor_result)). What a run did not do is left out.
options:
  show:
    description:
      - V(fleet) shows what runs and what was measured; V(plan) what each server would be set up with, and its memory.
    type: str
    choices: [fleet, plan]
    default: fleet
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    description: Only prints.
    support: full
  diff_mode:
    description: Only prints.
    support: none
  platform:
    description: Runs on the controller, whatever the hosts are.
    platforms: all
"""

EXAMPLES = r"""
- name: Show the fleet
  llmops.ollama.summary:
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
hosts:
  description: The hosts that the summary covers.
  returned: always
  type: list
  elements: str
  sample: [llm1.example.org, llm2.example.org]
"""
