# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils import errors
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.prompts import Request
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.protocol import (
    CHAT,
    GENERATE,
    OPENAI,
    UNFINISHED,
    Target,
    read_answer,
)
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.sample import Failure, Sample
from hypothesis import given
from hypothesis import strategies as st

URL = "http://127.0.0.1:11434"
REQUEST = Request("Hello", max_tokens=8, seed=5)


def target(endpoint: str, stream: bool = True, **options: Any) -> Target:
    return Target(URL, "gemma3:270m", endpoint, stream, options)


def answer(endpoint: str, *pieces: bytes, stream: bool = True) -> Sample:
    """Pieces that arrive at 1, 2, 3, ... after a request that was due at 0 and sent at 0.5."""
    timed = [(float(number), piece) for number, piece in enumerate(pieces, 1)]
    return read_answer(target(endpoint, stream), timed, 0.0, 0.5, len(pieces) + 1.0)


# As Ollama 0.34 sends them.
GENERATED = (
    b'{"model":"m","created_at":"2026-01-01T00:00:00Z","response":"Hel","done":false}\n',
    b'{"model":"m","created_at":"2026-01-01T00:00:00Z","response":"lo","done":false}\n',
    b'{"model":"m","response":"","done":true,"done_reason":"length","context":[2,5],"eval_count":2}\n',
)
CHATTED = (
    b'{"model":"m","message":{"role":"assistant","content":"Hel"},"done":false}\n',
    b'{"model":"m","message":{"role":"assistant","content":"lo"},"done":false}\n',
    b'{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","eval_count":2}\n',
)
EVENTS = (
    b'data: {"id":"1","choices":[{"index":0,"delta":{"role":"assistant","content":"Hel"},"finish_reason":null}]}\n\n',
    b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"lo"},"finish_reason":null}]}\n\n',
    b'data: {"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\n',
    b'data: {"id":"1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}\n\n',
    b"data: [DONE]\n\n",
)
STREAMS = {GENERATE: GENERATED, CHAT: CHATTED, OPENAI: EVENTS}


@pytest.mark.parametrize(
    ("endpoint", "stream", "expected"),
    [
        (GENERATE, True, {"prompt": "Hello", "options": {"temperature": 0, "num_predict": 8, "seed": 5}}),
        (
            CHAT,
            False,
            {
                "messages": [{"role": "user", "content": "Hello"}],
                "options": {"temperature": 0, "num_predict": 8, "seed": 5},
            },
        ),
        (
            OPENAI,
            True,
            {
                "messages": [{"role": "user", "content": "Hello"}],
                "temperature": 0,
                "max_tokens": 8,
                "seed": 5,
                "stream_options": {"include_usage": True},
            },
        ),
    ],
)
def test_body_of_a_request(endpoint: str, stream: bool, expected: dict[str, Any]) -> None:
    body = json.loads(target(endpoint, stream, temperature=0).body(REQUEST))
    assert body == {"model": "gemma3:270m", "stream": stream, **expected}


def test_without_a_stream_no_usage_is_asked_for() -> None:
    assert "stream_options" not in json.loads(target(OPENAI, stream=False).body(REQUEST))


@pytest.mark.parametrize("endpoint", STREAMS)
def test_streams(endpoint: str) -> None:
    end = {GENERATE: 3.0, CHAT: 3.0, OPENAI: 4.0}[endpoint]
    assert answer(endpoint, *STREAMS[endpoint]) == Sample(0.0, end, (1.0, 2.0), 2, sent=0.5)


@given(st.sampled_from(sorted(STREAMS)), st.lists(st.integers(0, 400), max_size=12))
def test_a_stream_may_be_cut_anywhere(endpoint: str, cuts: list[int]) -> None:
    """What it says does not depend on how it came, and no token comes before its last byte."""
    whole = b"".join(STREAMS[endpoint])
    bounds = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    sample = answer(endpoint, *(whole[start:end] for start, end in zip(bounds, bounds[1:], strict=False)))
    assert (sample.failure, len(sample.arrivals), sample.output_tokens) == (None, 2, 2)
    for arrival, text in zip(sample.arrivals, (b"Hel", b"lo"), strict=True):
        assert bounds[int(arrival)] >= whole.index(b'"' + text + b'"') + len(text) + 2


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        (GENERATE, b'{"response": "Hello", "done": true, "eval_count": 2}'),
        (CHAT, b'{"message": {"content": "Hello"}, "done": true, "eval_count": 2}'),
        (OPENAI, b'{"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}],'
                 b' "usage": {"completion_tokens": 2}}'),
    ],
)  # fmt: skip
def test_a_whole_answer_has_no_first_token(endpoint: str, body: bytes) -> None:
    sample = answer(endpoint, body[:10], body[10:], stream=False)
    assert sample == Sample(0.0, 2.0, (), 2, sent=0.5)
    assert (sample.ttft, sample.tpot, sample.latency) == (None, None, 2.0)


