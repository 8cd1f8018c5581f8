# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A server with one model, a registry that can be broken, and what must hold after every fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from faulty_registry import LARGE, FaultyRegistry, Published
from ollama_server import OllamaServer
from testinfra.host import Host


@pytest.fixture(scope="session")
def built_registry(fleet_host: Callable[[str], Host]) -> Iterator[FaultyRegistry]:
    registry = FaultyRegistry(fleet_host("edge"), "edge")
    registry.build()
    yield registry
    registry.remove()


@pytest.fixture
def registry(built_registry: FaultyRegistry) -> FaultyRegistry:
    """The registry, on the host that serves the lab's models: it runs, and nobody has asked it yet."""
    built_registry.start()
    built_registry.forget_requests()
    return built_registry


@pytest.fixture
def large(registry: FaultyRegistry) -> Published:
    """A model that takes some seconds from the slow site. Each is new, since a server goes on with a broken pull."""
    return registry.publish("large:1", LARGE)


@pytest.fixture
def server(host: Host) -> OllamaServer:
    return OllamaServer(host)


@pytest.fixture(autouse=True)
def unharmed(server: OllamaServer, model: str) -> Iterator[None]:
    """What the server had before a fault is the same afterwards, and works; what the test pulled is removed."""
    before = server.models()
    assert list(before) == [model]
    yield
    after = server.models()
    for name in set(after) - {model}:
        server.delete(name)
    server.forget_partials()
    assert after.get(model) == before[model]
    assert server.answers(model)
