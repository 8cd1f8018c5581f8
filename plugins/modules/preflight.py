#!/usr/bin/python
# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Thin module over ``module_utils/preflight.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Check that a host can run Ollama as a service
version_added: 0.1.0
description:
  - Checks the operating system, systemd, the architecture, Python, root rights and free disk space in one go, and fails
    with every problem at once, each with its remedy.
  - Supported are Debian 12, Ubuntu 22.04, newer releases of both, and systems derived from one of these.
  - Needs nothing but Python on the host and changes nothing.
author:
  - llmops.ollama contributors (@llmops)
options:
  disk:
    description:
      - Where room is needed.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description:
          - The path. It need not exist; then the nearest folder above it that does is looked at.
        type: path
        required: true
      min_mb:
        description:
          - How many MiB must be free there.
        type: int
        required: true
  packages:
    description:
      - Debian packages to look for. Those that are not installed are returned, not reported as problems, since the next
        task can install them; a host that has them all needs no such task.
    type: list
    elements: str
    default: []
  store:
    description:
      - A model store that O(user) shall be able to write in. The parts of it where that is not so are returned, not
        reported as problems, since a task can give them back.
    type: path
  user:
    description:
      - The account that the service runs as, for O(store).
    type: str
    default: ollama
extends_documentation_fragment:
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
- name: Check that this host can run Ollama
  llmops.ollama.preflight:
    disk:
      - path: /opt/ollama
        min_mb: 4096
      - path: /var/lib/ollama/models
        min_mb: 20480
    packages: [python3-psutil, python3-requests, zstd]
  become: true
  register: preflight

- name: Install what is missing
  ansible.builtin.apt:
    name: "{{ preflight.missing_packages }}"
    update_cache: true
  become: true
  when: preflight.missing_packages | length > 0
"""

RETURN = r"""
os:
  description: The distribution, or the one that this one derives from.
  returned: success
  type: str
  sample: debian
os_version:
  description: That distribution's version.
  returned: success
  type: str
  sample: "12"
architecture:
  description: The kernel's name of the architecture.
  returned: success
  type: str
  sample: x86_64
disk:
  description: For each request C(path), C(at) (the existing folder that was looked at), C(free_mb) and C(min_mb).
  returned: success
  type: list
  elements: dict
missing_packages:
  description: Those of O(packages) that are not installed.
  returned: success
  type: list
  elements: str
  sample: [zstd]
foreign:
  description:
    - Folders C(blobs) and C(manifests) of O(store), behind links, that are or contain a folder in which O(user) may not
      write. Read-only file systems are left out.
  returned: success
  type: list
  elements: str
  sample: [/var/lib/ollama/models/blobs]
problems:
  description: What stands against the host, each with C(check), C(problem) and C(remedy).
  returned: failure
  type: list
  elements: dict
"""

from dataclasses import asdict
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.entry import Result, run
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmops.ollama.plugins.module_utils.errors import OllamaError
from ansible_collections.llmops.ollama.plugins.module_utils.preflight import (
    foreign,
    look,
    message,
    missing_packages,
    problems,
)

DISK_OPTIONS: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "min_mb": {"type": "int", "required": True},
}
ARGUMENT_SPEC: dict[str, Any] = {
    "disk": {"type": "list", "elements": "dict", "default": [], "options": DISK_OPTIONS},
    "packages": {"type": "list", "elements": "str", "default": []},
    "store": {"type": "path"},
    "user": {"type": "str", "default": "ollama"},
}


def execute(module: AnsibleModule) -> Result:
    """Look at the host; raises ``OllamaError`` with all problems."""
    host = look(module.params["disk"])
    found = problems(host)
    if found:
        raise OllamaError(*message(found), problems=[asdict(problem) for problem in found])
    return {
        "changed": False,
        "os": host.os,
        "os_version": host.os_version,
        "architecture": host.architecture,
        "disk": [asdict(disk) for disk in host.disk],
        "missing_packages": missing_packages(module.params["packages"]),
        "foreign": foreign(module.params["store"], module.params["user"]) if module.params["store"] else [],
    }


def main() -> None:
    """The module's entry point."""
    run(execute, ARGUMENT_SPEC)


if __name__ == "__main__":
    main()
