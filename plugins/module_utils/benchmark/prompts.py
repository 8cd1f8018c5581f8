# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The requests of a benchmark: seeded, so a run can be repeated, and varied, so a prefix cache cannot flatter it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Callable

from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput

# The prompt of the single-request latency test in the tuning guide.
SINGLE_PROMPT = "Explain RAG in one sentence"

DOCUMENT_SENTENCES = 80  # about 1500 tokens: with its answer it fits the smallest context that Ollama chooses (4096)

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
_PLACES = ("the harbour", "the northern plant", "the workshop", "the town hall", "the river bank", "the test site")
_EVENTS = (
    "was inspected and found in good order",
    "stood still for repairs",
    "was shown to visitors from abroad",
    "needed a new bearing",
    "ran for the whole day without a fault",
    "was measured again because the first numbers disagreed",
    "was painted after the rain had stopped",
    "cost more than the budget had foreseen",
)
_MONTHS = ("January", "March", "April", "June", "July", "September", "October", "December")


@dataclass(frozen=True)
class Request:
    """One request for text: ``seed`` is the server's sampling seed, ``max_tokens`` the most tokens it may generate."""

    prompt: str
    max_tokens: int
    seed: int


class _Dice:
    """Draws the contents of prompts from ``seed`` alone, the made-up names from ``seed`` and ``side``."""

    def __init__(self, seed: int, side: int) -> None:
        self.content = random.Random(seed)  # noqa: S311  # a workload, not a secret
        self._names = random.Random(f"{seed}/{side}")  # noqa: S311  # the same

    def name(self) -> str:
        return "".join(self._names.choices(_SYLLABLES, k=3)).capitalize()

    def pick(self, choices: Sequence[str]) -> str:
        return self.content.choice(choices)


# Makes the next prompt, whose number counts from 1.
_Prompt = Callable[[_Dice, int], str]

# A name comes first everywhere, so that two prompts differ from their first word on.


def _chat(dice: _Dice, number: int) -> str:
    subject = dice.pick(_SUBJECTS)
    return f"{dice.name()} has question {number}: how does {subject} work? Explain it in detail, step by step."


def _guide(dice: _Dice, number: int) -> str:
    return f"{dice.name()} has question {number}: {SINGLE_PROMPT}"


def _document(dice: _Dice, number: int) -> str:
    return f"{_report(dice)}\n\nQuestion {number}: what happened at {dice.pick(_PLACES)}? Answer in detail."


def _shared_prefix(dice: _Dice) -> _Prompt:
    prefix = _report(dice)

    def prompt(dice: _Dice, number: int) -> str:
        question = f"what is known of {dice.pick(_SUBJECTS)} at {dice.pick(_PLACES)}? Answer in detail."
        return f"{prefix}\n\n{dice.name()} has question {number}: {question}"

    return prompt


def _report(dice: _Dice) -> str:
    """A long text; each of its sentences makes sense."""
    days = (
        f"On {dice.content.randint(1, 28)} {dice.pick(_MONTHS)} {dice.pick(_SUBJECTS)} at {dice.pick(_PLACES)}"
        f" {dice.pick(_EVENTS)}."
        for _ in range(DOCUMENT_SENTENCES)
    )
    return f"{dice.name()} wrote down what happened this year. {' '.join(days)}"


# Name of the set → what begins it.
_SETS: dict[str, Callable[[_Dice], _Prompt]] = {
    "chat": lambda dice: _chat,
    "guide": lambda dice: _guide,
    "document": lambda dice: _document,
    "shared_prefix": _shared_prefix,
}
PROMPT_SETS = tuple(_SETS)


@dataclass(frozen=True)
class Workload:
    """What is asked. The same workload is the same requests, everywhere.

    ``prompt_set``: ``chat`` (short questions), ``guide`` (the guide's sentence), ``document`` (a long text of its own
    for each request) or ``shared_prefix`` (one long text, then a question of its own for each request, which is what a
    prefix cache is for). ``prompts`` replaces the set by the user's own, which are sent as they are. Raises
    ``InvalidInput``.
    """

    seed: int
    prompt_set: str = "chat"
    max_tokens: int = 32
    prompts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.prompt_set not in _SETS:
            raise InvalidInput(
                f"prompt_set is {self.prompt_set!r}.", f"It must be one of {', '.join(PROMPT_SETS)}, or give prompts."
            )
        if self.max_tokens < 1:
            raise InvalidInput(f"max_tokens is {self.max_tokens}.", "Give 1 or more: every answer must be bounded.")
        if not all(prompt.strip() for prompt in self.prompts):
            raise InvalidInput("One of the prompts is empty.", "Give every prompt some text.")

    def requests(self, side: int = 0) -> Iterator[Request]:
        """Yield requests without end.

        Those of a set are all different, from the first word on where the set has no shared prefix, and about equally
        long; they ask for more text than ``max_tokens`` usually allows, so that answers are of similar length. Own
        prompts come in a random order, each as often as the others. Another ``side`` gives the same requests with
        other names, so that of two sides that are compared none is answered from what a cache kept of the other.
        """
        dice = _Dice(self.seed, side)
        next_prompt = self._own() if self.prompts else _SETS[self.prompt_set](dice)
        number = 0
        while True:
            number += 1
            yield Request(next_prompt(dice, number), self.max_tokens, seed=dice.content.getrandbits(31))

    def _own(self) -> _Prompt:
        waiting: list[str] = []

        def prompt(dice: _Dice, number: int) -> str:
            if not waiting:
                waiting.extend(self.prompts)
                dice.content.shuffle(waiting)
            return waiting.pop()

        return prompt


def parse_prompts(text: str, where: str) -> tuple[str, ...]:
    """The prompts of a file, one on each line that is not empty. Raises ``InvalidInput``."""
    prompts = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not prompts:
        raise InvalidInput(f"{where} holds no prompt.", "Write one prompt on each line.")
    return prompts
