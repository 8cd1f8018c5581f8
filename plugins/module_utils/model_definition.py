# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One entry of a list of declared models, as every module and role reads it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Union

from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName

Value = Union[bool, int, float, str]
Parameters = dict[str, Union[Value, list[Value]]]

KEYS = ("name", "from", "candidates", "gguf", "sha256", "parameters", "system", "template")

# Where a model's weights come from; at most one of them is given.
_ORIGINS = ("from", "candidates", "gguf")
_PARAMETER = re.compile(r"[a-z][a-z0-9_]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Definition:
    """A model that a host shall have under ``name``.

    Its weights come from a registry (``bases``: the models to take, the first that fits the host is taken; ``name``
    itself where nothing else is given) or from a GGUF file (``gguf``: a path on the host or an address, ``sha256`` its
    digest as 64 hex digits, empty where it is not known). ``parameters``, ``system`` and ``template`` are set over
    what the weights bring along; None leaves the text as it is.
    """

    name: ModelName
    bases: tuple[ModelName, ...] = ()
    gguf: str = ""
    sha256: str = ""
    parameters: Parameters = field(default_factory=dict)
    system: str | None = None
    template: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the model is just what the registry has under that name."""
        return self.bases == (self.name,) and not self.is_derived

    @property
    def is_derived(self) -> bool:
        """Whether anything is set over what the weights bring along."""
        return bool(self.parameters) or self.system is not None or self.template is not None

    @classmethod
    def parse(cls, entry: Any, place: str = "models") -> Definition:
        """Read a name, or a mapping with ``KEYS``; ``place`` names it in errors. Raises ``InvalidInput``."""
        if isinstance(entry, str):
            name = ModelName.parse(entry)
            return cls(name, (name,))
        if not isinstance(entry, Mapping):
            raise _wrong(place, f"is {entry!r}", f"Give a name, or a mapping with {', '.join(KEYS)}.")
        given = {str(key): value for key, value in entry.items() if value is not None}
        unknown = [key for key in given if key not in KEYS]
        if unknown:
            raise _wrong(place, f"has the unknown key {unknown[0]!r}", f"Known keys: {', '.join(KEYS)}.")
        texts = {key: _text(given, key, place) for key in ("name", "from", "gguf", "sha256", "system", "template")}
        if not texts["name"]:
            raise _wrong(place, "has no name", "Give the name that the model shall have on the host.")
        origins = [key for key in _ORIGINS if key in given]
        if len(origins) > 1:
            raise _wrong(place, f"has {' and '.join(origins)}", "A model's weights come from one of them.")
        name = ModelName.parse(texts["name"])
        return cls(
            name,
            _bases(given, name, texts["from"], place),
            texts["gguf"] or "",
            _checksum(texts, place),
            check_parameters(given.get("parameters", {}), f"{place}: parameters"),
            texts["system"],
            texts["template"],
        )


def definitions(entries: Iterable[Any], place: str = "models") -> list[Definition]:
    """The entries of a list in its order; one that is repeated counts once. Raises ``InvalidInput``.

    Two different definitions of one name are refused.
    """
    found: dict[str, Definition] = {}
    for index, entry in enumerate(entries):
        where = f"{place}[{index}]"
        definition = Definition.parse(entry, where)
        if found.setdefault(definition.name.key, definition) != definition:
            raise _wrong(where, f"declares {definition.name} a second time, differently", "Leave one of them.")
    return list(found.values())


def check_parameters(given: Any, place: str = "parameters") -> Parameters:
    """Parameters as a user gave them. Raises ``InvalidInput`` for a name or a value that cannot be one."""
    if not isinstance(given, Mapping):
        raise _wrong(place, f"is {given!r}", "Give a mapping of parameters, for example {num_ctx: 8192}.")
    checked: Parameters = {}
    for name, value in given.items():
        values = value if isinstance(value, list) else [value]
        if not _PARAMETER.fullmatch(str(name)):
            raise InvalidInput(f"{place}: {name!r} is not a name.", "Write it as in num_ctx.", key=str(name))
        if not values or not all(isinstance(each, (bool, int, float, str)) for each in values):
            raise InvalidInput(
                f"{place}: {name} is {value!r}.", "Give a number, a text, true or false, or a list of texts.", key=name
            )
        checked[name] = value
    return checked


def _bases(given: Mapping[str, Any], name: ModelName, base: str | None, place: str) -> tuple[ModelName, ...]:
    if "gguf" in given:
        return ()
    if "candidates" not in given:
        return (ModelName.parse(base) if base else name,)
    candidates = given["candidates"]
    if not isinstance(candidates, Sequence) or isinstance(candidates, str) or not candidates:
        raise _wrong(place, f"has the candidates {candidates!r}", "List names of models, the best one first.")
    return tuple({each.key: each for each in (ModelName.parse(str(text)) for text in candidates)}.values())


def _checksum(texts: Mapping[str, str | None], place: str) -> str:
    sha256 = (texts["sha256"] or "").lower().replace("sha256:", "")
    if sha256 and not texts["gguf"]:
        raise _wrong(place, "has a sha256 without gguf", "Only a file has it; models.lock.yml pins other models.")
    if sha256 and not _SHA256.fullmatch(sha256):
        raise _wrong(place, f"has the sha256 {texts['sha256']!r}", "Give 64 hexadecimal digits.")
    if texts["gguf"] and "://" in texts["gguf"] and not sha256:
        raise _wrong(place, "has an address as gguf, but no sha256", "Give the SHA-256 of the file.")
    return sha256


def _text(given: Mapping[str, Any], key: str, place: str) -> str | None:
    value = given.get(key)
    if value is not None and not isinstance(value, str):
        raise _wrong(place, f"has the {key} {value!r}", "Give a text.")
    return value


def _wrong(place: str, what: str, remedy: str) -> InvalidInput:
    return InvalidInput(f"{place} {what}.", remedy, key=place)
