# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Pulls that lose their registry, their server, their disk or the model: nothing half-written, and all is made good."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from faulty_registry import LARGE, FaultyRegistry, Published, Request
from module_run import StartModule
from ollama_server import OllamaServer
from testinfra.host import Host

testinfra_hosts = ["ansible://ollama2"]

MODULE = "llmops.ollama.model"
# On its way, but with most of it still to come.
UNDER_WAY = r": [1-6]\d % of "
# What nginx may have sent, and the server not have written when the connection broke.
ON_THE_WAY = 1_000_000
REAL, REAL_SIZE = "gemma3:270m-it-q4_0", 241_000_000


def wanted(registry: FaultyRegistry, site: str, name: str, **more: Any) -> dict[str, Any]:
    return {"name": [name], "registry": registry.url(site), **more}


def predicted(start_module: StartModule, arguments: dict[str, Any]) -> str:
    """What a dry run says that would be done."""
    return str(start_module(MODULE, arguments, "--check").result()["models"][0]["action"])


def ranges(registry: FaultyRegistry, digest: str) -> list[Request]:
    """Requests for a part of a blob that were answered to their end."""
    return [request for request in registry.requests(f"sha256:{digest}$") if request.first is not None]


def now(host: Host) -> str:
    return "@" + host.check_output("date +%s")


def test_a_mirror_that_is_killed_and_comes_back(
    host: Host, registry: FaultyRegistry, large: Published, server: OllamaServer, start_module: StartModule
) -> None:
    run = start_module(MODULE, wanted(registry, "slow", large.name))
    run.wait_for(UNDER_WAY)
    since = now(host)
    registry.kill()
    server.wait_for("part 0 attempt 0 failed", since)
    arrived = server.arrived(large.weights)
    registry.forget_requests()
    registry.start()
    result = run.result()
    assert not result["failed"], result
    assert (result["models"][0]["action"], result["models"][0]["digest"]) == ("pulled", large.digest)
    assert server.models()[large.name] == large.digest
    # The rest, and nothing that had arrived before.
    assert arrived > LARGE // 20
    (rest,) = ranges(registry, large.weights)
    assert rest.first == large.size - rest.sent
    assert rest.sent <= large.size - arrived + ON_THE_WAY


def test_a_mirror_that_stays_away(
    registry: FaultyRegistry, large: Published, server: OllamaServer, start_module: StartModule
) -> None:
    arguments = wanted(registry, "slow", large.name, retries=1, stall_timeout=2)
    run = start_module(MODULE, arguments)
    run.wait_for(UNDER_WAY)
    registry.kill()
    arrived = server.arrived(large.weights)
    result = run.result(seconds=60)
    assert result["failed"], result
    for words in (large.name, registry.url("slow"), "connection refused", "Check"):
        assert words in result["msg"], result
    assert large.name not in server.models()
    registry.forget_requests()
    registry.start()
    assert predicted(start_module, arguments) == "pulled"
    assert not start_module(MODULE, arguments).result()["failed"]
    assert server.models()[large.name] == large.digest
    assert sum(request.sent for request in ranges(registry, large.weights)) <= large.size - arrived + ON_THE_WAY


def test_a_server_that_is_killed(
    registry: FaultyRegistry, server: OllamaServer, start_module: StartModule, host: Host
) -> None:
    run = start_module(MODULE, wanted(registry, "real", REAL))
    # Three parts at once; the last is the smallest.
    registry.wait_for(r" 206 ")
    (part,) = registry.requests("/blobs/")[-1:]
    host.check_output("systemctl kill --kill-who=main --signal=KILL ollama")
    registry.forget_requests()
    result = run.result()
    assert not result["failed"], result
    assert result["models"][0]["action"] == "pulled"
    assert server.models()[REAL] == result["models"][0]["digest"]
    assert server.answers(REAL)
    again = [request.first for request in registry.requests("/blobs/") if request.first is not None]
    assert part.first not in again, registry.requests()


