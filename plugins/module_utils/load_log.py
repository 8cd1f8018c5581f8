# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an engine logged when it loaded a model: real sizes in the place of predicted ones.

Source: the logs of Ollama 0.24 and 0.34 and, in them, of llama.cpp.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from ansible_collections.llmops.ollama.plugins.module_utils.memory_model import ModelMemory

# Where a load begins: everything before it belongs to an earlier one.
_START = re.compile(r'msg="(?:starting llama-server|starting runner)"[^\n]*--model [^\n]*--port (\d+)')
_BLOB = re.compile(r"--model \S*/blobs/(sha256-[0-9a-f]{64})")
_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}

# A size in a log: no more digits than any memory has bytes.
_SIZE = r"(\d{1,15}(?:\.\d{1,15})?)"

# llama.cpp, inside of llama-server and of Ollama up to 0.24: one line for each buffer.
_BUFFER = re.compile(rf"^\s*(\w+):\s+(\S+)\s+(model|KV|RS|compute|output) buffer size\s*=\s*{_SIZE} MiB", re.MULTILINE)
_GPU = re.compile(r"[A-Za-z]+\d+")  # CUDA0, ROCm1; memory of the host is called CPU, CPU_REPACK, AMX, CUDA_Host
_BATCH = re.compile(r"^llama_context: n_ubatch\s*= (\d+)", re.MULTILINE)
_SLOTS = re.compile(r"^llama_context: n_seq_max\s*= (\d+)", re.MULTILINE)
_KV_TYPE = re.compile(r"^llama_kv_cache: size = .* K \((\w+)\)", re.MULTILINE)
_NO_FLASH = re.compile(
    r"^llama_context: flash_attn +?= disabled|Operation:commit .*? FlashAttention:Disabled ", re.MULTILINE
)
_THREADS = re.compile(r"system_info: n_threads = (\d+)")
_CELLS = re.compile(r"^llama_context: n_ctx_(?:seq|per_seq)\s*= (\d+)", re.MULTILINE)

# Ollama's own engine: one line for each part on each device, and the request that led to it. Where another model has to
# make room first, it begins once more.
_PART = re.compile(rf'msg="(model weights|kv cache|compute graph)" device=(\S+) size="{_SIZE} ([KMGT]?i?B)"')
_ATTEMPT = re.compile(r'msg="loading model"')
_REQUEST = re.compile(
    r"Operation:commit .*?Parallel:(\d+) BatchSize:(\d+) .*?KvSize:(\d+) KvCacheType:(\S*) NumThreads:(\d+) "
)

# Where a load is over: llama-server tells its port, the runner of Ollama up to 0.24 does not.
_OVER = re.compile(r'listening on http://\S+:(\d+)|msg="llama runner started in ')

# Seconds before and after the start of a model's process in which its load is looked for. Most loads are over soon, and
# what follows is the log of requests, which may be a hundred times longer.
WINDOWS = ((2.0, 4.0), (2.0, 16.0), (15.0, 60.0), (15.0, 900.0))

# A part that is further off than this factor is not the part that was predicted.
MAX_FACTOR = 2.0


class LoadedParts(NamedTuple):
    """Bytes that the last load in a log allocated, and how it was loaded; None where the log does not say.

    ``blob`` is the name of the model's file in the store, ``context`` is per slot, in tokens, ``flash`` is whether it
    uses flash attention, ``gpu`` whether weights are on a GPU, and ``llama_server`` says which of the engines it was.
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
    blob: str | None = None
    flash: bool = True
    gpu: bool = False
    llama_server: bool = False


class Calibration(NamedTuple):
    """Factors from a model's predicted parts to its real ones, good for other configurations of the same model."""

    weights: float = 1.0
    kv: float = 1.0
    recurrent: float = 1.0
    compute: float = 1.0
    output: float = 1.0

    @classmethod
    def of(cls, predicted: ModelMemory, parts: LoadedParts) -> Calibration:
        """From a load's log and the prediction for the same configuration.

        A part that is neither logged nor predicted, or further off than any real load was, is left as predicted.
        """
        factors = {}
        for name in cls._fields:
            real, expected = getattr(parts, name), getattr(predicted, name)
            if real and expected and 1 / MAX_FACTOR <= real / expected <= MAX_FACTOR:
                factors[name] = real / expected
        return cls(**factors)

    def apply(self, predicted: ModelMemory) -> ModelMemory:
        """The prediction for any configuration of that model, with its parts scaled."""
        return predicted._replace(
            weights=round(predicted.weights * self.weights),
            kv_full=round(predicted.kv_full * self.kv),
            kv_window=round(predicted.kv_window * self.kv),
            recurrent=round(predicted.recurrent * self.recurrent),
            compute=round(predicted.compute * self.compute),
            output=round(predicted.output * self.output),
        )


