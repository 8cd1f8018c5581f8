# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Facts that depend on the engine's version, and what the server makes of an environment variable.

Source: envconfig/config.go and llm/ of Ollama 0.24 and 0.34.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput

# From this release on models run in llama.cpp's llama-server, a child process that inherits the service's environment.
LLAMA_SERVER_SINCE = (0, 30, 0)
PARALLEL_SINCE = (0, 1, 33)

FLASH_ATTENTION = "OLLAMA_FLASH_ATTENTION"
KV_CACHE_TYPE = "OLLAMA_KV_CACHE_TYPE"
PROMPT_CACHE = "LLAMA_ARG_CACHE_RAM"
CHECKPOINTS = "LLAMA_ARG_CTX_CHECKPOINTS"
GPU_OVERHEAD = "OLLAMA_GPU_OVERHEAD"

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}

# How long a model is kept after an answer where OLLAMA_KEEP_ALIVE is not set, or is no duration.
DEFAULT_KEEP_ALIVE = "5m"

# Models that OLLAMA_MAX_LOADED_MODELS=0 allows for each GPU, or in all on a host without one.
DEFAULT_LOADED_MODELS = 3

# Tokens of context that OLLAMA_CONTEXT_LENGTH=0 means, by the memory of all GPUs in MiB.
DEFAULT_CONTEXTS = ((47 * 1024, 262144), (23 * 1024, 32768), (0, 4096))

# Setting any of these to a device that does not exist hides all devices of its kind.
GPU_VISIBILITY = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES")
NO_DEVICE = "-1"
# How the names of the libraries begin that compute on a vendor's devices; on any of them Vulkan does.
GPU_LIBRARIES = {"nvidia": ("cuda",), "amd": ("rocm",)}
# Which variables choose among the devices of a vendor.
VISIBILITY = {
    "nvidia": ("CUDA_VISIBLE_DEVICES",),
    "amd": ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"),
    "intel": ("GGML_VK_VISIBLE_DEVICES",),
}
# What decides which GPUs a server computes on.
GPU_SELECTION = (
    *(name for names in VISIBILITY.values() for name in names),
    "OLLAMA_LLM_LIBRARY",
    "OLLAMA_VULKAN",
    "OLLAMA_IGPU_ENABLE",
)

# How much of each loaded model must be on GPUs: any part of it, some of it, all of it.
GPU_NONE, GPU_SOME, GPU_ALL = GPU_CHOICES = ("none", "some", "all")

# Variables that no current version reads, and that people set nevertheless, with what does the same job.
DEAD_VARIABLES: dict[str, str] = {
    "OLLAMA_NUM_CTX": "Use OLLAMA_CONTEXT_LENGTH or the model parameter num_ctx.",
    "OLLAMA_CTX_SIZE": "Use OLLAMA_CONTEXT_LENGTH or the model parameter num_ctx.",
    "OLLAMA_CONTEXT_SIZE": "Use OLLAMA_CONTEXT_LENGTH or the model parameter num_ctx.",
    "OLLAMA_GPU_LAYERS": "Use the model parameter num_gpu.",
    "OLLAMA_MAX_VRAM": f"Use {GPU_OVERHEAD}: so many bytes of each GPU are left free.",
    "OLLAMA_NUM_GPU": "Use the option num_gpu: 0 hides the GPUs, a number of layers goes into the model's parameters.",
    "OLLAMA_REQUEST_TIMEOUT": "Use the option request_timeout: it sets the proxy's timeouts and OLLAMA_LOAD_TIMEOUT.",
    "OLLAMA_NUM_THREAD": "Use LLAMA_ARG_THREADS (0.30 and newer) or the model parameter num_thread.",
    "OLLAMA_NUM_THREADS": "Use LLAMA_ARG_THREADS (0.30 and newer) or the model parameter num_thread.",
}

