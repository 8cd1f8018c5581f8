# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Running commands, and showing what is going on and how far it is.

On a terminal every running step has one live line; elsewhere (CI, a log file) steps print plain lines now and then.
"""

from __future__ import annotations

import collections
import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from .errors import LabError

QUICK = 2.0  # a step that took less is not worth a line of its own
LINE_EVERY = 5.0  # seconds between two lines of one step where there is no terminal


class Step:
    """One thing that is going on; its methods may be called from the thread that does it."""

    def __init__(self, steps: Steps, name: str, task: TaskID) -> None:
        self._steps = steps
        self._task = task
        self.name = name
        self.started = time.monotonic()
        self._printed = self.started

    def say(self, note: str, done: float | None = None, total: float | None = None) -> None:
        """Tell what is being done right now and, where known, how much of it."""
        self._steps.progress.update(self._task, note=note, completed=done or 0, total=total)
        now = time.monotonic()
        if not self._steps.live and now - self._printed >= LINE_EVERY:
            self._printed = now
            share = f" {done / total:.0%}" if done is not None and total else ""
            self._steps.console.print(f"  … {self.name}: {note}{share} ({now - self.started:.0f} s)")

    def elapsed(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self.started


class Steps:
    """All steps of one run of the lab; a context manager that owns the screen meanwhile."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self.live = self.console.is_terminal
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            transient=True,
            disable=not self.live,
        )

    def __enter__(self) -> Steps:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def tell(self, text: str) -> None:
        """Print one line that stays."""
        self.console.print(text)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Show a step while the block runs; afterwards say how long it took, unless that was hardly any time."""
        task = self.progress.add_task(name, total=None, note="")
        step = Step(self, name, task)
        try:
            yield step
        except BaseException:
            self.tell(f"  ✗ {name} ({step.elapsed():.0f} s)")
            raise
        finally:
            self.progress.remove_task(task)
        if step.elapsed() >= QUICK:
            self.tell(f"  ✓ {name} ({step.elapsed():.0f} s)")


def pipe(stream: IO[str] | None) -> IO[str]:
    """A stream of a process that was started with a pipe there."""
    if stream is None:
        raise LabError("A process was started without a pipe; this is a defect of the lab.")
    return stream


def run(
    command: Sequence[str | Path],
    *,
    line: Callable[[str], bool | None] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
) -> str:
    """Run a command and return its standard output; every line of either stream goes to ``line`` as it appears.

    A command that fails raises LabError with the end of what it printed, but for lines of which ``line`` says (True)
    that they only tell how far it is: a tool prints many of these after the one that says what is wrong.
    """
    words = [str(word) for word in command]
    tail: collections.deque[str] = collections.deque(maxlen=25)
    output: list[str] = []
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **env} if env else None,
            cwd=cwd,
            text=True,
            errors="replace",
        )
    except FileNotFoundError as error:
        raise LabError(f"The command {words[0]} is missing on this machine; ./dev setup installs it.") from error

    def follow(stream: Iterator[str], keep: bool) -> None:
        for text in stream:
            if keep:
                output.append(text)
            if not (line and line(text.rstrip())):
                tail.append(text.rstrip())

    with process:
        errors = threading.Thread(target=follow, args=(pipe(process.stderr), False))
        errors.start()
        if process.stdin:
            process.stdin.write(stdin or "")
            process.stdin.close()
        follow(pipe(process.stdout), True)
        errors.join()
    if process.returncode:
        end = "\n    ".join(tail)
        raise LabError(f"`{' '.join(words)}` failed with exit code {process.returncode}:\n    {end}")
    return "".join(output)
