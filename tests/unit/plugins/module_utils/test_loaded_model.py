# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A model loaded by real servers of both engines (command lines and logs recorded), and each way it may be wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils import loaded_model as core
from ansible_collections.llmops.ollama.plugins.module_utils.client import Client
from ansible_collections.llmops.ollama.plugins.module_utils.effective import Wanted
from ansible_collections.llmops.ollama.plugins.module_utils.errors import OllamaError, Unhealthy
from fake_host import FIXTURES, SERVER, SERVICE, FakeHost
from fake_http import Answer, FakeServer, Json, Stream

NEW, OLD = "0.34.0", "0.24.0"
LOGS = {NEW: "llama-server-0.34.0-two-models-p2-4096-q8_0", OLD: "ollama-0.24.0-two-models-p2-4096-q8_0"}
# As the recorded servers were started; the first one on a machine with two processors.
ENVIRONMENT = {"OLLAMA_NUM_PARALLEL": "2", "OLLAMA_CONTEXT_LENGTH": "4096", "OLLAMA_KV_CACHE_TYPE": "q8_0"}
THREADS = {"LLAMA_ARG_THREADS": "1"}
RUNNER = 80
MIB = 1 << 20


class Machine(FakeServer):
    """A server that has gemma3:270m and llama-gqa loaded; its answers are those of Ollama and of llama-server."""

    def __init__(self, root: Path, version: str) -> None:
        super().__init__()
        self.version, self.fake = version, FakeHost(root)
        self.show = json.loads((FIXTURES / "models/gemma3-270m-capped-show.json").read_text())
        self.show["parameters"] = ""
        entry = {"size": 309 * MIB, "size_vram": 0, "context_length": 4096}
        self.ps: list[Json] = [{"name": "llama-gqa:latest", **entry}, {"name": "gemma3:270m", **entry}]
        self.shows: dict[str, Json] = {}  # of other models
        self.props: Answer | None = Answer(200, {"total_slots": 2, "default_generation_settings": {"n_ctx": 4096}})
        self.fake.process(SERVER)
        self.runner_port = 0
        commands = {RUNNER - 1: self.command("llama"), RUNNER: self.command("gemma3")}
        self.fake.journal = (FIXTURES / f"logs/{LOGS[version]}.log").read_text()
        for pid, command in commands.items():
            self.fake.process(pid, SERVER, command, THREADS if version == NEW else {})

    def command(self, model: str) -> str:
        return (FIXTURES / f"runners/{self.version}-{model}.txt").read_text().strip()

    def change(self, old: str, new: str) -> None:
        """Start the runner of gemma3 with another command line."""
        file = self.fake.proc / str(RUNNER) / "cmdline"
        content = file.read_bytes().replace(b"\0", b" ").decode()
        assert old in content
        file.write_bytes(content.replace(old, new).replace(" ", "\0").encode())

    def redirect(self) -> None:
        """Let the runner listen where this fake does."""
        old = re.search(r"--port (\d+)", self.command("gemma3"))
        assert old
        self.change(f"--port {old[1]}", f"--port {self.host.rpartition(':')[2]}")
        self.fake.journal = self.fake.journal.replace(f"--port {old[1]}", f"--port {self.host.rpartition(':')[2]}")

    def answer(self, request: str, body: Json) -> Answer | Stream | None:
        if request == "POST /api/show":
            return Answer(200, self.shows.get(str(body.get("model")), self.show))
        if request == "GET /api/ps":
            return Answer(200, {"models": self.ps})
        if request == "GET /props":
            return self.props
        return super().answer(request, body)


@pytest.fixture(params=[NEW, OLD])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    with Machine(tmp_path, request.param) as machine:
        machine.redirect()
        yield machine


@pytest.fixture
def new(tmp_path: Path) -> Iterator[Machine]:
    with Machine(tmp_path, NEW) as machine:
        machine.redirect()
        yield machine


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Machine]:
    with Machine(tmp_path, OLD) as machine:
        machine.redirect()
        yield machine


def look(
    machine: Machine, name: str = "gemma3:270m", own: dict[str, int] | None = None, **wanted: Any
) -> dict[str, str]:
    """What each check said; the text of a failed one begins with ``FAILED``."""
    said = {}
    with Client(machine.url, timeout=5) as client:
        model = core.Model(client, Wanted(**wanted), SERVICE, machine.fake.host, name, own)
        for check, run in model.checks():
            try:
                said[check] = run()
            except OllamaError as error:
                said[check] = f"FAILED {error}"
    return said