# Variables of llama-server that Ollama leaves without effect, since it gives the same on the command line: what to set,
# and the variable without which it does not.
OVERRIDDEN: dict[str, tuple[str, str | None]] = {
    "LLAMA_ARG_N_PARALLEL": ("OLLAMA_NUM_PARALLEL", None),
    "LLAMA_ARG_CTX_SIZE": ("OLLAMA_CONTEXT_LENGTH", None),
    "LLAMA_ARG_FLASH_ATTN": (FLASH_ATTENTION, None),
    "LLAMA_ARG_BATCH": ("the model parameter num_batch", None),
    "LLAMA_ARG_UBATCH": ("the model parameter num_batch", None),
    "LLAMA_ARG_CACHE_TYPE_K": (KV_CACHE_TYPE, KV_CACHE_TYPE),
    "LLAMA_ARG_CACHE_TYPE_V": (KV_CACHE_TYPE, KV_CACHE_TYPE),
}

# How similar a name is that was meant to be another: a letter more, less or changed, or another case. Names of
# llama-server's own variables, as LLAMA_ARG_THREADS_BATCH, are less so.
SLIP = 0.94
# Of those that begin with OLLAMA_, half a name is enough; below, only what they all begin with is alike.
SIMILAR = 0.8

_COUNT = (r"[0-9]{1,18}", "a whole number, 0 or more")
_POSITIVE = (r"0*[1-9][0-9]{0,17}", "a whole number, 1 or more")
# Of 32 bits.
_SMALL_COUNT = (r"[0-9]{1,9}", "a whole number, 0 or more")
_SIGNED = (r"-1|[0-9]{1,9}", "a whole number, 0 or more, or -1")
_NO = ("0", "f", "F", "FALSE", "false", "False")
_BOOLEAN = ("|".join(("1", "t", "T", "TRUE", "true", "True", *_NO)), "true or false")
# Digits of each unit that do not come to more nanoseconds than 64 bits hold.
_SECONDS = r"[0-9]{1,9}|[1-8][0-9]{9}"
_PARTS = (
    (r"[0-9]{1,6}", "h"),
    (r"[0-9]{1,8}", "m"),
    (_SECONDS, "s"),
    (r"[0-9]{1,12}", "ms"),
    (r"[0-9]{1,15}", "us|µs|μs"),
    (r"[0-9]{1,18}", "ns"),
)
_DURATION = (
    rf"[-+]?({_SECONDS}|("
    + "|".join(rf"((({digits})(\.[0-9]*)?|\.[0-9]+)({unit}))" for digits, unit in _PARTS)
    + ")+)",
    'seconds or a duration such as "30m" or "24h"',
)
_KV_TYPE = ("f16|q8_0|q4_0", "one of f16, q8_0, q4_0")
# What llama-server takes as well, and nothing is planned for.
RUNNER_KV_TYPES = ("f32", "bf16", "q4_1", "iq4_nl", "q5_0", "q5_1")
_TEXT = (r".*", "text on one line")

# Every variable that the server reads, with the form its value must have. A value of another form is not refused by the
# server: a number or duration silently becomes the default, a boolean becomes true.
VARIABLES: dict[str, tuple[str, str]] = {
    "OLLAMA_NUM_PARALLEL": _POSITIVE,
    "OLLAMA_MAX_LOADED_MODELS": _COUNT,
    "OLLAMA_MAX_QUEUE": _COUNT,
    "OLLAMA_MAX_TRANSFER_STREAMS": _COUNT,
    "OLLAMA_CONTEXT_LENGTH": _COUNT,
    GPU_OVERHEAD: _COUNT,
    "OLLAMA_KEEP_ALIVE": _DURATION,
    "OLLAMA_LOAD_TIMEOUT": _DURATION,
    KV_CACHE_TYPE: _KV_TYPE,
    FLASH_ATTENTION: _BOOLEAN,
    "OLLAMA_GO_TEMPLATE": _BOOLEAN,
    "OLLAMA_DEBUG_LOG_REQUESTS": _BOOLEAN,
    "OLLAMA_NOHISTORY": _BOOLEAN,
    "OLLAMA_NOPRUNE": _BOOLEAN,
    "OLLAMA_NO_CLOUD": _BOOLEAN,
    "OLLAMA_SCHED_SPREAD": _BOOLEAN,
    "OLLAMA_AUTH": _BOOLEAN,
    "OLLAMA_VULKAN": _BOOLEAN,
    "OLLAMA_IGPU_ENABLE": _BOOLEAN,
    "OLLAMA_NEW_ENGINE": _BOOLEAN,
    "OLLAMA_MULTIUSER_CACHE": _BOOLEAN,
    "OLLAMA_DEBUG": _TEXT,
    "OLLAMA_CLOUD_BASE_URL": _TEXT,
    "OLLAMA_EDITOR": _TEXT,
    "OLLAMA_EXPERIMENT": _TEXT,
    "OLLAMA_HOST": _TEXT,
    "OLLAMA_LLAMA_CPP_COMPAT": _TEXT,
    "OLLAMA_LLM_LIBRARY": _TEXT,
    "OLLAMA_MODELS": _TEXT,
    "OLLAMA_ORIGINS": _TEXT,
    "OLLAMA_REMOTES": _TEXT,
    "LLAMA_ARG_THREADS": _SIGNED,
    PROMPT_CACHE: _SIGNED,
    CHECKPOINTS: _SMALL_COUNT,
}
# Those that only releases from 0.30 on read, and those that only older ones do.
_SINCE_LLAMA_SERVER = ("OLLAMA_GO_TEMPLATE", "OLLAMA_IGPU_ENABLE", "OLLAMA_LLAMA_CPP_COMPAT")
_UNTIL_LLAMA_SERVER = ("OLLAMA_MULTIUSER_CACHE", "OLLAMA_NEW_ENGINE")


