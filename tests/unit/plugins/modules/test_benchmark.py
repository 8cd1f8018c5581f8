# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.measure import Measurement
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.plan import Plan
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.sample import Round, Sample
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.statistics import describe, summarise
from ansible_collections.llmops.ollama.plugins.modules import benchmark
from fake_http import FakeServer, Stream

Run = Callable[..., dict[str, Any]]
ANSWER = [{"response": "a"}, {"response": "b"}, {"done": True, "eval_count": 2}]


@pytest.fixture
def run(run_module: Run, closed_port: int) -> Run:
    url = f"http://127.0.0.1:{closed_port}"
    return lambda **arguments: run_module("benchmark", **{"url": url, "model": "gemma3:270m", **arguments})


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """Instead of measuring: 40 requests of one second, one after the other; returns the plans it was given."""
    given: list[Plan] = []

    def measure(plan: Plan, report: Any) -> Measurement:
        given.append(plan)
        samples = [Sample(float(at), at + 1.0, (at + 0.5, at + 1.0), 2) for at in range(40)]
        levels = tuple(summarise([Round(samples)], load, plan.slo) for load in plan.levels)
        return Measurement(describe(samples[0]), levels)

    monkeypatch.setattr(benchmark, "measure", measure)
    return given


def asserting(**thresholds: float) -> dict[str, Any]:
    return {"assert": thresholds}


def test_result_of_the_defaults(run: Run, plans: list[Plan]) -> None:
    result = run(seed=7)
    assert result["changed"] is False
    found = result["benchmark"]
    assert (found["schema"], found["model"], found["workload"]["seed"]) == (
        "llmops.ollama.benchmark/1",
        "gemma3:270m",
        7,
    )
    assert found["single"] == {"latency_s": 1.0, "ttft_s": 0.5, "tpot_s": 0.5, "output_tokens": 2}
    [level] = found["levels"]
    assert (level["concurrency"], level["rate"], level["requests_per_second"], level["goodput"]) == (
        10,
        None,
        1.0,
        None,
    )
    assert level["intervals"]["requests_per_second"] == [1.0, 1.0]
    assert level["latency_s"]["intervals"]["p50"] == [1.0, 1.0]
    assert (found["assertions"], found["comparison"], found["gains"]) == ([], None, None)


def test_one_number_is_a_list_of_one(run: Run, plans: list[Plan]) -> None:
    run(concurrency=4)
    run(concurrency=[1, 4])
    run(rate=0.5)
    assert [[str(load) for load in plan.levels] for plan in plans] == [
        ["4 at a time"],
        ["1 at a time", "4 at a time"],
        ["0.5 per second"],
    ]


def test_result_is_a_baseline_of_the_next(run: Run, plans: list[Plan], tmp_path: Path) -> None:
    path = tmp_path / "before.json"
    result = run(save=str(path), slo={"latency_s": 2})
    assert result["changed"] is True
    saved = json.loads(path.read_text())
    assert saved == result["benchmark"]
    for baseline in (result["benchmark"], str(path)):
        again = run(baseline=baseline, slo={"latency_s": 2}, **asserting(min_gain=0.99, min_goodput_gain=0.99))
        assert again["benchmark"]["gains"][0]["ratios"]["requests_per_second"] == {
            "ratio": 1.0,
            "low": 1.0,
            "high": 1.0,
            "rounds": 1,
        }
        assert [each["ok"] for each in again["benchmark"]["assertions"]] == [True, True]


def test_failed_assertion_keeps_the_result(run: Run, plans: list[Plan], tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    result = run(save=str(path), **asserting(max_p95_s=0.5, max_error_rate=0.0))
    assert result["failed"]
    assert result["msg"].splitlines() == [
        "1 of 2 assertions failed; the whole measurement is in the key benchmark.",
        "assertion       level         expected  measured",
        "max_p95_s       10 at a time  <= 0.5    1         FAILED",
        "max_error_rate  10 at a time  <= 0      0         ok",
    ]
    assert [assertion["ok"] for assertion in result["benchmark"]["assertions"]] == [False, True]
    assert json.loads(path.read_text()) == result["benchmark"]


def test_caveats_are_warnings(run: Run, plans: list[Plan]) -> None:
    assert "2 prompts for 40 requests" in str(run(prompts=["a", "b"])["warnings"])


def test_check_mode_sends_and_writes_nothing(run: Run, plans: list[Plan], tmp_path: Path) -> None:
    result = run(check=True, url="http://127.0.0.1:11434", save=str(tmp_path / "result.json"))
    assert (result["changed"], result["skipped"]) == (False, True)
    assert "no request was sent to http://127.0.0.1:11434" in result["msg"]
    assert plans == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"url": "localhost:11434"},
            "url is 'localhost:11434', which is not an address. Write it as http://HOST:PORT.",
        ),
        ({"requests": 0}, "requests is 0. Give a value from 1 to"),
        ({"concurrency": 0}, "concurrency is 0. Give 1 to 1,000."),
        ({"concurrency": []}, "concurrency is empty."),
        ({"concurrency": "many"}, "concurrency"),
        ({"rate": 0}, "rate is 0. Give requests per second"),
        ({"rate": [1], "concurrency": [1]}, "Both concurrency and rate are given."),
        (
            {"prompt_set": "poems"},
            "value of prompt_set must be one of: chat, guide, document, shared_prefix",
        ),
        ({"endpoint": "/api/embed"}, "value of endpoint must be one of"),
        ({"max_tokens": 0}, "max_tokens is 0."),
        (asserting(max_error_rate=5), "max_error_rate is 5. Give a share from 0 to 1."),
        (asserting(max_p95=1.5), "module: assert.max_p95. Supported parameters include: max_error_rate,"),
        ({"slo": {"ttft": 1}}, "module: slo.ttft. Supported parameters include: latency_s,"),
        ({"baseline": {"failed": True}}, "The baseline is not a result of this module"),
        ({"baseline": {"schema": "llmops.ollama.benchmark/0"}}, "has the schema 'llmops.ollama.benchmark/0'"),
        ({"save": "/nonexistent/folder/result.json"}, "save is /nonexistent/folder/result.json, where no file"),
    ],
)
def test_unusable_options(run: Run, plans: list[Plan], arguments: dict[str, Any], message: str, check: bool) -> None:
    result = run(check=check, **arguments)
    assert result["failed"]
    assert message in result["msg"]
    assert plans == [], "nothing is sent"


def test_a_gain_needs_a_baseline_which_check_mode_does_not_have(run: Run, plans: list[Plan]) -> None:
    asked = asserting(min_gain=1.5)
    assert "min_gain has nothing to compare with. Give the result of an earlier run" in run(**asked)["msg"]
    assert run(check=True, **asked)["skipped"]
    assert "min_goodput_gain has nothing" in run(check=True, **asserting(min_goodput_gain=1))["msg"], "without an slo"
    assert plans == []


def test_measures_a_server(run: Run, server: FakeServer) -> None:
    server.queue = [Stream(ANSWER)] * 7
    [level] = run(url=server.url, requests=4, concurrency=2)["benchmark"]["levels"]
    assert (level["requests"], level["output_tokens"], level["error_rate"], level["server"]) == (4, 8, 0.0, None)
    posts = [request for request in server.log if request.startswith("POST")]
    assert posts == ["POST /api/generate"] * 7, "two to warm up, one alone, four in the load"


def test_nobody_there(run: Run, closed_port: int) -> None:
    result = run()
    assert result["failed"]
    assert result["msg"].startswith(
        f"Nothing answers at http://127.0.0.1:{closed_port}: Connection refused. Check that the service"
    )
