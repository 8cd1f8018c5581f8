# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the report goes, and what a person reads when it cannot be written.

Run by Ansible itself: a process that has once imported its controller is none any more in which modules can be tested.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import report_fleet as fleet
import yaml

ROOT = Path(__file__).resolve().parents[4]


def play(folder: Path, tasks: dict[str, dict[str, Any]], **environment: str) -> dict[str, dict[str, Any]]:
    """The results of the action with each of these arguments (and ``check_mode``), by the names of the tasks."""
    report = [
        {
            "llmops.ollama.report": {key: value for key, value in arguments.items() if key != "check_mode"},
            "check_mode": arguments.get("check_mode", False),
            "register": name,
            "ignore_errors": True,
        }
        for name, arguments in tasks.items()
    ]
    results = f"{{{{ {{{', '.join(f'{name!r}: {name}' for name in tasks)}}} | to_json }}}}"
    keep = {"ansible.builtin.copy": {"dest": str(folder / "results.json"), "content": results, "mode": "0644"}}
    plays = [{"hosts": "localhost", "gather_facts": False, "tasks": [*report, keep]}]
    inventory = {
        "ollama": {"hosts": {"llm1.example.org": fleet.server()}},
        "gateway": {"hosts": {"edge": fleet.GATEWAY}},
        "other": {"hosts": {"db1": {}}},
    }
    (folder / "play.yml").write_text(yaml.safe_dump(plays), encoding="utf-8")
    (folder / "inventory.json").write_text(json.dumps(inventory), encoding="utf-8")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "play.yml", "-i", "inventory.json"],
        cwd=folder,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, dict[str, Any]] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("play")


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, dict[str, Any]]:
    (folder / "file").write_text("")
    return play(
        folder,
        {
            "written": {"path": str(folder / "a/b"), "title": "Ours"},
            "dry": {"path": str(folder / "new"), "check_mode": True},
            "elsewhere": {},
            "at_a_file": {"path": str(folder / "file")},
            "misspelt": {"pth": str(folder / "c")},
        },
    )


def names(path: str | Path) -> list[str]:
    return sorted(each.name for each in Path(path).iterdir())


def test_three_files_are_written(results: dict[str, dict[str, Any]], folder: Path) -> None:
    result = results["written"]
    assert result["changed"] is True
    assert result["headline"] == "1 server, healthy"
    assert result["hosts"] == ["edge", "llm1.example.org"]
    assert result["files"] == [str(folder / "a/b" / name) for name in ("report.html", "report.md", "report.json")]
    page, text, data = (Path(name).read_text(encoding="utf-8") for name in result["files"])
    assert page.startswith("<!DOCTYPE html>")
    assert text.startswith("# Ours: 1 server, healthy")
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"]
    assert json.loads(data)["version"] == version


def test_without_a_path_each_report_has_a_directory_of_its_own(
    results: dict[str, dict[str, Any]], folder: Path
) -> None:
    assert Path(results["elsewhere"]["path"]).parent == folder / "reports"
    assert names(results["elsewhere"]["path"]) == ["report.html", "report.json", "report.md"]


def test_a_dry_run_writes_nothing(results: dict[str, dict[str, Any]], folder: Path) -> None:
    assert results["dry"]["changed"] is True
    assert not (folder / "new").exists()


def test_what_cannot_be_done_is_said(results: dict[str, dict[str, Any]]) -> None:
    message = results["at_a_file"]["msg"]
    assert message.startswith("The report was not written. /")
    assert message.endswith("/file: File exists. Give another path, or make this one writable.")
    assert "pth" in results["misspelt"]["msg"]


def test_without_matplotlib_the_rest_is_written(tmp_path: Path) -> None:
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent/matplotlib.py").write_text("raise ImportError('No module named matplotlib')\n")
    found = play(tmp_path, {"lacking": {"path": str(tmp_path / "report")}}, PYTHONPATH=str(tmp_path / "absent"))
    assert "lacks matplotlib" in found["lacking"]["msg"]
    assert "pip install matplotlib" in found["lacking"]["msg"]
    assert names(tmp_path / "report") == ["report.json", "report.md"]
