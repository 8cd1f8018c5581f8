# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the variables that roles and playbooks left on the hosts to the data of a report. Pure; invents nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.expectations import (
    GUIDE,
    at_once,
    beside_guide,
    change,
)
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import MIB, Hardware
from ansible_collections.llmops.ollama.plugins.plugin_utils.report.model import (
    Check,
    Curve,
    Diagnosis,
    Expectation,
    Finding,
    Gateway,
    Health,
    Host,
    Installed,
    Level,
    Machine,
    Memory,
    ModelMemory,
    Report,
    Search,
    Trial,
    Value,
    Variant,
)
from ansible_collections.llmops.ollama.plugins.plugin_utils.report.plain import (
    number,
    part,
    parts,
    text,
    texts,
    whole,
)

HostVars = Mapping[str, Any]

BEFORE, AFTER, AGAIN, TRIED, NOW, DIRECT = "before", "after", "again", "tried", "now", "direct"
SET_BACK, LOST, AS_BEFORE = "set back", "lost", "as before"

# What may be absent from a report, by the field that is then empty, and which playbook finds it out.
_SOURCES = {
    "values": "tuned values (playbook site)",
    "health": "health (playbook health)",
    "curves": "benchmark (playbook benchmark)",
    "search": "measured search (playbook retune)",
    "diagnosis": "findings of the doctor (playbook doctor)",
}


def read_report(
    servers: Mapping[str, HostVars], gateways: Mapping[str, HostVars], title: str, made_at: str, version: str
) -> Report:
    """Everything that is known of the fleet after a run."""
    return Report(
        title=text(title),
        made_at=made_at,
        version=version,
        hosts=tuple(_host(name, variables) for name, variables in servers.items()),
        gateways=tuple(_gateway(name, variables) for name, variables in gateways.items()),
    )


def _host(name: str, variables: HostVars) -> Host:
    tuning = part(variables, "ollama_tuning")
    checked = part(variables, "ollama_health_result")
    host = Host(
        name=text(name),
        retune=_retune(variables),
        machine=_machine(part(tuning, "hardware")),
        profile=text(tuning.get("profile")),
        version=text(checked.get("version")) or text(variables.get("ollama_version")),
        models=_models(variables),
        warnings=texts(tuning.get("warnings")),
        memory=_memory(tuning),
        values=(
            *map(_value, parts(tuning, "recommendations")),
            *map(_choice, parts(variables, "ollama_models_result", "choices")),
        ),
        health=_health(checked),
        curves=_curves(variables, "ollama_benchmark"),
        search=_search(variables),
        variants=_variants(variables),
        expectations=_expectations(part(variables, "ollama_benchmark_result", "benchmark")),
        diagnosis=_diagnosis(part(variables, "ollama_doctor_result")),
    )
    if host == Host(host.name, version=host.version):
        return Host(host.name, reached=False)
    return replace(host, absent=_absent(host))


def _absent(found: Host | Gateway) -> tuple[str, ...]:
    """What this run did not find out."""
    return tuple(words for name, words in _SOURCES.items() if getattr(found, name, True) in (None, ()))


def _gateway(name: str, variables: HostVars) -> Gateway:
    gateway = Gateway(
        name=text(name),
        health=_health(part(variables, "gateway_health_result")),
        curves=_curves(variables, "gateway_benchmark"),
    )
    if gateway == Gateway(gateway.name):
        return replace(gateway, reached=False)
    return replace(gateway, absent=_absent(gateway))


def _machine(hardware: Mapping[str, Any]) -> Machine | None:
    try:
        host = Hardware.describe(hardware)
    except InvalidInput:
        return None
    return Machine(
        cpus=host.cpus,
        cpus_online=host.cpu_cores,
        memory_mb=host.usable_memory_mb,
        memory_online_mb=host.memory_mb,
        cpu_model=text(host.cpu_model),
        virtualization="" if host.virtualization == "none" else text(host.virtualization),
        gpus=tuple(text(gpu.name) or gpu.vendor for gpu in host.gpus),
    )


