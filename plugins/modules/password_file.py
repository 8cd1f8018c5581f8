#!/usr/bin/python
# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Thin module over ``module_utils/password_file.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: password_file
short_description: Have a file of users and hashed passwords for a web server
version_added: 0.1.0
description:
  - Writes a file for C(auth_basic_user_file) of nginx or C(AuthUserFile) of Apache, with a SHA-512 crypt of each
    password and a salt of its own.
  - A password that the file has already is left as it is, so that a second run changes nothing.
  - No password is written anywhere in plain text, or passed as an argument of a process.
author:
  - llmops.ollama contributors (@llmops)
options:
  path:
    description:
      - The file.
    type: path
    required: true
  users:
    description:
      - All users that the file shall have; others are removed from it.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - The user's name.
        type: str
        required: true
      password:
        description:
          - The user's password, at most 255 bytes.
        type: str
        required: true
  group:
    description:
      - The group that may read the file, for example that of the web server. Nobody else but root may.
    type: str
requirements:
  - openssl (Debian and Ubuntu package of the same name)
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    description: Predicts.
    support: full
  diff_mode:
    description: Shows names, and whose password changes; never a hash.
    support: full
  platform:
    description: Linux.
    support: full
    platforms: linux
"""

EXAMPLES = r"""
- name: Let the fleet in
  llmops.ollama.password_file:
    path: /etc/nginx/ollama-mirror.users
    group: www-data
    users:
      - name: fleet
        password: "{{ vaulted_password }}"
"""

RETURN = r"""
users:
  description: The names in the file.
  returned: success
  type: list
  elements: str
  sample: [fleet]
"""

import grp
import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.entry import Result, run
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmops.ollama.plugins.module_utils import password_file
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.transaction import Change, File, FileSet, read

ARGUMENT_SPEC: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "users": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "no_log": False,
        "options": {
            "name": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
        },
    },
    "group": {"type": "str"},
}


def execute(module: AnsibleModule) -> Result:
    """Bring the file to what the options say."""
    given = module.params
    before = read(given["path"])
    there = password_file.parse(before.content.decode("utf-8", "replace")) if isinstance(before, File) else {}
    passwords = {entry["name"]: entry["password"] for entry in given["users"]}
    if len(passwords) != len(given["users"]):
        raise InvalidInput("A user is named twice.", "Name each once.", key="users")
    wanted = password_file.updated(there, passwords)
    try:
        group = grp.getgrnam(given["group"]).gr_gid if given["group"] else os.getegid()
    except KeyError as error:
        raise InvalidInput(f"{error.args[0]}.", "Install the web server first, or give its group.") from None
    after = File(password_file.render(wanted).encode(), 0o640, os.geteuid(), group)
    if after != before and not module.check_mode:
        files = FileSet([Change(given["path"], before, after)])
        try:
            files.write()
        except BaseException:
            files.rollback()
            raise
        files.commit()
    return {
        "changed": after != before,
        "users": sorted(wanted),
        "diff": {
            "before": names(there, there),
            "after": names(wanted, there),
            "before_header": given["path"],
            "after_header": given["path"],
        },
    }


def names(users: Mapping[str, str], there: Mapping[str, str]) -> str:
    """The users, one a line."""
    changed = {name for name in users if name in there and users[name] != there[name]}
    return "".join(f"{name}{' (new password)' if name in changed else ''}\n" for name in sorted(users))


def main() -> None:
    """The module's entry point."""
    run(execute, ARGUMENT_SPEC)


if __name__ == "__main__":
    main()
