# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from typing import Any

from ansible_collections.llmops.ollama.plugins.plugin_utils.summary import (
    WIDTH,
    doctor_report,
    fleet_summary,
    plan_summary,
    table,
)

TUNING: dict[str, Any] = {
    "hardware": {"cpu_cores": 2, "cpu_quota": 1.0, "memory_mb": 24000, "memory_limit_mb": 4096},
    "profile": "minimal",
    "environment": {"OLLAMA_NUM_PARALLEL": "1", "LLAMA_ARG_THREADS": "1"},
    "recommendations": [
        {
            "key": "parallel",
            "value": 1,
            "rule": "table",
            "reason": "Below the table.",
            "variable": "OLLAMA_NUM_PARALLEL",
        },
        {"key": "request_timeout", "value": 300, "rule": "option", "reason": "long " * 40, "variable": None},
    ],
    "warnings": ["OLLAMA_NUM_GPU is read by no engine."],
}


def times(p50: float, p95: float) -> dict[str, float]:
    return {"mean": p50, "p50": p50, "p90": p95, "p95": p95, "p99": p95}


LEVEL: dict[str, Any] = {
    "concurrency": 10,
    "rate": None,
    "requests": 100,
    "requests_per_second": 1.7,
    "output_tokens_per_second": 54.4,
    "goodput": 1.25,
    "intervals": {"requests_per_second": [1.61, 1.82]},
    "ttft_s": times(4.2, 5.1),
    "tpot_s": times(0.0514, 0.06),
    "latency_s": times(5.5, 6.25),
    "errors": {"http_429": 2},
    "error_examples": {"http_429": "Too Many Requests"},
    "server": {"cpu_s": 62.4, "cpu_cores": 1.89, "rss_peak_mb": 1240},
}
ALONE = {
    **LEVEL,
    "concurrency": 1,
    "requests_per_second": 1.0,
    "intervals": {"requests_per_second": [None, None]},
    "latency_s": times(1.0, 1.2),
    "errors": {},
    "error_examples": {},
}
DOCUMENT: dict[str, Any] = {
    "model": "m:1",
    "workload": {"endpoint": "/api/generate", "stream": True, "prompt_set": "chat", "prompts": None, "max_tokens": 32},
    "settings": None,
    "single": {"latency_s": 0.51, "ttft_s": 0.09, "tpot_s": 0.01, "output_tokens": 32},
    "levels": [ALONE, LEVEL],
    "comparison": None,
    "gains": None,
}
MEASURED = {"benchmark": DOCUMENT}


def server(**more: Any) -> dict[str, Any]:
    return {"ollama_tuning": TUNING, **more}


def test_a_host_that_did_everything_shows_everything() -> None:
    health = {"healthy": True, "level": "ready", "version": "0.34.0", "checks": []}
    models = {"models": [{"name": "gemma3:270m", "quantization": "Q4_K_M"}]}
    text = fleet_summary(
        {"a": server(ollama_health_result=health, ollama_models_result=models, ollama_benchmark_result=MEASURED)},
        {"edge": {"gateway_health_result": {"healthy": True, "level": "live"}, "gateway_benchmark_result": MEASURED}},
    )
    lines = text.splitlines()
    assert lines[2].split() == (
        ["a", "1", "4.0", "GiB", "minimal", "1", "0.34.0", "ready", "gemma3:270m", "Q4_K_M", "1.70", "6.25", "s"]
    )
    assert lines[3].split() == ["edge", "(gateway)", "live", "1.70", "6.25", "s"]
    assert text.count("m:1, /api/generate, prompts chat, up to 32 tokens") == 2
    assert "  OLLAMA_NUM_PARALLEL  1    Below the table." in text
    assert "warning: OLLAMA_NUM_GPU is read by no engine." in text


def test_a_long_reason_is_wrapped_under_itself() -> None:
    lines = fleet_summary({"a": server()}, {}).splitlines()
    first = next(index for index, line in enumerate(lines) if "request_timeout" in line)
    assert lines[first].index("long") == lines[first + 1].index("long")
    assert max(map(len, lines[first:])) <= 120


def test_chosen_candidates_and_removed_models_are_told() -> None:
    reason = "Q8_0 is the first of 2 that fits with 1 x 4096 tokens (900 of 3072 MiB). " + "More of it. " * 10
    tuning = {**TUNING, "choices": [{"name": "chat:latest", "chosen": "m:q8_0", "reason": reason.strip()}]}
    models = [
        {"name": "chat:latest", "quantization": "Q8_0", "action": "created"},
        {"name": "old:1b", "quantization": "F16", "action": "removed"},
    ]
    text = fleet_summary({"a": {"ollama_tuning": tuning, "ollama_models_result": {"models": models}}}, {})
    lines = text.splitlines()
    assert "chat:latest Q8_0" in lines[2]
    assert "old:1b" not in lines[2]
    start = lines.index("  chat:latest is made of m:q8_0")
    assert lines[start + 1].startswith("    Q8_0 is the first of 2 that fits with 1 x 4096 tokens (900 of 3072 MiB).")
    assert max(map(len, lines[start:])) <= WIDTH
    assert "  removed, since they are not declared: old:1b" in lines


