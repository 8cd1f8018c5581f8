# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The closing table of a run, from the variables that roles and playbooks left behind. Pure: mappings in, text out."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.expectations import at_once, beside_guide
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.load import load_name
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import Hardware

HostVars = Mapping[str, Any]

WIDTH = 120  # columns that the reasons are wrapped to

# The guide's troubleshooting, after what comes before all of it.
DOCTOR_HEADINGS = {
    "does not run": "The server does not run as it should",
    "setting had no effect": "Problem 1: a setting had no effect",
    "out of memory": "Problem 2: out of memory",
    "slow": "Problem 3: slow answers",
}


def fleet_summary(servers: Mapping[str, HostVars], gateways: Mapping[str, HostVars]) -> str:
    """Render the fleet: one table of all hosts, the gateway's benchmark, then each host's values with their reasons."""
    parts = [_overview(servers, gateways)]
    examined = [doctor_report(host, variables) for host, variables in servers.items()]
    if any(examined):  # who asks what is wrong does not ask why the values are as they are
        return "\n\n".join([*parts, *filter(None, examined)])
    parts += [_reasons(host, variables) for host, variables in servers.items() if variables.get("ollama_tuning")]
    return "\n\n".join(parts)


def plan_summary(servers: Mapping[str, HostVars]) -> str:
    """Render what each server would be set up with: one table, then for each host its memory and the reasons."""
    header = ["host", "CPUs", "memory", "profile", "parallel", "context", "KV cache", "threads", "models at once"]
    header += ["budget", "worst case", "GPUs", "fits"]
    tuned = {host: variables["ollama_tuning"] for host, variables in servers.items() if variables.get("ollama_tuning")}
    rows = []
    for host, variables in servers.items():
        if host not in tuned:
            rows.append([host, "not planned", *[""] * (len(header) - 2)])
            continue
        values = {each["key"]: str(each["value"]) for each in tuned[host]["recommendations"]}
        memory = tuned[host]["memory"]
        fits, unknown = "yes" if memory["fits"] else "NO", bool(tuned[host]["unplanned"])
        rows.append(
            [
                host,
                *_hardware(variables),
                tuned[host]["profile"],
                *(values.get(key, "") for key in ("parallel", "context_length", "kv_cache_type", "threads")),
                values.get("max_loaded_models", ""),
                f"{memory['budget_mb']} MiB",
                f"{memory['planned_mb']} MiB{' and more' if unknown else ''}" if memory["models"] else "?",
                _of_gpus(memory),
                fits if memory["models"] and not (unknown and memory["fits"]) else "?",
            ]
        )
    return "\n\n".join([table(header, rows), *(_reasons(host, servers[host]) for host in tuned)])


def doctor_report(host: str, variables: HostVars) -> str:
    """What the doctor found on one host, under the guide's headings; empty where it was not asked."""
    result = variables.get("ollama_doctor_result") or {}
    if "findings" not in result:
        return ""
    findings = result["findings"]
    counts = [(kind, sum(each["severity"] == kind for each in findings)) for kind in ("problem", "warning")]
    named = ", ".join(f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in counts if count)
    lines = [f"=== {host}: {named or 'nothing wrong was found'} ==="]
    for symptom, heading in DOCTOR_HEADINGS.items():
        under = [each for each in findings if each["symptom"] == symptom]
        lines += ["", heading] if under else []
        for each in under:
            lines += [
                *_labelled("!!" if each["severity"] == "problem" else " ?", each["what"]),
                *_labelled("     seen", each["evidence"]),
                *_labelled("     do", each["remedy"]),
            ]
    lines += ["", "What was looked at"]
    lines += [line for each in result.get("checked", []) for line in _labelled(" -", each)]
    return "\n".join(lines)


def _labelled(label: str, text: str) -> list[str]:
    """Text beside a label, wrapped to the screen; a long path or log line is cut rather than left to run out."""
    margin = "  " + label.ljust(9 if len(label) > 2 else 2) + "  "
    others = " " * len(margin)
    lines = textwrap.wrap(text, WIDTH, initial_indent=margin, subsequent_indent=others, break_on_hyphens=False)
    return lines or [margin.rstrip()]


def _overview(servers: Mapping[str, HostVars], gateways: Mapping[str, HostVars]) -> str:
    header = ["host", "CPUs", "memory", "profile", "parallel", "engine", "health", "model", "requests/s", "p95"]
    rows = [
        [
            host,
            *_hardware(variables),
            *_engine(variables),
            _health(variables.get("ollama_health_result")),
            _models(variables),
            *_load(variables.get("ollama_benchmark_result")),
        ]
        for host, variables in servers.items()
    ]
    rows += [
        [
            f"{host} (gateway)",
            "",
            "",
            "",
            "",
            "",
            _health(variables.get("gateway_health_result")),
            "",
            *_load(variables.get("gateway_benchmark_result")),
        ]
        for host, variables in gateways.items()
    ]
    parts = [table(header, rows)]
    parts += [_measured(host, each) for host, each in _benchmarks(servers, "ollama_benchmark_result")]
    parts += [_measured(f"{host} (gateway)", each) for host, each in _benchmarks(gateways, "gateway_benchmark_result")]
    return "\n\n".join(parts)


