# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes sure that trial settings end with the process that tries them, whatever ends it.

That process holds a lock, which the kernel takes from it in any case. A unit of its own waits for this lock before the
first trial is made: once it gets it, it removes the trial's file and restarts the service. A process that ends well
stops the unit before it gives up the lock. The lock also keeps a second process out.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from types import TracebackType

from ansible_collections.llmops.ollama.plugins.module_utils.errors import OllamaError, Unhealthy, from_os_error
from ansible_collections.llmops.ollama.plugins.module_utils.systemd import QUERY_SECONDS, Run, run_command

# Systemd reads a dollar as the beginning of a variable unless it is doubled.
SCRIPT = """
exec 9<>"$$1"; flock --timeout "$$2" 9
rm -f "$$3"; systemctl daemon-reload; systemctl reset-failed "$$4"; systemctl restart "$$4"
"""


class Busy(OllamaError):
    """Somebody else tries settings of this service."""


class Guard:
    """Inside a ``with`` block: the only one to try settings of ``service``, by writing ``path``.

    After ``seconds`` it takes the trial back even though the process is still there. At the end of the block the guard
    has its turn only if it is still ``needed``: who tries settings says so, and when the service runs as before.
    """

    def __init__(self, service: str, path: str, seconds: float, run: Run = run_command, folder: str = "/run") -> None:
        name = service.rpartition(".")[0]
        self.unit = f"llmops-autotune-{name}.service"
        self._service, self._path, self._seconds, self._run = service, path, seconds, run
        self._lock = Path(folder, f"llmops-autotune-{name}.lock")
        self._descriptor = -1
        self.needed = False

    def __enter__(self) -> Guard:
        self._descriptor = self._take_lock()
        try:
            self._start()
        except BaseException:
            os.close(self._descriptor)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.needed:
            with contextlib.suppress(OllamaError):  # then it restores what is restored already
                self._run(["systemctl", "stop", self.unit], QUERY_SECONDS)
        os.close(self._descriptor)

    def _take_lock(self) -> int:
        try:
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise from_os_error(error, self._lock, "Run as root (become: true).") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            with os.fdopen(descriptor) as stream:
                holder = stream.read().strip()
            raise Busy(
                f"Settings of {self._service} are being tried already (process {holder or 'unknown'}), or those of an "
                "interrupted run are just being taken back.",
                "Wait for its end, then run again.",
            ) from None
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        return descriptor

    def _start(self) -> None:
        command = ["systemd-run", f"--unit={self.unit}", "--collect", "--quiet", "--property=Type=exec"]
        command += [f"--description=Takes back trial settings of {self._service} when they are not wanted any more"]
        command += ["/bin/sh", "-c", SCRIPT, "sh", str(self._lock), f"{self._seconds:.0f}", self._path, self._service]
        done = self._run(command, QUERY_SECONDS)
        if done.status:
            reason = (done.errors.strip() or f"status {done.status}").splitlines()[-1].rstrip(".")
            raise Unhealthy(
                f"The guard that would take trial settings back cannot be started: {reason}.",
                "Nothing was tried. Check that systemd-run works on this host.",
            )