def test_an_unhealthy_host_names_its_failed_checks() -> None:
    checks = [{"name": "api", "ok": True}, {"name": "environment", "ok": False}]
    text = fleet_summary({"a": server(ollama_health_result={"healthy": False, "checks": checks})}, {})
    assert "UNHEALTHY: environment" in text


def test_a_host_of_which_nothing_is_known_is_still_listed() -> None:
    row = fleet_summary({"a": {}}, {}).splitlines()[2]
    assert row.split() == ["a", "?", "?", "?", "?", "not", "checked", "none"]


def test_columns_that_nothing_fills_are_left_out() -> None:
    assert table(["host", "load"], [["a", ""], ["bb", ""]]) == "host\n----\na\nbb"


def test_a_benchmark_shows_its_levels() -> None:
    lines = fleet_summary({"a": server(ollama_benchmark_result=MEASURED)}, {}).splitlines()
    start = lines.index("a: m:1, /api/generate, prompts chat, up to 32 tokens")
    assert lines[start + 1] == "one request alone: latency 0.51 s, TTFT 0.09 s"
    assert lines[start + 2].split("  ")[0] == "load"
    assert " ".join(lines[start + 4].split()) == (
        "1 at a time 1.00 54.4 4.20, 5.10 s 51 ms 1.00, 1.20, 1.20 s 1.25 0 1.89 1240"
    )
    assert "10 at a time  1.70 (1.61-1.82)" in lines[start + 5]
    assert lines[start + 6] == "10 at a time: 2 x http_429 (Too Many Requests)"
    assert max(map(len, lines)) <= WIDTH


def test_what_was_not_measured_is_left_out() -> None:
    whole = {**LEVEL, "ttft_s": None, "tpot_s": None, "goodput": None, "server": None, "concurrency": None, "rate": 2.5}
    failed = {**whole, "rate": 50.0, "latency_s": None, "requests_per_second": 0.0}
    asked = {**DOCUMENT["workload"], "stream": False, "prompts": 7, "prompt_set": None}
    single = {**DOCUMENT["single"], "ttft_s": None}
    document = {**DOCUMENT, "levels": [whole, failed], "workload": asked, "single": single}
    text = fleet_summary({"a": server(ollama_benchmark_result={"benchmark": document})}, {})
    assert "a: m:1, /api/generate without a stream, 7 own prompts, up to 32 tokens" in text
    assert "one request alone: latency 0.51 s\n" in text
    assert "TTFT" not in text
    assert "50 per second   0.00" in text
    assert "?, ?, ? s" in text


def test_ratios_stand_beside_what_they_are_of() -> None:
    ratios = {
        "requests_per_second": {"ratio": 0.98, "low": 0.951, "high": 1.012, "rounds": 9},
        "ttft_p50_s": {"ratio": None, "low": None, "high": None, "rounds": 9},
    }
    compared = [{"concurrency": 10, "rate": None, "ratios": ratios}]
    document = {**DOCUMENT, "comparison": {"url": "http://direct:11434", "ratios": compared}, "gains": compared}
    text = fleet_summary({}, {"edge": {"gateway_benchmark_result": {"benchmark": document}}})
    lines = text.splitlines()
    for title in ("compared with http://direct:11434", "compared with the baseline"):
        start = lines.index(f"10 at a time, {title}:")
        assert lines[start + 1].split() == ["requests", "per", "second", "x", "0.98", "(0.95-1.01)"]
        assert lines[start + 2].split() == ["ttft", "p50", "s", "x", "?", "(?-?)"]


def test_the_guides_expectations_stand_beside_what_came_of_them() -> None:
    settings = {"environment": {"OLLAMA_NUM_PARALLEL": "2"}, "runner": {"slots": 2}}
    two = {**LEVEL, "concurrency": 2, "requests_per_second": 1.4, "latency_s": times(1.4, 1.5)}
    document = {**DOCUMENT, "settings": settings, "levels": [ALONE, two, LEVEL]}
    lines = fleet_summary({"a": server(ollama_benchmark_result={"benchmark": document})}, {}).splitlines()
    start = lines.index("what the guide expects of parallel requests, and what came of it here:")
    assert " ".join(lines[start + 3].split()) == (
        "2 +5-10 % +40 % +80-90 % +40 % throughput 40 points below, latency 30 points above"
    )
    assert lines[start + 5].split() == ["8", "+20-30", "%", "+250-300", "%", "not", "measured"]
    assert max(map(len, lines)) <= WIDTH


def test_without_the_number_of_slots_the_guide_has_nothing_to_say() -> None:
    assert "guide" not in fleet_summary({"a": server(ollama_benchmark_result=MEASURED)}, {})