def _benchmarks(hosts: Mapping[str, HostVars], result: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for host, variables in hosts.items():
        measured = (variables.get(result) or {}).get("benchmark")
        if measured:
            yield host, measured


def _hardware(variables: HostVars) -> list[str]:
    hardware = (variables.get("ollama_tuning") or {}).get("hardware")
    if not hardware:
        return ["?", "?"]
    host = Hardware.describe(hardware)
    return [f"{host.cpus:g}", f"{host.usable_memory_mb / 1024:.1f} GiB"]


def _engine(variables: HostVars) -> list[str]:
    tuning = variables.get("ollama_tuning") or {}
    version = (variables.get("ollama_health_result") or {}).get("version") or variables.get("ollama_version")
    parallel = tuning.get("environment", {}).get("OLLAMA_NUM_PARALLEL", "")
    return [tuning.get("profile", "?"), parallel, version or "?"]


def _health(result: Mapping[str, Any] | None) -> str:
    if not result or "healthy" not in result:
        return "not checked"
    if result["healthy"]:
        return str(result.get("level", "healthy"))
    failed = [check["name"] for check in result.get("checks", []) if not check["ok"]]
    return "UNHEALTHY: " + ", ".join(failed)


def _models(variables: HostVars) -> str:
    # What the health check saw is newer than what the pull returned; a dry run has only the latter.
    results = (variables.get(name) or {} for name in ("ollama_health_result", "ollama_models_result"))
    known: Sequence[Mapping[str, Any]] = next((each["models"] for each in results if each.get("models")), [])
    there = [model for model in known if model.get("action") != "removed"]
    return ", ".join(f"{model['name']} {model.get('quantization') or ''}".strip() for model in there) or "none"


def _load(result: Mapping[str, Any] | None) -> list[str]:
    """The busiest level."""
    levels = ((result or {}).get("benchmark") or {}).get("levels")
    if not levels:
        return ["", ""]
    level = max(levels, key=lambda each: (each["concurrency"] or 0, each["rate"] or 0))
    return [f"{level['requests_per_second']:.2f}", f"{_point(level['latency_s'], 'p95')} s"]


def _measured(title: str, measured: Mapping[str, Any]) -> str:
    """One benchmark: a table of its levels, then what it is beside other things."""
    asked, single = measured["workload"], measured["single"]
    what = f"{asked['prompts']} own prompts" if asked["prompts"] else f"prompts {asked['prompt_set']}"
    lines = [
        f"{title}: {measured['model']}, {asked['endpoint']}{'' if asked['stream'] else ' without a stream'}, {what},"
        f" up to {asked['max_tokens']} tokens"
    ]
    if single:
        alone = f"latency {single['latency_s']:.2f} s"
        if single["ttft_s"] is not None:
            alone += f", TTFT {single['ttft_s']:.2f} s"
        lines.append(f"one request alone: {alone}")
    header = ["load", "requests/s (bounds)", "tokens/s", "TTFT p50, p95", "TPOT", "latency p50, p95, p99", "goodput"]
    header += ["errors", "cores", "MiB"]
    lines.append(table(header, [_level(level) for level in measured["levels"]]))
    lines += [
        textwrap.shorten(
            f"{load_name(level['concurrency'], level['rate'])}: {count} x {kind} ({level['error_examples'][kind]})",
            WIDTH,
            placeholder="...",
        )
        for level in measured["levels"]
        for kind, count in level["errors"].items()
    ]
    if measured["comparison"]:
        lines += _ratios(f"compared with {measured['comparison']['url']}", measured["comparison"]["ratios"])
    lines += _ratios("compared with the baseline", measured["gains"] or ())
    lines += _beside_guide(measured)
    return "\n".join(lines)


def _level(level: Mapping[str, Any]) -> list[str]:
    low, high = level["intervals"].get("requests_per_second") or (None, None)
    bounds = "" if low is None else f" ({low:.2f}-{high:.2f})"
    server = level["server"]
    latency = ", ".join(_point(level["latency_s"], name) for name in ("p50", "p95", "p99"))
    return [
        load_name(level["concurrency"], level["rate"]),
        f"{level['requests_per_second']:.2f}{bounds}",
        f"{level['output_tokens_per_second']:.1f}",
        f"{_point(level['ttft_s'], 'p50')}, {_point(level['ttft_s'], 'p95')} s" if level["ttft_s"] else "",
        f"{1000 * level['tpot_s']['p50']:.0f} ms" if level["tpot_s"] else "",
        f"{latency} s",
        "" if level["goodput"] is None else f"{level['goodput']:.2f}",
        str(sum(level["errors"].values())),
        f"{server['cpu_cores']:.2f}" if server else "",
        str(server["rss_peak_mb"]) if server else "",
    ]


def _point(times: Mapping[str, Any] | None, name: str) -> str:
    """Three digits are what a person compares."""
    return f"{times[name]:.{0 if times[name] >= 100 else 1 if times[name] >= 10 else 2}f}" if times else "?"


def _ratios(title: str, levels: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for level in levels:
        lines.append(f"{load_name(level['concurrency'], level['rate'])}, {title}:")
        rows = []
        for name, each in level["ratios"].items():
            low, high = ("?" if bound is None else f"{bound:.2f}" for bound in (each["low"], each["high"]))
            ratio = "?" if each["ratio"] is None else f"{each['ratio']:.2f}"
            rows.append(["", name.replace("_", " "), f"x {ratio}", f"({low}-{high})"])
        lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, (0, 26, 7, 0))).rstrip() for row in rows]
    return lines