def _value(each: Mapping[str, Any]) -> Value:
    # What a person would look for on the host.
    names = (text(each.get(kind)) for kind in ("variable", "directive", "parameter", "key"))
    return Value(
        name=next(filter(None, names), "?"),
        value=text(each.get("value")) + ("M" if each.get("directive") else ""),
        rule=text(each.get("rule")),
        reason=text(each.get("reason")),
    )


def _health(result: Mapping[str, Any]) -> Health | None:
    if "healthy" not in result:
        return None
    failed = [each for each in parts(result, "checks") if not each.get("ok")]
    return Health(
        healthy=bool(result["healthy"]),
        level=text(result.get("level")),
        failed=tuple(Check(text(each.get("name")), text(each.get("detail"))) for each in failed),
    )


def _models(variables: HostVars) -> tuple[Installed, ...]:
    """The installed models, by the latest look at the server; each with what the run did with it."""
    info, changed = part(variables, "ollama_model_info_result"), part(variables, "ollama_models_result")
    done = {text(each.get("name")): each for each in parts(changed, "models")}
    running = {text(each.get("name")): each for each in parts(info, "running")}
    # A dry run of one that is not there yet has only what would be done.
    looks = (parts(info, "models"), parts(variables, "ollama_health_result", "models"), list(done.values()))
    found = []
    for each in next(filter(None, looks), []):
        name = text(each.get("name"))
        both, loaded = {**done.get(name, {}), **each}, running.get(name, {})
        action = text(both.get("action"))
        found.append(
            Installed(
                name=name,
                quantization=text(both.get("quantization")),
                parameters=text(both.get("parameter_size")),
                digest=text(both.get("digest")).removeprefix("sha256:"),
                size_mb=_mib(both.get("size")),
                memory_mb=_mib(loaded.get("size")),
                gpu_mb=_mib(loaded.get("size_vram")),
                action="" if action == "none" else action,
            )
        )
    return tuple(found)


def _mib(size: Any) -> float | None:
    """Bytes as MiB."""
    found = number(size)
    return None if found is None else found / MIB


def _choice(each: Mapping[str, Any]) -> Value:
    """A model that was chosen among candidates is a value with a reason too."""
    return Value(text(each.get("name")), text(each.get("chosen")), "candidates", text(each.get("reason")))


def _memory(tuning: Mapping[str, Any]) -> Memory | None:
    plan = part(tuning, "memory")
    sizes = {name: whole(plan.get(name)) for name in ("budget_mb", "reserve_mb", "planned_mb")}
    if None in sizes.values():
        return None
    settled = {text(each.get("key")): each.get("value") for each in parts(tuning, "recommendations")}
    return Memory(
        limit_mb=(sizes["budget_mb"] or 0) + (sizes["reserve_mb"] or 0),
        reserve_mb=sizes["reserve_mb"] or 0,
        budget_mb=sizes["budget_mb"] or 0,
        planned_mb=sizes["planned_mb"] or 0,
        gpu_budget_mb=whole(plan.get("gpu_budget_mb")) or 0,
        fits=bool(plan.get("fits")),
        on_gpu=bool(plan.get("on_gpu")),
        together=whole(settled.get("max_loaded_models")) or 1,
        advice=text(plan.get("advice")),
        models=tuple(map(_model_memory, parts(plan, "models"))),
    )


def _model_memory(each: Mapping[str, Any]) -> ModelMemory:
    return ModelMemory(
        name=text(each.get("name")),
        quantization=text(each.get("quantization")),
        calibrated=bool(each.get("calibrated")),
        **{
            name: whole(each.get(name)) or 0
            for name in ("slots", "context", "weights_mb", "kv_mb", "compute_mb", "runtime_mb", "growth_mb", "peak_mb")
        },
    )


def _retune(variables: HostVars) -> str:
    """How it ended; one that has only begun did not come back, one that did not begin is as before."""
    outcome = text(variables.get("retune_outcome"))
    return {"begun": LOST, "untouched": AS_BEFORE}.get(outcome, outcome)


