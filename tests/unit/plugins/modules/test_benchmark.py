# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.measure import Measurement, Plan
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.sample import Sample
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.statistics import describe, summarise
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.verdict import AssertionsFailed
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.modules import benchmark

DEFAULTS = {name: option.get("default") for name, option in benchmark.ARGUMENT_SPEC.items()}


class Module:
    """What the module's function uses of AnsibleModule."""

    def __init__(self, check_mode: bool = False, **params: Any) -> None:
        self.params = {**DEFAULTS, "model": "gemma3:270m", "progress_file": None, **params}
        self.check_mode = check_mode
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """Instead of measuring: two requests of one second each, one after the other; returns the plans it was given."""
    plans: list[Plan] = []

    def measure(plan: Plan, report: Any) -> Measurement:
        plans.append(plan)
        samples = [Sample(0.0, 1.0, (0.5, 1.0), 2), Sample(1.0, 2.0, (1.5, 2.0), 2)]
        return Measurement(describe(samples[0]), summarise(samples, plan.concurrency, truncated=plan.requests > 100))

    monkeypatch.setattr(benchmark, "measure", measure)
    return plans


def asserting(**thresholds: float | None) -> dict[str, Any]:
    return {"assert": thresholds}


def run(module: Any) -> dict[str, Any]:
    result: dict[str, Any] = benchmark.benchmark(module)
    return result


def test_result_of_the_defaults(measured: list[Plan]) -> None:
    result = run(Module(seed=7))
    times = {"mean": 1.0, "p50": 1.0, "p95": 1.0, "p99": 1.0}
    halves = {"mean": 0.5, "p50": 0.5, "p95": 0.5, "p99": 0.5}
    assert result == {
        "changed": False,
        "benchmark": {
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
                "latency_s": times,
                "errors": {},
                "error_examples": {},
                "error_rate": 0.0,
            },
            "gain": None,
            "assertions": [],
        },
    }
    assert json.loads(json.dumps(result)) == result
    assert measured == [
        Plan("http://127.0.0.1:11434", "gemma3:270m", 100, 10, 32, 10, 7, True, 300.0, 900.0),
    ]


def test_each_run_without_a_seed_has_its_own(measured: list[Plan]) -> None:
    seeds = {run(Module())["benchmark"]["seed"] for _ in range(5)}
    assert len(seeds) == 5
    assert seeds == {plan.seed for plan in measured}


def test_zero_warmup_is_not_the_default(measured: list[Plan]) -> None:
    run(Module(warmup=0))
    assert measured[0].warmup == 0


def test_result_is_a_baseline_of_the_next(measured: list[Plan]) -> None:
    before = run(Module())["benchmark"]
    before["load"]["requests_per_second"] = 0.4
    result = run(Module(baseline=before, **asserting(min_gain=2.5, max_p95_s=None)))["benchmark"]
    assert result["gain"] == 2.5
    assert result["assertions"] == [{"metric": "min_gain", "expected": ">= 2.5", "measured": 2.5, "ok": True}]


def test_failed_assertion_keeps_the_result(measured: list[Plan]) -> None:
    with pytest.raises(AssertionsFailed, match="1 of 2 assertions failed") as raised:
        run(Module(**asserting(max_p95_s=0.5, max_error_rate=0.0)))
    result = raised.value.details["benchmark"]
    assert result["load"]["requests"] == 2
    assert [assertion["ok"] for assertion in result["assertions"]] == [False, True]


def test_truncated_run_warns(measured: list[Plan]) -> None:
    module = Module(requests=200)
    run(module)
    assert module.warnings == ["Only 2 of 200 requests were sent within max_seconds (900); the result is of those."]


def test_check_mode_sends_nothing(measured: list[Plan]) -> None:
    result = run(Module(check_mode=True))
    assert (result["changed"], result["skipped"]) == (False, True)
    assert "no request was sent to http://127.0.0.1:11434" in result["msg"]
    assert measured == []


@pytest.mark.parametrize(
    ("params", "message"),
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
        ({"timeout": float("nan")}, "timeout is nan seconds."),
        ({"max_seconds": -1.0}, "max_seconds is -1 seconds."),
        (asserting(min_gain=1.5), "min_gain has nothing to compare with. Give the result of an earlier run"),
        ({"baseline": {"failed": True}}, "The value of baseline is not a result of this module"),
    ],
)
def test_unusable_options(measured: list[Plan], params: dict[str, Any], message: str) -> None:
    for check_mode in (False, True):
        with pytest.raises(InvalidInput) as raised:
            run(Module(check_mode=check_mode, **params))
        assert message in str(raised.value)
    assert measured == [], "nothing is sent"


def test_runs_as_a_module_and_fails_without_a_traceback() -> None:
    """Port 1 of this machine: nobody listens there."""
    arguments = {"ANSIBLE_MODULE_ARGS": {"url": "http://127.0.0.1:1", "model": "gemma3:270m"}}
    program = (
        "from ansible.module_utils.testing import patch_module_args\n"
        "from ansible_collections.llmops.ollama.plugins.modules import benchmark\n"
        f"with patch_module_args({arguments['ANSIBLE_MODULE_ARGS']!r}):\n"
        "    benchmark.main()\n"
    )
    done = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-c", program],
        cwd=Path(__file__).resolve().parents[4] / ".collections",
        capture_output=True,
        text=True,
        check=False,
    )
    result = json.loads(done.stdout)
    assert (done.returncode, result["failed"]) == (1, True)
    assert result["msg"].startswith("Nothing answers at http://127.0.0.1:1: Connection refused. Check that the service")
    assert "Traceback" not in done.stderr
