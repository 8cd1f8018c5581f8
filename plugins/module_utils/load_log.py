# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an engine logged when it loaded a model: real sizes in the place of predicted ones.

Source: the logs of Ollama 0.24 and 0.34 and, in them, of llama.cpp.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ansible_collections.llmops.ollama.plugins.module_utils.memory_model import ModelMemory

# Where a load begins: everything before it belongs to an earlier one.
_START = re.compile(r'msg="(?:starting llama-server|starting runner)"[^\n]*--model [^\n]*--port (\d+)')
_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}

# llama.cpp, inside of llama-server and of Ollama up to 0.24: one line for each buffer.
_BUFFER = re.compile(r"^\s*(\w+):\s+(\S+)\s+(model|KV|RS|compute|output) buffer size\s*=\s*([\d.]+) MiB", re.MULTILINE)
_BATCH = re.compile(r"^llama_context: n_ubatch\s*= (\d+)", re.MULTILINE)
_SLOTS = re.compile(r"^llama_context: n_seq_max\s*= (\d+)", re.MULTILINE)
_THREADS = re.compile(r"system_info: n_threads = (\d+)")
_KV_TYPE = re.compile(r"^llama_kv_cache: size = .* K \((\w+)\)", re.MULTILINE)
_CELLS = re.compile(r"^llama_context: n_ctx_(?:seq|per_seq)\s*= (\d+)", re.MULTILINE)

# Ollama's own engine: one line for each part, and the request that led to it.
_PART = re.compile(r'msg="(model weights|kv cache|compute graph)" device=\S+ size="([\d.]+) ([KMGT]?i?B)"')
_REQUEST = re.compile(
    r"Operation:commit .*?Parallel:(\d+) BatchSize:(\d+) .*?KvSize:(\d+) KvCacheType:(\S*) NumThreads:(\d+) "
)


@dataclass(frozen=True)
class LoadedParts:
    """Bytes that the last load in a log allocated; None where it does not say. ``context`` is per slot, in tokens.

    ``kv_type`` is what the cache's keys and values are stored as, for example f16 or q8_0.
    """

    weights: int | None = None
    kv: int | None = None
    recurrent: int | None = None
    compute: int | None = None
    output: int | None = None
    parallel: int | None = None
    context: int | None = None
    batch: int | None = None
    threads: int | None = None
    kv_type: str | None = None


def load_of(log: str, port: int) -> LoadedParts | None:
    """The last load for the runner that listens on this port; None where the log does not have it."""
    starts = [*_START.finditer(log)]
    for start, end in zip(reversed(starts), [len(log), *(each.start() for each in reversed(starts))]):
        if int(start[1]) == port:
            return last_load(log[start.start() : end])
    return None


def last_load(log: str) -> LoadedParts | None:
    """The last load that a server's log tells of; None where there is none."""
    starts = [found.start() for found in _START.finditer(log)]
    text = log[starts[-1] :] if starts else log
    if _BUFFER.search(text):
        return _llama(text)
    return _own_engine(text)


def calibrate(predicted: ModelMemory, parts: LoadedParts) -> ModelMemory:
    """A prediction with what was really allocated in the place of the same parts.

    The cache's two parts are scaled alike, since the log of Ollama's own engine does not tell them apart.
    """
    known = {name: getattr(parts, name) for name in ("weights", "recurrent", "compute", "output")}
    known = {name: value for name, value in known.items() if value is not None}
    if parts.kv is not None:
        full = parts.kv * predicted.kv_full // predicted.kv if predicted.kv else parts.kv
        known.update(kv_full=full, kv_window=parts.kv - full)
    return replace(predicted, **known)


def _llama(text: str) -> LoadedParts:
    sizes: dict[str, int] = {}
    for _component, _device, kind, size in _BUFFER.findall(text):
        sizes[kind] = sizes.get(kind, 0) + _bytes(size, "MiB")
    # The llama.cpp in Ollama's process reserves logits for a whole batch, of which hardly anything is ever touched.
    in_process = "starting go runner" in text
    request, kv_type = _REQUEST.search(text), _KV_TYPE.search(text)
    return LoadedParts(
        weights=sizes.get("model"),
        kv=sizes.get("KV"),
        recurrent=sizes.get("RS"),
        compute=None if in_process else sizes.get("compute"),
        output=sizes.get("output"),
        parallel=_number(_SLOTS, text),
        context=_number(_CELLS, text),
        batch=_number(_BATCH, text),
        threads=int(request[5]) if request else _number(_THREADS, text),
        kv_type=kv_type[1] if kv_type else None,
    )


def _own_engine(text: str) -> LoadedParts | None:
    parts = {name: _bytes(size, unit) for name, size, unit in _PART.findall(text)}
    if not parts:
        return None
    request = _REQUEST.search(text)
    parallel, batch, cells = map(int, request.groups()[:3]) if request else (0, 0, 0)
    return LoadedParts(
        weights=parts.get("model weights"),
        kv=parts.get("kv cache"),
        compute=parts.get("compute graph"),
        parallel=parallel or None,
        context=cells // parallel if parallel else None,
        batch=batch or None,
        threads=int(request[5]) if request else None,
        kv_type=(request[4] or "f16") if request else None,
    )


def _bytes(size: str, unit: str) -> int:
    return round(float(size) * _UNITS.get(unit, 1))


def _number(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    return int(found[1]) if found else None
