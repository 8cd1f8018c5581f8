# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From one memory budget: slots, context, type of the key-value cache, prompt cache and loaded models, solved together.

The plan goes down a path from what is wanted most to what is wanted least, and takes the first configuration whose
worst case fits. Each lever is pulled to its end before the next one is touched: prompt cache, loaded models, slots,
type of the cache, context. Since a bigger budget only ends the way down earlier, it never means fewer slots. In the
end as many models are loaded again as there is room for beside what was found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ansible_collections.llmops.ollama.plugins.module_utils.engine import Engine
from ansible_collections.llmops.ollama.plugins.module_utils.gguf import BLOCKS
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import MIB, Hardware
from ansible_collections.llmops.ollama.plugins.module_utils.load_log import Calibration, loads
from ansible_collections.llmops.ollama.plugins.module_utils.memory_model import (
    KV_TYPES,
    MAX_CHECKPOINTS,
    Load,
    ModelMemory,
    effective_context,
    effective_parallel,
    predict,
)
from ansible_collections.llmops.ollama.plugins.module_utils.model_facts import Model
from ansible_collections.llmops.ollama.plugins.module_utils.model_shape import ModelShape
from ansible_collections.llmops.ollama.plugins.module_utils.packing import UNPACKED, Packing
from ansible_collections.llmops.ollama.plugins.module_utils.policy import Policy, Quantization

# Quantizations below eight bits keep the embeddings, which small models mostly consist of, in about so many bits.
EMBEDDING_BITS = 8.5
EMBEDDING_TYPE = "Q8_0"


class Budget(NamedTuple):
    """MiB. ``main`` is what the service may take of main memory, ``gpu`` what its models may take of all GPUs' own."""

    main: int
    reserve: int
    gpu: int = 0

    @classmethod
    def of(cls, hardware: Hardware, policy: Policy, tuned_main: int | None = None, gpu_overhead: int = 0) -> Budget:
        """What is left of a host's memory.

        ``tuned_main``, the last run's budget, stays where it is close enough and leaves half of the reserve.
        ``gpu_overhead`` is what the user keeps free of each GPU (OLLAMA_GPU_OVERHEAD, in MiB).
        """
        usable = hardware.usable_memory_mb
        reserve = policy.reserve.of(usable)
        main = usable - reserve
        if tuned_main and abs(tuned_main - main) <= policy.tolerance * main and tuned_main <= usable - reserve // 2:
            main = tuned_main
        cards = [gpu.memory_mb or 0 for gpu in hardware.gpus if gpu.offloads and not gpu.integrated]
        free = sum(max(0, size - policy.gpu_reserve.of(size) - gpu_overhead) for size in cards)
        return cls(main, usable - main, free)


class Configuration(NamedTuple):
    """How the server would be set up: what the levers decide. ``prompt_cache_mib`` is for each loaded model."""

    loaded_models: int
    parallel: int
    kv_type: str
    context: int
    prompt_cache_mib: int


class Levers(NamedTuple):
    """The values that each lever may take, from the most wanted one on; one that the user set has only that one.

    ``prompt_cache_mib`` bounds what the prompt caches of one model may take of the budget, ``prompt_caches_mib`` what
    those of all models that are loaded together may; both are divided into steps.
    """

    loaded_models: Sequence[int]
    parallel: Sequence[int]
    kv_type: Sequence[str]
    context: Sequence[int]
    prompt_cache_mib: int = 0
    prompt_caches_mib: int | None = None
    prompt_cache_step: int = 64
    prompt_cache_fixed: bool = False


class Planned(NamedTuple):
    """One model as it would be loaded, and the memory that it takes; ``calibrated`` by the log of a real load."""

    model: Model
    slots: int
    context: int
    memory: ModelMemory
    calibrated: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain data for Ansible. Sizes in MiB."""
        shape, memory = self.model.shape, self.memory
        return {
            "name": self.model.name,
            "architecture": shape.architecture,
            "quantization": shape.quantization,
            "source": self.model.source,
            "calibrated": self.calibrated,
            "slots": self.slots,
            "context": self.context,
            "weights_mb": _mib(memory.weights),
            "kv_mb": _mib(memory.kv),
            "compute_mb": _mib(memory.compute + memory.output + memory.recurrent),
            "runtime_mb": _mib(memory.runtime),
            "growth_mb": _mib(memory.growth),
            "peak_mb": _mib(memory.peak),
        }


class Shortage(NamedTuple):
    """What would have been taken, and what there is of it: of main memory, or of the GPUs' own. Sizes in MiB."""

    taken_mb: int
    budget_mb: int
    of_gpus: bool = False

    def __str__(self) -> str:
        where = " of the GPUs' memory" if self.of_gpus else ""
        return f"up to {self.taken_mb} MiB{where} would be taken, and the budget is {self.budget_mb} MiB"


