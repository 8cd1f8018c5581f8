# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The gateway as clients meet it: from outside, over its published port, with the clients that people use."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import ollama
import openai
import pytest
import requests
from testinfra.host import Host

testinfra_hosts = ["ansible://gateway"]

SHORT = {"num_predict": 8}


def test_the_configuration_is_valid_and_nginx_starts_at_boot(host: Host) -> None:
    assert host.run("nginx -t").rc == 0
    assert host.service("nginx").is_running
    assert host.service("nginx").is_enabled


def test_tokens_arrive_one_by_one(gateway_url: str, model: str) -> None:
    body = {"model": model, "prompt": "Count to ten.", "options": {"num_predict": 24}}
    with requests.post(f"{gateway_url}/api/generate", json=body, stream=True, timeout=120) as response:
        assert response.status_code == 200
        arrivals = [time.monotonic() for line in response.iter_lines(chunk_size=None) if line]
    assert len(arrivals) > 4
    # A proxy that buffered would deliver all of them at once.
    assert arrivals[-1] - arrivals[0] > 0.3 * (len(arrivals) - 1) * 0.01
    assert len({round(arrival, 3) for arrival in arrivals}) > len(arrivals) / 2


def test_the_ollama_client(gateway_url: str, model: str) -> None:
    answer = ollama.Client(gateway_url).generate(model, "Hello", options=SHORT)
    assert answer.done
    assert answer.eval_count


def test_the_openai_client(gateway_url: str, model: str) -> None:
    client = openai.OpenAI(base_url=f"{gateway_url}/v1", api_key="any", max_retries=0)
    parts = list(client.completions.create(model=model, prompt="Hello", max_tokens=8, stream=True))
    assert any(part.choices and part.choices[0].text for part in parts)


@pytest.mark.parametrize("path", ["api/pull", "api/push", "api/create", "api/copy", "api/delete", "api/blobs/sha256:0"])
def test_what_changes_models_is_closed(gateway_url: str, path: str) -> None:
    answer = requests.post(f"{gateway_url}/{path}", json={"model": "any"}, timeout=10)
    assert answer.status_code == 403
    assert "closed" in answer.json()["error"]


def test_too_many_requests_are_told_to_wait(gateway_url: str) -> None:
    def ask(_: int) -> requests.Response:
        return requests.get(f"{gateway_url}/api/version", timeout=30)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, range(150)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert len(refused) < len(answers)
    assert refused[0].headers["Retry-After"] == "1"
    assert {answer.status_code for answer in answers} == {200, 429}


def test_requests_are_spread_over_all_servers(host: Host, gateway_url: str, model: str) -> None:
    time.sleep(2)  # the requests of the test before are forgotten at 20 a second

    def ask(_: int) -> str:
        answer = requests.post(
            f"{gateway_url}/api/generate",
            json={"model": model, "prompt": "Hi", "stream": False, "options": SHORT},
            timeout=120,
        )
        return answer.json()["response"]

    before = established(host)
    with ThreadPoolExecutor(6) as pool:
        assert len(list(pool.map(ask, range(6)))) == 6
    assert len(established(host) | before) == 2


def established(host: Host) -> set[str]:
    """The servers that nginx keeps connections with."""
    lines = host.check_output("ss -Htn state established dport = :11434").splitlines()
    return {line.split()[-1] for line in lines}
