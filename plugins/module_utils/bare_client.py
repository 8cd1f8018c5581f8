# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The questions that the tuner asks a server, by the standard library alone.

Importing requests takes a sixth of the CPU time that the tuner may use on each host, and bare hosts do not have it.
Everything else asks through ``client.py``.
"""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.llmops.ollama.plugins.module_utils.errors import NotFound, UnexpectedAnswer, Unreachable
from ansible_collections.llmops.ollama.plugins.module_utils.words import from_json, http_url, seconds


class BareClient:
    """One server, for example ``BareClient("http://127.0.0.1:11434")``; ``timeout`` (s) bounds each wait for a byte."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = http_url("url", url)
        parts = urlsplit(self._url)
        self._path = parts.path
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=seconds("timeout", timeout))

    def tags(self) -> list[dict[str, Any]]:
        """The installed models: ``name``, ``size`` (bytes), ..."""
        models = self._ask("GET", "/api/tags").get("models")
        return [entry for entry in models if isinstance(entry, dict)] if isinstance(models, list) else []

    def show(self, model: str, verbose: bool = False) -> dict[str, Any]:
        """Metadata of an installed model: ``details``, ``model_info``, ``tensors``, ``parameters``.

        Lists in ``model_info`` are null or empty unless ``verbose``, which makes it megabytes: with the tokenizer's.
        """
        return self._ask("POST", "/api/show", {"model": model, **({"verbose": True} if verbose else {})})

    def _ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        try:
            self._connection.request(method, self._path + path, body=json.dumps(body) if body else None)
            answer = self._connection.getresponse()
            status, content = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Unreachable(f"No answer from {self._url}{path}: {error}.", "Check that the service runs.") from error
        if status == http.client.NOT_FOUND:
            raise NotFound(f"{self._url}{path} answered 404.", status=status)
        try:
            value = from_json(content)
        except ValueError:
            value = None
        if status != http.client.OK or not isinstance(value, dict):
            raise UnexpectedAnswer(
                f"{self._url}{path} answered {status}, but not as an Ollama server does.",
                "Check that this address is an Ollama server and not another service.",
                status=status,
            )
        return value