# A disk that is too small


@pytest.fixture
def narrow(host: Host) -> Iterator[OllamaServer]:
    """A second server on the host, whose models lie on a small disk."""
    server = OllamaServer(host, unit="ollama-narrow", port=11500, store="/srv/narrow/models")
    host.check_output("mkdir -p /srv/narrow && mount -t tmpfs -o size=16m,mode=0755 tmpfs /srv/narrow")
    host.check_output("mkdir /srv/narrow/models && chown -R ollama: /srv/narrow")
    settings = {"HOME": "/srv/narrow", "OLLAMA_MODELS": server.store, "OLLAMA_HOST": f"127.0.0.1:{server.port}"}
    options = " ".join(f"--setenv={name}={value}" for name, value in settings.items())
    since = now(host)
    host.check_output(
        f"systemd-run --collect --unit={server.unit} --uid=ollama {options} /opt/ollama/current/bin/ollama serve"
    )
    server.wait_for("Listening on", since)
    yield server
    host.check_output(f"systemctl stop {server.unit} && umount /srv/narrow && rmdir /srv/narrow")


def test_a_disk_that_is_too_small_is_seen_before_the_first_byte(
    registry: FaultyRegistry, large: Published, narrow: OllamaServer, start_module: StartModule
) -> None:
    arguments = wanted(registry, "whole", large.name, url=narrow.url, models_path=narrow.store)
    result = start_module(MODULE, arguments).result()
    assert result["failed"], result
    for words in ("24.0 MB", narrow.store, "16.8 MB are free", "ollama_models_path"):
        assert words in result["msg"], result
    assert registry.requests(f"sha256:{large.weights}$") == []
    assert narrow.files() == []


def test_a_disk_that_another_fills_in_the_middle(
    registry: FaultyRegistry, large: Published, narrow: OllamaServer, start_module: StartModule
) -> None:
    narrow.host.check_output("mount -o remount,size=32m /srv/narrow")
    arguments = wanted(registry, "slow", large.name, url=narrow.url, models_path=narrow.store)
    run = start_module(MODULE, arguments)
    run.wait_for(r": [4-6]\d % of ")
    narrow.host.run("dd if=/dev/zero of=/srv/narrow/filler bs=64k")
    result = run.result()
    assert result["failed"], result
    for words in (large.name, registry.url("slow"), "no space left on device", "Free some space"):
        assert words in result["msg"], result
    assert narrow.models() == {}
    narrow.host.check_output("rm /srv/narrow/filler")
    assert predicted(start_module, arguments) == "pulled"
    result = start_module(MODULE, arguments).result()
    assert not result["failed"], result
    assert narrow.models() == {large.name: large.digest}


# Others who change the same model


def test_two_plays_that_pull_the_same_model(
    registry: FaultyRegistry, large: Published, server: OllamaServer, start_module: StartModule
) -> None:
    runs = [start_module(MODULE, wanted(registry, "slow", large.name)) for _play in range(2)]
    for result in [run.result() for run in runs]:
        assert not result["failed"], result
        assert result["models"][0]["digest"] == large.digest
    assert sorted(server.models()) == sorted(["gemma3:270m", large.name])
    assert sum(request.sent for request in ranges(registry, large.weights)) == large.size


def test_a_model_that_somebody_deletes(
    registry: FaultyRegistry, server: OllamaServer, start_module: StartModule, host: Host
) -> None:
    small = registry.small
    arguments = wanted(registry, "whole", small.name)
    assert start_module(MODULE, arguments).result()["changed"]
    host.check_output(f"OLLAMA_HOST={server.url} /opt/ollama/current/bin/ollama rm {small.name}")
    assert predicted(start_module, arguments) == "pulled"
    assert start_module(MODULE, arguments).result()["models"][0]["action"] == "pulled"
    assert server.models()[small.name] == small.digest
