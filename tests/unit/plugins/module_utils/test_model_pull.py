# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Pulls that go well, break, stall and deliver something else, against a server and a registry in this process."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.client import Client
from ansible_collections.llmops.ollama.plugins.module_utils.errors import (
    ChecksumMismatch,
    NoSpace,
    NotFound,
    OllamaError,
    UnexpectedAnswer,
    Unreachable,
)
from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import definitions
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from ansible_collections.llmops.ollama.plugins.module_utils.model_plan import Planner, Server, Step
from ansible_collections.llmops.ollama.plugins.module_utils.model_pull import Puller
from ansible_collections.llmops.ollama.plugins.module_utils.model_state import installed_models
from ansible_collections.llmops.ollama.plugins.module_utils.progress import Board
from ansible_collections.llmops.ollama.plugins.module_utils.registry import DEFAULT_URL, Registry, Source
from fake_http import Answer, FakeOllama, FakeRegistry, Stream

NAME = ModelName.parse("gemma3:270m")
SIZE = 100_000_000


@dataclass
class Desk:
    """A puller with its paper trail; its clock moves by a second each time somebody looks at it."""

    puller: Puller
    client: Client
    registry: Registry
    url: str
    said: list[str] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    def step(self, name: ModelName = NAME, mirror: bool = True) -> Step:
        installed = installed_models(self.client.tags())
        planner = Planner(installed, Server(self.client.has_blob), self.registry, self.url, latest=True)
        (step,) = planner.bring(definitions([str(name)]))
        self.puller.board = Board(self.said.append, [step.bytes_to_bring])
        self.puller.board.begin(str(name))
        # As if it came from Ollama's own registry: the same model under the plain name.
        return step if mirror else replace(step, source=Source(DEFAULT_URL, name))


@pytest.fixture
def desk(ollama: FakeOllama, registry: FakeRegistry) -> Iterator[Desk]:
    registry.publish("library/gemma3:270m", size=SIZE)
    ticks = itertools.count()
    with Client(ollama.url, 5.0) as client, Registry(5.0) as asker:
        pauses: list[float] = []
        board = Board(lambda text: None, [0])
        puller = Puller(client, 3, 30.0, board, clock=lambda: float(next(ticks)), wait=pauses.append)
        desk = Desk(puller, client, asker, registry.url, pauses=pauses)
        yield desk


# What goes well


def test_a_pull_from_the_default_registry(desk: Desk, ollama: FakeOllama) -> None:
    step = desk.step(mirror=False)
    assert desk.puller.install(step) == step.after
    assert list(ollama.models) == ["gemma3:270m"]
    assert ollama.log[-2:] == ["POST /api/pull", "GET /api/tags"]
    assert ollama.bodies[-2] == {"model": "gemma3:270m", "insecure": False, "stream": True}
    assert desk.pauses == []


def test_what_is_shown(desk: Desk) -> None:
    desk.puller.install(desk.step(mirror=False))
    weights = [line for line in desk.said if " % of " in line][:5]
    assert desk.said[0] == "gemma3:270m: pulling manifest"
    assert [line.partition(" of ")[0] for line in weights] == [
        "gemma3:270m: 0 %",
        "gemma3:270m: 24 %",
        "gemma3:270m: 49 %",
        "gemma3:270m: 74 %",
        "gemma3:270m: 99 %",
    ]
    assert desk.said[-3:] == [
        "gemma3:270m: verifying sha256 digest",
        "gemma3:270m: writing manifest",
        "gemma3:270m: success",
    ]


def test_a_pull_from_a_mirror_ends_under_the_plain_name(desk: Desk, ollama: FakeOllama) -> None:
    step = desk.step()
    assert desk.puller.install(step) == step.after
    assert list(ollama.models) == ["gemma3:270m"]
    alias = f"{ollama.registry.host}/library/gemma3:270m"
    assert list(zip(ollama.log, ollama.bodies, strict=True))[-5:] == [
        ("POST /api/pull", {"model": alias, "insecure": True, "stream": True}),
        ("GET /api/tags", {}),
        ("POST /api/copy", {"source": alias, "destination": "gemma3:270m"}),
        ("DELETE /api/delete", {"model": alias}),
        ("GET /api/tags", {}),
    ]


def test_the_name_with_the_mirror_stays_where_it_is_wanted(desk: Desk, ollama: FakeOllama) -> None:
    desk.puller.install(desk.step(), keep_alias=True)
    assert sorted(ollama.models) == sorted(["gemma3:270m", f"{ollama.registry.host}/library/gemma3:270m"])


def test_a_name_with_the_mirror_is_pulled_as_it_is(desk: Desk, ollama: FakeOllama) -> None:
    name = ModelName.parse(f"{ollama.registry.host}/library/gemma3:270m")
    desk.puller.install(desk.step(name))
    assert list(ollama.models) == [str(name)]


