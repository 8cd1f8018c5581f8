# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The three endpoints that generate text: what is sent to them, and what their answers say. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Callable

from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.prompts import Request
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.sample import Failure, Sample
from ansible_collections.llmops.ollama.plugins.module_utils.client import error_words
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.words import from_json, seconds

GENERATE = "/api/generate"
CHAT = "/api/chat"
OPENAI = "/v1/chat/completions"
ENDPOINTS = (GENERATE, CHAT, OPENAI)

# What Ollama takes from the body of an OpenAI request; it passes silently over everything else.
OPENAI_OPTIONS = ("frequency_penalty", "presence_penalty", "stop", "temperature", "top_p")

# Options that every request already has, and how they are set.
_OURS = {"num_predict": "max_tokens", "seed": "seed"}

# Its llm/ breaks off an answer without a word when a token comes for the 31st time in a row.
UNFINISHED = "the answer ended without its last object, as Ollama's do when the model repeats one token"

Json = Mapping[str, Any]
Piece = tuple[float, bytes]  # when some bytes of an answer's body had arrived, and the bytes


@dataclass(frozen=True)
class Target:
    """Who is asked, and how. ``timeout`` (seconds) bounds each request. Raises ``InvalidInput``.

    ``options`` are passed through. A runner option (num_ctx, num_thread, …) that differs from what the server has
    makes it reload the model: give those that the clients give.
    """

    url: str
    model: str
    endpoint: str = GENERATE
    stream: bool = True
    options: Json = field(default_factory=dict)
    timeout: float = 300.0

    def __post_init__(self) -> None:
        if self.endpoint not in ENDPOINTS:
            raise InvalidInput(f"endpoint is {self.endpoint!r}.", f"It must be one of {', '.join(ENDPOINTS)}.")
        if not self.model:
            raise InvalidInput("model is empty.", "Name an installed model.")
        seconds("timeout", self.timeout)
        for name in self.options:
            if name in _OURS:
                raise InvalidInput(f"options sets {name}.", f"Use {_OURS[name]}, which sets it for every request.")
            if self.endpoint == OPENAI and name not in OPENAI_OPTIONS:
                raise InvalidInput(
                    f"options sets {name}, which has no effect at {OPENAI}.",
                    f"Leave it out, or use {CHAT}. It takes {', '.join(OPENAI_OPTIONS)}.",
                )

    def body(self, request: Request) -> bytes:
        """The request as JSON."""
        value: dict[str, Any] = {"model": self.model, "stream": self.stream}
        if self.endpoint == GENERATE:
            value["prompt"] = request.prompt
        else:
            value["messages"] = [{"role": "user", "content": request.prompt}]
        if self.endpoint == OPENAI:
            value.update(self.options, max_tokens=request.max_tokens, seed=request.seed)
            if self.stream:
                value["stream_options"] = {"include_usage": True}
        else:
            value["options"] = {**self.options, "num_predict": request.max_tokens, "seed": request.seed}
        return json.dumps(value).encode()


@dataclass(frozen=True)
class _Message:
    """What one object of an answer says. ``tokens`` is None where it does not count them."""

    text: bool
    done: bool
    tokens: int | None = None


def _generate(value: Json) -> _Message:
    # A reasoning model thinks first: those tokens are work of the server, and the user sees them come.
    text = value.get("response") or value.get("thinking")
    return _Message(bool(text), bool(value.get("done")), _count(value.get("eval_count")))


def _chat(value: Json) -> _Message:
    message = value.get("message") or {}
    text = message.get("content") or message.get("thinking")
    return _Message(bool(text), bool(value.get("done")), _count(value.get("eval_count")))


def _openai(value: Json) -> _Message:
    choice: Json = next(iter(value.get("choices") or ()), {})
    message = choice.get("delta") or choice.get("message") or {}
    text = message.get("content") or message.get("reasoning")
    tokens = (value.get("usage") or {}).get("completion_tokens")
    return _Message(bool(text), bool(choice.get("finish_reason")), _count(tokens))


_READ: dict[str, Callable[[Json], _Message]] = {GENERATE: _generate, CHAT: _chat, OPENAI: _openai}


def _count(value: Any) -> int | None:
    return None if value is None else int(value)


def read_answer(target: Target, pieces: Iterable[Piece], due: float, sent: float, end: float) -> Sample:
    """The sample of an answer with status 200 whose body has ended at ``end``."""
    arrivals: list[float] = []
    tokens: int | None = None
    last: float | None = None  # when the last object that had to come was there

    def failed(kind: str, detail: str) -> Sample:
        return Sample(due, end, tuple(arrivals), failure=Failure(kind, detail), sent=sent)

    try:
        for now, line in _objects(target, pieces):
            value = from_json(line)
            if value.get("error"):
                return failed("error_line", error_words(line.decode(), "an error"))
            message = _READ[target.endpoint](value)
            if message.text and target.stream:
                arrivals.append(now)
            if message.tokens is not None:
                tokens = message.tokens
            if message.done or last is not None:
                last = now
    except (ValueError, TypeError, AttributeError, OverflowError):
        return failed("bad_answer", f"the answer is not what {target.endpoint} promises")
    if last is None:
        return failed("broken_stream", UNFINISHED)
    return Sample(due, last, tuple(arrivals), len(arrivals) if tokens is None else tokens, sent=sent)


def _objects(target: Target, pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The JSON objects of a body, each with the time at which its last byte was there."""
    if not target.stream:
        whole = list(pieces)
        if whole:
            yield whole[-1][0], b"".join(piece for _, piece in whole)
        return
    events = target.endpoint == OPENAI
    for now, line in _lines(pieces):
        if not events:
            yield now, line
        elif line.startswith(b"data:") and line != b"data: [DONE]":
            yield now, line[5:]
        elif not line.startswith((b"data:", b":", b"event:", b"id:", b"retry:")):
            yield now, line  # an error object without the frame of an event, or not the protocol


def _lines(pieces: Iterable[Piece]) -> Iterator[Piece]:
    now, rest = 0.0, b""
    for now, piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.strip():
                yield now, line.strip()
    if rest.strip():
        yield now, rest.strip()
