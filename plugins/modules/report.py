# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Write what is known of the fleet after a run as one page, and for chat and machines
version_added: 0.1.0
author: llmops.ollama contributors (@llmops)
description:
  - Writes C(report.html), C(report.md) and C(report.json) into a directory on the controller. The page needs nothing
    but itself - no network, no script, no other file - so that it can be sent, printed and kept.
  - It shows the fleet at a glance, and for each host every tuned value with its reason, where memory goes, throughput
    and latency before and after, what the guide expects beside what was measured, the configurations that a search
    tried, quantizations compared, and what the doctor found.
  - Reads what the collection's roles and playbooks left in the run's variables, as M(llmops.ollama.summary) does. What
    a run did not find out is said to be absent.
options:
  path:
    description:
      - The directory to write into, which is made where there is none. A relative one is relative to the directory that
        the playbook was started in.
      - Without it a directory in C(reports) named after the time, for example C(reports/2026-11-27T093000Z).
    type: path
  title:
    description:
      - What stands above everything.
    type: str
    default: Ollama fleet report
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
requirements:
  - matplotlib on the controller, in the Python that runs Ansible. It draws the charts of the page; the Markdown and the
    JSON are written without it too.
attributes:
  check_mode:
    description: Writes nothing.
    support: full
  diff_mode:
    description: A report is new each time.
    support: none
  platform:
    description: Runs on the controller, whatever the hosts are.
    platforms: all
"""

EXAMPLES = r"""
- name: Write the report
  llmops.ollama.report:
    path: /srv/reports/{{ now(fmt='%Y-%m-%d') }}
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
path:
  description: The directory.
  returned: always
  type: str
  sample: /home/ops/reports/2026-11-27T093000Z
files:
  description: The files that were written.
  returned: always
  type: list
  elements: str
  sample: [/home/ops/reports/2026-11-27T093000Z/report.html]
headline:
  description: The report in a few words.
  returned: always
  type: str
  sample: 8 servers, all healthy
hosts:
  description: The hosts that the report covers.
  returned: always
  type: list
  elements: str
  sample: [llm1.example.org, llm2.example.org]
"""
