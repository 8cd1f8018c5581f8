# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files that come from elsewhere: taken up where they broke off, and believed only for their sha256."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

with contextlib.suppress(ImportError):  # entry.run() reports a missing library to the user
    import requests

from ansible_collections.llmops.ollama.plugins.module_utils.access import Access
from ansible_collections.llmops.ollama.plugins.module_utils.client import (
    CONNECT_TIMEOUT,
    brief,
    error_text,
    no_answer,
)
from ansible_collections.llmops.ollama.plugins.module_utils.errors import (
    ChecksumMismatch,
    NotFound,
    UnexpectedAnswer,
    Unreachable,
)
from ansible_collections.llmops.ollama.plugins.module_utils.progress import Report
from ansible_collections.llmops.ollama.plugins.module_utils.retry import T, Wait, with_retries
from ansible_collections.llmops.ollama.plugins.module_utils.words import seconds

CHUNK_BYTES = 1 << 16  # what is lost of a connection that breaks, and how coarse progress is on a slow one
READ_BYTES = 1 << 20  # at once from a disk

# Told how many bytes of how many (0: unknown) are there.
Moved = Callable[[int, int], None]


@dataclass(frozen=True)
class Rest:
    """A file from byte ``start`` to its end. ``total`` is the size of the whole file, 0 where that is not known."""

    start: int
    total: int
    chunks: Iterable[bytes]


# Opens a file at a byte; what comes may begin earlier, where the other side cannot begin there.
Open = Callable[[int], AbstractContextManager[Rest]]


