# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where a search may go: memory, cores, clients and what the user set bound it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.bounds import Situation, Wish
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.setting import Setting
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import Hardware
from ansible_collections.llmops.ollama.plugins.module_utils.memory_plan import Workload
from ansible_collections.llmops.ollama.plugins.module_utils.model_facts import Model
from ansible_collections.llmops.ollama.plugins.module_utils.policy import Policy
from ansible_collections.llmops.ollama.plugins.module_utils.tuning import Intent
from shapes import GEMMA, LLAMA_8B

# As the role sets it on a host of the lab.
HAS = {"OLLAMA_NUM_PARALLEL": "1", "LLAMA_ARG_THREADS": "1", "OLLAMA_KV_CACHE_TYPE": "f16", "HOME": "/var/lib/ollama"}
LAB = {"cpu_cores": 2, "memory_mb": 24105, "cpu_quota": 1, "memory_limit_mb": 4096}


def situation(
    hardware: dict[str, Any] | None = None,
    shape: Any = GEMMA,
    has: dict[str, str] | None = None,
    version: str = "0.34.0",
    parameters: dict[str, str] | None = None,
    **environment: str,
) -> Situation:
    return Situation(
        Hardware.describe(hardware or LAB),
        Policy.load(),
        Intent.make(engine_version=version, environment=environment),
        Workload((Model("m:1", shape),)),
        has or HAS,
        parameters or {},
    )


def test_the_current_setting_is_what_the_process_has() -> None:
    assert situation().current() == Setting(1, 1, "f16")
    has = {"OLLAMA_NUM_PARALLEL": "4", "LLAMA_ARG_THREADS": "2", "OLLAMA_KV_CACHE_TYPE": "Q8_0"}
    assert situation(has=has).current() == Setting(4, 2, "q8_0")
    # What is not set is as the engine has it: one slot, all physical cores.
    assert situation(has={"HOME": "/"}).current() == Setting(1, 2, "f16")
    assert situation(parameters={"num_thread": "3", "num_batch": "256"}).current() == Setting(1, 3, "f16", 256)
    assert situation(version="0.24.0", parameters={"num_thread": "2"}).current() == Setting(1, 2, "f16")


def test_the_space_of_a_small_host() -> None:
    space = situation().space(Wish(), concurrency=10)
    assert space.parallel == (1, 2, 3, 4, 6, 8, 10)
    assert space.threads == (1, 2)  # the quota is one CPU, and two threads may be better all the same
    assert space.kv_types == ("f16",)
    assert space.batches == (None,)
    assert space.fits == {"f16": 10}


def test_memory_bounds_parallel() -> None:
    # 4685 MiB of weights, 512 MiB of cache and 80 of buffers for each slot; the budget is 7031 MiB.
    space = situation({"cpu_cores": 8, "memory_mb": 8055}, LLAMA_8B).space(Wish(kv_types=["f16", "q8_0"]), 10)
    assert space.fits is not None
    assert 1 <= space.fits["f16"] < space.fits["q8_0"] <= 10
    assert not space.admits(Setting(10, 8, "f16"))
    assert space.admits(Setting(1, 8, "f16"))


def test_no_more_slots_than_clients() -> None:
    assert situation().space(Wish(), concurrency=4).parallel == (1, 2, 3, 4)
    assert situation().space(Wish(max_parallel=2), concurrency=4).parallel == (1, 2)


def test_what_the_user_set_is_not_varied() -> None:
    fixed = situation(OLLAMA_NUM_PARALLEL="1", LLAMA_ARG_THREADS="1", OLLAMA_KV_CACHE_TYPE="f16")
    space = fixed.space(Wish(kv_types=["f16", "q8_0"]), 10)
    assert (space.parallel, space.threads, space.kv_types) == ((1,), (1,), ("f16",))


def test_a_models_own_threads_win_over_the_variable() -> None:
    assert situation(parameters={"num_thread": "2"}).space(Wish(), 10).threads == (2,)
    assert situation(version="0.24.0", parameters={"num_thread": "2"}).space(Wish(), 10).threads == (1, 2)


def test_a_model_that_always_has_one_slot() -> None:
    assert situation(shape=replace(GEMMA, family="qwen3next")).space(Wish(), 10).parallel == (1,)


def test_a_users_own_space() -> None:
    space = situation().space(Wish(parallel=[4, 2], threads=[2], kv_types=["q8_0"], batches=[1024, 256]), 2)
    assert (space.parallel, space.threads, space.kv_types) == ((2, 4), (2,), ("q8_0",))
    assert space.batches == (None, 256, 1024)


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (Wish(parallel=[0]), "parallel has 0"),
        (Wish(threads=[3, 4]), "threads has 3, but this host may use 2 CPUs only"),
        (Wish(threads=[0]), "threads has 0. Give whole numbers from 1 to 4096"),
        (Wish(kv_types=["q2"]), "kv_types has 'q2'"),
        (Wish(batches=[0]), "batch has 0"),
    ],
)
def test_a_space_that_is_none(wish: Wish, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        situation().space(wish, 10)


def test_what_makes_a_setting_effective() -> None:
    host = situation()
    assert host.change(host.current()).environment == {}
    change = host.change(Setting(4, 2, "q8_0", 256))
    assert dict(change.environment) == {
        "OLLAMA_NUM_PARALLEL": "4",
        "OLLAMA_KV_CACHE_TYPE": "q8_0",
        "OLLAMA_FLASH_ATTENTION": "1",
        "LLAMA_ARG_CACHE_RAM": "768",
        "LLAMA_ARG_THREADS": "2",
    }
    assert change.options == {"num_batch": 256}
    # The engine may refuse the current type for this model, which is none of the search's business.
    assert set(host.change(Setting(4, 2)).environment) == {
        "OLLAMA_NUM_PARALLEL",
        "LLAMA_ARG_CACHE_RAM",
        "LLAMA_ARG_THREADS",
    }


def test_the_cache_of_prompts_gives_way_to_slots() -> None:
    host = situation({"cpu_cores": 8, "memory_mb": 8055}, LLAMA_8B)
    few, more = (int(host.change(Setting(slots, 8)).environment["LLAMA_ARG_CACHE_RAM"]) for slots in (1, 2))
    assert 0 <= more < few


def test_threads_are_an_option_of_the_request_before_version_0_30() -> None:
    change = situation(version="0.24.0", has={"OLLAMA_NUM_PARALLEL": "1"}).change(Setting(2, 1))
    assert change.options == {"num_thread": 1}
    assert "LLAMA_ARG_THREADS" not in change.environment
