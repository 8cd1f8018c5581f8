# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One benchmark from its plan to its numbers: warm-up, a single request, then the load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.load import LoadGenerator, Watch, clock
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.prompts import SINGLE_PROMPT, Request, workload
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.sample import Sample
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.statistics import (
    Level,
    Single,
    describe,
    percentile,
    summarise,
)
from ansible_collections.llmops.ollama.plugins.module_utils.errors import NotFound, OllamaError, Unhealthy, Unreachable
from ansible_collections.llmops.ollama.plugins.module_utils.progress import Report


@dataclass(frozen=True)
class Plan:
    """What to measure; the fields are the module's options (``timeout`` and ``max_seconds`` in seconds)."""

    url: str
    model: str
    requests: int
    concurrency: int
    max_tokens: int
    warmup: int
    seed: int
    single: bool
    timeout: float
    max_seconds: float


@dataclass(frozen=True)
class Measurement:
    """``single`` is the latency of a request that has the server to itself, ``load`` what the plan's load measured."""

    single: Single | None
    load: Level


def measure(plan: Plan, report: Report) -> Measurement:
    """Carry out ``plan``. Failed requests are counted; an ``OllamaError`` says why when not one request succeeded."""
    deadline = clock() + plan.max_seconds
    prompts = workload(plan.seed, plan.max_tokens)
    warmup, load = list(islice(prompts, plan.warmup)), list(islice(prompts, plan.requests))
    single = None
    with LoadGenerator(plan.url, plan.model, plan.concurrency, plan.timeout) as generator:

        def send(phase: str, requests: Sequence[Request]) -> list[Sample]:
            samples = generator.closed_loop(requests, deadline, _progress(phase, len(requests), report))
            _require_success(phase, samples, plan)
            return samples

        if warmup:
            send("warm-up", warmup)
        if plan.single:
            [alone] = send("single request", [Request(SINGLE_PROMPT, plan.max_tokens, plan.seed)])
            single = describe(alone)
        samples = send("load", load)
    return Measurement(single, summarise(samples, plan.concurrency, truncated=len(samples) < plan.requests))


def _progress(phase: str, total: int, report: Report) -> Watch:
    started = clock()
    return lambda samples: report(progress_line(phase, samples, total, clock() - started))


def progress_line(phase: str, samples: Sequence[Sample], total: int, elapsed: float) -> str:
    """What a person watching wants to know, for example ``load 42/100 done, 2.9 requests/s, p95 4.1 s, 20 s left``."""
    parts = [f"{phase} {len(samples)}/{total} done"]
    latencies = sorted(sample.latency for sample in samples if sample.failure is None)
    if latencies and elapsed > 0:
        parts += [f"{len(latencies) / elapsed:.1f} requests/s", f"p95 {percentile(latencies, 95):.1f} s"]
    if len(latencies) < len(samples):
        parts.append(f"{len(samples) - len(latencies)} failed")
    if samples and len(samples) < total:
        parts.append(f"{elapsed / len(samples) * (total - len(samples)):.0f} s left")
    return ", ".join(parts)


def _require_success(phase: str, samples: Sequence[Sample], plan: Plan) -> None:
    """Without one success there is nothing to measure: raise the reason that most of the failures have."""
    if not samples:
        raise OllamaError(
            f"The {phase} of the benchmark could not begin: its {plan.max_seconds:g} s were over.",
            "Raise max_seconds, or lower requests or max_tokens.",
        )
    if any(sample.failure is None for sample in samples):
        return
    level = summarise(samples, plan.concurrency)
    kind = next(iter(level.errors))
    detail = level.error_examples[kind]
    if kind == "http_404":
        raise NotFound(
            f"{plan.url} cannot serve model {plan.model!r}: {detail}.",
            "Pull the model first (llmops.ollama.model), and check its name and that the address is an Ollama server.",
        )
    if kind in {"refused", "unreachable"}:
        raise Unreachable(
            f"Nothing answers at {plan.url}: {detail}.",
            "Check that the service runs (systemctl status ollama) and that the address and port are right.",
        )
    counts = ", ".join(f"{count} x {kind}" for kind, count in level.errors.items())
    raise Unhealthy(
        f"Every request of the {phase} to {plan.url} failed ({counts}): {detail}.",
        "Look at the server's log (journalctl -u ollama) and at the gateway's limits; timeout bounds each request.",
    )
