# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How much memory loaded models take on a CPU: every part in bytes, for both engines, before anything is loaded.

docs/memory-model.md explains the parts and compares the predictions with real processes.

Source: Ollama 0.24 (kvcache/causal.go, ml/backend/ggml/ggml.go, runner/ollamarunner) and 0.34 (server/sched.go,
llm/llama_server.go); llama.cpp (src/llama-kv-cache*.cpp, tools/server/server-task.cpp, server-context.cpp).
Constants marked "measured" come from tests/benchmarks/memory_model.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ansible_collections.llmops.ollama.plugins.module_utils.engine import Engine
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.gguf import BLOCKS
from ansible_collections.llmops.ollama.plugins.module_utils.model_shape import Layer, ModelShape
from ansible_collections.llmops.ollama.plugins.module_utils.packing import UNPACKED, Packing

KIB = 1024
MIB = 1024 * KIB

KV_TYPES = ("f16", "q8_0", "q4_0")
VISION_CONTEXT = 2048  # tokens that the server gives a model that takes images, at least

# Caches grow in steps of this many cells.
CELL_PADDING = 256

# A matrix element, an index, a logit, and a mask's element while it is being made.
SINGLE = 4
# An element of an attention mask as flash attention takes it.
HALF = 2

# Tokens that are computed at once. Ollama 0.24: the default of num_batch; 0.30 and newer: by the cells of all slots.
OLD_BATCH = 512
BATCHES = ((32768, 2048), (4096, 1024), (0, 512))
EMBEDDING_BATCH = 2048

# Buffers of one token that are alive at once at the widest place of the graph, the feed-forward block: residual, its
# norm, the block's input and output; gate, way up and their product. Found in the allocator's size for 5 architectures.
EMBEDDINGS_ALIVE = 5
GATED_ALIVE = 3
UNGATED_ALIVE = 1
# Position, token and cache indices of a token.
INDEX_ELEMENTS = 14

# llama-server: default of --cache-ram, and context checkpoints that a slot holds after one prompt.
PROMPT_CACHE_MIB = 8192
CHECKPOINTS_AFTER_PROMPT = 2
# Freed ones leave holes in the heap, in percent of all; measured with 1 to 8 slots.
CHECKPOINT_HOLES = 20
# A further one for each message that starts so many tokens behind the last, up to the limit of a slot.
CHECKPOINT_SPACING = 8192
MAX_CHECKPOINTS = 32

# Architectures that Ollama up to 0.24 runs in its own engine; it runs the others in a llama.cpp inside its process.
# Source: fs/ggml/ggml.go.
OWN_ENGINE = frozenset(
    {
        "bert",
        "deepseek2",
        "deepseekocr",
        "gemma3",
        "gemma3n",
        "gemma4",
        "gptoss",
        "gpt-oss",
        "laguna",
        "llama4",
        "mistral3",
        "mllama",
        "nemotron_h",
        "nemotron_h_moe",
        "nemotron_h_omni",
        "nomic-bert",
        "olmo3",
        "qwen25vl",
        "qwen3",
        "qwen3moe",
        "qwen35",
        "qwen35moe",
        "qwen3next",
        "qwen3vl",
        "qwen3vlmoe",
        "glm4moelite",
        "glmocr",
        "lfm2",
        "lfm2moe",
    }
)
# Those of them that it uses flash attention for only where it is told to.
FLASH_ON_REQUEST = frozenset(
    {"deepseek2", "deepseekocr", "gemma3n", "laguna", "llama4", "mllama", "nomic-bert", "qwen25vl"}
)
# Architectures that cannot have a quantized cache: flash attention does not know them.
NO_FLASH_ATTENTION = frozenset({"gemma2", "grok"})


class Overhead(NamedTuple):
    """What processes take besides the model's own buffers. Bytes; all measured.

    ``token`` and ``merge``: for each entry of the tokenizer; ``slot_token``: for each token of the vocabulary and slot.
    """

    base: int
    token: int = 0
    merge: int = 0
    slot_token: int = 0

    def bytes(self, shape: ModelShape, slots: int) -> int:
        per_entry = self.token + self.slot_token * slots
        return self.base + per_entry * shape.vocabulary + self.merge * shape.merges


