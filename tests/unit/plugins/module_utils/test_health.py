# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is found on servers that work, that do not, and that are something else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils import health as core
from ansible_collections.llmops.ollama.plugins.module_utils.client import Client
from ansible_collections.llmops.ollama.plugins.module_utils.errors import Unhealthy
from ansible_collections.llmops.ollama.plugins.module_utils.systemd import Unit
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
    assert (health.version, health.models) == ("", ())


def test_latency_is_the_time_of_the_check(client: Client) -> None:
    times = iter([0.0, 0.25, 1.0, 1.0015])
    health = core.Examination(client, clock=lambda: next(times)).run()
    assert [check.latency_ms for check in health.checks] == [250.0, 1.5]


# --- the environment of its process --------------------------------------------------------------------------------

# As the kernel shows it; the last variable has an empty value, the one before contains an equals sign.
ENVIRON = b"PATH=/usr/bin\0OLLAMA_NUM_PARALLEL=2\0OLLAMA_HOST=0.0.0.0:11434\0LLAMA_ARG=a=b\0OLLAMA_DEBUG=\0"


@pytest.fixture
def proc(tmp_path: Path) -> str:
    (tmp_path / "77").mkdir()
    (tmp_path / "77" / "environ").write_bytes(ENVIRON)
    return str(tmp_path)


def examine(client: Client, proc: str, wanted: Mapping[str, str], **unit: Any) -> core.Health:
    state = {"name": "ollama.service", "main_pid": 77, **unit}
    return core.Examination(client, environment=wanted, show=lambda name: Unit(**state), proc=proc).run()


def test_environment_as_wanted(client: Client, proc: str) -> None:
    wanted = {"OLLAMA_NUM_PARALLEL": "2", "LLAMA_ARG": "a=b", "OLLAMA_DEBUG": ""}
    health = examine(client, proc, wanted)
    assert found(health)["environment"]
    assert detail(health, "environment") == "process 77 of ollama.service has all 3 variables"


def test_each_variable_that_differs_is_named(client: Client, proc: str) -> None:
    health = examine(client, proc, {"OLLAMA_NUM_PARALLEL": "4", "OLLAMA_KEEP_ALIVE": "24h", "LLAMA_ARG": "a=b"})
    assert not health.healthy
    assert detail(health, "environment") == (
        "Process 77 of ollama.service differs: OLLAMA_KEEP_ALIVE should be '24h' and is not set;"
        " OLLAMA_NUM_PARALLEL should be '4' and is '2'."
        " Apply the settings and restart it (systemctl daemon-reload && systemctl restart ollama.service)."
    )


def test_unit_files_that_systemd_has_not_read_are_mentioned(client: Client, proc: str) -> None:
    health = examine(client, proc, {"OLLAMA_NUM_PARALLEL": "4"}, need_daemon_reload=True)
    assert "Its unit files were changed without telling systemd." in detail(health, "environment")


def test_a_service_without_a_process(client: Client, proc: str) -> None:
    health = examine(client, proc, {"A": "b"}, main_pid=0)
    assert "ollama.service has no running process. Start it" in detail(health, "environment")


def test_the_environment_is_looked_at_even_where_the_api_is_silent(
    ollama: FakeOllama, client: Client, proc: str
) -> None:
    ollama.answers["GET /api/tags"] = None
    assert found(examine(client, proc, {"OLLAMA_NUM_PARALLEL": "2"})) == {"api": False, "environment": True}


def test_systemd_is_not_asked_where_no_environment_is_wanted(client: Client) -> None:
    def show(name: str) -> Unit:
        raise AssertionError("asked")

    assert core.Examination(client, show=show).run().healthy


def test_an_environment_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(Unhealthy, match=r"process 77 may not be read\. Use become: true"):
        core.read_environ(77, str(tmp_path))


def test_a_process_that_just_ended(tmp_path: Path) -> None:
    with pytest.raises(Unhealthy, match="Process 78 has just ended"):
        core.read_environ(78, str(tmp_path))


# --- waiting -------------------------------------------------------------------------------------------------------


def result(ok: bool) -> core.Health:
    return core.Health("live", "", (), (core.Check("api", ok, "text", 1.0),))


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
