# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real load logs of both engines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.load_log import (
    Calibration,
    LoadedParts,
    load_of,
    loads,
    read_load,
)
from ansible_collections.llmops.ollama.plugins.module_utils.memory_model import MIB, ModelMemory

BLOB = "sha256-8b90dc09855b7fc6fe7d3bec8afbe0e27541fa3ed72eb0b3b2ea0e56f3b47d88"
LOGS = Path(__file__).parents[2] / "fixtures/logs"


def read(name: str) -> str:
    return (LOGS / f"{name}.log").read_text()


def size(mib: float) -> int:
    return round(mib * MIB)


def test_llama_server() -> None:
    assert loads(read("llama-server-0.34.0-gemma3-p2-4096-q8_0"))[-1] == LoadedParts(
        weights=size(170.21) + size(53.79),
        kv=size(12.75) + size(23.91),
        compute=size(48.09),
        output=size(2.0),
        parallel=2,
        context=4096,
        batch=1024,
        kv_type="q8_0",
        blob=BLOB,
        llama_server=True,
    )


def test_without_flash_attention() -> None:
    load = loads(read("llama-server-0.34.0-gemma3-p2-4096-f16-no-flash"))[-1]
    assert load
    assert (load.flash, load.kv_type, load.compute) == (False, "f16", size(110.54))
    old = loads(read("ollama-engine-0.24.0-gemma3-p2-4096-f16").replace("Attention:Enabled", "Attention:Disabled"))[-1]
    assert old
    assert not old.flash


@pytest.mark.parametrize(
    ("device", "gpu"), [("CUDA0", True), ("ROCm1", True), ("Vulkan0", True), ("CUDA_Host", False), ("AMX", False)]
)
def test_weights_on_a_gpu(device: str, gpu: bool) -> None:
    log = read("llama-server-0.34.0-gemma3-p2-4096-q8_0").replace("CPU_REPACK model", f"{device} model")
    load = loads(log)[-1]
    assert load
    assert (load.gpu, load.weights) == (gpu, size(170.21) + size(53.79))


def test_the_old_engines_own_models() -> None:
    assert loads(read("ollama-engine-0.24.0-gemma3-p2-4096-f16"))[-1] == LoadedParts(
        weights=size(394.0),
        kv=size(50.2),
        compute=size(28.2),
        parallel=2,
        context=4096,
        batch=512,
        threads=2,
        kv_type="f16",
        blob=BLOB,
    )


def test_the_old_engines_llama_cpp() -> None:
    # Its compute buffer of 129 MiB is left out: nearly all of it are logits that are never written.
    assert loads(read("ollama-llama-0.24.0-llama-p1-2048-f16"))[-1] == LoadedParts(
        weights=size(379.05),
        kv=size(12.0),
        output=size(0.25),
        parallel=1,
        context=2048,
        batch=512,
        threads=2,
        kv_type="f16",
        blob="sha256-4ba77487b3ed12c1cfa8c41939305a608f9b6c6a7a51c696e52412f3fd64ca2e",
    )


def test_a_model_on_several_devices() -> None:
    one = read("ollama-engine-0.24.0-gemma3-p2-4096-f16")
    part = re.compile(r'^.*msg="(?:model weights|kv cache|compute graph)" device=CPU .*\n', re.MULTILINE)
    several = part.sub(lambda line: line[0] + line[0].replace("device=CPU", "device=CUDA0"), one)
    alone, both = loads(one)[-1], loads(several)[-1]
    assert (alone.gpu, both.gpu) == (False, True)
    for name in ("weights", "kv", "compute"):
        assert getattr(both, name) == 2 * getattr(alone, name)


def test_an_attempt_for_which_another_model_had_to_make_room_does_not_count() -> None:
    one = read("ollama-engine-0.24.0-gemma3-p2-4096-f16")
    begin = one.index("time=", one.rindex("\n", 0, one.index('msg="loading model"')))
    end = one.index("\n", one.rindex('msg="compute graph"')) + 1
    assert loads(one[:end] + one[begin:]) == loads(one)


