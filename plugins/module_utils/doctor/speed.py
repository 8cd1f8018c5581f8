# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Detectors of "slow": too few CPUs, others that use them, models and clients that make more work than needed."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ansible_collections.llmops.ollama.plugins.module_utils.doctor.evidence import MIB, Evidence, mib
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.finding import PROBLEM, SLOW, WARNING, Finding, times
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.journal import Load
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.memory import SMALLER, smaller_tag
from ansible_collections.llmops.ollama.plugins.module_utils.engine import GPU_NONE, GPU_SOME
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import Hardware, visible_gpus
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.virtualization import is_container
from ansible_collections.llmops.ollama.plugins.module_utils.loaded_model import same_model

# A process competes from this much of one CPU on, and is a problem from this share of what Ollama may use.
COMPETITOR_CPU = 0.2
COMPETITOR_SHARE = 0.25
COMPETITOR_MEMORY_SHARE = 0.25
COMPETITORS_SHOWN = 5
# A load of one for each CPU is a host that is well used.
LOAD_FOR_EACH_CPU = 1.5
THROTTLED_SHARE = 0.25
# Below this many periods (of 100 ms) a share says nothing.
THROTTLED_PERIODS = 5
STEAL_WARNING = 0.05
STEAL_PROBLEM = 0.25
FAULTS_PER_SECOND = 50
RELOADS = 3
RELOAD_SECONDS = 600.0
UNQUANTIZED = ("F32", "F16", "BF16")


def competitors(seen: Evidence) -> Iterator[Finding]:
    """Processes outside of the service that use its CPUs or its memory."""
    cpus = seen.hardware.cpus if seen.hardware else 1.0
    total = _shared_memory(seen.hardware) if seen.hardware else 0
    large = COMPETITOR_MEMORY_SHARE * total if total else math.inf
    found = [each for each in seen.processes if each.cpu >= COMPETITOR_CPU or each.rss > large]
    for process in sorted(found, key=lambda each: -each.cpu)[:COMPETITORS_SHOWN]:
        busy = process.cpu >= COMPETITOR_CPU
        wants = "CPUs" if busy else "memory"
        yield Finding(
            SLOW,
            PROBLEM if process.cpu >= COMPETITOR_SHARE * cpus else WARNING,
            f"{process.command} (process {process.pid}) competes with the server for {wants}.",
            f"process {process.pid}, {process.command}: {process.cpu:.0%} of a CPU over {seen.seconds:g} s, "
            f"{mib(process.rss)}; Ollama may use {_cpus(cpus)}",
            "Stop it, move it to another host, or give it less (nice, CPUQuota=).",
        )


def throttled(seen: Evidence) -> Iterator[Finding]:
    """The CPU quota is used up. By itself that is what a quota is for."""
    now = seen.after.periods - seen.before.periods, seen.after.throttled - seen.before.throttled
    whole = seen.after.periods, seen.after.throttled
    shares = [hits / periods for periods, hits in (now, whole) if periods >= THROTTLED_PERIODS]
    if shares and max(shares) >= THROTTLED_SHARE:
        yield Finding(
            SLOW,
            WARNING,
            "The CPU quota holds the server back.",
            f"{seen.after.cpu_group}: throttled in {now[1]} of the last {now[0]} periods, "
            f"in {whole[1]} of {whole[0]} in all",
            "Raise the quota (CPUQuota= or the container's), or lower OLLAMA_NUM_PARALLEL and the threads.",
        )


def too_many_threads(seen: Evidence) -> Iterator[Finding]:
    """More threads than CPUs wait for each other in every step of the calculation."""
    threads = max(seen.threads, default=0)
    if not seen.hardware or not threads:
        return
    limit, cores = math.ceil(seen.hardware.cpus), seen.hardware.usable_cores
    if threads <= min(limit, cores):
        return
    quota = f", quota {_cpus(seen.hardware.cpu_quota)}" if seen.hardware.cpu_quota else ""
    how = seen.engine.threads_variable or "the model parameter num_thread"
    remedy = f"Set {how} to {max(1, min(limit, cores))} and run site.yml."
    if seen.engine.threads_variable and any(runner.own_threads == threads for runner in seen.runners):
        remedy = f"Remove num_thread from the model's parameters and from the requests: it wins over {how}."
    yield Finding(
        SLOW,
        PROBLEM if threads > limit else WARNING,
        f"The model runs with {threads} threads on what is worth {_cpus(seen.hardware.cpus)}.",
        f"threads {threads}; usable CPUs {seen.hardware.usable_cpus}, physical cores {cores}{quota}",
        remedy,
    )


def overloaded(seen: Evidence) -> Iterator[Finding]:
    """More is waiting for CPUs than there are, beyond the model's own threads."""
    if not seen.hardware:
        return
    own = sum(seen.threads) if seen.runners else 0
    if seen.load_average - own > LOAD_FOR_EACH_CPU * seen.hardware.cpu_cores:
        yield Finding(
            SLOW,
            WARNING,
            "The host has more to do than it has CPUs for.",
            f"load average {seen.load_average:.1f} over 1 minute, {seen.hardware.cpu_cores} CPUs, "
            f"{own} threads of the model among them",
            "Find who (top), lower OLLAMA_NUM_PARALLEL, or put more hosts behind the gateway.",
        )


