# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one family of errors that the collection raises for conditions a user can act on."""

from __future__ import annotations

import errno
from typing import Any


class OllamaError(Exception):
    """A condition that a user can act on.

    ``problem`` says what happened and with which value, ``remedy`` what to do about it; both are whole sentences.
    ``details`` become keys of the failed task's result. Ansible prints the host's name beside the message.
    """

    def __init__(self, problem: str, remedy: str = "", **details: Any) -> None:
        super().__init__(f"{problem} {remedy}".strip())
        self.problem = problem
        self.remedy = remedy
        self.details = details


class InvalidInput(OllamaError):
    """A value that the user gave is not usable."""


class Unreachable(OllamaError):
    """A server did not answer: refused, timed out, or its name does not resolve."""


class Untrusted(OllamaError):
    """A server could not prove that it is the one that was meant."""


class UnexpectedAnswer(OllamaError):
    """A server answered, but not with what its protocol promises (status, content type, body)."""


class NotFound(OllamaError):
    """The server answered that the thing asked for does not exist."""


class NoSpace(OllamaError):
    """A file system has less room than the operation needs."""


class ChecksumMismatch(OllamaError):
    """Bytes that arrived are not the bytes that were promised."""


class Unhealthy(OllamaError):
    """A service did not reach, or no longer has, the state that was asked for."""


class Interrupted(OllamaError):
    """A signal asked the process to end."""


def from_os_error(error: OSError, where: object, remedy: str) -> OllamaError:
    """What the operating system refused, as an error that names the path: ``where``, unless ``error`` knows it."""
    path = error.filename or where
    if error.errno == errno.ENOSPC:
        return NoSpace(f"The file system of {path} is full.", "Make room, then run again.")
    return InvalidInput(f"{path}: {error.strerror or error}.", remedy)
