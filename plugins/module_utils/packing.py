# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How llama.cpp lays matrices out anew for a processor, and what memory that takes.

It does so with matrices that are multiplied with, of the types that it has code for on that processor. Some layouts
take a little more. Embeddings are looked up in the file's layout; where the model uses them for its output as well
(*tied*), they are in memory twice as soon as their type is laid out anew.

Source: llama.cpp (ggml/src/ggml-cpu/repack.cpp, ggml/src/ggml-cpu/amx, src/llama-model.cpp).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from ansible_collections.llmops.ollama.plugins.module_utils.gguf import BLOCKS
from ansible_collections.llmops.ollama.plugins.module_utils.model_shape import ModelShape

# Bytes that a block of each type has more in the new layout, by the feature of the processor that it is for.
LAYOUTS: dict[str, dict[str, int]] = {
    "avx2": {"Q4_0": 0, "Q4_K": 0, "IQ4_NL": 0, "MXFP4": 0},
    "avx512": {"Q2_K": 0},
    "amx": {"F16": 0, "Q4_0": 0, "Q4_1": 0, "Q8_0": 4, "Q4_K": 4, "Q5_K": 4, "Q6_K": 0, "IQ4_XS": 2},
    "dotprod": {"Q4_0": 0, "Q4_K": 0, "Q5_K": 0, "Q6_K": 0, "Q8_0": 0, "IQ4_NL": 0, "MXFP4": 0},
}


# All of them take several rows at once.
ROWS = 8


@dataclass(frozen=True)
class Packing:
    """The types that are laid out anew, with the bytes that a block has more then. By default there are none."""

    types: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, features: Collection[str]) -> Packing:
        """For a processor with these of its features (``Hardware.cpu_features``)."""
        found: dict[str, int] = {}
        for feature, types in LAYOUTS.items():
            if feature in features:
                found.update(types)
        return cls(found)

    def extra_bytes(self, shape: ModelShape) -> int:
        """What a model's weights take beyond the size of their tensors."""
        more = sum(self._growth(kind, size) for kind, size in shape.matrices.items() if kind in self.types)
        if shape.tied and shape.embedding_type in self.types and shape.vocabulary % ROWS == 0:
            more += shape.embedding_bytes + self._growth(shape.embedding_type, shape.embedding_bytes)
        return more

    def _growth(self, kind: str, size: int) -> int:
        return size // BLOCKS[kind][1] * self.types[kind]


UNPACKED = Packing()
