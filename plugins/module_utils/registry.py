# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a registry offers under a model's name, read from its manifest: nothing is pulled for it."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Callable
from urllib.parse import urlsplit

with contextlib.suppress(ImportError):  # entry.run() reports the missing library to the user
    import requests

from ansible_collections.llmops.ollama.plugins.module_utils.access import Access
from ansible_collections.llmops.ollama.plugins.module_utils.client import (
    CONNECT_TIMEOUT,
    brief,
    error_text,
    first_bytes,
    no_answer,
)
from ansible_collections.llmops.ollama.plugins.module_utils.errors import (
    NotFound,
    UnexpectedAnswer,
    Unreachable,
    Untrusted,
)
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import DEFAULT_REGISTRY, ModelName, registry_url
from ansible_collections.llmops.ollama.plugins.module_utils.retry import Wait, with_retries
from ansible_collections.llmops.ollama.plugins.module_utils.words import from_json, seconds

DEFAULT_URL = f"https://{DEFAULT_REGISTRY}"
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
# Servers count bytes in so many bits.
_MOST = 1 << 63
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Source:
    """Where a model comes from: the address of a registry, and the name that makes the server pull from it."""

    registry: str
    name: ModelName

    @property
    def asked_for(self) -> str:
        """The model's name as the registry knows it: without the registry."""
        return str(self.name.at(DEFAULT_REGISTRY))

    @property
    def insecure(self) -> bool:
        """Whether the server must be told to use plain http."""
        return self.registry.startswith("http://")


def source_of(name: ModelName, registry: str) -> Source:
    """Where ``name`` comes from, given the user's ``registry`` (an address). Raises ``InvalidInput``.

    The user's registry stands in for Ollama's own. A name that carries another registry keeps it, over https.
    """
    url = registry_url(registry)
    host = urlsplit(url).netloc.lower()
    if name.registry == DEFAULT_REGISTRY:
        return Source(url, name.at(host))
    if name.registry.lower() == host:
        return Source(url, name)
    return Source(f"https://{name.registry}", name)


@dataclass(frozen=True)
class Layer:
    """One blob of a model: its ``digest`` as ``sha256:<64 hex>`` and its ``size`` in bytes.

    ``kind`` is the last part of its media type: ``model``, ``params``, ``projector``, ``adapter``, ``template``, ...
    """

    digest: str
    size: int
    kind: str = ""