class Runtime(NamedTuple):
    """The processes of one way to run a model: the server's share of a loaded model, and the runner.

    ``mask_copies``: how many times over the masks of a batch are in memory, in and outside of the graph; of large ones
    only ``large_mask_copies`` and ``mask_slack`` bytes, since the collector comes sooner.
    """

    server: Overhead
    runner: Overhead
    mask_copies: int = 0
    large_mask_copies: int = 0
    mask_slack: int = 0

    def around_masks(self, size: int) -> int:
        """Bytes around the graph for masks of so many bytes."""
        return min(self.mask_copies * size, self.large_mask_copies * size + self.mask_slack)


LLAMA_SERVER = Runtime(
    server=Overhead(base=38 * MIB, token=64),
    runner=Overhead(base=33 * MIB, token=160, slot_token=24),
)
# The server reads the tokenizer again for every request that comes in. The Go runtime lets the heap grow to twice what
# lives in it: two batches' masks, each also copied into the graph's inputs; freed ones are not given back at once. When
# it collects is a matter of chance: runs of one configuration differ by up to 50 MiB, of which 15 are counted.
OLLAMA_ENGINE = Runtime(
    server=Overhead(base=58 * MIB, token=20, merge=40, slot_token=80),
    runner=Overhead(base=45 * MIB, token=130),
    mask_copies=8,
    large_mask_copies=5,
    mask_slack=110 * MIB,
)
# The server holds the vocabulary, too, and tokenizes.
LLAMA_IN_PROCESS = Runtime(
    server=Overhead(base=58 * MIB, token=140, merge=150, slot_token=80),
    runner=Overhead(base=42 * MIB, token=160, merge=90, slot_token=24),
)


@dataclass(frozen=True)
class Load:
    """A model, and how it is loaded. ``context`` is per slot, in tokens; ``batch`` None is the engine's choice.

    ``prompt_cache_mib`` is LLAMA_ARG_CACHE_RAM: None is the engine's default, 0 is none, and -1 is no limit, which is
    counted as the default. ``checkpoints`` is LLAMA_ARG_CTX_CHECKPOINTS.
    ``tokens`` bounds what all slots hold together; None: every slot may be full. ``packing`` is the processor's.
    ``flash`` is whether flash attention may be used; None leaves it to the engine.
    """

    shape: ModelShape
    parallel: int = 1
    context: int = 4096
    kv_type: str = "f16"
    batch: int | None = None
    prompt_cache_mib: int | None = None
    tokens: int | None = None
    packing: Packing = UNPACKED
    flash: bool | None = True
    checkpoints: int = MAX_CHECKPOINTS

    def __post_init__(self) -> None:
        for name in ("parallel", "context"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} is {getattr(self, name)}.", "It must be 1 or more.", key=name)
        if self.kv_type not in KV_TYPES:
            raise InvalidInput(
                f"kv_type is {self.kv_type!r}.", f"It must be one of {', '.join(KV_TYPES)}.", key="kv_type"
            )


class ModelMemory(NamedTuple):
    """One loaded model. Bytes.

    weights: all tensors, and the embeddings a second time where the engine loads them for the output as well; with
    what packing them for the processor takes.
    kv_full, kv_window: cache of the layers with full attention, and of those with a sliding window.
    recurrent: state of layers without attention.  compute: the graph's buffers.  output: logits of all slots.
    runtime: the runner process and the server's share.
    batch_inputs: copies of the attention masks around the graph, and of the scores where attention makes a matrix of
    them; they grow as the slots fill up.
    checkpoints, prompt_cache: what llama-server keeps of prompts; they grow with use.
    """

    weights: int = 0
    kv_full: int = 0
    kv_window: int = 0
    recurrent: int = 0
    compute: int = 0
    output: int = 0
    runtime: int = 0
    batch_inputs: int = 0
    checkpoints: int = 0
    prompt_cache: int = 0

    @property
    def kv(self) -> int:
        return self.kv_full + self.kv_window

    @property
    def growth(self) -> int:
        """What comes after the load, with use."""
        return self.batch_inputs + self.checkpoints + self.prompt_cache

    @property
    def peak(self) -> int:
        return sum(self)


