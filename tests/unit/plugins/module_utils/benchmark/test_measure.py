# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils import errors
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.load import Load
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.measure import (
    Measurement,
    caveats,
    measure,
    progress_line,
)
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.plan import Plan
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.prompts import Workload
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.protocol import Target
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.sample import Failure, Sample
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.statistics import Slo
from fake_http import Answer, FakeServer, Stream

ONE = {"response": "a", "done": True, "eval_count": 1}  # an answer of one token


def plan(url: str, **changes: Any) -> Plan:
    default = Plan(
        Target(url, "gemma3:270m", timeout=5.0),
        Workload(seed=1, max_tokens=8),
        (Load(2, requests=6),),
        Load(2, requests=3),
        max_seconds=60.0,
    )
    return replace(default, **changes)


def run(url: str, **changes: Any) -> Measurement:
    return measure(plan(url, **changes), lambda text: None)


def good(latency: float) -> Sample:
    return Sample(0.0, latency, (latency,), 1)


def test_warm_up_then_single_then_the_levels(server: Any) -> None:
    measured = run(server.url, levels=(Load(1, requests=4), Load(3, requests=6), Load(3, requests=5)))
    prompts = [body["prompt"] for body in server.bodies]
    assert len(set(prompts)) == 3 + 1 + 4 + 6 + 5, "nothing is repeated that is in the server's cache already"
    assert prompts[3] == "Explain RAG in one sentence"
    assert [(level.concurrency, level.requests) for level in measured.levels] == [(1, 4), (3, 6), (3, 5)]
    assert measured.single is not None
    assert measured.single.output_tokens == 3
    assert (measured.others, measured.compared, measured.server_pid) == ((), (), None)


def test_warm_up_and_single_are_optional(server: Any) -> None:
    measured = run(server.url, warmup=None, single=False)
    assert len(server.bodies) == 6
    assert measured.single is None


def test_the_same_seed_sends_the_same_requests(server: Any) -> None:
    for _ in range(2):
        run(server.url, warmup=Load(1, requests=3), levels=(Load(1, requests=6),))
    assert server.bodies[:10] == server.bodies[10:]


def test_rates_and_concurrencies_cannot_outlast_the_run(server: Any) -> None:
    """A level that would take 1000 s, in a run of half a second; the level after it does not begin."""
    slow = Load(rate=0.1, requests=100, arrivals="constant")
    levels = (Load(1, requests=2), slow, Load(2, requests=5))
    given = plan(server.url, levels=levels, max_seconds=0.5)
    measured = measure(given, lambda text: None)
    assert [(level.requests, level.truncated) for level in measured.levels] == [(2, False), (1, True)]
    assert caveats(given, measured) == [
        "0.1 per second: only 1 requests were sent within max_seconds (0.5).",
        "Not measured, because max_seconds (0.5) was over: 2 at a time.",
    ]


def test_own_prompts_that_come_again_are_a_caveat(server: Any) -> None:
    given = plan(server.url, workload=Workload(1, prompts=("one", "two")))
    measured = measure(given, lambda text: None)
    assert caveats(given, measured) == [
        "2 at a time: 2 prompts for 6 requests; the server may have answered those that came again from its prefix"
        " cache."
    ]


def test_a_level_in_which_everything_fails_is_a_result_beside_others(server: Any) -> None:
    server.queue = [*[Stream([ONE])] * 4, *[Answer(503, {"error": "server busy"})] * 5]
    levels = (Load(1, requests=4), Load(5, requests=5))
    measured = run(server.url, warmup=None, single=False, levels=levels)
    assert [level.error_rate for level in measured.levels] == [0.0, 1.0]
    assert measured.levels[1].errors == {"http_503": 5}


@pytest.mark.parametrize(
    ("changes", "phase", "count"),
    [({}, "warm-up", 3), ({"warmup": None}, "single request", 1), ({"warmup": None, "single": False}, "load", 6)],
)
def test_a_phase_in_which_everything_fails(server: Any, changes: dict[str, Any], phase: str, count: int) -> None:
    server.reply = lambda body: Answer(500, {"error": "llama runner process has terminated"})
    with pytest.raises(errors.Unhealthy) as raised:
        run(server.url, **changes)
    assert raised.value.problem == (
        f"Every request of the {phase} to {server.url} failed ({count} x http_500): "
        "llama runner process has terminated."
    )