def stolen(seen: Evidence) -> Iterator[Finding]:
    """The hypervisor gives the CPUs to other machines."""
    ticks = seen.after.ticks - seen.before.ticks
    share = (seen.after.steal - seen.before.steal) / ticks if ticks > 0 else 0.0
    if share >= STEAL_WARNING:
        yield Finding(
            SLOW,
            PROBLEM if share >= STEAL_PROBLEM else WARNING,
            "The hypervisor gives this machine's CPUs to others.",
            f"/proc/stat: {share:.0%} of the CPU time was stolen over {seen.seconds:g} s",
            "Use a machine with dedicated CPUs, or another host.",
        )


def faults(seen: Evidence) -> Iterator[Finding]:
    """The model is read from disk while it runs."""
    count = seen.after.major_faults - seen.before.major_faults
    if seen.seconds > 0 and count / seen.seconds >= FAULTS_PER_SECOND:
        yield Finding(
            SLOW,
            PROBLEM,
            "The model does not stay in memory and is read from disk over and over.",
            f"{count} major page faults of the service in {seen.seconds:g} s, {mib(seen.memory_free)} of memory left",
            "Use a smaller model or quantization, lower OLLAMA_NUM_PARALLEL, or give the host more memory.",
        )


def reloads(seen: Evidence) -> Iterator[Finding]:
    """The same model is loaded again and again."""
    by_model: dict[str, list[Load]] = {}
    for load in seen.loads:
        by_model.setdefault(load.model, []).append(load)
    for each in by_model.values():
        burst = _burst(each)
        if not burst:
            continue
        span = burst[-1].time - burst[0].time
        contexts = sorted({load.context // max(1, load.parallel) for load in burst if load.context})
        among = {load.model for load in seen.loads if burst[0].time <= load.time <= burst[-1].time}
        if len(contexts) > 1:
            severity, why = PROBLEM, "clients ask with different num_ctx"
            remedy = (
                "Have all clients send the same options (num_ctx, num_batch, num_gpu, num_thread), best none of them."
            )
        elif len(among) > 1:
            severity, why = PROBLEM, f"{len(among)} models take turns"
            remedy = "Raise OLLAMA_MAX_LOADED_MODELS if memory allows, or give each model hosts of its own."
        else:
            severity, why = WARNING, "clients ask with different options or a short keep_alive, or its runner ends"
            remedy = (
                "Have all clients send the same options and no keep_alive; look at the journal for a runner that ended."
            )
        shown = f", context {', '.join(map(str, contexts))} tokens" if contexts else ""
        yield Finding(
            SLOW,
            severity,
            f"{burst[-1].label} was loaded {times(len(burst))} within {max(1.0, span):.0f} s: {why}.",
            f"{len(burst)} lines like {_message(burst[-1].line)}{shown}",
            remedy,
        )


def _burst(each: list[Load]) -> list[Load]:
    """The longest run of loads that lie close together; none where there are too few."""
    best: list[Load] = []
    for index, first in enumerate(each):
        close = [load for load in each[index:] if load.time - first.time <= RELOAD_SECONDS]
        best = max(best, close, key=len)
    return best if len(best) >= RELOADS else []


def unquantized(seen: Evidence) -> Iterator[Finding]:
    """A model with full-size weights on the CPU: each token reads all of them from memory."""
    for model in seen.loaded:
        if model.quantization in UNQUANTIZED and not model.size_vram:
            smaller = SMALLER[model.quantization]
            yield Finding(
                SLOW,
                WARNING,
                f"{model.name} is not quantized ({model.quantization}) and runs on the CPU.",
                f"/api/ps: {model.name} {model.quantization}, {mib(model.size)}, none of it on a GPU",
                f"Use {smaller} or Q4_K_M ({smaller_tag(seen, model.name, model.quantization, smaller)}).",
            )


def not_on_the_gpu(seen: Evidence) -> Iterator[Finding]:
    """The host has a GPU that the model does not use, or not for all of it."""
    gpus = visible_gpus(seen.hardware.gpus, seen.has, seen.engine) if seen.hardware else ()
    usable = [gpu for gpu in gpus if gpu.is_expected]
    for model in seen.loaded if usable and seen.gpu != GPU_NONE else ():
        layers = next((number for name, number in seen.gpu_layers.items() if same_model(name, model.name)), -1)
        if model.size_vram >= model.size or layers == 0 or (model.size_vram and (seen.gpu == GPU_SOME or layers > 0)):
            continue
        share = model.size_vram / model.size if model.size else 0
        yield Finding(
            SLOW,
            WARNING if share else PROBLEM,
            f"{model.name} runs {'partly ' if share else ''}on the CPU though the host has a GPU.",
            f"/api/ps: size_vram {mib(model.size_vram)} of {mib(model.size)}; GPU {usable[0].name or usable[0].vendor}",
            "Use a smaller quantization, context or OLLAMA_NUM_PARALLEL so that it fits."
            if share
            else "Look at the journal's lines about GPU discovery: the driver, permissions on /dev, missing libraries.",
        )


def _shared_memory(hardware: Hardware) -> int:
    """What the server and other processes have together. Bytes.

    A container's limit is that of all processes in it; another limit may be the server's alone.
    """
    contained = is_container(hardware.virtualization)
    return (hardware.usable_memory_mb if contained else hardware.memory_mb) * MIB


def _cpus(count: float) -> str:
    return f"{count:g} CPU" if count == 1 else f"{count:g} CPUs"


def _message(line: str) -> str:
    """What a log line says, without its time and source."""
    return line[max(0, line.find("msg=")) :][:60] + "…"


DETECTORS = (
    competitors,
    too_many_threads,
    throttled,
    overloaded,
    stolen,
    faults,
    reloads,
    not_on_the_gpu,
    unquantized,
)
