# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The playbook report: one page of the running fleet, and nothing changes on its hosts."""

from __future__ import annotations

import json
import re
from pathlib import Path

from conftest import RunPlaybook


def test_a_report_of_the_fleet(run_playbook: RunPlaybook, model: str, tmp_path: Path) -> None:
    code, output = run_playbook(playbook="playbooks/report.yml", variables={"report_path": str(tmp_path / "new")})
    assert code == 0, output
    changed = dict(re.findall(r"(\w+) : ok=\d+ changed=(\d+)", output))
    assert changed == {"ollama1": "0", "ollama2": "0", "edge": "0", "localhost": "1"}

    report = json.loads((tmp_path / "new/report.json").read_text(encoding="utf-8"))
    assert [host["name"] for host in report["hosts"]] == ["ollama1", "ollama2"]
    for host in report["hosts"]:
        assert host["health"]["healthy"]
        assert [each["memory_mb"] > 0 for each in host["models"] if each["name"] == model] == [True]
        assert host["memory"]["fits"]
        assert host["diagnosis"]["checked"]
        assert "benchmark (playbook benchmark)" in host["absent"]
    assert report["gateways"][0]["health"]["healthy"]
    page = (tmp_path / "new/report.html").read_text(encoding="utf-8")
    assert "2 servers, all healthy" in page
    assert page.count("<svg") == 3
