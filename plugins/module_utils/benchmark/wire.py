# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""HTTP/1.1 as far as a load generator needs it, on sockets that never block: bytes in, bytes out.

One thread serves hundreds of streams with it, at a few microseconds for each piece of text.
"""

from __future__ import annotations

import errno
import http.client
import os
import selectors
import socket
import ssl
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from ansible_collections.llmops.ollama.plugins.module_utils.client import CONNECT_TIMEOUT, brief
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput, Unreachable

RECEIVE_BYTES = 1 << 16
MAX_HEAD = 1 << 16  # bytes of a status line and headers

_BOTH = selectors.EVENT_READ | selectors.EVENT_WRITE


class BadHttp(Exception):
    """The peer does not speak HTTP."""


class Response:
    """Reads one answer as it arrives. ``status`` is 0 until the head is complete."""

    def __init__(self) -> None:
        self.status = 0
        self.reason = ""
        self.complete = False
        self.keep_alive = True
        self._buffer = b""
        self._left: int | None = None  # bytes of the body, or of the chunk with its line end; None: to the end
        self._chunked = False
        self._last_chunk = False

    def feed(self, data: bytes) -> bytes:
        """Take what arrived; returns what it holds of the body. Raises ``BadHttp``."""
        self._buffer += data
        while not self.status:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                if len(head) > MAX_HEAD or not b"HTTP/1.".startswith(head[:7]):
                    raise BadHttp(f"it does not speak HTTP ({head[:40]!r})")
                return b""
            self._buffer = rest
            self._read_head(head.decode("latin-1").split("\r\n"))
        return self._read_chunks() if self._chunked else self._read_plain()

    def close(self) -> None:
        """The peer has closed the connection, which ends an answer without a length."""
        self.keep_alive = False
        if self.status and self._left is None and not self._chunked:
            self.complete = True

    def _read_head(self, lines: Sequence[str]) -> None:
        version, _, rest = lines[0].partition(" ")
        status, _, self.reason = rest.partition(" ")
        if not version.startswith("HTTP/1.") or not status.isdecimal():
            raise BadHttp(f"it does not speak HTTP ({lines[0][:40]!r})")
        if status.startswith("1"):  # only informs; the answer is still to come
            return
        self.status = int(status)
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip().lower()
        self.keep_alive = headers.get("connection", "keep-alive" if version != "HTTP/1.0" else "close") != "close"
        length = headers.get("content-length")
        if "chunked" in headers.get("transfer-encoding", ""):
            self._chunked = True
        elif self.status in (http.client.NO_CONTENT, http.client.NOT_MODIFIED):
            self._left = 0
        elif length is not None:
            if not length.isdecimal():
                raise BadHttp(f"its Content-Length is {length[:40]!r}")
            self._left = int(length)

    def _read_plain(self) -> bytes:
        body, self._buffer = self._buffer, b""
        if self._left is not None:
            body = body[: self._left]
            self._left -= len(body)
            self.complete = self._left == 0
        return body

    def _read_chunks(self) -> bytes:
        pieces = []
        while True:
            if self._left is None:
                line, end, rest = self._buffer.partition(b"\r\n")
                if not end:
                    if len(line) > MAX_HEAD:
                        raise BadHttp("a line of its answer does not end")
                    break
                self._buffer = rest
                if self._last_chunk:  # trailers, then an empty line
                    if not line:
                        self.complete = True
                        break
                    continue
                try:
                    size = int(line.split(b";")[0], 16)
                except ValueError:
                    size = -1
                if size < 0:
                    raise BadHttp(f"the size of a chunk is {line[:40]!r}")
                if size == 0:
                    self._last_chunk = True
                    continue
                self._left = size + 2
            taken = self._buffer[: self._left]
            self._buffer = self._buffer[len(taken) :]
            text = taken[: max(self._left - 2, 0)]  # without the line end, of which all or half may be here
            if text:
                pieces.append(text)
            self._left -= len(taken)
            if self._left:
                break
            self._left = None
        return b"".join(pieces)


class Address:
    """Where a URL leads: resolved once, at the address that really took a connection.

    Raises ``InvalidInput`` for what is no URL, ``Unreachable`` when nobody answers there.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidInput(f"url is {url!r}, which is not an address.", "Write it as http://HOST:PORT.")
        self._host = parts.hostname
        self._head = _head(parts)
        self._path = parts.path.rstrip("/")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        port = parts.port or (443 if self._tls else 80)
        try:
            # A name such as localhost may lead to several addresses, of which not all are served.
            with socket.create_connection((self._host, port), CONNECT_TIMEOUT) as probe:
                self.family, self.address = probe.family, probe.getpeername()
        except (OSError, UnicodeError) as error:
            raise Unreachable(
                f"Nothing answers at {url}: {_words(error)}.",
                "Check that the service runs (systemctl status ollama) and that the address and port are right.",
                url=url,
            ) from None

    def message(self, path: str, body: bytes) -> bytes:
        """A whole POST request."""
        head = f"POST {self._path}{path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n"
        return head.encode("latin-1") + body

    def connect(self) -> socket.socket:
        """A socket that is about to be connected. Raises ``OSError``."""
        sock = socket.socket(self.family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                sock = self._tls.wrap_socket(sock, server_hostname=self._host, do_handshake_on_connect=False)
            status = sock.connect_ex(self.address)
            if status not in (0, errno.EINPROGRESS):
                raise OSError(status, os.strerror(status))
        except OSError:
            sock.close()
            raise
        return sock


def _head(parts: SplitResult) -> str:
    host = parts.hostname or ""
    name = f"[{host}]" if ":" in host else host.encode("idna").decode()
    lines = [
        f"Host: {name}{f':{parts.port}' if parts.port else ''}",
        "Content-Type: application/json",
        "Accept-Encoding: identity",  # a compressing proxy would hold tokens back
        "User-Agent: llmops.ollama",
    ]
    return "".join(f"{line}\r\n" for line in lines)


def _words(error: Exception) -> str:
    return "the name has no address" if isinstance(error, (socket.gaierror, UnicodeError)) else brief(error)


class Connection:
    """One connection, driven by a selector that waits for ``events``."""

    def __init__(self, address: Address) -> None:
        self.sock = address.connect()
        self.used = False  # whether it has served a request before this one
        self.events = _BOTH
        self._connected = False
        self._greeted = not isinstance(self.sock, ssl.SSLSocket)
        self._outgoing = memoryview(b"")

    def send(self, message: bytes) -> None:
        """Begin to send a request."""
        self._outgoing = memoryview(message)

    def write(self) -> None:
        """Go on with what is to be sent, as far as the socket takes it. Raises ``OSError``."""
        if not self._connected:
            status = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if status:
                raise OSError(status, os.strerror(status))
            self._connected = True
        self.events = _BOTH
        try:
            if not self._greeted and isinstance(self.sock, ssl.SSLSocket):
                self.sock.do_handshake()
                self._greeted = True
            while self._outgoing:
                self._outgoing = self._outgoing[self.sock.send(self._outgoing) :]
            self.events = selectors.EVENT_READ
        except ssl.SSLWantReadError:
            self.events = selectors.EVENT_READ
        except (BlockingIOError, ssl.SSLWantWriteError):
            pass

    def read(self) -> bytes | None:
        """What has arrived; empty at the end of the connection, None where nothing is there yet. Raises ``OSError``."""
        if not self._greeted or self._outgoing:
            self.write()  # a handshake reads before it writes
        if not self._greeted:
            return None
        try:
            data = self.sock.recv(RECEIVE_BYTES)
            while isinstance(self.sock, ssl.SSLSocket) and self.sock.pending():
                data += self.sock.recv(RECEIVE_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        return data

    def close(self) -> None:
        self.sock.close()