PLAN: dict[str, Any] = {
    **TUNING,
    "recommendations": [
        *TUNING["recommendations"],
        {"key": "memory_high_mb", "value": 3072, "reason": "The budget.", "variable": None, "directive": "MemoryHigh"},
        {"key": "threads", "value": 1, "reason": "One.", "variable": None, "parameter": "num_thread"},
    ],
    "memory": {
        "budget_mb": 3072,
        "planned_mb": 1266,
        "gpu_budget_mb": 0,
        "fits": True,
        "models": [
            {
                "name": "gemma3:270m",
                "quantization": "Q4_K_M",
                "slots": 1,
                "context": 4096,
                "weights_mb": 235,
                "kv_mb": 27,
                "compute_mb": 24,
                "runtime_mb": 95,
                "growth_mb": 786,
                "peak_mb": 1167,
            }
        ],
    },
    "unplanned": [],
    "warnings": ["word " * 60],
}


def test_a_plan_shows_what_each_host_would_get() -> None:
    lines = plan_summary({"a": {"ollama_tuning": PLAN}, "b": {}}).splitlines()
    assert lines[0].split()[:5] == ["host", "CPUs", "memory", "profile", "parallel"]
    assert lines[2].split() == ["a", "1", "4.0", "GiB", "minimal", "1", "1", "3072", "MiB", "1266", "MiB", "yes"]
    assert lines[3].split() == ["b", "not", "planned"]
    text = "\n".join(lines)
    assert "  MemoryHigh           3072M  The budget." in text
    assert "  num_thread           1      One." in text
    assert "  memory in the worst case: 1266 of 3072 MiB" in text
    assert "    gemma3:270m Q4_K_M, 1 x 4096 tokens: 1167 MiB" in text
    assert "      weights 235, KV cache 27, compute 24, processes 95, caches of prompts 786" in text
    assert max(map(len, lines)) <= 120


def test_a_plan_says_what_does_not_fit_and_what_is_not_known() -> None:
    too_large = {**PLAN, "memory": {**PLAN["memory"], "fits": False}}
    unknown = {**PLAN, "memory": {**PLAN["memory"], "models": []}, "unplanned": ["m:1"]}
    partly = {**PLAN, "unplanned": ["m:1"]}
    surely = {**too_large, "unplanned": ["m:1"]}
    plans = dict(zip("abcd", ({"ollama_tuning": each} for each in (too_large, unknown, partly, surely))))
    lines = [line.split() for line in plan_summary(plans).splitlines()]
    assert lines[2][-1] == "NO"
    assert lines[3][-2:] == ["?", "?"]
    assert lines[4][-5:] == ["1266", "MiB", "and", "more", "?"]
    assert lines[5][-3:] == ["and", "more", "NO"]


def test_a_plan_says_what_goes_to_gpus() -> None:
    memory = {**PLAN["memory"], "gpu_budget_mb": 22108, "gpu_planned_mb": 21000}
    text = plan_summary({"a": {"ollama_tuning": {**PLAN, "memory": memory}}, "b": {"ollama_tuning": PLAN}})
    assert text.splitlines()[2].endswith("1266 MiB    21000 of 22108 MiB  yes")
    assert "  memory in the worst case: 1266 of 3072 MiB, of GPUs 21000 of 22108 MiB" in text


def test_the_doctor_speaks_under_the_guides_headings() -> None:
    """Problems of one kind stand together, each with its evidence and what to do, and nothing runs off the screen."""

    def finding(symptom: str, severity: str, what: str) -> dict[str, str]:
        line = f"/etc/{'x' * 60}: A=1"
        return {"symptom": symptom, "severity": severity, "what": what, "evidence": line, "remedy": "Do " * 60}

    findings = [
        finding("slow", "problem", "Slow one."),
        finding("setting had no effect", "problem", "Setting one."),
        finding("setting had no effect", "warning", "Setting two."),
    ]
    result = {"findings": findings, "checked": ["unit ollama.service: active"]}
    text = doctor_report("a", {"ollama_doctor_result": result})
    lines = text.splitlines()
    assert lines[0] == "=== a: 2 problems, 1 warning ==="
    order = [
        "Problem 1: a setting had no effect",
        "  !!  Setting one.",
        "   ?  Setting two.",
        "Problem 3: slow answers",
    ]
    assert [line for line in lines if line in order] == order
    assert "   -  unit ollama.service: active" in lines
    assert max(map(len, lines)) <= WIDTH
    assert "Problem 2" not in text
    summary = fleet_summary({"a": server(ollama_doctor_result=result), "b": server()}, {})
    assert text in summary
    assert "why each value" not in summary


def test_the_doctor_that_found_nothing_says_what_it_looked_at() -> None:
    text = doctor_report("a", {"ollama_doctor_result": {"findings": [], "checked": ["unit: active"]}})
    assert text.splitlines() == ["=== a: nothing wrong was found ===", "", "What was looked at", "   -  unit: active"]
    assert doctor_report("a", {"ollama_doctor_result": {"skipped": True}}) == ""
    assert doctor_report("a", {}) == ""
