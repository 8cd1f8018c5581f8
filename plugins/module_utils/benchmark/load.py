# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The load generator: sends requests in a closed or an open loop and times their answers on the client's side.

One thread and one selector serve all connections, so that the generator takes little of the CPU that it may share with
the server, and no thread waits for another before it looks at the clock.
"""

from __future__ import annotations

import errno
import math
import random
import selectors
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Callable

from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.prompts import Request
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.protocol import Piece, Target, read_answer
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.sample import Failure, Sample
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.wire import (
    Address,
    BadHttp,
    Connection,
    Response,
)
from ansible_collections.llmops.ollama.plugins.module_utils.client import brief, error_words
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput

TICK_SECONDS = 0.5
OK = 200

ARRIVALS = ("poisson", "constant")
MAX_CONCURRENCY = 1000
MAX_REQUESTS = 100_000  # every sample is kept until the end
MAX_RATE = 10_000.0

# What the generator itself runs out of: file descriptors, ports of its own address, memory for sockets.
_OWN_LIMITS = (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM)

clock = time.perf_counter

# Called every TICK_SECONDS, and at the end, with the samples so far.
Watch = Callable[[Sequence[Sample]], None]
# Asked every TICK_SECONDS; once it says so, the requests under way are given up and left out.
Cancelled = Callable[[], bool]


def unwatched(samples: Sequence[Sample]) -> None:
    """A ``Watch`` for a measurement that nobody looks at."""


def never() -> bool:
    """A ``Cancelled`` for a measurement that runs to its end."""
    return False


@dataclass(frozen=True)
class Load:
    """How much is sent at one level. Raises ``InvalidInput``.

    Either ``concurrency``: that many requests are under way at any time (a closed loop), or ``rate``: that many are
    sent each second whatever the server does (an open loop), at equal distances (``constant``) or at random ones, as
    independent users come (``poisson``). The level ends after ``requests`` requests, or when no more have been sent
    since ``seconds``. ``max_in_flight`` bounds the requests under way of an open loop; one that is due beyond it is not
    sent and fails.
    """

    concurrency: int | None = None
    rate: float | None = None
    requests: int = 100
    seconds: float = math.inf
    arrivals: str = "poisson"
    max_in_flight: int = 500

    def __post_init__(self) -> None:
        if (self.concurrency is None) == (self.rate is None):
            raise InvalidInput("A load needs either a concurrency or a rate.", "Give one of the two.")
        if self.concurrency is not None and not 1 <= self.concurrency <= MAX_CONCURRENCY:
            raise InvalidInput(f"concurrency is {self.concurrency}.", f"Give 1 to {MAX_CONCURRENCY:,}.")
        if self.rate is not None and not 0 < self.rate <= MAX_RATE:
            raise InvalidInput(
                f"rate is {self.rate:g}.", f"Give requests per second, above 0 and up to {MAX_RATE:,.0f}."
            )
        if not 1 <= self.requests <= MAX_REQUESTS:
            raise InvalidInput(f"requests is {self.requests}.", f"Give a value from 1 to {MAX_REQUESTS:,}.")
        if self.concurrency is not None and self.concurrency > self.requests:
            raise InvalidInput(
                f"concurrency is {self.concurrency}, more than the {self.requests} requests there are.",
                "Raise requests or lower concurrency.",
            )
        if not self.seconds > 0:
            raise InvalidInput(f"level_seconds is {self.seconds:g}.", "Give a number of seconds above 0.")
        if self.arrivals not in ARRIVALS:
            raise InvalidInput(f"arrivals is {self.arrivals!r}.", f"It must be one of {', '.join(ARRIVALS)}.")
        if self.max_in_flight < 1:
            raise InvalidInput(f"max_in_flight is {self.max_in_flight}.", "Give 1 or more.")

    def __str__(self) -> str:
        return load_name(self.concurrency, self.rate)

    def schedule(self, seed: int) -> list[float]:
        """When each request of an open loop is due, in seconds from the start. The server has no part in it."""
        if self.rate is None:
            raise ValueError("a closed loop has no schedule")
        if self.arrivals == "constant":
            times = [number / self.rate for number in range(self.requests)]
        else:
            draw = random.Random(f"arrivals/{seed}")  # noqa: S311  # a workload, not a secret
            now, times = 0.0, []
            for _ in range(self.requests):
                now += draw.expovariate(self.rate)
                times.append(now)
        return [due for due in times if due < self.seconds]


def load_name(concurrency: int | None, rate: float | None) -> str:
    """A level of load for a person: ``10 at a time`` or ``2.5 per second``."""
    return f"{concurrency} at a time" if rate is None else f"{rate:g} per second"


class _Pace:
    """Says when requests are due: ``waiting`` has the times of the next ones that are known."""

    def __init__(self, load: Load, seed: int, start: float) -> None:
        self.closed = load.rate is None
        self.limit = load.concurrency if load.concurrency is not None else load.max_in_flight
        self._end = start + load.seconds
        if self.closed:
            self._left = load.requests
            self.waiting = deque([start] * self.limit)
        else:
            self.waiting = deque(start + due for due in load.schedule(seed))
            self._left = len(self.waiting)

    def next_due(self, now: float) -> float | None:
        """Take the next request that is due by now."""
        if not self._left or not self.waiting or self.waiting[0] > now or (self.closed and now >= self._end):
            return None
        self._left -= 1
        return self.waiting.popleft()

    def freed(self, now: float) -> None:
        """A request has ended."""
        if self.closed:
            self.waiting.append(now)

    def stop(self) -> int:
        """Send no more; returns how many were still to be sent."""
        left, self._left = self._left, 0
        return left

    def wakeup(self, now: float) -> float | None:
        """The time of the next request that does not wait for another to end; None where there is none."""
        if self.closed and now >= self._end:
            self._left = 0
        return self.waiting[0] if self._left and self.waiting else None


class _Exchange:
    """One request under way."""

    def __init__(self, due: float, message: bytes) -> None:
        self.due, self.message = due, message
        self.sent = clock()
        self.response = Response()
        self.pieces: list[Piece] = []
        self.end = 0.0
        self.failure: Failure | None = None


class LoadGenerator:
    """Sends to one target over connections that it keeps, as a client with a connection pool does.

    Raises ``Unreachable`` when nobody answers there. ``longest_turn`` is the longest time (s) between two looks at the
    sockets: no time that was measured can be later than the truth by more. ``truncated`` says that the last run was
    stopped before its load's own end; ``given_up`` has what had come of the requests that were under way then.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._address = Address(target.url)
        self._selector = selectors.DefaultSelector()
        self._idle: list[Connection] = []
        self._serving: dict[Connection, _Exchange] = {}  # in the order in which they were sent
        self._ended: list[_Exchange] = []
        self._pace: _Pace
        self.longest_turn = 0.0
        self.truncated = False
        self.given_up: list[Sample] = []

    def __enter__(self) -> LoadGenerator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up on everybody; a server stops to generate for a client that has gone."""
        for connection in [*self._idle, *self._serving]:
            self._drop(connection)
        self._idle.clear()
        self._serving.clear()
        self._selector.close()

    def run(
        self,
        requests: Iterator[Request],
        load: Load,
        seed: int = 0,
        until: float = math.inf,
        watch: Watch = unwatched,
        cancelled: Cancelled = never,
    ) -> list[Sample]:
        """Send ``load``, taking its requests from ``requests``; returns a sample of each that was sent or due.

        ``seed`` is that of the random arrivals. From ``until`` (a time of ``clock``) on nothing is sent any more; the
        requests under way are waited for, because leaving out just the slowest would flatter. Failures are samples
        too.
        """
        start = turn = clock()
        pace = self._pace = _Pace(load, seed, start)
        self.longest_turn, self.truncated, self.given_up = 0.0, False, []
        samples: list[Sample] = []
        tick = start + TICK_SECONDS
        while True:
            now = clock()
            if now >= until:
                self.truncated, until = pace.stop() > 0, math.inf
            due = pace.next_due(now)
            while due is not None:
                self._begin(due, requests)
                now = clock()
                due = pace.next_due(now)
            # The next requests are out: now there is time to look at the answers that have ended.
            samples += [self._sample(exchange) for exchange in self._ended]
            self._ended.clear()
            wakeup = pace.wakeup(now)
            if wakeup is None and not self._serving:
                break
            if now >= tick:
                tick = now + TICK_SECONDS
                watch(samples)
                if cancelled():
                    self.truncated = True
                    self._give_up()
                    break
            self.longest_turn = max(self.longest_turn, clock() - turn)
            wait = min(tick, until, math.inf if wakeup is None else wakeup, self._expiry()) - clock()
            events = self._selector.select(max(0.0, wait))
            turn = clock()
            for key, mask in events:
                self._advance(key.data, mask)
            self._expire(turn)
        watch(samples)
        return samples

    def _begin(self, due: float, requests: Iterator[Request]) -> None:
        exchange = _Exchange(due, self._address.message(self._target.endpoint, self._target.body(next(requests))))
        limit = self._pace.limit
        if len(self._serving) < limit:
            self._send(exchange)
        else:
            self._end(exchange, Failure("generator_limit", f"{limit} requests were under way (max_in_flight)"))

    def _send(self, exchange: _Exchange) -> None:
        try:
            connection = self._idle.pop() if self._idle else self._connect()
        except OSError as error:
            kind = "generator_limit" if error.errno in _OWN_LIMITS else _kind(error, False)
            self._end(exchange, Failure(kind, brief(error)))
            return
        self._serving[connection] = exchange
        connection.send(exchange.message)
        if connection.used:
            self._advance(connection, selectors.EVENT_WRITE)  # there is room for it: no need to ask first

    def _connect(self) -> Connection:
        connection = Connection(self._address)
        self._selector.register(connection.sock, connection.events, connection)
        return connection

    def _advance(self, connection: Connection, mask: int) -> None:
        """Go on with a connection on which something can be done."""
        exchange = self._serving.get(connection)
        if exchange is None:
            if connection in self._idle:  # the server has closed it
                self._idle.remove(connection)
                self._drop(connection)
            return
        listening = connection.events
        try:
            if mask & selectors.EVENT_WRITE:
                connection.write()
            if mask & selectors.EVENT_READ:
                self._receive(connection, exchange)
        except (OSError, BadHttp) as error:
            self._fail(connection, exchange, error)
            return
        if connection.events != listening and connection.sock.fileno() >= 0:
            self._selector.modify(connection.sock, connection.events, connection)

    def _receive(self, connection: Connection, exchange: _Exchange) -> None:
        data = connection.read()
        if data is None:
            return
        response = exchange.response
        if data:
            now = clock()
            body = response.feed(data)
            if body:
                exchange.pieces.append((now, body))
        else:
            response.close()
            if not response.complete:
                raise ConnectionResetError(errno.ECONNRESET, "the connection was closed before the answer was complete")
        if response.complete:
            del self._serving[connection]
            if response.keep_alive:
                connection.used = True
                self._idle.append(connection)
            else:
                self._drop(connection)
            self._end(exchange)

    def _fail(self, connection: Connection, exchange: _Exchange, error: Exception) -> None:
        del self._serving[connection]
        self._drop(connection)
        answered = bool(exchange.response.status)
        if connection.used and not answered and isinstance(error, (ConnectionResetError, BrokenPipeError)):
            # The server closed a connection that it had kept, just as the request was on its way.
            self._send(exchange)
            return
        kind = "bad_answer" if isinstance(error, BadHttp) else _kind(error, answered)
        self._end(exchange, Failure(kind, brief(error)))

    def _expiry(self) -> float:
        return next(iter(self._serving.values())).sent + self._target.timeout if self._serving else math.inf

    def _expire(self, now: float) -> None:
        for connection, exchange in list(self._serving.items()):
            if now - exchange.sent < self._target.timeout:
                break
            del self._serving[connection]
            self._drop(connection)
            detail = f"the answer was not complete after {self._target.timeout:g} s"
            self._end(exchange, Failure("timeout", detail))

    def _give_up(self) -> None:
        now = clock()
        for connection, exchange in self._serving.items():
            self._drop(connection)
            exchange.end = now
            if exchange.response.status == OK:
                self.given_up.append(self._sample(exchange))
        self._serving.clear()

    def _drop(self, connection: Connection) -> None:
        self._selector.unregister(connection.sock)
        connection.close()

    def _end(self, exchange: _Exchange, failure: Failure | None = None) -> None:
        exchange.end = clock()
        exchange.failure = failure
        self._ended.append(exchange)
        self._pace.freed(exchange.end)

    def _sample(self, exchange: _Exchange) -> Sample:
        response, failure = exchange.response, exchange.failure
        if failure is None and response.status == OK:
            return read_answer(self._target, exchange.pieces, exchange.due, exchange.sent, exchange.end)
        if failure is None:
            text = b"".join(body for _, body in exchange.pieces).decode("utf-8", "replace")
            failure = Failure(f"http_{response.status}", error_words(text, response.reason))
        return Sample(exchange.due, exchange.end, failure=failure, sent=exchange.sent)


def _kind(error: Exception, answered: bool) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, TimeoutError):
        return "timeout"
    if answered or isinstance(error, (ConnectionResetError, BrokenPipeError)):
        return "broken_stream"
    return "unreachable"