def test_an_update_never_leaves_the_name_empty_and_frees_the_old_layers(
    desk: Desk, ollama: FakeOllama, registry: FakeRegistry
) -> None:
    desk.puller.install(desk.step())
    digest = registry.publish("library/gemma3:270m", weights="new", size=SIZE)
    ollama.log.clear()
    ollama.bodies.clear()
    assert desk.puller.install(desk.step()).digest == digest
    assert list(ollama.models) == ["gemma3:270m"]
    changes = [
        (request, body.get("destination") or body.get("model"))
        for request, body in zip(ollama.log, ollama.bodies, strict=True)
        if request.startswith(("POST /api/copy", "DELETE"))
    ]
    host = registry.host
    assert changes == [
        ("POST /api/copy", f"{host}/library/gemma3:replaced-by-pull"),
        ("POST /api/copy", "gemma3:270m"),
        ("DELETE /api/delete", f"{host}/library/gemma3:replaced-by-pull"),
        ("DELETE /api/delete", f"{host}/library/gemma3:270m"),
    ]


def test_another_play_pulls_the_same_model_at_the_same_time(
    desk: Desk, ollama: FakeOllama, registry: FakeRegistry
) -> None:
    first, second = desk.step(), desk.step()
    desk.puller.install(first)
    ollama.queue.append(Stream([{"status": "success"}]))  # its pull ends with that of the other, which then renames
    assert desk.puller.install(second) == second.after
    assert list(ollama.models) == ["gemma3:270m"]


