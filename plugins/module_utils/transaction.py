# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Changes the files of a systemd service as one transaction: all of it works, or the previous state runs again.

``plan`` is pure: from what is wanted and what is there to what must happen. ``Transaction`` makes it happen, and takes
it back at its end unless it was committed. Settings that are only tried out are never committed.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Callable, NoReturn, Union

from ansible_collections.llmops.ollama.plugins.module_utils.errors import (
    Interrupted,
    InvalidInput,
    OllamaError,
    Unhealthy,
    from_os_error,
)
from ansible_collections.llmops.ollama.plugins.module_utils.systemd import Run, Systemd, Unit, run_command
from ansible_collections.llmops.ollama.plugins.module_utils.words import http_url

VALIDATE_SECONDS = 60.0
PROBE_SECONDS = 5.0
# A process that cannot work (a bad setting, a port in use) is gone within this time.
SETTLE_SECONDS = 0.5
_UNIT_FILE = re.compile(r"\.(service|socket|timer|path|target|slice|mount)(\.d/[^/]+\.conf)?$")
_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@dataclass(frozen=True)
class File:
    """A regular file. ``mode`` holds the permission bits; an ``owner`` or ``group`` of ``None`` stays as it is."""

    content: bytes
    mode: int = 0o644
    owner: int | None = None
    group: int | None = None


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


# What is at a path, or shall be; None is nothing.
State = Union[File, Link, None]


@dataclass(frozen=True)
class Item:
    """A path and what shall be there. ``restart``: the service has to notice a change of it."""

    path: str
    state: State
    restart: bool = True


@dataclass(frozen=True)
class Change:
    """One path that is not as it shall be."""

    path: str
    before: State
    after: State
    restart: bool = True


@dataclass(frozen=True)
class Plan:
    """What must happen. ``action`` on the service is none, start, restart or reload, and ``reason`` says why.

    ``enable`` and ``disable`` are about starting at boot.
    """

    unit: Unit
    changes: tuple[Change, ...] = ()
    action: str = "none"
    reason: str = ""
    enable: bool = False
    disable: bool = False

    @property
    def changed(self) -> bool:
        """Whether anything must happen."""
        return bool(self.changes) or self.action != "none" or self.enable or self.disable


# --- planning (pure) -----------------------------------------------------------------------------------------------


def plan(
    items: Sequence[Item],
    current: Mapping[str, State],
    unit: Unit,
    *,
    on_change: str = "restart",
    enabled: bool | None = True,
    written: Mapping[str, float] | None = None,
    reads: Iterable[str] = (),
) -> Plan:
    """Compare what is wanted with what is there.

    ``on_change`` (restart or reload) is how the service takes up its files. ``enabled`` is whether it starts at boot;
    None leaves that as it is. ``written`` is when each present path was last written (s since the epoch): a process
    that is older than one of its files has not read it, which is what a run that was interrupted leaves behind.
    ``reads`` are paths of others that it reads, too. Raises ``InvalidInput``.
    """
    _check_paths(items)
    changes = []
    for item in items:
        before, after = current.get(item.path), item.state
        if isinstance(before, File) and isinstance(after, File):
            after = replace(
                after,
                owner=before.owner if after.owner is None else after.owner,
                group=before.group if after.group is None else after.group,
            )
        if before != after:
            changes.append(Change(item.path, before, after, item.restart))
    action, reason = _action([change for change in changes if change.restart], unit, on_change)
    if action == "none":
        paths = {*reads, *(item.path for item in items if item.restart)}
        action, reason = _stale(paths, unit, on_change, written or {})
    # A unit that cannot be enabled, or is not itself, may be one that can once its file is another.
    other_unit = unit.file_state not in ("enabled", "alias") and any(
        Path(change.path).name == unit.name and isinstance(change.after, File) for change in changes
    )
    return Plan(
        unit=unit,
        changes=tuple(changes),
        action=action,
        reason=reason,
        enable=enabled is True and (other_unit or unit.file_state in ("", "disabled", "enabled-runtime")),
        disable=enabled is False and unit.file_state in ("enabled", "enabled-runtime"),
    )


def is_unit_file(path: str) -> bool:
    """Whether systemd reads this file (a unit or its drop-in), so that a reload of the service is not enough."""
    return bool(_UNIT_FILE.search(path))


