# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Servers that tests of several modules talk to, and how long a property's examples may take."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from fake_http import FakeOllama, FakeRegistry, FakeServer
from fake_mirror import FakeMirror
from hypothesis import HealthCheck, settings

# A busy machine is no failure of a property.
settings.register_profile("any-speed", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-speed")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    monkeypatch.setenv("no_proxy", "*")
    with FakeServer() as fake:
        yield fake


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRegistry]:
    monkeypatch.setenv("no_proxy", "*")
    with FakeRegistry() as fake:
        yield fake


@pytest.fixture
def fake_mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMirror]:
    monkeypatch.setenv("no_proxy", "*")
    with FakeMirror() as fake:
        yield fake


@pytest.fixture
def ollama(registry: FakeRegistry) -> Iterator[FakeOllama]:
    with FakeOllama(registry) as fake:
        yield fake


@pytest.fixture
def closed_port() -> int:
    """A loopback port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
