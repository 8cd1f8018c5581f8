# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes what a run has learnt of the fleet."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.llmops.ollama.plugins.module_utils.errors import from_os_error
from ansible_collections.llmops.ollama.plugins.plugin_utils.report import render, svg
from ansible_collections.llmops.ollama.plugins.plugin_utils.report.model import Report
from ansible_collections.llmops.ollama.plugins.plugin_utils.report.read import read_report
from ansible_collections.llmops.ollama.plugins.plugin_utils.report.view import headline

TITLE = "Ollama fleet report"


class ActionModule(ActionBase):
    """Gathers the hosts' variables from the run and writes the report made of them."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"path", "title"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        made_at = datetime.now(timezone.utc)
        folder = Path(self._task.args.get("path") or f"reports/{made_at:%Y-%m-%dT%H%M%SZ}").expanduser().absolute()
        report = self._report(variables, made_at)
        files = render.FILES if svg.MISSING is None else [name for name in render.FILES if name != "report.html"]
        written = [str(folder / name) for name in files]
        if not self._task.check_mode:
            write(folder, {name: render.FILES[name](report) for name in files})
            Display().display(f"\n{headline(report)}: {written[0]}\n")
        hosts = sorted({*(host.name for host in report.hosts), *(gateway.name for gateway in report.gateways)})
        result.update(changed=True, path=str(folder), files=written, headline=headline(report), hosts=hosts)
        if svg.MISSING is not None:
            result.update(failed=True, msg=missing_library(written))
        return result

    def _report(self, variables: dict[str, Any], made_at: datetime) -> Report:
        groups = variables.get("groups", {})
        servers, gateways = (
            {host: variables["hostvars"][host] for host in groups.get(group, [])} for group in ("ollama", "gateway")
        )
        title = self._task.args.get("title") or TITLE
        return read_report(servers, gateways, title, f"{made_at:%Y-%m-%dT%H:%M:%SZ}", collection_version())


def write(folder: Path, files: dict[str, str]) -> None:
    """Write the files into a directory, which is made where there is none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_text(content, encoding="utf-8")
    except OSError as error:
        cause = from_os_error(error, folder, "Give another path, or make this one writable.")
        raise AnsibleActionFail(f"The report was not written. {cause}") from None


def missing_library(written: list[str]) -> str:
    return (
        f"The page was not written: the Python that runs Ansible ({sys.executable}) lacks matplotlib, which draws its "
        f"charts ({svg.MISSING}). Install it: {sys.executable} -m pip install matplotlib, or Debian's package "
        f"python3-matplotlib. The rest of the report is in {' and '.join(written)}."
    )


def collection_version() -> str:
    """The collection's version, from what an installed one or a checkout has; "" where it has neither."""
    root = Path(__file__).parents[2]
    for name, *keys in (("MANIFEST.json", "collection_info", "version"), ("galaxy.yml", "version")):
        if (root / name).exists():
            found: Any = yaml.safe_load((root / name).read_text(encoding="utf-8"))
            for key in keys:
                found = found[key]
            return str(found)
    return ""
