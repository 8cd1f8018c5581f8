# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The guide's table at its edges, and policies that users write."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.policy import DEFAULT_POLICY, Policy
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("cores", "memory_gb", "profile", "parallel"),
    [
        (0.5, 1, "minimal", 1),
        (3.99, 1000, "minimal", 1),
        (1000, 15.99, "minimal", 1),
        (4, 16, "conservative", 2),
        (7.9, 1000, "conservative", 2),
        (1000, 31.9, "conservative", 2),
        (8, 32, "balanced", 4),
        (15.9, 1000, "balanced", 4),
        (1000, 63.9, "balanced", 4),
        (16, 64, "high", 6),
        (31.9, 1000, "high", 6),
        (1000, 127.9, "high", 6),
        (32, 128, "high", 8),
        (4096, 65536, "high", 8),
    ],
)
def test_rows_of_the_guide(cores: float, memory_gb: float, profile: str, parallel: int) -> None:
    row = Policy.load().best_row(cores, memory_gb)
    assert (row.profile, row.parallel) == (profile, parallel)


@pytest.mark.parametrize(
    ("profile", "cores", "memory_gb", "parallel"),
    [
        ("high", 1, 1, 6),
        ("high", 16, 64, 6),
        ("high", 64, 256, 8),
        ("conservative", 64, 256, 2),
        ("minimal", 64, 256, 1),
    ],
)
def test_rows_of_a_named_profile(profile: str, cores: float, memory_gb: float, parallel: int) -> None:
    row = Policy.load().best_row(cores, memory_gb, profile)
    assert (row.profile, row.parallel) == (profile, parallel)


def test_overrides_are_merged_deeply_and_do_not_leak() -> None:
    policy = Policy.load({"context_length": "8192", "efficiency_cores": "yes", "prompt_cache": {"max_mb": 512}})
    assert (policy.context_length, policy.efficiency_cores) == (8192, True)
    assert (policy.prompt_cache.max_mb, policy.prompt_cache.step_mb) == (512, 64)
    assert policy.keep_alive == "24h"
    assert Policy.load().context_length == DEFAULT_POLICY["context_length"] == 4096


Q8 = {"name": "Q8_0", "bits": 8.5, "speed_gain": 15, "loss": 2}
FIRST = {"profile": "minimal", "min_cores": 0, "min_memory_gb": 0, "parallel": 1, "loaded_models": 1}


def test_a_shorter_context_lowers_what_it_may_give_way_to() -> None:
    assert Policy.load({"context_length": 1024}).min_context_length == 1024


def test_a_reserve_is_the_larger_of_share_and_minimum() -> None:
    reserve = Policy.load().reserve
    assert [reserve.of(memory) for memory in (512, 4096, 20480)] == [512, 1024, 2048]


def test_a_table_replaces_the_whole_table() -> None:
    policy = Policy.load(
        {"table": [FIRST, {**FIRST, "profile": "high", "min_cores": 2, "min_memory_gb": 7.5, "parallel": 3}]}
    )
    assert [policy.best_row(2, memory).parallel for memory in (7.4, 7.5)] == [1, 3]
    with pytest.raises(InvalidInput, match=r"profile is 'balanced'.*It has: minimal, high"):
        policy.best_row(8, 32, "balanced")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"keepalive": "1h"}, ["unknown key 'keepalive'", "keep_alive"]),
        ({"keep_alive": "soon"}, ["policy: keep_alive is 'soon'", "duration"]),
        ({"keep_alive": True}, ["policy: keep_alive is True"]),
        ({"context_length": 100}, ["context_length is 100", "256 to 16777216"]),
        ({"context_length": 4096.5}, ["context_length is 4096.5", "whole number"]),
        ({"context_length": None}, ["context_length is None"]),
        ({"context_length": 10**400}, ["context_length is 1000", "256 to 16777216"]),
        ({"queue_per_slot": "x"}, ["queue_per_slot is 'x'"]),
        ({"min_load_timeout": True}, ["min_load_timeout is True"]),
        ({"efficiency_cores": 2}, ["efficiency_cores is 2", "true or false"]),
        ({"prompt_cache": 512}, ["prompt_cache is 512", "memory_share, max_mb, step_mb"]),
        ({"prompt_cache": {"max": 512}}, ["policy: prompt_cache: unknown key 'max'"]),
        ({"prompt_cache": {"memory_share": 1.5}}, ["memory_share is 1.5", "0 to 0.9"]),
        ({"kv_type": "f32"}, ["kv_type is 'f32'", "f16, q8_0, q4_0"]),
        ({"quantized_kv": "maybe"}, ["quantized_kv is 'maybe'", "true or false"]),
        ({"reserve": {"share": 2}}, ["policy: reserve: share is 2", "0 to 0.9"]),
        ({"reserve": {"min": 2}}, ["policy: reserve: unknown key 'min'", "share, min_mb"]),
        ({"min_context_length": 4097}, ["min_context_length is 4097", "context_length of 4096"]),
        ({"quantizations": [{"name": "Q8_0"}]}, ["quantizations[0]: bits, speed_gain, loss missing"]),
        ({"quantizations": [Q8, {**Q8, "name": "F16", "bits": 16}]}, ["quantizations[1]: F16 has 16 bits", "large to"]),
        ({"table": "guide"}, ["policy: table is 'guide'", "list of rows"]),
        ({"table": []}, ["policy: table is []"]),
        ({"table": [{**FIRST, "cores": 4}]}, ["table[0]: unknown key 'cores'", "min_cores"]),
        ({"table": [{"profile": "minimal"}]}, ["table[0]: min_cores, min_memory_gb, parallel, loaded_models missing"]),
        ({"table": [{**FIRST, "profile": "turbo"}]}, ["profile is 'turbo'", "minimal, conservative, balanced, high"]),
        ({"table": [{**FIRST, "parallel": 0}]}, ["parallel is 0", "1 to 256"]),
        ({"table": [{**FIRST, "min_cores": 2}]}, ["table[0] starts at 2 cores", "must be 0"]),
        ({"table": [{**FIRST, "parallel": 4}, FIRST]}, ["table[1]: parallel is 1, less than 4", "ascend"]),
        ({"table": [FIRST, {**FIRST, "parallel": 8}]}, ["table[1] begins where the row before does", "min_cores"]),
        (
            {"table": [{**FIRST, "profile": "high"}, {**FIRST, "min_cores": 4, "profile": "balanced"}]},
            ["table[1]: profile balanced comes after high", "conservative"],
        ),
        ({"prompt_cache": {"max_mb": 32}}, ["max_mb is 32, less than one step of 64", "set max_mb to 0"]),
        (
            {"quantizations": [Q8, {**Q8, "bits": 4.0}]},
            ["quantizations[1]: Q8_0 is listed twice"],
        ),
    ],
)
def test_a_bad_policy_is_refused_with_key_and_what_is_allowed(overrides: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InvalidInput) as refused:
        Policy.load(overrides)
    assert all(word in str(refused.value) for word in words), str(refused.value)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["memory_share", "profile", "x"]), inner)
    ),
)


@given(st.dictionaries(st.sampled_from([*DEFAULT_POLICY, "x"]), ANYTHING))
def test_a_policy_is_accepted_or_refused_but_never_breaks(overrides: dict[str, Any]) -> None:
    try:
        policy = Policy.load(overrides)
    except InvalidInput:
        return
    assert policy.best_row(0, 0).parallel >= 1
