# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Realistic hosts with expectations written by hand, what users may ask for, and what holds for any host."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.record import Measured
from ansible_collections.llmops.ollama.plugins.module_utils.engine import Engine
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import Hardware
from ansible_collections.llmops.ollama.plugins.module_utils.memory_model import MIB, Load, predict
from ansible_collections.llmops.ollama.plugins.module_utils.memory_plan import Workload
from ansible_collections.llmops.ollama.plugins.module_utils.model_facts import Model
from ansible_collections.llmops.ollama.plugins.module_utils.policy import Policy
from ansible_collections.llmops.ollama.plugins.module_utils.tuning import (
    EXPLICIT,
    Intent,
    Recommendation,
    Tuning,
    recommend,
)
from hypothesis import given
from hypothesis import strategies as st
from shapes import LLAMA_8B

GIB = 1024


def tune(hardware: dict[str, Any], policy: dict[str, Any] | None = None, **intent: Any) -> Tuning:
    return recommend(Hardware.describe(hardware), Policy.load(policy), Intent.make(**intent))


def by_key(tuning: Tuning) -> dict[str, Recommendation]:
    return {each.key: each for each in tuning.recommendations}


def host(cpu_cores: int, memory_mb: int, **more: Any) -> dict[str, Any]:
    return {"cpu_cores": cpu_cores, "memory_mb": memory_mb, **more}