@dataclass(frozen=True)
class Manifest:
    """The contents of a model. ``digest`` (64 hex digits) is the one that ``/api/tags`` shows once it is installed."""

    digest: str
    config: Layer
    layers: tuple[Layer, ...]

    @classmethod
    def parse(cls, body: bytes) -> Manifest:
        """Read the bytes that a registry serves. Raises ``ValueError`` if they are not a model's manifest."""
        value = from_json(body)
        try:
            config = _layer(value["config"])
            layers = tuple(_layer(entry) for entry in value["layers"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a manifest: {error}") from error
        return cls(hashlib.sha256(body).hexdigest(), config, layers)

    @property
    def blobs(self) -> tuple[Layer, ...]:
        """Everything that the server stores for this model."""
        return (*self.layers, self.config)

    @property
    def size(self) -> int:
        """Bytes of the whole model."""
        return sum(blob.size for blob in self.blobs)

    def of_kind(self, *kinds: str) -> list[Layer]:
        """The layers of these kinds."""
        return [layer for layer in self.layers if layer.kind in kinds]


def _layer(entry: Any) -> Layer:
    digest, size = entry["digest"], entry["size"]
    if not (isinstance(digest, str) and _DIGEST.fullmatch(digest) and isinstance(size, int) and 0 <= size < _MOST):
        raise ValueError(f"not a layer: {entry!r}")
    _, ours, kind = str(entry.get("mediaType", "")).rpartition("application/vnd.ollama.image.")
    return Layer(digest, size, kind if ours else "")


@dataclass(frozen=True)
class Offer:
    """What a registry would deliver: the manifest and the facts of the model's configuration."""

    manifest: Manifest
    quantization: str
    family: str
    parameter_size: str


class Registry:
    """One HTTP session for questions to registries. ``timeout`` (seconds) bounds every wait for the next byte.

    A question that is asked with patience is repeated up to ``retries`` times after a transient error. One without is
    asked once, and not at all if its registry could not be reached before. ``access`` is shown to the registry that it
    is for, and to no other.
    """

    def __init__(
        self,
        timeout: float = 30.0,
        retries: int = 0,
        announce: Callable[[str], None] = lambda text: None,
        wait: Wait = time.sleep,
        access: Access = Access(),  # noqa: B008  # immutable
    ) -> None:
        self.timeout = seconds("timeout", timeout)
        self.retries = retries
        self.access = access
        self._announce = announce
        self._wait = wait
        self._session = requests.Session()  # unlike the client's it uses the environment's proxy, as the server does
        self._out_of_reach: dict[str, Unreachable | Untrusted] = {}

    def __enter__(self) -> Registry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def manifest(self, source: Source, patient: bool = False) -> Manifest:
        """The manifest of a model. Raises ``Unreachable``, ``Untrusted``, ``NotFound`` or ``UnexpectedAnswer``."""
        return self.served_manifest(source, patient)[0]

    def served_manifest(self, source: Source, patient: bool = False) -> tuple[Manifest, bytes]:
        """The manifest of a model, and the very bytes that its digest is over. Raises as ``manifest`` does."""
        body = self._ask(source, f"manifests/{source.name.tag}", {"Accept": MANIFEST_TYPE}, patient)
        try:
            return Manifest.parse(body), body
        except ValueError as error:
            raise _not_a_registry(source, body) from error

    def offer(self, source: Source, manifest: Manifest, patient: bool = False) -> Offer:
        """The facts of the model's configuration, one small blob. Raises as ``manifest`` does."""
        config = self.json_blob(source, manifest.config, patient)
        return Offer(
            manifest,
            quantization=str(config.get("file_type") or ""),
            family=str(config.get("model_family") or ""),
            parameter_size=str(config.get("model_type") or ""),
        )

    def json_blob(self, source: Source, layer: Layer, patient: bool = False) -> dict[str, Any]:
        """A small blob that holds a JSON object: a configuration, parameters. Raises as ``manifest`` does."""
        body = self._ask(source, f"blobs/{layer.digest}", {}, patient)
        try:
            value = from_json(body)
            if not isinstance(value, dict):
                raise ValueError("not an object")
        except ValueError as error:
            raise _not_a_registry(source, body) from error
        return value

    def read_blob(self, source: Source, layer: Layer, offset: int, length: int) -> bytes:
        """A range of a blob, shorter where the blob ends. Raises as ``manifest`` does.

        From a server that knows no ranges the bytes before the range are read as well; the rest is not.
        """
        if offset >= layer.size:
            return b""
        last = min(offset + length, layer.size) - 1
        return self._get(source, f"blobs/{layer.digest}", {"Range": f"bytes={offset}-{last}"}, (offset, last + 1))

    def _ask(self, source: Source, path: str, headers: Mapping[str, str], patient: bool) -> bytes:
        if patient:
            return with_retries(lambda: self._get(source, path, headers), self.retries, self._announce, self._wait)
        if source.registry in self._out_of_reach:
            raise self._out_of_reach[source.registry]
        return self._get(source, path, headers)

    def _get(self, source: Source, path: str, headers: Mapping[str, str], part: tuple[int, int] | None = None) -> bytes:
        """The body of an answer, or of a body the ``part`` from one byte to before another."""
        name = source.name
        url = f"{source.registry}/v2/{name.namespace}/{name.model}/{path}"
        options = {"timeout": (CONNECT_TIMEOUT, self.timeout), **self.access.options(url)}
        try:
            with self._session.get(url, headers=dict(headers), stream=part is not None, **options) as response:
                if response.ok and part and response.status_code != http.client.PARTIAL_CONTENT:
                    return first_bytes(response, part[1])[part[0] :]
                if response.ok and part:
                    return first_bytes(response, part[1] - part[0])
                if response.ok:
                    return bytes(response.content)
                message = error_text(response)
        except requests.RequestException as error:
            self._out_of_reach[source.registry] = failure = no_answer(
                error,
                f"No answer from the registry {source.registry}: {brief(error)}.",
                "Check the option registry, the host's way out (name resolution, firewall, the variables http_proxy "
                "and https_proxy in the task's environment), or pull from a mirror.",
                registry=source.registry,
            )
            raise failure from error
        raise _refusal(source, path, response.status_code, message, self.access)


def _refusal(source: Source, path: str, status: int, message: str, access: Access) -> NotFound | UnexpectedAnswer:
    name, registry = source.asked_for, source.registry
    kind, _, digest = path.partition("/")
    if status == http.client.NOT_FOUND and kind == "blobs":
        return NotFound(
            f"The registry {registry} has the model {name}, but not its file {digest}.",
            "Its copy of the model is not whole: have it filled again.",
            registry=registry,
            model=name,
            status=status,
        )
    if status == http.client.NOT_FOUND:
        tags = f"https://ollama.com/library/{source.name.model}/tags lists the tags"
        if registry != DEFAULT_URL:
            tags = "a mirror has only the models that were put into it"
        return NotFound(
            f"The registry {registry} has no model {name}.",
            f"Check the spelling of the model and of its tag; {tags}.",
            registry=registry,
            model=name,
            status=status,
        )
    return UnexpectedAnswer(
        f"The registry {registry} answered {status} when asked for {name}: {message}.",
        remedy(registry, status, access),
        registry=registry,
        model=name,
        status=status,
    )


def remedy(registry: str, status: int, access: Access) -> str:
    """What to do about a registry's refusal, an HTTP status."""
    private = "The model is private or its name is wrong: check the namespace and the spelling."
    remedies: dict[int, str] = {
        http.client.UNAUTHORIZED: private if registry == DEFAULT_URL else access.remedy(registry, "registry"),
        http.client.FORBIDDEN: private
        if registry == DEFAULT_URL
        else "The model is private, its name is wrong, or the registry does not serve this host: look at its log.",
        http.client.TOO_MANY_REQUESTS: "The registry limits its requests: try again later, or pull from a mirror.",
    }
    return remedies.get(status, "Look at the registry's own log, or pull from a mirror.")


def _not_a_registry(source: Source, body: bytes) -> UnexpectedAnswer:
    return UnexpectedAnswer(
        f"{source.registry} answered for {source.asked_for}, but not as a registry does: {body[:60]!r}.",
        "Check the option registry: this looks like another service, a login page or a proxy.",
        registry=source.registry,
        model=source.asked_for,
        status=200,
    )