def _beside_guide(measured: Mapping[str, Any]) -> list[str]:
    """The guide's table, where the server's number of slots is known and one request at a time was measured too."""
    found = at_once(measured)
    if not found:
        return []
    rows = beside_guide(found)
    header = ["parallel", "latency: guide", "here", "throughput: guide", "here", "verdict"]
    text = table(header, [[str(value) for value in astuple(row)] for row in rows])
    return ["what the guide expects of parallel requests, and what came of it here:", text]


def _reasons(host: str, variables: HostVars) -> str:
    tuning = variables["ollama_tuning"]
    rows = [(_name(each), _value(each), each["reason"]) for each in tuning["recommendations"]]
    name_width = max((len(name) for name, _, _ in rows), default=0)
    value_width = max((len(value) for _, value, _ in rows), default=0)
    margin = name_width + value_width + 6
    lines = [f"{host}: why each value"]
    for name, value, reason in rows:
        wrapped = textwrap.wrap(reason, WIDTH - margin) or [""]
        lines.append(f"  {name:{name_width}}  {value:{value_width}}  {wrapped[0]}")
        lines += [" " * margin + more for more in wrapped[1:]]
    lines += _memory(tuning.get("memory"))
    lines += _models_chosen(tuning.get("choices", ()), variables.get("ollama_models_result") or {})
    for warning in tuning.get("warnings", []):
        first, *others = textwrap.wrap(f"warning: {warning}", WIDTH - 4)
        lines += [f"  {first}", *(f"    {more}" for more in others)]
    return "\n".join(lines)


def _name(recommendation: Mapping[str, Any]) -> str:
    """What a person would look for on the host."""
    names = (recommendation.get(kind) for kind in ("variable", "directive", "parameter", "key"))
    return next(str(name) for name in names if name)


def _value(recommendation: Mapping[str, Any]) -> str:
    return f"{recommendation['value']}{'M' if recommendation.get('directive') else ''}"


def _memory(memory: Mapping[str, Any] | None) -> list[str]:
    """Where the memory would go in the worst case."""
    if not memory or not memory["models"]:
        return []
    gpus = _of_gpus(memory)
    lines = [
        f"  memory in the worst case: {memory['planned_mb']} of {memory['budget_mb']} MiB{gpus and f', of GPUs {gpus}'}"
    ]
    for model in memory["models"]:
        parts = (
            ("weights", "weights"),
            ("KV cache", "kv"),
            ("compute", "compute"),
            ("processes", "runtime"),
            ("caches of prompts", "growth"),
        )
        sizes = ", ".join(f"{label} {model[f'{key}_mb']}" for label, key in parts)
        name = f"{model['name']} {model['quantization']}".strip()
        slots = f"{model['slots']} x {model['context']} tokens"
        how = ", with sizes from the log of its last load" if model.get("calibrated") else ""
        lines.append(f"    {name}, {slots}: {model['peak_mb']} MiB{how}")
        lines.append(f"      {sizes}")
    return lines


def _of_gpus(memory: Mapping[str, Any]) -> str:
    """What of GPUs' own memory would be taken; empty where there is none."""
    return f"{memory['gpu_planned_mb']} of {memory['gpu_budget_mb']} MiB" if memory["gpu_budget_mb"] else ""


def _models_chosen(choices: Sequence[Mapping[str, Any]], result: Mapping[str, Any]) -> list[str]:
    """What models with candidates are made of and why, and which models were removed."""
    lines = []
    for choice in choices:
        lines.append(f"  {choice['name']} is made of {choice['chosen']}")
        lines += [f"    {line}" for line in textwrap.wrap(choice["reason"], WIDTH - 4)]
    removed = [model["name"] for model in result.get("models", ()) if model.get("action") == "removed"]
    if removed:
        text = f"removed, since they are not declared: {', '.join(removed)}"
        lines += [f"  {line}" for line in textwrap.wrap(text, WIDTH - 2, break_on_hyphens=False)]
    return lines


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align columns for a terminal; a column that is empty in every row is left out."""
    kept = [index for index in range(len(header)) if any(row[index] for row in rows)]
    cells = [[row[index] for index in kept] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(kept))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)
