# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is found on servers that work, that do not, and that are something else."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils import health as core
from ansible_collections.llmops.ollama.plugins.module_utils.client import Client
from ansible_collections.llmops.ollama.plugins.module_utils.effective import Host, Wanted
from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import definitions
from ansible_collections.llmops.ollama.plugins.module_utils.model_lock import parse
from ansible_collections.llmops.ollama.plugins.module_utils.systemd import Completed, Systemd, parse_time
from fake_host import STARTED, FakeHost
from fake_http import Answer, FakeServer, Json, Stream

TOKEN = {"model": "a:1", "response": "Hi", "done": False}
END = {"model": "a:1", "response": "", "done": True, "done_reason": "length", "eval_count": 1}


class FakeOllama(FakeServer):
    """Answers the three requests of the checks; what a test sets in ``answers`` replaces an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[str, Answer | Stream | None] = {
            "GET /api/tags": Answer(
                200, {"models": [{"name": "a:1", "details": {"quantization_level": "Q8_0"}}, {"name": "b:2"}]}
            ),
            "GET /api/version": Answer(200, {"version": "0.34.0"}),
            "POST /api/generate": Stream([TOKEN, END]),
        }

    def answer(self, request: str, body: Json) -> Answer | Stream | None:
        return self.answers[request]


@pytest.fixture
def ollama() -> Iterator[FakeOllama]:
    with FakeOllama() as fake:
        yield fake


@pytest.fixture
def client(ollama: FakeOllama) -> Iterator[Client]:
    with Client(ollama.url, timeout=5) as client:
        yield client


def found(health: core.Health) -> dict[str, bool]:
    return {check.name: check.ok for check in health.checks}


def detail(health: core.Health, name: str) -> str:
    (text,) = [check.detail for check in health.checks if check.name == name]
    return text


# --- the server ----------------------------------------------------------------------------------------------------


def test_live(ollama: FakeOllama, client: Client) -> None:
    health = core.Examination(client).run()
    assert (health.healthy, health.level, health.version, health.models) == (
        True,
        "live",
        "0.34.0",
        (core.Installed("a:1", "Q8_0"), core.Installed("b:2", "")),
    )
    assert found(health) == {"api": True, "version": True}
    assert ollama.log == ["GET /api/tags", "GET /api/version"]


def test_ready_generates_one_token_of_the_first_model(ollama: FakeOllama, client: Client) -> None:
    health = core.Examination(client, "ready").run()
    assert found(health) == {"api": True, "version": True, "generate": True}
    sent = ollama.bodies[-1]
    # Any other option could differ from what the clients send, and the server would load the model anew.
    assert sent["options"] == {"num_predict": 1}
    assert sent["model"] == "a:1"
    assert set(sent) == {"model", "prompt", "options", "stream"}


def test_ready_takes_the_model_that_is_named(ollama: FakeOllama, client: Client) -> None:
    assert core.Examination(client, "ready", model="b:2").run().healthy
    assert ollama.bodies[-1]["model"] == "b:2"


@pytest.mark.parametrize(
    ("request_line", "answer", "level", "failing", "words"),
    [
        ("GET /api/tags", None, "ready", ["api"], "No answer from"),
        ("GET /api/tags", Answer(500, {"error": "broken store"}), "ready", ["api"], "answered 500: broken store"),
        ("GET /api/tags", Answer(200, b"<html>Login</html>"), "ready", ["api"], "not another service or a login page"),
        ("GET /api/version", Answer(502, b""), "ready", ["version"], "answered 502"),
        ("GET /api/version", Answer(200, {}), "live", ["version"], "names no version"),
        ("GET /api/tags", Answer(200, {"models": None}), "ready", ["generate"], "No model is installed"),
        (
            "POST /api/generate",
            Answer(404, {"error": "model 'a:1' not found"}),
            "ready",
            ["generate"],
            "Pull a:1, or choose one that is installed (a:1, b:2)",
        ),
        (
            "POST /api/generate",
            Answer(500, {"error": "model requires more system memory (9 GiB) than is available (4 GiB)"}),
            "ready",
            ["generate"],
            "requires more system memory",
        ),
        ("POST /api/generate", Stream([{"error": "runner died"}]), "ready", ["generate"], "runner died"),
        ("POST /api/generate", Stream([TOKEN]), "ready", ["generate"], "without saying that it is done"),
        ("POST /api/generate", Stream([TOKEN], broken=True), "ready", ["generate"], "broke off"),
    ],
)
def test_servers_that_do_not_work(  # one column each
    ollama: FakeOllama,
    client: Client,
    request_line: str,
    answer: Any,
    level: str,
    failing: list[str],
    words: str,
) -> None:
    ollama.answers[request_line] = answer
    health = core.Examination(client, level).run()
    assert [name for name, ok in found(health).items() if not ok] == failing
    assert not health.healthy
    assert words in detail(health, failing[0]).replace(" and not another", " not another")


def test_nobody_there(closed_port: int) -> None:
    with Client(f"http://127.0.0.1:{closed_port}", timeout=5) as client:
        health = core.Examination(client, "ready").run()
    assert found(health) == {"api": False}
    assert "Connection refused" in detail(health, "api")
    assert "systemctl status ollama" in detail(health, "api")
    assert health.checks[0].remedy
    assert detail(health, "api").endswith(f" {health.checks[0].remedy}")
    assert (health.version, health.models) == ("", ())


def test_latency_is_the_time_of_the_check(client: Client) -> None:
    times = iter([0.0, 0.25, 1.0, 1.0015])
    health = core.Examination(client, clock=lambda: next(times)).run()
    assert [check.latency_ms for check in health.checks] == [250.0, 1.5]


# --- the environment of its process --------------------------------------------------------------------------------

# The last variable has an empty value, the one before contains an equals sign.
ENVIRON = {"PATH": "/bin", "OLLAMA_NUM_PARALLEL": "2", "LLAMA_ARG": "a=b", "OLLAMA_DEBUG": ""}


@pytest.fixture
def fake(tmp_path: Path) -> FakeHost:
    host = FakeHost(tmp_path)
    host.process(77, environment=ENVIRON)
    return host


def examine(client: Client, fake: FakeHost, wanted: Mapping[str, str], **properties: str) -> core.Health:
    fake.properties.update(properties)
    return core.Examination(client, wanted=Wanted(environment=wanted), host=fake.host).run()


def test_environment_as_wanted(client: Client, fake: FakeHost) -> None:
    wanted = {"OLLAMA_NUM_PARALLEL": "2", "LLAMA_ARG": "a=b", "OLLAMA_DEBUG": ""}
    health = examine(client, fake, wanted)
    assert found(health)["environment"]
    assert detail(health, "environment") == "process 77 of ollama.service has all 3 variables"


def test_each_variable_that_differs_is_named(client: Client, fake: FakeHost) -> None:
    health = examine(client, fake, {"OLLAMA_NUM_PARALLEL": "4", "OLLAMA_KEEP_ALIVE": "24h", "LLAMA_ARG": "a=b"})
    assert not health.healthy
    assert detail(health, "environment") == (
        "Process 77 of ollama.service differs: OLLAMA_KEEP_ALIVE should be '24h' and is not set;"
        " OLLAMA_NUM_PARALLEL should be '4' and is '2'."
        " Run site.yml; if it stays, see what else sets it (systemctl cat ollama.service)."
    )


@pytest.mark.parametrize("name", ["override.conf", "more.env"])
def test_a_file_that_overrides_a_variable_is_named(client: Client, fake: FakeHost, name: str) -> None:
    unit, tuned, later = (fake.root / each for each in ("ollama.service", "50-tuning.conf", name))
    unit.write_text("[Service]\nEnvironment=OLLAMA_NUM_PARALLEL=2\nEnvironment=OLLAMA_DEBUG=\n")
    tuned.write_text('[Service]\nEnvironment="OLLAMA_NUM_PARALLEL=4"\n')
    later.write_text(
        "OLLAMA_NUM_PARALLEL=2\n" if name == "more.env" else "[Service]\nEnvironment=OLLAMA_NUM_PARALLEL=2\n"
    )
    before = parse_time(STARTED) - 60
    for file in (unit, tuned, later):
        os.utime(file, (before, before))
    properties = {"FragmentPath": str(unit), "DropInPaths": f"{tuned} {later}"}
    if name == "more.env":
        properties.update(DropInPaths=str(tuned), EnvironmentFiles=f"{later} (ignore_errors=no)")
    wanted = {"OLLAMA_NUM_PARALLEL": "4", "OLLAMA_DEBUG": "1"}
    assert detail(examine(client, fake, wanted, **properties), "environment").endswith(
        f"and is '2'. {later} overrides OLLAMA_NUM_PARALLEL: take it out there, or set it in ollama_environment,"
        " then run site.yml."
    )
    # What the role's own files say, site.yml corrects.
    assert "Run site.yml; if it stays" in detail(
        examine(client, fake, {"OLLAMA_DEBUG": "1"}, **properties), "environment"
    )


def test_unit_files_that_systemd_has_not_read_are_mentioned(client: Client, fake: FakeHost) -> None:
    health = examine(client, fake, {"OLLAMA_NUM_PARALLEL": "4"}, NeedDaemonReload="yes")
    assert detail(health, "environment").endswith(
        "Its unit files were changed without telling systemd. Restart it (systemctl daemon-reload && systemctl restart"
        " ollama.service); where that does not help, run site.yml."
    )


def test_a_service_without_a_process(client: Client, fake: FakeHost) -> None:
    health = examine(client, fake, {"A": "b"}, MainPID="0")
    assert "ollama.service has no running process. Start it" in detail(health, "environment")


def test_the_environment_is_looked_at_even_where_the_api_is_silent(
    ollama: FakeOllama, client: Client, fake: FakeHost
) -> None:
    ollama.answers["GET /api/tags"] = None
    assert found(examine(client, fake, {"OLLAMA_NUM_PARALLEL": "2"})) == {"api": False, "environment": True}


def test_systemd_is_not_asked_where_nothing_is_wanted(client: Client) -> None:
    def run(command: Sequence[str], timeout: float) -> Completed:
        raise AssertionError("asked")

    assert core.Examination(client, "ready", host=Host(Systemd(run))).run().healthy


# --- everything in effect ------------------------------------------------------------------------------------------

EFFECTIVE = Wanted({"OLLAMA_NUM_PARALLEL": "2", "OLLAMA_CONTEXT_LENGTH": "4096"}, {"MemoryHigh": "2G"}, gpu="all")


def prepare(ollama: FakeOllama, fake: FakeHost) -> None:
    """Have ``a:1`` loaded as ``EFFECTIVE`` says."""
    blob = "sha256-" + "a" * 64
    port = ollama.host.rpartition(":")[2]
    fake.process(78, 77, f"llama-server --model /models/blobs/{blob} --port {port} -c 8192 -np 2")
    (fake.proc / "77/environ").write_text("OLLAMA_NUM_PARALLEL=2\0OLLAMA_CONTEXT_LENGTH=4096\0")
    fake.properties["MemoryHigh"] = "2147483648"
    entry = {"name": "a:1", "size": 9, "size_vram": 9, "context_length": 4096}
    ollama.answers.update(
        {
            "POST /api/show": Answer(200, {"modelfile": f"FROM /models/blobs/{blob}\n"}),
            "GET /api/ps": Answer(200, {"models": [entry]}),
            "GET /props": Answer(200, {"total_slots": 2}),
        }
    )


def prove(client: Client, fake: FakeHost, wanted: Wanted = EFFECTIVE) -> core.Health:
    return core.Examination(client, "effective", wanted=wanted, host=fake.host).run()


def test_effective(ollama: FakeOllama, client: Client, fake: FakeHost) -> None:
    prepare(ollama, fake)
    health = prove(client, fake)
    names = "api version generate environment unit settings runner slots context gpu fit"
    assert found(health) == dict.fromkeys(names.split(), True), [each.detail for each in health.checks]


def test_where_no_model_is_declared_all_else_is_proved(ollama: FakeOllama, client: Client, fake: FakeHost) -> None:
    prepare(ollama, fake)
    fake.properties["NeedDaemonReload"] = "yes"
    health = core.Examination(client, "effective", wanted=EFFECTIVE, host=fake.host, models=[]).run()
    assert found(health) == {**dict.fromkeys(["api", "version", "environment", "settings", "fit"], True), "unit": False}
    assert not [request for request in ollama.log if "generate" in request]


def test_numbers_that_a_model_was_declared_with() -> None:
    parameters = {"num_thread": "4", "num_gpu": 0, "temperature": 0.5, "stop": "x"}
    declared = definitions(["a:1", {"name": "b", "parameters": parameters}])
    own = {"num_thread": 4, "num_gpu": 0}
    assert [core.own_numbers(name, declared) for name in ("a:1", "b:latest", "B", "c")] == [{}, own, own, {}]


def test_a_failed_proof_hides_no_other(ollama: FakeOllama, client: Client, fake: FakeHost) -> None:
    prepare(ollama, fake)
    fake.properties["NeedDaemonReload"] = "yes"
    wrong = {"OLLAMA_NUM_PARALLEL": "4", "OLLAMA_CONTEXT_LENGTH": "4096"}
    health = prove(client, fake, Wanted(wrong, {"MemoryHigh": "64M"}))
    assert [name for name, ok in found(health).items() if not ok] == ["environment", "unit", "slots", "fit"]


def test_without_an_answer_the_process_is_still_looked_at(ollama: FakeOllama, client: Client, fake: FakeHost) -> None:
    prepare(ollama, fake)
    ollama.answers["GET /api/tags"] = None
    assert found(prove(client, fake)) == {
        "api": False,
        "environment": True,
        "unit": True,
        "settings": True,
        "fit": True,
    }


def test_a_model_that_could_not_be_loaded_is_not_looked_for(ollama: FakeOllama, client: Client, fake: FakeHost) -> None:
    prepare(ollama, fake)
    ollama.answers["POST /api/generate"] = Answer(500, {"error": "no memory"})
    health = prove(client, fake)
    assert "runner" not in found(health)
    assert [name for name, ok in found(health).items() if not ok] == ["generate"]


def test_a_model_that_only_embeds(ollama: FakeOllama, client: Client) -> None:
    ollama.answers["POST /api/generate"] = Answer(400, {"error": '"a:1" does not support generate'})
    ollama.answers["POST /api/embed"] = Answer(200, {"embeddings": [[0.5]]})
    health = core.Examination(client, "ready").run()
    assert detail(health, "generate") == "a:1 generates no text, and embedded one"
    assert ollama.bodies[-1] == {"model": "a:1", "input": "Hello"}


@pytest.mark.parametrize(
    ("level", "keep", "sent"),
    [
        ("effective", "0", "1m"),
        ("effective", "0ms", "1m"),
        ("effective", "24h", None),
        ("effective", None, None),
        ("ready", "0", None),
    ],
)
@pytest.mark.parametrize("of_process", [False, True])
@pytest.mark.parametrize("embeds", [False, True])
def test_a_model_stays_for_as_long_as_it_is_looked_at(
    ollama: FakeOllama,
    client: Client,
    fake: FakeHost,
    level: str,
    keep: str | None,
    sent: str | None,
    of_process: bool,
    embeds: bool,
) -> None:
    if embeds:
        ollama.answers["POST /api/generate"] = Answer(400, {"error": '"a:1" does not support generate'})
        ollama.answers["POST /api/embed"] = Answer(200, {"embeddings": [[0.5]]})
    variables = {"OLLAMA_KEEP_ALIVE": keep} if keep else {}
    own = "".join(f"{name}={value}\0" for name, value in variables.items()) if of_process else ""
    (fake.proc / "77" / "environ").write_text(own)
    wanted = Wanted({} if of_process else variables)
    health = core.Examination(client, level, wanted=wanted, host=fake.host).run()
    asked = zip(ollama.log, ollama.bodies, strict=True)
    bodies = [body for line, body in asked if line in ("POST /api/generate", "POST /api/embed")]
    assert [body.get("keep_alive") for body in bodies] == [sent] * (2 if embeds else 1)
    assert abs(health.began - time.time()) < 60


def test_without_root_each_check_says_what_is_needed(
    ollama: FakeOllama, client: Client, fake: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, readlink = Path.read_bytes, Path.readlink

    def refuse(self: Path) -> bytes:
        if self.name == "environ":
            raise PermissionError(13, "Permission denied")
        return read(self)

    def refuse_link(self: Path) -> Path:
        if self.name == "exe":
            raise PermissionError(13, "Permission denied")
        return readlink(self)

    prepare(ollama, fake)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    monkeypatch.setattr(Path, "readlink", refuse_link)
    health = prove(client, fake)
    failed = [check for check in health.checks if not check.ok]
    assert [check.name for check in failed] == ["environment", "unit", "settings"]
    assert all("Use become: true" in check.detail for check in failed)


# --- waiting -------------------------------------------------------------------------------------------------------


def result(ok: bool) -> core.Health:
    return core.Health("live", "", (), (core.Check("api", ok, "text", 1.0),))


LOCK = parse(
    {
        "format": 1,
        "models": {
            "a:1": {"digest": "a" * 64, "weights": "1" * 64, "size": 1},
            "b:2": {"digest": "b" * 64, "weights": "2" * 64, "size": 1},
            "c:3": {"digest": "c" * 64, "weights": "3" * 64, "size": 1},
        },
    }
)


def tags(**digests: str) -> Answer:
    models = [
        {"name": f"{name}:{number}", "digest": digest * 64} for number, (name, digest) in enumerate(digests.items(), 1)
    ]
    return Answer(200, {"models": models})


def test_models_are_compared_with_the_lock(ollama: FakeOllama, client: Client) -> None:
    ollama.answers["GET /api/tags"] = tags(a="a", b="d", c="c")
    ollama.answers["POST /api/show"] = Answer(200, {"modelfile": f"FROM /models/blobs/sha256-{'9' * 64}"})
    health = core.Examination(client, lock=LOCK).run()
    assert found(health) == {"api": True, "version": True, "lock": False}
    assert detail(health, "lock").startswith(
        f"Models drifted from the lock: b:2 has the digest {'d' * 12} and is pinned to {'b' * 12}. Run site.yml"
    )
    # With parameters set over it, it still has the pinned weights.
    ollama.answers["POST /api/show"] = Answer(200, {"modelfile": f"FROM /models/blobs/sha256-{'2' * 64}"})
    assert core.Examination(client, lock=LOCK).run().healthy


def test_only_the_pins_of_the_declared_models_count(ollama: FakeOllama, client: Client) -> None:
    ollama.answers["GET /api/tags"] = tags(a="a")
    health = core.Examination(client, lock=LOCK).run()
    assert "b:2 is missing" in detail(health, "lock")
    assert "c:3 is missing" in detail(health, "lock")
    assert core.Examination(client, lock=LOCK, models=definitions(["a:1"])).run().healthy
    made_of_b = definitions(["a:1", {"name": "mine", "from": "b:2"}])
    assert "b:2 is missing" in detail(core.Examination(client, lock=LOCK, models=made_of_b).run(), "lock")


@pytest.mark.parametrize(
    ("wait", "healthy_at", "looks", "healthy"),
    [
        (0, 1, 1, True),
        (0, 2, 1, False),
        (2, 3, 3, True),
        (2, 99, 5, False),  # at 0, 0.5, 1, 1.5 and 2 s
    ],
)
def test_waiting_is_bounded(wait: float, healthy_at: int, looks: int, healthy: bool) -> None:
    now = 0.0
    count = 0

    def look() -> core.Health:
        nonlocal count
        count += 1
        return result(count >= healthy_at)

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    health = core.wait_for(look, wait, clock=lambda: now, sleep=sleep)
    assert (count, health.healthy) == (looks, healthy)


def test_the_message_lists_every_failed_check() -> None:
    checks = (
        core.Check("api", True, "fine", 1),
        core.Check("generate", False, "No model.", 1),
        core.Check("environment", False, "A is missing.", 1),
    )
    text = core.message(core.Health("ready", "", (), checks), "http://x")
    assert text == "http://x is not healthy: (generate) No model. (environment) A is missing."