class MemoryPrediction(NamedTuple):
    """All processes of a server with its loaded models. Bytes. ``server`` is the server process with no model."""

    server: int
    models: tuple[ModelMemory, ...]

    @property
    def peak(self) -> int:
        return self.server + sum(model.peak for model in self.models)

    @property
    def resident_after_load(self) -> int:
        """Before the first long prompt; the graph's buffers are counted, though they fill up with the first prompts."""
        return self.peak - sum(model.growth for model in self.models)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for Ansible."""
        models = [{**model._asdict(), "peak": model.peak} for model in self.models]
        totals = {"resident_after_load": self.resident_after_load, "peak": self.peak}
        return {"server": self.server, "models": models, **totals}


def predict(loads: Sequence[Load], engine: Engine) -> MemoryPrediction:
    """Memory of a server of that version that has these models loaded at the same time, on a host without a GPU."""
    runtimes = [_runtime(load.shape, engine) for load in loads] or [LLAMA_SERVER]
    server = max(runtime.server.base for runtime in runtimes)
    return MemoryPrediction(server, tuple(predict_model(load, engine) for load in loads))


def predict_model(load: Load, engine: Engine) -> ModelMemory:
    """Memory that one more loaded model takes."""
    shape = load.shape
    slots = effective_parallel(load)
    context = effective_context(load)
    batch = effective_batch(load, engine)
    kv_type = effective_kv_type(load, engine)
    runtime = _runtime(shape, engine)
    own_engine = runtime is OLLAMA_ENGINE
    full_cells, window_cells = (_shared_cells if own_engine else _slot_cells)(shape, slots, context, batch)
    caches = not (shape.is_embedding and not own_engine and _is_encoder(shape))
    # The masks of a batch: each token against all cells of all slots that are in use, or of its own slot only.
    full_mask, window_mask = (full_cells, window_cells) if own_engine else (full_cells // slots, window_cells // slots)
    if load.tokens is not None:
        full_mask, window_mask = (min(cells, _pad(load.tokens)) for cells in (full_mask, window_mask))
    mask_cells = (full_mask if shape.full_layers else 0) + (window_mask if shape.window_layers else 0)
    flash = flash_attention(load, engine)
    # To be multiplied with the values, a layer's scores are converted into half precision beside the graph.
    scores = 0 if flash else shape.heads * max(full_mask, window_mask) * HALF
    server_share = runtime.server._replace(base=0)
    if own_engine:
        more_weights = shape.embedding_bytes if shape.tied else 0
    else:
        more_weights = load.packing.extra_bytes(shape) if engine.runs_llama_server else 0
    return ModelMemory(
        weights=shape.weight_bytes + more_weights,
        kv_full=_cache(shape.full_layers, full_cells, kv_type) if caches else 0,
        kv_window=_cache(shape.window_layers, window_cells, kv_type) if caches else 0,
        recurrent=shape.recurrent_bytes * slots,
        compute=_graph(shape, batch, mask_cells, slots, flash),
        output=0 if own_engine else slots * shape.vocabulary * SINGLE,
        runtime=runtime.runner.bytes(shape, slots) + server_share.bytes(shape, slots),
        batch_inputs=runtime.around_masks(batch * mask_cells * SINGLE) + batch * scores,
        checkpoints=_checkpoints(load, slots, context, kv_type) if engine.runs_llama_server else 0,
        prompt_cache=_prompt_cache(load) if engine.runs_llama_server else 0,
    )


def effective_parallel(load: Load) -> int:
    """Slots that the server will give the model."""
    return 1 if load.shape.single_slot else load.parallel


def effective_context(load: Load) -> int:
    """Tokens per slot: not more than the model was trained for, and for images not less than the server's minimum."""
    asked = max(load.context, VISION_CONTEXT) if load.shape.vision else load.context
    return min(asked, load.shape.trained_context or asked)


def effective_batch(load: Load, engine: Engine) -> int:
    """Tokens that are computed at once."""
    context = effective_context(load)
    if load.shape.is_embedding:
        return min(EMBEDDING_BATCH, context) if engine.runs_llama_server else context
    if load.batch:
        return min(load.batch, context)
    if not engine.runs_llama_server:
        return min(OLD_BATCH, context)
    cells = context * effective_parallel(load)
    return next(batch for above, batch in BATCHES if cells > above)


