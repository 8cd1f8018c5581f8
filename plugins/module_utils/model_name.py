# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names of models as Ollama reads them: ``[HOST[:PORT]/][NAMESPACE/]MODEL[:TAG]``."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.words import http_url

DEFAULT_REGISTRY = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"

# What the server accepts (its types/model/name.go): each part begins with a letter, digit or underscore.
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}")
_NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}")
_MODEL_OR_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")


class ModelName(NamedTuple):
    """A complete name; ``str()`` gives the short form that ``/api/tags`` shows, for example ``gemma3:270m``."""

    registry: str
    namespace: str
    model: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Read a name; parts that are left out get the server's defaults. Raises ``InvalidInput``."""
        path, colon, tag = text.rpartition(":")
        if not colon or "/" in tag:  # the colon was a port's, or there was none
            path, tag = text, DEFAULT_TAG
        *rest, model = path.split("/")
        namespace = rest.pop() if rest else DEFAULT_NAMESPACE
        registry = "/".join(rest) if rest else DEFAULT_REGISTRY
        parts = ((registry, _HOST), (namespace, _NAMESPACE), (model, _MODEL_OR_TAG), (tag, _MODEL_OR_TAG))
        for part, pattern in parts:
            if not pattern.fullmatch(part):
                raise InvalidInput(f"{text!r} is not a model name: {_objection(text, part)}.", _remedy(text))
        if registry.lower() == DEFAULT_REGISTRY:
            registry = DEFAULT_REGISTRY
        return cls(registry, namespace, model, tag)

    def __str__(self) -> str:
        name = f"{self.model}:{self.tag}"
        if self.registry != DEFAULT_REGISTRY:
            return f"{self.registry}/{self.namespace}/{name}"
        return name if self.namespace.lower() == DEFAULT_NAMESPACE else f"{self.namespace}/{name}"

    @property
    def key(self) -> str:
        """Equal for two names that the server takes for the same model: it ignores case."""
        return str(self).lower()

    def at(self, registry: str) -> ModelName:
        """The same model under the name that another registry (``host[:port]``) gives it. Raises ``InvalidInput``."""
        if not _HOST.fullmatch(registry):
            raise InvalidInput(
                f"A model cannot be pulled from {registry!r}: Ollama takes no such host in a model's name.",
                "Name the registry by a host name or an IPv4 address, with a port where needed.",
            )
        return self._replace(registry=registry)


def registry_url(text: str) -> str:
    """The address of a registry, without a slash at its end. Raises ``InvalidInput``."""
    url = http_url("registry", text)
    parts = urlsplit(url)
    if url != f"{parts.scheme}://{parts.netloc}" or "@" in parts.netloc:
        raise InvalidInput(
            f"registry is {text!r}, but a model's name can carry only a host and a port.",
            "Serve the registry at the root of its host, and write it as http://HOST:PORT without path or password.",
        )
    return url


def _objection(text: str, part: str) -> str:
    if not text.strip():
        return "it is empty"
    if not part:
        return "a part of it is empty"
    return f"the part {part!r} has characters, a beginning or a length that Ollama does not take"


def _remedy(text: str) -> str:
    if "://" in text:
        return "Leave out the scheme, and give a registry that speaks plain http with the option registry."
    return "Write MODEL, MODEL:TAG, NAMESPACE/MODEL:TAG or HOST:PORT/NAMESPACE/MODEL:TAG, for example gemma3:270m."
