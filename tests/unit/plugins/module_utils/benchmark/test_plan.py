# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils import errors
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.load import Load
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.plan import Plan, plan_from

# As Ansible hands them over when only the model was given.
DEFAULTS: dict[str, Any] = {
    "url": "http://127.0.0.1:11434",
    "timeout": 300.0,
    "model": "gemma3:270m",
    "endpoint": "/api/generate",
    "stream": True,
    "options": None,
    "concurrency": None,
    "rate": None,
    "arrivals": "poisson",
    "max_in_flight": 500,
    "requests": 100,
    "level_seconds": None,
    "max_tokens": 32,
    "prompt_set": "chat",
    "prompts": None,
    "prompts_file": None,
    "warmup": None,
    "single": True,
    "seed": None,
    "max_seconds": 900.0,
    "slo": None,
    "compare_url": None,
    "compare_rounds": 9,
}


def plan(**changes: Any) -> Plan:
    return plan_from({**DEFAULTS, **changes})


def test_the_default_is_the_guides_load() -> None:
    found = plan()
    assert found.levels == (Load(concurrency=10, requests=100),)
    assert found.warmup == Load(concurrency=10, requests=10)
    assert (found.target.endpoint, found.target.stream, found.other, bool(found.slo)) == (
        "/api/generate",
        True,
        None,
        False,
    )


def test_each_run_without_a_seed_has_its_own() -> None:
    assert len({plan().workload.seed for _ in range(5)}) == 5
    assert plan(seed=0).workload.seed == 0


def test_levels() -> None:
    assert plan(concurrency=[1, 4], requests=8, level_seconds=5.0).levels == (
        Load(1, requests=8, seconds=5.0),
        Load(4, requests=8, seconds=5.0),
    )
    rates = plan(rate=[0.5, 2.0], arrivals="constant", max_in_flight=7).levels
    assert rates == tuple(Load(rate=rate, arrivals="constant", max_in_flight=7) for rate in (0.5, 2.0))
    assert rates[0].seconds == math.inf


@pytest.mark.parametrize(
    ("changes", "warmup"),
    [
        ({"concurrency": [1, 20]}, Load(20, requests=20)),
        ({"rate": [1.0]}, Load(10, requests=10)),
        ({"warmup": 3}, Load(3, requests=3)),
        ({"warmup": 50}, Load(10, requests=50)),
        ({"warmup": 0}, None),
    ],
)
def test_warm_up(changes: dict[str, Any], warmup: Load | None) -> None:
    assert plan(**changes).warmup == warmup


def test_the_other_address_is_asked_the_same_way() -> None:
    found = plan(compare_url="http://direct:11434/", endpoint="/api/chat", options={"temperature": 0})
    assert found.other
    assert (found.other.url, found.other.endpoint, found.other.options) == (
        "http://direct:11434",
        "/api/chat",
        {"temperature": 0},
    )


def test_prompts_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("One?\nTwo?\n")
    assert plan(prompts_file=str(path)).workload.prompts == ("One?", "Two?")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"url": "localhost:11434"}, r"url is 'localhost:11434', which is not an address"),
        ({"compare_url": "direct"}, "compare_url is 'direct', which is not an address"),
        ({"concurrency": []}, r"concurrency is empty\. Give at least one level of load"),
        ({"rate": []}, "rate is empty"),
        ({"rate": [1.0], "concurrency": [1]}, "Both concurrency and rate are given"),
        ({"concurrency": [1, 2, 1]}, "concurrency names a level twice"),
        ({"rate": [0.0]}, "rate is 0"),
        ({"concurrency": [0]}, "concurrency is 0"),
        ({"requests": 0}, "requests is 0"),
        ({"warmup": -1}, "warmup is -1"),
        ({"prompt_set": "poems"}, "prompt_set is 'poems'"),
        ({"prompts": []}, "prompts is empty"),
        ({"prompts": ["a"], "prompts_file": "/p"}, "Both prompts and prompts_file are given"),
        ({"prompts_file": "/nonexistent/p"}, r"/nonexistent/p: No such file or directory\. Give the path of a file"),
        ({"prompts_file": "/"}, "/: Is a directory"),
        ({"timeout": 0.0}, "timeout is 0 seconds"),
        ({"max_seconds": -1.0}, "max_seconds is -1 seconds"),
        ({"level_seconds": 0.0}, "level_seconds is 0"),
        ({"slo": {"ttft_s": 0.0}}, "slo has ttft_s 0"),
        ({"slo": {"ttft_s": 1.0}, "stream": False}, "slo has a ttft_s or tpot_s, but stream is false"),
        ({"compare_rounds": 1}, "compare_rounds is 1"),
    ],
)
def test_unusable_options(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.InvalidInput, match=message):
        plan(**changes)


def test_prompts_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(errors.InvalidInput, match="is not text in UTF-8"):
        plan(prompts_file=str(path))