def sha256_of(path: Path, moved: Callable[[int], None] = lambda count: None) -> str:
    """The sha256 (hex) of a file; ``moved`` is told of each piece that was read, in bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for chunk in iter(lambda: stream.read(READ_BYTES), b""):
            digest.update(chunk)
            moved(len(chunk))
    return digest.hexdigest()


def checked(name: str, expected: str, got: str) -> None:
    """Raise ``ChecksumMismatch`` unless a file has the sha256 (hex) that it must."""
    if got != expected:
        raise ChecksumMismatch(
            f"{name} has the sha256 {got}, but {expected} was expected.",
            "Nothing of it was kept. Compare it with the original: it was published anew, or damaged on the way.",
            url=name,
            expected=expected,
            got=got,
        )


class Incoming:
    """A file ``name`` that is on its way to ``path``; ``size`` is what it must have, 0 where that is not known.

    What an earlier run left there counts. ``received`` counts the bytes that came by this one.
    """

    def __init__(self, name: str, path: Path, size: int = 0, moved: Moved = lambda done, total: None) -> None:
        self.name, self.path, self.size, self._moved = name, path, size, moved
        self.received = 0

    def complete(self, sha256: str, open_at: Open, persistently: Callable[[Callable[[], None]], None]) -> None:
        """Bring all of it, by as many calls of ``open_at`` as ``persistently`` makes.

        One that was put together from pieces, and has another sha256 (hex) than it must, is loaded once more as a
        whole. Raises ``ChecksumMismatch``, with nothing left at ``path``; for any other error what has arrived stays.
        """
        for _ in range(2):
            with self.path.open("a+b") as self._stream:
                self._recall()
                if not self.size or self._done < self.size:
                    persistently(lambda: self._take(open_at))
                self._stream.flush()
                os.fsync(self._stream.fileno())
            if self._digest.hexdigest() == sha256:
                return
            self.path.unlink()
            if not self._pieced:
                break
        checked(self.name, sha256, self._digest.hexdigest())

    def _recall(self) -> None:
        """Take up what an earlier run left."""
        self._done, self._digest = 0, hashlib.sha256()
        self._stream.seek(0)
        for chunk in iter(lambda: self._stream.read(READ_BYTES), b""):
            self._digest.update(chunk)
            self._done += len(chunk)
        if self.size and self._done > self.size:
            self._restart()
        self._pieced = self._done > 0

    def _restart(self) -> None:
        self._stream.seek(0)
        self._stream.truncate()
        self._done, self._digest, self._pieced = 0, hashlib.sha256(), False

    def _take(self, open_at: Open) -> None:
        with open_at(self._done) as rest:
            if self.size and rest.total not in (0, self.size):
                raise self._wrong_size(f"{rest.total} bytes")
            if rest.start != self._done:
                self._restart()
            self._pieced = self._done > 0
            total = self.size or rest.total
            for chunk in rest.chunks:
                if self.size and self._done + len(chunk) > self.size:
                    raise self._wrong_size("more bytes")
                self._stream.write(chunk)
                self._digest.update(chunk)
                self._done += len(chunk)
                self.received += len(chunk)
                self._moved(self._done, total)
            if self._done < total:
                # Older versions of the HTTP library take a connection that closes early for the end.
                raise Unreachable(f"{self.name} broke off after {self._done} of {total} bytes.")

    def _wrong_size(self, offered: str) -> UnexpectedAnswer:
        return UnexpectedAnswer(
            f"{self.name} offers {offered}, but {self.size} were announced.",
            "It is not the file that was asked for: look at the server that offers it.",
            url=self.name,
            status=http.client.OK,
        )


class Downloader:
    """Fetches files over HTTP.

    ``timeout`` (s) bounds each wait for the next byte; up to ``retries`` more attempts follow one that broke. Proxies
    are taken from the environment, as for any program on the host. ``option`` is what the user set the address by.
    """

    def __init__(
        self,
        timeout: float,
        retries: int,
        report: Report = lambda text: None,
        wait: Wait = time.sleep,
        access: Access = Access(),  # noqa: B008  # immutable
        option: str = "base_url",
    ) -> None:
        self._timeout, self._retries, self._report, self._wait = seconds("timeout", timeout), retries, report, wait
        self._access, self._option = access, option
        self._session = requests.Session()
        self._session.headers["Accept-Encoding"] = "identity"  # the bytes that were hashed, as they are

    def read(self, url: str) -> bytes:
        """A small file. Raises ``NotFound``, ``Unreachable``, ``UnexpectedAnswer``, ``Untrusted``."""

        def attempt() -> bytes:
            with self._ask(url) as response:
                return response.content

        return self._persistently(url, attempt)

    def size(self, url: str) -> int:
        """The size of a file in bytes, 0 where the server does not tell. Raises ``NotFound`` and ``Unreachable``."""

        def attempt() -> int:
            with self._ask(url, method="HEAD") as response:
                return int(response.headers.get("Content-Length") or 0)

        try:
            return self._persistently(url, attempt)
        except UnexpectedAnswer:  # some stores of files answer nothing but GET
            return 0

    def save(
        self,
        url: str,
        path: Path,
        sha256: str,
        size: int = 0,
        moved: Moved = lambda done, total: None,
        announced: Callable[[int], None] = lambda total: None,
    ) -> int:
        """Complete the file at ``path``; returns the bytes that came. ``announced`` hears of the size before the first.

        Raises as ``read`` and ``Incoming.complete`` do, and what ``announced`` raises.
        """

        @contextlib.contextmanager
        def open_at(start: int) -> Iterator[Rest]:
            with self._ask(url, start) as response:
                # Where there is no such range, the server cannot resume: it answers with the whole.
                begin = start if response.headers.get("Content-Range", "").startswith(f"bytes {start}-") else 0
                length = int(response.headers.get("Content-Length") or 0)
                if not begin:
                    announced(length)
                yield Rest(begin, begin + length if length else 0, response.iter_content(CHUNK_BYTES))

        incoming = Incoming(url, path, size, moved)
        incoming.complete(sha256, open_at, lambda attempt: self._persistently(url, attempt))
        return incoming.received

    def _ask(self, url: str, start: int = 0, method: str = "GET") -> requests.Response:
        """The answer to a request, from byte ``start`` on where the server can do that, with its status checked."""
        response = self._session.request(
            method,
            url,
            headers={"Range": f"bytes={start}-"} if start else {},
            stream=True,
            timeout=(CONNECT_TIMEOUT, self._timeout),
            allow_redirects=True,
            **self._access.options(url),
        )
        status = response.status_code
        good = status in (http.client.OK, http.client.PARTIAL_CONTENT)
        if good and not response.headers.get("Content-Type", "").startswith("text/html"):
            return response
        with response:
            words = error_text(response) if not good else ""
        if status == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and start:  # what is there cannot be its beginning
            return self._ask(url)
        details = {"url": url, "status": status}
        option = self._option
        if status == http.client.NOT_FOUND:
            raise NotFound(f"{url} does not exist (404).", f"Check {option} and the version.", **details)
        if good:
            raise UnexpectedAnswer(
                f"{url} answered with a web page instead of the file.",
                f"Check {option}: a login page, a proxy or a listing may stand in between.",
                **details,
            )
        remedy = f"Check {option} and the access to it."
        if status == http.client.UNAUTHORIZED:
            remedy = self._access.remedy(url, option)
        raise UnexpectedAnswer(f"{url} answered {status}: {words}.", remedy, **details)

    def _persistently(self, url: str, attempt: Callable[[], T]) -> T:
        def reach() -> T:
            try:
                return attempt()
            except requests.RequestException as error:
                raise no_answer(
                    error,
                    f"{url} could not be fetched: {brief(error)}.",
                    f"Check that the host reaches it (name, proxy, firewall), or set {self._option} to a mirror.",
                    url=url,
                ) from error

        return with_retries(reach, self._retries, self._report, self._wait)
