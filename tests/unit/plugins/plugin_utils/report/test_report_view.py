# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From what a run left on its hosts to what a reader is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import report_fleet as fleet
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.demand import Demand
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.measurement import Reading
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.report import describe
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.search import search
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.setting import Setting, Space
from ansible_collections.llmops.ollama.plugins.plugin_utils.report.model import Host, Level
from ansible_collections.llmops.ollama.plugins.plugin_utils.report.plain import number, part, parts, text
from ansible_collections.llmops.ollama.plugins.plugin_utils.report.read import read_report
from ansible_collections.llmops.ollama.plugins.plugin_utils.report.view import View, gain, memory_bar, pair, view
from ansible_collections.llmops.ollama.plugins.plugin_utils.report.words import fixed, percent, span
from hypothesis import given
from hypothesis import strategies as st


def seen(servers: dict[str, Any], gateways: dict[str, Any] | None = None) -> View:
    return view(read_report(servers, gateways or {}, "Fleet", fleet.MADE_AT, "0.1.0"))


def host(**variables: Any) -> Host:
    return read_report({"a": variables}, {}, "Fleet", fleet.MADE_AT, "0.1.0").hosts[0]


def test_the_headline_says_what_matters_most() -> None:
    well, ill = {"ollama_health_result": fleet.HEALTH}, {"ollama_health_result": fleet.UNHEALTHY}
    assert seen({"a": well}).headline == "1 server, healthy"
    assert seen({"a": well, "b": well}).headline == "2 servers, all healthy"
    planned = {"ollama_tuning": {"profile": "minimal"}}
    assert seen({"a": well, "b": ill}).headline == "1 of 2 servers is unhealthy"
    assert seen({"a": ill, "b": ill, "c": {}, "d": planned}).headline == (
        "2 of 4 servers are unhealthy, 1 not reached, 1 not checked"
    )
    assert seen({"a": well, "b": {}}).headline == "1 of 2 servers healthy, 1 not reached"
    assert seen({"a": planned}).headline == "1 server, health not checked"
    assert seen({"a": {}, "b": {}}).headline == "2 servers, none reached"


def test_what_a_run_did_not_find_out_is_said() -> None:
    assert host(ollama_version="0.34.0") == Host("a", reached=False)
    tuned = host(ollama_tuning=fleet.tuning(fleet.MACHINES["llm5.example.org"]))
    assert tuned.reached
    assert [each.split(" (")[0] for each in tuned.absent] == [
        "health",
        "benchmark",
        "measured search",
        "findings of the doctor",
    ]


def test_a_recorded_host_is_read_in_full() -> None:
    """Variables of a real run: one slot, so that more clients only wait longer."""
    found = read_report({"a": fleet.recorded("one-slot")}, {}, "Fleet", fleet.MADE_AT, "0.1.0").hosts[0]
    assert found.version == "0.34.0"
    assert found.health and found.health.healthy
    assert found.machine and (found.machine.cpus, found.machine.cpus_online) == (1, 2)
    assert [value.value for value in found.values if value.name == "OLLAMA_NUM_PARALLEL"] == ["1"]
    [curve] = found.curves
    assert [level.concurrency for level in curve.levels] == [1, 2, 4, 8]
    assert curve.slo == ("latency at most 10 s",)
    first = curve.levels[0]
    assert (first.requests_per_second, first.requests_per_second_low) == (0.635737, 0.622986)
    assert first.server_memory_mb == 409
    assert found.memory and found.memory.models[0].weights_mb == 235
    assert found.diagnosis and [each.severity for each in found.diagnosis.findings] == ["warning"]


def test_before_and_after_are_compared_at_the_heaviest_load_that_both_have() -> None:
    before, after = {1: fleet.BEFORE[1], 10: fleet.BEFORE[10]}, {10: fleet.AFTER[10], 20: fleet.AFTER[4]}
    found = host(ollama_benchmark_before=fleet.benchmark(before), ollama_benchmark_result=fleet.benchmark(after))
    assert [curve.label for curve in found.curves] == ["before", "after"]
    assert [level.load if level else "" for level in pair(found.curves)] == ["10 at a time", "10 at a time"]
    assert gain(found) == pytest.approx((3.21 / 2.01 - 1) * 100)