# --- as it should be -----------------------------------------------------------------------------------------------


def test_llama_server_as_wanted(new: Machine) -> None:
    port = new.host.rpartition(":")[2]
    assert look(new, environment={**ENVIRONMENT, **THREADS}) == {
        "runner": f"process 80 (llama-server, port {port}) runs gemma3:270m",
        "slots": "gemma3:270m has 2 slots (-np 2, /props says 2)",
        "threads": "gemma3:270m runs with 1 thread (the load's log)",
        "kv_cache": "gemma3:270m keeps keys and values as q8_0",
        "context": "each slot of gemma3:270m has 4096 tokens (OLLAMA_CONTEXT_LENGTH)",
    }


def test_the_old_engine_as_wanted(old: Machine) -> None:
    port = old.host.rpartition(":")[2]
    assert look(old, environment=ENVIRONMENT, threads=2) == {
        "runner": f"process 80 (ollama runner, port {port}) runs gemma3:270m",
        "slots": "gemma3:270m has 2 slots (the load's log)",
        "threads": "gemma3:270m runs with 2 threads (the load's log)",
        "kv_cache": "gemma3:270m keeps keys and values as q8_0",
        "context": "each slot of gemma3:270m has 4096 tokens (OLLAMA_CONTEXT_LENGTH)",
    }


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({}, []),
        ({"environment": {"OLLAMA_CONTEXT_LENGTH": "0", "OLLAMA_NUM_PARALLEL": "many"}}, []),
        ({"environment": {"LLAMA_ARG_THREADS": "-1"}}, []),
        ({"environment": {"OLLAMA_CONTEXT_LENGTH": "4096"}}, ["context"]),
        ({"environment": {"OLLAMA_NUM_PARALLEL": "2"}}, ["runner", "slots"]),
        ({"environment": {"OLLAMA_KV_CACHE_TYPE": "q8_0"}}, ["runner", "kv_cache"]),
        ({"threads": 1}, ["runner", "threads"]),
        ({"gpu": "all"}, ["gpu"]),
    ],
)
def test_only_what_is_wanted_is_looked_at(new: Machine, wanted: dict[str, Any], names: list[str]) -> None:
    assert list(look(new, **wanted)) == names


def test_the_log_is_asked_for_the_time_of_the_load(old: Machine) -> None:
    look(old, environment=ENVIRONMENT)
    (command,) = [each for each in old.fake.commands if each.startswith("journalctl")]
    assert command.startswith("journalctl --unit=ollama.service --since=@1764000098 --until=@1764000104 ")


# --- the runner ----------------------------------------------------------------------------------------------------


def test_a_model_that_is_unloaded_at_once(either: Machine) -> None:
    either.ps = []
    (either.fake.proc / str(RUNNER) / "cmdline").write_bytes(b"")
    said = look(either, environment=ENVIRONMENT)
    assert list(said) == ["runner", "context"]
    assert said["runner"].endswith(f"though models are kept for 5m. {core.OTHER_OPTIONS}")


@pytest.mark.parametrize(
    ("keep", "loaded", "words"),
    [
        ("0", [], "at once. Raise OLLAMA_KEEP_ALIVE, or OLLAMA_MAX_LOADED_MODELS and memory where other"),
        ("30s", [], "at once. Raise OLLAMA_KEEP_ALIVE, or OLLAMA_MAX_LOADED_MODELS and memory where other"),
        (
            "24h",
            [],
            "at once, though models are kept for 24h. Another client has it loaded anew with options of its own",
        ),
        ("-1", ["other:1"], "(ollama_models). Or other:1 drove it out: raise OLLAMA_MAX_LOADED_MODELS and memory."),
    ],
)
def test_why_a_model_was_unloaded_again(new: Machine, keep: str, loaded: list[str], words: str) -> None:
    new.ps = [{"name": name} for name in loaded]
    new.shows = {"other:1": {**new.show, "modelfile": "FROM /m/blobs/sha256-" + "9" * 64}}
    (new.fake.proc / str(SERVER) / "environ").write_text(f"OLLAMA_KEEP_ALIVE={keep}\0")
    # What the process has counts, and not what it should have.
    wanted = {**ENVIRONMENT, "OLLAMA_KEEP_ALIVE": "1h"}
    assert words in look(new, environment=wanted)["context"]


