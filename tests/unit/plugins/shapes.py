# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Shapes of well-known models, for tests of what depends on memory."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from ansible_collections.llmops.ollama.plugins.module_utils.memory_model import MIB
from ansible_collections.llmops.ollama.plugins.module_utils.model_shape import Layer, ModelShape, from_server

GEMMA = from_server(json.loads((Path(__file__).parents[1] / "fixtures/models/gemma3-270m-show.json").read_text()))

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
LLAMA_8B_F16 = replace(LLAMA_8B, weight_bytes=15317 * MIB, quantization="F16")
# Llama 3.1 70B: 80 layers; 320 KiB a token.
LLAMA_70B = replace(
    LLAMA_8B,
    layers=(Layer(1024, 1024),) * 80,
    heads=64,
    embedding=8192,
    feed_forward=28672,
    weight_bytes=40550 * MIB,
    embedding_bytes=564 * MIB,
    parameters=70553706560,
)
EMBEDDER = replace(
    LLAMA_8B,
    architecture="nomic-bert",
    family="nomic-bert",
    layers=(Layer(768, 768),) * 12,
    heads=12,
    embedding=768,
    feed_forward=3072,
    vocabulary=30522,
    merges=0,
    trained_context=2048,
    weight_bytes=260 * MIB,
    is_embedding=True,
    quantization="F16",
    parameters=136727040,
)
