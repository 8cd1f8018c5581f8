# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the load generator keeps of one request; everything that is reported is computed from these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """Why a request did not succeed.

    ``kind`` is what is counted: ``refused``, ``unreachable``, ``timeout``, ``http_<status>``, ``broken_stream`` (the
    answer ended early), ``error_line`` (an error reported inside a 200 stream), ``bad_answer`` (not the endpoint's
    protocol) or ``generator_limit`` (the generator could not send it). ``detail`` is the reason in words.
    """

    kind: str
    detail: str


@dataclass(frozen=True)
class Sample:
    """One request as its client saw it; times are seconds of one monotonic clock.

    ``due`` is when the request was to be sent: in an open loop at its scheduled time, in a closed one as soon as a
    place was free. ``sent`` is when it was. Latency and TTFT count from ``due``, so that neither a slow server nor a
    slow generator can hide a wait. ``arrivals`` has the time of every piece of text; an answer that is not streamed has
    none. ``output_tokens`` is the server's count of generated tokens, which may be more than the pieces: some tokens
    show no text, and an incomplete character waits for its last byte.
    """

    due: float
    end: float
    arrivals: tuple[float, ...] = ()
    output_tokens: int = 0
    failure: Failure | None = None
    sent: float | None = None  # None: at ``due``

    @property
    def latency(self) -> float:
        """Seconds from when the request was due to the end of the answer."""
        return self.end - self.due

    @property
    def ttft(self) -> float | None:
        """Time to first token in seconds; None where no text came, or all at once."""
        return self.arrivals[0] - self.due if self.arrivals else None

    @property
    def tpot(self) -> float | None:
        """Seconds per output token after the first: (latency - TTFT) / (n - 1); None for fewer than two tokens."""
        if not self.arrivals or self.output_tokens < 2:
            return None
        return (self.end - self.arrivals[0]) / (self.output_tokens - 1)

    @property
    def delay(self) -> float:
        """Seconds that the generator was late."""
        return 0.0 if self.sent is None else self.sent - self.due


@dataclass(frozen=True)
class Taken:
    """What a server took while it was observed: CPU time (s), and its largest resident size (bytes)."""

    cpu: float
    rss_peak: int


@dataclass(frozen=True)
class Round:
    """One run of the load generator: its samples in any order, how long it took, and the CPU time that it took (s).

    ``longest_turn`` (s) is the longest time between two looks at the sockets: no time that was measured is later than
    the truth by more. ``truncated`` says that the run was stopped before its load's own end. ``server`` is None where
    the server runs elsewhere.
    """

    samples: Sequence[Sample]
    truncated: bool = False
    elapsed: float = 0.0
    cpu: float = 0.0
    longest_turn: float = 0.0
    server: Taken | None = None