def test_a_model_that_runs_under_the_name_of_another(either: Machine) -> None:
    """Of models of the same weights the server has one process, and lists the one that came first."""
    said = look(either, name="assistant", environment=ENVIRONMENT)
    assert "FAILED" not in said["runner"] + said["context"], said
    either.ps = [{"name": "other:1"}]
    either.shows = {"other:1": {**either.show, "modelfile": "FROM /m/blobs/sha256-" + "9" * 64}}
    assert "was unloaded again at once" in look(either, name="assistant", environment=ENVIRONMENT)["context"]
    # A projector may be shared by models of other weights.
    ours = str(either.show["modelfile"]).rpartition("FROM ")[2]
    either.shows["other:1"]["modelfile"] += f"\nFROM {ours}"
    assert "was unloaded again at once" in look(either, name="assistant", environment=ENVIRONMENT)["context"]


def test_a_server_that_is_not_the_services(either: Machine) -> None:
    (either.fake.proc / str(RUNNER) / "cmdline").write_bytes(b"sleep\0")
    said = look(either, environment=ENVIRONMENT)
    assert "slots" not in said
    assert "no child of process 77 of ollama.service runs it, so that another server seems to answer" in said["runner"]


def test_the_old_engine_without_its_log(old: Machine) -> None:
    old.fake.journal = "-- No entries --\n"
    said = look(old, environment=ENVIRONMENT)
    assert list(said) == ["runner", "context"]
    assert "the journal does not have it. Unload it (ollama stop gemma3:270m)" in said["runner"]