class MemoryPlan(NamedTuple):
    """A configuration, and what it takes in the worst case. Sizes in MiB.

    ``planned`` is the prediction for the largest models that may be loaded together, with the policy's margin;
    ``gpu_planned_mb`` is the same of GPUs' own memory. ``on_gpu`` says that all weights and caches are planned there,
    ``spilled`` that they are too large for it.
    ``wanted`` is what had to give way, and ``shortage`` says to what; ``crowding`` why not more models are loaded
    together. ``computed`` is what numbers of the last run, which are hardly different, stand in for.
    """

    budget: Budget
    configuration: Configuration
    fits: bool
    planned_mb: int
    predicted_mb: int
    on_gpu: bool
    gpu_planned_mb: int = 0
    spilled: bool = False
    models: tuple[Planned, ...] = ()
    wanted: Configuration | None = None
    shortage: Shortage | None = None
    crowding: Shortage | None = None
    computed: Configuration | None = None
    advice: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for Ansible."""
        return {
            "budget_mb": self.budget.main,
            "reserve_mb": self.budget.reserve,
            "gpu_budget_mb": self.budget.gpu,
            "gpu_planned_mb": self.gpu_planned_mb,
            "fits": self.fits,
            "planned_mb": self.planned_mb,
            "predicted_mb": self.predicted_mb,
            "on_gpu": self.on_gpu,
            "models": [model.to_dict() for model in self.models],
            "advice": self.advice,
        }


@dataclass(frozen=True)
class Workload:
    """The models that a host shall serve, and factors from real loads by the name of a model's weights.

    ``unknown`` counts declared models that could not be looked up. Models of the same weights cannot be in memory
    together: the server has one process for each file.
    """

    models: tuple[Model, ...] = ()
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    unknown: int = 0

    def in_batches(self, batch: int | None) -> Workload:
        """The same with so many tokens computed at once, where a model does not say itself; None: as they are."""
        if batch is None:
            return self
        return replace(self, models=tuple(model._replace(batch=model.batch or batch) for model in self.models))

    @property
    def count(self) -> int:
        """How many can be in memory together."""
        return len({model.weights for model in self.models}) + self.unknown

    def prompt_caches(self, loaded_models: int) -> int:
        """How many prompt caches there are with so many models in memory, at most and at least 1: none embeds."""
        if not self.count:
            return max(1, loaded_models)
        caching = len({model.weights for model in self.models if not model.shape.is_embedding}) + self.unknown
        return max(1, min(loaded_models, caching))


class _Need(NamedTuple):
    """MiB, without the margin."""

    main: float
    gpu: float
    models: tuple[Planned, ...]


class Given(NamedTuple):
    """What is settled for all models: see ``Load``.

    ``gpu_layers``: how many layers of each model shall be on GPUs, where the model does not say so itself; None: all.
    """

    packing: Packing = UNPACKED
    flash: bool | None = True
    checkpoints: int = MAX_CHECKPOINTS
    gpu_layers: int | None = None


class Planner:
    """Plans for one host and the models that it shall serve."""

    def __init__(self, workload: Workload, engine: Engine, budget: Budget, policy: Policy, given: Given) -> None:
        self._workload, self._engine, self._budget, self._policy = workload, engine, budget, policy
        self._given = given

    def plan(self, levers: Levers, tuned: Mapping[str, int] | None = None) -> MemoryPlan:
        """The first configuration on the way down that fits, or the last one.

        ``tuned`` holds the last run's numbers: they are kept where all of them are close and still fit.
        """
        # On GPUs where all of it fits; else what is too much for them goes into main memory.
        for spill in (False, True) if self._budget.gpu else (True,):
            for at in self._way_down(levers):
                need = self._need(at, spill)
                if self._fits(need, spill):
                    found = self._with_prompt_cache(self._with_models(at, levers, spill), levers, spill)
                    kept = self._keep(found, tuned or {}, levers, spill)
                    return self._result(levers, found, kept, True, spill)
        return self._result(levers, at, at, False, True)

    def _way_down(self, levers: Levers) -> Iterator[Configuration]:
        at = Configuration(
            levers.loaded_models[0],
            levers.parallel[0],
            levers.kv_type[0],
            levers.context[0],
            # The prompt cache gives way first: what is left is shared out in the end.
            levers.prompt_cache_mib if levers.prompt_cache_fixed else 0,
        )
        yield at
        for name in ("loaded_models", "parallel", "kv_type", "context"):
            for value in getattr(levers, name)[1:]:
                at = at._replace(**{name: value})
                yield at

    def _need(self, at: Configuration, spill: bool, models: Sequence[Model] | None = None) -> _Need:
        """What the models, or others in their place, take. ``spill``: not all of them is where it is meant to be."""
        models = self._workload.models if models is None else models
        cache = at.prompt_cache_mib if self._engine.prompt_cache_variable else None
        loads = [
            Load(
                model.shape,
                at.parallel,
                model.context or at.context,
                at.kv_type,
                model.batch,
                cache,
                # Weights on a GPU are as they are in the file.
                packing=self._given.packing if spill or self._share_on_gpu(model) < 1 else UNPACKED,
                flash=self._given.flash,
                checkpoints=self._given.checkpoints,
            )
            for model in models
        ]
        prediction = predict(loads, self._engine)
        memories = [
            (self._workload.calibrations.get(model.blob) or Calibration()).apply(memory)
            for model, memory in zip(models, prediction.models)
        ]
        on_gpu = [
            (memory.peak - memory.runtime - memory.growth) * self._share_on_gpu(model)
            for model, memory in zip(models, memories)
        ]

        def most(sizes: Iterable[float]) -> float:
            """Of those that may be loaded together, each file once."""
            by_file: dict[str, float] = {}
            for model, size in zip(models, sizes):
                key = model.weights
                by_file[key] = max(size, by_file.get(key, 0.0))
            return sum(sorted(by_file.values(), reverse=True)[: at.loaded_models])

        # Whichever are loaded: what is not meant to be on GPUs, and what does not go into their memory. The margin is
        # for what is taken, not for what there is.
        beside = most(memory.peak - size for memory, size in zip(memories, on_gpu))
        over = most(memory.peak for memory in memories) - self._budget.gpu * MIB / self._with_margin(1)
        planned = tuple(
            Planned(
                model,
                effective_parallel(load),
                effective_context(load),
                memory,
                model.blob in self._workload.calibrations,
            )
            for model, load, memory in zip(models, loads, memories)
        )
        return _Need((prediction.server + max(beside, over)) / MIB, most(on_gpu) / MIB, planned)

    def _share_on_gpu(self, model: Model) -> float:
        """How much of a model is meant to be on GPUs. The engine counts the output as one more layer."""
        layers = self._given.gpu_layers if model.gpu_layers is None else model.gpu_layers
        if not self._budget.gpu:
            return 0.0
        if layers is None or layers < 0:
            return 1.0
        return min(1.0, layers / (len(model.shape.layers) + 1))

    def _with_margin(self, size: float) -> float:
        return size * (1 + self._policy.prediction_margin)

    def _fits(self, need: _Need, spill: bool) -> bool:
        if not need.models:
            return True  # nothing is known that could be too large
        if not spill and self._with_margin(need.gpu) > self._budget.gpu:
            return False
        return self._with_margin(need.main) <= self._budget.main

    def _with_models(self, at: Configuration, levers: Levers, spill: bool) -> Configuration:
        """The configuration with as many models loaded together as fit: what gave way after them has made room."""
        more = (at._replace(loaded_models=loaded) for loaded in levers.loaded_models if loaded > at.loaded_models)
        return next((each for each in more if self._fits(self._need(each, spill), spill)), at)

    def _with_prompt_cache(self, at: Configuration, levers: Levers, spill: bool) -> Configuration:
        """The configuration with prompt caches of what the budget has left, at most the levers' size."""
        if levers.prompt_cache_fixed or not self._engine.prompt_cache_variable:
            return at
        need = self._need(at, spill)
        caches, step = self._workload.prompt_caches(at.loaded_models), levers.prompt_cache_step
        left = (self._budget.main / (1 + self._policy.prediction_margin) - need.main) / caches
        size = int(min(left, self._most_cache(at, levers))) // step * step
        while size > 0 and not self._fits(self._need(at._replace(prompt_cache_mib=size), spill), spill):
            size -= step  # a rounding error away
        return at._replace(prompt_cache_mib=max(0, size))

    def _most_cache(self, at: Configuration, levers: Levers) -> float:
        """What the levers allow the prompt cache of one model."""
        if levers.prompt_caches_mib is None:
            return levers.prompt_cache_mib
        return min(levers.prompt_cache_mib, levers.prompt_caches_mib / self._workload.prompt_caches(at.loaded_models))

    def _is_close(self, old: float, new: float, whole: float) -> bool:
        return abs(old - new) <= self._policy.tolerance * whole

    def _keep(self, at: Configuration, tuned: Mapping[str, int], levers: Levers, spill: bool) -> Configuration:
        """The last run's numbers in the place of new ones that are hardly different.

        Prompt caches take what is left, of which a log that corrects the prediction changes a large part: they are
        hardly different where that is little of the budget, and not most of the cache.
        """
        close: dict[str, Any] = {}
        for name in ("parallel", "context"):
            old, values = tuned.get(name, 0), getattr(levers, name)
            if len(values) > 1 and 0 < old <= values[0] and self._is_close(old, getattr(at, name), old):
                close[name] = old
        old, new = tuned.get("prompt_cache_mib", 0), at.prompt_cache_mib
        share = self._budget.main / self._workload.prompt_caches(at.loaded_models)
        if (
            not levers.prompt_cache_fixed
            and 0 < old <= self._most_cache(at, levers)
            and self._is_close(old, new, share)
            and max(old, new) <= 2 * min(old, new)
        ):
            close["prompt_cache_mib"] = old
        kept = at._replace(**close)
        return kept if kept == at or self._fits(self._need(kept, spill), spill) else at

    def _result(self, levers: Levers, found: Configuration, at: Configuration, fits: bool, spill: bool) -> MemoryPlan:
        """The plan for a configuration, in which numbers of the one that was ``found`` may be the last run's."""
        need = self._need(at, spill)
        wanted = next(self._way_down(levers))
        bare = found._replace(prompt_cache_mib=wanted.prompt_cache_mib)
        together = bare._replace(loaded_models=wanted.loaded_models)
        return MemoryPlan(
            budget=self._budget,
            configuration=at,
            fits=fits,
            planned_mb=_up(self._with_margin(need.main)),
            predicted_mb=_up(need.main),
            gpu_planned_mb=min(_up(self._with_margin(need.gpu)), self._budget.gpu),
            on_gpu=not spill and all(self._share_on_gpu(model) >= 1 for model in self._workload.models),
            spilled=self._with_margin(need.gpu) > self._budget.gpu > 0,
            models=need.models,
            wanted=wanted if bare != wanted else None,
            shortage=self._shortage(wanted, spill) if bare != wanted else None,
            crowding=self._shortage(together, spill) if bare != together else None,
            computed=found if found != at else None,
            advice="" if fits else self._advice(levers, at),
        )

    def _shortage(self, asked: Configuration, spill: bool) -> Shortage:
        """What a configuration that does not fit would take."""
        need = self._need(asked, spill)
        if not spill and self._with_margin(need.gpu) > self._budget.gpu:
            return Shortage(_up(self._with_margin(need.gpu)), self._budget.gpu, of_gpus=True)
        return Shortage(_up(self._with_margin(need.main)), self._budget.main)

    def _advice(self, levers: Levers, at: Configuration) -> str:
        """What would fit: less of a cache, a smaller quantization, or more memory. Each is tried."""
        models, variable = self._workload.models, self._engine.prompt_cache_variable
        if not models:
            return ""
        as_well = ""
        if variable and levers.prompt_cache_fixed and at.prompt_cache_mib:
            most, at = at.prompt_cache_mib, at._replace(prompt_cache_mib=0)
            need = self._need(at, spill=True)
            if self._fits(need, spill=True):
                free = levers._replace(prompt_cache_fixed=False, prompt_cache_mib=most)
                size = self._with_prompt_cache(at, free, spill=True).prompt_cache_mib
                return f"With {variable}={size} it would fit."
            as_well = f"With {variable}=0: "
        long = [model for model in models if model.context and model.context > at.context]
        for context in halves(max((model.context or 0 for model in long), default=at.context), at.context)[1:]:
            others = [
                model._replace(context=min(model.context or 0, context)) if model in long else model for model in models
            ]
            if self._fits(self._need(at, True, others), spill=True):
                named = ", ".join(
                    f"{model.name} (now {model.context})" for model in long if (model.context or 0) > context
                )
                return f"{as_well}With a num_ctx of {context} for {named} it would fit."
        need = self._need(at, spill=True)
        largest_first = sorted(range(len(models)), key=lambda index: -need.models[index].memory.peak)
        for quantization in self._policy.quantizations:
            others, names = list(models), []
            for index in largest_first:
                shape = requantized(models[index].shape, quantization)
                if shape.weight_bytes < models[index].shape.weight_bytes:
                    others[index] = models[index]._replace(shape=shape)
                    names.append(f"{models[index].name} ({shape.weight_bytes / MIB:.0f} MiB of weights)")
                    if self._fits(self._need(at, True, others), spill=True):
                        return (
                            f"{as_well}As {quantization.name}, with about {quantization.loss:g} % loss of quality, "
                            f"{' and '.join(names)} would fit."
                        )
        usable = self._budget.main + self._budget.reserve
        more = self._policy.reserve.whole(_up(self._with_margin(need.main))) - usable
        return (
            f"{as_well}No quantization down to {self._policy.quantizations[-1].name} would make "
            f"{models[largest_first[0]].name} fit: choose a smaller model, or a host with {more} MiB more."
        )


