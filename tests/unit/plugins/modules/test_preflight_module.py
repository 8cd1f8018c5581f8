# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module's result and its words; the checks are tested with its core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.preflight import Disk, Host
from ansible_collections.llmops.ollama.plugins.modules import preflight

RunModule = Callable[..., dict[str, Any]]

DISK = Disk("/opt/ollama", "/opt", 900, 500)
HOST = Host("debian", "13", "Debian GNU/Linux 13 (trixie)", True, "aarch64", (3, 13, 5), True, (DISK,))


def test_facts(run_module: RunModule, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def look(requests: list[Any]) -> Host:
        asked.extend(requests)
        return HOST

    monkeypatch.setattr(preflight, "look", look)
    monkeypatch.setattr(preflight, "foreign", lambda store, user: [f"{store}/blobs of {user}"])
    result = run_module("preflight", disk=[{"path": "/opt/ollama", "min_mb": 500}], store="/models", user="llm")
    assert asked == [{"path": "/opt/ollama", "min_mb": 500}]
    assert {key: result[key] for key in result if key != "invocation"} == {
        "changed": False,
        "os": "debian",
        "os_version": "13",
        "architecture": "aarch64",
        "disk": [{"path": "/opt/ollama", "at": "/opt", "free_mb": 900, "min_mb": 500}],
        "missing_packages": [],
        "foreign": ["/models/blobs of llm"],
    }
    assert run_module("preflight")["foreign"] == []


def test_failure(run_module: RunModule, monkeypatch: pytest.MonkeyPatch) -> None:
    host = replace(HOST, root=False, disk=(replace(DISK, free_mb=1),))
    monkeypatch.setattr(preflight, "look", lambda requests: host)
    result = run_module("preflight", check=True)
    assert result["failed"]
    assert [problem["check"] for problem in result["problems"]] == ["root", "disk"]
    assert "(2) /opt/ollama has 1 MiB free" in result["msg"]
