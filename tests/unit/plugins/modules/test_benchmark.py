# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.measure import Measurement, Plan
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.sample import Sample
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.statistics import describe, summarise
from ansible_collections.llmops.ollama.plugins.modules import benchmark
from fake_http import FakeServer, Stream

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(run_module: Run) -> Run:
    return lambda **arguments: run_module("benchmark", **{"model": "gemma3:270m", **arguments})


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """Instead of measuring: two requests of one second each, one after the other; returns the plans it was given."""
    given: list[Plan] = []

    def measure(plan: Plan, report: Any) -> Measurement:
        given.append(plan)
        samples = [Sample(0.0, 1.0, (0.5, 1.0), 2), Sample(1.0, 2.0, (1.5, 2.0), 2)]
        return Measurement(describe(samples[0]), summarise(samples, plan.concurrency, truncated=plan.requests > 100))

    monkeypatch.setattr(benchmark, "measure", measure)
    return given


def asserting(**thresholds: float) -> dict[str, Any]:
    return {"assert": thresholds}


def test_result_of_the_defaults(run: Run, plans: list[Plan]) -> None:
    result = run(seed=7)
    ones = {"mean": 1.0, "p50": 1.0, "p95": 1.0, "p99": 1.0}
    halves = {"mean": 0.5, "p50": 0.5, "p95": 0.5, "p99": 0.5}
    assert result["changed"] is False
    assert result["benchmark"] == {
        "url": "http://127.0.0.1:11434",
        "model": "gemma3:270m",
        "max_tokens": 32,
        "warmup": 10,
        "seed": 7,
        "single": {"latency_s": 1.0, "ttft_s": 0.5, "tpot_s": 0.5, "output_tokens": 2},
        "load": {
            "requests": 2,
            "concurrency": 10,
            "truncated": False,
            "duration_s": 2.0,
            "requests_per_second": 1.0,
            "output_tokens": 4,
            "output_tokens_per_second": 2.0,
            "ttft_s": halves,
            "tpot_s": halves,
            "latency_s": ones,
            "errors": {},
            "error_examples": {},
            "error_rate": 0.0,
        },
        "gain": None,
        "assertions": [],
    }
    assert plans == [Plan("http://127.0.0.1:11434", "gemma3:270m", 100, 10, 32, 10, 7, True, 300.0, 900.0)]


def test_each_run_without_a_seed_has_its_own(run: Run, plans: list[Plan]) -> None:
    seeds = {run()["benchmark"]["seed"] for _ in range(5)}
    assert len(seeds) == 5
    assert seeds == {plan.seed for plan in plans}


def test_zero_warmup_is_not_the_default(run: Run, plans: list[Plan]) -> None:
    run(warmup=0)
    assert plans[0].warmup == 0


def test_result_is_a_baseline_of_the_next(run: Run, plans: list[Plan]) -> None:
    before = run()["benchmark"]
    before["load"]["requests_per_second"] = 0.4
    result = run(baseline=before, **asserting(min_gain=2.5))["benchmark"]
    assert result["gain"] == 2.5
    assert result["assertions"] == [{"metric": "min_gain", "expected": ">= 2.5", "measured": 2.5, "ok": True}]


def test_failed_assertion_keeps_the_result(run: Run, plans: list[Plan]) -> None:
    result = run(**asserting(max_p95_s=0.5, max_error_rate=0.0))
    assert result["failed"]
    assert result["msg"].splitlines() == [
        "1 of 2 assertions failed; the whole measurement is in the key benchmark.",
        "assertion       expected  measured",
        "max_p95_s       <= 0.5    1         FAILED",
        "max_error_rate  <= 0      0         ok",
    ]
    assert result["benchmark"]["load"]["requests"] == 2
    assert [assertion["ok"] for assertion in result["benchmark"]["assertions"]] == [False, True]


def test_truncated_run_warns(run: Run, plans: list[Plan]) -> None:
    assert "Only 2 of 200 requests were sent within max_seconds (900)" in str(run(requests=200)["warnings"])


def test_check_mode_sends_nothing(run: Run, plans: list[Plan]) -> None:
    result = run(check=True)
    assert (result["changed"], result["skipped"]) == (False, True)
    assert "no request was sent to http://127.0.0.1:11434" in result["msg"]
    assert plans == []


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"url": "localhost:11434"},
            "url is 'localhost:11434', which is not an address. Write it as http://HOST:PORT.",
        ),
        ({"requests": 0}, "requests is 0. Give a value from 1 to"),
        ({"requests": -5}, "requests is -5."),
        ({"concurrency": 0}, "concurrency is 0. Give a value from 1 to 1,000."),
        ({"concurrency": 5000, "requests": 9000}, "concurrency is 5000. Give a value from 1 to 1,000."),
        ({"concurrency": 11, "requests": 10}, "concurrency is 11, more than the 10 requests there are."),
        ({"max_tokens": 0}, "max_tokens is 0."),
        ({"warmup": -1}, "warmup is -1. Give a value from 0 to"),
        ({"timeout": 0.0}, "timeout is 0 seconds."),
        ({"max_seconds": -1.0}, "max_seconds is -1 seconds."),
        (asserting(max_error_rate=5), "max_error_rate is 5. Give a share from 0 to 1."),
        (asserting(min_gain=1.5), "min_gain has nothing to compare with. Give the result of an earlier run"),
        (asserting(max_p95=1.5), "module: assert.max_p95. Supported parameters include: max_error_rate,"),
        ({"baseline": {"failed": True}}, "The value of baseline is not a result of this module"),
    ],
)
def test_unusable_options(run: Run, plans: list[Plan], arguments: dict[str, Any], message: str, check: bool) -> None:
    result = run(check=check, **arguments)
    assert result["failed"]
    assert message in result["msg"]
    assert plans == [], "nothing is sent"


def test_measures_a_server(run: Run, server: FakeServer) -> None:
    server.queue = [Stream([{"response": "a"}, {"response": "b"}, {"done": True, "eval_count": 2}])] * 7
    load = run(url=server.url, requests=4, concurrency=2)["benchmark"]["load"]
    assert (load["requests"], load["output_tokens"], load["error_rate"]) == (4, 8, 0.0)
    assert server.log == ["POST /api/generate"] * 7, "two to warm up, one alone, four in the load"


def test_nobody_there(run: Run) -> None:
    """Port 1 of this machine: nobody listens there."""
    result = run(url="http://127.0.0.1:1")
    assert result["failed"]
    assert result["msg"].startswith("Nothing answers at http://127.0.0.1:1: Connection refused. Check that the service")
