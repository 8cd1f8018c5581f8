# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What people write, and values as they read them."""

from __future__ import annotations

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.words import (
    from_json,
    http_url,
    number,
    seconds,
    size_text,
)


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


@pytest.mark.parametrize("url", ["http://127.0.0.1:11434", "https://ollama.example.com/prefix", "http://[::1]:11434"])
def test_addresses(url: str) -> None:
    assert http_url("url", url) == url
    assert http_url("url", f"{url}/") == url


@pytest.mark.parametrize("value", [0.0, -1.0, 1e12, float("nan"), float("inf")])
def test_times_that_cannot_be_waited_for(value: float) -> None:
    with pytest.raises(InvalidInput, match=r"timeout is .* seconds\. Give a number above 0 and not above 86400"):
        seconds("timeout", value)
    assert seconds("timeout", 0.5) == 0.5


def test_bounds_are_written_as_people_write_them() -> None:
    with pytest.raises(InvalidInput, match=r"from -1000000 to 9007199254740992\.$"):
        number("abc", (-1e6, 1 << 53), "seed")


@pytest.mark.parametrize("text", ["", "{", b"\xff", "[" * 100_000, '{"a":' * 100_000], ids=lambda text: str(text[:6]))
def test_what_is_no_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_json(text)