# What machines report: a part of the nominal memory is the firmware's and the kernel's.
GOLDEN = {
    # name: (hardware, profile, parallel, threads)
    "Raspberry Pi 4, 8 GB": (host(4, 7812), "minimal", 1, 4),
    "Raspberry Pi 5, 16 GB": (host(4, 16215), "conservative", 2, 4),
    "old office PC, 2 cores, 8 GB": (host(2, 7850), "minimal", 1, 2),
    "4-core desktop, 16 GB": (host(4, 15922), "conservative", 2, 4),
    "8-thread laptop, 16 GB": (host(8, 15700, physical_cores=4), "conservative", 2, 4),
    "laptop i7-1260P, 4P+8E, 16 GB": (host(16, 15689, physical_cores=12, performance_cores=4), "conservative", 2, 4),
    "laptop i7-13700H, 6P+8E, 32 GB": (host(20, 31800, physical_cores=14, performance_cores=6), "balanced", 4, 6),
    "mini PC N100, 4 cores, 16 GB": (host(4, 15720), "conservative", 2, 4),
    "desktop 7950X, 64 GB": (host(32, 63900, physical_cores=16), "high", 6, 16),
    "desktop 5950X, 128 GB": (host(32, 128700, physical_cores=16), "high", 8, 16),
    "Mac Studio with Linux, 20 cores, 64 GB": (host(20, 63500, performance_cores=16), "high", 6, 16),
    "4-vCPU cloud VM, SMT, 16 GiB": (host(4, 15696, physical_cores=2), "conservative", 2, 2),
    "2-vCPU cloud VM, 8 GiB": (host(2, 7779, physical_cores=1), "minimal", 1, 1),
    "8-vCPU cloud VM, 32 GiB": (host(8, 31600, physical_cores=4), "balanced", 4, 4),
    "16-vCPU compute-optimised VM, 32 GiB": (host(16, 31350, physical_cores=8), "balanced", 4, 8),
    "16-core Graviton3, 32 GiB": (host(16, 31628), "balanced", 4, 16),
    "80-core Ampere Altra, 256 GB": (host(80, 257000), "high", 8, 80),
    "2-socket EPYC 7543, 512 GB": (host(128, 515703, physical_cores=64, sockets=2, numa_nodes=2), "high", 8, 64),
    "2-socket Xeon 8480+, 2x80 GB GPUs": (
        host(224, 1031706, physical_cores=112, gpus=[{"vendor": "nvidia", "memory_mb": 81559}] * 2),
        "high",
        8,
        112,
    ),
    "24 GB GPU server, 16 vCPU, 64 GiB": (
        host(16, 63400, physical_cores=8, gpus=[{"vendor": "nvidia", "memory_mb": 23028}]),
        "high",
        6,
        8,
    ),
    "Jetson AGX Orin, 32 GB": (
        host(12, 30612, gpus=[{"vendor": "nvidia", "memory_mb": 30612, "integrated": True}]),
        "balanced",
        4,
        12,
    ),
    "Jetson Orin Nano, 8 GB": (host(6, 7620), "minimal", 1, 6),
    "LXC, 32 GB, quota of 6 of 16": (host(16, 32768, physical_cores=8, cpu_quota=6), "conservative", 2, 6),
    "LXC, quota of 1.5": (host(8, 32768, cpu_quota=1.5), "minimal", 1, 2),
    "quota of half a CPU": (host(2, 8192, cpu_quota=0.5), "minimal", 1, 1),
    "pod, 3.5 CPUs and 20 GiB of a big node": (
        host(64, 257672, physical_cores=32, cpu_quota=3.5, memory_limit_mb=20 * GIB),
        "minimal",
        1,
        4,
    ),
    "pod, 8 CPUs and 32 GiB of a big node": (
        host(64, 257672, physical_cores=32, cpu_quota=8, memory_limit_mb=32 * GIB),
        "balanced",
        4,
        8,
    ),
    "container with a limit of 4 GiB": (host(32, 128700, memory_limit_mb=4 * GIB), "minimal", 1, 32),
    "lab host: one CPU of two, 4 GiB": (host(2, 24105, cpu_quota=1, memory_limit_mb=4 * GIB), "minimal", 1, 1),
    "pinned to 4 of 64 CPUs, two cores": (
        host(64, 257000, physical_cores=32, usable_cpus=4, usable_cores=2),
        "conservative",
        2,
        2,
    ),
    "pinned to efficiency cores": (
        host(
            16, 31800, physical_cores=12, performance_cores=4, usable_cpus=8, usable_cores=8, usable_performance_cores=0
        ),
        "balanced",
        4,
        8,
    ),
    "memory-rich, core-poor": (host(4, 515000), "conservative", 2, 4),
    "core-rich, memory-poor": (host(64, 15200, physical_cores=32), "minimal", 1, 32),
    # 16, 32, 64 and 128 GB in MiB, rounded up, and one MiB less.
    "edge: 16 GB": (host(4, 15259), "conservative", 2, 4),
    "edge: below 16 GB": (host(4, 15258), "minimal", 1, 4),
    "edge: below 4 cores": (host(3, 15259), "minimal", 1, 3),
    "edge: 32 GB": (host(8, 30518), "balanced", 4, 8),
    "edge: below 32 GB": (host(8, 30517), "conservative", 2, 8),
    "edge: below 8 cores": (host(7, 30518), "conservative", 2, 7),
    "edge: 64 GB": (host(16, 61036), "high", 6, 16),
    "edge: below 64 GB": (host(16, 61035), "balanced", 4, 16),
    "edge: below 16 cores": (host(15, 61036), "balanced", 4, 15),
    "edge: 128 GB": (host(32, 122071), "high", 8, 32),
    "edge: below 128 GB": (host(32, 122070), "high", 6, 32),
    "edge: below 32 cores": (host(31, 122071), "high", 6, 31),
    "edge: the smallest host": (host(1, 256), "minimal", 1, 1),
    "edge: the largest host": (host(4096, 64 << 20), "high", 8, 4096),
}


@pytest.mark.parametrize(("hardware", "profile", "parallel", "threads"), GOLDEN.values(), ids=GOLDEN)
def test_realistic_hosts(hardware: dict[str, Any], profile: str, parallel: int, threads: int) -> None:
    tuning = tune(hardware, engine_version="0.34.0")
    assert tuning.profile == profile
    assert tuning.environment["OLLAMA_NUM_PARALLEL"] == str(parallel)
    assert tuning.environment["LLAMA_ARG_THREADS"] == str(threads)
    assert tuning.warnings == () or hardware["memory_mb"] <= 1024


BALANCED = host(8, 32 * GIB)


def test_everything_for_one_host() -> None:
    tuning = tune(BALANCED, engine_version="0.34.0")
    assert tuning.environment == {
        "LLAMA_ARG_CACHE_RAM": "3648",  # a quarter of the budget of 29492 MiB for two models, in steps of 64
        "LLAMA_ARG_THREADS": "8",
        "OLLAMA_CONTEXT_LENGTH": "4096",
        "OLLAMA_FLASH_ATTENTION": "1",
        "OLLAMA_KEEP_ALIVE": "24h",
        "OLLAMA_KV_CACHE_TYPE": "f16",
        "OLLAMA_LOAD_TIMEOUT": "300s",
        "OLLAMA_MAX_LOADED_MODELS": "2",
        "OLLAMA_MAX_QUEUE": "256",
        "OLLAMA_NUM_PARALLEL": "4",
    }
    values = {key: (each.value, each.variable) for key, each in by_key(tuning).items()}
    assert values["request_timeout"] == (300, None)
    assert values["num_gpu"] == (0, None)
    assert values["threads"] == (8, "LLAMA_ARG_THREADS")
    assert tuning.directives == {"MemoryHigh": "29492M", "MemoryMax": "31130M"}  # a tenth is left, or half of it
    assert tuning.model_parameters == {}


