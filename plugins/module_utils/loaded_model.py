# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Did every wanted value reach a model that a server has loaded?

Each method of ``Model`` is one check: it returns what it found, or raises an ``OllamaError`` where that is wrong.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils import runner as processes
from ansible_collections.llmops.ollama.plugins.module_utils.client import Client, Json
from ansible_collections.llmops.ollama.plugins.module_utils.effective import Checks, Host, Wanted, kept_for
from ansible_collections.llmops.ollama.plugins.module_utils.engine import (
    DEFAULT_KEEP_ALIVE,
    GPU_ALL,
    GPU_SOME,
    duration,
)
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput, NotFound, OllamaError, Unhealthy
from ansible_collections.llmops.ollama.plugins.module_utils.load_log import LoadedParts, load_of, read_load
from ansible_collections.llmops.ollama.plugins.module_utils.memory_model import MIB, VISION_CONTEXT
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from ansible_collections.llmops.ollama.plugins.module_utils.model_shape import SINGLE_SLOT_FAMILIES
from ansible_collections.llmops.ollama.plugins.module_utils.runner import Runner

# A runner's own port answers at once or not at all.
RUNNER_TIMEOUT = 5.0
# A model must be kept for so long after an answer to be there still when it is looked at.
LONG_ENOUGH = "1m"
OTHER_OPTIONS = (
    "Another client has it loaded anew with options of its own (num_ctx, num_thread, num_gpu): have it leave them out"
    " of its requests, or put them into the model's definition (ollama_models)."
)


