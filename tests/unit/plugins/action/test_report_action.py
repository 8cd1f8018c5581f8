# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the report goes, and what a person reads when it cannot be written."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import report_fleet as fleet
from ansible.errors import AnsibleActionFail
from ansible_collections.llmops.ollama.plugins.action.report import ActionModule, collection_version
from ansible_collections.llmops.ollama.plugins.plugin_utils.report import svg

VARIABLES = {
    "groups": {"ollama": ["llm1.example.org"], "gateway": ["edge"]},
    "hostvars": {"llm1.example.org": fleet.server(), "edge": fleet.GATEWAY, "other": {}},
}


def run(check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
    task: Any = SimpleNamespace(args=arguments, check_mode=check_mode, async_val=0, action="report")
    connection: Any = SimpleNamespace(_shell=SimpleNamespace(tmpdir=None))
    nothing: Any = None  # it runs on the controller
    return ActionModule(task, connection, nothing, nothing, nothing, nothing).run(task_vars=VARIABLES)


def test_three_files_are_written(tmp_path: Path) -> None:
    result = run(path=str(tmp_path / "a/b"), title="Ours")
    assert result["changed"] is True
    assert result["headline"] == "1 server, healthy"
    assert result["hosts"] == ["edge", "llm1.example.org"]
    assert result["files"] == [str(tmp_path / "a/b" / name) for name in ("report.html", "report.md", "report.json")]
    page, text, data = (Path(name).read_text(encoding="utf-8") for name in result["files"])
    assert page.startswith("<!DOCTYPE html>")
    assert text.startswith("# Ours: 1 server, healthy")
    assert json.loads(data)["version"] == collection_version() != ""


def test_without_a_path_each_report_has_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run()
    assert Path(result["path"]).parent == tmp_path / "reports"
    assert sorted(each.name for each in Path(result["path"]).iterdir()) == ["report.html", "report.json", "report.md"]


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    assert run(check_mode=True, path=str(tmp_path / "new"))["changed"] is True
    assert not (tmp_path / "new").exists()


def test_without_matplotlib_the_rest_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svg, "MISSING", ImportError("No module named 'matplotlib'"))
    result = run(path=str(tmp_path))
    assert result["failed"] is True
    assert "lacks matplotlib" in result["msg"]
    assert "pip install matplotlib" in result["msg"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["report.json", "report.md"]


def test_a_path_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AnsibleActionFail, match=r"The report was not written\. .*file: .*Give another path"):
        run(path=str(tmp_path / "file"))


def test_an_unknown_option() -> None:
    with pytest.raises(AnsibleActionFail, match="pth"):
        run(pth="/tmp/x")  # noqa: S108  # never used
