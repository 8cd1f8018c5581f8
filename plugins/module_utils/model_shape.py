# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What of a model decides its memory: from the header of its file, or from what a server says of it.

Source: the loaders of llama.cpp (src/llama-model.cpp, src/llama-hparams.cpp) and of Ollama 0.24 (model/models).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.gguf import MAX_ELEMENTS, Header, Tensor, tensor_bytes

# Families that the server loads with one slot, whatever OLLAMA_NUM_PARALLEL says. Source: server/sched.go.
SINGLE_SLOT_FAMILIES = frozenset(
    {
        "mllama",
        "qwen3vl",
        "qwen3vlmoe",
        "qwen35",
        "qwen35moe",
        "qwen3next",
        "lfm2",
        "lfm2moe",
        "nemotron_h",
        "nemotron_h_moe",
        "nemotron_h_omni",
    }
)

# Of every so many layers the last one looks at the whole context, the others at a window, where the file does not say.
WINDOW_PATTERNS: dict[str, int] = {
    "cohere2": 4,
    "exaone4": 4,
    "gemma2": 2,
    "gemma3": 6,
    "gemma3n": 5,
    "gpt-oss": 2,
    "gptoss": 2,
    "llama4": 4,
    "olmo2": 4,
    "olmo3": 4,
}

# Layers in every so many that have attention; the others keep a recurrent state of fixed size.
ATTENTION_INTERVALS: dict[str, int] = {"qwen3next": 4, "qwen35": 4, "qwen35moe": 4}

# Architectures whose last layers use the keys and values of earlier ones: how many have their own.
OWN_KV_LAYERS: dict[str, int] = {"gemma3n": 20}

# Keys that have a list where layers differ.
_LISTS = (
    "attention.head_count",
    "attention.head_count_kv",
    "attention.sliding_window_pattern",
    "feed_forward_length",
)

# Tensors from which rows are taken.
_LOOKED_UP = re.compile(r"token_embd|position_embd|token_types")

_NO_OLLAMA = "Check that this address is an Ollama server and not another service."

# Above all that a file's types can hold: what exceeds it would overflow where bytes are computed.
_MOST = 1 << 64

_SINGLE_PRECISION = 4  # bytes; recurrent states are kept in it


class Layer(NamedTuple):
    """One layer's cache: elements of a key and of a value for one token; ``window`` where old tokens are dropped."""

    key_elements: int
    value_elements: int
    window: bool = False


@dataclass(frozen=True)
class ModelShape:
    """The sizes from which a model's memory follows. Bytes where the name says so, otherwise elements or a count.

    ``vocabulary`` and ``merges`` count the tokenizer's entries; ``tied`` says that input and output share a matrix,
    ``vision`` that it takes images. ``matrices`` has the bytes of all that is multiplied with, by the type in which it
    is stored.
    """

    architecture: str
    layers: tuple[Layer, ...]
    heads: int
    embedding: int
    feed_forward: int
    gated: bool
    vocabulary: int
    merges: int
    window: int
    trained_context: int
    weight_bytes: int
    embedding_bytes: int
    tied: bool
    quantization: str = ""
    recurrent_bytes: int = 0  # of one slot
    is_embedding: bool = False
    vision: bool = False
    family: str = ""
    parameters: int = 0  # elements of all tensors; 0 where they are not known
    embedding_type: str = ""
    matrices: Mapping[str, int] = field(default_factory=dict)

    @property
    def single_slot(self) -> bool:
        """Whether the server gives it one slot only."""
        return self.is_embedding or (self.family or self.architecture) in SINGLE_SLOT_FAMILIES

    @property
    def full_layers(self) -> tuple[Layer, ...]:
        return tuple(layer for layer in self.layers if not layer.window)

    @property
    def window_layers(self) -> tuple[Layer, ...]:
        return tuple(layer for layer in self.layers if layer.window)


def from_header(header: Header, quantization: str = "", family: str = "") -> ModelShape:
    """A model's shape from its file. Raises ``InvalidInput`` for a file that is no language model."""
    return _shape(header.metadata, header.lengths, header.tensors, quantization or header.quantization, family)


def lacks_lists(show: Mapping[str, Any]) -> bool:
    """Whether an answer to ``/api/show`` leaves out what differs between layers: only a verbose one has lists."""
    info = show.get("model_info")
    if not isinstance(info, dict):
        return False
    return any(info.get(f"{info.get('general.architecture')}.{name}", 0) in (None, []) for name in _LISTS)


