# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module's result and its words; what is found is tested with its core."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.evidence import FailedCheck
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.gather import Looker
from doctor_evidence import HEALTHY

RunModule = Callable[..., dict[str, Any]]


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the module asked for; the host is the healthy one, with a misspelt variable."""
    asked: list[Any] = []

    def look(self: Looker, client: Any, service: str, wanted: Any, **options: Any) -> Any:
        asked.append((client.url, service, wanted, options))
        environment = {**HEALTHY.has, "OLLAMA_NUM_PARALEL": "4"} if wanted else HEALTHY.has
        return HEALTHY.__class__(**{**HEALTHY.__dict__, "environment": environment})

    monkeypatch.setattr(Looker, "look", look)
    return asked


@pytest.mark.parametrize("check", [True, False])
def test_a_finding_is_a_result(run_module: RunModule, looked: list[Any], check: bool) -> None:
    checks = [
        {"name": "api", "ok": True, "detail": "fine", "latency_ms": 1.0, "remedy": ""},
        {"name": "settings", "ok": False, "detail": "One is wrong. Correct it.", "remedy": "Correct it."},
    ]
    result = run_module("doctor", check=check, environment={"OLLAMA_NUM_PARALLEL": 2}, predicted_mb=900, checks=checks)
    assert not result.get("failed")
    assert (result["changed"], result["healthy"]) == (False, False)
    assert result["findings"] == [
        {
            "symptom": "setting had no effect",
            "severity": "problem",
            "what": "OLLAMA_NUM_PARALEL is not known to be read by any Ollama.",
            "evidence": "process 402: OLLAMA_NUM_PARALEL=4",
            "remedy": "Did you mean OLLAMA_NUM_PARALLEL? No file of the unit sets it: restart the service; "
            "if it is there again, look at systemctl show-environment.",
        }
    ]
    assert "journal: 1 lines of the last 24 h" in result["checked"]
    options = {
        "hours": 24.0,
        "seconds": 1.0,
        "predicted_mb": 900,
        "lock": {},
        "models": None,
        "gpu": "all",
        "until": None,
        "failed": [FailedCheck("settings", "One is wrong.", "Correct it.")],
        "refused": "",
    }
    assert looked == [("http://127.0.0.1:11434", "ollama.service", {"OLLAMA_NUM_PARALLEL": "2"}, options)]


@pytest.mark.usefixtures("looked")
def test_a_healthy_host(run_module: RunModule) -> None:
    result = run_module("doctor", fail_on_findings=True)
    assert (result["healthy"], result["findings"]) == (True, [])
    assert result["checked"]


@pytest.mark.usefixtures("looked")
def test_it_fails_only_when_asked_to(run_module: RunModule) -> None:
    result = run_module("doctor", environment={"A": "1"}, fail_on_findings=True)
    assert result["failed"]
    assert "(setting had no effect) OLLAMA_NUM_PARALEL is not known" in result["msg"]
    assert result["findings"]


@pytest.mark.parametrize("options", [{"observe_seconds": 0}, {"observe_seconds": 601}, {"since_hours": -1}])
def test_numbers_out_of_range(run_module: RunModule, options: dict[str, float]) -> None:
    assert f"{next(iter(options))} is" in run_module("doctor", **options)["msg"]
