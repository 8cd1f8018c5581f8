# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A client of one server: asks it what a workload says, level after level, and never the same twice."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType

from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.load import (
    Cancelled,
    Load,
    LoadGenerator,
    Watch,
    clock,
    never,
    unwatched,
)
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.observe import Observer
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.prompts import SINGLE_PROMPT, Request, Workload
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.protocol import Target
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.sample import Round, Sample
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.statistics import (
    NO_SLO,
    Level,
    Single,
    Slo,
    describe,
    summarise,
)
from ansible_collections.llmops.ollama.plugins.module_utils.errors import NotFound, OllamaError, Unhealthy, Unreachable


class Session:
    """Connections to a target, and the requests of a workload that it has not been sent yet.

    ``side`` makes them differ from those of another session with the same workload, see ``Workload.requests``.
    ``server_pid`` is the Ollama process to observe, where it runs on this host. From ``until`` on (a time of
    ``load.clock``) nothing is sent any more. Raises ``Unreachable`` when nobody answers.
    """

    def __init__(
        self,
        target: Target,
        workload: Workload,
        slo: Slo = NO_SLO,
        *,
        side: int = 0,
        server_pid: int | None = None,
        until: float = math.inf,
    ) -> None:
        self.target, self._workload, self._slo, self._until = target, workload, slo, until
        self._requests = workload.requests(side)
        self.server_pid = server_pid
        self._observer = Observer(server_pid) if server_pid else None
        self._generator = LoadGenerator(target)
        self._runs = 0

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._generator.close()

    def warm_up(self, load: Load, watch: Watch = unwatched, cancelled: Cancelled = never) -> None:
        """Send a load of which nothing is kept. Raises an ``OllamaError`` if every request fails."""
        samples = self.run(load, watch, cancelled).samples
        if samples or not cancelled():
            require_success("warm-up", samples, self.target)

    def single(self, watch: Watch = unwatched) -> Single:
        """One request that has the server to itself, with the guide's prompt. Raises an ``OllamaError`` if it fails."""
        alone = iter([Request(SINGLE_PROMPT, self._workload.max_tokens, self._workload.seed)])
        samples = self._generator.run(alone, Load(concurrency=1, requests=1), until=self._until, watch=watch)
        require_success("single request", samples, self.target)
        return describe(samples[0])

    def measure(self, load: Load, watch: Watch = unwatched, cancelled: Cancelled = never) -> Level:
        """Send a load and summarise it; failed requests are counted."""
        return self.summarise([self.run(load, watch, cancelled)], load)

    def summarise(self, rounds: Sequence[Round], load: Load) -> Level:
        """One level of load from one or more runs of it, by this session's objectives."""
        return summarise(rounds, load, self._slo)

    def run(self, load: Load, watch: Watch = unwatched, cancelled: Cancelled = never) -> Round:
        """Send a load; failed requests are samples too."""
        self._runs += 1
        arrivals_seed = self._workload.seed + self._runs  # no two runs of a session have the same arrivals

        def look(samples: Sequence[Sample]) -> None:
            if self._observer:
                self._observer.look()
            watch(samples)

        if self._observer:
            self._observer.start()
        start, cpu = clock(), time.process_time()
        samples = self._generator.run(self._requests, load, arrivals_seed, self._until, look, cancelled)
        return Round(
            samples,
            truncated=self._generator.truncated,
            elapsed=clock() - start,
            cpu=time.process_time() - cpu,
            longest_turn=self._generator.longest_turn,
            server=self._observer.stop() if self._observer else None,
        )


def require_success(phase: str, samples: Sequence[Sample], target: Target) -> None:
    """Without one success there is nothing to measure: raise the reason that most of the failures have."""
    if not samples:
        raise OllamaError(
            f"The {phase} of the benchmark could not begin: its time was over.",
            "Raise max_seconds, or lower requests or max_tokens.",
        )
    failures = [sample.failure for sample in samples if sample.failure]
    if len(failures) < len(samples):
        return
    kinds = Counter(failure.kind for failure in failures).most_common()
    kind = kinds[0][0]
    detail = next(failure.detail for failure in failures if failure.kind == kind)
    if kind == "http_404":
        raise NotFound(
            f"{target.url} cannot serve model {target.model!r}: {detail}.",
            "Pull the model first (llmops.ollama.model), and check its name and that the address is an Ollama server.",
        )
    if kind in {"refused", "unreachable"}:
        raise Unreachable(
            f"Nothing answers at {target.url}: {detail}.",
            "Check that the service runs (systemctl status ollama) and that the address and port are right.",
        )
    counts = ", ".join(f"{count} x {kind}" for kind, count in kinds)
    raise Unhealthy(
        f"Every request of the {phase} to {target.url} failed ({counts}): {detail}.",
        "Look at the server's log (journalctl -u ollama) and at the gateway's limits; timeout bounds each request.",
    )
