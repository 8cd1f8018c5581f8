# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reading the kernel's text files below a root directory, so that a recorded host can be probed like a live one."""

from __future__ import annotations

from pathlib import Path

# No kernel is built for more CPUs.
LAST_CPU = 8191


class Files:
    """The files of one host. Paths are absolute as seen by that host; what cannot be read counts as absent."""

    def __init__(self, root: str = "/") -> None:
        self.root = Path(root)

    def path(self, path: str) -> Path:
        """Where the host's ``path`` is for us."""
        return self.root / path.lstrip("/")

    def exists(self, path: str) -> bool:
        try:
            return self.path(path).exists()
        except OSError:
            return False

    def read(self, path: str) -> str:
        """The text of a file without surrounding white space (device tree strings end in NUL); empty when absent."""
        try:
            return self.path(path).read_text(encoding="utf-8", errors="replace").strip("\0 \t\n")
        except OSError:
            return ""

    def integer(self, path: str) -> int | None:
        """The decimal number that a file holds, or None."""
        return to_int(self.read(path))

    def glob(self, pattern: str) -> list[str]:
        """The host's paths that match, sorted."""
        try:
            return sorted(f"/{match.relative_to(self.root)}" for match in self.root.glob(pattern.lstrip("/")))
        except OSError:
            return []


def to_int(text: str) -> int | None:
    """A decimal integer, or None (``max``, ``[N/A]``, nothing)."""
    try:
        return int(text)
    except ValueError:
        return None


def cpu_list(text: str) -> frozenset[int]:
    """The CPU numbers of the kernel's list format, for example ``0-3,8``; parts that are none are left out."""
    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        last = last or first
        if first.isdecimal() and last.isdecimal() and len(last) < 8 and int(last) <= LAST_CPU:
            numbers.update(range(int(first), int(last) + 1))
    return frozenset(numbers)
