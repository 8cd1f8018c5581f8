# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils import errors
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.load import Load, clock
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.prompts import Workload
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.protocol import CHAT, OPENAI, Target
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.session import Session
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.statistics import Slo
from fake_http import Answer, Stream

WORKLOAD = Workload(seed=1, max_tokens=8)


def session(url: str, **options: Any) -> Session:
    return Session(Target(url, "gemma3:270m", timeout=5.0), WORKLOAD, **options)


def test_no_request_is_sent_twice(server: Any) -> None:
    with session(server.url) as asked:
        asked.warm_up(Load(2, requests=3))
        asked.single()
        asked.measure(Load(2, requests=4))
        level = asked.measure(Load(rate=500.0, requests=5))
    prompts = [body["prompt"] for body in server.bodies]
    assert len(set(prompts)) == 3 + 1 + 4 + 5
    assert prompts[3] == "Explain RAG in one sentence"
    assert (level.concurrency, level.rate, level.requests, level.output_tokens) == (None, 500.0, 5, 15)


def test_two_sessions_send_the_same_and_two_sides_the_same_but_for_the_names(server: Any) -> None:
    for side in (0, 0, 1):
        with session(server.url, side=side) as asked:
            asked.run(Load(1, requests=3))
    first, second, other = (server.bodies[start : start + 3] for start in (0, 3, 6))
    assert first == second
    assert [body["options"] for body in other] == [body["options"] for body in first]
    assert not {body["prompt"] for body in other} & {body["prompt"] for body in first}


@pytest.mark.parametrize("endpoint", [CHAT, OPENAI])
def test_other_endpoints(server: Any, endpoint: str) -> None:
    chat = [{"message": {"content": "a"}}, {"message": {"content": "b"}, "done": True, "eval_count": 2}]
    events = [
        b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n',
        b'data: {"choices": [{"delta": {"content": "b"}, "finish_reason": "length"}]}\n\n',
        b'data: {"choices": [], "usage": {"completion_tokens": 2}}\n\ndata: [DONE]\n\n',
    ]
    server.reply = lambda body: Stream(chat if endpoint == CHAT else events)
    with Session(Target(server.url, "m", endpoint), WORKLOAD, Slo(ttft_s=5.0)) as asked:
        level = asked.measure(Load(2, requests=4))
    assert server.log == [f"POST {endpoint}"] * 4
    assert (level.output_tokens, level.errors, level.slo_met) == (8, {}, 1.0)
    assert level.ttft_s


def test_some_errors_are_counted(server: Any) -> None:
    server.queue = [Answer(429, {"error": "too many requests"})] * 2
    with session(server.url) as asked:
        level = asked.measure(Load(1, requests=6))
    assert (level.requests, level.errors, level.error_rate) == (6, {"http_429": 2}, round(2 / 6, 6))
    assert level.error_examples == {"http_429": "too many requests"}


def test_a_warm_up_in_which_everything_fails(server: Any) -> None:
    server.reply = lambda body: Answer(404, {"error": "model 'gemma3:270m' not found"})
    with session(server.url) as asked, pytest.raises(errors.NotFound) as raised:
        asked.warm_up(Load(1, requests=2))
    assert str(raised.value).startswith(
        f"{server.url} cannot serve model 'gemma3:270m': model 'gemma3:270m' not found. Pull the model first"
    )


def test_a_warm_up_for_which_no_time_is_left(server: Any) -> None:
    with session(server.url, until=clock() - 1) as asked:
        with pytest.raises(errors.OllamaError, match="The warm-up of the benchmark could not begin: its time was over"):
            asked.warm_up(Load(1, requests=2))
        asked.warm_up(Load(1, requests=2), cancelled=lambda: True)
    assert server.bodies == []


def test_what_the_server_and_the_generator_take_is_measured_apart(server: Any) -> None:
    """This process plays the server's part too: whatever it takes is the generator's and the server's."""
    with session(server.url, server_pid=os.getpid()) as asked:
        level = asked.measure(Load(4, requests=200))
    assert level.server
    assert level.server.rss_peak_mb > 10
    assert level.generator.cpu_s > 0
    assert 0 < level.generator.cpu_cores <= 1.05 * level.generator.cpu_s / level.duration_s
    assert level.server.cpu_s == pytest.approx(level.generator.cpu_s, abs=0.1)
    assert 0 <= level.generator.delay_p99_s <= level.generator.delay_max_s
    assert level.generator.longest_turn_s > 0
