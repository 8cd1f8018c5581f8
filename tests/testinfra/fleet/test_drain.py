# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A server leaves the gateway and comes back while clients go on: none of them notices."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from testinfra.host import Host

testinfra_hosts = ["ansible://gateway"]

MODULE = "llmops.ollama.gateway_servers"
FILE = "/etc/nginx/ollama-servers.conf"


def words(**arguments: Any) -> str:
    return " ".join(f"{name}={value}" for name, value in arguments.items())


@pytest.fixture(autouse=True)
def in_service(host: Host) -> Iterator[None]:
    yield
    for name in ("ollama1", "ollama2"):
        host.ansible(MODULE, words(restore=name), check=False)


def ask(url: str, model: str, tokens: int) -> requests.Response:
    body = {"model": model, "prompt": "The sea is", "stream": False, "options": {"num_predict": tokens}}
    return requests.post(f"{url}/api/generate", json=body, timeout=300)


def connections(host: Host, server: str) -> int:
    address = host.check_output("getent hosts %s", server).split()[0]
    return len(host.check_output("ss -Htn state established dst %s", f"{address}:11434").splitlines())


def test_a_long_request_is_waited_for_and_not_cut(host: Host, gateway_url: str, model: str) -> None:
    answers: list[requests.Response] = []
    clients = [threading.Thread(target=lambda: answers.append(ask(gateway_url, model, 300))) for _ in range(4)]
    for client in clients:
        client.start()
    deadline = time.monotonic() + 30
    while not connections(host, "ollama2") and time.monotonic() < deadline:
        time.sleep(0.1)
    result = host.ansible(MODULE, words(drain="ollama2"), check=False)
    assert result["changed"], result
    # What was under way there is answered by now; what is elsewhere may go on.
    assert connections(host, "ollama2") == 0
    for client in clients:
        client.join(300)
    # Not the reason of the end: Ollama gives none for an answer that it ended itself, at a token's 31st repetition.
    assert [answer.status_code for answer in answers] == [200] * 4
    assert all(answer.json()["response"] for answer in answers)


def test_clients_lose_no_request(host: Host, gateway_url: str, model: str) -> None:
    stop = threading.Event()
    answers: list[int | str] = []

    def client() -> None:
        while not stop.is_set():
            try:
                answers.append(ask(gateway_url, model, 8).status_code)
            except requests.RequestException as error:
                answers.append(str(error))

    clients = [threading.Thread(target=client) for _ in range(4)]
    for thread in clients:
        thread.start()
    for server in ("ollama1", "ollama2"):
        assert host.ansible(MODULE, words(drain=server), check=False)["changed"]
        assert connections(host, server) == 0
        assert host.ansible(MODULE, words(restore=server), check=False)["changed"]
    stop.set()
    for thread in clients:
        thread.join(300)
    assert len(answers) > 8
    assert set(answers) == {200}, answers


def test_drained_stays_drained_until_it_is_restored(host: Host) -> None:
    before = host.file(FILE).content_string
    planned = host.ansible(MODULE, words(drain="ollama1"), check=True)
    assert planned["changed"]
    assert host.file(FILE).content_string == before
    assert host.ansible(MODULE, words(drain="ollama1"), check=False)["changed"]
    assert not host.ansible(MODULE, words(drain="ollama1"), check=False)["changed"]
    refused = host.ansible(MODULE, words(drain="ollama2"), check=False)
    assert "no other server of this gateway is in service" in refused["msg"]
    assert host.ansible(MODULE, words(restore="ollama1"), check=False)["changed"]
    assert host.file(FILE).content_string == before


def test_a_drain_that_lasts_too_long_is_taken_back(host: Host, gateway_url: str, model: str) -> None:
    before = host.file(FILE).content_string
    threads = [threading.Thread(target=lambda: ask(gateway_url, model, 200)) for _ in range(4)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 30
    while not connections(host, "ollama1") and time.monotonic() < deadline:
        time.sleep(0.1)
    result = host.ansible(MODULE, words(drain="ollama1", drain_timeout=0.5), check=False)
    for thread in threads:
        thread.join(300)
    assert "still under way at ollama1 after 0.5 s" in result["msg"]
    assert host.file(FILE).content_string == before
