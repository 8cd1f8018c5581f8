#!/usr/bin/python
# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Thin module over ``module_utils/gateway_servers.py`` and ``nginx.py``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_servers
short_description: Which servers a gateway sends requests to, and how many to each
version_added: 0.1.0
description:
  - Writes the file that names the servers of an nginx upstream, each with a share of the requests. The share follows
    from the measured requests per second where all servers have been measured, else from their slots. What nobody says
    about a server in this call stays as the file has it.
  - Takes one server out of service for maintenance and returns when the last request that was under way there has been
    answered. No request is cut or refused for it.
  - A file that nginx refuses is taken back.
options:
  servers:
    description: All servers of this gateway. One that was drained stays so unless it is named as O(servers[].working).
    type: list
    elements: dict
    suboptions:
      name:
        description: The server's name in the inventory.
        type: str
        required: true
      address:
        description: Where the gateway reaches it, as C(HOST:PORT).
        type: str
        required: true
      slots:
        description: How many requests it serves in parallel.
        type: int
      requests_per_second:
        description: What it was measured to do under load.
        type: float
      working:
        description: Whether it was just proved to work, so that it comes back where it was drained.
        type: bool
        default: false
  drain:
    description: Name of a server that shall get no more requests. Refused where no other would be left in service.
    type: str
  restore:
    description: Name of a server that shall get requests again.
    type: str
  slots:
    description: The new number of slots of the server of O(restore).
    type: int
  requests_per_second:
    description: What the server of O(restore) was measured to do.
    type: float
  drain_timeout:
    description: Seconds that requests which are under way at the server of O(drain) may still take.
    type: float
    default: 300.0
  path:
    description: The file, which must be included in an C(upstream) block of nginx.
    type: path
    default: /etc/nginx/ollama-servers.conf
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    description: Says what the file would be; nothing is drained.
    support: full
  diff_mode:
    support: full
  platform:
    platforms: linux
requirements:
  - psutil (Debian and Ubuntu package python3-psutil) for O(drain)
author:
  - llmops.ollama contributors (@llmops)
"""

EXAMPLES = r"""
- name: Send requests to two servers
  llmops.ollama.gateway_servers:
    servers:
      - name: llm1
        address: llm1.example.org:11434
        slots: 4
      - name: llm2
        address: llm2.example.org:11434
        slots: 8

- name: Take a server out of service
  llmops.ollama.gateway_servers:
    drain: llm1
  delegate_to: gateway.example.org

- name: Bring it back, with the share that it now deserves
  llmops.ollama.gateway_servers:
    restore: llm1
    slots: 6
    requests_per_second: 3.4
  delegate_to: gateway.example.org
"""

RETURN = r"""
servers:
  description: All servers as they are now (in check mode, as they would be).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The server's name.
      type: str
    address:
      description: Where the gateway reaches it.
      type: str
    weight:
      description: Its share of the requests.
      type: int
    slots:
      description: How many requests it serves in parallel; null where nobody has said it.
      type: int
    requests_per_second:
      description: What it was measured to do; null where it was not measured.
      type: float
    drained:
      description: Whether it is out of service.
      type: bool
"""

import dataclasses
from pathlib import Path
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.entry import Result, need, run
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmops.ollama.plugins.module_utils import gateway_servers, nginx, transaction
from ansible_collections.llmops.ollama.plugins.module_utils.gateway_servers import Server
from ansible_collections.llmops.ollama.plugins.module_utils.progress import reporter
from ansible_collections.llmops.ollama.plugins.module_utils.systemd import Systemd

SERVER_OPTIONS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "address": {"type": "str", "required": True},
    "slots": {"type": "int"},
    "requests_per_second": {"type": "float"},
    "working": {"type": "bool", "default": False},
}
ARGUMENT_SPEC: dict[str, Any] = {
    "servers": {"type": "list", "elements": "dict", "options": SERVER_OPTIONS},
    "drain": {"type": "str"},
    "restore": {"type": "str"},
    "slots": {"type": "int"},
    "requests_per_second": {"type": "float"},
    "drain_timeout": {"type": "float", "default": 300.0},
    "path": {"type": "path", "default": "/etc/nginx/ollama-servers.conf"},
}


def execute(module: AnsibleModule) -> Result:
    """Write the file; when a server was drained, wait until it has nothing left to do."""
    options = module.params
    systemd = Systemd()
    path = options["path"]
    before = gateway_servers.parse(Path(path).read_text(encoding="utf-8")) if Path(path).is_file() else []
    after = wanted(before, options)
    unit = systemd.show("nginx.service")
    written = transaction.written(path)
    planned = transaction.plan(
        [transaction.Item(path, transaction.File(gateway_servers.render(after).encode()))],
        {path: transaction.read(path)},
        unit,
        on_change="reload",
        # A run that was interrupted before nginx was told.
        written={} if written is None else {path: written},
    )
    if not module.check_mode:
        if options["drain"]:
            need(module, "psutil")
        old = nginx.workers(unit.main_pid) if options["drain"] and planned.changed else set()
        with transaction.Transaction(planned, systemd, validate=["nginx", "-q", "-t"]) as change:
            change.apply()
            if options["drain"]:  # also where it is out of service already: an interrupted run did not wait
                server = next(server for server in after if server.name == options["drain"])
                await_drained(systemd.show("nginx.service").main_pid, server, old, options)
            change.commit()
    rows = [
        {**dataclasses.asdict(server), "weight": weight}
        for server, weight in zip(after, gateway_servers.weights(after))
    ]
    return {"changed": planned.changed, "servers": rows, "diff": transaction.diff(planned)}


def wanted(before: list[Server], options: dict[str, Any]) -> list[Server]:
    """The servers as they shall be."""
    if options["servers"] is not None:
        working = [entry["name"] for entry in options["servers"] if entry["working"]]
        declared = [
            Server.make(entry["name"], entry["address"], entry["slots"], entry["requests_per_second"])
            for entry in options["servers"]
        ]
        return gateway_servers.declare(declared, before, working)
    if options["drain"]:
        return gateway_servers.drain(before, options["drain"])
    measured = Server.make(options["restore"], "measured:1", options["slots"], options["requests_per_second"])
    return gateway_servers.restore(before, options["restore"], measured)


def await_drained(master: int, server: Server, old: set[int], options: dict[str, Any]) -> None:
    """Return when no request is under way at the server; the drain is taken back where that lasts too long."""
    report = reporter(options["progress_file"])
    nginx.wait(
        lambda: 0 if nginx.switched(master, old) else 1,
        nginx.SWITCH_SECONDS,
        lambda _: "nginx has not taken up its servers",
    )
    places = nginx.addresses(server.address)
    nginx.wait(
        lambda: nginx.in_flight(master, places),
        options["drain_timeout"],
        lambda count: f"{count} requests are still under way at {server.name}",
        report,
    )


def main() -> None:
    """The module's entry point."""
    run(
        execute,
        ARGUMENT_SPEC,
        mutually_exclusive=[("servers", "drain", "restore")],
        required_one_of=[("servers", "drain", "restore")],
    )


if __name__ == "__main__":
    main()