def test_weights_that_are_mapped_and_copied_to_a_gpu_say_nothing() -> None:
    log = read("llama-server-0.34.0-gemma3-p2-4096-q8_0").replace(" CPU model", " CPU_Mapped model")
    assert loads(log)[-1].weights == size(170.21) + size(53.79)
    log = log.replace(" CPU_REPACK model", " CUDA0 model")
    assert (loads(log)[-1].gpu, loads(log)[-1].weights) == (True, None)


def test_all_loads_in_order() -> None:
    first, second = read("ollama-engine-0.24.0-gemma3-p2-4096-f16"), read("llama-server-0.34.0-gemma3-p2-4096-q8_0")
    assert loads(first + second)[-1] == loads(second)[-1]
    assert loads(second + second) == [*loads(second), *loads(second)]


@pytest.mark.parametrize(
    ("name", "port", "weights", "threads"),
    [
        ("llama-server-0.34.0-two-models-p2-4096-q8_0", 45253, size(222.51) + size(12.66), 1),
        ("llama-server-0.34.0-two-models-p2-4096-q8_0", 46879, size(379.05), 1),
        ("ollama-0.24.0-two-models-p2-4096-q8_0", 37031, size(405.2), 2),
        ("ollama-0.24.0-two-models-p2-4096-q8_0", 45017, size(379.05), 2),
    ],
)
def test_the_load_of_one_runner_among_several(name: str, port: int, weights: int, threads: int) -> None:
    load = load_of(read(name), port)
    assert load
    assert (load.weights, load.threads) == (weights, threads)
    assert (load.parallel, load.context, load.kv_type) == (2, 4096, "q8_0")
    assert load_of(read(name), 1) is None


@pytest.mark.parametrize(
    ("name", "port", "over"),
    [
        (
            "llama-server-0.34.0-two-models-p2-4096-q8_0",
            46879,
            "srv  llama_server: listening on http://127.0.0.1:46879",
        ),
        ("ollama-0.24.0-two-models-p2-4096-q8_0", 45017, 'level=INFO msg="llama runner started in 2.40 seconds"'),
    ],
)
def test_no_more_of_a_log_is_read_than_has_the_load(name: str, port: int, over: str) -> None:
    log = read(name)
    loading = log[: log.rindex("compute buffer size")]
    others = f"{loading}\nsrv  llama_server: listening on http://127.0.0.1:1\n"
    whole = f"{log}\n{over}\n"
    for answers in ([whole], [loading, whole], ["", others, whole], ["", "", loading, whole], ["", "", "", ""]):
        asked: list[tuple[float, float]] = []

        def between(since: float, until: float, answers: list[str] = answers, asked: list[Any] = asked) -> str:
            asked.append((since, until))
            return answers[len(asked) - 1]

        assert read_load(between, 1000, port) == answers[-1]
        assert asked == [(998, 1004), (998, 1016), (985, 1060), (985, 1900)][: len(answers)]


@pytest.mark.parametrize(
    "log",
    [
        "",
        "Listening on 127.0.0.1:11434\n",
        "kv cache\n",
        "load_tensors:          CPU model buffer size = 45..0 MiB\n",
        f"load_tensors:          CPU model buffer size = {'9' * 400} MiB\n",
        'msg="model weights" device=CPU size="1.2.3 MiB"\n',
    ],
    ids=lambda log: log[:70],
)
def test_a_log_without_a_load(log: str) -> None:
    assert loads(log) == []


def test_real_parts_scale_predicted_ones() -> None:
    predicted = ModelMemory(weights=100, kv_full=30, kv_window=10, compute=7, output=3, runtime=50, prompt_cache=64)
    calibration = Calibration.of(predicted, LoadedParts(weights=110, kv=60, compute=None, output=2))
    assert calibration.apply(predicted) == ModelMemory(
        weights=110, kv_full=45, kv_window=15, compute=7, output=2, runtime=50, prompt_cache=64
    )
    assert calibration.apply(ModelMemory(weights=50, kv_full=2, runtime=9)) == ModelMemory(
        weights=55, kv_full=3, runtime=9
    )


def test_what_cannot_be_true_is_left_as_predicted() -> None:
    predicted = ModelMemory(weights=100, kv_full=30)
    assert Calibration.of(predicted, LoadedParts(weights=7, kv=300, recurrent=5)) == Calibration()
    assert Calibration.of(predicted, LoadedParts()).apply(predicted) == predicted
