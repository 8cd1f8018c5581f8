# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Carrying out a pull: watched, resumed where it breaks, and believed only when the promised digest has arrived."""

from __future__ import annotations

import contextlib
import http.client
import re
import time
from typing import Callable

from ansible_collections.llmops.ollama.plugins.module_utils.access import Access
from ansible_collections.llmops.ollama.plugins.module_utils.client import Client, Json, error_words
from ansible_collections.llmops.ollama.plugins.module_utils.errors import (
    ChecksumMismatch,
    NoSpace,
    NotFound,
    OllamaError,
    UnexpectedAnswer,
    Unreachable,
)
from ansible_collections.llmops.ollama.plugins.module_utils.model_build import give_name, unless_gone
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from ansible_collections.llmops.ollama.plugins.module_utils.model_plan import Step
from ansible_collections.llmops.ollama.plugins.module_utils.model_state import State, installed_models
from ansible_collections.llmops.ollama.plugins.module_utils.progress import Board
from ansible_collections.llmops.ollama.plugins.module_utils.registry import Source, remedy
from ansible_collections.llmops.ollama.plugins.module_utils.registry_relay import Route
from ansible_collections.llmops.ollama.plugins.module_utils.retry import Wait, with_retries

Clock = Callable[[], float]

# Bytes per second at which even a slow disk is read again to verify a model; the server says nothing meanwhile.
VERIFY_SPEED = 50e6


class Puller:
    """Installs models through one client. ``stall_timeout`` (seconds) is how long a pull may bring nothing new.

    ``route`` says where the server really pulls from.
    """

    def __init__(
        self,
        client: Client,
        retries: int,
        stall_timeout: float,
        board: Board,
        route: Route = lambda source: source,
        *,
        wait: Wait = time.sleep,
        clock: Clock = time.monotonic,
    ) -> None:
        self.client = client
        self.retries = retries
        self.stall_timeout = stall_timeout
        self.board = board
        self._route = route
        self._wait = wait
        self._clock = clock

    def install(self, step: Step, keep_alias: bool = False) -> State:
        """Pull what ``step`` promises and return it as the server shows it.

        A model that comes from a mirror arrives under the mirror's name and is then given its own; the mirror's name is
        removed unless ``keep_alias``. The old model stays in use until the new one is complete.
        """
        if step.source is None or step.after is None:
            raise ValueError(f"{step} pulls nothing")
        source, route = step.source, self._route(step.source)

        def pull() -> None:
            with_retries(lambda: self._pull(step, source, route), self.retries, self.board.say, self._wait)

        try:
            pull()
        except ChecksumMismatch as error:
            # What an earlier pull had left may be the cause, and is gone now; the second time it is the registry.
            if not self.retries:
                raise
            self.board.say(f"{error.problem} Once more, from the beginning.")
            pull()
        # A mirror's name may be gone already: a pull of the same model beside this one has given it its own name.
        arrived = self._arrived(step, source, route.name, step.name)
        if route.name.key == step.name.key:
            return arrived
        spare = route.name._replace(tag="replaced-by-pull") if step.before else None
        give_name(self.client, str(route.name), step.name, spare)
        if not keep_alias or route != source:
            unless_gone(self.client.delete, str(route.name))
        return self._arrived(step, source, step.name)

    def _arrived(self, step: Step, source: Source, *names: ModelName) -> State:
        """The model that the server has under the first of ``names`` that it knows, if it is the promised one."""
        promised = step.promised
        models = installed_models(self.client.tags())
        model = next((models[name.key] for name in names if name.key in models), None)
        if model is None or model.digest != promised:
            raise ChecksumMismatch(
                f"{step.name} was pulled from {source.registry}, but what arrived is "
                f"{model.digest if model else 'not there'} and not {promised}, which the registry promised.",
                "Run again: the registry may just have published another version. If it repeats, its manifest and what "
                "it delivers do not belong together.",
                model=str(step.name),
                registry=source.registry,
            )
        return model

    def _pull(self, step: Step, source: Source, route: Source) -> None:
        watch = _Watch(step, self.stall_timeout, self._clock)
        self.board.resume()
        # The server sends a line many times a second while it loads, and then none until it has read all of it again.
        silence = self.stall_timeout + step.bytes_to_bring / VERIFY_SPEED
        status = ""
        try:
            with contextlib.closing(self.client.pull(str(route.name), route.insecure, silence)) as events:
                for event in events:
                    status = str(event.get("status", ""))
                    done = watch.see(event)
                    self.board.say(status) if done is None else self.board.moved(done)
        except (UnexpectedAnswer, Unreachable) as error:
            raise _explained(error, step, source) from error
        if status != "success":
            raise Unreachable(
                f"The pull of {step.name} ended after {status!r} and not with 'success'.",
                "Look at the server's log for a restart or a crash.",
            )


