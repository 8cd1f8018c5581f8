# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fleets as a report sees them: what the tuner and the doctor really say of hosts, and numbers that were measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.doctor.diagnosis import checked, diagnose, healthy
from ansible_collections.llmops.ollama.plugins.module_utils.engine import Engine
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import Hardware
from ansible_collections.llmops.ollama.plugins.module_utils.memory_plan import Workload
from ansible_collections.llmops.ollama.plugins.module_utils.model_facts import Model
from ansible_collections.llmops.ollama.plugins.module_utils.model_shape import from_server
from ansible_collections.llmops.ollama.plugins.module_utils.policy import Policy
from ansible_collections.llmops.ollama.plugins.module_utils.tuning import Intent, recommend
from doctor_evidence import HEALTHY, MIB, said

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
GEMMA = from_server(json.loads((FIXTURES / "models/gemma3-270m-show.json").read_text(encoding="utf-8")))
MADE_AT = "2026-11-27T09:30:00Z"

MACHINES = {
    "llm1.example.org": Hardware.describe(
        {"cpu_cores": 2, "cpu_quota": 1.0, "memory_mb": 24000, "memory_limit_mb": 4096}
    ),
    "llm2.example.org": Hardware.describe({"cpu_cores": 2, "usable_cpus": 1, "memory_mb": 24000}),
    "llm3.example.org": Hardware.describe(
        {"cpu_cores": 16, "physical_cores": 8, "memory_mb": 64000, "cpu_model": "AMD EPYC 9354P 32-Core Processor"}
    ),
    "llm4.example.org": Hardware.describe({"cpu_cores": 8, "memory_mb": 32000, "virtualization": "kvm"}),
    "llm5.example.org": Hardware.describe({"cpu_cores": 4, "memory_mb": 16000}),
    "llm6.example.org": Hardware.describe({"cpu_cores": 64, "physical_cores": 32, "memory_mb": 256000}),
    "gpu1.example.org": Hardware.describe(
        {
            "cpu_cores": 32,
            "memory_mb": 128000,
            "gpus": [{"vendor": "nvidia", "name": "NVIDIA L4", "memory_mb": 23034}],
        }
    ),
    "edge.example.org": Hardware.describe({"cpu_cores": 4, "memory_mb": 2000}),
}

# Requests/s, output tokens/s, latency p50, p95 and TTFT p95 (seconds) by requests at a time.
BEFORE = {1: (1.42, 45.6, 0.70, 0.74, 0.05), 4: (1.95, 62.4, 2.05, 2.31, 1.56), 10: (2.01, 64.1, 4.93, 5.31, 4.62)}
AFTER = {1: (1.45, 46.6, 0.69, 0.72, 0.05), 4: (2.68, 85.9, 1.46, 1.72, 0.21), 10: (3.21, 102.9, 3.05, 3.58, 1.92)}


def tuning(hardware: Hardware) -> dict[str, Any]:
    workload = Workload((Model("gemma3:270m", GEMMA, source="server"),))
    found = recommend(hardware, Policy.load(), Intent(engine=Engine.parse("0.34.0")), workload)
    return {**found.to_dict(), "hardware": hardware.to_dict()}


def times(p50: float, p95: float) -> dict[str, Any]:
    found = {"mean": p50, "p50": p50, "p90": (p50 + p95) / 2, "p95": p95, "p99": p95 * 1.04}
    return {**found, "intervals": {name: [value * 0.9, None] for name, value in found.items()}}


def level(concurrency: int, measured: tuple[float, ...], **more: Any) -> dict[str, Any]:
    rate, tokens, p50, p95, ttft = measured
    return {
        "requests": 10 * concurrency,
        "concurrency": concurrency,
        "rate": None,
        "truncated": False,
        "duration_s": 10 * concurrency / rate,
        "requests_per_second": rate,
        "output_tokens": int(tokens * 10),
        "output_tokens_per_second": tokens,
        "goodput": rate * 0.95,
        "slo_met": 0.95,
        "slo_missed": {"latency_s": 2},
        "intervals": {"requests_per_second": [rate * 0.96, rate * 1.04], "goodput": [rate * 0.9, rate]},
        "ttft_s": times(ttft * 0.9, ttft),
        "tpot_s": times(0.021, 0.024),
        "itl_s": times(0.021, 0.024),
        "latency_s": times(p50, p95),
        "errors": {},
        "error_examples": {},
        "error_rate": 0.0,
        "server": {"cpu_s": 30.1, "cpu_cores": 0.99, "rss_peak_mb": 409},
        **more,
    }


