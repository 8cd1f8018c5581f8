# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module's result and its words; the checks are tested with their core."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.systemd import Systemd, Unit
from fake_host import FakeHost
from fake_http import Answer, FakeServer, Stream

RunModule = Callable[..., dict[str, Any]]

TAGS = Answer(200, {"models": [{"name": "gemma3:270m"}]})
GENERATED = Stream([{"done": True}])
VERSION = Answer(200, {"version": "0.34.0"})


@pytest.mark.parametrize("check", [True, False])
def test_a_healthy_server(run_module: RunModule, server: FakeServer, check: bool) -> None:
    server.queue = [TAGS, VERSION]
    result = run_module("health", url=server.url, check=check)
    assert {key: result[key] for key in ("changed", "healthy", "level", "version", "models")} == {
        "changed": False,
        "healthy": True,
        "level": "live",
        "version": "0.34.0",
        "models": [{"name": "gemma3:270m", "quantization": ""}],
    }
    assert [(entry["name"], entry["ok"]) for entry in result["checks"]] == [("api", True), ("version", True)]
    assert all(entry["latency_ms"] >= 0 and entry["detail"] for entry in result["checks"])


def test_failure_has_the_same_result_and_a_message(run_module: RunModule, closed_port: int) -> None:
    result = run_module("health", url=f"http://127.0.0.1:{closed_port}")
    assert result["failed"]
    assert (result["healthy"], result["version"], result["models"]) == (False, "", [])
    assert result["msg"].startswith(f"http://127.0.0.1:{closed_port} is not healthy: (api) No answer from")
    assert [entry["name"] for entry in result["checks"]] == ["api"]


def test_unhealthy_may_be_a_result(run_module: RunModule, closed_port: int) -> None:
    result = run_module("health", url=f"http://127.0.0.1:{closed_port}", fail_when_unhealthy=False)
    assert not result.get("failed")
    assert (result["changed"], result["healthy"]) == (False, False)


def test_the_environment_is_that_of_the_named_service(
    run_module: RunModule, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Systemd, "show", lambda self, unit: Unit(unit))
    server.queue = [TAGS, VERSION]
    result = run_module("health", url=server.url, service="other", environment={"OLLAMA_NUM_PARALLEL": 2})
    assert "(environment) other.service has no running process" in result["msg"]


def test_everything_that_is_wanted_reaches_the_checks(
    run_module: RunModule, server: FakeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = FakeHost(tmp_path)
    fake.properties.update(MemoryHigh="1073741824", NoNewPrivileges="no", MainPID=str(os.getpid()))
    monkeypatch.setattr(Systemd, "_run", staticmethod(fake.run), raising=False)
    monkeypatch.setattr(Systemd, "__init__", lambda self: None)
    server.queue = [TAGS, VERSION, GENERATED, Answer(200, {"models": []})]
    result = run_module(
        "health",
        url=server.url,
        level="effective",
        directives={"MemoryHigh": "2G", "NoNewPrivileges": True},
        gpu="all",
        fail_when_unhealthy=False,
    )
    details = {entry["name"]: entry["detail"] for entry in result["checks"]}
    assert list(details) == ["api", "version", "generate", "unit", "settings", "gpu", "fit"]
    assert "MemoryHigh should be 2G and is 1073741824; NoNewPrivileges should be yes and is no" in details["unit"]
    assert "No model is loaded" in details["gpu"]


def test_a_bad_address_is_refused(run_module: RunModule) -> None:
    result = run_module("health", url="localhost:11434")
    assert "url is 'localhost:11434', which is not an address" in result["msg"]
