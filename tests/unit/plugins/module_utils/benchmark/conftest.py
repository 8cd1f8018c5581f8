# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A server that generates text as a test tells it to."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Callable

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.protocol import ENDPOINTS
from fake_http import Answer, FakeServer, Stream


class FakeGenerate(FakeServer):
    """Answers every request with two pieces of text (three tokens) unless a test replaces ``reply``."""

    def __init__(self) -> None:
        super().__init__()
        self.reply: Callable[[dict[str, Any]], Answer | Stream | None] = lambda body: Stream(
            [
                {"response": "Hello", "done": False},
                {"response": " there", "done": False},
                {"response": "", "done": True, "done_reason": "length", "eval_count": 3},
            ]
        )

    def answer(self, request: str, body: dict[str, Any]) -> Answer | Stream | None:
        assert request in {f"POST {endpoint}" for endpoint in ENDPOINTS}
        return self.reply(body)


@pytest.fixture
def server() -> Iterator[FakeGenerate]:
    with FakeGenerate() as fake:
        yield fake


@pytest.fixture
def nobody() -> str:
    """An address of this machine where nothing listens."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        return f"http://127.0.0.1:{closed.server_port}"