def test_without_a_before_there_is_no_gain() -> None:
    found = host(ollama_benchmark_result=fleet.benchmark(fleet.AFTER))
    assert [curve.label for curve in found.curves] == ["now"]
    assert gain(found) is None


def test_the_gain_over_a_saved_baseline_is_the_benchmarks_own() -> None:
    document = fleet.benchmark(fleet.AFTER)
    ratio = {"ratio": 1.6, "low": 1.52, "high": 1.68, "rounds": 1}
    document["benchmark"]["gains"] = [{"concurrency": 10, "rate": None, "ratios": {"requests_per_second": ratio}}]
    found = host(ollama_benchmark_result=document)
    assert gain(found) == pytest.approx(60)
    assert [level.gain_low for level in found.curves[0].levels] == [None, None, pytest.approx(52)]


def test_the_guide_is_asked_about_requests_that_have_a_slot_each() -> None:
    """Eight slots: 10 requests at a time are none of them."""
    found = host(ollama_benchmark_result=fleet.benchmark(fleet.AFTER)).expectations
    measured: Any = {row.parallel: (row.latency, row.throughput) for row in found if row.throughput is not None}
    assert measured == {4: (pytest.approx((1.46 / 0.69 - 1) * 100), pytest.approx((2.68 / 1.45 - 1) * 100))}
    [row] = [row for row in found if row.parallel == 4]
    assert (row.expected_latency, row.expected_throughput) == ((10, 15), (150, 200))
    assert row.verdict == "throughput 65 points below, latency 97 points above"
    assert host(ollama_benchmark_result=fleet.recorded("one-slot")["ollama_benchmark_result"]).expectations == ()


def test_a_host_that_was_set_back_gained_nothing() -> None:
    measured = {
        "ollama_benchmark_before": fleet.benchmark(fleet.BEFORE),
        "ollama_benchmark_result": fleet.benchmark(fleet.AFTER),
    }
    found = seen({"a": {**measured, "ollama_autotune_result": fleet.autotune(), "retune_outcome": "set back"}, "b": {}})
    assert [curve.label for curve in found.hosts[0].host.curves] == ["before", "tried"]
    assert gain(found.hosts[0].host) is None
    search = next(each for each in found.hosts[0].pictures if each.key == "host-1-search")
    assert search.words.endswith("The host was set back: the setting before runs again.")
    assert found.overview.rows[0][found.overview.columns.index("Re-tuned")] == "set back"
    assert host(retune_outcome="begun").retune == "lost"


def test_what_was_measured_before_nothing_changed_is_what_is_now() -> None:
    found = host(ollama_benchmark_before=fleet.benchmark(fleet.BEFORE), retune_outcome="as before")
    assert [curve.label for curve in found.curves] == ["now"]
    assert gain(found) is None


def test_a_gateway_beside_its_servers_is_no_gain() -> None:
    document = fleet.benchmark({10: fleet.AFTER[10]})
    document["benchmark"]["comparison"] = {"url": "http://llm1:11434", "levels": [fleet.level(10, fleet.BEFORE[10])]}
    found = seen({"a": {}}, {"edge": {"gateway_benchmark_result": document}})
    assert [curve.label for curve in found.gateways[0].gateway.curves] == ["direct", "now"]
    assert "Gain,\u00a0%" not in found.overview.columns
    assert "direct: 2.01\u00a0requests/s" in found.gateways[0].pictures[0].words


def test_one_point_is_no_curve() -> None:
    [picture, *_] = seen({"a": {"ollama_benchmark_result": fleet.benchmark({10: fleet.AFTER[10]})}}).hosts[0].pictures
    assert picture.draw is None
    assert picture.table.columns == ("At a time", "10")
    assert picture.table.rows[0] == ("Requests/s", "3.21")


