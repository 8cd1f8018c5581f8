# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from itertools import islice

from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.prompts import workload
from hypothesis import given
from hypothesis import strategies as st


def first(count: int, seed: int) -> list[str]:
    return [request.prompt for request in islice(workload(seed, 32), count)]


def test_a_workload_is_the_same_everywhere() -> None:
    """Pinned: a change of these prompts makes old results incomparable, so it must be deliberate."""
    assert first(2, seed=7) == [
        "Jufepo has question 1: how does a compost heap work? Explain it in detail, step by step.",
        "Nakibu has question 2: how does a mechanical clock work? Explain it in detail, step by step.",
    ]


@given(st.integers())
def test_prompts_are_distinct_and_repeatable(seed: int) -> None:
    prompts = first(200, seed)
    assert len(set(prompts)) == 200
    assert prompts == first(200, seed)


@given(st.integers())
def test_prompts_share_almost_no_prefix(seed: int) -> None:
    """What a prefix cache could keep: at most a handful of 200 prompts may even begin with the same word."""
    assert len({prompt.split()[0] for prompt in first(200, seed)}) >= 190


def test_another_seed_is_another_workload() -> None:
    assert not set(first(50, seed=1)) & set(first(50, seed=2))


def test_every_request_has_its_own_sampling_seed_and_the_same_cut() -> None:
    requests = list(islice(workload(3, max_tokens=16), 50))
    assert len({request.seed for request in requests}) == 50
    assert {request.max_tokens for request in requests} == {16}
