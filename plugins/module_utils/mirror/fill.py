# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Brings a mirror to what it shall have. A release or model is served only when all of its files are there."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.llmops.ollama.plugins.module_utils.download import Moved
from ansible_collections.llmops.ollama.plugins.module_utils.errors import OllamaError, Unhealthy, from_os_error
from ansible_collections.llmops.ollama.plugins.module_utils.folder import exclusively, make_folder
from ansible_collections.llmops.ollama.plugins.module_utils.mirror.archive import is_current, pack
from ansible_collections.llmops.ollama.plugins.module_utils.mirror.layout import (
    LIST,
    LOCK,
    Layout,
    format_list,
)
from ansible_collections.llmops.ollama.plugins.module_utils.mirror.origin import File, Origin
from ansible_collections.llmops.ollama.plugins.module_utils.mirror.plan import (
    Plan,
    Planner,
    Unit,
    Wanted,
    check_space,
    pin_of,
    pins,
)
from ansible_collections.llmops.ollama.plugins.module_utils.model_lock import Lock, to_text
from ansible_collections.llmops.ollama.plugins.module_utils.progress import Report, Transfer


@dataclass
class Outcome:
    """What was done, or under check mode would be: names of files, each in the order in which it was dealt with.

    ``bytes`` came by this run. ``lock`` has every complete model of the mirror.
    """

    files: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    bytes: int = 0
    lock: Lock = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        return bool(self.files or self.damaged or self.removed)

    def diff(self, header: str) -> dict[str, str]:
        """The files that go and those that come, as Ansible shows them."""
        return {
            "before": "".join(f"{name}\n" for name in sorted({*self.damaged, *self.removed})),
            "after": "".join(f"{name}\n" for name in sorted(self.files)),
            "before_header": header,
            "after_header": header,
        }


def fill(
    layout: Layout, origin: Origin, wanted: Wanted, report: Report, archive: Path | None = None, check: bool = False
) -> Outcome:
    """Bring the mirror to what is wanted, and ``archive``, where given, to one file of all of it.

    ``check``: only say what would be done. Raises any ``OllamaError``, whose details then have what was done before.
    """
    outcome = Outcome()
    planner = Planner(layout, origin, wanted, report)
    try:
        with _plain_errors(layout), contextlib.nullcontext() if check else exclusively(layout.root, "filling"):
            plan = planner.plan()
            run = _Run(layout, origin, report, outcome)
            check_space(
                layout, plan, archive if archive and (plan.changed or not is_current(archive, layout)) else None
            )
            if check:
                run.predict(plan, archive)
            else:
                run.carry_out(plan, archive)
    except OllamaError as error:
        done = {"changed": outcome.changed, "files": outcome.files, "bytes": outcome.bytes}
        error.details.update(done, damaged=list(planner.damaged))
        raise
    return outcome


class _Run:
    def __init__(self, layout: Layout, origin: Origin, report: Report, outcome: Outcome) -> None:
        self._layout, self._origin, self._report, self._outcome = layout, origin, report, outcome
        self._listed = layout.listed()

    def predict(self, plan: Plan, archive: Path | None) -> None:
        outcome, layout = self._outcome, self._layout
        for unit in plan.units:
            outcome.files += [*(file.name for file in unit.missing), *([unit.name] if unit.content is not None else [])]
        outcome.damaged, outcome.removed = list(plan.damaged), list(plan.removed)
        outcome.lock = pins(layout, plan.removed)
        for unit in plan.units:
            if unit.model and unit.manifest and unit.changed:
                config = self._origin.small_blob(unit.model, unit.manifest.config)
                outcome.lock[unit.model.key] = pin_of(unit.manifest, config)
        lock = to_text(outcome.lock).encode()
        outcome.files += [LOCK] if lock != layout.read(LOCK) else []
        if outcome.changed or self._list(lock) != layout.read(LIST):
            outcome.files.append(LIST)
        if archive and (outcome.changed or not is_current(archive, layout)):
            outcome.files.append(str(archive))

    def carry_out(self, plan: Plan, archive: Path | None) -> None:
        outcome, layout = self._outcome, self._layout
        for name in plan.damaged:  # at once: what is not good must not be taken for it, whatever happens next
            layout.at(name).unlink(missing_ok=True)
            outcome.damaged.append(name)
        progress = _Progress(plan, self._report)
        for unit in plan.units:
            self._bring(unit, progress)
        for name in sorted(plan.removed, reverse=True):  # a manifest before its blobs, a list before its archives
            layout.remove(name)
            self._listed.pop(name, None)
            outcome.removed.append(name)
        outcome.lock = pins(layout)
        lock = to_text(outcome.lock).encode()
        self._write(LOCK, lock)
        self._write(LIST, self._list(lock))
        layout.clean()
        if archive and not is_current(archive, layout):
            pack(archive, layout, self._report)
            outcome.files.append(str(archive))

    def _bring(self, unit: Unit, progress: _Progress) -> None:
        layout = self._layout
        for file in unit.missing:
            partial = layout.partial(file.name, file.sha256)
            make_folder(partial.parent)
            self._outcome.bytes += self._origin.save(file, partial, progress.of(file))
            layout.place(partial, file.name)
            self._listed[file.name] = file.sha256
            self._outcome.files.append(file.name)
        if unit.content is None:
            return
        for name, size in unit.files.items():
            there = layout.at(name)
            if not there.is_file() or size not in (0, there.stat().st_size):
                raise Unhealthy(
                    f"{unit.label} is not complete: {name} went away while the mirror was filled.",
                    "Run again. An Ollama server that starts up removes from its store what no model has yet.",
                    name=name,
                )
        self._write(unit.name, unit.content)

    def _write(self, name: str, content: bytes) -> None:
        """Put a small file where it is not there yet as it shall be."""
        if content != self._layout.read(name):
            self._layout.write(name, content)
            self._outcome.files.append(name)
        self._listed[name] = hashlib.sha256(content).hexdigest()

    def _list(self, lock: bytes) -> bytes:
        """The list of all files: with the digests that they came with, so that one that changed since is seen."""
        digests = {LOCK: hashlib.sha256(lock).hexdigest()}
        if self._layout.in_one_place:
            names = self._layout.files()
            digests.update({name: self._listed.get(name) or self._layout.digest(name) for name in names})
        return format_list(digests)


class _Progress:
    """How far all of it is, with the number of the file that is coming."""

    def __init__(self, plan: Plan, report: Report) -> None:
        self._report = report
        self._count = len(plan.missing)
        sizes = [file.size for file in plan.missing]
        self._transfer = Transfer("", sum(sizes) if all(sizes) else 0)
        self._number = self._before = 0

    def of(self, file: File) -> Moved:
        """What is to be told of the bytes of one file."""
        self._number += 1
        before = self._before
        self._before += file.size
        self._transfer.label = f"{self._number}/{self._count} {file.label}"

        def moved(done: int, total: int) -> None:
            self._report(self._transfer.text(before + done))

        return moved


@contextlib.contextmanager
def _plain_errors(layout: Layout) -> Iterator[None]:
    """Say what the operating system refused, in words that name the path."""
    try:
        yield
    except OSError as error:
        raise from_os_error(error, layout.root, "Check the path and the user that this runs as.") from error