def from_server(show: Mapping[str, Any], size: int = 0) -> ModelShape:
    """A model's shape from the answer to ``/api/show``, which has to be verbose where the other one ``lacks_lists``.

    ``size`` (bytes, from ``/api/tags``) stands in for the weights where the answer lists no tensors.
    """
    info = show.get("model_info")
    if not isinstance(info, dict) or not info:
        raise InvalidInput("The server's answer holds no model_info.", "Update Ollama to 0.5 or newer.")
    tensors, details = show.get("tensors") or [], show.get("details") or {}
    if not isinstance(tensors, list) or not isinstance(details, dict):
        raise InvalidInput("The server's answer has tensors or details of another form.", _NO_OLLAMA)
    lengths = {key: len(value) for key, value in info.items() if isinstance(value, (list, tuple))}
    return _shape(
        info,
        lengths,
        [_listed(each) for each in tensors],
        str(details.get("quantization_level") or ""),
        str(details.get("family") or ""),
        size,
    )


def _listed(tensor: Any) -> Tensor:
    """One of the tensors in a server's answer."""
    if isinstance(tensor, dict) and isinstance(tensor.get("name"), str):
        shape = tensor.get("shape") or []
        if isinstance(shape, list) and all(_is_count(size) for size in shape) and prod(map(int, shape)) <= MAX_ELEMENTS:
            return Tensor(tensor["name"], tuple(map(int, shape)), str(tensor.get("type", "")))
    raise InvalidInput(f"The server's answer lists {tensor!r:.200} as a tensor.", _NO_OLLAMA)


class _Keys:
    """A model's metadata below its architecture's name. A value that is there but is no count is an error."""

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self.architecture = str(metadata.get("general.architecture") or "")
        self._metadata = metadata
        self.parameter_count = _count("general.parameter_count", metadata.get("general.parameter_count"), 0)
        if not self.architecture:
            raise InvalidInput("The metadata has no general.architecture.", "Give the file of a language model.")

    def get(self, name: str) -> Any:
        return self._metadata.get(f"{self.architecture}.{name}")

    def number(self, name: str, default: int = 0) -> int:
        """A count; of one that differs between layers the largest."""
        return max(self._counts(name, default))

    def per_layer(self, name: str, layers: int, default: int) -> list[int]:
        """A count for each layer; where a list ends early, its last item stands for the others."""
        values = self._counts(name, default)
        return [values[min(layer, len(values) - 1)] for layer in range(layers)]

    def _counts(self, name: str, default: int) -> list[int]:
        value = self.get(name)
        values = value if isinstance(value, (list, tuple)) else [value]
        return [_count(f"{self.architecture}.{name}", each, default) for each in values] or [default]


def _count(key: str, value: Any, default: int) -> int:
    """``value`` as a whole number, ``default`` where there is none."""
    if value is None:
        return default
    if not _is_count(value):
        raise InvalidInput(f"The metadata has {value!r:.200} for {key}.", "Give the file of a language model.")
    return int(value)


def _is_count(value: Any) -> bool:
    """Whether it is a whole number from 0 on, as JSON may also have it: 4.0."""
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _MOST and value == int(value)
    )


def _shape(
    metadata: Mapping[str, Any],
    lengths: Mapping[str, int],
    tensors: Sequence[Tensor],
    quantization: str,
    family: str,
    size: int = 0,
) -> ModelShape:
    keys = _Keys(metadata)
    count = keys.number("block_count")
    embedding = keys.number("embedding_length")
    if not 0 < count <= 4096 or embedding <= 0:
        raise InvalidInput(
            f"The metadata of this {keys.architecture} has {count} layers and an embedding of {embedding} elements.",
            "Give the file of a language model.",
        )
    by_name = {tensor.name: tensor for tensor in tensors}
    embeddings = by_name.get("token_embd.weight")
    embedding_type = embeddings.type.upper() if embeddings else _likely_embedding_type(quantization)
    vocabulary = (
        embeddings.shape[-1]
        if embeddings and len(embeddings.shape) == 2
        else lengths.get("tokenizer.ggml.tokens", 0) or keys.number("vocab_size")
    )
    return ModelShape(
        architecture=keys.architecture,
        layers=tuple(_layers(keys, count, embedding)),
        heads=keys.number("attention.head_count", 1),
        embedding=embedding,
        feed_forward=_feed_forward(keys),
        gated=not tensors or any(".ffn_gate" in name for name in by_name) or _has_fused_gate(by_name, keys),
        vocabulary=vocabulary,
        # Without verbose a server does not list them; a byte-pair tokenizer has about as many as it has tokens.
        merges=lengths.get(
            "tokenizer.ggml.merges", vocabulary if metadata.get("tokenizer.ggml.model") == "gpt2" else 0
        ),
        window=keys.number("attention.sliding_window"),
        trained_context=keys.number("context_length"),
        weight_bytes=sum(tensor.bytes for tensor in tensors) or size,
        embedding_bytes=embeddings.bytes if embeddings else tensor_bytes((embedding, vocabulary), embedding_type),
        tied="output.weight" not in by_name if tensors else True,
        quantization=quantization,
        recurrent_bytes=_recurrent_bytes(keys, count),
        is_embedding=keys.get("pooling_type") is not None,
        vision=keys.number("vision.block_count") > 0,
        family=family,
        parameters=sum(prod(tensor.shape) for tensor in tensors) or keys.parameter_count,
        embedding_type=embedding_type,
        matrices=_matrices(tensors),
    )