def diff(planned: Plan) -> list[dict[str, str]]:
    """Before and after, one entry for each path and one for the service."""
    entries = [
        {
            "before_header": _header(change.path, change.before),
            "after_header": _header(change.path, change.after),
            "before": _text(change.before),
            "after": _text(change.after),
        }
        for change in planned.changes
    ]
    if planned.enable or planned.disable:
        name = planned.unit.name
        words = ["disabled\n", "enabled\n"] if planned.enable else ["enabled\n", "disabled\n"]
        entries.append({"before_header": name, "after_header": name, "before": words[0], "after": words[1]})
    return entries


def _check_paths(items: Sequence[Item]) -> None:
    seen = set()
    for item in items:
        if not Path(item.path).is_absolute() or os.path.normpath(item.path) != item.path:
            raise InvalidInput(f"{item.path!r} is not an absolute path in its plain form.", "Give the full path.")
        if item.path in seen:
            raise InvalidInput(f"{item.path} is named twice.", "Name each path once among files, links and absent.")
        seen.add(item.path)


def _action(changes: Sequence[Change], unit: Unit, on_change: str) -> tuple[str, str]:
    if not unit.running:
        # A unit that systemd keeps starting in vain must be stopped first to read its files anew.
        return ("restart" if changes and not unit.gone else "start"), f"{unit.name} was not running"
    for change in changes:
        if is_unit_file(change.path):
            return "restart", f"{change.path} changed"
    if changes:
        return on_change, f"{changes[0].path} changed"
    if unit.need_daemon_reload:
        return "restart", f"the files of {unit.name} were changed without telling systemd"
    return "none", ""


def _stale(paths: set[str], unit: Unit, on_change: str, written: Mapping[str, float]) -> tuple[str, str]:
    for path in sorted(paths & set(written)):
        verb = "restart" if is_unit_file(path) else on_change
        taken_up = unit.started if verb == "restart" else max(unit.started, unit.changed)
        if unit.started and written[path] > taken_up:
            return verb, f"{path} is newer than the running process"
    return "none", ""


def _header(path: str, state: State) -> str:
    if isinstance(state, File):
        owner = ":".join("-" if number is None else str(number) for number in (state.owner, state.group))
        return f"{path} (mode {state.mode:04o}, owner {owner})"
    return f"{path} ({'link' if state else 'absent'})"


def _text(state: State) -> str:
    if isinstance(state, File):
        return state.content.decode("utf-8", "replace")
    return f"-> {state.target}\n" if state else ""


# --- reading -------------------------------------------------------------------------------------------------------


def read(path: str) -> State:
    """What is at a path now. Raises ``InvalidInput`` where it is a directory or a device, or cannot be read."""
    place = Path(path)
    try:
        if place.is_symlink():
            return Link(str(place.readlink()))
        status = place.stat()
        if not place.is_file():
            raise InvalidInput(f"{path} is neither a file nor a link.", "Move it away, then run again.")
        return File(place.read_bytes(), status.st_mode & 0o7777, status.st_uid, status.st_gid)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise from_os_error(error, path, "Check the path and the user that this runs as.") from error


def written(path: str, follow: bool = False) -> float | None:
    """When the file or link was last written, in seconds since the epoch; ``follow``: or what the link leads to.

    ``None`` where there is none, and for a time to come, which tells nothing.
    """
    try:
        latest = max(Path(path).lstat().st_mtime, Path(path).stat().st_mtime if follow else 0.0)
    except OSError:
        return None
    return latest if latest <= time.time() else None


# --- acting --------------------------------------------------------------------------------------------------------

# Says what is missing for the service to be ready, or None when nothing is.
Ready = Callable[[], "str | None"]


def answers(url: str) -> Ready:
    """A readiness check: a GET of ``url`` is answered with status 200. No proxy stands in between.

    Whose certificate an https server has does not matter: it is asked on its own host, by another name.
    """
    http_url("ready_url", url)  # refuses what is none; the address itself counts to the last slash
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))

    def check() -> str | None:
        try:
            with opener.open(url, timeout=PROBE_SECONDS) as response:
                status = response.status
        except urllib.error.HTTPError as error:
            status = error.code
        except (OSError, ValueError, http.client.HTTPException) as error:
            return f"{url} does not answer ({getattr(error, 'reason', None) or error})"
        return None if status == 200 else f"{url} answers {status}"

    return check