def test_a_journal_that_cannot_be_read(old: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    run = old.fake.run

    def broken(command: Any, timeout: float) -> Any:
        if command[0] == "journalctl":
            raise Unhealthy("journalctl did not end within 30 s.")
        return run(command, timeout)

    monkeypatch.setattr(old.fake, "run", broken)
    assert "it cannot be read: journalctl did not end within 30 s." in look(old, threads=2)["runner"]


def test_llama_server_needs_no_log(new: Machine) -> None:
    new.fake.journal = ""
    said = look(new, environment={**ENVIRONMENT, **THREADS})
    assert not [text for text in said.values() if text.startswith("FAILED")]
    assert said["threads"].endswith("1 thread (its environment; the journal does not have the load)")


# --- slots ---------------------------------------------------------------------------------------------------------


def test_too_few_slots(either: Machine) -> None:
    text = look(either, environment={"OLLAMA_NUM_PARALLEL": "4"})["slots"]
    assert text.startswith("FAILED gemma3:270m has 2 slots (")
    assert text.endswith(
        "and OLLAMA_NUM_PARALLEL should give it 4. Load it with the wanted settings (systemctl restart ollama.service)."
    )


def one_slot(machine: Machine) -> None:
    if machine.version == NEW:
        machine.change("-np 2", "-np 1")
        machine.props = Answer(200, {"total_slots": 1})
    machine.fake.journal = machine.fake.journal.replace("Parallel:2", "Parallel:1")


def test_one_slot_without_a_reason_is_a_failure(either: Machine) -> None:
    one_slot(either)
    assert look(either, environment=ENVIRONMENT)["slots"].startswith("FAILED gemma3:270m has 1 slot (")


@pytest.mark.parametrize(
    ("details", "capabilities", "reason"),
    [
        ({"family": "qwen3vl"}, ["completion", "vision"], "family qwen3vl is always given one slot"),
        ({"family": "bert"}, ["embedding"], "an embedding model is always given one slot"),
    ],
)
def test_models_that_always_have_one_slot(either: Machine, details: Json, capabilities: list[str], reason: str) -> None:
    one_slot(either)
    either.show.update(details=details, capabilities=capabilities)
    text = look(either, environment=ENVIRONMENT)["slots"]
    assert text == f"gemma3:270m has 1 slot: {reason}, whatever OLLAMA_NUM_PARALLEL says (2)"


def test_a_runner_that_says_otherwise_than_its_command_line(new: Machine) -> None:
    new.props = Answer(200, {"total_slots": 1})
    text = look(new, environment=ENVIRONMENT)["slots"]
    assert text.startswith("FAILED The runner of gemma3:270m was started with -np 2, /props says 1 slots.")


@pytest.mark.parametrize(("answer", "words"), [(None, "No answer from"), (Answer(401), "answered 401")])
def test_a_runner_that_does_not_answer(new: Machine, answer: Answer | None, words: str) -> None:
    new.props = answer
    said = look(new, environment=ENVIRONMENT)
    assert said["slots"].startswith("FAILED")
    assert words in said["slots"]
    assert not said["kv_cache"].startswith("FAILED")


# --- threads -------------------------------------------------------------------------------------------------------


def test_the_old_engine_with_other_threads(old: Machine) -> None:
    assert look(old, threads=1)["threads"] == (
        "FAILED gemma3:270m runs with 2 threads (the load's log), and should with 1."
        " Set the parameter num_thread of gemma3:270m, or in the options of every request."
    )


def test_a_variable_that_the_old_engine_does_not_read(old: Machine) -> None:
    said = look(old, environment=THREADS)
    assert said["threads"] == "only LLAMA_ARG_THREADS is wanted, which this engine does not read"


@pytest.mark.parametrize(
    ("has", "words"), [("LLAMA_ARG_THREADS=4\0", "LLAMA_ARG_THREADS=4"), ("", "no LLAMA_ARG_THREADS")]
)
def test_a_runner_without_the_variable(new: Machine, has: str, words: str) -> None:
    (new.fake.proc / str(RUNNER) / "environ").write_text(has)
    text = look(new, environment=THREADS)["threads"]
    assert text.startswith(f"FAILED The runner of gemma3:270m has {words}, and should have 1.")
    assert "systemctl restart ollama.service" in text


def test_a_model_whose_parameter_wins(new: Machine) -> None:
    new.change("--keep 4", "--keep 4 -t 3")
    new.show["parameters"] = "num_ctx    4096\nnum_thread    3"
    assert look(new, environment=THREADS)["threads"] == (
        "FAILED gemma3:270m runs with 3 threads (-t 3 on its command line, from num_thread), and should with 1."
        " The model's parameter num_thread wins over LLAMA_ARG_THREADS. Have it made anew without"
        " (ollama rm gemma3:270m, then site.yml), or declare num_thread with it in ollama_models."
    )


@pytest.mark.parametrize(("brought", "own"), [("", None), ("num_thread 2", {"num_thread": 2})])
def test_threads_that_a_client_asks_for(new: Machine, brought: str, own: dict[str, int] | None) -> None:
    new.change("--keep 4", "--keep 4 -t 3")
    new.show["parameters"] = brought
    assert look(new, environment=THREADS, own=own)["threads"].endswith(f". {core.OTHER_OPTIONS}")


def test_a_parameter_that_was_declared_is_as_wanted(new: Machine) -> None:
    new.change("--keep 4", "--keep 4 -t 3")
    new.show["parameters"] = "num_thread 3"
    assert look(new, environment=THREADS, own={"num_thread": 3})["threads"] == (
        "gemma3:270m runs with 3 threads (-t 3 on its command line, from num_thread)"
    )
    assert "have the model made anew" in look(new, environment=THREADS, own={"num_thread": 4})["threads"]


def test_a_parameter_that_was_declared_for_the_old_engine_is_as_wanted(old: Machine) -> None:
    assert look(old, threads=1, own={"num_thread": 2})["threads"] == "gemma3:270m runs with 2 threads (the load's log)"


def test_a_log_with_other_threads_than_the_variable(new: Machine) -> None:
    new.fake.journal = new.fake.journal.replace("n_threads = 1 ", "n_threads = 2 ")
    text = look(new, environment=THREADS)["threads"]
    assert "FAILED gemma3:270m runs with 2 threads (the load's log), and should with 1." in text


def test_threads_that_nothing_tells(new: Machine) -> None:
    new.fake.journal = ""
    text = look(new, threads=2)["threads"]
    assert text.startswith("FAILED gemma3:270m does not say how many threads it has, and should with 2.")


# --- cache ---------------------------------------------------------------------------------------------------------


def test_a_quantized_cache_that_was_refused(either: Machine) -> None:
    if either.version == NEW:
        either.change("--cache-type-k q8_0 --cache-type-v q8_0 ", "")
    either.fake.journal = either.fake.journal.replace("KvCacheType:q8_0", "KvCacheType:")
    text = look(either, environment=ENVIRONMENT)["kv_cache"]
    assert text.startswith(
        "FAILED gemma3:270m keeps keys and values as f16, and OLLAMA_KV_CACHE_TYPE should make them q8_0."
    )
    assert "OLLAMA_FLASH_ATTENTION=1" in text
    assert not look(either, environment={"OLLAMA_KV_CACHE_TYPE": "f16"})["kv_cache"].startswith("FAILED")


def test_a_cache_that_is_quantized_though_it_should_not(either: Machine) -> None:
    text = look(either, environment={"OLLAMA_KV_CACHE_TYPE": "f16"})["kv_cache"]
    assert text.startswith("FAILED gemma3:270m keeps keys and values as q8_0")
    assert "FLASH" not in text


# --- context -------------------------------------------------------------------------------------------------------


def test_a_context_of_another_length(either: Machine) -> None:
    text = look(either, environment={"OLLAMA_CONTEXT_LENGTH": "8192"})["context"]
    assert text.startswith(
        "FAILED Each slot of gemma3:270m has 4096 tokens, and should have 8192 (OLLAMA_CONTEXT_LENGTH)."
    )
    assert "a client that sends num_ctx" in text


def test_a_runner_with_less_than_the_server_says(new: Machine) -> None:
    new.change("-c 8192", "-c 4096")
    text = look(new, environment=ENVIRONMENT)["context"]
    assert "has 2048 tokens, and should have 4096" in text


def test_a_model_with_a_context_of_its_own(either: Machine) -> None:
    show = json.loads((FIXTURES / "models/gemma3-270m-capped-show.json").read_text())
    either.show["parameters"] = show["parameters"]
    either.ps[1]["context_length"] = 2048
    said = look(either, environment={"OLLAMA_CONTEXT_LENGTH": "4096"})
    assert said["context"] == (
        "each slot of gemma3:270m has 2048 tokens"
        " (the model's parameter num_ctx, which wins over OLLAMA_CONTEXT_LENGTH)"
    )


def test_a_context_beyond_what_the_model_was_trained_for(either: Machine) -> None:
    either.ps[1]["context_length"] = 32768
    said = look(either, environment={"OLLAMA_CONTEXT_LENGTH": "65536"})
    assert said["context"] == (
        "each slot of gemma3:270m has 32768 tokens (what the model was trained for, OLLAMA_CONTEXT_LENGTH is 65536)"
    )


def test_a_model_that_sees_has_a_least_context(either: Machine) -> None:
    either.show["capabilities"] = ["completion", "vision"]
    either.ps[1]["context_length"] = 2048
    said = look(either, environment={"OLLAMA_CONTEXT_LENGTH": "1024"})
    assert "the least for a model that sees, OLLAMA_CONTEXT_LENGTH is 1024" in said["context"]
    assert not said["context"].startswith("FAILED")


# --- GPU -----------------------------------------------------------------------------------------------------------


def test_models_on_the_gpu(either: Machine) -> None:
    for entry in either.ps:
        entry["size_vram"] = entry["size"]
    assert look(either, gpu="all")["gpu"] == "on the GPU altogether: llama-gqa:latest, gemma3:270m"


def test_a_fallback_to_the_cpu(either: Machine) -> None:
    either.ps[0]["size_vram"] = either.ps[0]["size"]
    either.ps[1]["size_vram"] = 100 * MIB
    text = look(either, gpu="all")["gpu"]
    assert text.startswith("FAILED CPU fallback: 100 of 309 MiB of gemma3:270m are on the GPU. Check that the driver")


def test_a_part_on_the_gpu(either: Machine) -> None:
    either.ps[1]["size_vram"] = 100 * MIB
    assert look(either, gpu="some")["gpu"] == "100 of 309 MiB of gemma3:270m are on the GPU"
    either.ps[1]["size_vram"] = 0
    text = look(either, gpu="some")["gpu"]
    assert text.startswith(
        "FAILED CPU fallback: the host has a GPU, and nothing of the 309 MiB of gemma3:270m is on it."
    )
    assert "gpu" not in look(either, own={"num_gpu": 0}, gpu="some"), "it was declared so"
    assert "gpu" not in look(either, gpu="none")


def test_nothing_on_the_gpu_since_nothing_is_loaded(either: Machine) -> None:
    either.ps = []
    assert look(either, gpu="all")["gpu"].startswith("FAILED No model is loaded")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("llama-gqa", "llama-gqa:latest", True), ("A:1", "a:1", True), ("a:1", "a:2", False), ("a b", "a b", True)],
)
def test_names_of_the_same_model(one: str, other: str, same: bool) -> None:
    assert core.same_model(one, other) == same
