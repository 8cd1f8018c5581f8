# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reading a unit's journal: lines with their time, and the loads of models that they tell of.

Source: the logs of Ollama 0.24 and 0.34.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ansible_collections.llmops.ollama.plugins.module_utils.model_shape import SINGLE_SLOT_FAMILIES

# More of the newest lines are not read; see gather.py for what is said before them.
JOURNAL_LINES = 2000

_ENTRY = re.compile(r"(\d+\.\d+) \S+ [^:]*?(?:\[\d+\])?: ?(.*)")
_VERSION = re.compile(r"Listening on \S+ \(version ([^)\s]+)\)")
_REQUEST = re.compile(r'^\[GIN\] .*POST +"/(?:api/(?:generate|chat|embed)|v1/)')

# 0.24 names the slots in the runner's request, 0.30 and newer on the command line.
_START = re.compile(r'msg="starting (?:llama-server|runner)" cmd=.*? --model (?:\S*/)?(\S+?)[" ]')
_SLOTS = re.compile(r" -c (\d+) -np (\d+)\b")
_REQUESTED = re.compile(r"Operation:commit .*?Parallel:(\d+) .*?KvSize:(\d+) .*?NumThreads:(\d+)")
_THREADS = re.compile(r"threadpool init, n_threads = (\d+)")
_FILE_TYPE = re.compile(r"(?:print_info: file type +=|\bfile_type=) ?(\w+)")
_ARCHITECTURE = re.compile(r'(?:print_info: arch +=|msg="" architecture=) ?(\S+)')
_NAME = re.compile(r'(?:print_info: general\.name +=|\barchitecture=\w+ .*\bname=) ?"?([^"]+?)"?(?: description=|$)')

# Only 0.30 and newer say under which name a model was asked for.
_ASKED = re.compile(r'msg="template selection" model=(?:registry\.ollama\.ai/(?:library/)?)?([^\s"]+)')


@dataclass(frozen=True)
class Line:
    """``time`` in seconds since the epoch."""

    time: float
    text: str


@dataclass(frozen=True)
class Load:
    """One load of a model. ``model`` is the file in the store; ``context`` is of all slots together, in tokens.

    0 and empty where the log does not say.
    """

    time: float
    model: str
    line: str
    parallel: int = 0
    context: int = 0
    threads: int = 0
    file_type: str = ""
    name: str = ""
    architecture: str = ""

    @property
    def has_one_slot(self) -> bool:
        """Whether it is a model that the server never gives more, as far as the log tells."""
        embeds = " --embedding" in self.line or "bert" in self.architecture
        return embeds or self.architecture in SINGLE_SLOT_FAMILIES

    @property
    def label(self) -> str:
        """The model as a person may know it: the server's log has no name of its own for it."""
        return self.name or self.model[:19]


def parse_journal(text: str) -> tuple[Line, ...]:
    """The output of ``journalctl --output=short-unix``. What systemd indents belongs to the line before it."""
    lines: list[Line] = []
    for row in text.splitlines():
        entry = _ENTRY.match(row)
        if entry:
            lines.append(Line(float(entry[1]), entry[2].rstrip()))
        elif lines and row.startswith(" "):
            lines[-1] = replace(lines[-1], text=f"{lines[-1].text}\n{row.strip()}")
    return tuple(lines)


def since(lines: Sequence[Line], time: float) -> tuple[Line, ...]:
    """The lines from a time on."""
    return tuple(line for line in lines if line.time >= time)


def last_listening(lines: Sequence[Line]) -> int:
    """How many lines there are up to the last successful start; 0 where there is none."""
    return next((index for index in range(len(lines), 0, -1) if _VERSION.search(lines[index - 1].text)), 0)


def version(lines: Sequence[Line]) -> str:
    """The version that the server said when it last started; empty where it did not."""
    index = last_listening(lines)
    found = _VERSION.search(lines[index - 1].text) if index else None
    return found[1] if found else ""


def last_request(lines: Sequence[Line], until: float = float("inf")) -> float:
    """When a request to a model last ended, at ``until`` or before; 0 where none did."""
    return next((line.time for line in reversed(lines) if line.time <= until and _REQUEST.search(line.text)), 0.0)


def loads(lines: Sequence[Line]) -> tuple[Load, ...]:
    """Every load of a model, in order. What follows a load's first line, up to the next one's, tells about it."""
    found: list[Load] = []
    for line in lines:
        start = _START.search(line.text)
        if start:
            slots = _SLOTS.search(line.text)
            context, parallel = (int(slots[1]), int(slots[2])) if slots else (0, 0)
            found.append(Load(line.time, start[1], line.text, parallel, context))
        elif found:
            found[-1] = _with(found[-1], line.text)
    return tuple(found)


def _with(load: Load, text: str) -> Load:
    requested = _REQUESTED.search(text)
    if requested:
        parallel, context, threads = map(int, requested.groups())
        return replace(load, line=text, parallel=parallel, context=context, threads=threads)
    asked = _ASKED.search(text)
    if asked:
        return replace(load, name=asked[1])
    threads_line, kind, name = _THREADS.search(text), _FILE_TYPE.search(text), _NAME.search(text)
    architecture = _ARCHITECTURE.search(text)
    return replace(
        load,
        threads=int(threads_line[1]) if threads_line else load.threads,
        file_type=kind[1] if kind else load.file_type,
        name=name[1] if name else load.name,
        architecture=architecture[1] if architecture else load.architecture,
    )
