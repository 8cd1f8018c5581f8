# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Imports from an archive such as Ansible sends, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils import archive_finder

BELOW = "ansible_collections/llmops/ollama/plugins/module_utils"
PACKAGE = BELOW.replace("/", ".")
FILES = {
    f"{BELOW}/archive_finder.py": Path(archive_finder.__file__).read_text(encoding="utf-8"),
    f"{BELOW}/one.py": f"from {PACKAGE}.some.two import TWO\n\n\ndef fail():\n    raise ValueError(TWO)\n",
    f"{BELOW}/some/__init__.py": "",
    f"{BELOW}/some/two.py": "TWO = 2\n",
    "elsewhere.py": "",
}
COUNT = """
import json, sys
compiled = []
sys.addaudithook(lambda event, given: compiled.append(str(given[1])) if event == "compile" else None)
sys.path.insert(0, sys.argv[1])
"""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """The archive, with all packages above its files."""
    path = tmp_path / "payload.zip"
    packages = {f"{folder}/__init__.py": "" for file in FILES for folder in list(map(str, Path(file).parents))[:-1]}
    with zipfile.ZipFile(path, "w") as opened:
        for name, text in {**packages, **FILES}.items():
            opened.writestr(name, text)
    return path


def python(code: str, archive: Path) -> subprocess.CompletedProcess[str]:
    """Run it with the archive as the first argument."""
    return subprocess.run(
        [sys.executable, "-I", "-c", COUNT + code, str(archive)], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(("install", "times"), [("", 2), (f"import {PACKAGE}.archive_finder as f; f.install()", 1)])
def test_each_file_is_compiled_once(archive: Path, install: str, times: int) -> None:
    code = f"{install}\nimport {PACKAGE}.one as one, elsewhere\nprint(json.dumps([one.TWO, one.__file__, compiled]))"
    done = python(code, archive)
    assert not done.returncode, done.stderr
    two, file, compiled = json.loads(done.stdout)
    assert (two, file) == (2, f"{archive}/{BELOW}/one.py")
    for name in ("one.py", "some/__init__.py", "some/two.py"):
        assert compiled.count(f"{archive}/{BELOW}/{name}") == times, name
    assert compiled.count(f"{archive}/elsewhere.py") == 2, "what is not of this collection is left alone"


def test_a_traceback_shows_the_line(archive: Path) -> None:
    fail = "import traceback\ntry:\n    o.fail()\nexcept ValueError:\n    print(traceback.format_exc())"
    done = python(f"import {PACKAGE}.archive_finder as f; f.install()\nimport {PACKAGE}.one as o\n{fail}", archive)
    assert "raise ValueError(TWO)\nValueError: 2" in done.stdout, done.stderr


def test_what_is_not_there_is_an_import_error(archive: Path) -> None:
    done = python(f"import {PACKAGE}.archive_finder as f; f.install()\nimport {PACKAGE}.three", archive)
    assert f"ModuleNotFoundError: No module named '{PACKAGE}.three'" in done.stderr


def test_files_of_a_folder_are_left_to_others() -> None:
    folder = str(Path(archive_finder.__file__).parent)
    assert archive_finder.ArchiveFinder.find_spec(archive_finder.__name__, [folder]) is None
    assert archive_finder.ArchiveFinder.find_spec("json.decoder", [folder]) is None
    assert archive_finder.ArchiveFinder.find_spec("json") is None


def test_it_is_installed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [])
    archive_finder.install()
    archive_finder.install()
    assert sys.meta_path == [archive_finder.ArchiveFinder]
