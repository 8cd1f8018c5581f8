# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A whole run from its plan to its numbers: warm-up, a single request, then one level of load after the other."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Callable

from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.load import Load, Watch, clock
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.observe import find_server
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.plan import Plan
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.sample import Round, Sample
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.session import Session, require_success
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.statistics import (
    Level,
    Ratio,
    Single,
    percentile,
    ratio_of_rounds,
)
from ansible_collections.llmops.ollama.plugins.module_utils.progress import Report

LATE_SECONDS = 0.05  # a generator that sends later than this measures itself


@dataclass(frozen=True)
class Ratios:
    """A level of load beside the same load on something else: its numbers as multiples of the other's."""

    concurrency: int | None
    rate: float | None
    ratios: dict[str, Ratio]


@dataclass(frozen=True)
class Measurement:
    """What a plan measured.

    ``single`` is a request that had the server to itself. ``others`` are the levels of the other target and
    ``compared`` what came out of the rounds in turns, one of each for each level, if there is another target.
    ``server_pid`` is the server's process where it runs on this host.
    """

    single: Single | None
    levels: tuple[Level, ...]
    others: tuple[Level, ...] = ()
    compared: tuple[Ratios, ...] = ()
    server_pid: int | None = None


# What is compared, by its name in the result: how to read it from one round's level.
COMPARED: dict[str, Callable[[Level], float | None]] = {
    "requests_per_second": lambda level: level.requests_per_second,
    "output_tokens_per_second": lambda level: level.output_tokens_per_second,
    "goodput": lambda level: level.goodput,
    "ttft_p50_s": lambda level: level.ttft_s.p50 if level.ttft_s else None,
    "tpot_p50_s": lambda level: level.tpot_s.p50 if level.tpot_s else None,
    "latency_p50_s": lambda level: level.latency_s.p50 if level.latency_s else None,
}


def measure(plan: Plan, report: Report) -> Measurement:
    """Carry out ``plan``. Failed requests are counted; an ``OllamaError`` says why when not one request succeeded.

    A level for which no time was left is left out.
    """
    until = clock() + plan.max_seconds
    with contextlib.ExitStack() as stack:
        sessions: list[Session] = []
        for side, target in enumerate(filter(None, (plan.target, plan.other))):
            pid = find_server(target.url)
            session = Session(target, plan.workload, plan.slo, side=side, server_pid=pid, until=until)
            sessions.append(stack.enter_context(session))
        main = sessions[0]
        if plan.warmup:
            for session in sessions:
                session.warm_up(plan.warmup, _progress("warm-up", plan.warmup, report))
        single = main.single(_progress("single request", Load(1, requests=1), report)) if plan.single else None
        done: list[tuple[Load, list[list[Round]]]] = []
        samples: list[Sample] = []
        for number, load in enumerate(plan.levels, 1):
            label = f"level {number} of {len(plan.levels)} ({load})" if len(plan.levels) > 1 else f"load ({load})"
            runs = _in_turns(sessions, load, plan.rounds, label, report)
            if not all(any(each.samples for each in rounds) for rounds in runs):
                break
            done.append((load, runs))
            samples += (sample for rounds in runs for each in rounds for sample in each.samples)
        require_success("load", samples, plan.target)
        levels = [[each.summarise(rounds, load) for each, rounds in zip(sessions, runs)] for load, runs in done]
        return Measurement(
            single,
            tuple(each[0] for each in levels),
            tuple(each[1] for each in levels if plan.other),
            tuple(_compare(sessions, load, runs) for load, runs in done if plan.other),
            main.server_pid,
        )


def _in_turns(sessions: Sequence[Session], load: Load, rounds: int, label: str, report: Report) -> list[list[Round]]:
    """The runs of each session: one, or of two sessions several rounds.

    Who begins alternates, so that a machine that becomes slower or faster does so for both.
    """
    if len(sessions) == 1:
        return [[sessions[0].run(load, _progress(label, load, report))]]
    requests = max(load.concurrency or 1, math.ceil(load.requests / rounds))
    part = replace(load, requests=requests, seconds=load.seconds / rounds)
    runs: list[list[Round]] = [[] for _ in sessions]
    for number in range(1, rounds + 1):
        turns = list(zip(sessions, runs))
        for session, mine in turns if number % 2 else turns[::-1]:
            watch = _progress(f"{label}, round {number} of {rounds}, {session.target.url}", part, report)
            mine.append(session.run(part, watch))
    return runs


def _compare(sessions: Sequence[Session], load: Load, runs: Sequence[Sequence[Round]]) -> Ratios:
    """The first session's rounds, where both were measured in full, as multiples of the second's."""
    whole = [pair for pair in zip(*runs) if all(each.samples and not each.truncated for each in pair)]
    levels = [[session.summarise([each], load) for session, each in zip(sessions, pair)] for pair in whole]
    ratios = {}
    for name, read in COMPARED.items():
        pairs = [(read(after), read(before)) for after, before in levels]
        known = [(after, before) for after, before in pairs if after is not None and before is not None]
        if known:
            ratios[name] = ratio_of_rounds([before for _, before in known], [after for after, _ in known])
    return Ratios(load.concurrency, load.rate, ratios)


def caveats(plan: Plan, measured: Measurement) -> list[str]:
    """What makes a result less than it seems, in whole sentences."""
    found = []
    for load, level in zip(plan.levels, measured.levels):
        if level.truncated:
            found.append(f"{load}: only {level.requests} requests were sent within max_seconds ({plan.max_seconds:g}).")
        if level.generator.delay_p99_s > LATE_SECONDS:
            found.append(
                f"{load}: the generator sent requests up to {level.generator.delay_max_s:.2f} s late, and their"
                " latencies contain that. Give it more CPU, or run it on another host."
            )
        if 0 < len(plan.workload.prompts) < level.requests:
            found.append(
                f"{load}: {len(plan.workload.prompts)} prompts for {level.requests} requests; the server may have"
                " answered those that came again from its prefix cache."
            )
    left_out = plan.levels[len(measured.levels) :]
    if left_out:
        names = ", ".join(map(str, left_out))
        found.append(f"Not measured, because max_seconds ({plan.max_seconds:g}) was over: {names}.")
    return found


def _progress(phase: str, load: Load, report: Report) -> Watch:
    started = clock()
    return lambda samples: report(progress_line(phase, samples, load.requests, clock() - started))


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