def effective_kv_type(load: Load, engine: Engine) -> str:
    """The cache's type: f16 where the engine refuses another one for this model."""
    # Up to 0.24 llama.cpp is given another one only where flash attention was asked for.
    asked = load.flash or engine.runs_llama_server or load.shape.architecture in OWN_ENGINE
    return load.kv_type if asked and flash_attention(load, engine) else "f16"


def flash_attention(load: Load, engine: Engine) -> bool:
    """Whether attention runs without a matrix of all scores."""
    shape = load.shape
    if engine.runs_llama_server or load.flash is False:
        return load.flash is not False
    if load.flash is None and shape.architecture in FLASH_ON_REQUEST:
        return False
    keys = {layer.key_elements for layer in shape.layers if layer.key_elements}
    values = {layer.value_elements for layer in shape.layers if layer.value_elements}
    return shape.architecture not in NO_FLASH_ATTENTION and not shape.is_embedding and keys == values


def prompt_state(shape: ModelShape, tokens: int, kv_type: str) -> int:
    """Bytes that llama-server needs to keep a prompt of so many tokens for later, without its checkpoints."""
    windowed = min(tokens, shape.window) if shape.window else 0
    return (
        _cache(shape.full_layers, tokens, kv_type)
        + _cache(shape.window_layers, windowed, kv_type)
        + shape.recurrent_bytes
    )


def _runtime(shape: ModelShape, engine: Engine) -> Runtime:
    if engine.runs_llama_server:
        return LLAMA_SERVER
    return OLLAMA_ENGINE if shape.architecture in OWN_ENGINE else LLAMA_IN_PROCESS


def _is_encoder(shape: ModelShape) -> bool:
    return "bert" in shape.architecture


def _pad(cells: int) -> int:
    return -(-cells // CELL_PADDING) * CELL_PADDING


def _shared_cells(shape: ModelShape, slots: int, context: int, batch: int) -> tuple[int, int]:
    """Cells of the caches that all slots share: full attention, sliding window."""
    full = _pad(slots * context)
    # One more token of each slot is kept, so that a stop token can be taken back.
    kept = shape.window + (1 if slots > 1 else 0)
    return full, _pad(slots * kept + batch) if 0 < kept < context else full


def _slot_cells(shape: ModelShape, slots: int, context: int, batch: int) -> tuple[int, int]:
    """Cells of the caches in which each slot has its own part: full attention, sliding window."""
    full = _pad(context)
    return slots * full, slots * _pad(min(full, shape.window + batch))


def _cache(layers: Sequence[Layer], cells: int, kv_type: str) -> int:
    items, size = BLOCKS[kv_type.upper()]
    return sum(cells * (layer.key_elements + layer.value_elements) * size // items for layer in layers)


def _graph(shape: ModelShape, batch: int, mask_cells: int, slots: int, flash: bool) -> int:
    widest = shape.feed_forward * (GATED_ALIVE if shape.gated else UNGATED_ALIVE)
    attention = 0 if flash else shape.heads * mask_cells
    token = EMBEDDINGS_ALIVE * shape.embedding + max(widest, attention) + INDEX_ELEMENTS
    body = batch * (token * SINGLE + mask_cells * (HALF if flash else SINGLE))
    logits = slots * (shape.vocabulary + EMBEDDINGS_ALIVE * shape.embedding) * SINGLE
    return max(body, logits)


def _checkpoints(load: Load, slots: int, context: int, kv_type: str) -> int:
    """Copies of what cannot be rolled back: the window's cells, and recurrent states."""
    shape = load.shape
    if shape.is_embedding:
        return 0
    number = min(load.checkpoints, CHECKPOINTS_AFTER_PROMPT + context // (CHECKPOINT_SPACING + 1))
    window = _cache(shape.window_layers, min(context, shape.window), kv_type)
    return slots * number * (window + shape.recurrent_bytes) * (100 + CHECKPOINT_HOLES) // 100


def _prompt_cache(load: Load) -> int:
    """The limit of the cache: it is kept before, not after, a prompt is added."""
    if load.shape.is_embedding:
        return 0
    size = load.prompt_cache_mib
    return (PROMPT_CACHE_MIB if size is None or size < 0 else size) * MIB
