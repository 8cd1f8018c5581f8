# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.load import Load
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.measure import Ratios
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.plan import Plan
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.prompts import Workload
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.protocol import Target
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.sample import Round, Sample
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.statistics import (
    Distribution,
    Level,
    Ratio,
    Slo,
    summarise,
)
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.verdict import (
    THRESHOLDS,
    Assertion,
    AssertionsFailed,
    check,
    judge,
    require,
)
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput


def times(p95: float) -> Distribution:
    return Distribution(mean=p95, p50=p95, p90=p95, p95=p95, p99=p95)


LEVEL = replace(
    summarise([Round([Sample(0.0, 1.0)])], Load(10)),
    requests_per_second=2.4,
    output_tokens_per_second=75.0,
    goodput=2.0,
    ttft_s=times(1.5),
    tpot_s=times(0.06),
    latency_s=times(4.0),
    error_rate=0.04,
)
GAINS = [Ratios(10, None, {"requests_per_second": Ratio(2.2, 2.0, 2.4, 1), "goodput": Ratio(1.6, 1.5, 1.7, 1)})]
COMPARED = [
    Ratios(
        10,
        None,
        {
            "requests_per_second": Ratio(0.98, 0.95, 1.01, 9),
            "latency_p50_s": Ratio(1.02, 0.99, 1.05, 9),
            "ttft_p50_s": Ratio(1.1, 1.0, 1.2, 9),
        },
    )
]


def judged(thresholds: dict[str, float], level: Level = LEVEL) -> list[Assertion]:
    return judge(thresholds, [level], GAINS, COMPARED)


CASES = [
    ("max_p95_s", 4.0, 3.9),
    ("max_ttft_p95_s", 1.5, 1.4),
    ("max_tpot_p95_s", 0.06, 0.05),
    ("min_requests_per_second", 2.4, 2.5),
    ("min_output_tokens_per_second", 75.0, 76.0),
    ("min_goodput", 2.0, 2.1),
    ("max_error_rate", 0.04, 0.03),
    # a ratio's bound, not the ratio itself
    ("min_gain", 2.0, 2.1),
    ("min_goodput_gain", 1.5, 1.6),
    ("min_rate_ratio", 0.95, 0.96),
    ("max_latency_ratio", 1.05, 1.04),
    ("max_ttft_ratio", 1.2, 1.1),
]


@pytest.mark.parametrize(("metric", "bound", "beyond"), CASES)
def test_each_threshold_at_its_bound_and_beyond(metric: str, bound: float, beyond: float) -> None:
    sign = "<=" if metric.startswith("max_") else ">="
    assert judged({metric: bound}) == [Assertion(metric, "10 at a time", f"{sign} {bound:g}", bound, True)]
    assert judged({metric: beyond}) == [Assertion(metric, "10 at a time", f"{sign} {beyond:g}", bound, False)]


def test_every_threshold_is_tried_above() -> None:
    assert [metric for metric, _, _ in CASES] == list(THRESHOLDS)


def test_nothing_measured_does_not_pass() -> None:
    nothing = replace(LEVEL, ttft_s=None)
    assert judged({"max_ttft_p95_s": 9.0}, nothing) == [
        Assertion("max_ttft_p95_s", "10 at a time", "<= 9", None, False)
    ]
    unsure = [Ratios(10, None, {"requests_per_second": Ratio(2.2, None, None, 1)})]
    assert not judge({"min_gain": 1.0}, [LEVEL], unsure, ())[0].ok
    assert not judge({"min_gain": 1.0}, [LEVEL], [Ratios(10, None, {})], ())[0].ok


def test_a_threshold_is_for_every_level() -> None:
    levels = [LEVEL, replace(LEVEL, concurrency=None, rate=2.5, requests_per_second=1.0)]
    found = judge({"min_requests_per_second": 2.0}, levels, (), ())
    assert [(each.level, each.ok) for each in found] == [("10 at a time", True), ("2.5 per second", False)]


def test_without_thresholds_everything_holds() -> None:
    assert judged({}) == []
    require([])


def test_table_of_expected_against_measured() -> None:
    nothing = replace(LEVEL, ttft_s=None)
    assertions = judged({"min_gain": 2.0, "max_p95_s": 3.5, "max_ttft_p95_s": 1.0}, nothing)
    with pytest.raises(AssertionsFailed) as raised:
        require(assertions, benchmark={"levels": "everything"})
    assert raised.value.details == {"benchmark": {"levels": "everything"}}
    assert str(raised.value).splitlines() == [
        "2 of 3 assertions failed; the whole measurement is in the key benchmark.",
        "assertion       level         expected  measured",
        "max_p95_s       10 at a time  <= 3.5    4         FAILED",
        "max_ttft_p95_s  10 at a time  <= 1      nothing   FAILED",
        "min_gain        10 at a time  >= 2      2         ok",
    ]


PLAN = Plan(Target("http://127.0.0.1:11434", "m"), Workload(1), (Load(10),))
OTHER = replace(PLAN, other=PLAN.target)
WITH_SLO = replace(PLAN, slo=Slo(ttft_s=1.0))
WHOLE = replace(PLAN, target=replace(PLAN.target, stream=False))


@pytest.mark.parametrize(
    ("plan", "baseline", "thresholds", "message"),
    [
        (PLAN, False, {"max_error_rate": 5}, "max_error_rate is 5. Give a share from 0 to 1"),
        (PLAN, False, {"min_gain": 2}, "min_gain has nothing to compare with. Give the result of an earlier run"),
        (PLAN, True, {"min_rate_ratio": 1}, "min_rate_ratio has nothing to compare with. Give the other address"),
        (OTHER, False, {"min_goodput": 1}, "min_goodput has nothing to compare with. Give the objectives as slo"),
        (OTHER, True, {"min_goodput_gain": 1}, "min_goodput_gain has nothing to compare with"),
        (WHOLE, True, {"max_ttft_p95_s": 1}, "max_ttft_p95_s has nothing to compare with. Leave stream true"),
    ],
)
def test_thresholds_that_could_never_hold(plan: Plan, baseline: bool, thresholds: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        check(thresholds, plan, baseline)


def test_thresholds_that_could_hold() -> None:
    check({"min_gain": 2, "max_error_rate": 0.5, "max_ttft_p95_s": 1}, PLAN, True)
    check({"max_ttft_ratio": 1.1}, OTHER, False)
    check({"min_goodput": 1}, WITH_SLO, False)