class Engine(NamedTuple):
    """An Ollama release. Without a version the newest is assumed."""

    version: tuple[int, int, int] | None = None

    @classmethod
    def parse(cls, text: str | None) -> Engine:
        """Read ``/api/version``'s text, for example ``0.34.0`` or ``v0.30.0-rc1``. A source build says ``0.0.0``."""
        if not text:
            return cls()
        match = re.fullmatch(r"v?(\d+)\.(\d+)(?:\.(\d+))?(?:[-+].*)?", text.strip())
        if not match:
            raise InvalidInput(
                f"engine_version is {text!r}.",
                'It must be a release such as "0.34.0", or left out.',
                key="engine_version",
            )
        major, minor, patch = (int(part or 0) for part in match.groups())
        return cls((major, minor, patch) if (major, minor, patch) != (0, 0, 0) else None)

    @property
    def runs_llama_server(self) -> bool:
        return self.version is None or self.version >= LLAMA_SERVER_SINCE

    @property
    def knows_parallel(self) -> bool:
        return self.version is None or self.version >= PARALLEL_SINCE

    @property
    def threads_variable(self) -> str | None:
        """The variable that sets the number of threads; None where only the model parameter ``num_thread`` does."""
        return "LLAMA_ARG_THREADS" if self.runs_llama_server else None

    @property
    def prompt_cache_variable(self) -> str | None:
        """The variable that caps, in MiB, the prompt cache of each loaded model; None where there is no such cache."""
        return PROMPT_CACHE if self.runs_llama_server else None

    def __str__(self) -> str:
        return (
            "Ollama 0.30 or newer (assumed)" if self.version is None else "Ollama " + ".".join(map(str, self.version))
        )


def default_context(gpu_mb: int) -> int:
    """The context (tokens) that the engine chooses by itself."""
    return next(tokens for least, tokens in DEFAULT_CONTEXTS if gpu_mb >= least)


def is_on(value: str) -> bool:
    """What a variable that is true or false means; the server takes for true what it cannot read."""
    return value not in _NO


def visible(value: str, count: int) -> tuple[int, ...]:
    """Which of so many devices a visibility variable leaves: each is named by its number or an identifier (``GPU-…``).

    The first that does not exist ends the list. Which one an identifier means is not known here: the next one is taken.
    """
    found: list[int] = []
    for part in (each.strip() for each in value.split(",")):
        named = part.startswith(("GPU-", "MIG-"))
        device = int(part) if part.isdecimal() and len(part) < 5 else len(found) if named else count
        if device >= count or device in found:
            break
        found.append(device)
    return tuple(found)


