# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A thin client of one Ollama server's HTTP API: every failure comes out as an ``OllamaError``."""

from __future__ import annotations

import contextlib
import http.client
import re
import ssl
from collections.abc import Generator, Iterable, Mapping
from types import TracebackType
from typing import Any

with contextlib.suppress(ImportError):  # entry.run() reports the missing library to the user
    import requests

from ansible_collections.llmops.ollama.plugins.module_utils.errors import (
    NotFound,
    UnexpectedAnswer,
    Unreachable,
    Untrusted,
)
from ansible_collections.llmops.ollama.plugins.module_utils.words import from_json, http_url, seconds

Json = dict[str, Any]

# The server's words for a model that only embeds.
NO_GENERATE = "does not support generate"

CONNECT_TIMEOUT = 5.0
PIECE = 1 << 16  # bytes of a streamed body that are waited for at once


class Client:
    """One HTTP session with one server, for example ``Client("http://127.0.0.1:11434")``.

    ``timeout`` (seconds) bounds every wait for the next byte, not a whole request: a stream may run for hours.
    """

    def __init__(self, url: str, timeout: float = 30.0) -> None:
        self.url = http_url("url", url)
        self.timeout = seconds("timeout", timeout)
        self._session = requests.Session()
        # The server is named explicitly; a proxy meant for the internet must not stand between the host and itself.
        self._session.trust_env = False

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def version(self) -> str:
        """The server's version, for example ``0.34.0``."""
        return str(self._object("GET", "/api/version").get("version", ""))

    def tags(self) -> list[Json]:
        """The installed models: ``name``, ``digest`` (sha256 hex of the manifest), ``size`` (bytes), ``details``."""
        return self._models("/api/tags")

    def ps(self) -> list[Json]:
        """The loaded models: ``name``, ``size``, ``size_vram`` (bytes), ``context_length`` (per slot)."""
        return self._models("/api/ps")

    def show(self, model: str, verbose: bool = False) -> Json:
        """Metadata of an installed model: ``details``, ``model_info``, ``capabilities``, ``parameters``.

        Lists in ``model_info`` are null or empty unless ``verbose``, which makes it megabytes: with the tokenizer's.
        """
        return self._object("POST", "/api/show", {"model": model, **({"verbose": True} if verbose else {})})

    def embed(self, model: str, text: str, keep_alive: str | None = None) -> Json:
        """Have a text embedded: ``embeddings``, and ``load_duration`` in nanoseconds."""
        more = {"keep_alive": keep_alive} if keep_alive else {}
        return self._object("POST", "/api/embed", {"model": model, "input": text, **more})

    def props(self) -> Json:
        """What a ``llama-server``, not Ollama, says of itself: ``total_slots``, ``default_generation_settings``."""
        return self._object("GET", "/props")

    def has_blob(self, digest: str) -> bool:
        """Whether the server holds the complete blob ``sha256:<64 hex>``."""
        try:
            self._request("HEAD", f"/api/blobs/{digest}").close()
        except NotFound:
            return False
        return True

    def upload_blob(self, digest: str, chunks: Iterable[bytes]) -> None:
        """Store bytes as the blob ``sha256:<64 hex>``; the server checks that they are."""
        self._request("POST", f"/api/blobs/{digest}", data=chunks).close()

    def copy(self, source: str, destination: str) -> None:
        """Give an installed model a second name; no bytes are copied."""
        self._request("POST", "/api/copy", {"source": source, "destination": destination}).close()

    def delete(self, model: str) -> None:
        """Remove a model's name, and its layers where no other model uses them."""
        self._request("DELETE", "/api/delete", {"model": model}).close()

    def pull(self, model: str, insecure: bool = False, timeout: float | None = None) -> Generator[Json, None, None]:
        """Pull a model; yields the server's progress objects.

        ``insecure`` means plain http, not unverified TLS. ``timeout`` (seconds) replaces the client's own: the server
        is silent while it computes the checksum of what it received.
        """
        return self._stream("/api/pull", {"model": model, "insecure": insecure, "stream": True}, timeout)

    def create(self, request: Mapping[str, Any], timeout: float | None = None) -> Generator[Json, None, None]:
        """Make a model (``model``, ``from``, ``parameters``, ...); yields the server's progress objects."""
        return self._stream("/api/create", dict(request, stream=True), timeout)

    def generate(self, request: Mapping[str, Any]) -> Generator[Json, None, None]:
        """Generate text; yields one object per token, the last with ``done`` and the server's counters."""
        return self._stream("/api/generate", dict(request, stream=True))

    def unload(self, model: str) -> None:
        """Have a model leave memory once what is under way is answered; the next request loads it anew."""
        self._request("POST", "/api/generate", {"model": model, "keep_alive": 0, "stream": False}).close()

    def _models(self, path: str) -> list[Json]:
        value = self._object("GET", path)
        models = value.get("models", 0)
        if not isinstance(models, (list, type(None))):  # an empty list may come as null, but the key is always there
            raise self._not_ollama(path, "with JSON that holds no list of models")
        return [entry for entry in models or () if isinstance(entry, dict) and "name" in entry]

    def _object(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Json:
        with self._request(method, path, body) as response:
            try:
                value = from_json(response.content)
            except ValueError:
                value = None
        if not isinstance(value, dict):
            raise self._not_ollama(path, "but not with a JSON object")
        return value

    def _stream(self, path: str, body: Mapping[str, Any], timeout: float | None = None) -> Generator[Json, None, None]:
        """Yield the JSON lines of an answer; an ``error`` line inside a 200 stream is a failure like any other."""
        with self._request("POST", path, body, stream=True, timeout=timeout) as response:
            try:
                for line in response.iter_lines(chunk_size=None):
                    if line:
                        yield self._line(path, line)
            except requests.RequestException as error:
                raise Unreachable(
                    f"{self.url}{path} broke off in the middle of its answer: {brief(error)}.",
                    "Look at the server's log for a restart or a crash.",
                    url=self.url,
                ) from error

    def _line(self, path: str, line: bytes) -> Json:
        try:
            value = from_json(line)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise self._not_ollama(path, f"with a line that is not a JSON object: {line[:80]!r}")
        if "error" in value:
            reported = str(value["error"]).strip().rstrip(".")
            raise UnexpectedAnswer(f"{self.url}{path} reported: {reported}.", reported=reported)
        return value

    def _not_ollama(self, path: str, how: str) -> UnexpectedAnswer:
        return UnexpectedAnswer(
            f"{self.url}{path} answered, {how}.",
            "Check that this address is an Ollama server and not another service or a login page.",
            status=200,
        )

    def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        stream: bool = False,
        timeout: float | None = None,
        data: Iterable[bytes] | None = None,
    ) -> requests.Response:
        limits = (CONNECT_TIMEOUT, timeout or self.timeout)
        address = self.url + path
        try:
            response = self._session.request(method, address, json=body, data=data, stream=stream, timeout=limits)
            if response.ok:
                return response
            with response:
                message = error_text(response)
        except requests.RequestException as error:
            raise Unreachable(
                f"No answer from {self.url}{path}: {brief(error)}.",
                "Check that the service runs (systemctl status ollama) and that the address and port are right.",
                url=self.url,
            ) from error
        kind = NotFound if response.status_code == http.client.NOT_FOUND else UnexpectedAnswer
        raise kind(f"{self.url}{path} answered {response.status_code}: {message}.", status=response.status_code)


