# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark import subject
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.subject import Subject, describe
from ansible_collections.llmops.ollama.plugins.module_utils.client import Client
from ansible_collections.llmops.ollama.plugins.module_utils.errors import Unhealthy
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import Hardware
from ansible_collections.llmops.ollama.plugins.module_utils.runner import Runner
from fake_http import Answer, FakeServer

BLOB = "sha256-" + "5" * 64


class Ollama(FakeServer):
    def answer(self, request: str, body: dict[str, Any]) -> Answer:
        answers = {
            "GET /api/version": {"version": "0.34.0"},
            "GET /api/tags": {
                "models": [
                    {"name": "other:1b", "digest": "00"},
                    {"name": "m:latest", "digest": "ab", "details": {"quantization_level": "Q4_0"}},
                ]
            },
            "POST /api/show": {"modelfile": f"FROM /models/blobs/{BLOB}\n"},
        }
        return Answer(200, answers[request]) if request in answers else Answer(404)


def test_from_another_host_the_server_tells_what_it_tells_everybody() -> None:
    with Ollama() as fake, Client(fake.url) as client:
        assert describe(client, "m", None) == Subject("0.34.0", "ab", "Q4_0", None, None)
        assert describe(client, "missing", None) == Subject("0.34.0", None, None, None, None)


def test_what_does_not_tell_is_left_out(server: FakeServer) -> None:
    with Client(server.url) as client:
        assert describe(client, "m", None) == Subject()


def test_on_the_servers_host_its_settings_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"OLLAMA_NUM_PARALLEL": "4", "HTTPS_PROXY": "http://user:secret@proxy", "PATH": "/bin"}
    runner = Runner(8, BLOB, 40000, slots=4, cells=16384, threads=2, kv_types=("q8_0", "q8_0"))
    monkeypatch.setattr(subject, "read_environ", lambda pid: {7: environment}[pid])
    monkeypatch.setattr(subject, "find_runner", lambda pid, blobs: runner if (pid, blobs) == (7, [BLOB]) else None)
    monkeypatch.setattr(subject, "probe", lambda: Hardware.describe({"cpu_cores": 2, "memory_mb": 4096}))
    with Ollama() as fake, Client(fake.url) as client:
        found = describe(client, "m", 7)
    assert found.settings == {
        "environment": {"OLLAMA_NUM_PARALLEL": "4"},
        "runner": {"slots": 4, "cells": 16384, "threads": 2, "kv_types": ("q8_0", "q8_0")},
    }
    assert found.hardware
    assert found.hardware["cpu_cores"] == 2


def test_a_process_that_may_not_be_read_has_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int) -> dict[str, str]:
        raise Unhealthy("The environment of process 7 may not be read.")

    monkeypatch.setattr(subject, "read_environ", refuse)
    monkeypatch.setattr(subject, "probe", lambda: Hardware.describe({"cpu_cores": 2, "memory_mb": 4096}))
    with Ollama() as fake, Client(fake.url) as client:
        assert describe(client, "m", 7).settings is None