class _Watch:
    """Follows one pull: how far it is, and whether it still moves."""

    def __init__(self, step: Step, stall_timeout: float, clock: Clock) -> None:
        self._name = step.name
        self._registry = step.source.registry if step.source else ""
        self._completed = {blob.digest: 0 for blob in step.missing}
        self._stall_timeout = stall_timeout
        self._clock = clock
        self._moved = clock()
        self._last: Json = {}

    def see(self, event: Json) -> int | None:
        """Bytes that are there after one of the server's events; None where it is about something else.

        Raises ``Unreachable`` when nothing has moved for long.
        """
        now = self._clock()
        if event != self._last:
            self._moved, self._last = now, event
        elif now - self._moved > self._stall_timeout:
            raise Unreachable(
                f"The pull of {self._name} stood still for {self._stall_timeout:g} s.",
                _way(self._registry),
                model=str(self._name),
            )
        digest = event.get("digest")
        if digest not in self._completed:  # a blob that was there before, or a message without one
            return None
        self._completed[digest] = int(event.get("completed") or 0)
        return sum(self._completed.values())


def _way(registry: str) -> str:
    """What to do where bytes do not come."""
    return f"Check the way from the host to {registry}; what has arrived is kept, and the next run goes on from there."


# What the server says of a registry that refuses: the HTTP status, then its words.
_STATUS = re.compile(r"(?:pull model manifest: )?([45]\d\d):(.*)", re.DOTALL)
# It says of a connection that there was none, or none for long.
_NO_WAY = re.compile(r"dial tcp|no such host|connection re(?:fused|set)|i/o timeout|\bEOF\b|deadline exceeded")
# Words in the server's error lines, for failures that another try cannot cure.
_Failure = tuple[str, type[OllamaError], str, dict[str, int]]
_FINAL: tuple[_Failure, ...] = (
    (
        "no space left on device",
        NoSpace,
        "Free some space in the model store or move it (ollama_models_path); the next run goes on from what is there.",
        {},
    ),
    (
        "digest mismatch",
        ChecksumMismatch,
        "The registry's copy is damaged, or what an earlier pull had left. The server threw it away: run again. If "
        "it repeats, have the registry's copy replaced.",
        {},
    ),
    (
        "file does not exist",
        NotFound,
        "Check the spelling of the model and its tag, and that the registry holds all of its files.",
        {},
    ),
    (
        "no Location header",
        UnexpectedAnswer,
        "A mirror must answer requests for blobs with a Location header; see the role mirror of this collection.",
        {"status": 200},
    ),
    (
        "unauthorized",
        UnexpectedAnswer,
        "The model is private or its name is wrong: check the namespace and the spelling.",
        {"status": 401},
    ),
    (
        "realm host",
        UnexpectedAnswer,
        "The registry wants a login: the model is private, or its name is wrong.",
        {"status": 401},
    ),
    (
        "requires a newer version of Ollama",
        UnexpectedAnswer,
        "Install a newer Ollama on this host, or choose another model.",
        {"status": 412},
    ),
    (
        "server gave HTTP response to HTTPS client",
        UnexpectedAnswer,
        "This registry speaks plain http: give it as http://HOST:PORT with the option registry.",
        {"status": 400},
    ),
)


def _explained(error: UnexpectedAnswer | Unreachable, step: Step, source: Source) -> OllamaError:
    """What ended a pull, with the model and the registry it is about and, where it is known, the remedy."""
    if "model" in error.details:  # the watch has said all of it
        return error
    reported = error.details.get("reported") or error.problem.rstrip(".")
    pull, registry = f"The pull of {step.name} from {source.registry}", source.registry
    problem = f"{pull} failed: {reported}."
    details = {**error.details, "model": str(step.name), "registry": registry}
    details.pop("reported", None)  # the message has it
    if isinstance(error, Unreachable):
        return Unreachable(f"{pull} was interrupted: {error.problem}", f"{error.remedy} {_way(registry)}", **details)
    for words, kind, advice, more in _FINAL:
        if words in reported:
            return kind(problem, advice, **{**details, **more})
    refused = _STATUS.match(reported)
    if refused:
        status = int(refused[1])
        why = error_words(refused[2], http.client.responses.get(status, "no reason given"))
        problem = f"{pull} failed: the registry answered {status}: {why}."
        return UnexpectedAnswer(problem, remedy(registry, status, Access()), **{**details, "status": status})
    advice = _way(registry) if _NO_WAY.search(reported) else "Look at the server's log for the cause."
    return UnexpectedAnswer(problem, error.remedy or advice, **details)