def halves(value: int, least: int) -> list[int]:
    """A value, its half, and so on down to the least."""
    return [value, *(halves(max(least, value // 2), least) if value > least else [])]


def calibrations(
    log: str, models: Sequence[Model], engine: Engine, packing: Packing = UNPACKED
) -> dict[str, Calibration]:
    """Factors from each model's last load in a server's log, by the name of its weights.

    ``packing`` is the processor's; weights that the log shows on a GPU are as they are in the file. A cache of a type
    that llama-server knows and no plan has tells nothing about others.
    """
    shapes = {model.blob: model.shape for model in reversed(models) if model.blob}
    found: dict[str, Calibration] = {}
    for parts in loads(log):
        shape, kv_type = shapes.get(parts.blob or ""), parts.kv_type or KV_TYPES[0]
        if not shape or not parts.blob or not parts.parallel or not parts.context or kv_type not in KV_TYPES:
            continue
        if parts.llama_server == engine.runs_llama_server:
            packed = UNPACKED if parts.gpu else packing
            load = Load(shape, parts.parallel, parts.context, kv_type, parts.batch, packing=packed, flash=parts.flash)
            found[parts.blob] = Calibration.of(predict([load], engine).models[0], parts)
    return found


def requantized(shape: ModelShape, quantization: Quantization) -> ModelShape:
    """About what a model would be in another quantization; as it is where that is not smaller."""
    elements = shape.parameters
    embeddings = shape.vocabulary * shape.embedding
    embedding_bits = max(quantization.bits, EMBEDDING_BITS) if shape.tied else quantization.bits
    body = (elements - embeddings) * quantization.bits / 8
    size = int(body + embeddings * embedding_bits / 8)
    if not elements or size >= shape.weight_bytes:
        return shape
    kind = re.sub(r"_[SML]$", "", quantization.name)
    return replace(
        shape,
        quantization=quantization.name,
        weight_bytes=size,
        embedding_bytes=int(embeddings * embedding_bits / 8),
        embedding_type=EMBEDDING_TYPE if embedding_bits > quantization.bits else kind,
        matrices={kind: int(body)} if shape.matrices and kind in BLOCKS else {},
    )


def _mib(size: float) -> int:
    return round(size / MIB)


def _up(size: float) -> int:
    return -int(-size // 1)
