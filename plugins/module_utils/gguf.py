# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the header of a GGUF file says: metadata and tensors, and how large these are.

Source: docs/gguf.md and ggml-common.h of ggml.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput

# Elements of a tensor; far above any real one.
MAX_ELEMENTS = 1 << 48

# Tensor types by number: name, elements in a block, bytes of a block.
TENSOR_TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 36),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
    42: ("Q2_0", 64, 18),
}
# Before it had a number of its own, MXFP4 was written as 4.
TENSOR_TYPES[4] = TENSOR_TYPES[39]
BLOCKS: dict[str, tuple[int, int]] = {name: (items, size) for name, items, size in TENSOR_TYPES.values()}


# What general.file_type says of a whole file, by number.
FILE_TYPES: dict[int, str] = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4",
    39: "NVFP4",
}


def tensor_bytes(shape: tuple[int, ...], type_name: str) -> int:
    """Bytes of a tensor's data. Raises ``InvalidInput`` for a type that is not known."""
    if type_name.upper() not in BLOCKS:
        raise InvalidInput(f"Tensor type {type_name!r} is not known.", "Update the collection.", type=type_name)
    items, size = BLOCKS[type_name.upper()]
    return -(-prod(shape) // items) * size


class Tensor(NamedTuple):
    """One tensor: ``shape`` with the fastest dimension first, ``offset`` in bytes from ``Header.data_offset``."""

    name: str
    shape: tuple[int, ...]
    type: str
    offset: int = 0

    @property
    def bytes(self) -> int:
        return tensor_bytes(self.shape, self.type)


@dataclass(frozen=True)
class Header:
    """A GGUF header. ``lengths`` has the length of every array, ``metadata`` all but long arrays and those of texts."""

    version: int
    metadata: Mapping[str, Any]
    tensors: tuple[Tensor, ...]
    lengths: Mapping[str, int] = field(default_factory=dict)
    data_offset: int = 0

    @property
    def architecture(self) -> str:
        return str(self.metadata.get("general.architecture") or "")

    @property
    def quantization(self) -> str:
        """How most of the weights are stored, for example Q4_K_M; empty where the file does not say."""
        kind = self.metadata.get("general.file_type")
        return FILE_TYPES.get(kind, "") if isinstance(kind, int) else ""

    @property
    def parameters(self) -> int:
        """Elements of all tensors."""
        return sum(prod(tensor.shape) for tensor in self.tensors)

    @property
    def parameter_size(self) -> str:
        """Their number as Ollama writes it: ``268.10M``, ``8.0B``."""
        if self.parameters < 10**9:
            return f"{self.parameters / 1e6:.2f}M"
        return f"{self.parameters / 1e9:.1f}B" if self.parameters % 10**9 else f"{self.parameters // 10**9}B"

    @property
    def file_bytes(self) -> int:
        """Bytes that a complete file has at least."""
        return self.data_offset + max((tensor.offset + tensor.bytes for tensor in self.tensors), default=0)
