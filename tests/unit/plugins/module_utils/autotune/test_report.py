# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a search found, in words and as data."""

from __future__ import annotations

import json

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.autotune import report
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.demand import Demand
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.measurement import Failed, Reading
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.search import Found, Progress, search
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.setting import Setting, Space
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.prompts import Workload
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.statistics import NO_SLO, Slo

DATE = "2026-11-27T01:02:03Z"
SPACE = Space((1, 2, 4), (1,))
SEEN = {1: 1.0, 2: 1.5, 4: 2.0}
DETAILS = {"ttft_p95_s": 3.0, "tpot_p50_s": 0.05, "latency_p95_s": 4.0, "slo_met": 0.5, "failed": 0, "odd": None}


def demand(slo: Slo = NO_SLO) -> Demand:
    return Demand(Workload(1), 10, slo)


def found(good: float = 1.0, broken: int = 0, current: int = 1) -> Found:
    def measure(setting: Setting, number: int) -> Reading | Failed:
        if setting.parallel == broken:
            return Failed("It was ended for want of memory.", 3.0)
        rate = SEEN[setting.parallel]
        return Reading(rate * good, rate, 5.0 / rate, 2.0, DETAILS)

    return search(SPACE, Setting(current, 1), measure)


def test_the_outcome_is_plain_data() -> None:
    value = report.describe(found(), demand())
    assert json.loads(json.dumps(value)) == value
    assert value["adopted"] == {"parallel": 4, "threads": 1, "kv_type": "f16", "batch": None}
    assert value["gain"] == {"rounds": 5, "median": 1.0, "lower": 1.0, "upper": 1.0}
    assert (value["slo_met"], value["slo_remark"]) == (None, "")
    trials = value["evidence"]["trials"]
    assert [trial["parallel"] for trial in trials] == [1, 2, 4]
    low, high = trials[2]["interval"]
    assert low < trials[2]["goodput"] == 2.0 < high
    assert trials[2]["latency_p95_s"] == 4.0
    assert trials[2]["odd"] is None
    assert value["evidence"]["confirmation"][0] == {"best": 2.0, "current": 1.0, "ratio": 2.0}


def test_a_failure_is_told_with_its_reason() -> None:
    [trial] = [each for each in report.evidence(found(broken=4))["trials"] if each["failure"]]
    assert trial["failure"] == "It was ended for want of memory."
    assert (trial["goodput"], trial["measurements"], trial["interval"]) == (None, 0, None)


def test_an_slo_that_nothing_meets() -> None:
    value = report.describe(found(good=0.0), demand(Slo(ttft_s=1.2, latency_s=4.5)))
    assert value["slo_met"] is False
    assert value["slo_remark"] == (
        "No setting meets the SLO: with the best one, parallel 4, threads 1, cache f16, the slower half of the requests"
        " takes at least 2.5 times as long as promised (TTFT is 3 s and should be 1.2 s, latency is 4 s and should be"
        " 4.5 s)."
    )
    assert value["evidence"]["trials"][0]["interval"] is None
    assert "no request within the SLO" in report.measured(found(good=0.0), SPACE, demand(Slo(1)), DATE).reason


def test_an_slo_that_some_requests_meet() -> None:
    remark = report.describe(found(good=0.5), demand(Slo(ttft_s=2.5)))["slo_remark"]
    assert remark == (
        "With the best setting, parallel 4, threads 1, cache f16, 50% of the requests meet the SLO (TTFT is 3 s and"
        " should be 2.5 s)."
    )


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (
            found(),
            "Measured on 2026-11-27: 2.00 requests/s (1.91 to 2.10) with 10 at a time, +100% (+100% to +100%) against"
            " parallel 1, threads 1, cache f16, the best of 3 settings.",
        ),
        (
            found(current=4),
            "Measured on 2026-11-27: 2.00 requests/s (1.91 to 2.10) with 10 at a time; none of the other 2 settings was"
            " better for certain.",
        ),
        (
            found(broken=4, current=4),
            "Measured on 2026-11-27: 1.50 requests/s (1.42 to 1.58) with 10 at a time; parallel 4, threads 1, cache f16"
            " failed.",
        ),
    ],
)
def test_the_reason_that_the_tuner_gives(outcome: Found, reason: str) -> None:
    measured = report.measured(outcome, SPACE, demand(), DATE)
    said = measured.reason
    # The interval depends on how often the search measured; that it is there is what counts here.
    assert said.partition("(")[0] == reason.partition("(")[0]
    assert said.partition(")")[2] == reason.partition(")")[2]
    assert (measured.kv_type, measured.batch, measured.date) == (None, None, DATE)


def test_progress_says_what_is_tried_what_is_best_and_how_long_it_takes() -> None:
    first = Progress("current setting", Setting(1, 1), 1, None, 0.0, 0.0)
    assert report.progress_line(first, "requests/s", 350.4) == (
        "setting 1: parallel 1, threads 1, cache f16 (current setting); at most 350 s left"
    )
    later = Progress("racing", Setting(4, 2, "q8_0", 512), 3, Setting(2, 2), 2.314, 60.0)
    assert report.progress_line(later, "good requests/s", -1.0, "7 answers") == (
        "setting 3: parallel 4, threads 2, cache q8_0, batch 512 (racing, 7 answers); best so far parallel 2,"
        " threads 2, cache f16: 2.31 good requests/s; at most 0 s left"
    )