def benchmark(measured: Mapping[int, tuple[float, ...]], scale: float = 1.0) -> dict[str, Any]:
    """What the module ``benchmark`` returns; ``scale`` is how much faster than measured a host is."""
    return {
        "benchmark": {
            "schema": "llmops.ollama.benchmark/1",
            "measured_at": "2026-11-27T09:12:31+00:00",
            "url": "http://127.0.0.1:11434",
            "model": "gemma3:270m",
            "quantization": "Q4_K_M",
            "engine_version": "0.34.0",
            "settings": {"environment": {"OLLAMA_NUM_PARALLEL": "8"}, "runner": {"slots": 8, "threads": 1}},
            "workload": {"endpoint": "/api/generate", "stream": True, "prompt_set": "chat", "max_tokens": 32},
            "slo": {"ttft_s": None, "tpot_s": None, "latency_s": 10.0},
            "single": {"latency_s": 0.71, "ttft_s": 0.052, "tpot_s": 0.021, "output_tokens": 32},
            "levels": [
                level(concurrency, (rate * scale, tokens * scale, *(each / scale for each in waits)))
                for concurrency, (rate, tokens, *waits) in measured.items()
            ],
            "comparison": None,
            "gains": None,
            "assertions": [],
        }
    }


HEALTH: dict[str, Any] = {
    "healthy": True,
    "level": "effective",
    "version": "0.34.0",
    "models": [{"name": "gemma3:270m", "quantization": "Q4_K_M"}],
    "checks": [{"name": "api", "ok": True, "detail": "GET /api/tags answered 200.", "latency_ms": 2.1}],
}
UNHEALTHY = {
    **HEALTH,
    "healthy": False,
    "checks": [
        *HEALTH["checks"],
        {
            "name": "environment",
            "ok": False,
            "detail": "OLLAMA_NUM_PARALLEL is '1' in the process, it should be '2'.",
            "latency_ms": 0.4,
        },
    ],
}


# What the modules ``model`` and ``model_info`` return.
MODELS: dict[str, Any] = {
    "models": [
        {
            "name": "gemma3:270m",
            "action": "pulled",
            "digest": "01ffb7e26e5a119126d1337e0cc4a74d0b6f9c3f9e9dda3b9582bac4747baf96",
            "size": 253113335,
            "quantization": "Q4_K_M",
            "family": "gemma3",
            "parameter_size": "268.10M",
            "bytes": 253113335,
            "seconds": 4.1,
        }
    ],
    "choices": [{"name": "gemma3:270m", "chosen": "gemma3:270m", "reason": "Q4_K_M is the first of 2 that fits."}],
}
MODEL_INFO = {
    "models": [{key: value for key, value in MODELS["models"][0].items() if key != "action"}],
    "running": [{"name": "gemma3:270m", "size": 413138944, "size_vram": 0, "context_length": 4096}],
}


def doctor(ill: bool = False) -> dict[str, Any]:
    """What the module ``doctor`` returns."""
    evidence = HEALTHY
    if ill:
        evidence = replace(
            HEALTHY,
            environment={**(HEALTHY.environment or {}), "OLLAMA_NUM_PARALLEL": "1"},
            memory_free=100 * MIB,
            journal=said("llama runner process has terminated: signal: killed", "Out of memory: Killed process 450"),
        )
    found = diagnose(evidence)
    return {
        "changed": False,
        "healthy": healthy(found),
        "findings": [asdict(finding) for finding in found],
        "checked": checked(evidence, 24.0),
    }


def server(name: str = "llm1.example.org", **more: Any) -> dict[str, Any]:
    """The variables of a host on which everything was done."""
    scale = 0.6 + 0.25 * list(MACHINES).index(name)
    return {
        "ollama_tuning": tuning(MACHINES[name]),
        "ollama_version": "0.34.0",
        "ollama_health_result": HEALTH,
        "ollama_benchmark_before": benchmark(BEFORE, scale),
        "ollama_benchmark_result": benchmark(AFTER, scale),
        "ollama_autotune_result": autotune(),
        "ollama_doctor_result": doctor(),
        "ollama_models_result": MODELS,
        "ollama_model_info_result": MODEL_INFO,
        **more,
    }


def eight() -> dict[str, dict[str, Any]]:
    fleet = {name: server(name) for name in MACHINES}
    fleet["llm4.example.org"] = server(
        "llm4.example.org", ollama_health_result=UNHEALTHY, ollama_doctor_result=doctor(ill=True)
    )
    return fleet


GATEWAY = {
    "gateway_health_result": {"healthy": True, "level": "live", "checks": []},
    "gateway_benchmark_result": benchmark({10: AFTER[10]}, 2.2),
}


