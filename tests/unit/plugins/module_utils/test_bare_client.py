# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The tuner's own client: what it reads, and what it makes of other services."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.bare_client import BareClient
from ansible_collections.llmops.ollama.plugins.module_utils.errors import (
    InvalidInput,
    NotFound,
    UnexpectedAnswer,
    Unreachable,
)
from fake_http import Answer, FakeServer


def test_it_reads_what_the_server_says_over_one_connection(server: FakeServer) -> None:
    server.queue = [
        Answer(200, {"models": [{"name": "m"}, "junk"]}),
        Answer(200, {"models": None}),
        Answer(200, {"models": 5}),
        Answer(200, {"models": True}),
        Answer(200, {"a": 1}),
    ]
    client = BareClient(server.url, 5.0)
    assert client.tags() == [{"name": "m"}]
    assert [client.tags() for _answer in range(3)] == [[], [], []]
    assert client.show("m:1") == {"a": 1}
    assert server.log[-1] == "POST /api/show"
    assert server.bodies[-1] == {"model": "m:1"}
    server.queue = [Answer(200, {"a": [1]})]
    assert client.show("m:1", verbose=True) == {"a": [1]}
    assert server.bodies[-1] == {"model": "m:1", "verbose": True}
    assert len(server.connections) == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(404, {"error": "not found"}), NotFound),
        (Answer(500, {"error": "broken"}), UnexpectedAnswer),
        (Answer(200, b"<html>"), UnexpectedAnswer),
        (Answer(200, ["a"]), UnexpectedAnswer),
        (Answer(200, b"[" * 100_000), UnexpectedAnswer),
        (None, Unreachable),
    ],
)
def test_anything_else_is_an_error(server: FakeServer, answer: Any, error: type[Exception]) -> None:
    server.queue = [answer]
    with pytest.raises(error, match="/api/show"):
        BareClient(server.url, 5.0).show("m")


def test_nobody_there(closed_port: int) -> None:
    with pytest.raises(Unreachable, match=f"127.0.0.1:{closed_port}/api/tags"):
        BareClient(f"http://127.0.0.1:{closed_port}", 5.0).tags()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:11434",
        "ftp://host",
        "http://",
        "http://127.0.0.1:1143x",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:0",
        "http://[::1",
        "http://a..b:11434",
        "http://a b",
        "http://a\x01b",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(f"url is {url!r}") + ".* http://HOST:PORT"):
        BareClient(url, 5.0)


def test_the_tuner_does_not_import_requests() -> None:
    """It is what the module's limit of CPU time rests on."""
    module = "ansible_collections.llmops.ollama.plugins.modules.tuning_facts"
    code = f"import sys; sys.path[:] = {sys.path!r}; import {module}; print('requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout == b"False\n"