def test_nobody_there(nobody: str) -> None:
    with pytest.raises(errors.Unreachable) as raised:
        run(nobody)
    assert str(raised.value) == (
        f"Nothing answers at {nobody}: Connection refused. "
        "Check that the service runs (systemctl status ollama) and that the address and port are right."
    )


class Recorded(FakeServer):
    """Notes in a list that it shares with others which of them was asked."""

    def __init__(self, name: str, order: list[str], tokens: int) -> None:
        super().__init__()
        self._name, self._order, self._tokens = name, order, tokens

    def answer(self, request: str, body: dict[str, Any]) -> Stream:
        self._order.append(self._name)
        return Stream([{"response": "a"}, {"response": "b", "done": True, "eval_count": self._tokens}])


def test_two_addresses_are_measured_in_turns() -> None:
    order: list[str] = []
    with Recorded("main", order, 4) as main, Recorded("other", order, 2) as other:
        measured = run(
            main.url,
            other=Target(other.url, "gemma3:270m", timeout=5.0),
            warmup=None,
            single=False,
            levels=(Load(1, requests=10),),
            rounds=5,
            slo=Slo(latency_s=5.0),
        )
    assert order == [*["main"] * 2, *["other"] * 4, *["main"] * 4, *["other"] * 4, *["main"] * 4, *["other"] * 2]
    for one, two in zip(main.bodies, other.bodies, strict=True):
        assert one["prompt"] != two["prompt"], "neither may be answered from what a cache kept of the other"
        assert one["prompt"].split()[1:] == two["prompt"].split()[1:]
        assert one["options"] == two["options"]
    [level], [beside], [compared] = measured.levels, measured.others, measured.compared
    assert (level.requests, beside.requests, level.output_tokens, beside.output_tokens) == (10, 10, 40, 20)
    assert compared.concurrency == 1
    assert set(compared.ratios) == {
        "requests_per_second",
        "output_tokens_per_second",
        "goodput",
        "ttft_p50_s",
        "tpot_p50_s",
        "latency_p50_s",
    }
    for ratio in compared.ratios.values():
        assert ratio.rounds == 5
        assert ratio.low is not None
        assert ratio.ratio is not None
        assert ratio.low <= ratio.ratio


def test_a_round_is_never_smaller_than_its_concurrency() -> None:
    order: list[str] = []
    with Recorded("main", order, 1) as main, Recorded("other", order, 1) as other:
        run(
            main.url,
            other=Target(other.url, "m", timeout=5.0),
            warmup=None,
            single=False,
            levels=(Load(4, requests=6),),
            rounds=3,
        )
    assert order.count("main") == order.count("other") == 12


def test_progress_is_reported(server: Any) -> None:
    lines: list[str] = []
    measure(plan(server.url, levels=(Load(1, requests=2), Load(rate=50.0, requests=3))), lines.append)
    assert [line.split(" done")[0] for line in lines] == [
        "warm-up 3/3",
        "single request 1/1",
        "level 1 of 2 (1 at a time) 2/2",
        "level 2 of 2 (50 per second) 3/3",
    ]


@pytest.mark.parametrize(
    ("samples", "elapsed", "line"),
    [
        ([], 2.0, "load 0/10 done"),
        ([good(1.0)] * 4, 2.0, "load 4/10 done, 2.0 requests/s, p95 1.0 s, 3 s left"),
        ([good(1.0)] * 10, 5.0, "load 10/10 done, 2.0 requests/s, p95 1.0 s"),
        ([Sample(0.0, 1.0, failure=Failure("timeout", "x"))], 1.0, "load 1/10 done, 1 failed, 9 s left"),
    ],
)
def test_progress_line(samples: list[Sample], elapsed: float, line: str) -> None:
    assert progress_line("load", samples, 10, elapsed) == line