def test_a_limit_that_the_operator_set_is_left_to_him() -> None:
    limited = host(8, 32768, memory_limit_mb=16384)
    assert set(tune({**limited, "unit_limits": ["MemoryMax"]}).directives) == {"MemoryHigh"}
    assert tune({**limited, "unit_limits": ["MemoryMax", "MemoryHigh", "MemoryLimit"]}).directives == {}
    with pytest.raises(InvalidInput, match=r"unit_limits is .*MemoryMax, MemoryHigh, MemoryLimit"):
        tune({**limited, "unit_limits": ["MemoryMin"]})


def test_more_threads_than_cpus_are_warned_of() -> None:
    asked = {"LLAMA_ARG_THREADS": 8}
    (warning,) = tune(host(8, 32768, cpu_quota=4), environment=asked).warnings
    assert "LLAMA_ARG_THREADS is 8, and the service may use 4 CPUs" in warning
    assert tune(host(8, 32768, physical_cores=4), environment=asked).warnings == ()


@pytest.mark.parametrize(
    ("threads", "words"),
    [("-1", "-1, which means 64, and the service may use 4 CPUs"), ("0", "0, which means 64"), ("4", "")],
)
def test_threads_that_llama_server_chooses_are_warned_of_under_a_quota(threads: str, words: str) -> None:
    tuning = tune(host(64, 64 * GIB, cpu_quota=4), environment={"LLAMA_ARG_THREADS": threads})
    assert words in " ".join(tuning.warnings)
    assert bool(tuning.warnings) == bool(words)


def test_a_reserve_that_leaves_nothing_is_warned_of() -> None:
    tuning = tune(host(4, 1024))
    (warning,) = tuning.warnings
    assert "The reserve of 1024 MiB leaves the service nothing of 1024 MiB" in warning
    assert tuning.directives == {}
    assert tune(host(4, 1024), policy={"reserve": {"min_mb": 256}}).warnings == ()


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({}, "MiB for each of up to 2 models, at most 25% of the budget in all: the engine fills it after the load."),
        ({"prompt_cache": {"max_mb": 0}}, "The policy leaves none."),
        ({"prompt_cache": {"memory_share": 0}}, "The policy leaves none."),
        ({"prompt_cache": {"step_mb": 1 << 20, "max_mb": 1 << 20}}, "The policy leaves none."),
    ],
)
def test_why_there_is_a_prompt_cache_or_none(policy: dict[str, Any], words: str) -> None:
    assert by_key(tune(host(8, 32768), policy=policy))["prompt_cache_mb"].reason == words


@pytest.mark.parametrize("value", ["maybe", "on", "1", 1])
def test_whether_a_gpu_is_integrated_is_not_guessed(value: Any) -> None:
    with pytest.raises(InvalidInput, match=r"gpus\[0\]: integrated is .*It must be true or false"):
        tune(host(8, 32768, gpus=[{"vendor": "nvidia", "integrated": value}]))
    found = Hardware.describe(host(8, 32768, gpus=[{"vendor": "amd", "integrated": "True"}]))
    assert found.gpus[0].integrated


def test_the_prompt_cache_never_exceeds_what_the_engine_takes_itself() -> None:
    assert tune(host(64, 1 << 20)).environment["LLAMA_ARG_CACHE_RAM"] == "8192"


def test_an_engine_without_the_variables_gets_them_another_way() -> None:
    tuning = tune(BALANCED, engine_version="0.24.0")
    assert not [name for name in tuning.environment if name.startswith("LLAMA_ARG")]
    threads = by_key(tuning)["threads"]
    assert (threads.value, threads.variable, threads.parameter) == (8, None, "num_thread")
    assert tuning.model_parameters == {"num_thread": 8}
    assert "model parameter num_thread" in threads.reason
    assert "prompt_cache_mb" not in by_key(tuning)