# A name that tries everything: HTML, Markdown, templates, mathematics, and turning the direction of writing.
HOSTILE = (
    "\u202e</title></style><script>b0rk()</script><b0rk onload=1>\x00 {{ 7 * 7 }} $\\frac{1}{2}$ [x](javascript:1) |a|"
)
HOSTILE_SHOWN = HOSTILE.strip("\u202e").replace("\x00", "")


def hostile() -> dict[str, dict[str, Any]]:
    """Hosts whose every text is hostile."""

    def spoil(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: spoil(each) for key, each in value.items()}
        if isinstance(value, list):
            return [spoil(each) for each in value]
        return f"{value} {HOSTILE}" if isinstance(value, str) and value not in ("problem", "warning") else value

    fleet = {name: spoil(variables) for name, variables in list(eight().items())[2:4]}
    return {HOSTILE: fleet.popitem()[1], "漢字-" + "long" * 40: fleet.popitem()[1]}


def recorded(name: str) -> dict[str, Any]:
    """The variables that a run left on a real host."""
    found: dict[str, Any] = json.loads((FIXTURES / f"reports/{name}.json").read_text(encoding="utf-8"))
    return found


def setting(parallel: int, threads: int) -> dict[str, Any]:
    return {"parallel": parallel, "threads": threads, "kv_type": "f16", "batch": None}


def autotune() -> dict[str, Any]:
    """What the module ``autotune`` returns."""
    tried = [
        (1, 1, 2.01, 1.93, 2.10, 5.31),
        (2, 1, 2.44, 2.34, 2.55, 4.20),
        (4, 1, 2.71, 2.59, 2.83, 3.90),
        (8, 1, 3.21, 3.10, 3.33, 3.58),
        (12, 1, 3.18, 3.02, 3.35, 3.61),
    ]
    trials: list[dict[str, Any]] = [
        {
            **setting(parallel, threads),
            "failure": "",
            "measurements": 2,
            "goodput": goodput,
            "interval": [low, high],
            "miss": 0.4,
            "requests": 40,
            "failed": 0,
            "slo_met": 0.98,
            "output_tokens_per_second": goodput * 32,
            "ttft_p95_s": p95 / 3,
            "tpot_p50_s": 0.021,
            "latency_p50_s": p95 * 0.9,
            "latency_p95_s": p95,
        }
        for parallel, threads, goodput, low, high, p95 in tried
    ]
    failed = {"failure": "The server was not up within 120 s.", "measurements": 0, "goodput": None, "interval": None}
    trials.append({**setting(8, 2), **failed, "miss": None})
    quantizations = [
        ("f16", "F16", 1.51, 612, 0.0, ""),
        ("q8_0", "Q8_0", 2.36, 371, 2.0, ""),
        ("", "Q4_K_M", 3.21, 329, 3.0, ""),
        ("q4_0", "Q4_0", 3.18, 330, 5.0, ""),
        ("q2_k", "Q2_K", None, None, None, "It is not installed."),
    ]
    return {
        "changed": True,
        "autotune": {
            "demand": {
                "concurrency": 10,
                "prompt_set": "chat",
                "max_tokens": 32,
                "slo": {"ttft_s": None, "tpot_s": None, "latency_s": 10.0},
            },
            "current": setting(1, 1),
            "best": setting(8, 1),
            "adopted": setting(8, 1),
            "gain": {"rounds": 5, "median": 0.597, "lower": 0.512, "upper": 0.689},
            "verdict": "The gain is +59.7% (+51.2% to +68.9%, 5 rounds), for certain above 5%.",
            "slo_met": True,
            "slo_remark": "",
            "evidence": {"noise": 0.04, "trials": trials, "confirmation": []},
            "seconds": 301.2,
            "timed_out": False,
            "quantizations": {
                "variants": [
                    {
                        "model": f"gemma3:270m{'-' if tag else ''}{tag}",
                        "quantization": name,
                        "requests_per_second": goodput,
                        "memory_mb": size,
                        "loss_percent": loss,
                        "problem": problem,
                        "on_frontier": name in ("F16", "Q8_0", "Q4_K_M"),
                    }
                    for tag, name, goodput, size, loss, problem in quantizations
                ],
                "recommended": "gemma3:270m",
                "text": "gemma3:270m (Q4_K_M): 3.21 requests/s, 329 MiB, about 3 % loss of quality.",
            },
        },
    }


def kept() -> dict[str, Any]:
    """The fact that a search leaves on its host."""
    result = autotune()
    return {
        "schema": 1,
        "fingerprint": {"model": "gemma3:270m", "engine_version": "0.34.0", "workload": result["autotune"]["demand"]},
        "measured": {**setting(8, 1), "reason": "Measured.", "date": "2026-11-26T22:10:00Z"},
        "evidence": result["autotune"],
    }
