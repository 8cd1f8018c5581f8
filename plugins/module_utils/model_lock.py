# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``models.lock.yml``: the digests that a fleet's models shall have, whatever a registry publishes later."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Callable

from ansible_collections.llmops.ollama.plugins.module_utils.errors import ChecksumMismatch, InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import Definition
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from ansible_collections.llmops.ollama.plugins.module_utils.registry import Offer

FORMAT = 1

# What to do about models that drifted.
LOCK_REMEDY = (
    "Run site.yml (tag models): it pulls what the lock pins. Where the new ones are wanted, write the lock anew; the "
    "playbooks mirror and bundle do."
)

_HEX = re.compile(r"[0-9a-f]{64}")
_FROM = re.compile(r"^FROM .*?sha256-([0-9a-f]{64})\s*$", re.MULTILINE)


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


def check_offer(name: ModelName, registry: str, digest: str, pin: Pin) -> None:
    """Raise ``ChecksumMismatch`` where a registry offers a pinned model with another digest than its pin's."""
    if digest != pin.digest:
        raise ChecksumMismatch(
            f"{name} is pinned to {pin.digest}, but the registry {registry} offers {digest}.",
            "It was not pulled. Write the lock anew if the new one is wanted (the playbooks mirror and bundle do), or "
            "pull from a mirror that holds the pinned one.",
            model=str(name),
            pinned=pin.digest,
            offered=digest,
        )


@dataclass(frozen=True)
class Drift:
    """A model that is not what the lock says; ``has`` is its digest, empty where it is missing."""

    name: str
    has: str
    pinned: str

    def __str__(self) -> str:
        if not self.has:
            return f"{self.name} is missing (pinned to {self.pinned[:12]})"
        return f"{self.name} has the digest {self.has[:12]} and is pinned to {self.pinned[:12]}"


def drifts(
    lock: Mapping[str, Pin],
    digests: Mapping[str, str],
    weights: Callable[[str], Sequence[str]],
    definitions: Sequence[Definition] | None = None,
) -> list[Drift]:
    """Models that drifted, in the lock's order. ``digests`` are those of the installed models, by their keys.

    ``weights`` asks for the digests of a model's files: with parameters set over it, it is still made of the pinned
    ones. ``definitions`` says of which models a host is made; None: it has all that are pinned.
    """
    made_of = {base.key for definition in definitions or () if not definition.is_open for base in definition.bases}
    wanted = lock if definitions is None else {name: pin for name, pin in lock.items() if name in made_of}
    found = []
    for name, pin in wanted.items():
        has = digests.get(name, "")
        if has == pin.digest or (has and pin.weights and pin.weights in weights(name)):
            continue
        found.append(Drift(name, has, pin.digest))
    return found


def weights_of(show: Mapping[str, Any]) -> list[str]:
    """Digests (64 hex digits) of the files that a model is made of, the weights first, from ``/api/show``."""
    return _FROM.findall(str(show.get("modelfile") or ""))


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
