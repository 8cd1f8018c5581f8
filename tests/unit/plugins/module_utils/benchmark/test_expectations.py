# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.expectations import Measured, Row, beside_guide

BASE = Measured(latency_s=2.0, requests_per_second=0.5)


def test_the_guides_table_is_there_before_anything_was_measured() -> None:
    assert beside_guide({}) == [
        Row(2, "+5-10 %", "", "+80-90 %", "", "not measured"),
        Row(4, "+10-15 %", "", "+150-200 %", "", "not measured"),
        Row(8, "+20-30 %", "", "+250-300 %", "", "not measured"),
    ]


def test_without_one_request_at_a_time_there_is_nothing_to_compare_with() -> None:
    assert beside_guide({2: BASE})[0].verdict == "not measured"


def test_rows_with_what_was_measured() -> None:
    rows = beside_guide({1: BASE, 2: Measured(2.16, 0.92), 4: Measured(5.0, 0.7), 8: Measured(2.2, 2.5)})
    assert rows == [
        Row(2, "+5-10 %", "+8 %", "+80-90 %", "+84 %", "as expected"),
        Row(
            4,
            "+10-15 %",
            "+150 %",
            "+150-200 %",
            "+40 %",
            "throughput 110 points below, latency 135 points above",
        ),
        Row(
            8,
            "+20-30 %",
            "+10 %",
            "+250-300 %",
            "+400 %",
            "throughput 100 points above, latency 10 points below",
        ),
    ]


def test_numbers_that_the_guide_does_not_know() -> None:
    [row] = [row for row in beside_guide({1: BASE, 3: Measured(4.0, 1.0)}) if row.parallel == 3]
    assert row == Row(3, "", "+100 %", "", "+100 %", "the guide expects nothing")


def test_a_base_without_a_success_compares_with_nothing() -> None:
    assert beside_guide({1: Measured(0.0, 0.0), 2: BASE})[0].verdict == "not measured"
