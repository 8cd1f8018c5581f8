# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from itertools import islice

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils import errors
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.prompts import (
    PROMPT_SETS,
    Request,
    Workload,
    parse_prompts,
)
from hypothesis import given, settings
from hypothesis import strategies as st

SETS = st.sampled_from(PROMPT_SETS)
VARIED = st.sampled_from([name for name in PROMPT_SETS if name != "shared_prefix"])


def first(count: int, seed: int, prompt_set: str = "chat", side: int = 0) -> list[Request]:
    return list(islice(Workload(seed, prompt_set).requests(side), count))


def prompts(count: int, seed: int, prompt_set: str = "chat", side: int = 0) -> list[str]:
    return [request.prompt for request in first(count, seed, prompt_set, side)]


def test_a_workload_is_the_same_everywhere() -> None:
    """Pinned: a change of these prompts makes old results incomparable, so it must be deliberate."""
    assert prompts(2, seed=7) == [
        "Ripedu has question 1: how does a solar panel work? Explain it in detail, step by step.",
        "Vofeko has question 2: how does a heat pump work? Explain it in detail, step by step.",
    ]
    assert prompts(1, seed=7, prompt_set="guide") == ["Ripedu has question 1: Explain RAG in one sentence"]


@given(st.integers(), SETS)
@settings(max_examples=30)
def test_prompts_are_distinct_and_repeatable(seed: int, prompt_set: str) -> None:
    drawn = prompts(50, seed, prompt_set)
    assert len(set(drawn)) == 50
    assert first(50, seed, prompt_set) == first(50, seed, prompt_set)


@given(st.integers(), VARIED)
@settings(max_examples=30)
def test_prompts_share_almost_no_prefix(seed: int, prompt_set: str) -> None:
    """What a prefix cache could keep: at most a handful of 100 prompts may even begin with the same word."""
    assert len({prompt.split()[0] for prompt in prompts(100, seed, prompt_set)}) >= 95


@given(st.integers())
@settings(max_examples=10)
def test_a_shared_prefix_is_nearly_all_of_each_prompt(seed: int) -> None:
    drawn = prompts(20, seed, "shared_prefix")
    prefix = drawn[0][: drawn[0].rindex("\n\n")]
    assert all(prompt.startswith(prefix) for prompt in drawn)
    assert all(len(prefix) > 0.9 * len(prompt) for prompt in drawn)


@given(st.integers(), SETS)
@settings(max_examples=20)
def test_prompts_of_a_set_are_about_equally_long(seed: int, prompt_set: str) -> None:
    lengths = [len(prompt) for prompt in prompts(30, seed, prompt_set)]
    assert max(lengths) < 1.5 * min(lengths)


def test_long_sets_fit_the_smallest_context() -> None:
    """4096 tokens; English has more than 3 characters to a token in every tokenizer."""
    for name in ("document", "shared_prefix"):
        lengths = [len(prompt) for prompt in prompts(20, 1, name)]
        assert 5_000 < min(lengths) <= max(lengths) < 9_000


@given(st.integers(), SETS)
@settings(max_examples=20)
def test_two_sides_are_asked_the_same_but_for_the_names(seed: int, prompt_set: str) -> None:
    one, two = first(20, seed, prompt_set, 0), first(20, seed, prompt_set, 1)
    assert [request.seed for request in one] == [request.seed for request in two]
    assert [len(request.prompt) for request in one] == [len(request.prompt) for request in two]
    for left, right in zip(one, two, strict=True):
        words = list(zip(left.prompt.split(), right.prompt.split(), strict=True))
        different = [(a, b) for a, b in words if a != b]
        assert words[0] in different
        assert len(different) <= 2


def test_another_seed_is_another_workload() -> None:
    assert not set(prompts(50, seed=1)) & set(prompts(50, seed=2))


def test_every_request_has_its_own_sampling_seed_and_the_same_cut() -> None:
    requests = list(islice(Workload(3, max_tokens=16).requests(), 50))
    assert len({request.seed for request in requests}) == 50
    assert {request.max_tokens for request in requests} == {16}


def test_own_prompts_come_equally_often_in_a_random_order() -> None:
    own = ("one", "two", "three", "four")
    drawn = [request.prompt for request in islice(Workload(5, prompts=own).requests(), 12)]
    assert [sorted(drawn[start : start + 4]) for start in (0, 4, 8)] == [sorted(own)] * 3
    assert drawn == [request.prompt for request in islice(Workload(5, prompts=own).requests(), 12)]
    orders = {
        tuple(request.prompt for request in islice(Workload(seed, prompts=own).requests(), 4)) for seed in range(20)
    }
    assert len(orders) > 5


def test_a_file_has_one_prompt_on_each_line() -> None:
    assert parse_prompts("What is a lock?\n\n  And a key? \r\n", "p.txt") == ("What is a lock?", "And a key?")
    with pytest.raises(errors.InvalidInput, match=r"p\.txt holds no prompt\. Write one prompt on each line"):
        parse_prompts("\n \n", "p.txt")


def test_unusable_workloads() -> None:
    with pytest.raises(errors.InvalidInput, match=r"prompt_set is 'poems'. It must be one of chat, guide, document"):
        Workload(1, "poems")
    with pytest.raises(errors.InvalidInput, match="max_tokens is 0"):
        Workload(1, max_tokens=0)
    with pytest.raises(errors.InvalidInput, match="One of the prompts is empty"):
        Workload(1, prompts=("a", " "))
