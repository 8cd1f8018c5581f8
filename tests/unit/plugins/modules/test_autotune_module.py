# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module as Ansible runs it, over a server that answers and measurements that are made up."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.autotune import run as running
from ansible_collections.llmops.ollama.plugins.module_utils.autotune import survey as surveying
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.measurement import Failed, Reading
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.record import PATH
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.setting import Setting
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import Hardware
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.files import Files
from ansible_collections.llmops.ollama.plugins.modules import autotune
from fake_host import SERVER, FakeHost
from fake_http import FakeOllama

Call = Callable[..., dict[str, Any]]

DROP_IN = "/etc/systemd/system/ollama.service.d/50-tuning.conf"
SHOW = json.loads((Path(__file__).parents[2] / "fixtures/models/gemma3-270m-show.json").read_text())
SEEN = {1: 1.0, 2: 1.5, 3: 1.7, 4: 2.0}


@dataclass
class World:
    """``measured`` are the settings and models that were measured; ``broken`` one that fails."""

    root: Path
    server: FakeOllama
    measured: list[tuple[Setting, str]] = field(default_factory=list)
    broken: set[int] = field(default_factory=set)
    lines: list[str] = field(default_factory=list)

    def measure(self, setting: Setting, number: int, model: str | None = None) -> Reading | Failed:
        self.measured.append((setting, model or ""))
        if setting.parallel in self.broken:
            return Failed("It was ended for want of memory.", 3.0)
        rate = SEEN[setting.parallel] * (1.2 if model and "q4_0" in model else 1.0)
        return Reading(rate, rate, 1.0, 2.0, {"slo_met": 1.0})

    @property
    def fact(self) -> Path:
        return self.root / PATH.lstrip("/")


@pytest.fixture
def world(tmp_path: Path, ollama: FakeOllama, monkeypatch: pytest.MonkeyPatch) -> World:
    """A managed host with one installed model. Its service is not touched: trials are measured by ``World.measure``."""
    world = World(tmp_path, ollama)
    for name, quantization in (("gemma3:270m", "Q4_K_M"), ("gemma3:270m-q4_0", "Q4_0")):
        ollama.registry.publish(f"library/{name}", quantization=quantization)
        ollama.install(name, ollama.registry.manifests[f"library/{name}"])
        ollama.shows[name] = {**SHOW, "details": {**SHOW["details"], "quantization_level": quantization}}
    files = Files(str(tmp_path))
    files.path(DROP_IN).parent.mkdir(parents=True)
    files.path(DROP_IN).write_text("# Managed by llmops.ollama: the values\n")
    fake = FakeHost(tmp_path)
    fake.process(SERVER, environment={"OLLAMA_NUM_PARALLEL": "1", "LLAMA_ARG_THREADS": "2"})
    hardware = Hardware.describe({"cpu_cores": 2, "memory_mb": 8000})

    @contextmanager
    def alone(job: running.Job) -> Iterator[None]:
        yield None

    class Trials:
        watch: Any = None
        measure = staticmethod(world.measure)

        def __init__(self, *arguments: Any) -> None:
            pass

        def __enter__(self) -> Trials:
            return self

        def __exit__(self, *arguments: object) -> None:
            pass

    monkeypatch.setattr(autotune, "require_root", lambda: None)
    monkeypatch.setattr(autotune, "Files", lambda: files)
    monkeypatch.setattr(autotune, "alone", alone)
    monkeypatch.setattr(autotune, "reporter", lambda path: world.lines.append)
    monkeypatch.setattr(autotune, "keep", lambda record: running.keep(record, str(world.fact)))
    monkeypatch.setattr(surveying, "Host", lambda: fake.host)
    monkeypatch.setattr(surveying, "Files", lambda: files)
    monkeypatch.setattr(surveying, "probe", lambda: hardware)
    monkeypatch.setattr(running, "Trials", Trials)
    monkeypatch.setattr("os.fchown", lambda *arguments: None)
    return world


@pytest.fixture
def tune(run_module: Call, world: World) -> Call:
    def call(**arguments: Any) -> dict[str, Any]:
        given = {"model": "gemma3:270m", "url": world.server.url, "concurrency": 4, **arguments}
        return run_module("autotune", **given)

    return call


def test_it_advises_and_keeps_nothing(tune: Call, world: World) -> None:
    result = tune()
    assert result["changed"] is False
    outcome = result["autotune"]
    assert outcome["current"] == {"parallel": 1, "threads": 2, "kv_type": "f16", "batch": None}
    assert outcome["adopted"]["parallel"] == 4
    assert outcome["gain"]["median"] == 1.0
    assert outcome["quantizations"] is None
    assert not world.fact.exists()
    assert world.lines[0] == "setting 1: parallel 1, threads 2, cache f16 (current setting); at most 360 s left"


def test_check_mode_shows_the_plan(tune: Call, world: World) -> None:
    result = tune(check=True, apply=True, max_minutes=2)
    assert result["changed"] is False
    assert result["plan"]["space"] == {
        "parallel": [1, 2, 3, 4],
        "threads": [1, 2],
        "kv_types": ["f16"],
        "batch": [None],
        "memory_allows": {"f16": 4},
    }
    assert [each["parallel"] for each in result["plan"]["first"]] == [1, 2, 4]
    assert (result["plan"]["seconds_at_most"], result["plan"]["measured_already"]) == (120, False)
    assert world.measured == []


