# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real command lines of runners of both engines, and processes that come, go and may not be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils import runner as core
from ansible_collections.llmops.ollama.plugins.module_utils.errors import Unhealthy
from fake_host import BOOT, FIXTURES, FakeHost

GEMMA = "sha256-a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
LLAMA = "sha256-4ba77487b3ed12c1cfa8c41939305a608f9b6c6a7a51c696e52412f3fd64ca2e"


def command(name: str) -> str:
    return (FIXTURES / f"runners/{name}.txt").read_text().strip()


@pytest.fixture
def fake(tmp_path: Path) -> FakeHost:
    return FakeHost(tmp_path)


@pytest.mark.parametrize(
    ("name", "runner"),
    [
        ("0.34.0-gemma3", core.Runner(9, GEMMA, 45253, slots=2, cells=8192, kv_types=("q8_0", "q8_0"))),
        ("0.34.0-llama", core.Runner(9, LLAMA, 46879, slots=2, cells=8192, kv_types=("q8_0", "q8_0"))),
        ("0.24.0-gemma3", core.Runner(9, GEMMA, 37031)),
        ("0.24.0-llama", core.Runner(9, LLAMA, 45017)),
    ],
)
def test_real_command_lines(name: str, runner: core.Runner) -> None:
    found = core.parse_runner(9, command(name).split())
    assert found == runner
    assert found.is_llama_server == name.startswith("0.34")
    assert found.context == (4096 if found.is_llama_server else None)


def test_threads_of_a_model_with_num_thread() -> None:
    found = core.parse_runner(9, [*command("0.34.0-llama").split(), "-t", "3"])
    assert found
    assert found.threads == 3


@pytest.mark.parametrize(
    "line",
    [
        "",
        "/opt/ollama/bin/ollama serve",
        "/opt/ollama/bin/ollama runner --ollama-engine --port 33859",  # looks for GPUs
        "llama-server --model /a/model.gguf --port 1",
        f"llama-server --model /a/{GEMMA}",
        f"llama-server --model /a/{GEMMA} --port many",
    ],
)
def test_other_processes_are_no_runners(line: str) -> None:
    assert core.parse_runner(9, line.split(" ")) is None


def test_weights_of_a_model() -> None:
    show = json.loads((FIXTURES / "models/gemma3-270m-capped-show.json").read_text())
    assert core.blobs_of(show) == [GEMMA]
    assert core.blobs_of({}) == []
    # A projector has a line of its own; what the comment names is no file.
    text = f"# FROM a:1\nFROM /my models/{GEMMA}\nFROM /b/{LLAMA}\nSYSTEM FROM the sea\n"
    assert core.blobs_of({"modelfile": text}) == [GEMMA, LLAMA]


def test_the_runner_of_a_model_among_others(fake: FakeHost) -> None:
    fake.process(77)
    fake.process(78, 77, command("0.34.0-llama"))
    fake.process(79, 77, "/bin/sh -c wrapper")
    fake.process(80, 79, command("0.34.0-gemma3"))
    fake.process(81, 1, command("0.24.0-gemma3"))  # of another server
    (fake.proc / "82").mkdir()  # about to end
    found = core.find_runner(77, [GEMMA], str(fake.proc))
    assert found
    assert found.pid == 80
    assert core.find_runner(77, ["sha256-other"], str(fake.proc)) is None
    assert core.descendants(77, str(fake.proc)) == [78, 79, 80]


def test_a_runner_that_ends_while_it_is_looked_at(fake: FakeHost) -> None:
    fake.process(77)
    (fake.process(78, 77, command("0.34.0-llama")) / "cmdline").unlink()
    fake.process(79, 77, command("0.34.0-llama"))
    found = core.find_runner(77, [LLAMA], str(fake.proc))
    assert found
    assert found.pid == 79


def test_peaks_are_the_kernels_own_record(fake: FakeHost) -> None:
    fake.process(77, peak_mib=60)
    fake.process(78, 77, peak_mib=500)
    (fake.process(79, 77) / "status").unlink()
    (fake.process(80, 77) / "status").write_text("Name:\ta\nState:\tZ (zombie)\n")
    assert core.peaks(77, str(fake.proc)) == [60 << 20, 500 << 20, 0]
    with pytest.raises(Unhealthy, match="Process 99 has just ended"):
        core.peaks(99, str(fake.proc))


def test_when_a_process_was_started(fake: FakeHost) -> None:
    fake.process(77)
    assert core.started(77, str(fake.proc)) == BOOT + 100
    with pytest.raises(Unhealthy, match="Process 78 has just ended"):
        core.started(78, str(fake.proc))


def test_environment(fake: FakeHost) -> None:
    fake.process(77, environment={"A": "b=c", "EMPTY": ""})
    assert core.read_environ(77, str(fake.proc)) == {"A": "b=c", "EMPTY": ""}


def test_what_only_root_may_read(fake: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    fake.process(77)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    monkeypatch.setattr(Path, "readlink", refuse)
    with pytest.raises(Unhealthy, match=r"environment of process 77 may not be read\. Use become: true"):
        core.read_environ(77, str(fake.proc))
    with pytest.raises(Unhealthy, match=r"program of process 77 may not be read\. Use become: true"):
        core.executable(77, str(fake.proc))


def test_a_process_that_just_ended(fake: FakeHost) -> None:
    for read in (core.read_environ, core.executable, core.command_line):
        with pytest.raises(Unhealthy, match=r"Process 78 has just ended\. Look at the service's log"):
            read(78, str(fake.proc))
