# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where a search may go on a host, and what makes a setting effective there: both are the tuner's to say; pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.autotune.setting import (
    Setting,
    Space,
    parallel_values,
    thread_values,
    values,
)
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.trial import Change
from ansible_collections.llmops.ollama.plugins.module_utils.engine import VARIABLES, Engine
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import MAX_CPUS, Hardware
from ansible_collections.llmops.ollama.plugins.module_utils.memory_plan import Workload
from ansible_collections.llmops.ollama.plugins.module_utils.policy import Policy
from ansible_collections.llmops.ollama.plugins.module_utils.tuning import Intent, Tuning, recommend

MAX_PARALLEL = 64
MAX_BATCH = 16384
PARALLEL = "OLLAMA_NUM_PARALLEL"
KV_TYPE = "OLLAMA_KV_CACHE_TYPE"
# What the tuner makes depend on a setting, beside the number of threads; and on another type of the cache.
FOLLOWS = (PARALLEL, "LLAMA_ARG_CACHE_RAM")
FOLLOWS_TYPE = (KV_TYPE, "OLLAMA_FLASH_ATTENTION")


@dataclass(frozen=True)
class Wish:
    """What a user lets the search change; None leaves it to the search, an empty list of batches to the engine."""

    parallel: Sequence[int] | None = None
    max_parallel: int = MAX_PARALLEL
    threads: Sequence[int] | None = None
    kv_types: Sequence[str] | None = None
    batches: Sequence[int] = ()


@dataclass(frozen=True)
class Situation:
    """What the tuner knows of a host; ``intent`` holds what the user set, which no search changes.

    The first model of the ``workload`` is the one that is measured, and ``parameters`` are its own. ``has`` is the
    environment of the running server.
    """

    hardware: Hardware
    policy: Policy
    intent: Intent
    workload: Workload
    has: Mapping[str, str]
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def engine(self) -> Engine:
        return self.intent.engine

    def current(self) -> Setting:
        """What runs now."""
        variable = self.engine.threads_variable
        threads = self.parameters.get("num_thread") or (self.has.get(variable) if variable else None)
        batch = _number(self.parameters.get("num_batch"))
        return Setting(
            _number(self.has.get(PARALLEL)) or 1,
            _number(threads) or self.hardware.physical_cores,
            (self.has.get(KV_TYPE) or "f16").lower(),
            batch,
        )

    def tuning(self, setting: Setting) -> Tuning:
        """What the tuner would set around a setting."""
        given = {PARALLEL: str(setting.parallel), KV_TYPE: setting.kv_type}
        if self.engine.threads_variable:
            given[self.engine.threads_variable] = str(setting.threads)
        intent = dataclasses.replace(self.intent, environment={**self.intent.environment, **given})
        return recommend(self.hardware, self.policy, intent, self.workload.in_batches(setting.batch))

    def change(self, setting: Setting) -> Change:
        """What makes a setting effective; nothing for the current one."""
        current = self.current()
        if setting == current:
            return Change()
        environment = self.tuning(setting).environment
        names = [*FOLLOWS, *(FOLLOWS_TYPE if setting.kv_type != current.kv_type else ())]
        if self.engine.threads_variable:
            names.append(self.engine.threads_variable)
        options: dict[str, Any] = {}
        if not self.engine.threads_variable:
            options["num_thread"] = setting.threads
        if setting.batch:
            options["num_batch"] = setting.batch
        return Change({name: environment[name] for name in names if name in environment}, options)

    def space(self, wish: Wish, concurrency: int) -> Space:
        """What may be tried. More slots than there are clients would stay empty. Raises ``InvalidInput``."""
        current = self.current()
        explicit = self.intent.environment
        hardware = self.hardware
        threads = self._threads(wish.threads) if wish.threads else None
        at_start = recommend(hardware, self.policy, self.intent, self.workload)
        computed = next(int(each.value) for each in at_start.recommendations if each.key == "threads")
        most = min(*values("max_parallel", [wish.max_parallel], MAX_PARALLEL), concurrency)
        parallel = values("parallel", wish.parallel, MAX_PARALLEL) if wish.parallel else parallel_values(most)
        kv_types = tuple(_kv_type(each) for each in wish.kv_types) if wish.kv_types else (current.kv_type,)
        if (
            any(planned.model.shape.single_slot for planned in at_start.memory.models)
            and len(self.workload.models) == 1
        ):
            parallel = (1,)  # whatever is set
        if PARALLEL in explicit:
            parallel = (current.parallel,)
        if KV_TYPE in explicit:
            kv_types = (current.kv_type,)
        if self.engine.threads_variable in explicit or (
            self.engine.threads_variable and "num_thread" in self.parameters
        ):
            threads = (current.threads,)  # the model's own parameter wins over the variable
        batches = tuple(sorted(values("batch", wish.batches, MAX_BATCH))) if wish.batches else ()
        largest = dataclasses.replace(current, batch=max((current.batch or 0, *batches)) or None)
        return Space(
            parallel,
            threads or thread_values(computed, hardware.usable_cores),
            kv_types,
            tuple(dict.fromkeys((current.batch, *batches))),
            {kv_type: self._most(parallel, largest, kv_type) for kv_type in kv_types},
        ).check()

    def _threads(self, wanted: Sequence[int]) -> tuple[int, ...]:
        """Those that this host has CPUs for: the same wish is for hosts of many sizes."""
        cpus = self.hardware.usable_cpus
        given = values("threads", wanted, MAX_CPUS)
        found = tuple(each for each in given if each <= cpus)
        if not found:
            raise InvalidInput(
                f"space: threads has {min(given)}, but this host may use {cpus} CPUs only.",
                "Give a smaller number, too.",
                key="threads",
            )
        return found

    def _most(self, parallel: Sequence[int], current: Setting, kv_type: str) -> int:
        """The most of these requests at once for which nothing else has to give way but the cache of prompts."""
        least = self.tuning(current).memory.configuration
        fitting = 0
        for value in sorted(parallel):
            memory = self.tuning(dataclasses.replace(current, parallel=value, kv_type=kv_type)).memory
            at = memory.configuration
            if not memory.fits or at.context < least.context or at.loaded_models < least.loaded_models:
                break
            fitting = value
        return fitting


def _kv_type(text: str) -> str:
    allowed = VARIABLES[KV_TYPE][0].split("|")
    if text not in allowed:
        raise InvalidInput(f"space: kv_types has {text!r}.", f"It must be one of {', '.join(allowed)}.", key="kv_types")
    return text


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and int(text) else None
