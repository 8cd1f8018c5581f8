# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.wire import BadHttp, Response
from hypothesis import given
from hypothesis import strategies as st

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nHello\r\n8;name=value\r\n, world!\r\n0\r\nX-Trailer: 1\r\n\r\n"
)
SIZED = b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\nHello, world!"


def read(data: bytes, *cuts: int) -> tuple[Response, bytes]:
    response, body = Response(), b""
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, end in zip(bounds, bounds[1:], strict=False):
        assert not response.complete
        body += response.feed(data[start:end])
    return response, body


@given(st.sampled_from([CHUNKED, SIZED]), st.lists(st.integers(1, 200)))
def test_an_answer_may_be_cut_anywhere(data: bytes, cuts: list[int]) -> None:
    response, body = read(data, *cuts)
    assert (response.status, response.complete, response.keep_alive, body) == (200, True, True, b"Hello, world!")


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.lists(st.integers(1, 2000)))
def test_any_chunks_come_out_as_they_went_in(pieces: list[bytes], cuts: list[int]) -> None:
    """Also those that look like the end of an answer."""
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    response, body = read(data, *cuts)
    assert (response.complete, body) == (True, b"".join(pieces))


@pytest.mark.parametrize(
    ("head", "keep_alive"),
    [
        (b"HTTP/1.1 200 OK\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n", False),
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n", True),
    ],
)
def test_whether_the_connection_may_be_used_again(head: bytes, keep_alive: bool) -> None:
    response, _ = read(head + b"Content-Length: 0\r\n\r\n")
    assert (response.complete, response.keep_alive) == (True, keep_alive)


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    response, body = read(b"HTTP/1.1 200 OK\r\n\r\nHello")
    assert (response.complete, body) == (False, b"Hello")
    response.close()
    assert (response.complete, response.keep_alive) == (True, False)


@pytest.mark.parametrize("data", [SIZED[:-1], CHUNKED[:-1], CHUNKED[:20], b""])
def test_a_connection_that_ends_too_early_completes_nothing(data: bytes) -> None:
    response, _ = read(data)
    response.close()
    assert not response.complete


def test_an_interim_answer_is_passed_over() -> None:
    response, body = read(b"HTTP/1.1 100 Continue\r\n\r\n" + SIZED)
    assert (response.status, body) == (200, b"Hello, world!")


def test_no_content() -> None:
    response, _ = read(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (response.status, response.reason, response.complete) == (204, "No Content", True)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 fine\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nmany\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000,
    ],
)
def test_what_is_not_http(data: bytes) -> None:
    with pytest.raises(BadHttp):
        read(data)
