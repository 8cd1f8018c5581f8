# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a report says, as plain data: the HTML, the Markdown and the JSON are three views of it.

Times are in seconds, sizes in MiB, rates per second, gains and losses in percent. None, "" and () mean that a thing was
not measured or not looked at in this run; nothing stands in its place.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.load import load_name

# Its number is raised when a name or a meaning in the JSON changes; new names alone do not raise it.
SCHEMA = "llmops.ollama.report/1"


@dataclass(frozen=True)
class Host:
    """What is known of one server. ``absent`` names what this run did not find out.

    ``retune`` is how re-tuning it ended: ``set``, ``as before``, ``set back`` or ``lost``; "" where that was not done.
    """

    name: str
    reached: bool = True
    retune: str = ""
    machine: Machine | None = None
    profile: str = ""
    version: str = ""
    health: Health | None = None
    models: tuple[Installed, ...] = ()
    values: tuple[Value, ...] = ()
    warnings: tuple[str, ...] = ()
    memory: Memory | None = None
    curves: tuple[Curve, ...] = ()
    expectations: tuple[Expectation, ...] = ()
    search: Search | None = None
    variants: tuple[Variant, ...] = ()
    diagnosis: Diagnosis | None = None
    absent: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gateway:
    """What is known of one reverse proxy in front of the servers."""

    name: str
    reached: bool = True
    health: Health | None = None
    curves: tuple[Curve, ...] = ()
    absent: tuple[str, ...] = ()


@dataclass(frozen=True)
class Machine:
    """``cpus`` may really be used, quota and affinity included, of ``cpus_online``; so it is with the memory."""

    cpus: float
    cpus_online: int
    memory_mb: int
    memory_online_mb: int
    cpu_model: str = ""
    virtualization: str = ""
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True)
class Health:
    """``level`` is how deep the check went (live, ready, effective); ``failed`` are the checks that did not succeed."""

    healthy: bool
    level: str = ""
    failed: tuple[Check, ...] = ()


@dataclass(frozen=True)
class Check:
    name: str
    detail: str


@dataclass(frozen=True)
class Installed:
    """One model of a server; ``action`` is what the run did with it, "" where it did nothing.

    ``size_mb`` is what it takes in the store, ``memory_mb`` in memory where it is loaded, ``gpu_mb`` in that of GPUs.
    """

    name: str
    quantization: str = ""
    parameters: str = ""
    digest: str = ""
    size_mb: float | None = None
    memory_mb: float | None = None
    gpu_mb: float | None = None
    action: str = ""


@dataclass(frozen=True)
class Value:
    """One tuned value: its name on the host, the rule that it came from, and the reason in words."""

    name: str
    value: str
    rule: str
    reason: str


@dataclass(frozen=True)
class Memory:
    """Where memory goes in the worst case. ``budget_mb`` is what is left of ``limit_mb`` without ``reserve_mb``.

    ``planned_mb`` is what the largest models that may be loaded together take, with the memory model's margin.
    """

    limit_mb: int
    reserve_mb: int
    budget_mb: int
    gpu_budget_mb: int
    planned_mb: int
    fits: bool
    on_gpu: bool
    together: int
    advice: str = ""
    models: tuple[ModelMemory, ...] = ()


@dataclass(frozen=True)
class ModelMemory:
    """One model as it is loaded. ``growth_mb`` are prompt caches and checkpoints once they are full."""

    name: str
    quantization: str
    slots: int
    context: int
    calibrated: bool
    weights_mb: int
    kv_mb: int
    compute_mb: int
    runtime_mb: int
    growth_mb: int
    peak_mb: int


@dataclass(frozen=True)
class Curve:
    """One sweep over levels of load.

    ``label`` is ``now``, or one of two: ``before`` and ``after``, or ``tried`` where that was set back again, or
    ``again`` where nothing was changed between the two; or ``direct`` past a gateway.
    """

    label: str
    model: str = ""
    quantization: str = ""
    max_tokens: int | None = None
    slo: tuple[str, ...] = ()
    measured_at: str = ""
    alone_latency_s: float | None = None
    alone_ttft_s: float | None = None
    levels: tuple[Level, ...] = ()


