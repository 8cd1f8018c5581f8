# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One entry of a list of declared models, as every module and role reads it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Union

from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import DEFAULT_TAG, ModelName
from ansible_collections.llmops.ollama.plugins.module_utils.words import boolean, number

Value = Union[bool, int, float, str]
Parameters = dict[str, Union[Value, list[Value]]]

KEYS = ("name", "from", "candidates", "gguf", "sha256", "parameters", "system", "template")

# Where a model's weights come from; at most one of them is given.
_ORIGINS = ("from", "candidates", "gguf")
_PROSE = ("system", "template")
_PARAMETER = re.compile(r"[a-z][a-z0-9_]*")
_NUMBER = re.compile(r"[-+]?(\d+|\d*\.\d+|\d+\.)([eE][-+]?\d+)?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
# A candidate that is no name of a model, only another quantization of the one that is defined.
_QUANTIZATION = re.compile(r"(fp16|f16|bf16|f32|mxfp4|i?q[1-8](_[0-9a-z]{1,3})*)", re.IGNORECASE)

# Parameters of a model that current versions read, by their kind: to find slips of the pen, and values that the server
# would refuse at each request or take for something else. Others are passed on.
_EXACT = 1 << 53  # whole numbers up to it are the same in JSON
_WHOLE: dict[str, tuple[int, int]] = {
    "num_ctx": (1, 1 << 24),
    "num_batch": (1, 1 << 24),
    "num_gpu": (-1, 999),
    "num_thread": (0, 4096),
    "num_keep": (-_EXACT, _EXACT),
    "num_predict": (-_EXACT, _EXACT),
    "main_gpu": (0, 999),
    "seed": (-_EXACT, _EXACT),
    "top_k": (-_EXACT, _EXACT),
    "repeat_last_n": (-_EXACT, _EXACT),
}
_DECIMAL = (
    "temperature",
    "top_p",
    "min_p",
    "typical_p",
    "repeat_penalty",
    "presence_penalty",
    "frequency_penalty",
)
_SWITCH = "use_mmap"
_STOP = "stop"
KNOWN_PARAMETERS = (*_WHOLE, *_DECIMAL, _SWITCH, _STOP)


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

    @property
    def is_open(self) -> bool:
        """Whether one of several candidates is still to be chosen."""
        return len(self.bases) > 1

    def made_of(self, base: ModelName) -> Definition:
        """The definition with its candidate chosen."""
        return replace(self, bases=(base,))

    @property
    def is_download(self) -> bool:
        """Whether its file comes from an address."""
        return "://" in self.gguf

    def to_data(self) -> str | dict[str, Any]:
        """The entry that ``parse`` reads as this definition."""
        if self.is_plain:
            return str(self.name)
        bases = [str(base) for base in self.bases]
        entry = {
            "name": str(self.name),
            "from": bases[0] if len(bases) == 1 and self.bases != (self.name,) else None,
            "candidates": bases if self.is_open else None,
            "gguf": self.gguf or None,
            "sha256": self.sha256 or None,
            "parameters": dict(self.parameters) or None,
            "system": self.system,
            "template": self.template,
        }
        return {key: value for key, value in entry.items() if value is not None}

    @classmethod
    def parse(cls, entry: Any, place: str = "models") -> Definition:
        """Read a name, or a mapping with ``KEYS``; ``place`` names it in errors. Raises ``InvalidInput``."""
        if isinstance(entry, str):
            name = _name(entry, place)
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
        empty = [key for key, text in texts.items() if text == ""]
        if empty:
            raise _wrong(place, f"has an empty {empty[0]}", "Leave the key out, or give it a value.")
        origins = [key for key in _ORIGINS if key in given]
        if len(origins) > 1:
            raise _wrong(place, f"has {' and '.join(origins)}", "A model's weights come from one of them.")
        name = _name(texts["name"], place)
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

    Two different definitions of one name are refused, and so are models that are made of each other.
    """
    found: dict[str, Definition] = {}
    for index, entry in enumerate(entries):
        where = f"{place}[{index}]"
        definition = Definition.parse(entry, where)
        before = found.setdefault(definition.name.key, definition)
        if before != definition and not (before.is_plain and definition.is_plain):
            raise _wrong(where, f"declares {definition.name} a second time, differently", "Leave one of them.")
    for definition in found.values():
        _check_ancestors(definition, found, place)
    return list(found.values())


def _check_ancestors(definition: Definition, among: Mapping[str, Definition], place: str) -> None:
    """Refuse a model that is, over others, made of itself."""
    seen, next_ones = {definition.name.key}, [definition]
    while next_ones:
        each = next_ones.pop()
        for base in each.bases:
            if base.key == each.name.key:  # the registry's own
                continue
            if base.key in seen:
                raise _wrong(
                    place, f"has {definition.name}, which is made of itself", "Give one of them other weights."
                )
            if base.key in among:
                seen.add(base.key)
                next_ones.append(among[base.key])


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
        if name not in KNOWN_PARAMETERS:
            import difflib  # noqa: PLC0415  # seldom needed

            meant = difflib.get_close_matches(str(name), KNOWN_PARAMETERS, n=1, cutoff=0.8)
            if meant:
                raise InvalidInput(
                    f"{place}: {name} is no parameter of a model.", f"Did you mean {meant[0]}?", key=str(name)
                )
        checked[name] = _parameter(str(name), value, f"{place}: {name}")
    return checked


def _parameter(name: str, value: Any, where: str) -> Any:
    """A value as the server takes it. Raises ``InvalidInput``."""
    if name in _WHOLE:
        return number(value, _WHOLE[name], where)
    if name in _DECIMAL:
        found = number(value, (-1e6, 1e6), where, whole=False)
        return int(found) if found == int(found) else found
    if name == _SWITCH:
        return boolean(value, where)
    return value if name == _STOP else _number(value)


def _number(value: Any) -> Any:
    """A text that is a number as that number: templates make text of numbers, and the server takes none for them."""
    if not isinstance(value, str) or not _NUMBER.fullmatch(value.strip()):
        return value
    return int(value) if value.strip().lstrip("+-").isdecimal() else float(value)


def quantized(name: ModelName, quantization: str) -> ModelName:
    """A model in another quantization as Ollama's library tags it: ``gemma3:270m-it`` in Q8_0 is ``270m-it-q8_0``."""
    tag = quantization.lower().replace("_k", "_K")
    tag = re.sub(r"(?<=_K)_[sml]$", lambda size: size[0].upper(), "fp16" if tag == "f16" else tag)
    return name._replace(tag=tag if name.tag == DEFAULT_TAG else f"{name.tag}-{tag}")


def _bases(given: Mapping[str, Any], name: ModelName, base: str | None, place: str) -> tuple[ModelName, ...]:
    if "gguf" in given:
        return ()
    if "candidates" not in given:
        return (_name(base, f"{place}: from") if base else name,)
    candidates = given["candidates"]
    listed = isinstance(candidates, Sequence) and not isinstance(candidates, str)
    if not listed or not candidates or not all(isinstance(each, str) for each in candidates):
        raise _wrong(
            place, f"has the candidates {candidates!r}", "List names of models or quantizations, the best first."
        )
    names = (
        quantized(name, text) if _QUANTIZATION.fullmatch(text) else _name(text, f"{place}: candidates")
        for text in candidates
    )
    bases: dict[str, ModelName] = {}
    for each in names:
        bases.setdefault(each.key, each)
    if name.key in bases:
        # Under one name on the host could be either of two models, and nobody could tell which.
        raise _wrong(place, f"has {name} among its own candidates", "Give the model another name on the host.")
    return tuple(bases.values())


def _name(text: str, place: str) -> ModelName:
    """A model's name. Raises ``InvalidInput`` that says where it stands."""
    try:
        return ModelName.parse(text)
    except InvalidInput as error:
        raise InvalidInput(f"{place}: {error.problem}", error.remedy, key=place) from error


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
    if value and key not in _PROSE and not value.isprintable():
        raise _wrong(place, f"has the {key} {value!r}", "Give a text on one line without control characters.")
    return value


def _wrong(place: str, what: str, remedy: str) -> InvalidInput:
    return InvalidInput(f"{place} {what}.", remedy, key=place)
