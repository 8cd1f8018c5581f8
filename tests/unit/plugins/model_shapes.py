# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Models that plans are made for."""

from __future__ import annotations

from ansible_collections.llmops.ollama.plugins.module_utils.memory_model import MIB
from ansible_collections.llmops.ollama.plugins.module_utils.model_shape import Layer, ModelShape

# Llama 3.1 8B: 32 layers, 8 stored heads of 128 elements. As f16 a token takes 128 KiB of cache, 4096 of them 512 MiB.
LLAMA_8B = ModelShape(
    architecture="llama",
    layers=(Layer(1024, 1024),) * 32,
    heads=32,
    embedding=4096,
    feed_forward=14336,
    gated=True,
    vocabulary=128256,
    merges=280147,
    window=0,
    trained_context=131072,
    weight_bytes=4685 * MIB,
    embedding_bytes=282 * MIB,
    tied=False,
    quantization="Q4_K_M",
    family="llama",
    parameters=8030261312,
)
