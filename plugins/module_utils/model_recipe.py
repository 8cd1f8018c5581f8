# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is set over a model's weights, and how a finished model tells what it was made of.

A server merges parameters into those that the weights bring along, so that nobody can see afterwards which of them were
asked for. But it remembers the name of the model that another one was made of. Models are therefore made of a name that
is there only meanwhile and holds what they were made of; ``details.parent_model`` shows it ever after.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import Definition, Parameters
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import DEFAULT_REGISTRY, ModelName

# Characters of digests in a name, whose tag may have 80 in all.
_DEFINITION, _BASE, _FILE = 16, 40, 16
_NAMESPACE, _MODEL = "llmops", "definition"
_RECORD = re.compile(rf"{_NAMESPACE}/{_MODEL}:([0-9a-f]{{{_DEFINITION}}})-([0-9a-f]{{{_BASE}}})(?:-([0-9a-f]+))?")


@dataclass(frozen=True)
class Overlay:
    """What is set over the weights; None leaves a text as they bring it along."""

    parameters: Parameters = field(default_factory=dict)
    system: str | None = None
    template: str | None = None

    @classmethod
    def of(cls, definition: Definition, parameters: Parameters) -> Overlay:
        """A definition's own, over ``parameters`` that every model shall have."""
        return cls({**parameters, **definition.parameters}, definition.system, definition.template)

    def __bool__(self) -> bool:
        return bool(self.parameters) or self.system is not None or self.template is not None

    def request(self) -> dict[str, Any]:
        """Its part of a request to ``/api/create``."""
        parts = {"parameters": self.parameters or None, "system": self.system, "template": self.template}
        return {key: value for key, value in parts.items() if value is not None}

    def __str__(self) -> str:
        """For a person: ``num_ctx=4096 stop=["x"] system="Be brief."``."""
        texts = [f"{key}={json.dumps(value)}" for key, value in sorted(self.parameters.items())]
        for key in ("system", "template"):
            value = getattr(self, key)
            if value is not None:
                texts.append(f"{key}={json.dumps(value if len(value) <= 60 else value[:59] + '…', ensure_ascii=False)}")
        return " ".join(texts)


@dataclass(frozen=True)
class Record:
    """What a model was made of: beginnings of the digests of its definition and of its base.

    The base's digest is that of its manifest, or that of its GGUF file. ``file`` is that file's fingerprint where its
    digest was not declared.
    """

    definition: str
    base: str
    file: str = ""

    @classmethod
    def make(cls, overlay: Overlay, origin: str, base: str, file: str = "") -> Record:
        """``origin`` is the base's name, or says that it was a file."""
        return cls(_digest([origin, overlay.request()])[:_DEFINITION], base[:_BASE], file[:_FILE])

    @classmethod
    def of_parent(cls, parent: str) -> Record | None:
        """Read the name of a parent; None where it is not one of this collection's."""
        found = _RECORD.fullmatch(parent)
        return cls(found[1], found[2], found[3] or "") if found else None

    @property
    def name(self) -> ModelName:
        """The name that holds the base while the model is made."""
        tag = "-".join(filter(None, (self.definition, self.base, self.file)))
        return ModelName(DEFAULT_REGISTRY, _NAMESPACE, _MODEL, tag)

    def is_of(self, digest: str) -> bool:
        """Whether the base had that digest."""
        return same_digest(self.base, digest)


def same_digest(one: str, other: str) -> bool:
    """Whether two digests, of which one may be only a beginning, are those of the same thing."""
    length = min(len(one), len(other))
    return length >= _BASE and one[:length] == other[:length]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