class Model:
    """The checks of one model that the server was just made to load.

    ``own`` are numbers that the user declared for this model (``num_thread``, ``num_gpu``): they win over the server's.
    """

    def __init__(
        self,
        client: Client,
        wanted: Wanted,
        service: str,
        host: Host,
        name: str,
        own: Mapping[str, int] | None = None,
    ) -> None:
        self._client, self._wanted, self._service, self._host, self._name = client, wanted, service, host, name
        self._own = own or {}
        self._own_threads = self._own.get("num_thread")
        self._show: Json | None = None
        self._runner: Runner | None = None
        self._load: LoadedParts | None = None

    def checks(self) -> Checks:
        """In the order in which they must run: ``runner`` finds what the following ones look at."""
        wanted = self._wanted
        on_runner = [
            (name, check)
            for name, check, asked in (
                ("slots", self.slots, wanted.count("OLLAMA_NUM_PARALLEL")),
                ("threads", self.threads, self._own_threads or wanted.count("LLAMA_ARG_THREADS") or wanted.threads),
                ("kv_cache", self.kv_cache, wanted.environment.get("OLLAMA_KV_CACHE_TYPE")),
            )
            if asked
        ]
        if on_runner:
            yield "runner", self.runner
            if self._runner:  # without it they could only say the same
                yield from on_runner
        if wanted.count("OLLAMA_CONTEXT_LENGTH"):
            yield "context", self.context
        if wanted.gpu == GPU_ALL:
            yield "gpu", self.gpu
        elif wanted.gpu == GPU_SOME and self._own.get("num_gpu") != 0:
            yield "gpu", self.some_gpu

    def runner(self) -> str:
        """A child of the service's process runs the model."""
        unit = self._host.unit(self._service)
        found = processes.find_runner(unit.main_pid, processes.blobs_of(self._shown()), self._host.proc)
        if not found:
            self._loaded()  # raises where it is not loaded at all
            raise Unhealthy(
                f"{self._client.url} has {self._name} loaded, but no child of process {unit.main_pid} of"
                f" {self._service} runs it, so that another server seems to answer there.",
                "Find it (ss -ltnp) and stop it, or correct the address.",
            )
        load, why = self._logged(found)
        if load is None and not found.is_llama_server:
            raise Unhealthy(
                f"Process {found.pid} runs {self._name}, but with which slots and threads only the load's log says,"
                f" and {why}.",
                f"Unload it (ollama stop {self._name}) and check again, so that it is loaded and logged anew.",
            )
        self._runner, self._load = found, load
        kind = "llama-server" if found.is_llama_server else "ollama runner"
        return f"process {found.pid} ({kind}, port {found.port}) runs {self._name}"

    def slots(self) -> str:
        """The model answers as many requests at once as is wanted."""
        runner, wanted = self._running(), self._wanted.count("OLLAMA_NUM_PARALLEL")
        if runner.is_llama_server:
            with Client(f"http://127.0.0.1:{runner.port}", RUNNER_TIMEOUT) as own:
                has = own.props().get("total_slots")
            source = f"-np {runner.slots}, /props says {has}"
            if has is not None and has != runner.slots:
                raise Unhealthy(
                    f"The runner of {self._name} was started with {source} slots.", self._reload("Load it anew")
                )
            has = runner.slots
        else:
            has = self._load.parallel if self._load else None
            source = "the load's log"
        if has == wanted:
            return f"{self._name} has {counted(has, 'slot')} ({source})"
        reason = self._single_slot()
        if has == 1 and reason:
            return f"{self._name} has 1 slot: {reason}, whatever OLLAMA_NUM_PARALLEL says ({wanted})"
        raise Unhealthy(
            f"{self._name} has {counted(has, 'slot')} ({source}), and OLLAMA_NUM_PARALLEL should give it {wanted}.",
            self._reload("Load it with the wanted settings"),
        )

    def threads(self) -> str:
        """The model computes with as many threads as is wanted."""
        runner = self._running()
        variable = self._wanted.count("LLAMA_ARG_THREADS") if runner.is_llama_server else None
        wanted = self._own_threads or variable or self._wanted.threads
        if not wanted:
            return "only LLAMA_ARG_THREADS is wanted, which this engine does not read"
        has, source = self._load.threads if self._load else None, "the load's log"
        if runner.threads is not None:
            has, source = runner.threads, f"-t {runner.threads} on its command line, from num_thread"
        elif variable:
            given = processes.read_environ(runner.pid, self._host.proc).get("LLAMA_ARG_THREADS")
            if given != str(variable):
                told = f"LLAMA_ARG_THREADS={given}" if given else "no LLAMA_ARG_THREADS"
                raise Unhealthy(
                    f"The runner of {self._name} has {told}, and should have {variable}.",
                    self._threads_remedy(runner),
                )
            if has is None:
                has, source = variable, "its environment; the journal does not have the load"
        if has == wanted:
            return f"{self._name} runs with {counted(has, 'thread')} ({source})"
        told = f"runs with {counted(has, 'thread')} ({source})" if has else "does not say how many threads it has"
        raise Unhealthy(f"{self._name} {told}, and should with {wanted}.", self._threads_remedy(runner))

    def kv_cache(self) -> str:
        """The cache of keys and values is stored as is wanted."""
        runner, wanted = self._running(), self._wanted.environment["OLLAMA_KV_CACHE_TYPE"].lower()
        if runner.is_llama_server:
            # Without the options it is llama-server's default.
            has = sorted(set(runner.kv_types or ("f16",)))
        else:
            has = [(self._load.kv_type if self._load else None) or "f16"]
        if has == [wanted]:
            return f"{self._name} keeps keys and values as {wanted}"
        remedy = self._reload("Load it with the wanted settings")
        if wanted != "f16":
            remedy = (
                "A quantized cache needs OLLAMA_FLASH_ATTENTION=1 and a model that can do with it; the log of the load"
                f" says why it was refused (journalctl -u {self._service})."
            )
        raise Unhealthy(
            f"{self._name} keeps keys and values as {' and '.join(has)}, and OLLAMA_KV_CACHE_TYPE should make them"
            f" {wanted}.",
            remedy,
        )

    def context(self) -> str:
        """Each slot has the wanted context."""
        loaded = self._loaded()
        wanted, source = self._expected_context()
        # What the server thinks, and what it told the runner.
        said, told = loaded.get("context_length"), self._runner.context if self._runner else None
        has = said if said != wanted and said is not None else told or said
        if has == wanted:
            return f"each slot of {self._name} has {has} tokens ({source})"
        raise Unhealthy(
            f"Each slot of {self._name} has {has} tokens, and should have {wanted} ({source}).",
            self._reload("Look for a client that sends num_ctx, or load it with the wanted settings"),
        )

    def gpu(self) -> str:
        """All models that are loaded are in the GPU's memory altogether."""
        models = self._client.ps()
        outside = [model for model in models if model.get("size_vram", 0) < model.get("size", 0)]
        if not models:
            raise Unhealthy("No model is loaded, so that none is on the GPU.", "Raise OLLAMA_KEEP_ALIVE.")
        if not outside:
            return f"on the GPU altogether: {', '.join(str(model['name']) for model in models)}"
        parts = [
            f"{model.get('size_vram', 0) // MIB} of {model['size'] // MIB} MiB of {model['name']} are on the GPU"
            for model in outside
        ]
        raise Unhealthy(
            f"CPU fallback: {'; '.join(parts)}.",
            f"{self._find_gpu()}, free GPU memory or lower parallel, context or model size, and look for a num_gpu that"
            " allows fewer layers.",
        )

    def some_gpu(self) -> str:
        """A part of the model is in the GPU's memory."""
        loaded = self._loaded()
        part, size = loaded.get("size_vram", 0) // MIB, loaded.get("size", 0) // MIB
        if part:
            return f"{part} of {size} MiB of {self._name} are on the GPU"
        raise Unhealthy(
            f"CPU fallback: the host has a GPU, and nothing of the {size} MiB of {self._name} is on it.",
            f"{self._find_gpu()}, or set ollama_num_gpu to 0 if it shall not be used.",
        )

    def _find_gpu(self) -> str:
        return (
            "Check that the driver works (nvidia-smi, rocm-smi) and that the server found the GPU"
            f" (journalctl -u {self._service})"
        )

    def _shown(self) -> Json:
        if self._show is None:
            self._show = self._client.show(self._name)
        return self._show

    def _loaded(self) -> Json:
        """The model's entry in ``/api/ps``.

        One process runs all models of the same weights and options, under the name of the one that came first.
        """
        entries = self._client.ps()
        for entry in entries:
            if same_model(str(entry.get("name", "")), self._name):
                return entry
        weights = processes.blobs_of(self._shown())[:1]  # what comes behind them, others may share
        for entry in entries:
            with contextlib.suppress(NotFound):  # it was removed while it is loaded
                if weights and processes.blobs_of(self._client.show(str(entry.get("name", ""))))[:1] == weights:
                    return entry
        kept = kept_for(self._service, self._wanted, self._host) or DEFAULT_KEEP_ALIVE
        if duration(kept) < duration(LONG_ENOUGH):
            raise Unhealthy(
                f"{self._name} was unloaded again at once.",
                "Raise OLLAMA_KEEP_ALIVE, or OLLAMA_MAX_LOADED_MODELS and memory where other models drive it out.",
            )
        others = ", ".join(str(entry.get("name", "")) for entry in entries)
        drive = f" Or {others} drove it out: raise OLLAMA_MAX_LOADED_MODELS and memory." if others else ""
        raise Unhealthy(
            f"{self._name} was unloaded again at once, though models are kept for {kept}.", OTHER_OPTIONS + drive
        )

    def _running(self) -> Runner:
        if self._runner is None:
            raise Unhealthy(f"The runner of {self._name} is not known.", "See the check runner.")
        return self._runner

    def _logged(self, runner: Runner) -> tuple[LoadedParts | None, str]:
        """What the load of this runner logged, or why that is not known."""
        try:
            began = processes.started(runner.pid, self._host.proc)
            log = read_load(partial(self._host.systemd.log_between, self._service), began, runner.port)
        except OllamaError as error:
            return None, f"it cannot be read: {error.problem.rstrip('.')}"
        return load_of(log, runner.port), "the journal does not have it"

    def _single_slot(self) -> str:
        """Why the server gives the model one slot; empty where it would give it more."""
        show = self._shown()
        family = str((show.get("details") or {}).get("family") or "")
        if family in SINGLE_SLOT_FAMILIES:
            return f"family {family} is always given one slot"
        capabilities = show.get("capabilities")
        if capabilities and "completion" not in capabilities:
            return "an embedding model is always given one slot"
        return ""

    def _expected_context(self) -> tuple[int, str]:
        """Tokens of a slot that the settings lead to, and the setting that decides."""
        show = self._shown()
        own = self._parameter("num_ctx")
        wanted, source = self._wanted.count("OLLAMA_CONTEXT_LENGTH") or 0, "OLLAMA_CONTEXT_LENGTH"
        if own:
            wanted, source = own, "the model's parameter num_ctx, which wins over OLLAMA_CONTEXT_LENGTH"
        if "vision" in (show.get("capabilities") or ()) and wanted < VISION_CONTEXT:
            wanted, source = VISION_CONTEXT, f"the least for a model that sees, {source} is {wanted}"
        trained = trained_context(show.get("model_info") or {})
        if 0 < trained < wanted:
            return trained, f"what the model was trained for, {source} is {wanted}"
        return wanted, source

    def _parameter(self, name: str) -> int | None:
        """A number among the parameters that the model brings along."""
        found = re.search(rf"^{name}\s+(\d+)\s*$", str(self._shown().get("parameters") or ""), re.MULTILINE)
        return int(found[1]) if found else None

    def _reload(self, purpose: str) -> str:
        return f"{purpose} (systemctl restart {self._service})."

    def _threads_remedy(self, runner: Runner) -> str:
        given = runner.threads if runner.is_llama_server else None
        if given is not None and given != self._parameter("num_thread"):
            return OTHER_OPTIONS
        if self._own_threads:
            return f"Declare num_thread of {self._name} as it shall be, and have the model made anew (site.yml)."
        if given is not None:
            return (
                "The model's parameter num_thread wins over LLAMA_ARG_THREADS. Have it made anew without"
                f" (ollama rm {self._name}, then site.yml), or declare num_thread with it in ollama_models."
            )
        if not runner.is_llama_server:
            return f"Set the parameter num_thread of {self._name}, or in the options of every request."
        return f"Set LLAMA_ARG_THREADS for {self._service} and restart it (systemctl restart {self._service})."


def trained_context(info: Mapping[str, Any]) -> int:
    """Tokens that a model was trained for, from its ``model_info``; 0 where that is not known."""
    value = info.get(f"{info.get('general.architecture')}.context_length")
    return value if isinstance(value, int) else 0


def same_model(one: str, other: str) -> bool:
    """Whether the server takes two names for the same model."""
    try:
        return ModelName.parse(one).key == ModelName.parse(other).key
    except InvalidInput:
        return one == other


def counted(count: int | None, what: str) -> str:
    """A number of things, in words."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
