# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prints what a run has learnt of the fleet."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.llmops.ollama.plugins.plugin_utils.summary import fleet_summary, plan_summary


class ActionModule(ActionBase):
    """Gathers the hosts' variables from the run and prints the summary made of them."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"show"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        show = self._task.args.get("show", "fleet")
        if show not in ("fleet", "plan"):
            raise AnsibleActionFail(f"show is {show!r}. It must be fleet or plan.")
        variables = task_vars or {}
        groups = variables.get("groups", {})
        servers, gateways = (
            {host: variables["hostvars"][host] for host in groups.get(group, [])} for group in ("ollama", "gateway")
        )
        text = plan_summary(servers) if show == "plan" else fleet_summary(servers, gateways)
        Display().display(f"\n{text}\n")
        result.update(changed=False, hosts=sorted({*servers, *gateways}))
        return result
