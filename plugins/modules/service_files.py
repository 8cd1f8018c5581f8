#!/usr/bin/python
# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Thin module over ``module_utils/transaction.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service_files
short_description: Change the files of a systemd service, or leave the previous state running
version_added: 0.1.0
description:
  - Writes files and links, validates them, restarts or reloads the service once, and waits until it works.
  - When anything of that fails, or the module is interrupted, every file is put back as it was and the service runs
    with its previous files again. The task fails with the reason, the service's last log lines, and its state.
  - A service that is not running is started. A process that is older than one of its files, or whose unit files were
    changed without telling systemd, is restarted too. So the next run completes one that was killed.
author:
  - llmops.ollama contributors (@llmops)
options:
  name:
    description:
      - Name of the unit, for example V(ollama) or V(nginx.service).
    type: str
    required: true
  files:
    description:
      - Files that must be there. Missing folders are made.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description:
          - Where the file is. A change of a unit file or a drop-in makes systemd read its files again and restarts the
            service, whatever O(on_change) says.
        type: path
        required: true
      content:
        description:
          - The whole text of the file.
        type: str
        required: true
      mode:
        description:
          - Permissions as four octal digits in quotes.
        type: str
        default: "0644"
      owner:
        description:
          - Name of the owner. Without it the owner stays, and a new file belongs to the user that the module runs as.
        type: str
      group:
        description:
          - Name of the group. Without it the group stays.
        type: str
      restart:
        description:
          - Whether the service must take up a change of this file. V(false) is for a file that only lies beside it.
        type: bool
        default: true
  links:
    description:
      - Symbolic links that must be there.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description:
          - Where the link is.
        type: path
        required: true
      target:
        description:
          - What the link leads to; it need not exist.
        type: str
        required: true
  absent:
    description:
      - Paths of files and links that must not be there.
    type: list
    elements: path
    default: []
  reads:
    description:
      - Paths of files that others write and that the service reads as it starts, for example certificates. It takes up
        one that is newer than its process, in the way of O(on_change).
      - Where O(on_change=restart), all files of its unit are among them, with others' drop-ins and files of variables.
    type: list
    elements: path
    default: []
  validate:
    description:
      - A command that must succeed when the files are in place, before the service is touched. Without a shell.
    type: list
    elements: str
    default: []
  on_change:
    description:
      - How the service takes up its files.
    type: str
    choices: [restart, reload]
    default: restart
  enabled:
    description:
      - Whether the service starts at boot.
    type: bool
    default: true
  ready_url:
    description:
      - An address that must answer a GET with status 200 before the service counts as working. Without it the service
        must stay up.
    type: str
  ready_timeout:
    description:
      - Seconds to wait for that. A service that fails is reported at once.
    type: float
    default: 60.0
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    description: Predicts the changes and the restart. O(validate) is not run, since the files are not there.
    support: full
  diff_mode:
    description: Shows each file, link and the start at boot before and after.
    support: full
  platform:
    description: Linux with systemd 248 or newer.
    support: full
    platforms: linux
"""

EXAMPLES = r"""
- name: Run Ollama with four parallel requests
  llmops.ollama.service_files:
    name: ollama
    files:
      - path: /etc/systemd/system/ollama.service.d/50-tuning.conf
        content: |
          [Service]
          Environment=OLLAMA_NUM_PARALLEL=4
    ready_url: http://127.0.0.1:11434/api/tags

- name: Configure nginx
  llmops.ollama.service_files:
    name: nginx
    files:
      - path: /etc/nginx/conf.d/ollama.conf
        content: "{{ lookup('ansible.builtin.template', 'ollama.conf.j2') }}"
    absent: [/etc/nginx/sites-enabled/default]
    validate: [nginx, -t]
    on_change: reload
"""

RETURN = r"""
name:
  description: The full name of the unit.
  returned: success
  type: str
  sample: ollama.service
paths:
  description: The files and links that changed.
  returned: success
  type: list
  elements: str
action:
  description: What was done with the service (V(none), V(start), V(restart) or V(reload)).
  returned: success
  type: str