def _curves(variables: HostVars, name: str) -> tuple[Curve, ...]:
    """The documents of one or two benchmarks, and what one of them compared with in turns."""
    measured, before = (part(variables, f"{name}_{when}", "benchmark") for when in ("result", "before"))
    if not parts(measured, "levels"):
        measured, before = before, {}
    search = _search(variables) if parts(before, "levels") else None
    changed = AGAIN if search and search.adopted is False else TRIED if _retune(variables) == SET_BACK else AFTER
    now = _curve(changed if parts(before, "levels") else NOW, measured)
    direct = _curve(DIRECT, {**measured, **part(measured, "comparison"), "single": None})
    found = [_curve(BEFORE, before), direct if part(measured, "comparison") else None, now]
    return tuple(curve for curve in found if curve)


def _curve(label: str, measured: Mapping[str, Any]) -> Curve | None:
    """One benchmark's document; None where it has no level with a rate."""
    gains = {_load(each): part(each, "ratios", "requests_per_second") for each in parts(measured, "gains")}
    found = [_level(each, gains.get(_load(each), {})) for each in parts(measured, "levels")]
    levels = tuple(level for level in found if level)
    if not levels:
        return None
    return Curve(
        label=label,
        model=text(measured.get("model")),
        quantization=text(measured.get("quantization")),
        max_tokens=whole(part(measured, "workload").get("max_tokens")),
        slo=_slo(part(measured, "slo")),
        measured_at=text(measured.get("measured_at")),
        alone_latency_s=number(part(measured, "single").get("latency_s")),
        alone_ttft_s=number(part(measured, "single").get("ttft_s")),
        levels=levels,
    )


def _slo(limits: Mapping[str, Any]) -> tuple[str, ...]:
    """What was promised, as a person says it."""
    names = {"ttft_s": "TTFT", "tpot_s": "TPOT", "latency_s": "latency"}
    found = [(name, number(limits.get(key))) for key, name in names.items()]
    return tuple(f"{name} at most {limit:g} s" for name, limit in found if limit is not None)


