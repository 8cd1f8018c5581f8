# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils import errors
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark import load
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.measure import (
    Measurement,
    Plan,
    measure,
    progress_line,
)
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.sample import Failure, Sample
from fake_http import Answer, Stream

ONE = {"response": "a", "done": True, "eval_count": 1}  # an answer of one token
PLAN = Plan(
    url="http://127.0.0.1:1",
    model="gemma3:270m",
    requests=6,
    concurrency=2,
    max_tokens=8,
    warmup=3,
    seed=1,
    single=True,
    timeout=5.0,
    max_seconds=60.0,
)


def run(url: str, **changes: Any) -> Measurement:
    return measure(replace(PLAN, url=url, **changes), lambda text: None)


def good(latency: float) -> Sample:
    return Sample(0.0, latency, (latency,), 1)


def test_warm_up_then_single_then_load(server: Any) -> None:
    measured = run(server.url)
    prompts = [body["prompt"] for body in server.bodies]
    assert len(prompts) == 3 + 1 + 6
    assert prompts[3] == "Explain RAG in one sentence"
    assert len(set(prompts)) == 10, "the load repeats nothing that the warm-up has put into the server's cache"
    assert (measured.load.requests, measured.load.concurrency, measured.load.truncated) == (6, 2, False)
    assert measured.load.output_tokens == 18
    assert measured.single is not None
    assert measured.single.output_tokens == 3


def test_warm_up_and_single_are_optional(server: Any) -> None:
    measured = run(server.url, warmup=0, single=False)
    assert len(server.bodies) == 6
    assert measured.single is None


def test_the_same_seed_sends_the_same_requests(server: Any) -> None:
    run(server.url, concurrency=1)
    run(server.url, concurrency=1)
    assert server.bodies[:10] == server.bodies[10:]


def test_some_errors_are_counted(server: Any) -> None:
    def every_third_fails(body: dict[str, Any]) -> Answer | Stream:
        return Stream([ONE]) if len(server.bodies) % 3 else Answer(429, {"error": "too many requests"})

    server.reply = every_third_fails
    level = run(server.url, concurrency=1, single=False).load
    assert (level.requests, level.errors, level.error_rate) == (6, {"http_429": 2}, round(2 / 6, 6))


def test_nobody_there(nobody: str) -> None:
    with pytest.raises(errors.Unreachable) as raised:
        run(nobody)
    assert str(raised.value) == (
        f"Nothing answers at {nobody}: Connection refused. "
        "Check that the service runs (systemctl status ollama) and that the address and port are right."
    )


def test_model_that_does_not_exist_is_reported_after_the_warm_up(server: Any) -> None:
    server.reply = lambda body: Answer(404, {"error": "model 'gemma3:270m' not found"})
    with pytest.raises(errors.NotFound) as raised:
        run(server.url)
    assert str(raised.value).startswith(
        f"{server.url} cannot serve model 'gemma3:270m': model 'gemma3:270m' not found. Pull the model first"
    )
    assert len(server.bodies) == 3


@pytest.mark.parametrize(
    ("changes", "phase", "count"),
    [({}, "warm-up", 3), ({"warmup": 0}, "single request", 1), ({"warmup": 0, "single": False}, "load", 6)],
)
def test_a_phase_in_which_everything_fails(server: Any, changes: dict[str, Any], phase: str, count: int) -> None:
    server.reply = lambda body: Answer(500, {"error": "llama runner process has terminated"})
    with pytest.raises(errors.Unhealthy) as raised:
        run(server.url, **changes)
    assert raised.value.problem == (
        f"Every request of the {phase} to {server.url} failed ({count} x http_500): "
        "llama runner process has terminated."
    )


def test_time_is_up_before_the_load(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer takes 10 s of the 25 s that the run may last: two of the three warm-up requests are sent."""
    now = 0.0

    def slow(body: dict[str, Any]) -> Stream:
        nonlocal now
        now += 10.0
        return Stream([ONE])

    server.reply = slow
    monkeypatch.setattr(load, "clock", lambda: now)
    monkeypatch.setattr("ansible_collections.llmops.ollama.plugins.module_utils.benchmark.measure.clock", lambda: now)
    with pytest.raises(errors.OllamaError, match=r"The load of the benchmark could not begin: its 25 s were over"):
        run(server.url, concurrency=1, single=False, warmup=3, timeout=60.0, max_seconds=25.0)
    server.bodies.clear()
    now = 0.0
    level = run(server.url, concurrency=1, single=False, warmup=1, timeout=60.0, max_seconds=35.0).load
    assert (level.requests, level.truncated, level.duration_s) == (3, True, 30.0)


@pytest.mark.parametrize(
    ("samples", "total", "elapsed", "expected"),
    [
        ([], 100, 0.5, "load 0/100 done"),
        ([good(1.0)] * 40 + [good(4.1)] * 2, 100, 14.0, "load 42/100 done, 3.0 requests/s, p95 1.0 s, 19 s left"),
        ([good(2.0)] * 100, 100, 50.0, "load 100/100 done, 2.0 requests/s, p95 2.0 s"),
        (
            [good(2.0), Sample(0.0, 0.1, failure=Failure("http_429", ""))],
            4,
            10.0,
            "load 2/4 done, 0.1 requests/s, p95 2.0 s, 1 failed, 10 s left",
        ),
        ([Sample(0.0, 0.1, failure=Failure("timeout", ""))], 2, 10.0, "load 1/2 done, 1 failed, 10 s left"),
    ],
)
def test_progress_line(samples: list[Sample], total: int, elapsed: float, expected: str) -> None:
    assert progress_line("load", samples, total, elapsed) == expected


def test_progress_names_each_phase(server: Any) -> None:
    lines: list[str] = []
    measure(replace(PLAN, url=server.url), lines.append)
    assert lines[-1].startswith("load 6/6 done, ")
    assert {line.split(" ")[0] for line in lines} == {"warm-up", "single", "load"}
