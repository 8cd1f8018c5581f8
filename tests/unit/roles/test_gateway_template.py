# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The servers that the role gateway hands on, as Ansible evaluates its template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

TEMPLATE = Path(__file__).parents[3] / "roles/gateway/templates/servers.yml.j2"


def servers(**host: Any) -> list[dict[str, Any]]:
    variables = {"gateway_upstreams": ["llm1"], "hostvars": {"llm1": host}, "inventory_hostname": "edge"}
    text = Templar(DataLoader(), variables).template(trust_as_template(TEMPLATE.read_text(encoding="utf-8")))
    found: list[dict[str, Any]] = yaml.safe_load(text)
    return found


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ({}, "llm1:11434"),
        ({"ollama_host": "0.0.0.0"}, "llm1:11434"),  # noqa: S104  # nothing is bound
        ({"ollama_host": "10.0.0.5"}, "llm1:11434"),
        ({"ollama_host": "0.0.0.0:8080"}, "llm1:8080"),
        ({"ollama_host": "[::]:8080"}, "llm1:8080"),
        ({"ollama_host": "::"}, "llm1:11434"),
        ({"ansible_host": "10.0.0.7"}, "10.0.0.7:11434"),
        ({"ansible_host": "2001:db8::11", "ollama_host": "[::]:80"}, "[2001:db8::11]:80"),
        ({"ansible_host": "10.0.0.7", "ollama_address": "llm1.lan"}, "llm1.lan:11434"),
    ],
)
def test_where_the_gateway_reaches_a_server(host: dict[str, Any], address: str) -> None:
    (server,) = servers(**host)
    assert (server["name"], server["address"]) == ("llm1", address)


def test_only_what_this_run_has_proved_is_told() -> None:
    assert servers() == [{"name": "llm1", "address": "llm1:11434", "working": False}]
    tuning = {"environment": {"OLLAMA_NUM_PARALLEL": "6"}}
    for healthy in (True, False):
        (server,) = servers(ollama_tuning=tuning, ollama_health_result={"healthy": healthy})
        assert (server["slots"], server["working"]) == (6, healthy)