class FileSet:
    """Writes changes so that they can be taken back exactly, also when the disk is full by then.

    Everything that can fail is done beside the paths first; then each is replaced by one rename. What a path held stays
    beside it under a hidden name until ``commit``.
    """

    def __init__(self, changes: Sequence[Change]) -> None:
        self._changes = changes
        self._placed: list[Change] = []
        self._folders: list[Path] = []

    def write(self) -> None:
        """Put every change into place. Raises an ``OllamaError``; ``rollback`` is the caller's."""
        path = ""
        try:
            for change in self._changes:
                path = change.path
                self._stage(change)
            for change in self._changes:
                path = change.path
                self._placed.append(change)
                if change.after is None:
                    Path(path).unlink()
                else:
                    _beside(path, "new").replace(path)
        except OSError as error:
            raise from_os_error(error, path, "Check the path and the user that this runs as.") from error

    def rewrite(self, path: str, state: File) -> None:
        """Put something else at a path that was written; what was there at first stays what ``rollback`` restores."""
        try:
            _write_new(path, state).replace(path)
        except OSError as error:
            raise from_os_error(error, path, "Check the path and the user that this runs as.") from error

    def rollback(self) -> None:
        """Put back what was there: the very same files with their times, owners and attributes.

        Raises an ``OllamaError`` at the end, when everything else is back.
        """
        failure = None
        for change in reversed(self._placed):
            try:
                if change.before is None:
                    Path(change.path).unlink(missing_ok=True)
                else:
                    _beside(change.path, "old").replace(change.path)
            except OSError as error:
                failure = from_os_error(error, change.path, "Restore it by hand.")
        if failure:
            raise failure
        self.commit()
        for folder in reversed(self._folders):
            with contextlib.suppress(OSError):  # somebody else uses it by now
                folder.rmdir()

    def commit(self) -> None:
        """Forget what was there before."""
        clean(change.path for change in self._changes)

    def _stage(self, change: Change) -> None:
        place = Path(change.path)
        missing = [folder for folder in place.parents if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir()
            folder.chmod(0o755)  # whatever the umask is
            self._folders.append(folder)
        clean([change.path])
        if change.before is not None:
            os.link(place, _beside(change.path, "old"), follow_symlinks=False)
        if isinstance(change.after, Link):
            _beside(change.path, "new").symlink_to(change.after.target)
        elif change.after is not None:
            _write_new(change.path, change.after)


def _write_new(path: str, state: File) -> Path:
    """Write a file beside a path, down to the disk; returns its path."""
    new = _beside(path, "new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(state.content)
        os.fchown(descriptor, -1 if state.owner is None else state.owner, -1 if state.group is None else state.group)
        os.fchmod(descriptor, state.mode)
        stream.flush()
        os.fsync(descriptor)
    return new


def clean(paths: Iterable[str]) -> None:
    """Remove what an interrupted run left beside these paths."""
    for path in paths:
        for kind in ("new", "old"):
            with contextlib.suppress(OSError):  # it lies there and does no harm
                _beside(path, kind).unlink(missing_ok=True)


def _beside(path: str, kind: str) -> Path:
    """A hidden name: services that include every file of a folder leave it out."""
    place = Path(path)
    return place.with_name(f".{place.name}.llmops-{kind}")


class Transaction:
    """Carries out a plan inside a ``with`` block, and takes it back at the end of the block unless it was committed.

    ``validate`` is a command that must succeed once the files are in place and before the service is touched. ``ready``
    and ``ready_timeout`` (s) say when the service works. The service is restarted or reloaded once. Signals that end a
    process end the block first, and an ``OllamaError`` that leaves it says in what state the service is now.
    """

    def __init__(
        self,
        planned: Plan,
        systemd: Systemd,
        *,
        validate: Sequence[str] = (),
        ready: Ready = lambda: None,
        ready_timeout: float = 60.0,
        run: Run = run_command,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._plan, self._systemd, self._validate, self._run = planned, systemd, validate, run
        self._ready, self._ready_timeout, self._clock, self._sleep = ready, ready_timeout, clock, sleep
        self._unit = planned.unit.name
        self._files = FileSet(planned.changes)
        self._unit_files = any(is_unit_file(change.path) for change in planned.changes)
        self._was_ready = False
        self._touched: float | None = None  # since when the service may know of the change (s since the epoch)
        self._open = False  # whether the end of the block must take the change back
        self._interruptible = False
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Transaction:
        self._open = self._interruptible = True
        self._handlers = {number: signal.signal(number, self._interrupt) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._interruptible = False  # what is being restored must be restored
        try:
            if self._open and isinstance(error, OllamaError):
                self._fail(error)
            elif self._open:
                self._roll_back()
        finally:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

    def apply(self) -> None:
        """Write, validate, restart or reload, and wait until the service is ready. Raises an ``OllamaError``."""
        self._was_ready = self._plan.unit.running and self._ready() is None
        self._files.write()
        if self._plan.changes and self._validate:
            self._check()
        self._touched = time.time()
        if self._unit_files or self._plan.unit.need_daemon_reload:
            self._systemd.daemon_reload()
        if self._plan.enable:
            self._systemd.enable(self._unit)
        if self._plan.disable:
            self._systemd.disable(self._unit)
        if self._plan.action != "none":
            actions = {"start": self._systemd.start, "restart": self._systemd.restart, "reload": self._systemd.reload}
            actions[self._plan.action](self._unit)
            self._wait(self._ready)

    def switch(self, path: str, state: File) -> None:
        """Put something else at a path of the plan, restart, and wait until the service is ready.

        Raises an ``OllamaError``; the block may go on with another state all the same.
        """
        self._files.rewrite(path, state)
        if is_unit_file(path):
            self._systemd.daemon_reload()
        self._systemd.restart(self._unit)
        self._wait(self._ready)

    def commit(self) -> None:
        """Keep what was applied."""
        self._open = self._interruptible = False
        self._files.commit()

    def _roll_back(self) -> None:
        """Restore the files and the service as they were. Raises an ``OllamaError`` where that does not succeed."""
        before = self._plan.unit
        if self._touched:
            with contextlib.suppress(OllamaError):  # the new unit may not even be loadable
                if not before.running:
                    self._systemd.stop(self._unit)
                if self._plan.enable:
                    self._systemd.disable(self._unit)
        self._files.rollback()
        if not self._touched:
            return
        if self._unit_files or before.need_daemon_reload:
            self._systemd.daemon_reload()
        if self._plan.disable:
            self._systemd.enable(self._unit)
        if before.running and self._plan.action != "none":
            reload = self._plan.action == "reload" and self._systemd.show(self._unit).running
            (self._systemd.reload if reload else self._systemd.restart)(self._unit)
            self._wait(self._ready if self._was_ready else lambda: None)

    def _check(self) -> None:
        done = self._run(self._validate, VALIDATE_SECONDS)
        if done.status:
            lines = (done.errors.strip() or done.output.strip() or f"status {done.status}").splitlines()
            reason = " | ".join(line.strip() for line in lines)
            raise InvalidInput(
                f"{' '.join(self._validate)} refused the new files: {reason}.",
                "Correct the values and run again.",
                reason=reason,
            )

    def _wait(self, ready: Ready) -> None:
        """Return once the same process has been up for a moment and is ready; a service that fails is told at once."""
        start = self._clock()
        pause = 0.05
        process, up_since, restarts = 0, start, None
        while True:
            unit = self._systemd.show(self._unit)
            restarts = unit.restarts if restarts is None else restarts
            if unit.gone or unit.restarts > restarts:
                raise Unhealthy(f"{self._unit} did not stay up ({unit.result}, exit status {unit.exit_status}).")
            now = self._clock()
            if unit.main_pid != process:
                process, up_since = unit.main_pid, now
            missing = ready() if unit.running else f"it is still {unit.active_state}"
            if missing is None and now - up_since >= SETTLE_SECONDS:
                return
            if now - start >= self._ready_timeout:
                raise Unhealthy(
                    f"{self._unit} was not ready within {self._ready_timeout:g} s: {missing or 'it just started'}."
                )
            self._sleep(pause)
            pause = min(pause * 2, 0.5)

    def _fail(self, error: OllamaError) -> NoReturn:
        """Roll back and raise ``error`` with what the service said and what state it is in now."""
        log = self._systemd.journal(self._unit, self._touched) if self._touched else []
        # The message is for reading: its end is what matters, and a line may be very long. The result has all of it.
        said = f" Its last log lines: {' | '.join(line[:200] for line in log[-5:])}" if log else ""
        restored = True
        try:
            self._roll_back()
            outcome = self._outcome()
        except OllamaError as second:
            restored = False
            outcome = f"The previous state could not be restored: {second.problem} {second.remedy}"
        remedy = error.remedy or "Correct the setting that the log names and run again."
        details = {"reason": error.problem, "journal": log, "restored": restored, **error.details}
        raise type(error)(f"{error.problem}{said} {outcome}", remedy, **details) from error

    def _outcome(self) -> str:
        files = "The previous files are back" if self._plan.changes else "No file was changed"
        if not self._touched:
            return f"{files}; the service was not touched."
        if not self._plan.unit.running:
            return f"{files}; the service is stopped, and it was not running before."
        return f"{files} and the service runs as before."

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._interruptible:
            self._interruptible = False
            raise Interrupted(f"Interrupted by {signal.Signals(number).name}.", "Run again.")
