# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compare the memory model with real processes: ./dev exec python tests/benchmarks/memory_model.py [--quick]

For each configuration a real server of the lab's cache is started on a free loopback port, with a home and a model
store of its own. All slots get long, distinct prompts at the same time, then shorter ones until the prompt cache is
full. The measure is VmHWM, the kernel's own record of a process's largest resident set, added up over the server and
its runners: it misses no peak between two samples, and it is what the memory limit of a unit has to hold, except that
the program file, which old servers share with their runner, counts twice (25 MiB).

Prints a Markdown table. Exit code 1 if any prediction is more than 5 % under or 10 % over.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import queue
import random
import re
import shutil
import string
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import requests
from lab import engine as lab_engine
from lab import models as lab_models
from lab.cache import Cache
from lab.steps import Steps, run

CHECKOUT = Path(__file__).parents[2]
sys.path[:0] = [str(CHECKOUT / ".collections"), str(Path(__file__).parent)]

# ruff: noqa: E402  # the collection is imported from the checkout
from ansible_collections.llmops.ollama.plugins.module_utils.engine import Engine
from ansible_collections.llmops.ollama.plugins.module_utils.gguf_reader import read_header
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.probe import probe
from ansible_collections.llmops.ollama.plugins.module_utils.memory_model import (
    MIB,
    Load,
    effective_batch,
    predict,
    prompt_state,
)
from ansible_collections.llmops.ollama.plugins.module_utils.model_shape import ModelShape, from_header
from ansible_collections.llmops.ollama.plugins.module_utils.packing import Packing

REQUIREMENTS = CHECKOUT / "requirements" / "benchmarks.txt"
ENGINES = ("0.34.0", "0.24.0")
LOWEST, HIGHEST = 0.95, 1.10
PATIENCE = 1800.0  # seconds
PROMPT_CACHE_MIB = 64
GRID_MODEL = "gemma3:270m-it-q4_0"
GENERATED = 8  # tokens
MAX_ROUNDS = 12


