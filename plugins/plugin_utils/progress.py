# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Live progress of a long-running module on the controller's screen.

The module writes its latest line to a file on the target (``module_utils/progress.py``). While it runs, a thread reads
that file and prints each new line with the host's name. The display is a convenience: whatever goes wrong with it, the
module's result is what counts.
"""

from __future__ import annotations

import copy
import threading
import uuid
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

# With the way to the host, a line is seen within a second.
POLL_SECONDS = 0.5


class ProgressAction(ActionBase):
    """Runs the module of the same name, printing its progress; everything else is the module's business."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_diff = True
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        if self._task.async_val:  # nobody waits for it here
            result.update(self._execute_module(task_vars=task_vars, wrap_async=True))
            return result
        path = f"/tmp/.llmops-ollama-{uuid.uuid4().hex}"  # noqa: S108  # on the target; a random name, opened by us alone
        done = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(path, done, task_vars), daemon=True)
        watcher.start()
        try:
            arguments = dict(self._task.args, progress_file=path)
            result.update(self._execute_module(module_args=arguments, task_vars=task_vars))
        finally:
            done.set()
            watcher.join(timeout=POLL_SECONDS * 5)
        # Callers see the arguments that they gave.
        result.get("invocation", {}).get("module_args", {}).pop("progress_file", None)
        return result

    def _watch(self, path: str, done: threading.Event, task_vars: dict[str, Any]) -> None:
        """Print each new line of the progress file until ``done``; the module removes the file when it ends."""
        display = Display()
        host = task_vars.get("inventory_hostname", "")
        shown = ""
        try:
            twin = self._twin()
            while not done.wait(POLL_SECONDS):
                text = twin._low_level_execute_command(f"cat {path} 2>/dev/null || true")["stdout"].strip()
                if text and text != shown:
                    shown = text
                    display.display(f"  {host}: {text}")
        except Exception as error:  # noqa: BLE001  # a display must never fail the task it describes
            display.vvv(f"no progress for {host}: {error}")

    def _twin(self) -> ActionBase:
        """This action over a connection whose state (above all the become marker) the running module does not share."""
        twin = copy.copy(self)
        twin._connection = copy.copy(self._connection)
        if twin._connection.become is not None:
            twin._connection.set_become_plugin(copy.copy(twin._connection.become))
        return twin
