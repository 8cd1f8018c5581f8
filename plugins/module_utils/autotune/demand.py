# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the server shall be good at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.load import MAX_CONCURRENCY
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.prompts import Request, Workload
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.statistics import Slo
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput

SEED = 1


@dataclass(frozen=True)
class Demand:
    """What the operator's clients ask: ``concurrency`` of them at any time, each with a request of the workload."""

    workload: Workload
    concurrency: int
    slo: Slo

    @classmethod
    def of(cls, concurrency: int, workload: Mapping[str, Any], slo: Mapping[str, Any]) -> Demand:
        """From the module's options. Raises ``InvalidInput``."""
        if not 1 <= concurrency <= MAX_CONCURRENCY:
            raise InvalidInput(f"concurrency is {concurrency}.", f"Give 1 to {MAX_CONCURRENCY:,}.")
        return cls(Workload(**{"seed": SEED, **workload}), concurrency, Slo(**slo))

    def requests(self, number: int, max_tokens: int | None = None) -> Iterator[Request]:
        """The requests of a round: others in each, so that no cache of prompts answers them, and the same each time."""
        tokens = max_tokens or self.workload.max_tokens
        return replace(self.workload, seed=self.workload.seed + number, max_tokens=tokens).requests()

    def to_dict(self) -> dict[str, Any]:
        """What makes two measurements comparable; the seed does not."""
        return {
            "concurrency": self.concurrency,
            "prompt_set": self.workload.prompt_set,
            "max_tokens": self.workload.max_tokens,
            "slo": {"ttft_s": self.slo.ttft_s, "tpot_s": self.slo.tpot_s, "latency_s": self.slo.latency_s},
        }
