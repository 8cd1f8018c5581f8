# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The client against real sockets: every way in which a server can fail comes out as one clear error."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from ansible_collections.llmops.ollama.plugins.module_utils.client import Client, brief, error_text
from ansible_collections.llmops.ollama.plugins.module_utils.errors import (
    InvalidInput,
    NotFound,
    OllamaError,
    UnexpectedAnswer,
    Unreachable,
)
from fake_http import Answer, FakeServer, Stream


@pytest.fixture
def client(server: FakeServer) -> Iterator[Client]:
    with Client(server.url, timeout=5.0) as client:
        yield client


@pytest.fixture
def raw(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server that sends the given bytes and then hangs up, or waits if they are None."""
    payload: bytes | None = request.param
    gone = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                if payload is None:
                    gone.wait(10)
                else:
                    connection.sendall(payload)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        gone.set()
        thread.join(10)


# What works


def test_lists_come_back_as_the_server_gives_them_without_what_is_no_model(server: FakeServer, client: Client) -> None:
    server.queue += [
        Answer(200, {"models": [{"name": "gemma3:270m"}, 1, "junk", {}, None]}),
        Answer(200, {"models": None}),
        Answer(200, {"version": "0.34.0"}),
    ]
    assert client.tags() == [{"name": "gemma3:270m"}]
    assert client.ps() == []
    assert client.version() == "0.34.0"
    assert server.log == ["GET /api/tags", "GET /api/ps", "GET /api/version"]


def test_requests_carry_what_the_api_expects(server: FakeServer, client: Client) -> None:
    server.queue += [Answer(), Answer(), Answer(200, {}), Answer(200, {"details": {}}), Stream([{"status": "success"}])]
    client.copy("a:b", "c:d")
    client.delete("a:b")
    client.embed("c:d", "text")
    client.show("c:d")
    assert list(client.pull("c:d", insecure=True)) == [{"status": "success"}]
    assert list(zip(server.log, server.bodies, strict=True)) == [
        ("POST /api/copy", {"source": "a:b", "destination": "c:d"}),
        ("DELETE /api/delete", {"model": "a:b"}),
        ("POST /api/embed", {"model": "c:d", "input": "text"}),
        ("POST /api/show", {"model": "c:d"}),
        ("POST /api/pull", {"model": "c:d", "insecure": True, "stream": True}),
    ]


def test_has_blob(server: FakeServer, client: Client) -> None:
    server.queue += [Answer(200), Answer(404)]
    assert client.has_blob("sha256:aa") is True
    assert client.has_blob("sha256:bb") is False
    assert server.log == ["HEAD /api/blobs/sha256:aa", "HEAD /api/blobs/sha256:bb"]


def test_generate_streams_and_ignores_empty_lines(server: FakeServer, client: Client) -> None:
    server.queue.append(Stream([{"response": "Hi"}, b"\n", b'{"resp', b'onse": "!", "done": true}\n']))
    assert list(client.generate({"model": "m"})) == [{"response": "Hi"}, {"response": "!", "done": True}]
    assert server.bodies == [{"model": "m", "stream": True}]


def test_a_proxy_of_the_environment_is_not_used(
    server: FakeServer, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port}")
    server.queue.append(Answer(200, {"version": "0.34.0"}))
    with Client(server.url) as client:
        assert client.version() == "0.34.0"


# Answers that are not what was asked for


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (Answer(404, {"error": "model 'x' not found"}), NotFound, "answered 404: model 'x' not found."),
        (Answer(500, {"error": "out of memory."}), UnexpectedAnswer, "answered 500: out of memory."),
        (Answer(503, {"error": {"code": 1}}), UnexpectedAnswer, "answered 503: {'code': 1}."),
        (Answer(502, b""), UnexpectedAnswer, "answered 502: Bad Gateway."),
        (
            Answer(502, b"<html><head><style>p {}</style></head><body><h1>502 Bad\nGateway</h1> nginx</body></html>"),
            UnexpectedAnswer,
            "answered 502: 502 Bad Gateway nginx.",
        ),
        (Answer(200, b"<html>Log in</html>"), UnexpectedAnswer, "answered, but not with a JSON object. Check that"),
        (Answer(200, [1]), UnexpectedAnswer, "answered, but not with a JSON object."),
        (Answer(200, {"hello": 1}), UnexpectedAnswer, "answered, with JSON that holds no list of models."),
        (Answer(200, {"models": 1}), UnexpectedAnswer, "answered, with JSON that holds no list of models."),
        (Answer(200, b"[" * 100_000), UnexpectedAnswer, "answered, but not with a JSON object."),
        (Answer(500, b"[" * 100_000), UnexpectedAnswer, "answered 500: [[["),
    ],
)
def test_answers_that_are_errors(
    server: FakeServer, client: Client, answer: Answer, kind: type[OllamaError], message: str
) -> None:
    server.queue.append(answer)
    with pytest.raises(kind) as caught:
        client.tags()
    assert str(caught.value).startswith(f"{server.url}/api/tags {message}")
    assert caught.value.details["status"] == answer.status


def test_an_error_line_in_a_stream_is_raised_after_what_came_before(server: FakeServer, client: Client) -> None:
    server.queue.append(Stream([{"status": "pulling manifest"}, {"error": "pull model manifest: EOF."}]))
    events = client.pull("m")
    assert next(events) == {"status": "pulling manifest"}
    with pytest.raises(UnexpectedAnswer, match=r"/api/pull reported: pull model manifest: EOF\.$") as caught:
        next(events)
    assert caught.value.details == {"reported": "pull model manifest: EOF"}


@pytest.mark.parametrize("line", [b"<html>\n", b'"error"\n', b"1\n", b"[" * 100_000 + b"\n"])
def test_a_line_that_is_no_object(server: FakeServer, client: Client, line: bytes) -> None:
    server.queue.append(Stream([line]))
    with pytest.raises(UnexpectedAnswer, match="a line that is not a JSON object"):
        list(client.pull("m"))


def test_a_stream_that_breaks_off(server: FakeServer, client: Client) -> None:
    server.queue.append(Stream([{"status": "pulling manifest"}], broken=True))
    events = client.pull("m")
    assert next(events) == {"status": "pulling manifest"}
    with pytest.raises(
        Unreachable, match=r"broke off in the middle of its answer: (the|Response|Connection)"
    ) as caught:
        next(events)
    assert "0x" not in str(caught.value)


# No answer


def test_refused(closed_port: int) -> None:
    with pytest.raises(Unreachable) as caught:
        Client(f"http://127.0.0.1:{closed_port}").tags()
    assert caught.value.problem == f"No answer from http://127.0.0.1:{closed_port}/api/tags: Connection refused."


def test_a_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(Unreachable) as caught:
        Client("http://no-such-host.invalid").tags()
    assert caught.value.problem == "No answer from http://no-such-host.invalid/api/tags: Name or service not known."


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (None, "Read timed out. (read timeout=0.05)"),
        (b"", "Remote end closed connection without response"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "it does not speak HTTP (SSH-2.0-OpenSSH_9.2)"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
            "the connection was closed before the answer was complete",
        ),
        (
            b"HTTP/1.1 500 Oops\r\nContent-Length: 10\r\n\r\nabc",
            "the connection was closed before the answer was complete",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
            "the connection was closed before the answer was complete",
        ),
    ],
    indirect=["raw"],
)
def test_no_whole_answer(raw: str, reason: str) -> None:
    with pytest.raises(Unreachable) as caught:
        Client(raw, timeout=0.05 if "timed out" in reason else 5.0).tags()
    assert caught.value.problem == f"No answer from {raw}/api/tags: {reason}."
    assert "systemctl status ollama" in caught.value.remedy


def test_a_pull_may_be_silent_for_longer_than_other_requests(server: FakeServer) -> None:
    asked = threading.Event()

    def lines() -> Iterator[Any]:
        yield {"status": "verifying sha256 digest"}
        asked.wait(0.2)  # longer than the client's timeout of 0.05 s
        yield {"status": "success"}

    with Client(server.url, timeout=0.05) as client:
        server.queue.append(Stream(lines()))
        assert len(list(client.pull("m", timeout=5.0))) == 2
        server.queue.append(Stream(lines()))
        with pytest.raises(Unreachable, match="Read timed out"):
            list(client.pull("m"))


def test_brief_of_errors_without_layers() -> None:
    assert brief(OSError(13, "Permission denied")) == "Permission denied"
    assert brief(ValueError()) == "ValueError"
    assert brief(OSError("<urllib3.connection.HTTPConnection object at 0x7f00>: Failed to do it.")) == "Failed to do it"


def test_error_text_is_short() -> None:
    response = requests.Response()
    response.status_code, response.reason, response._content = 500, "Oops", b"x " * 5000
    assert len(error_text(response)) <= 200


# Addresses


@pytest.mark.parametrize(
    "url",
    [
        *["", "127.0.0.1:11434", "localhost", "ftp://host", "http://", "http://host:99999", "http://host:x"],
        *["http://[::1", "http://.host", "http://a b", "http://host:0"],
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(InvalidInput, match=r"Write it as http://HOST:PORT") as caught:
        Client(url)
    assert caught.value.problem == f"url is {url!r}, which is not an address."


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_timeouts_that_cannot_be_waited_for(timeout: float) -> None:
    with pytest.raises(InvalidInput, match=r"timeout is .* seconds"):
        Client("http://host", timeout)
