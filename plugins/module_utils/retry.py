# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Trying again what may well succeed a little later, a bounded number of times."""

from __future__ import annotations

import http.client
import time
from typing import Callable, TypeVar

from ansible_collections.llmops.ollama.plugins.module_utils.errors import OllamaError, UnexpectedAnswer, Unreachable

T = TypeVar("T")
Wait = Callable[[float], None]

# Seconds before the first, second, … further try; the last one holds for all that follow. Three, which is what modules
# have by default, outlast the 10 s after which systemd starts a server again that was killed.
PAUSES = (1.0, 4.0, 10.0, 30.0)

_PASSING = (http.client.REQUEST_TIMEOUT, http.client.TOO_MANY_REQUESTS)


def is_transient(error: OllamaError) -> bool:
    """Whether the same request may succeed later: no answer, a busy or broken server, a failure in mid-stream."""
    if isinstance(error, UnexpectedAnswer):
        status = error.details.get("status")
        return status is None or status in _PASSING or status >= http.client.INTERNAL_SERVER_ERROR
    return isinstance(error, Unreachable)


def with_retries(
    attempt: Callable[[], T],
    retries: int,
    announce: Callable[[str], None] = lambda text: None,
    wait: Wait = time.sleep,
) -> T:
    """The result of ``attempt``, tried again up to ``retries`` times after errors that are transient.

    ``announce`` is told before each pause what happened. Raises the last error.
    """
    for number in range(retries):
        try:
            return attempt()
        except OllamaError as error:
            if not is_transient(error):
                raise
            pause = PAUSES[min(number, len(PAUSES) - 1)]
            announce(f"{error.problem} Retry {number + 1} of {retries} in {pause:.0f} s.")
            wait(pause)
    return attempt()