def read_load(read: Callable[[float, float], str], began: float, port: int) -> str:
    """A log with the load for the runner on this port, whose process began then (s since the epoch).

    ``read`` returns what the service logged between two times. It is asked for more only where less has not all of it.
    """
    log = ""
    for before, after in WINDOWS:
        log = read(began - before, began + after)
        if any(found[1] in (None, str(port)) for found in _OVER.finditer(_of_port(log, port))):
            break
    return log


def load_of(log: str, port: int) -> LoadedParts | None:
    """The last load for the runner that listens on this port; None where the log does not have it."""
    return _parts(_of_port(log, port))


def _of_port(log: str, port: int) -> str:
    of_port = [text for text in _loads(log) if (start := _START.match(text)) and int(start[1]) == port]
    return of_port[-1] if of_port else ""


def loads(log: str) -> list[LoadedParts]:
    """Every load that a server's log tells of, in order."""
    return [parts for text in _loads(log) if (parts := _parts(text))]


def _loads(log: str) -> list[str]:
    """The log, cut where loads begin; without what is before the first."""
    starts = [found.start() for found in _START.finditer(log)] or [0]
    return [log[start:end] for start, end in zip(starts, [*starts[1:], len(log)])]


def _parts(text: str) -> LoadedParts | None:
    parts = _llama(text) if _BUFFER.search(text) else _own_engine(text)
    blob = _BLOB.search(text)
    if parts is None:
        return None
    return parts._replace(
        blob=blob[1] if blob else None,
        flash=not _NO_FLASH.search(text),
        llama_server='msg="starting llama-server"' in text,
    )


def _llama(text: str) -> LoadedParts:
    sizes: dict[str, int] = {}
    buffers = _BUFFER.findall(text)
    for _component, _device, kind, size in buffers:
        sizes[kind] = sizes.get(kind, 0) + _bytes(size, "MiB")
    weights = {device for _component, device, kind, _size in buffers if kind == "model"}
    gpu = any(_GPU.fullmatch(device) for device in weights)
    # What is mapped from the file is counted whole, with what of it was copied to a GPU.
    twice = gpu and any(device.endswith("_Mapped") for device in weights)
    # The llama.cpp in Ollama's process reserves logits for a whole batch, of which hardly anything is ever touched.
    in_process = "starting go runner" in text
    return LoadedParts(
        weights=None if twice else sizes.get("model"),
        kv=sizes.get("KV"),
        recurrent=sizes.get("RS"),
        compute=None if in_process else sizes.get("compute"),
        output=sizes.get("output"),
        gpu=gpu,
        parallel=_number(_SLOTS, text),
        context=_number(_CELLS, text),
        batch=_number(_BATCH, text),
        threads=request.threads if (request := _request(text)) else _number(_THREADS, text),
        kv_type=kv_type[1] if (kv_type := _KV_TYPE.search(text)) else None,
    )


def _own_engine(text: str) -> LoadedParts | None:
    parts: dict[str, int] = {}
    found = _PART.findall(_ATTEMPT.split(text)[-1])
    for name, _device, size, unit in found:
        parts[name] = parts.get(name, 0) + _bytes(size, unit)
    if not parts:
        return None
    return (_request(text) or LoadedParts())._replace(
        weights=parts.get("model weights"),
        kv=parts.get("kv cache"),
        compute=parts.get("compute graph"),
        gpu=any(name == "model weights" and _GPU.fullmatch(device) for name, device, _size, _unit in found),
    )


def _request(text: str) -> LoadedParts | None:
    """What Ollama up to 0.24 asked its runner for."""
    request = _REQUEST.search(text)
    if not request:
        return None
    parallel, batch, cells, threads = (int(request[group]) for group in (1, 2, 3, 5))
    context = cells // parallel if parallel else None
    return LoadedParts(
        parallel=parallel, context=context, batch=batch, threads=threads or None, kv_type=request[4] or None
    )


def _bytes(size: str, unit: str) -> int:
    return round(float(size) * _UNITS.get(unit, 1))


def _number(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    return int(found[1]) if found else None
