# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark import load
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.load import LoadGenerator
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.prompts import Request, workload
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.sample import Sample
from fake_http import Answer, Stream

ONE = {"response": "a", "done": True, "eval_count": 1}  # an answer of one token
SECONDS = 5.0  # no test waits that long unless the code under test is wrong


def unwatched(samples: Sequence[Sample]) -> None:
    pass


def send(url: str, requests: int = 1, concurrency: int = 1, timeout: float = SECONDS) -> list[Sample]:
    with LoadGenerator(url, "gemma3:270m", concurrency, timeout) as generator:
        return generator.closed_loop(list(islice(workload(1, 8), requests)), math.inf, unwatched)


def failure_of(sample: Sample) -> tuple[str, str]:
    assert sample.failure is not None
    return sample.failure.kind, sample.failure.detail


def test_request_is_what_a_client_sends(server: Any) -> None:
    with LoadGenerator(server.url, "gemma3:270m", 1, SECONDS) as generator:
        generator.closed_loop([Request("Hello", max_tokens=8, seed=5)], math.inf, unwatched)
    assert server.bodies == [
        {"model": "gemma3:270m", "prompt": "Hello", "stream": True, "options": {"num_predict": 8, "seed": 5}}
    ]


def test_sample_of_a_good_answer(server: Any) -> None:
    [sample] = send(server.url)
    assert sample.failure is None
    assert sample.output_tokens == 3, "the server's count, not the number of pieces"
    assert len(sample.arrivals) == 2
    assert sample.start < sample.arrivals[0] <= sample.arrivals[1] <= sample.end


