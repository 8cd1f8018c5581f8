# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import simulation
from ansible_collections.llmops.ollama.plugins.module_utils import errors
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.document import (
    SCHEMA,
    Baseline,
    check_path,
    document,
    save,
)
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.load import Load
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.measure import Measurement
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.plan import Plan
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.prompts import Workload
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.protocol import Target
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.sample import Round
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.statistics import NO_SLO, Level, Slo, summarise
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.subject import Subject

PLAN = Plan(
    Target("http://127.0.0.1:11434", "gemma3:270m"),
    Workload(seed=7),
    (Load(1, requests=100), Load(10, requests=100)),
    slo=Slo(latency_s=5.0),
)
SUBJECT = Subject("0.34.0", "ab" * 32, "Q4_K_M", {"environment": {"OLLAMA_NUM_PARALLEL": "4"}}, {"cpu_cores": 2})


def level(load: Load, seed: int = 1, slots: int = 4) -> Level:
    samples = simulation.closed_loop(
        simulation.dice(seed), load.requests, load.concurrency or 1, slots, simulation.varied
    )
    return summarise([Round(samples)], load, PLAN.slo)


def measured(plan: Plan = PLAN, slots: int = 4) -> Measurement:
    return Measurement(None, tuple(level(load, slots=slots) for load in plan.levels))


def earlier(plan: Plan = PLAN) -> dict[str, Any]:
    """What a file would hold."""
    saved: dict[str, Any] = json.loads(json.dumps(document(plan, measured(plan), SUBJECT, None)))
    return saved


def test_document_says_what_was_measured_and_on_what() -> None:
    found = earlier()
    assert found["schema"] == SCHEMA == "llmops.ollama.benchmark/1"
    assert found["engine_version"] == "0.34.0"
    assert found["settings"]["environment"] == {"OLLAMA_NUM_PARALLEL": "4"}
    assert found["hardware"] == {"cpu_cores": 2}
    assert found["workload"] == {
        "endpoint": "/api/generate",
        "stream": True,
        "options": {},
        "prompt_set": "chat",
        "prompts": None,
        "prompts_digest": None,
        "max_tokens": 32,
        "seed": 7,
        "arrivals": None,
        "warmup": 0,
    }
    assert found["slo"] == {"ttft_s": None, "tpot_s": None, "latency_s": 5.0}
    assert [each["concurrency"] for each in found["levels"]] == [1, 10]
    assert (found["comparison"], found["gains"]) == (None, None)


def test_own_prompts_are_told_apart_without_being_told() -> None:
    plan = replace(PLAN, workload=Workload(7, prompts=("my secret", "question")))
    found = earlier(plan)
    assert (found["workload"]["prompt_set"], found["workload"]["prompts"]) == (None, 2)
    assert "secret" not in json.dumps(found)
    with pytest.raises(errors.InvalidInput, match="prompts_digest"):
        Baseline(found).check(replace(plan, workload=Workload(7, prompts=("other", "question"))))


def test_saved_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    check_path(str(path))
    save(str(path), document(PLAN, measured(), SUBJECT, None))
    baseline = Baseline(str(path))
    baseline.check(PLAN)
    [alone, loaded] = baseline.gains(measured().levels, PLAN.slo)
    assert (alone.concurrency, loaded.concurrency) == (1, 10)
    assert set(loaded.ratios) == {"requests_per_second", "output_tokens_per_second", "goodput"}
    same = loaded.ratios["requests_per_second"]
    assert same.low is not None
    assert same.high is not None
    assert same.ratio == 1.0
    assert same.low < 1 < same.high
    assert [each.name for each in tmp_path.iterdir()] == ["result.json"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_gain_has_its_bounds() -> None:
    [_, gain] = Baseline(earlier()).gains(measured(slots=8).levels, PLAN.slo)
    ratio = gain.ratios["requests_per_second"]
    assert ratio.low is not None
    assert ratio.ratio is not None
    assert 1.4 < ratio.low < ratio.ratio < 2.1


def test_goodput_is_compared_with_that_of_the_same_objectives_only() -> None:
    for other in (replace(PLAN, slo=Slo(latency_s=30.0)), replace(PLAN, slo=NO_SLO)):
        baseline = Baseline(earlier(other))
        baseline.check(PLAN)
        assert all("goodput" not in gain.ratios for gain in baseline.gains(measured().levels, PLAN.slo))
        with pytest.raises(errors.InvalidInput, match="min_goodput_gain compares with a baseline whose slo is"):
            baseline.check(PLAN, goodput=True)
    Baseline(earlier()).check(PLAN, goodput=True)


def test_model_seed_and_address_may_differ() -> None:
    other = replace(
        PLAN,
        target=Target("http://elsewhere:11434", "other:1b"),
        workload=Workload(seed=8),
        levels=(Load(10, requests=30),),
    )
    Baseline(earlier()).check(other)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (replace(PLAN, workload=Workload(7, max_tokens=64)), r"another workload: max_tokens 32, now 64\. Use the same"),
        (replace(PLAN, workload=Workload(7, "guide")), "another workload: prompt_set 'chat', now 'guide'"),
        (
            replace(PLAN, target=replace(PLAN.target, stream=False, options={"num_ctx": 512})),
            r"another workload: stream True, now False, options \{\}, now \{'num_ctx': 512\}",
        ),
        (
            replace(PLAN, levels=(Load(5),)),
            "no level of this run: it has 1 at a time, 10 at a time, this run has 5 at a time",
        ),
        (replace(PLAN, levels=(Load(rate=10.0),)), "another workload: arrivals None, now 'poisson'"),
    ],
)
def test_a_baseline_of_another_workload(plan: Plan, message: str) -> None:
    with pytest.raises(errors.InvalidInput, match=message):
        Baseline(earlier()).check(plan)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "is not a result of this module: it names no schema"),
        ({"benchmark": earlier()}, r"names no schema\. It has benchmark\. Pass the key benchmark of an earlier result"),
        ([], "is not a result of this module"),
        ({**earlier(), "schema": "llmops.ollama.benchmark/2"}, "has the schema 'llmops.ollama.benchmark/2'"),
        ({**earlier(), "levels": 5}, "but it is damaged"),
        ({**earlier(), "levels": [{"concurrency": 1}]}, "but it is damaged"),
        (
            {**earlier(), "levels": [{"concurrency": 1, "rate": None, "requests_per_second": 0}]},
            "a level without a successful request",
        ),
        ("/nonexistent/before.json", r"/nonexistent/before\.json: No such file or directory\. Give the path of a file"),
    ],
)  # fmt: skip
def test_unusable_baselines(value: Any, message: str) -> None:
    with pytest.raises(errors.InvalidInput, match=message):
        Baseline(value)


def test_a_baseline_that_is_no_json(tmp_path: Path) -> None:
    path = tmp_path / "before.json"
    path.write_text("{")
    with pytest.raises(errors.InvalidInput, match=r"before\.json is not JSON\. Give a file that save wrote"):
        Baseline(str(path))


def test_a_failed_save_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("before")
    with pytest.raises(TypeError):
        save(str(path), {"value": object()})
    assert path.read_text() == "before"


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "missing" / "result.json"):
        with pytest.raises(errors.InvalidInput, match=r"where no file can be written. Give the path of a file"):
            check_path(str(place))
    with pytest.raises(errors.InvalidInput, match="No such file or directory"):
        save(str(tmp_path / "missing" / "result.json"), {})