def _layers(keys: _Keys, count: int, embedding: int) -> Iterable[Layer]:
    heads = max(1, keys.number("attention.head_count", 1))
    kv_heads = _kv_heads(keys, count)
    own = min(OWN_KV_LAYERS.get(keys.architecture, count), count - keys.number("attention.shared_kv_layers"))
    interval = keys.number("full_attention_interval") or ATTENTION_INTERVALS.get(keys.architecture, 1)
    windows = _windows(keys, count)
    for number in range(count):
        window = windows[number]
        suffix = "_swa" if window and keys.get("attention.key_length_swa") is not None else ""
        key = keys.number(f"attention.key_length{suffix}", embedding // heads)
        value = keys.number(f"attention.value_length{suffix}", embedding // heads)
        stored = kv_heads[number] if number < own and (number + 1) % interval == 0 else 0
        yield Layer(stored * key, stored * value, window)


def _kv_heads(keys: _Keys, count: int) -> list[int]:
    """Heads of each layer that keep keys and values: all, where nothing else is said, and none without attention."""
    return keys.per_layer("attention.head_count_kv", count, keys.number("attention.head_count", 1))


def _windows(keys: _Keys, count: int) -> list[bool]:
    """Which layers look at a window only."""
    if not keys.number("attention.sliding_window"):
        return [False] * count
    pattern = keys.get("attention.sliding_window_pattern")
    if isinstance(pattern, (list, tuple)) and pattern:
        return [bool(pattern[number % len(pattern)]) for number in range(count)]
    every = keys.number("attention.sliding_window_pattern", WINDOW_PATTERNS.get(keys.architecture, 0))
    return [every > 0 and number % every < every - 1 for number in range(count)]


def _feed_forward(keys: _Keys) -> int:
    """Elements that one token's way through a feed-forward block holds: all experts that it uses, for a mixture."""
    experts = keys.number("expert_used_count")
    expert = keys.number("expert_feed_forward_length")
    dense = keys.number("feed_forward_length")
    if not experts:
        return dense
    return max(dense if expert else 0, experts * (expert or dense))


def _has_fused_gate(by_name: Mapping[str, Tensor], keys: _Keys) -> bool:
    """Whether one matrix holds both the gate and the way up, as in phi3: it is twice as wide then."""
    up = by_name.get("blk.0.ffn_up.weight")
    return up is not None and len(up.shape) == 2 and up.shape[1] == 2 * keys.number("feed_forward_length")


def _recurrent_bytes(keys: _Keys, count: int) -> int:
    """State of the layers without attention, for one slot."""
    inner, state, kernel = keys.number("ssm.inner_size"), keys.number("ssm.state_size"), keys.number("ssm.conv_kernel")
    short = keys.number("shortconv.l_cache")
    interval = keys.number("full_attention_interval") or ATTENTION_INTERVALS.get(keys.architecture, 1)
    kv_heads = _kv_heads(keys, count)
    recurrent = sum(1 for number in range(count) if kv_heads[number] == 0 or (number + 1) % interval)
    if keys.architecture in ("mamba", "mamba2") or keys.architecture.startswith("falcon-h1"):
        recurrent = count
    convolution = max(0, kernel - 1) * (inner + 2 * keys.number("ssm.group_count") * state)
    elements = convolution + inner * state + max(0, short - 1) * keys.number("embedding_length")
    return recurrent * elements * _SINGLE_PRECISION


def _likely_embedding_type(quantization: str) -> str:
    """How the embeddings are stored where nothing tells: 4-bit and smaller mixes keep them in 6 or 8 bits."""
    return "F16" if quantization.upper() in ("F16", "F32", "BF16") else "Q8_0"


def _matrices(tensors: Sequence[Tensor]) -> dict[str, int]:
    """Bytes of what is multiplied with, by type; not what is looked up, nor a mixture's experts."""
    found: dict[str, int] = {}
    for tensor in tensors:
        if len(tensor.shape) == 2 and not _LOOKED_UP.search(tensor.name):
            kind = tensor.type.upper()
            found[kind] = found.get(kind, 0) + tensor.bytes
    return found
