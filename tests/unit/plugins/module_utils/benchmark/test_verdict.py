# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.statistics import Distribution, Level
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.verdict import (
    Assertion,
    AssertionsFailed,
    baseline_rate,
    judge,
    require,
)
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput


def level(**changes: Any) -> Level:
    values: dict[str, Any] = {
        "requests": 100,
        "concurrency": 10,
        "truncated": False,
        "duration_s": 40.0,
        "requests_per_second": 2.4,
        "output_tokens": 3000,
        "output_tokens_per_second": 75.0,
        "ttft_s": Distribution(mean=1.0, p50=1.0, p95=1.5, p99=1.6),
        "tpot_s": Distribution(mean=0.05, p50=0.05, p95=0.06, p99=0.07),
        "latency_s": Distribution(mean=3.0, p50=3.1, p95=4.0, p99=4.4),
        "errors": {"http_429": 4},
        "error_examples": {"http_429": "slow down"},
        "error_rate": 0.04,
    }
    return Level(**{**values, **changes})


@pytest.mark.parametrize(
    ("metric", "threshold", "expected"),
    [
        ("max_p95_s", 4.0, Assertion("max_p95_s", "<= 4", 4.0, True)),
        ("max_p95_s", 3.9, Assertion("max_p95_s", "<= 3.9", 4.0, False)),
        ("max_ttft_p95_s", 1.5, Assertion("max_ttft_p95_s", "<= 1.5", 1.5, True)),
        ("max_ttft_p95_s", 1.0, Assertion("max_ttft_p95_s", "<= 1", 1.5, False)),
        ("min_requests_per_second", 2.4, Assertion("min_requests_per_second", ">= 2.4", 2.4, True)),
        ("min_requests_per_second", 2.5, Assertion("min_requests_per_second", ">= 2.5", 2.4, False)),
        ("max_error_rate", 0.05, Assertion("max_error_rate", "<= 0.05", 0.04, True)),
        ("max_error_rate", 0.0, Assertion("max_error_rate", "<= 0", 0.04, False)),
        ("min_gain", 2.0, Assertion("min_gain", ">= 2", 2.0, True)),
        ("min_gain", 2.5, Assertion("min_gain", ">= 2.5", 2.0, False)),
    ],
)
def test_each_threshold_at_its_bound_and_beyond(metric: str, threshold: float, expected: Assertion) -> None:
    assert judge({metric: threshold}, level(), gain=2.0) == [expected]


def test_nothing_measured_does_not_pass() -> None:
    assert judge({"max_ttft_p95_s": 9.0}, level(ttft_s=None), None) == [
        Assertion("max_ttft_p95_s", "<= 9", None, False)
    ]


def test_without_thresholds_everything_holds() -> None:
    assert judge({}, level(), None) == []
    require([])


def test_table_of_expected_against_measured() -> None:
    assertions = judge({"min_gain": 2.0, "max_p95_s": 3.5, "max_ttft_p95_s": 1.0}, level(ttft_s=None), 2.25)
    with pytest.raises(AssertionsFailed) as raised:
        require(assertions, benchmark={"load": "everything"})
    assert raised.value.details == {"benchmark": {"load": "everything"}}
    assert str(raised.value).splitlines() == [
        "2 of 3 assertions failed; the whole measurement is in the key benchmark.",
        "assertion       expected  measured",
        "max_p95_s       <= 3.5    4         FAILED",
        "max_ttft_p95_s  <= 1      nothing   FAILED",
        "min_gain        >= 2      2.25      ok",
    ]


def earlier(**load: Any) -> dict[str, Any]:
    return {"max_tokens": 32, "load": {"concurrency": 10, "requests_per_second": 1.2, **load}}


def test_baseline() -> None:
    assert baseline_rate(earlier(), concurrency=10, max_tokens=32) == 1.2


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({}, "is not a result of this module"),
        (
            {"benchmark": earlier()},
            r"is not a result of this module: .* \(it has: benchmark\)\. Pass the key benchmark",
        ),
        ({"max_tokens": 32, "load": None}, "is not a result of this module"),
        (earlier(requests_per_second="fast"), "is not a result of this module"),
        (earlier(concurrency=20), "measured with concurrency 20 and max_tokens 32, this run has 10 and 32"),
        (dict(earlier(), max_tokens=64), "measured with concurrency 10 and max_tokens 64, this run has 10 and 32"),
        (earlier(requests_per_second=0), "requests_per_second is 0, not positive"),
        (earlier(requests_per_second=float("nan")), "requests_per_second is nan, not positive"),
    ],
)
def test_unusable_baseline(result: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        baseline_rate(result, concurrency=10, max_tokens=32)
