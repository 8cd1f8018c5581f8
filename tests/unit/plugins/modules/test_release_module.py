# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module's result and its words; what it does is tested with its core."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.release import MARKER

RunModule = Callable[..., dict[str, Any]]

SHA256 = "a" * 64


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three installed releases; the newest is active."""
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    for version in ("0.9.0", "0.33.0", "0.34.0"):
        (tmp_path / version).mkdir()
        marker = {"archives": {"ollama-linux-amd64.tar.zst": SHA256}}
        (tmp_path / version / MARKER).write_text(json.dumps(marker))
    (tmp_path / "current").symlink_to("0.34.0")
    return tmp_path


def test_nothing_to_do(run_module: RunModule, root: Path) -> None:
    result = run_module("release", version="v0.34.0", root=str(root), base_url="http://127.0.0.1:9")
    assert {key: result[key] for key in ("changed", "path", "version", "sha256", "bytes", "removed")} == {
        "changed": False,
        "path": str(root / "0.34.0"),
        "version": "0.34.0",
        "sha256": SHA256,
        "bytes": 0,
        "removed": [],
    }


@pytest.mark.parametrize("check", [True, False])
def test_diff_shows_what_is_removed(run_module: RunModule, root: Path, check: bool) -> None:
    result = run_module("release", version="0.34.0", root=str(root), keep=1, check=check, diff=True)
    assert (result["changed"], result["removed"]) == (True, ["0.9.0"])
    assert (result["diff"]["before"], result["diff"]["after"]) == ("0.9.0\n0.33.0\n0.34.0\n", "0.33.0\n0.34.0\n")
    assert (root / "0.9.0").exists() is check


def test_failure_is_one_message(run_module: RunModule, root: Path) -> None:
    result = run_module("release", version="0.35.0", root=str(root), base_url="http://127.0.0.1:9", retries=0)
    assert result["failed"]
    assert result["msg"].startswith("http://127.0.0.1:9/v0.35.0/sha256sum.txt could not be fetched: ")
    assert "exception" not in result
