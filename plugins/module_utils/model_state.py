# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A model as it is on a server, or as it will be: what is compared before anything is changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.registry import Offer


@dataclass(frozen=True)
class State:
    """``digest`` is the sha256 of the manifest, empty where it is known only once the model is made; ``size`` in bytes.

    ``parent`` is the name of the model that it was made of, empty for one that was pulled, None where the server's list
    does not tell (before Ollama 0.30).
    """

    digest: str
    size: int
    quantization: str
    family: str
    parameter_size: str
    parent: str | None = ""
    name: str = field(default="", compare=False)  # as the server spells it

    @classmethod
    def of_tag(cls, entry: Mapping[str, Any]) -> State:
        """An installed model, from its entry in the answer to ``/api/tags``."""
        details = entry.get("details") or {}
        # Older versions list an empty parent for every model; those that fill it in list the context as well.
        parent = details.get("parent_model") or ("" if "context_length" in details else None)
        return cls(
            digest=str(entry.get("digest", "")),
            size=int(entry.get("size", 0)),
            quantization=str(details.get("quantization_level") or ""),
            family=str(details.get("family") or ""),
            parameter_size=str(details.get("parameter_size") or ""),
            parent=parent,
            name=str(entry.get("name", "")),
        )

    @classmethod
    def of_offer(cls, offer: Offer) -> State:
        """What a model will be once it is pulled."""
        return cls(offer.manifest.digest, offer.manifest.size, offer.quantization, offer.family, offer.parameter_size)


def installed_models(tags: Iterable[Mapping[str, Any]]) -> dict[str, State]:
    """The models of ``/api/tags`` by the key of their name (``ModelName.key``)."""
    return {str(entry.get("name", "")).lower(): State.of_tag(entry) for entry in tags}