@dataclass(frozen=True)
class Level:
    """One level of load: ``concurrency`` requests at a time, or ``rate`` new requests per second.

    ``goodput`` counts the requests that met the SLO. Of an interval each bound holds with 95 % confidence. ``gain`` is
    that in requests per second over a baseline. The last two are what the server itself took meanwhile.
    """

    concurrency: int | None
    rate: float | None
    requests: int
    requests_per_second: float
    requests_per_second_low: float | None = None
    requests_per_second_high: float | None = None
    goodput: float | None = None
    goodput_low: float | None = None
    goodput_high: float | None = None
    output_tokens_per_second: float | None = None
    latency_p50_s: float | None = None
    latency_p95_s: float | None = None
    latency_p99_s: float | None = None
    ttft_p50_s: float | None = None
    ttft_p95_s: float | None = None
    tpot_p50_s: float | None = None
    errors: dict[str, int] = dataclasses.field(default_factory=dict)
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    server_cpus: float | None = None
    server_memory_mb: int | None = None

    @property
    def load(self) -> str:
        """The load in words."""
        return load_name(self.concurrency, self.rate)


@dataclass(frozen=True)
class Expectation:
    """What the guide expects of so many parallel requests, and what was measured: percent more than with one.

    Each expectation is a pair (from, to); None where the guide has no row for the number.
    """

    parallel: int
    expected_latency: tuple[int, int] | None
    expected_throughput: tuple[int, int] | None
    latency: float | None
    throughput: float | None
    verdict: str


@dataclass(frozen=True)
class Search:
    """What a measured search tried. Gains are of the best setting over the one before, in percent.

    ``adopted`` is whether the host shall run with the best from now on, ``verdict`` says why, in a sentence.
    """

    trials: tuple[Trial, ...]
    concurrency: int | None = None
    slo: tuple[str, ...] = ()
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    rounds: int | None = None
    adopted: bool | None = None
    verdict: str = ""
    slo_remark: str = ""
    measured_at: str = ""
    seconds: float | None = None
    timed_out: bool = False


@dataclass(frozen=True)
class Trial:
    """One configuration that the search tried; with ``failure`` it could not be used.

    ``goodput`` is the typical one of its ``measurements``; ``current`` is the setting before the search.
    """

    parallel: int | None
    threads: int | None
    kv_type: str = ""
    batch: int | None = None
    goodput: float | None = None
    goodput_low: float | None = None
    goodput_high: float | None = None
    output_tokens_per_second: float | None = None
    latency_p50_s: float | None = None
    latency_p95_s: float | None = None
    ttft_p95_s: float | None = None
    measurements: int = 0
    failure: str = ""
    best: bool = False
    current: bool = False


@dataclass(frozen=True)
class Variant:
    """One quantization of a model. ``loss`` of quality in percent; ``problem`` says why it could not be measured.

    ``frontier``: no other one is nowhere worse in speed, memory and loss, and better somewhere.
    """

    model: str
    quantization: str
    goodput: float | None
    memory_mb: float | None
    loss: float | None = None
    problem: str = ""
    frontier: bool = False
    recommended: bool = False


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor found, problems first, and what it looked at."""

    findings: tuple[Finding, ...]
    checked: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    symptom: str
    severity: str
    what: str
    evidence: str
    remedy: str


@dataclass(frozen=True)
class Report:
    """One run. ``made_at`` is ISO 8601 in UTC; ``version`` the collection's."""

    title: str
    made_at: str
    version: str
    hosts: tuple[Host, ...]
    gateways: tuple[Gateway, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for machines, with the schema that it follows."""
        return {"schema": SCHEMA, **dataclasses.asdict(self)}
