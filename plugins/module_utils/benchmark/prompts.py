# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The requests of a benchmark: seeded, so a run can be repeated, and varied, so a prefix cache cannot flatter it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

# The prompt of the single-request latency test in the tuning guide.
SINGLE_PROMPT = "Explain RAG in one sentence"

_SYLLABLES = [consonant + vowel for consonant in "bdfgjklmnprstvz" for vowel in "aeiou"]
_SUBJECTS = (
    "a bicycle gear",
    "a canal lock",
    "a compost heap",
    "a hash table",
    "a heat pump",
    "a lighthouse lens",
    "a mechanical clock",
    "a paper mill",
    "a public library",
    "a railway signal",
    "a solar panel",
    "a sourdough starter",
    "a suspension bridge",
    "a telephone exchange",
    "a tidal power station",
    "a water tower",
)


@dataclass(frozen=True)
class Request:
    """One request for text: ``seed`` is the server's sampling seed, ``max_tokens`` the most tokens it may generate."""

    prompt: str
    max_tokens: int
    seed: int


def workload(seed: int, max_tokens: int) -> Iterator[Request]:
    """Yield requests without end, the same ones for the same ``seed``.

    A made-up name comes first, so that two prompts differ from their first word on; the rest asks for more text than
    ``max_tokens`` usually allows, so that answers are of similar length. All prompts are different and about equally
    long.
    """
    draw = random.Random(seed)  # noqa: S311  # a workload, not a secret
    number = 0
    while True:
        number += 1
        name = "".join(draw.choices(_SYLLABLES, k=3)).capitalize()
        subject = draw.choice(_SUBJECTS)
        prompt = f"{name} has question {number}: how does {subject} work? Explain it in detail, step by step."
        yield Request(prompt, max_tokens, seed=draw.getrandbits(31))
