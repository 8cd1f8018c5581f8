# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the load generator keeps of one request; everything that is reported is computed from these."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """Why a request did not succeed.

    ``kind`` is what is counted: ``refused``, ``unreachable``, ``timeout``, ``http_<status>``, ``broken_stream`` (the
    answer ended early), ``error_line`` (an error reported inside a 200 stream) or ``bad_answer`` (not Ollama's
    protocol). ``detail`` is the reason in words.
    """

    kind: str
    detail: str


@dataclass(frozen=True)
class Sample:
    """One request as its client saw it; times are seconds of one monotonic clock.

    ``arrivals`` has the time of every piece of text. ``output_tokens`` is the server's count of generated tokens,
    which may be more than the pieces: some tokens show no text, and an incomplete character waits for its last byte.
    """

    start: float
    end: float
    arrivals: tuple[float, ...] = ()
    output_tokens: int = 0
    failure: Failure | None = None

    @property
    def latency(self) -> float:
        """Seconds from sending the request to the end of the answer."""
        return self.end - self.start

    @property
    def ttft(self) -> float | None:
        """Time to first token in seconds; None where no text came."""
        return self.arrivals[0] - self.start if self.arrivals else None

    @property
    def tpot(self) -> float | None:
        """Seconds per output token after the first: (latency - TTFT) / (n - 1); None for fewer than two tokens."""
        if not self.arrivals or self.output_tokens < 2:
            return None
        return (self.end - self.arrivals[0]) / (self.output_tokens - 1)
