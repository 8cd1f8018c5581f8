# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a long-running module tells the controller what it is doing.

The module overwrites one small file on the target; the action plugin (``plugin_utils/progress.py``) reads it while the
module runs and prints it. Without the file nothing is reported and nothing else changes.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Callable

# Called with one line of plain text for a person.
Report = Callable[[str], None]


def reporter(path: str | None, min_interval: float = 0.5) -> Report:
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
