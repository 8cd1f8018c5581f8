# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A GGUF file at an address: its head and its size, without the weights."""

from __future__ import annotations

import contextlib
import http.client

with contextlib.suppress(ImportError):  # entry.run() reports the missing library to the user
    import requests

from ansible_collections.llmops.ollama.plugins.module_utils.client import CONNECT_TIMEOUT, brief, first_bytes
from ansible_collections.llmops.ollama.plugins.module_utils.errors import NotFound, UnexpectedAnswer, Unreachable
from ansible_collections.llmops.ollama.plugins.module_utils.gguf import Header
from ansible_collections.llmops.ollama.plugins.module_utils.gguf_reader import read_header


def header_at(url: str, timeout: float) -> tuple[Header, int]:
    """The header, and the size of the whole file in bytes (0 where the server does not tell).

    ``timeout`` (seconds) bounds every wait for the next byte. Raises ``NotFound``, ``Unreachable``,
    ``UnexpectedAnswer``, and ``InvalidInput`` for what is no GGUF file.
    """
    sizes: list[int] = []
    with requests.Session() as session:

        def read(offset: int, length: int) -> bytes:
            data, size = _part(session, url, offset, length, timeout)
            sizes.append(size)
            return data

        header = read_header(read, url)
    return header, max(sizes, default=0)


def _part(session: requests.Session, url: str, offset: int, length: int, timeout: float) -> tuple[bytes, int]:
    """A range of the file, shorter where it ends, and the size of the whole.

    From a server that knows no ranges the bytes before the range are read as well; the rest is not.
    """
    headers = {"Range": f"bytes={offset}-{offset + length - 1}", "Accept-Encoding": "identity"}
    try:
        with session.get(url, headers=headers, stream=True, timeout=(CONNECT_TIMEOUT, timeout)) as response:
            status = response.status_code
            if status == http.client.PARTIAL_CONTENT:
                size = response.headers.get("Content-Range", "").rpartition("/")[2]
                return first_bytes(response, length), int(size) if size.isdecimal() else 0
            if status == http.client.OK:
                size = response.headers.get("Content-Length", "")
                return first_bytes(response, offset + length)[offset:], int(size) if size.isdecimal() else 0
            if status == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                return b"", 0
    except requests.RequestException as error:
        raise Unreachable(
            f"No answer from {url}: {brief(error)}.",
            "Check the address in gguf, and the host's way there (name resolution, firewall, proxy).",
            url=url,
        ) from error
    kind = NotFound if status == http.client.NOT_FOUND else UnexpectedAnswer
    raise kind(f"{url} answered {status} {response.reason}.", "Check the address in gguf.", url=url, status=status)