def computes_on(vendor: str, environment: Mapping[str, str], engine: Engine) -> bool:
    """Whether a server with these variables loads a library for a vendor's GPUs."""
    asked = environment.get("OLLAMA_LLM_LIBRARY", "")
    vulkan = is_on(environment.get("OLLAMA_VULKAN") or ("1" if engine.runs_llama_server else "0"))
    libraries = [*GPU_LIBRARIES.get(vendor, ()), *(["vulkan"] if vulkan else [])]
    return any(asked.startswith(library) or not asked for library in libraries)


def clean(value: str) -> str:
    """A variable's value as the server reads it: without space and quotes around it."""
    return value.strip().strip("\"'")


def duration(text: str) -> float:
    """Seconds of a keep-alive time; infinite where it is negative, the server's default (5 minutes) where invalid."""
    text = clean(text)
    sign = -1 if text.startswith("-") else 1
    body = text.lstrip("+-")
    if body.isdecimal():
        total = float(body)
    else:
        parts = re.findall(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", body)
        total = sum(float(number) * _UNITS[unit] for number, unit in parts) if parts else 300.0
    return float("inf") if sign < 0 and total else total


def unusable(name: str, value: str, engine: Engine) -> tuple[str, str] | None:
    """What becomes of a value that a running server was given and that cannot be used, and what to give; else None.

    The server reads its own variables leniently, and llama-server, which gets some of them, refuses to start.
    """
    of_runner = name.startswith("LLAMA_ARG_")
    meant = value if of_runner else clean(value)
    if name == KV_CACHE_TYPE:
        meant = meant.lower()
        if engine.runs_llama_server and meant in RUNNER_KV_TYPES:
            return None
    if not meant or name not in VARIABLES:  # an empty one counts as not set
        return None
    try:
        check_variable(name, meant)
    except InvalidInput as error:
        if engine.runs_llama_server and (of_runner or name == KV_CACHE_TYPE):
            return "llama-server refuses it, so that no model loads", error.remedy
        if VARIABLES[name] is _BOOLEAN:
            return "the server takes it for true", error.remedy
        return "the server silently replaces it by its default", error.remedy
    return None


def check_variable(name: str, value: str) -> None:
    """Refuse a variable that could not be set, or that the server would silently replace by its default."""
    where = f"environment: {name}"
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise InvalidInput(f"{where!r} is not a name for a variable.", "Use letters, digits and underscores.", key=name)
    if not re.fullmatch(r"[^\0-\x1f\x7f]*", value):
        raise InvalidInput(
            f"{where} is {value!r}.", "Its value must be text on one line without control characters.", key=name
        )
    pattern, form = VARIABLES.get(name, _TEXT)
    if not re.fullmatch(pattern, value):
        raise InvalidInput(f"{where} is {value!r}.", f"It must be {form}.", key=name)


def variable_problem(name: str, engine: Engine, others: Collection[str] = ()) -> str | None:
    """Why setting this variable has no effect, or None where it has one or where that is not ours to judge.

    ``others`` are the variables that are set as well.
    """
    if name in DEAD_VARIABLES:
        return f"{name} is read by no current Ollama. {DEAD_VARIABLES[name]}"
    if not engine.runs_llama_server and (name.startswith("LLAMA_ARG_") or name in _SINCE_LLAMA_SERVER):
        return f"{name} is read by Ollama 0.30 and newer only, not by {engine}."
    if engine.runs_llama_server and name in _UNTIL_LLAMA_SERVER:
        return f"{name} is read by releases before 0.30 only, not by {engine}."
    if name in OVERRIDDEN:
        instead, where = OVERRIDDEN[name]
        if where and where not in others:
            return None
        return f"{name} has no effect: Ollama gives llama-server the same on its command line. Use {instead}."
    if name in VARIABLES:
        return None
    # Of other programs' variables only those are ours to judge that are a slip away from one of the server's.
    ours = name.startswith("OLLAMA_")
    import difflib  # noqa: PLC0415  # seldom needed, and a hundredth of what tuning_facts takes

    similar = difflib.get_close_matches(name.upper(), VARIABLES, n=1, cutoff=SIMILAR if ours else SLIP)
    if not ours and not similar:
        return None
    return f"{name} is not known to be read by any Ollama." + (f" Did you mean {similar[0]}?" if similar else "")