action_reason:
  description: Why that was done; empty when nothing was.
  returned: success
  type: str
  sample: /etc/nginx/conf.d/ollama.conf changed
reason:
  description: What failed.
  returned: failure of the change
  type: str
journal:
  description: The service's last log lines since the change began.
  returned: failure of the change
  type: list
  elements: str
restored:
  description: Whether the state before the change is back.
  returned: failure of the change
  type: bool
"""

import grp
import pwd
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.entry import Result, run
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmops.ollama.plugins.module_utils import transaction
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.systemd import (
    FILE_PROPERTIES,
    Systemd,
    unit_files,
    unit_name,
)

FILE_OPTIONS: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "content": {"type": "str", "required": True},
    "mode": {"type": "str", "default": "0644"},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "restart": {"type": "bool", "default": True},
}
LINK_OPTIONS: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "target": {"type": "str", "required": True},
}
ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "files": {"type": "list", "elements": "dict", "default": [], "options": FILE_OPTIONS},
    "links": {"type": "list", "elements": "dict", "default": [], "options": LINK_OPTIONS},
    "absent": {"type": "list", "elements": "path", "default": []},
    "reads": {"type": "list", "elements": "path", "default": []},
    "validate": {"type": "list", "elements": "str", "default": []},
    "on_change": {"type": "str", "choices": ["restart", "reload"], "default": "restart"},
    "enabled": {"type": "bool", "default": True},
    "ready_url": {"type": "str"},
    "ready_timeout": {"type": "float", "default": 60.0},
}


def execute(module: AnsibleModule) -> Result:
    """Bring the service's files to the state that the options describe."""
    given = module.params
    systemd = Systemd()
    ready = transaction.answers(given["ready_url"]) if given["ready_url"] else (lambda: None)
    items = [transaction.Item(entry["path"], file_state(entry), entry["restart"]) for entry in given["files"]]
    items += [transaction.Item(entry["path"], transaction.Link(entry["target"])) for entry in given["links"]]
    items += [transaction.Item(path, None) for path in given["absent"]]
    paths = [item.path for item in items]
    unit = systemd.show(unit_name(given["name"]))
    reads = set(given["reads"])
    if given["on_change"] == "restart":
        # Others' drop-ins, too: a process that is older than one of them does not run as it is configured.
        reads.update(unit_files(systemd.properties(unit.name, FILE_PROPERTIES), unit.name))
    plan = transaction.plan(
        items,
        {path: transaction.read(path) for path in paths},
        unit,
        on_change=given["on_change"],
        enabled=given["enabled"],
        written={path: when for path in {*paths, *reads} if (when := transaction.written(path, path in reads))},
        reads=reads,
    )
    if not module.check_mode:
        transaction.clean(paths)
        if plan.changed:
            options = {"validate": given["validate"], "ready": ready, "ready_timeout": given["ready_timeout"]}
            with transaction.Transaction(plan, systemd, **options) as change:
                change.apply()
                change.commit()
    return {
        "changed": plan.changed,
        "name": plan.unit.name,
        "paths": [change.path for change in plan.changes],
        "action": plan.action,
        "action_reason": plan.reason,
        "diff": transaction.diff(plan),
    }


def file_state(entry: Mapping[str, Any]) -> transaction.File:
    """A file as the options describe it. Raises ``InvalidInput``."""
    if not re.fullmatch(r"[0-7]{4}", entry["mode"]):
        raise InvalidInput(
            f"The mode {entry['mode']!r} of {entry['path']} is not four octal digits.", 'Quote it, as in "0644".'
        )
    try:
        owner = None if entry["owner"] is None else pwd.getpwnam(entry["owner"]).pw_uid
        group = None if entry["group"] is None else grp.getgrnam(entry["group"]).gr_gid
    except KeyError as error:
        raise InvalidInput(f"{entry['path']}: {error.args[0]}.", "Create the user or the group first.") from None
    return transaction.File(entry["content"].encode(), int(entry["mode"], 8), owner, group)


def main() -> None:
    """The module's entry point."""
    run(execute, ARGUMENT_SPEC)


if __name__ == "__main__":
    main()
