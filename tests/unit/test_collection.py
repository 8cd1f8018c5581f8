# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The collection as a user installs it: built, installed elsewhere, its playbooks found by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def ansible(tool: str, *arguments: str, home: Path) -> str:
    environment = dict(os.environ, ANSIBLE_COLLECTIONS_PATH=str(home), ANSIBLE_HOME=str(home / "home"))
    environment.pop("ANSIBLE_CONFIG", None)
    command = [str(Path(sys.executable).with_name(tool)), *arguments]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("collections")
    ansible("ansible-galaxy", "collection", "build", str(ROOT), "--output-path", str(home), home=home)
    archive = next(home.glob("llmops-ollama-*.tar.gz"))
    ansible("ansible-galaxy", "collection", "install", "--offline", str(archive), "-p", str(home), home=home)
    return home


@pytest.mark.parametrize("playbook", sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml")))
def test_playbooks_are_found_by_name(installed: Path, playbook: str) -> None:
    output = ansible(
        "ansible-playbook", f"llmops.ollama.{playbook}", "-i", "localhost,", "--list-tasks", home=installed
    )
    assert "Check that the inventory has Ollama hosts" in output


def test_the_collection_holds_what_users_need_and_nothing_else(installed: Path) -> None:
    content = {path.name for path in (installed / "ansible_collections/llmops/ollama").iterdir()}
    assert {"plugins", "roles", "playbooks", "README.md", "LICENSE", "MANIFEST.json"} <= content
    assert not content & {"dev", "requirements", "molecule", ".collections", ".venv", ".dev", ".ci", ".config"}


def test_a_report_is_written(installed: Path) -> None:
    """Its templates and styles are part of the archive."""
    (installed / "report.yml").write_text(
        "- hosts: localhost\n  gather_facts: false\n  tasks: [llmops.ollama.report: {path: here}]\n", encoding="utf-8"
    )
    (installed / "inventory.ini").write_text("[ollama]\nllm1\n", encoding="utf-8")
    assert "1 server, none reached" in ansible("ansible-playbook", "report.yml", "-i", "inventory.ini", home=installed)
    assert "llm1" in (installed / "here/report.html").read_text(encoding="utf-8")
