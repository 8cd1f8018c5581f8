# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lets an Ollama server pull from a mirror that it could not pull from by itself.

Ollama's pull sends no password to a registry, and trusts a private authority only if the whole host does. So while a
pull runs, this process listens on the loopback address and hands the server's requests on to the mirror, with both.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import socketserver
import sys
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from typing import Any, Callable
from urllib.parse import urlsplit

with contextlib.suppress(ImportError):  # entry.run() reports the missing library to the user
    import requests

from ansible_collections.llmops.ollama.plugins.module_utils.access import Access, origin
from ansible_collections.llmops.ollama.plugins.module_utils.client import CONNECT_TIMEOUT, brief
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.registry import Source
from ansible_collections.llmops.ollama.plugins.module_utils.words import seconds

# What a pull asks for, and nothing else.
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_PATHS = re.compile(rf"/v2/{_PART}/{_PART}/(manifests/{_PART}|blobs/sha256:[0-9a-f]{{64}})")
_ASKED = ("Accept", "Range")
_ANSWERED = ("Content-Type", "Content-Length", "Content-Range", "Accept-Ranges")

LOOPBACK = "127.0.0.1"
READ_BYTES = 1 << 20  # at once: in smaller pieces, handing on takes twice the CPU time


@contextlib.contextmanager
def relay(access: Access, timeout: float = 30.0) -> Iterator[str]:
    """The address of a relay to the registry at ``access.url``, for as long as the block takes.

    ``timeout`` (s) bounds each wait for the mirror's next byte. What the mirror refuses, and that it cannot be reached,
    reaches the server as an error with the reason; the password never does.
    """
    with _Relay(access, seconds("timeout", timeout)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://{LOOPBACK}:{server.server_address[1]}"
        finally:
            server.shutdown()
            server.hang_up()
            thread.join()


# Where a server really pulls a model from that comes from a source.
Route = Callable[[Source], Source]


@contextlib.contextmanager
def routed(access: Access, sources: Sequence[Source], server_url: str, timeout: float) -> Iterator[Route]:
    """How the server at ``server_url`` reaches these sources: by a relay where it could not by itself.

    Raises ``InvalidInput`` for a server on another host, which cannot reach the relay.
    """
    if not access.guarded or not any(access.covers(source.registry) for source in sources):
        yield lambda source: source
        return
    host = urlsplit(server_url).hostname or ""
    if not _is_here(host):
        raise InvalidInput(
            f"The server {server_url} is on another host, where it cannot get the password or the CA for {access.url}.",
            "Run this on the server's own host, with its loopback address as url.",
            key="url",
        )
    with relay(access, timeout) as address:

        def route(source: Source) -> Source:
            if not access.covers(source.registry):
                return source
            return Source(address, source.name.at(urlsplit(address).netloc))

        yield route


def _is_here(host: str) -> bool:
    """Whether an address is this host's own: only then can something listen on it."""
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as probe:
                probe.bind(address)
    except OSError:
        return False
    return True


class _Relay(socketserver.ThreadingTCPServer):
    """Listens on a free loopback port; each of the server's connections has a thread and one connection onwards."""

    daemon_threads = True
    request_queue_size = 64  # a pull opens up to 16 connections at once

    def __init__(self, access: Access, timeout: float) -> None:
        self.access, self.limits = access, (CONNECT_TIMEOUT, timeout)
        self._open: set[socket.socket] = set()
        super().__init__((LOOPBACK, 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End the connections that are still open."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a server or a mirror that hung up; anything else is a defect, and is seen."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection of the server's."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Relay

    def setup(self) -> None:
        super().setup()
        self._session = requests.Session()

    def finish(self) -> None:
        self._session.close()
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        if not _PATHS.fullmatch(self.path):
            self._refuse(http.client.NOT_FOUND, "not a model's manifest or blob")
            return
        base = self.server.access.url.rstrip("/")
        headers = {name: self.headers[name] for name in _ASKED if name in self.headers}
        try:
            answer = self._session.request(
                self.command,
                base + self.path,
                headers={"Accept-Encoding": "identity", **headers},
                stream=True,
                timeout=self.server.limits,
                allow_redirects=False,
                **self.server.access.options(base),
            )
        except requests.RequestException as error:
            self._refuse(http.client.BAD_GATEWAY, f"no answer from {base}: {brief(error)}")
            return
        with answer:
            if answer.status_code == http.client.UNAUTHORIZED:
                # Not 401: the server would look for a place to get a token from, and report that instead.
                remedy = self.server.access.remedy(base, "registry")
                self._refuse(http.client.FORBIDDEN, f"{base} answered 401. {remedy}")
            else:
                self._hand_on(answer, base)

    do_HEAD = do_GET  # noqa: N815  # the name that the base class looks for

    def _hand_on(self, answer: requests.Response, base: str) -> None:
        status = answer.status_code
        if "Range" in self.headers and status != http.client.PARTIAL_CONTENT and not answer.is_redirect:
            self._refuse(status if status >= http.client.BAD_REQUEST else http.client.BAD_GATEWAY, "not that range")
            return
        self.send_response_only(status)
        for name in _ANSWERED:
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        self.send_header("Location", _local(answer.headers.get("Location", ""), base) or self.path)
        length = int(answer.headers.get("Content-Length", -1))
        if length < 0:  # the end of the connection is the end of the answer
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command == "HEAD":
            return
        for chunk in answer.iter_content(READ_BYTES):  # what breaks here ends the connection, for the server to see
            self.wfile.write(chunk)
            length -= len(chunk)
        if length > 0:  # older versions of the HTTP library take it for the end
            self.close_connection = True

    def _refuse(self, status: int, reason: str) -> None:
        # The server takes any answer to a request for a range for that part of the blob: let it be nothing.
        body = b"" if "Range" in self.headers else f"{reason}\n".encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _local(location: str, base: str) -> str:
    """A ``Location`` of the mirror as one of the relay; one that leads elsewhere is the server's own business."""
    if "://" not in location or origin(location) != origin(base):
        return location
    return location[len(base) :] if location.startswith(base) else urlsplit(location).path