@dataclass(frozen=True)
class Configuration:
    """One row. ``models`` are loaded together; each slot of the first one gets prompts, so many ``rounds``.

    0 rounds: as many as fill the prompt cache.
    """

    engine: str
    models: tuple[str, ...]
    parallel: int
    context: int
    kv_type: str = "f16"
    prompt_cache_mib: int = PROMPT_CACHE_MIB
    rounds: int = 0
    flash: bool = True

    @property
    def key(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Measurement:
    """What was seen: peak bytes of the server and of its runners, and the prompts' tokens in the first round."""

    server: int
    runners: int
    tokens: int
    seconds: float


def configurations(quick: bool, small: tuple[str, ...]) -> list[Configuration]:
    """The rows of the table."""
    rows = []
    for version in ENGINES:
        if quick:
            rows += [Configuration(version, (GRID_MODEL,), *each) for each in ((1, 2048), (4, 2048, "q8_0"))]
            rows += [Configuration(version, (name,), 2, 2048) for name in small]
            continue
        rows += [
            Configuration(version, (GRID_MODEL,), parallel, context, kv_type)
            for parallel in (1, 2, 4, 8)
            for context in (2048, 4096, 8192)
            for kv_type in ("f16", "q8_0")
        ]
        rows += [
            Configuration(version, ("gemma3:270m",), 2, 4096),
            Configuration(version, ("gemma3:270m-it-fp16",), 2, 2048),
        ]
        for name in small:
            rows += [Configuration(version, (name,), *each) for each in ((1, 2048), (4, 2048, "q8_0"), (2, 8192))]
        rows.append(Configuration(version, (GRID_MODEL, small[0]), 2, 2048))
        rows += [Configuration(version, (name,), 2, 8192, flash=False) for name in (GRID_MODEL, small[0])]
    if not quick:
        rows += [Configuration("0.34.0", (GRID_MODEL,), 2, 2048, "f16", cache) for cache in (0, 256)]
    return rows


# --- what is needed -----------------------------------------------------------------------------------------------


def small_models(steps: Steps, cache: Cache, binary: Path) -> tuple[Path, tuple[str, ...]]:
    """A store with the small models, made where the cache has none, and their names."""
    libraries = cache.entry(f"benchmarks/{digest(REQUIREMENTS)}", lambda folder: install(steps, folder))
    sys.path.append(str(libraries))
    builder = importlib.import_module("small_models")

    def build(folder: Path) -> None:
        with (
            steps.step("small models") as step,
            cache.scratch() as scratch,
            lab_models.serve(binary, folder, scratch) as address,
        ):
            for number, model in enumerate(builder.SMALL_MODELS):
                step.say(model.name, number, len(builder.SMALL_MODELS))
                builder.write(model, scratch / "model.gguf")
                lab_models.create(address, model.name, scratch / "model.gguf")
                (scratch / "model.gguf").unlink()

    store = cache.entry(f"benchmarks/models-{digest(Path(str(builder.__file__)))}", build)
    return store, tuple(model.name for model in builder.SMALL_MODELS)


def install(steps: Steps, folder: Path) -> None:
    """The pinned packages that write GGUF files."""
    with steps.step(f"packages of {REQUIREMENTS.name}"):
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--no-compile"]
        run([*pip, "--target", folder, "--requirement", REQUIREMENTS])


def digest(path: Path) -> str:
    """Short name for the content of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8]


def merge_stores(sources: tuple[Path, ...], target: Path) -> None:
    """One store with the models of several, without copying a blob."""
    (target / "blobs").mkdir(parents=True)
    for source in sources:
        for blob in (source / "blobs").iterdir():
            if not (target / "blobs" / blob.name).exists():
                (target / "blobs" / blob.name).symlink_to(blob)
        shutil.copytree(source / "manifests", target / "manifests", dirs_exist_ok=True)


def model_shape(store: Path, name: str) -> ModelShape:
    """The shape of a model of a store."""
    model, _, tag = name.partition(":")
    manifest = json.loads((store / "manifests/registry.ollama.ai/library" / model / (tag or "latest")).read_text())
    layer = next(each for each in manifest["layers"] if each["mediaType"].endswith("image.model"))
    return from_header(read_header(store / "blobs" / layer["digest"].replace(":", "-")))


# --- one configuration --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def server(binary: Path, env: dict[str, str], log: list[str]) -> Iterator[tuple[str, int]]:
    """Address and process number of a server that runs as long as the block."""
    process = subprocess.Popen([binary, "serve"], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout
    stream = process.stdout
    address: queue.Queue[str] = queue.Queue()

    def follow() -> None:
        for line in stream:
            log.append(line)
            found = re.search(r"Listening on (127\.0\.0\.1:\d+)", line)
            if found:
                address.put(f"http://{found[1]}")

    threading.Thread(target=follow, daemon=True).start()
    try:
        yield address.get(timeout=60), process.pid
    finally:
        process.terminate()
        process.wait()


def measure(
    row: Configuration, binary: Path, store: Path, shape: ModelShape, budget: int, log: list[str]
) -> Measurement:
    """Run one configuration; ``budget`` (tokens) bounds a round's prompts, but the first slot's is always full."""
    with tempfile.TemporaryDirectory() as home:
        env = {
            "HOME": home,
            "PATH": "/usr/bin:/bin",
            "OLLAMA_MODELS": str(store),
            "OLLAMA_HOST": "127.0.0.1:0",
            "OLLAMA_NUM_PARALLEL": str(row.parallel),
            "OLLAMA_CONTEXT_LENGTH": str(row.context),
            "OLLAMA_KV_CACHE_TYPE": row.kv_type,
            "OLLAMA_FLASH_ATTENTION": str(int(row.flash)),
            "OLLAMA_KEEP_ALIVE": "-1",
            "OLLAMA_NOPRUNE": "1",
            "OLLAMA_NO_CLOUD": "1",
            "LLAMA_ARG_CACHE_RAM": str(row.prompt_cache_mib),
        }
        with server(binary, env, log) as (address, pid):
            started = time.monotonic()
            lengths = [ask(address, name, words(200, "length")) for name in reversed(row.models)]
            tokens_per_word = lengths[-1] / 200
            full = row.context - GENERATED - 32
            batch = effective_batch(Load(shape, row.parallel, row.context, row.kv_type), Engine.parse(row.engine))
            # Beyond one batch and one window a longer prompt adds nothing to a checkpoint.
            short = min(full, batch + shape.window + 128)
            others = max(short, min(full, (budget - full) // max(1, row.parallel - 1)))
            tokens = 0
            for number in range(row.rounds or rounds_that_fill(row, shape, short)):
                lengths = [full] + [others] * (row.parallel - 1) if number == 0 else [short] * row.parallel
                prompts = [
                    words(int(0.97 * length / tokens_per_word), f"{number}-{slot}")
                    for slot, length in enumerate(lengths)
                ]
                with ThreadPoolExecutor(row.parallel) as pool:
                    counts = list(pool.map(lambda prompt: ask(address, row.models[0], prompt), prompts))
                tokens = tokens or sum(counts)
            seconds = time.monotonic() - started
            return Measurement(peak(pid), sum(map(peak, children(pid))), tokens, seconds)


def rounds_that_fill(row: Configuration, shape: ModelShape, short: int) -> int:
    """The round of long prompts, and those of short ones after which the prompt cache is full."""
    if not Engine.parse(row.engine).runs_llama_server:
        return 1
    kept = row.parallel * prompt_state(shape, short, row.kv_type)
    return 2 + min(MAX_ROUNDS, row.prompt_cache_mib * MIB // kept)


def words(count: int, seed: str) -> str:
    """Random words of four letters, the same for the same seed."""
    generator = random.Random(seed)  # noqa: S311  # not a secret
    return " ".join("".join(generator.choices(string.ascii_lowercase, k=4)) for _word in range(count))


def ask(address: str, model: str, prompt: str) -> int:
    """Have a prompt answered; return its tokens."""
    options = {"num_predict": GENERATED, "temperature": 0}
    body = {"model": model, "prompt": prompt, "raw": True, "stream": False, "options": options}
    answer = requests.post(f"{address}/api/generate", json=body, timeout=PATIENCE)
    answer.raise_for_status()
    return int(answer.json()["prompt_eval_count"])


def children(pid: int) -> list[int]:
    """Child processes, and theirs."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            found += [child, *children(child)]
    return found


def peak(pid: int) -> int:
    """Largest resident set that a process had. Bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert found, status
    return int(found[1]) * 1024


# --- the table ----------------------------------------------------------------------------------------------------

HEAD = "| Engine | Model | Parallel | Context | KV | Cache MiB | Filled | Predicted MiB | Measured MiB | Ratio | |"


def compare(row: Configuration, seen: Measurement, shapes: dict[str, ModelShape]) -> tuple[str, bool]:
    """A line of the table, and whether the prediction holds."""
    engine = Engine.parse(row.engine)
    first, *others = row.models
    given = (row.parallel, row.context, row.kv_type, None)
    packing = Packing.of(probe().cpu_features)
    loads = [Load(shapes[first], *given, row.prompt_cache_mib, seen.tokens, packing, row.flash)]
    loads += [Load(shapes[name], *given, 0, 512, packing, row.flash) for name in others]
    predicted = predict(loads, engine).peak
    measured = seen.server + seen.runners
    ratio = predicted / measured
    good = LOWEST <= ratio <= HIGHEST
    filled = seen.tokens / (row.parallel * row.context)
    cells = (
        row.engine,
        " + ".join(row.models),
        row.parallel,
        row.context,
        row.kv_type + ("" if row.flash else ", no flash attention"),
        row.prompt_cache_mib if engine.runs_llama_server else "",
        f"{filled:.0%}",
        f"{predicted / MIB:.0f}",
        f"{measured / MIB:.0f} ({seen.server / MIB:.0f} + {seen.runners / MIB:.0f})",
        f"{ratio:.3f}",
        "" if good else "**out**",
    )
    return f"| {' | '.join(map(str, cells))} |", good


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare the memory model with real processes.")
    parser.add_argument("--quick", action="store_true", help="a few configurations of every kind")
    parser.add_argument("--engine", choices=ENGINES, help="only this one")
    parser.add_argument("--model", help="only configurations with this model")
    parser.add_argument("--parallel", type=int, help="only those with so many slots")
    parser.add_argument("--context", type=int, help="only those with so many tokens for each slot")
    parser.add_argument("--no-flash", action="store_true", help="only those without flash attention")
    parser.add_argument(
        "--tokens", type=int, default=16384, help="of all prompts of a round together, about [%(default)s]"
    )
    parser.add_argument(
        "--measurements", type=Path, help="file of earlier measurements to use instead of measuring, and to add to"
    )
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    known: dict[str, Any] = {}
    if asked.measurements and asked.measurements.exists():
        known = dict(map(json.loads, asked.measurements.read_text().splitlines()))
    with Steps() as steps, tempfile.TemporaryDirectory() as folder:
        cache, scratch = Cache(steps), Path(folder)
        versions = (asked.engine,) if asked.engine else ENGINES
        releases = {version: lab_engine.release(steps, cache, version) for version in versions}
        binaries = {each: lab_engine.unpack(release, scratch / each) for each, release in releases.items()}
        real = lab_models.store(steps, cache, ENGINES[0])
        newest = binaries.get(ENGINES[0]) or next(iter(binaries.values()))
        small, names = small_models(steps, cache, newest)
        store = scratch / "models"
        merge_stores((real, small), store)
        rows = [row for row in configurations(asked.quick, names) if row.engine in versions]
        rows = [row for row in rows if asked.model in (None, *row.models)]
        rows = [row for row in rows if not (asked.no_flash and row.flash)]
        rows = [row for row in rows if asked.parallel in (None, row.parallel) and asked.context in (None, row.context)]
        shapes = {name: model_shape(store, name) for row in rows for name in row.models}
        lines, good = [HEAD, "|---" * HEAD.count(" | ") + "|---|"], True
        with steps.step("measuring") as step:
            for number, row in enumerate(rows):
                step.say(f"{row.engine} {row.models[0]} x{row.parallel} {row.context} {row.kv_type}", number, len(rows))
                if row.key not in known:
                    log: list[str] = []
                    try:
                        seen = measure(row, binaries[row.engine], store, shapes[row.models[0]], asked.tokens, log)
                    except (requests.RequestException, queue.Empty) as error:
                        raise SystemExit(f"{row}: {error}\n{''.join(log[-20:])}") from error
                    known[row.key] = asdict(seen)
                    if asked.measurements:
                        with asked.measurements.open("a") as stream:
                            stream.write(json.dumps([row.key, asdict(seen)]) + "\n")
                line, holds = compare(row, Measurement(**known[row.key]), shapes)
                lines.append(line)
                good &= holds
    print("\n".join(lines))
    return 0 if good else 1


if __name__ == "__main__":
    os.chdir(CHECKOUT)
    sys.exit(main())