def test_a_failed_check_and_the_doctors_problems_come_to_the_top() -> None:
    found = seen({"a": {"ollama_health_result": fleet.UNHEALTHY, "ollama_doctor_result": fleet.doctor(ill=True)}})
    assert found.hosts[0].status.words == "unhealthy: environment"
    problems = [finding for _, finding in found.findings]
    assert problems
    assert {finding.severity for finding in problems} == {"problem"}
    assert next(tile.value for tile in found.tiles if tile.name == "Problems found") == str(len(problems))


def test_models_are_those_on_the_server_with_what_was_done() -> None:
    found = seen({"a": fleet.server()}).hosts[0]
    assert found.models
    assert dict(zip(found.models.columns, found.models.rows[0])) == {
        "Model": "gemma3:270m",
        "Quantization": "Q4_K_M",
        "Parameters": "268.10M",
        "Digest": "01ffb7e26e5a",
        "Size, GiB": "0.24",
        "In memory, GiB": "0.38",
        "This run": "pulled",
    }
    assert found.host.values[-1].reason == "Q4_K_M is the first of 2 that fits."
    planned = host(ollama_models_result=fleet.MODELS)
    assert [(model.name, model.action) for model in planned.models] == [("gemma3:270m", "pulled")]
    assert seen({"a": {"ollama_health_result": fleet.HEALTH}}).hosts[0].models is None


def test_a_search_is_told_with_its_evidence() -> None:
    found = host(ollama_autotune_result=fleet.autotune()).search
    assert found
    assert (found.concurrency, found.slo) == (10, ("latency at most 10 s",))
    assert [found.gain, found.gain_low, found.gain_high] == pytest.approx([59.7, 51.2, 68.9])
    assert found.adopted is True
    assert [(trial.parallel, trial.threads) for trial in found.trials if trial.current] == [(1, 1)]
    [best] = [trial for trial in found.trials if trial.best]
    assert (best.parallel, best.goodput, best.goodput_low) == (8, 3.21, 3.10)
    assert [trial.failure for trial in found.trials if trial.goodput is None] == ["The server was not up within 120 s."]
    picture = next(each for each in seen({"a": fleet.server()}).hosts[0].pictures if each.key == "host-1-search")
    assert picture.words == (
        "Looked for: the most requests per second that keep latency at most 10 s with 10 requests at a time. "
        "The gain is +59.7% (+51.2% to +68.9%, 5 rounds), for certain above 5%. The best setting was adopted."
    )
    assert picture.table.rows[0][-1] == "before the search"


def test_what_a_search_writes_is_what_is_read() -> None:
    """From the search itself on a host where parallel requests help up to 4."""

    def measure(setting: Setting, count: int) -> Reading:
        return Reading(goodput=min(setting.parallel, 4) * 0.5, throughput=2.0, details={"latency_p95_s": 4.2})

    outcome = search(Space(parallel=(1, 2, 3, 4), threads=(1,)), Setting(1, 1), measure)
    demand = Demand.of(10, {"prompt_set": "chat", "max_tokens": 32, "seed": 1}, {"latency_s": 10.0})
    found = host(ollama_autotune_result={"autotune": describe(outcome, demand)}).search
    assert found
    assert (found.concurrency, found.slo, found.adopted) == (10, ("latency at most 10 s",), True)
    assert found.gain == pytest.approx(300)
    assert [(trial.parallel, trial.goodput) for trial in found.trials if trial.best] == [(4, 2.0)]
    assert [trial.parallel for trial in found.trials if trial.current] == [1]
    for trial in found.trials:
        assert trial.goodput
        assert trial.goodput_low
        assert trial.goodput_high
        assert trial.goodput_low < trial.goodput < trial.goodput_high
        assert trial.latency_p95_s == 4.2
        assert trial.measurements >= 2


def test_a_search_of_an_earlier_run_is_read_from_the_host() -> None:
    here = host(ollama_autotune_result=fleet.autotune()).search
    kept = host(ansible_local={"ollama_tuning": fleet.kept()}).search
    assert here
    assert kept
    assert kept.measured_at == "2026-11-26T22:10:00Z"
    assert replace(kept, measured_at="") == here


