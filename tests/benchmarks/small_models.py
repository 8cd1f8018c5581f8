# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Small models with random weights, of architectures of which the lab has no real one.

What they say is noise, but an engine loads and runs them like any other: memory depends on shapes, not on values. Most
of their weight is in the embeddings, which cost no time to run, so that long prompts stay cheap.
"""

from __future__ import annotations

import itertools
import string
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy

CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


@dataclass(frozen=True)
class SmallModel:
    """Shape of a model; ``quantization`` is F16 or Q8_0, for all tensors with two dimensions."""

    name: str
    architecture: str
    layers: int
    embedding: int
    feed_forward: int
    heads: int
    kv_heads: int
    vocabulary: int
    quantization: str
    tied: bool = False
    key_length: int | None = None  # of a head, where it is not embedding / heads
    biases: bool = False  # of the projections to query, key and value
    head_norms: bool = False  # of query and key
    gated: bool = True
    full_norms: bool = False  # LayerNorm with bias, biases everywhere
    trained_context: int = 32768

    @property
    def head_length(self) -> int:
        return self.key_length or self.embedding // self.heads


SMALL_MODELS = (
    SmallModel("llama-gqa", "llama", 6, 1024, 2816, 16, 4, 64000, "F16"),
    SmallModel("qwen2-tied", "qwen2", 8, 896, 4864, 14, 2, 128000, "Q8_0", tied=True, biases=True),
    SmallModel("qwen3-tied", "qwen3", 6, 1024, 3072, 16, 8, 100000, "F16", tied=True, key_length=128, head_norms=True),
    SmallModel(
        "starcoder2-mha", "starcoder2", 5, 1024, 4096, 8, 8, 49152, "F16", biases=True, gated=False, full_norms=True
    ),
)


def write(model: SmallModel, path: Path) -> None:
    """Write the GGUF file of a model."""
    writer = gguf.GGUFWriter(path, model.architecture)
    writer.add_name(model.name)
    writer.add_context_length(model.trained_context)
    writer.add_embedding_length(model.embedding)
    writer.add_block_count(model.layers)
    writer.add_feed_forward_length(model.feed_forward)
    writer.add_head_count(model.heads)
    writer.add_head_count_kv(model.kv_heads)
    writer.add_rope_dimension_count(model.head_length)
    writer.add_rope_freq_base(10000.0)
    writer.add_key_length(model.head_length)
    writer.add_value_length(model.head_length)
    if model.full_norms:
        writer.add_layer_norm_eps(1e-5)
    else:
        writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(model.vocabulary)
    writer.add_file_type(
        gguf.LlamaFileType.MOSTLY_F16 if model.quantization == "F16" else gguf.LlamaFileType.MOSTLY_Q8_0
    )
    add_tokenizer(writer, model.vocabulary)
    add_tensors(writer, model)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def byte_symbols() -> list[str]:
    """The 256 printable characters that byte-level BPE writes for bytes."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = (value for value in range(256) if value not in shown)
    return [chr(value) for value in shown] + [chr(256 + number) for number, _value in enumerate(hidden)]


def add_tokenizer(writer: gguf.GGUFWriter, size: int) -> None:
    """A byte-level BPE of that size: all words of two, three and four letters in order, as far as they go."""
    letters = string.ascii_lowercase
    pairs = [a + b for a, b in itertools.product(letters, repeat=2)]
    merges = [f"{a} {b}" for a, b in itertools.product(letters, repeat=2)]
    merges += [f"{pair} {letter}" for pair in pairs for letter in letters]
    merges += [f"{a} {b}" for a, b in itertools.product(pairs, repeat=2)]
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    symbols = byte_symbols()
    merges = merges[: size - len(symbols) - len(special)]
    tokens = symbols + [merge.replace(" ", "") for merge in merges] + special
    kinds = [gguf.TokenType.NORMAL] * (size - len(special)) + [gguf.TokenType.CONTROL] * len(special)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(size - 3)
    writer.add_eos_token_id(size - 1)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def add_tensors(writer: gguf.GGUFWriter, model: SmallModel) -> None:
    """Random weights for every tensor that the engines look for."""
    generator = numpy.random.default_rng(1)
    wanted = gguf.GGMLQuantizationType[model.quantization]

    def matrix(name: str, rows: int, columns: int) -> None:
        values = generator.standard_normal((rows, columns), dtype=numpy.float32) * 0.02
        if wanted is gguf.GGMLQuantizationType.F16:
            writer.add_tensor(name + ".weight", values.astype(numpy.float16))
        else:
            writer.add_tensor(name + ".weight", gguf.quants.quantize(values, wanted), raw_dtype=wanted)

    def vector(name: str, length: int, value: float) -> None:
        writer.add_tensor(name, numpy.full(length, value, dtype=numpy.float32))

    def norm(name: str, length: int) -> None:
        vector(name + ".weight", length, 1.0)
        if model.full_norms:
            vector(name + ".bias", length, 0.0)

    queries = model.heads * model.head_length
    keys = model.kv_heads * model.head_length
    matrix("token_embd", model.vocabulary, model.embedding)
    norm("output_norm", model.embedding)
    if not model.tied:
        matrix("output", model.vocabulary, model.embedding)
    for layer in range(model.layers):
        block = f"blk.{layer}."
        norm(block + "attn_norm", model.embedding)
        norm(block + "ffn_norm", model.embedding)
        for name, width in (("attn_q", queries), ("attn_k", keys), ("attn_v", keys)):
            matrix(block + name, width, model.embedding)
            if model.biases:
                vector(f"{block}{name}.bias", width, 0.0)
        matrix(block + "attn_output", model.embedding, queries)
        if model.head_norms:
            vector(block + "attn_q_norm.weight", model.head_length, 1.0)
            vector(block + "attn_k_norm.weight", model.head_length, 1.0)
        if model.gated:
            matrix(block + "ffn_gate", model.feed_forward, model.embedding)
        matrix(block + "ffn_up", model.feed_forward, model.embedding)
        matrix(block + "ffn_down", model.embedding, model.feed_forward)
        if model.full_norms:
            vector(block + "attn_output.bias", model.embedding, 0.0)
            vector(block + "ffn_up.bias", model.feed_forward, 0.0)
            vector(block + "ffn_down.bias", model.embedding, 0.0)