def test_an_assumed_engine_is_said_to_be_assumed() -> None:
    assert "(assumed)" in by_key(tune(BALANCED))["threads"].reason


def test_the_reason_for_parallel_names_what_the_next_row_needs() -> None:
    reason = by_key(tune(host(16, 15900)))["parallel"].reason
    assert "16 usable CPUs and 16.7 GB" in reason
    assert "balanced, starts at 8 CPUs and 32 GB" in reason
    assert "the highest" in by_key(tune(host(64, 262144)))["parallel"].reason


@pytest.mark.parametrize(
    ("profile", "parallel", "warned"),
    [("minimal", "1", False), ("conservative", "2", False), ("balanced", "4", False), ("high", "6", True)],
)
def test_a_named_profile_is_taken_with_a_warning_above_the_host(profile: str, parallel: str, warned: bool) -> None:
    tuning = tune(BALANCED, profile=profile)
    assert (tuning.profile, tuning.environment["OLLAMA_NUM_PARALLEL"]) == (profile, parallel)
    assert [("16 CPUs and 64 GB" in text and "8 usable CPUs" in text) for text in tuning.warnings] == [True] * warned


def test_gpus_that_the_engine_does_not_use_hold_no_models() -> None:
    apu = {"vendor": "amd", "name": "APU", "integrated": True}
    models = Workload(tuple(Model(f"m:{number}", LLAMA_8B, blob=f"sha256-{number}") for number in range(6)))
    planned = [
        recommend(
            Hardware.describe(host(16, 65536, gpus=gpus)), Policy.load(), Intent.make(profile="off"), models
        ).memory
        for gpus in (CARD, [*CARD, apu])
    ]
    assert planned[0].configuration.loaded_models == planned[1].configuration.loaded_models == 3


def test_off_leaves_only_what_the_user_asked_for() -> None:
    off = tune(BALANCED, profile="off")
    assert (off.profile, off.recommendations, off.environment, off.warnings) == ("off", (), {}, ())
    assert (off.directives, off.model_parameters) == ({}, {})
    environment = {"OLLAMA_NUM_PARALLEL": 3, "OLLAMA_ORIGINS": "*"}
    tuning = tune(BALANCED, profile="off", num_gpu=0, request_timeout=600, environment=environment)
    assert tuning.environment == {
        "CUDA_VISIBLE_DEVICES": "-1",
        "GGML_VK_VISIBLE_DEVICES": "-1",
        "OLLAMA_LOAD_TIMEOUT": "600s",
        "OLLAMA_NUM_PARALLEL": "3",
        "OLLAMA_ORIGINS": "*",
        "ROCR_VISIBLE_DEVICES": "-1",
    }


@pytest.mark.parametrize("profile", ["", "turbo", "HIGH"])
def test_an_unknown_profile_is_refused(profile: str) -> None:
    with pytest.raises(InvalidInput, match="auto, minimal, conservative, balanced, high, off"):
        tune(BALANCED, profile=profile)


def test_what_the_user_set_wins_and_the_rest_fits_it() -> None:
    tuning = tune(
        BALANCED, environment={"OLLAMA_NUM_PARALLEL": "2", "OLLAMA_MAX_LOADED_MODELS": 1, "OLLAMA_NOPRUNE": True}
    )
    parallel = by_key(tuning)["parallel"]
    assert (parallel.value, parallel.rule) == (2, EXPLICIT)
    assert "computed 4" in parallel.reason
    assert tuning.environment["OLLAMA_MAX_QUEUE"] == "128"
    assert tuning.environment["LLAMA_ARG_CACHE_RAM"] == "7360"
    assert tuning.environment["OLLAMA_NOPRUNE"] == "true"
    assert tuning.warnings == ()


def test_more_parallel_than_the_row_is_kept_with_a_warning() -> None:
    tuning = tune(BALANCED, environment={"OLLAMA_NUM_PARALLEL": 16})
    assert tuning.environment["OLLAMA_NUM_PARALLEL"] == "16"
    assert tuning.warnings == ("OLLAMA_NUM_PARALLEL is 16; this host's row balanced goes up to 4.",)


def test_the_engines_own_number_of_models_is_counted_for_the_prompt_cache() -> None:
    gpus = [{"vendor": "nvidia", "memory_mb": 24576}]
    tuning = tune(host(8, 32 * GIB, gpus=gpus), environment={"OLLAMA_MAX_LOADED_MODELS": 0})
    assert tuning.environment["LLAMA_ARG_CACHE_RAM"] == "2432"  # a quarter of 29492 MiB for three models


