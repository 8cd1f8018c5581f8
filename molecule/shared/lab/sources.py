# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the lab's hosts get releases and models from: the official places, or substitutes made on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import requests

OFFICIAL_RELEASES = "https://github.com/ollama/ollama/releases/download"
OFFICIAL_REGISTRY = "https://registry.ollama.ai"
PATIENCE = 5.0  # seconds


@dataclass(frozen=True)
class Sources:
    """For releases and for models: official (True) or our substitute (False)."""

    releases: bool
    registry: bool

    @property
    def substitutes(self) -> bool:
        """Whether a mirror is needed for anything."""
        return not (self.releases and self.registry)


Probe = Callable[[str], bool]


def answers(url: str) -> bool:
    """Whether the address gives a good answer within the time that a person would wait."""
    try:
        with requests.get(url, stream=True, timeout=PATIENCE) as answer:
            return answer.ok
    except requests.RequestException:
        return False


def choose(version: str, model: str, probe: Probe = answers, env: Mapping[str, str] = os.environ) -> Sources:
    """Ask both official places for exactly what will be needed, unless LLMOPS_SOURCES=official|substitutes says it."""
    wanted = env.get("LLMOPS_SOURCES", "")
    if wanted in ("official", "substitutes"):
        return Sources(wanted == "official", wanted == "official")
    name, _, tag = model.partition(":")
    addresses = (
        f"{OFFICIAL_RELEASES}/v{version}/sha256sum.txt",
        f"{OFFICIAL_REGISTRY}/v2/library/{name}/manifests/{tag or 'latest'}",
    )
    with ThreadPoolExecutor() as pool:
        releases, registry = pool.map(probe, addresses)
    return Sources(releases, registry)