def _load(each: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """What tells the levels of a document apart."""
    return number(each.get("concurrency")), number(each.get("rate"))


def _level(each: Mapping[str, Any], ratio: Mapping[str, Any]) -> Level | None:
    rate = number(each.get("requests_per_second"))
    if rate is None:
        return None
    return Level(
        concurrency=whole(each.get("concurrency")),
        rate=number(each.get("rate")),
        requests=whole(each.get("requests")) or 0,
        requests_per_second=rate,
        requests_per_second_low=_bound(each, "requests_per_second", 0),
        requests_per_second_high=_bound(each, "requests_per_second", 1),
        goodput=number(each.get("goodput")),
        goodput_low=_bound(each, "goodput", 0),
        goodput_high=_bound(each, "goodput", 1),
        output_tokens_per_second=number(each.get("output_tokens_per_second")),
        latency_p50_s=number(part(each, "latency_s").get("p50")),
        latency_p95_s=number(part(each, "latency_s").get("p95")),
        latency_p99_s=number(part(each, "latency_s").get("p99")),
        ttft_p50_s=number(part(each, "ttft_s").get("p50")),
        ttft_p95_s=number(part(each, "ttft_s").get("p95")),
        tpot_p50_s=number(part(each, "tpot_s").get("p50")),
        errors={text(kind): whole(count) or 0 for kind, count in part(each, "errors").items()},
        **{
            name: (factor - 1) * 100
            for name, bound in (("gain", "ratio"), ("gain_low", "low"), ("gain_high", "high"))
            if (factor := number(ratio.get(bound))) is not None
        },
        server_cpus=number(part(each, "server").get("cpu_cores")),
        server_memory_mb=whole(part(each, "server").get("rss_peak_mb")),
    )


def _bound(each: Mapping[str, Any], name: str, side: int) -> float | None:
    """One end of an interval; None where there were too few values for it."""
    return _end(part(each, "intervals").get(name), side)


def _end(bounds: Any, side: int) -> float | None:
    return number(bounds[side]) if isinstance(bounds, (list, tuple)) and len(bounds) == 2 else None


def _expectations(measured: Mapping[str, Any]) -> tuple[Expectation, ...]:
    """The guide's table, where more than one request was measured at a time."""
    try:
        found = at_once(measured)
        rows = beside_guide(found) if len(found) > 1 else []
    except (AttributeError, KeyError, TypeError, ValueError):  # not a benchmark's document
        return ()
    expectations = []
    for row in rows:
        guide, here = GUIDE.get(row.parallel), found.get(row.parallel)
        expectations.append(
            Expectation(
                parallel=row.parallel,
                expected_latency=guide.latency if guide else None,
                expected_throughput=guide.throughput if guide else None,
                latency=change(found[1].latency_s, here.latency_s) if here else None,
                throughput=change(found[1].requests_per_second, here.requests_per_second) if here else None,
                verdict=row.verdict,
            )
        )
    return tuple(expectations)


def _found(variables: HostVars) -> tuple[Mapping[str, Any], str]:
    """What the latest search found, and when: in this run, else what is kept on the host."""
    kept = part(variables, "ansible_local", "ollama_tuning")
    now = part(variables, "ollama_autotune_result", "autotune")
    return (now, "") if now else (part(kept, "evidence"), text(part(kept, "measured").get("date")))


def _search(variables: HostVars) -> Search | None:
    found, date = _found(variables)
    best, before = _setting(part(found, "best")), _setting(part(found, "current"))
    trials = tuple(_trial(each, best, before) for each in parts(found, "evidence", "trials"))
    if not trials:
        return None
    gain = {name: number(part(found, "gain").get(name)) for name in ("median", "lower", "upper")}
    median, lower, upper = (None if share is None else share * 100 for share in gain.values())
    return Search(
        trials=trials,
        concurrency=whole(part(found, "demand").get("concurrency")),
        slo=_slo(part(found, "demand", "slo")),
        gain=median,
        gain_low=lower,
        gain_high=upper,
        rounds=whole(part(found, "gain").get("rounds")),
        adopted=_setting(part(found, "adopted")) == best != before if part(found, "adopted") else None,
        verdict=text(found.get("verdict")),
        slo_remark=text(found.get("slo_remark")),
        measured_at=date,
        seconds=number(found.get("seconds")),
        timed_out=found.get("timed_out") is True,
    )


def _setting(each: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells settings apart."""
    numbers = (whole(each.get(name)) for name in ("parallel", "threads", "batch"))
    return (*numbers, text(each.get("kv_type")))


def _trial(each: Mapping[str, Any], best: tuple[Any, ...], before: tuple[Any, ...]) -> Trial:
    return Trial(
        parallel=whole(each.get("parallel")),
        threads=whole(each.get("threads")),
        kv_type=text(each.get("kv_type")),
        batch=whole(each.get("batch")),
        goodput=number(each.get("goodput")),
        goodput_low=_end(each.get("interval"), 0),
        goodput_high=_end(each.get("interval"), 1),
        output_tokens_per_second=number(each.get("output_tokens_per_second")),
        latency_p50_s=number(each.get("latency_p50_s")),
        latency_p95_s=number(each.get("latency_p95_s")),
        ttft_p95_s=number(each.get("ttft_p95_s")),
        measurements=whole(each.get("measurements")) or 0,
        failure=text(each.get("failure")),
        best=_setting(each) == best,
        current=_setting(each) == before,
    )


def _variants(variables: HostVars) -> tuple[Variant, ...]:
    """The quantizations that a search compared."""
    compared = part(_found(variables)[0], "quantizations")
    return tuple(
        Variant(
            model=text(each.get("model")),
            quantization=text(each.get("quantization")),
            goodput=number(each.get("requests_per_second")),
            memory_mb=number(each.get("memory_mb")),
            loss=number(each.get("loss_percent")),
            problem=text(each.get("problem")),
            frontier=each.get("on_frontier") is True,
            recommended=text(each.get("model")) == text(compared.get("recommended")),
        )
        for each in parts(compared, "variants")
    )


def _diagnosis(result: Mapping[str, Any]) -> Diagnosis | None:
    if "findings" not in result:
        return None
    order = {"problem": 0, "warning": 1}
    findings = [
        Finding(*(text(each.get(name)) for name in ("symptom", "severity", "what", "evidence", "remedy")))
        for each in parts(result, "findings")
    ]
    findings.sort(key=lambda finding: order.get(finding.severity, 2))
    return Diagnosis(tuple(findings), texts(result.get("checked")))
