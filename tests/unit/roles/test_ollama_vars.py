# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Expressions of the role ollama, as Ansible evaluates them."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

VARS = Path(__file__).parents[3] / "roles/ollama/vars/main.yml"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1:11434", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),  # noqa: S104  # nothing is bound
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("[::]", "http://127.0.0.1:11434"),
        ("[::]:8080", "http://127.0.0.1:8080"),
        ("::", "http://127.0.0.1:11434"),
        ("[fd00::1]", "http://[fd00::1]:11434"),
        ("[fd00::1]:80", "http://[fd00::1]:80"),
        ("ollama.local", "http://ollama.local:11434"),
        ("ollama.local:80", "http://ollama.local:80"),
    ],
)
def test_where_the_host_reaches_its_server(host: str, url: str) -> None:
    loader = DataLoader()
    variables = loader.load_from_file(str(VARS), trusted_as_template=True)
    assert Templar(loader, {"ollama_host": host}).template(variables["__ollama_url"]) == url
