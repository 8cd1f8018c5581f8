# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``models.lock.yml``: the digests that a fleet's models shall have, whatever a registry publishes later."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from ansible_collections.llmops.ollama.plugins.module_utils.registry import Offer

FORMAT = 1

_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Pin:
    """One model: ``digest`` of its manifest and ``weights`` of its GGUF file (64 hex digits), ``size`` in bytes.

    The weights stay the same when parameters are set over a model, and its manifest's digest does not.
    """

    digest: str
    weights: str
    size: int
    quantization: str = ""

    @classmethod
    def of_offer(cls, offer: Offer) -> Pin:
        """What a registry offers now."""
        weights = [layer.digest.rpartition(":")[2] for layer in offer.manifest.of_kind("model")]
        return cls(offer.manifest.digest, weights[0] if weights else "", offer.manifest.size, offer.quantization)


# By the key of the model's name (``ModelName.key``).
Lock = dict[str, Pin]


def parse(data: Any) -> Lock:
    """The contents of a lock file, as YAML reads them; nothing (None or {}) pins nothing. Raises ``InvalidInput``."""
    if not data:
        return {}
    if not isinstance(data, Mapping) or data.get("format") != FORMAT or not isinstance(data.get("models"), Mapping):
        raise InvalidInput(
            "The lock is not one of this collection's: it has no mapping models, or another format than "
            f"{FORMAT} ({str(data)[:60]}).",
            "Write it anew: the playbooks mirror and bundle do.",
            key="lock",
        )
    return {ModelName.parse(str(name)).key: _pin(str(name), entry) for name, entry in data["models"].items()}


def to_data(pins: Mapping[str, Pin]) -> dict[str, Any]:
    """What ``parse`` reads, to be written as YAML; ``pins`` by name."""
    return {"format": FORMAT, "models": {name: asdict(pins[name]) for name in sorted(pins)}}


def to_text(pins: Mapping[str, Pin]) -> str:
    """The same as a YAML file for people to read and to compare."""
    lines = ["# Written by the playbooks mirror and bundle: the digests that the fleet's models shall have.", "---"]
    data = to_data(pins)
    lines += [f"format: {data['format']}", "models:" if pins else "models: {}"]
    for name, entry in data["models"].items():
        lines += [f"  {json.dumps(name)}:", *(f"    {key}: {json.dumps(value)}" for key, value in entry.items())]
    return "\n".join([*lines, ""])


def _pin(name: str, entry: Any) -> Pin:
    try:
        pin = Pin(str(entry["digest"]), str(entry["weights"]), int(entry["size"]), str(entry.get("quantization") or ""))
    except (KeyError, TypeError, ValueError, AttributeError):
        pin = Pin("", "", 0)
    if not _HEX.fullmatch(pin.digest) or not (_HEX.fullmatch(pin.weights) or not pin.weights) or pin.size < 0:
        raise InvalidInput(
            f"The lock's entry of {name} is {entry!r}.",
            "It needs digest and weights (64 hex digits) and size.",
            key=name,
        )
    return pin
