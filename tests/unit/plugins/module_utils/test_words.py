# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Values as people read them."""

from __future__ import annotations

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.words import size_text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (253_000_000, "253.0 MB"),
        (1_840_000_000, "1.8 GB"),
        (5e12, "5000.0 GB"),
    ],
)
def test_sizes(count: float, text: str) -> None:
    assert size_text(count) == text
