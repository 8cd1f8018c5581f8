# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Only what may pass is tried again, and not for ever."""

from __future__ import annotations

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.errors import (
    ChecksumMismatch,
    InvalidInput,
    NoSpace,
    NotFound,
    OllamaError,
    UnexpectedAnswer,
    Unreachable,
)
from ansible_collections.llmops.ollama.plugins.module_utils.retry import is_transient, with_retries


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (Unreachable("x"), True),
        (UnexpectedAnswer("a failure in mid-stream"), True),
        (UnexpectedAnswer("x", status=408), True),
        (UnexpectedAnswer("x", status=429), True),
        (UnexpectedAnswer("x", status=500), True),
        (UnexpectedAnswer("x", status=503), True),
        (UnexpectedAnswer("x", status=200), False),
        (UnexpectedAnswer("x", status=400), False),
        (UnexpectedAnswer("x", status=401), False),
        (NotFound("x", status=404), False),
        (NoSpace("x"), False),
        (ChecksumMismatch("x"), False),
        (InvalidInput("x"), False),
    ],
)
def test_is_transient(error: OllamaError, transient: bool) -> None:
    assert is_transient(error) is transient


@pytest.mark.parametrize(
    ("failures", "retries", "pauses"),
    [(0, 3, []), (1, 3, [1]), (3, 3, [1, 4, 10]), (4, 3, [1, 4, 10]), (1, 0, []), (9, 6, [1, 4, 10, 30, 30, 30])],
)
def test_pauses(failures: int, retries: int, pauses: list[float]) -> None:
    waited: list[float] = []
    errors = [Unreachable(f"failure {number}") for number in range(failures)]

    def attempt() -> str:
        if errors:
            raise errors.pop(0)
        return "done"

    if failures > retries:
        with pytest.raises(Unreachable, match=f"failure {retries}"):
            with_retries(attempt, retries, wait=waited.append)
    else:
        assert with_retries(attempt, retries, wait=waited.append) == "done"
    assert waited == pauses