def test_a_kept_result_is_returned_instead_of_measuring_again(tune: Call, world: World) -> None:
    first = tune(apply=True, diff=True)
    assert (first["changed"], first["fact"]) == (True, PATH)
    record = json.loads(world.fact.read_text())
    assert record["measured"]["parallel"] == 4
    assert record["measured"]["kv_type"] is None
    assert record["fingerprint"]["model"] == "gemma3:270m"
    assert record["fingerprint"]["weights"].startswith("sha256-")
    assert len(record["fingerprint"]["digest"]) == 64
    assert record["fingerprint"]["workload"]["concurrency"] == 4
    assert record["evidence"] == first["autotune"]
    assert (first["diff"]["before"], '"parallel": 4' in first["diff"]["after"]) == ("", True)
    world.measured.clear()
    again = tune(apply=True)
    assert (again["changed"], again["autotune"]) == (False, first["autotune"])
    assert world.measured == []
    assert tune(check=True, apply=True)["plan"]["measured_already"] is True


@pytest.mark.parametrize("arguments", [{"force": True}, {"apply": False}, {"concurrency": 3}, {"slo": {"ttft_s": 1.0}}])
def test_what_makes_it_measure_again(tune: Call, world: World, arguments: dict[str, Any]) -> None:
    tune(apply=True)
    world.measured.clear()
    tune(**{"apply": True, **arguments})
    assert world.measured


def test_a_setting_that_fails_is_evidence(tune: Call, world: World) -> None:
    world.broken = {4}
    outcome = tune()["autotune"]
    failures = {trial["parallel"]: trial["failure"] for trial in outcome["evidence"]["trials"] if trial["failure"]}
    assert failures == {4: "It was ended for want of memory."}
    assert outcome["adopted"]["parallel"] == 3


def test_quantizations_are_compared_at_the_adopted_setting(tune: Call, world: World) -> None:
    result = tune(quantizations=["gemma3:270m", "gemma3:270m-q4_0", "gemma3:270m-f16"])
    advice = result["autotune"]["quantizations"]
    compared = [(setting.parallel, model) for setting, model in world.measured if model]
    assert compared == [(4, "gemma3:270m"), (4, "gemma3:270m-q4_0")] * 3  # in turns
    assert [(each["quantization"], each["loss_percent"]) for each in advice["variants"]] == [
        ("Q4_K_M", 3.0),
        ("Q4_0", 5.0),
    ]
    assert advice["recommended"] == "gemma3:270m-q4_0"
    assert all(each["memory_mb"] > 200 for each in advice["variants"])
    assert "gemma3:270m-f16 is not installed: it is left out." in str(result["warnings"])


def test_when_nothing_can_be_measured(tune: Call, world: World) -> None:
    world.broken = set(SEEN)
    message = tune(apply=True)["msg"]
    assert message.startswith("Nothing could be measured, not even with the current setting: It was ended")
    assert not world.fact.exists()


def test_an_slo_bounds_what_counts(tune: Call) -> None:
    outcome = tune(slo={"ttft_s": 1.0})["autotune"]
    assert (outcome["slo_met"], outcome["slo_remark"]) == (True, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"model": "nosuch:1b"},
            "does not have model 'nosuch:1b'; only an installed one can be measured.",
        ),
        ({"model": "a b"}, "'a b' is not a model name"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"max_minutes": 0.1}, "max_minutes is 0.1"),
        ({"min_gain": -1}, "min_gain is -1"),
        ({"slo": {"ttft_s": 0}}, "slo has ttft_s 0"),
        ({"workload": {"max_tokens": 0}}, "max_tokens is 0"),
        ({"space": {"threads": [3]}}, "threads has 3"),
        ({"space": {"max_parallel": 0}}, "max_parallel has 0"),
        ({"policy": {"paralel": 1}}, "paralel"),
        ({"environment": {"OLLAMA_NUM_PARALLEL": "four"}}, "OLLAMA_NUM_PARALLEL"),
        ({"service": "other"}, "other.service is not managed by this collection"),
        ({"models": [{"nam": "x"}]}, "models[0]"),
    ],
)
@pytest.mark.parametrize("check", [False, True])
def test_a_mistake_is_named(tune: Call, world: World, arguments: dict[str, Any], words: str, check: bool) -> None:
    result = tune(check=check, **arguments)
    assert result["failed"]
    assert words in result["msg"]
    assert world.measured == []


def test_a_drop_in_of_somebody_else(tune: Call, world: World) -> None:
    (world.root / DROP_IN.lstrip("/")).write_text("[Service]\nEnvironment=A=b\n")
    assert "is not there, or not from it. Set it up with the role" in tune()["msg"]


def test_only_root_may_try(tune: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autotune, "require_root", surveying.require_root)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert tune()["msg"] == "Only root may try settings of a service. Use become: true."


def test_a_model_that_only_embeds(tune: Call, world: World) -> None:
    info = {**SHOW["model_info"], "gemma3.pooling_type": 1}
    world.server.shows["gemma3:270m"] = {**SHOW, "model_info": info, "capabilities": ["embedding"]}
    assert "generates no text" in tune()["msg"]