def first_bytes(response: requests.Response, amount: int) -> bytes:
    """So many bytes of a streamed body, or all of a shorter one.

    Raises ``requests.RequestException``, also where the connection ends before the body does.
    """
    pieces: list[bytes] = []
    for piece in response.iter_content(min(amount, PIECE)):
        pieces.append(piece)
        if sum(map(len, pieces)) >= amount:
            break
    data = b"".join(pieces)[:amount]
    said = response.headers.get("Content-Length", "")
    packed = "Content-Encoding" in response.headers  # its length is another one
    if said.isdecimal() and not packed and len(data) < min(amount, int(said)):
        raise requests.ConnectionError("the connection was closed before the answer was complete")
    return data


def error_text(response: requests.Response) -> str:
    """The server's own words in an answer with an error status."""
    return error_words(response.text, str(response.reason))


def error_words(text: str, reason: str) -> str:
    """The ``error`` of a JSON body (Ollama's or OpenAI's), or the start of the text of any other; else ``reason``."""
    try:
        value = from_json(text)
    except ValueError:
        value = None
    error = value.get("error") if isinstance(value, dict) else None
    if error:
        return str(error.get("message", error) if isinstance(error, dict) else error).strip().rstrip(".")
    words = re.sub(r"(?s)<(style|script).*?</\1>|<[^>]*>", " ", text[:5000])
    return " ".join(words.split())[:200].rstrip(".") or reason


def no_answer(error: BaseException, problem: str, remedy: str, **details: Any) -> Unreachable | Untrusted:
    """What a ``requests`` error means: a server out of reach, or one whose certificate does not convince."""
    if isinstance(_root(error), ssl.SSLCertVerificationError):
        remedy = "Give the certificate of the authority that signed the server's with ca_path, and use the name in it."
        return Untrusted(problem, remedy, **details)
    return Unreachable(problem, remedy, **details)


def brief(error: BaseException) -> str:
    """The innermost reason of a ``requests`` error, without the layers of wrapping that say nothing to a user."""
    inner = _root(error)
    if isinstance(inner, http.client.IncompleteRead):
        return "the connection was closed before the answer was complete"
    if isinstance(inner, http.client.BadStatusLine) and not isinstance(inner, http.client.RemoteDisconnected):
        return f"it does not speak HTTP ({str(inner).strip()})"
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted ({getattr(inner, 'verify_message', inner)})"
    text = str(inner.args[-1] if inner.args else inner)
    system = re.search(r"\[Errno -?\d+\] ([^)]+)", text)
    if system:
        return system.group(1)
    # urllib3 puts the connection object first: "<...HTTPConnection object at 0x...>: " or "HTTPConnectionPool(...): ".
    return re.sub(r"^(<[^>]*>|HTTPS?Connection\w*\([^)]*\)): ", "", text).rstrip(".") or type(inner).__name__


def _root(error: BaseException) -> BaseException:
    while True:
        candidates = (getattr(error, "reason", None), *error.args[-1:])
        cause = next((item for item in candidates if isinstance(item, BaseException)), None)
        if cause is None:
            return error
        error = cause