@pytest.mark.parametrize(
    ("endpoint", "pieces"),
    [
        (GENERATE, (b'{"thinking": "hm", "response": ""}\n', b'{"response": "Yes"}\n', b'{"done": true}\n')),
        (
            CHAT,
            (
                b'{"message": {"thinking": "hm", "content": ""}}\n',
                b'{"message": {"content": "Yes"}}\n',
                b'{"done": true}\n',
            ),
        ),
        (
            OPENAI,
            (
                b'data: {"choices": [{"delta": {"reasoning": "hm", "content": ""}}]}\n\n',
                b'data: {"choices": [{"delta": {"content": "Yes"}}]}\n\n',
                b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n',
            ),
        ),
    ],
)
def test_thinking_is_output_too(endpoint: str, pieces: tuple[bytes, ...]) -> None:
    sample = answer(endpoint, *pieces)
    assert (len(sample.arrivals), sample.output_tokens) == (2, 2), "the pieces count where the server does not"


@pytest.mark.parametrize(
    ("endpoint", "pieces", "failure"),
    [
        (GENERATE, GENERATED[:2], Failure("broken_stream", UNFINISHED)),
        (GENERATE, (), Failure("broken_stream", UNFINISHED)),
        (OPENAI, EVENTS[:2], Failure("broken_stream", UNFINISHED)),
        (GENERATE, (*GENERATED[:1], b'{"error": "runner has terminated."}\n'),
         Failure("error_line", "runner has terminated")),
        (OPENAI, (b'data: {"error": {"message": "out of memory", "type": "api_error"}}\n\n',),
         Failure("error_line", "out of memory")),
        (OPENAI, (b'{"error": {"message": "out of memory"}}\n',), Failure("error_line", "out of memory")),
        (GENERATE, (b"<html>\n",), Failure("bad_answer", "the answer is not what /api/generate promises")),
        (OPENAI, (b"<html>\n",), Failure("bad_answer", "the answer is not what /v1/chat/completions promises")),
        (GENERATE, (b"[" * 100_000 + b"\n",), Failure("bad_answer", "the answer is not what /api/generate promises")),
        (GENERATE, (b'{"done": true, "eval_count": 1e999}\n',),
         Failure("bad_answer", "the answer is not what /api/generate promises")),
        (OPENAI, (b'data: {"choices": 5}\n\n',),
         Failure("bad_answer", "the answer is not what /v1/chat/completions promises")),
        (CHAT, (b'{"message": "text"}\n',), Failure("bad_answer", "the answer is not what /api/chat promises")),
    ],
)  # fmt: skip
def test_answers_that_are_none(endpoint: str, pieces: tuple[bytes, ...], failure: Failure) -> None:
    assert answer(endpoint, *pieces).failure == failure


def test_comments_of_an_event_stream_are_passed_over() -> None:
    pieces = (b": ping\n\n", EVENTS[0], b"event: message\n" + EVENTS[1], *EVENTS[2:])
    assert answer(OPENAI, *pieces).output_tokens == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"endpoint": "/api/embed"}, "endpoint is '/api/embed'. It must be one of /api/generate, /api/chat, /v1"),
        ({"model": ""}, "model is empty"),
        ({"timeout": 0.0}, "timeout is 0 seconds"),
        ({"options": {"num_predict": -1}}, "options sets num_predict. Use max_tokens"),
        ({"options": {"seed": 1}}, "options sets seed. Use seed"),
        ({"endpoint": OPENAI, "options": {"num_ctx": 8192}}, "num_ctx, which has no effect at /v1/chat/completions"),
    ],
)
def test_unusable_targets(values: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.InvalidInput, match=message):
        Target(**{"url": URL, "model": "m", **values})