def test_a_search_that_changed_nothing_says_so() -> None:
    result = fleet.autotune()
    same = fleet.setting(1, 1)
    result["autotune"].update(best=same, adopted=same, gain=None, verdict="None was better.")
    found = host(ollama_autotune_result=result).search
    assert found and found.adopted is False and found.gain is None


def test_measured_twice_with_the_same_setting_is_no_gain() -> None:
    result = fleet.autotune()
    result["autotune"]["adopted"] = fleet.setting(1, 1)
    found = host(
        ollama_benchmark_before=fleet.benchmark(fleet.BEFORE),
        ollama_benchmark_result=fleet.benchmark(fleet.AFTER),
        ollama_autotune_result=result,
        retune_outcome="set",
    )
    assert [curve.label for curve in found.curves] == ["before", "again"]
    assert gain(found) is None


def test_quantizations_are_compared() -> None:
    found = host(ollama_autotune_result=fleet.autotune()).variants
    assert [each.quantization for each in found if each.frontier] == ["F16", "Q8_0", "Q4_K_M"]
    assert [each.model for each in found if each.recommended] == ["gemma3:270m"]
    assert [each.problem for each in found if each.goodput is None] == ["It is not installed."]


def test_memory_is_that_of_the_models_that_may_be_loaded_together() -> None:
    def model(name: str, size: int) -> dict[str, Any]:
        sizes = dict.fromkeys(("weights_mb", "kv_mb", "compute_mb", "runtime_mb", "growth_mb"), size)
        return {"name": name, "quantization": "Q8_0", "slots": 1, "context": 4096, "peak_mb": 5 * size, **sizes}

    plan = {"budget_mb": 9000, "reserve_mb": 1000, "planned_mb": 6000, "fits": True}
    tuning = {
        "memory": {**plan, "models": [model("small", 10), model("large", 700), model("middle", 300)]},
        "recommendations": [{"key": "max_loaded_models", "value": 2, "reason": "Two.", "variable": None}],
    }
    memory = host(ollama_tuning=tuning).memory
    assert memory
    bar = memory_bar("a", memory)
    assert bar.parts == dict.fromkeys(("weights", "kv", "compute", "runtime", "growth"), 1000)
    assert (bar.budget, bar.limit) == (9000, 10000)


def test_many_hosts_are_shared_out_over_several_charts() -> None:
    fleets = {f"llm{index}": fleet.server() for index in range(20)}
    keys = [picture.key for picture in seen(fleets).fleet]
    assert keys == ["fleet-throughput-1", "fleet-throughput-2", "fleet-memory-1", "fleet-memory-2"]


anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
VARIABLES = (
    "ansible_local",
    "ollama_autotune_result",
    "ollama_model_info_result",
    "ollama_tuning",
    "ollama_health_result",
    "ollama_models_result",
    "ollama_benchmark_result",
    "ollama_doctor_result",
)


@given(st.dictionaries(st.sampled_from(VARIABLES), anything), anything)
def test_no_data_make_it_fail(variables: dict[str, Any], inner: Any) -> None:
    """Whatever a host says, it is in the report or absent from it."""
    nested = {
        name: {"benchmark": inner, "memory": inner, "recommendations": inner, "checks": inner} for name in VARIABLES
    }
    assert len(seen({"a": variables, "b": nested}).hosts) == 2


@given(anything)
def test_what_is_read_is_plain(value: Any) -> None:
    assert "\n" not in text(value)
    assert number(value) is None or isinstance(number(value), float)
    assert isinstance(dict(part(value, "a")), dict)
    assert all(hasattr(each, "get") for each in parts(value, "a"))


def test_numbers_read_well() -> None:
    assert fixed(1234567.891, 1) == "1\u202f234\u202f567.9"
    assert fixed(-3.0, 0) == "\u22123"
    assert (percent(59.7), percent(5.0), percent(5.25), percent(-2.0)) == ("+60", "+5", "+5.2", "\u22122")
    assert span(1.0, None) == "\u2013"
    assert Level(concurrency=None, rate=2.5, requests=1, requests_per_second=2.4).load == "2.5 per second"