def test_another_play_renames_between_two_requests(
    desk: Desk, ollama: FakeOllama, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = desk.step()
    copy = desk.client.copy

    def rename_first(source: str, destination: str) -> None:
        copy(source, destination)
        desk.client.delete(source)
        copy(source, destination)

    monkeypatch.setattr(desk.client, "copy", rename_first)
    assert desk.puller.install(step) == step.after
    assert list(ollama.models) == ["gemma3:270m"]


# What breaks and passes


@pytest.mark.parametrize("fault", ["break", "end", "stall", "max retries exceeded: EOF", "pull model manifest: 503: "])
def test_a_broken_pull_is_resumed(desk: Desk, ollama: FakeOllama, fault: str) -> None:
    ollama.faults = [fault, fault]
    step = desk.step()
    assert desk.puller.install(step) == step.after
    assert desk.pauses == [1.0, 4.0]
    assert ollama.log.count("POST /api/pull") == 3
    retries = [line for line in desk.said if "Retry" in line]
    assert [line.rpartition(". ")[2] for line in retries] == ["Retry 1 of 3 in 1 s.", "Retry 2 of 3 in 4 s."]
    # The last attempt goes on from the half that was there, and that half is not counted as speed.
    resumed = desk.said[desk.said.index(retries[1]) + 2 :]
    assert resumed[0].startswith("gemma3:270m: 49 % of 100.0 MB, 0")


def test_retries_come_to_an_end(desk: Desk, ollama: FakeOllama) -> None:
    ollama.faults = ["break"] * 10
    with pytest.raises(Unreachable, match="broke off in the middle"):
        desk.puller.install(desk.step())
    assert ollama.log.count("POST /api/pull") == 4
    assert desk.pauses == [1.0, 4.0, 10.0]
    assert ollama.models == {}


def test_a_pull_that_stands_still_says_for_how_long(desk: Desk, ollama: FakeOllama) -> None:
    desk.puller.retries = 0
    ollama.faults = ["stall"]
    with pytest.raises(
        Unreachable, match=r"The pull of gemma3:270m stood still for 30 s\. Check the way .* http://127"
    ):
        desk.puller.install(desk.step())


def test_an_answer_that_ends_without_success(desk: Desk, ollama: FakeOllama) -> None:
    desk.puller.retries = 0
    ollama.faults = ["end"]
    with pytest.raises(Unreachable, match=r"ended after 'pulling [0-9a-f]{12}' and not with 'success'"):
        desk.puller.install(desk.step())


# What another try cannot cure


@pytest.mark.parametrize(
    ("line", "kind", "remedy"),
    [
        ("write /models/blobs/sha256-aa-partial: no space left on device", NoSpace, "Free some space"),
        ("pull model manifest: file does not exist", NotFound, "Check the spelling"),
        ("http: no Location header in response", UnexpectedAnswer, "A mirror must answer"),
        ("unauthorized: access denied", UnexpectedAnswer, "The model is private"),
        ('realm host "" does not match original host "edge:5001"', UnexpectedAnswer, "wants a login"),
        ("pull model manifest: 412: \n\nThe model you are attempting to pull requires a newer version of Ollama.\n",
         UnexpectedAnswer, "Install a newer Ollama"),
        ('Get "https://edge/v2/": http: server gave HTTP response to HTTPS client', UnexpectedAnswer, "plain http"),
    ],
)  # fmt: skip
def test_final_errors(desk: Desk, ollama: FakeOllama, line: str, kind: type[OllamaError], remedy: str) -> None:
    ollama.faults = [line]
    with pytest.raises(kind) as caught:
        desk.puller.install(desk.step())
    assert caught.value.problem.startswith(f"The pull of gemma3:270m from {ollama.registry.url} failed: ")
    assert line.strip().rstrip(".") in caught.value.problem
    assert remedy in caught.value.remedy
    assert caught.value.details["model"] == "gemma3:270m"
    assert desk.pauses == []
    assert ollama.models == {}


@pytest.mark.parametrize(
    ("line", "status", "words", "remedy"),
    [
        ("403: ", 403, "the registry answered 403: Forbidden.", "does not serve this host"),
        ("pull model manifest: 429: slow down", 429, "the registry answered 429: slow down.", "try again later"),
        ("500: <html><h1>Oh no</h1></html>", 500, "the registry answered 500: Oh no.", "registry's own log"),
    ],
)
def test_a_registry_that_refuses_the_server(
    desk: Desk, ollama: FakeOllama, line: str, status: int, words: str, remedy: str
) -> None:
    desk.puller.retries = 0
    ollama.faults = [line]
    with pytest.raises(UnexpectedAnswer) as caught:
        desk.puller.install(desk.step())
    assert caught.value.problem == f"The pull of gemma3:270m from {ollama.registry.url} failed: {words}"
    assert remedy in caught.value.remedy
    assert caught.value.details["status"] == status


@pytest.mark.parametrize(
    "fault",
    ["break", "max retries exceeded: EOF", 'Head "http://edge/": read tcp 10.0.0.1:2->10.0.0.2:5001: connection reset'],
)
def test_a_registry_that_does_not_answer_the_server(desk: Desk, ollama: FakeOllama, fault: str) -> None:
    desk.puller.retries = 0
    ollama.faults = [fault]
    with pytest.raises(OllamaError) as caught:
        desk.puller.install(desk.step())
    assert caught.value.problem.startswith(f"The pull of gemma3:270m from {ollama.registry.url} ")
    assert f"Check the way from the host to {ollama.registry.url}" in caught.value.remedy


def test_a_server_that_refuses_the_request(desk: Desk, ollama: FakeOllama) -> None:
    step = desk.step()
    ollama.queue.append(Answer(400, {"error": "invalid model name"}))
    with pytest.raises(UnexpectedAnswer, match=r"failed: .*/api/pull answered 400: invalid model name\.") as caught:
        desk.puller.install(step)
    assert caught.value.details["status"] == 400
    assert desk.pauses == []


# What is not what was promised


def test_a_damaged_file_is_pulled_once_more(desk: Desk, ollama: FakeOllama) -> None:
    ollama.faults = ["digest mismatch, file must be downloaded again: want a, got b"]
    step = desk.step()
    assert desk.puller.install(step) == step.after
    assert ollama.log.count("POST /api/pull") == 2
    assert any("want a, got b. Once more, from the beginning." in line for line in desk.said)


@pytest.mark.parametrize(("retries", "pulls"), [(0, 1), (3, 2)])
def test_a_file_that_stays_damaged(desk: Desk, ollama: FakeOllama, retries: int, pulls: int) -> None:
    desk.puller.retries = retries
    ollama.faults = ["digest mismatch, file must be downloaded again: want a, got b"] * 5
    with pytest.raises(ChecksumMismatch, match=r"want a, got b\. The registry's copy is damaged, or .* run again"):
        desk.puller.install(desk.step())
    assert ollama.log.count("POST /api/pull") == pulls
    assert desk.pauses == []
    assert ollama.models == {}


def test_another_version_from_a_mirror_is_not_given_the_plain_name(
    desk: Desk, ollama: FakeOllama, registry: FakeRegistry
) -> None:
    step = desk.step()
    registry.publish("library/gemma3:270m", weights="another", size=SIZE)
    with pytest.raises(ChecksumMismatch, match=r"and not [0-9a-f]{64}, which the registry promised\. Run again"):
        desk.puller.install(step)
    assert "gemma3:270m" not in ollama.models


def test_a_server_that_says_success_and_has_nothing(desk: Desk, ollama: FakeOllama) -> None:
    step = desk.step()
    ollama.queue.append(Stream([{"status": "success"}]))
    with pytest.raises(ChecksumMismatch, match="what arrived is not there"):
        desk.puller.install(step)


def test_a_step_that_pulls_nothing_is_a_mistake_of_the_caller(desk: Desk) -> None:
    with pytest.raises(ValueError, match="pulls nothing"):
        desk.puller.install(Step(NAME, "none", None, None))
