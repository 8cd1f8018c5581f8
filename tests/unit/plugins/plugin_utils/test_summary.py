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
LOAD = {
    "requests": 100,
    "concurrency": 10,
    "requests_per_second": 1.7,
    "output_tokens_per_second": 54.4,
    "latency_s": {"p50": 5.5, "p95": 6.25},
    "ttft_s": {"p95": 5.1},
    "errors": {"http_429": 2},
}
MEASURED = {"benchmark": {"model": "m:1", "max_tokens": 32, "single": None, "load": LOAD}}


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
    assert "errors 2 (2 http_429)" in text
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
    "warnings": ["word " * 60],
}


def test_a_plan_shows_what_each_host_would_get() -> None:
    lines = plan_summary({"a": {"ollama_tuning": PLAN}, "b": {}}).splitlines()
    assert lines[0].split()[:5] == ["host", "CPUs", "memory", "profile", "parallel"]
    assert lines[2].split() == ["a", "1", "4.0", "GiB", "minimal", "1", "1", "3072", "MiB", "1266", "MiB", "yes"]
    assert lines[3].split() == ["b", "not", "reached"]
    text = "\n".join(lines)
    assert "  MemoryHigh           3072M  The budget." in text
    assert "  num_thread           1      One." in text
    assert "  memory in the worst case: 1266 of 3072 MiB" in text
    assert "    gemma3:270m Q4_K_M, 1 x 4096 tokens: 1167 MiB" in text
    assert "      weights 235, KV cache 27, compute 24, processes 95, caches of prompts 786" in text
    assert max(map(len, lines)) <= 120


def test_a_plan_says_what_does_not_fit_and_what_is_not_known() -> None:
    too_large = {**PLAN, "memory": {**PLAN["memory"], "fits": False}}
    unknown = {**PLAN, "memory": {**PLAN["memory"], "models": []}}
    lines = plan_summary({"a": {"ollama_tuning": too_large}, "b": {"ollama_tuning": unknown}}).splitlines()
    assert lines[2].split()[-1] == "NO"
    assert lines[3].split()[-2:] == ["?", "?"]


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
