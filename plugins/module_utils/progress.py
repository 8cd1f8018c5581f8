# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a long-running module tells the controller what it is doing.

The module overwrites one small file on the target; the action plugin (``plugin_utils/progress.py``) reads it while the
module runs and prints it. Without the file nothing is reported and nothing else changes.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Callable

from ansible_collections.llmops.ollama.plugins.module_utils.words import size_text

# Called with one line of plain text for a person.
Report = Callable[[str], None]


def reporter(path: str | None, min_interval: float = 0.4) -> Report:
    """Return a function that publishes a line of text, at most once per ``min_interval`` seconds."""
    if not path:
        return lambda text: None
    target: str = path
    last = 0.0

    def report(text: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < min_interval:
            return
        last = now
        draft = f"{target}.new"
        # The name is random and the file is ours alone: never follow or reuse what somebody else put there.
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(draft).replace(target)

    return report


# Seconds that a speed is measured over: it follows what happens, and does not jump.
WINDOW = 10.0


class Transfer:
    """Describes a running transfer of ``total`` bytes (0: unknown): how far, how fast, how long it will still take.

    ``label`` may change as it goes.
    """

    def __init__(self, label: str, total: int, done: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.label, self._total, self._clock = label, total, clock
        self._seen = deque([(clock(), done)])  # moments of the window, and what was there then

    def text(self, done: int) -> str:
        """One line for the moment at which ``done`` bytes of the whole are there."""
        speed = self._speed(done)
        if not self._total:
            return f"{self.label}: {size_text(done)}, {size_text(speed)}/s"
        line = f"{self.label}: {100 * done // self._total} % of {size_text(self._total)}, {size_text(speed)}/s"
        return f"{line}, {round((self._total - done) / speed)} s left" if speed > 0 else line

    def _speed(self, done: int) -> float:
        now = self._clock()
        if now - self._seen[-1][0] >= WINDOW / 20:
            self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[1][0] >= WINDOW:
            self._seen.popleft()
        begin, first = self._seen[0]
        return (done - first) / max(now - begin, 1e-6)


class Board:
    """One line about several models that are brought one after the other; ``sizes`` are their bytes."""

    def __init__(self, report: Report, sizes: Sequence[int], clock: Callable[[], float] = time.monotonic) -> None:
        self._report, self._sizes, self._clock = report, sizes, clock
        self._number, self._label, self._doing = 0, "", ""
        self._one: Transfer | None = None
        self._all: Transfer | None = None

    def begin(self, name: str) -> None:
        """The next model."""
        self._number += 1
        several = len(self._sizes) > 1
        self._label, self._doing = f"{self._number}/{len(self._sizes)} {name}" if several else name, ""
        self._one = None

    def resume(self, doing: str = "") -> None:
        """Measure anew: what is there already is no speed of what comes. ``doing`` says what is done, if not pulled."""
        self._one = self._all = None
        self._doing = f", {doing}" if doing else ""

    def say(self, text: str) -> None:
        """What happens to the model."""
        self._report(f"{self._label}: {text}")

    def moved(self, done: int) -> None:
        """So many bytes of the model are there."""
        size, before = self._sizes[self._number - 1], sum(self._sizes[: self._number - 1])
        if self._one is None:
            self._one = Transfer(self._label + self._doing, size, done, self._clock)
        if self._all is None:
            self._all = Transfer("all", sum(self._sizes), before + done, self._clock)
        line = self._one.text(done)
        whole = self._all.text(before + done)
        self._report(f"{line}; {whole}" if sum(size > 0 for size in self._sizes) > 1 else line)


def shown(label: str, report: Report) -> Callable[[int, int], None]:
    """Reports one transfer: to be called with the bytes that are there, and with all of them."""
    transfer: list[Transfer] = []

    def moved(done: int, total: int) -> None:
        if not transfer:
            transfer.append(Transfer(label, total, done))
        report(transfer[0].text(done))

    return moved