def test_first_token_is_timed_while_the_rest_is_still_to_come(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server sends its second piece only after the client has looked at the clock for the first."""
    looked = [threading.Event() for _ in range(10)]
    ticks = iter(range(10))

    def clock() -> float:
        tick = next(ticks)
        looked[tick].set()
        return float(tick)

    def pieces() -> Iterator[dict[str, Any]]:
        yield {"response": "a"}
        assert looked[2].wait(SECONDS)  # 0: the deadline, 1: the start, 2: the first piece
        yield {"response": "b"}
        assert looked[3].wait(SECONDS)
        yield {"response": "", "done": True, "eval_count": 2}

    server.reply = lambda body: Stream(pieces())
    monkeypatch.setattr(load, "clock", clock)
    assert send(server.url, timeout=60) == [Sample(1.0, 4.0, (2.0, 3.0), 2)]


def test_thinking_is_output_too(server: Any) -> None:
    server.reply = lambda body: Stream([{"thinking": "hm", "response": ""}, {"response": "Yes"}, {"done": True}])
    [sample] = send(server.url)
    assert (len(sample.arrivals), sample.output_tokens) == (2, 2), "the pieces count where the server does not"


def test_lines_may_be_split_and_joined_on_the_way(server: Any) -> None:
    server.reply = lambda body: Stream(
        [
            b'{"response": "\xc3',
            b'\xa9"}\n\n{"response": "b"}\n{"resp',
            b'onse": "", "done": true, "eval_count": 2}',  # and no newline at the end
        ]
    )
    [sample] = send(server.url)
    assert (sample.failure, len(sample.arrivals), sample.output_tokens) == (None, 2, 2)


def test_exactly_the_concurrency_is_under_way(server: Any) -> None:
    """Each round of three passes a barrier of three: fewer under way would block it, more would be counted."""
    together = threading.Barrier(3, timeout=SECONDS)
    lock = threading.Lock()
    inside = most = 0

    def reply(body: dict[str, Any]) -> Stream:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        together.wait()
        with lock:
            inside -= 1
        together.wait()
        return Stream([ONE])

    server.reply = reply
    samples = send(server.url, requests=12, concurrency=3)
    assert [sample.failure for sample in samples] == [None] * 12
    assert most == 3
    assert len(server.connections) == 3, "each worker keeps its connection"


def test_connection_outlives_an_error_answer(server: Any) -> None:
    server.reply = lambda body: Answer(503, {"error": "server busy, please try again"})
    samples = send(server.url, requests=4)
    assert [failure_of(sample) for sample in samples] == [("http_503", "server busy, please try again")] * 4
    assert len(server.connections) == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(404, {"error": "model 'gemma3:270m' not found"}), "http_404"),
        (Answer(429), "http_429"),
        (Answer(502, b"<html><h1>Bad Gateway</h1></html>"), "http_502"),
        (None, "broken_stream"),
        (Stream([{"response": "a"}], broken=True), "broken_stream"),
        (Stream([{"response": "a"}]), "broken_stream"),
        (Stream([]), "broken_stream"),
        (Stream([b"\n"]), "broken_stream"),
        (Stream([{"response": "a"}, {"error": "llama runner process has terminated"}]), "error_line"),
        (Stream([b"<html>Welcome to nginx</html>\n"]), "bad_answer"),
        (Stream([["a list"]]), "bad_answer"),
        (Stream(["a string"]), "bad_answer"),
        (Stream([5]), "bad_answer"),
        (Stream([{"done": True, "eval_count": "many"}]), "bad_answer"),
        (Stream([b"\xff\xfe\n"]), "bad_answer"),
    ],
)
def test_failures_of_an_answering_server(server: Any, answer: Any, kind: str) -> None:
    server.reply = lambda body: answer
    [sample] = send(server.url)
    assert failure_of(sample)[0] == kind
    assert failure_of(sample)[1], "the detail says something"
    assert sample.end >= sample.start


def test_silence_is_a_timeout(server: Any) -> None:
    over = threading.Event()

    def silent() -> Iterator[dict[str, Any]]:
        yield {"response": "a"}
        over.wait(SECONDS)

    server.reply = lambda body: Stream(silent())
    [in_the_middle] = send(server.url, timeout=0.1)
    server.reply = lambda body: over.wait(SECONDS) and None
    [from_the_start] = send(server.url, timeout=0.1)
    over.set()
    assert failure_of(in_the_middle)[0] == "timeout"
    assert failure_of(from_the_start)[0] == "timeout"


def test_a_trickle_cannot_outlast_the_timeout(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every piece is in time for the socket, all together are not."""
    ticks = iter(range(100))
    monkeypatch.setattr(load, "clock", lambda: float(next(ticks)))
    server.reply = lambda body: Stream([{"response": "a"}] * 20)
    [sample] = send(server.url, timeout=10)
    assert failure_of(sample) == ("timeout", "the answer was not complete after 10 s")
    assert len(sample.arrivals) == 10


def test_nobody_there(nobody: str) -> None:
    [sample] = send(nobody)
    assert failure_of(sample) == ("refused", "Connection refused")


@pytest.mark.parametrize("url", ["http://name.invalid:11434", "localhost:11434", "http://[", "http://", "ftp://x"])
def test_unusable_addresses_are_failures_too(url: str) -> None:
    [sample] = send(url)
    assert failure_of(sample)[0] == "unreachable"
    assert failure_of(sample)[1]


def test_after_the_deadline_nothing_is_sent(server: Any) -> None:
    seen: list[int] = []
    with LoadGenerator(server.url, "m", 2, SECONDS) as generator:
        requests = list(islice(workload(1, 8), 5))
        assert generator.closed_loop(requests, load.clock() - 1, unwatched) == []
        assert server.bodies == []
        assert len(generator.closed_loop(requests, math.inf, lambda samples: seen.append(len(samples)))) == 5
    assert seen[-1] == 5, "the watcher sees the end"


def test_requests_under_way_at_the_deadline_are_waited_for(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(load, "clock", lambda: now)

    def slow(body: dict[str, Any]) -> Stream:
        nonlocal now
        now += 10.0
        return Stream([ONE])

    server.reply = slow
    with LoadGenerator(server.url, "m", 1, 60) as generator:
        samples = generator.closed_loop(list(islice(workload(1, 8), 5)), 15.0, unwatched)
    assert [sample.latency for sample in samples] == [10.0, 10.0]
    assert all(sample.failure is None for sample in samples)