@pytest.mark.parametrize(
    "name", ["OLLAMA_NUM_GPU", "OLLAMA_REQUEST_TIMEOUT", "OLLAMA_NUM_THREADS", "OLLAMA_NUM_PARALEL"]
)
def test_a_variable_without_effect_is_kept_with_a_warning(name: str) -> None:
    tuning = tune(BALANCED, environment={name: "1"})
    assert tuning.environment[name] == "1"
    assert [name in text for text in tuning.warnings] == [True]


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"OLLAMA_NUM_PARALLEL": "four"}, "OLLAMA_NUM_PARALLEL is 'four'"),
        ({"OLLAMA_NUM_PARALLEL": True}, "OLLAMA_NUM_PARALLEL is 'true'"),
        ({"OLLAMA_KEEP_ALIVE": None}, "OLLAMA_KEEP_ALIVE is None"),
        ({"OLLAMA_ORIGINS": ["*"]}, "OLLAMA_ORIGINS is"),
        ({"OLLAMA_HOST": "a\nb"}, "one line"),
    ],
)
def test_a_bad_variable_is_refused(environment: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        tune(BALANCED, environment=environment)
    assert words in str(refused.value)


CARD = [{"vendor": "nvidia", "name": "RTX 4090", "memory_mb": 24564}]
INTEGRATED = [{"vendor": "intel", "name": "Iris Xe", "integrated": True}]


@pytest.mark.parametrize(
    ("gpus", "num_gpu", "value", "hidden", "warned"),
    [
        ([], None, 0, False, False),
        (INTEGRATED, None, 0, False, False),
        (CARD, None, -1, False, False),
        (CARD, 0, 0, True, False),
        ([], 0, 0, True, False),
        (CARD, -1, -1, False, False),
        (CARD, 20, 20, False, False),
        ([], -1, -1, False, True),
        (INTEGRATED, 20, 20, False, True),
    ],
)
def test_gpu_intent(gpus: list[Any], num_gpu: int | None, value: int, hidden: bool, warned: bool) -> None:
    tuning = tune(host(8, 32 * GIB, gpus=gpus), num_gpu=num_gpu)
    assert by_key(tuning)["num_gpu"].value == value
    names = {"CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES"}
    assert {name for name in names if tuning.environment.get(name) == "-1"} == (names if hidden else set())
    assert bool(tuning.warnings) == warned


def test_a_gpu_that_the_user_shows_is_not_hidden() -> None:
    tuning = tune(host(8, 32 * GIB, gpus=CARD), num_gpu=0, environment={"CUDA_VISIBLE_DEVICES": "0"})
    assert tuning.environment["CUDA_VISIBLE_DEVICES"] == "0"
    assert ["CUDA_VISIBLE_DEVICES" in text for text in tuning.warnings] == [True]


@pytest.mark.parametrize(("seconds", "load"), [(30, "300s"), (300, "300s"), (900, "900s")])
def test_the_request_timeout_never_shortens_the_load(seconds: int, load: str) -> None:
    tuning = tune(BALANCED, request_timeout=seconds)
    assert by_key(tuning)["request_timeout"].value == seconds
    assert tuning.environment["OLLAMA_LOAD_TIMEOUT"] == load


@pytest.mark.parametrize(
    ("key", "value"), [("num_gpu", -2), ("num_gpu", 1000), ("request_timeout", 0), ("request_timeout", -5)]
)
def test_options_out_of_range_are_refused(key: str, value: int) -> None:
    option: dict[str, Any] = {key: value}
    with pytest.raises(InvalidInput, match=f"{key} is {value}"):
        tune(BALANCED, **option)


def test_an_engine_too_old_for_parallel_is_named() -> None:
    assert "0.1.20" in tune(BALANCED, engine_version="0.1.20").warnings[0]


def test_the_policy_decides() -> None:
    hybrid = host(16, 32 * GIB, physical_cores=12, performance_cores=4)
    policy = {"context_length": 8192, "keep_alive": "-1", "queue_per_slot": 10, "efficiency_cores": True}
    environment = tune(hybrid, policy).environment
    assert environment["OLLAMA_CONTEXT_LENGTH"] == "8192"
    assert environment["OLLAMA_KEEP_ALIVE"] == "-1"
    assert environment["OLLAMA_MAX_QUEUE"] == "40"
    assert environment["LLAMA_ARG_THREADS"] == "12"


CORES = st.integers(1, 4096)
MEMORY = st.integers(256, 64 << 20)
QUOTA = st.none() | st.floats(0.01, 4096)
HARDWARE = st.builds(
    lambda cores, memory, quota, limit: host(cores, memory, cpu_quota=quota, memory_limit_mb=limit),
    CORES,
    MEMORY,
    QUOTA,
    st.none() | MEMORY,
)
INTENT = st.fixed_dictionaries(
    {},
    optional={
        "profile": st.sampled_from(["auto", "minimal", "conservative", "balanced", "high", "off"]),
        "engine_version": st.sampled_from(["0.24.0", "0.34.0", None]),
        "num_gpu": st.integers(-1, 999),
        "request_timeout": st.integers(1, 86400),
        "environment": st.dictionaries(
            st.sampled_from(
                [
                    "OLLAMA_NUM_PARALLEL",
                    "OLLAMA_MAX_LOADED_MODELS",
                    "OLLAMA_MAX_QUEUE",
                    "LLAMA_ARG_THREADS",
                    "CUDA_VISIBLE_DEVICES",
                ]
            ),
            st.integers(1, 10**6),
        ),
    },
)


@given(HARDWARE, CORES, MEMORY)
def test_more_cores_or_memory_never_lower_parallel(hardware: dict[str, Any], cores: int, memory: int) -> None:
    more = {**hardware, "cpu_cores": hardware["cpu_cores"] + cores, "memory_mb": hardware["memory_mb"] + memory}
    for key, least in (("cpu_quota", cores), ("memory_limit_mb", memory)):
        more[key] = hardware[key] and hardware[key] + least
    for bigger in ({**hardware, "cpu_cores": more["cpu_cores"]}, {**hardware, "memory_mb": more["memory_mb"]}, more):
        if bigger["cpu_cores"] <= 4096 and bigger["memory_mb"] <= 64 << 20 and (bigger["cpu_quota"] or 0) <= 4096:
            bigger["memory_limit_mb"] = bigger["memory_limit_mb"] and min(bigger["memory_limit_mb"], 64 << 20)
            small, big = (int(tune(each).environment["OLLAMA_NUM_PARALLEL"]) for each in (hardware, bigger))
            assert small <= big


@given(HARDWARE, INTENT)
def test_invariants(hardware: dict[str, Any], intent: dict[str, Any]) -> None:
    tuning = tune(hardware, **intent)
    explicit = {name: str(value) for name, value in intent.get("environment", {}).items()}
    assert explicit.items() <= tuning.environment.items()
    for each in tuning.recommendations:
        assert each.rule
        assert each.reason.endswith(".")
        assert (each.rule == EXPLICIT) == (each.variable in explicit)
        if each.variable:
            assert tuning.environment[each.variable] == str(each.value)
    for name, value in tuning.environment.items():
        assert isinstance(value, str)
        assert "\n" not in name + value
    keys = [each.key for each in tuning.recommendations]
    assert len(keys) == len(set(keys))


@given(HARDWARE)
def test_threads_are_within_what_may_be_used(hardware: dict[str, Any]) -> None:
    threads = int(tune(hardware).environment["LLAMA_ARG_THREADS"])
    assert 1 <= threads <= hardware["cpu_cores"]
    if hardware["cpu_quota"] is not None:
        assert threads <= max(1, hardware["cpu_quota"] + 0.5)


# --- what was measured ---------------------------------------------------------------------------------------------

MEASURED = Measured(12, 5, "q8_0", 1024, "Measured on 2026-11-27: 3.20 requests/s.", "2026-11-27T01:02:03Z")


def measured(hardware: dict[str, Any], found: Measured = MEASURED, **intent: Any) -> Tuning:
    intent.setdefault("engine_version", "0.34.0")
    return recommend(Hardware.describe(hardware), Policy.load(), Intent.make(**intent), measured=found)


def test_measured_settings_come_before_computed_ones() -> None:
    tuning = measured(host(8, 32000))
    found = by_key(tuning)
    for key, value in (("parallel", 12), ("threads", 5), ("kv_cache_type", "q8_0"), ("batch", 1024)):
        assert (found[key].value, found[key].rule) == (value, "measured")
        assert found[key].reason.startswith("Measured on 2026-11-27: 3.20 requests/s.")
    assert tuning.environment["OLLAMA_NUM_PARALLEL"] == "12"
    assert tuning.environment["LLAMA_ARG_THREADS"] == "5"
    assert tuning.environment["OLLAMA_MAX_QUEUE"] == str(12 * 64)
    assert tuning.model_parameters == {"num_batch": 1024}
    assert tuning.warnings == ()
    assert measured(host(8, 32000), engine_version="0.24.0").model_parameters == {"num_thread": 5, "num_batch": 1024}


@pytest.mark.parametrize("batch", [None, 2048, 4096])
def test_a_measured_batch_is_planned_for(batch: int | None) -> None:
    small, models = Hardware.describe(host(4, 7812)), Workload((Model("m:1", LLAMA_8B),))
    found = replace(MEASURED, parallel=2, threads=4, kv_type="f16", batch=batch)
    tuning = recommend(small, Policy.load(), Intent.make(engine_version="0.34.0"), models, measured=found)
    at = tuning.memory.configuration
    load = Load(LLAMA_8B, at.parallel, at.context, at.kv_type, batch, at.prompt_cache_mib)
    assert predict([load], Engine.parse("0.34.0")).peak <= tuning.memory.budget.main * MIB


def test_what_the_search_had_no_choice_in_is_computed() -> None:
    found = by_key(measured(host(8, 32000), replace(MEASURED, kv_type=None, batch=None)))
    assert (found["kv_cache_type"].value, found["kv_cache_type"].rule) == ("f16", "policy")
    assert "batch" not in found


def test_the_user_wins_over_what_was_measured() -> None:
    found = by_key(measured(host(8, 32000), environment={"OLLAMA_NUM_PARALLEL": "3"}))
    assert (found["parallel"].value, found["parallel"].rule) == (3, "explicit")
    assert "instead of the computed 12" in found["parallel"].reason
    assert found["threads"].rule == "measured"
    named = by_key(measured(host(8, 32000), profile="conservative"))
    assert (named["parallel"].value, named["parallel"].rule) == (2, "table")
    assert named["threads"].rule == "physical-cores"
    assert measured(host(8, 32000), profile="off").environment == {}


def test_memory_bounds_what_was_measured() -> None:
    models = Workload((Model("m:1", LLAMA_8B),))
    small = Hardware.describe(host(8, 8055))
    tuning = recommend(small, Policy.load(), Intent.make(engine_version="0.34.0"), models, measured=MEASURED)
    parallel = by_key(tuning)["parallel"]
    assert 1 <= int(parallel.value) < 12
    assert parallel.rule == "memory-budget"
    assert "Measured on 2026-11-27" in parallel.reason
    assert "Lowered from 12" in parallel.reason
    assert tuning.memory.fits


@pytest.mark.parametrize(
    ("room", "words"),
    [
        (None, ()),
        (31800, ()),
        (24000, ()),
        (9000, ("Other processes hold 22800 of 31800 MiB", "9000 MiB are left", "reserve {min_mb: 22800}")),
    ],
)
def test_memory_that_others_hold_is_told_where_the_models_may_need_it(room: int | None, words: tuple[str, ...]) -> None:
    models = Workload((Model("m:1", LLAMA_8B),))
    hardware = Hardware.describe(host(8, 31800, memory_room_mb=room))
    tuning = recommend(hardware, Policy.load(), Intent.make(), models)
    assert 9000 < tuning.memory.planned_mb < 24000
    assert all(word in tuning.warnings[0] for word in words), tuning.warnings
    assert len(tuning.warnings) == bool(words)
    # What the warning advises is enough.
    heeded = recommend(hardware, Policy.load({"reserve": {"min_mb": 31800 - (room or 31800)}}), Intent.make(), models)
    assert not any("Other processes" in text for text in heeded.warnings)


def test_memory_that_others_hold_is_told_where_the_models_are_on_a_gpu() -> None:
    """Their prompt caches are in main memory."""
    hardware = Hardware.describe(host(8, 63400, memory_room_mb=4000, gpus=CARD))
    tuning = recommend(hardware, Policy.load(), Intent.make(), Workload((Model("m:1", LLAMA_8B),)))
    assert tuning.memory.on_gpu
    assert "4000 MiB are left, and the models may take up to" in tuning.warnings[0]
