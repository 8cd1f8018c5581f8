# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A thin client of one Ollama server's HTTP API: every failure comes out as an ``OllamaError``."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

with contextlib.suppress(ImportError):  # entry.run() reports a missing library to the user
    import requests

from ansible_collections.llmops.ollama.plugins.module_utils.errors import NotFound, UnexpectedAnswer, Unreachable

Json = dict[str, Any]

CONNECT_TIMEOUT = 5.0


class Client:
    """One HTTP session with one server, for example ``Client("http://127.0.0.1:11434")``.

    ``timeout`` (seconds) bounds every wait for the next byte, not a whole request: a stream may run for hours.
    """

    def __init__(self, url: str, timeout: float = 30.0) -> None:
        self.url = url.rstrip("/")
        self.timeout = timeout
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
        return list(self._object("GET", "/api/tags").get("models") or [])

    def ps(self) -> list[Json]:
        """The loaded models: ``name``, ``size``, ``size_vram`` (bytes), ``context_length`` (per slot)."""
        return list(self._object("GET", "/api/ps").get("models") or [])

    def show(self, model: str) -> Json:
        """Metadata of an installed model: ``details``, ``model_info``, ``capabilities``, ``parameters``."""
        return self._object("POST", "/api/show", {"model": model})

    def copy(self, source: str, destination: str) -> None:
        """Give an installed model a second name; no bytes are copied."""
        self._request("POST", "/api/copy", {"source": source, "destination": destination}).close()

    def delete(self, model: str) -> None:
        """Remove a model's name, and its layers where no other model uses them."""
        self._request("DELETE", "/api/delete", {"model": model}).close()

    def pull(self, model: str, insecure: bool = False) -> Iterator[Json]:
        """Pull a model; yields the server's progress objects. ``insecure`` means plain http, not unverified TLS."""
        return self._stream("/api/pull", {"model": model, "insecure": insecure, "stream": True})

    def generate(self, request: Mapping[str, Any]) -> Iterator[Json]:
        """Generate text; yields one object per token, the last with ``done`` and the server's counters."""
        return self._stream("/api/generate", dict(request, stream=True))

    def _object(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Json:
        with self._request(method, path, body) as response:
            try:
                value = response.json()
            except ValueError:
                value = None
        if not isinstance(value, dict):
            raise UnexpectedAnswer(
                f"{self.url}{path} answered, but not with a JSON object.",
                "Check that this address is an Ollama server and not another service or a login page.",
            )
        return value

    def _stream(self, path: str, body: Mapping[str, Any]) -> Iterator[Json]:
        """Yield the JSON lines of a streamed answer; an ``error`` line inside a 200 stream is raised like any other."""
        with self._request("POST", path, body, stream=True) as response:
            try:
                for line in response.iter_lines(chunk_size=None):
                    if not line:
                        continue
                    try:
                        value = json.loads(line)
                    except ValueError:
                        raise UnexpectedAnswer(
                            f"{self.url}{path} sent a line that is not JSON: {line[:80]!r}.",
                            "Check that this address is an Ollama server.",
                        ) from None
                    if "error" in value:
                        raise UnexpectedAnswer(f"{self.url}{path} reported: {value['error']}.", model=body.get("model"))
                    yield value
            except requests.RequestException as error:
                raise Unreachable(
                    f"{self.url}{path} broke off in the middle of its answer: {brief(error)}.",
                    "Look at the server's log for a restart or a crash.",
                ) from error

    def _request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, stream: bool = False
    ) -> requests.Response:
        try:
            response = self._session.request(
                method, self.url + path, json=body, stream=stream, timeout=(CONNECT_TIMEOUT, self.timeout)
            )
        except requests.RequestException as error:
            raise Unreachable(
                f"No answer from {self.url}{path}: {brief(error)}.",
                "Check that the service runs (systemctl status ollama) and that the address and port are right.",
                url=self.url,
            ) from error
        if response.ok:
            return response
        with response:
            message = error_text(response)
        kind = NotFound if response.status_code == 404 else UnexpectedAnswer
        raise kind(f"{self.url}{path} answered {response.status_code}: {message}.", status=response.status_code)


def error_text(response: requests.Response) -> str:
    """The server's own words: the ``error`` of a JSON body, or the start of any other body."""
    try:
        value = response.json()
    except ValueError:
        value = None
    if isinstance(value, dict) and value.get("error"):
        return str(value["error"]).rstrip(".")
    return " ".join(response.text[:200].split()) or str(response.reason)


def brief(error: BaseException) -> str:
    """The innermost reason of a ``requests`` error, without the layers of wrapping that say nothing to a user."""
    innermost: BaseException = error
    while innermost.args and isinstance(innermost.args[-1], BaseException):
        innermost = innermost.args[-1]
    reason = getattr(innermost, "reason", None)
    if isinstance(reason, BaseException):
        return brief(reason)
    text = str(innermost.args[-1]) if innermost.args else str(innermost)
    return text.split(">: ")[-1].rstrip(".") or type(innermost).__name__
