# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Live progress of a long-running module on the controller's screen.

The module writes its latest line to a file on the target (``module_utils/progress.py``). While it runs, a thread reads that
file over a connection of its own and prints each new line with the host's name. The display is a convenience: whatever goes
wrong with it, the module's result is what counts.
"""

from __future__ import annotations

import shlex
import threading
import uuid
from typing import Any, Dict, Optional

from ansible.plugins.action import ActionBase
from ansible.plugins.loader import connection_loader
from ansible.utils.display import Display

POLL_SECONDS = 1.0


class ProgressAction(ActionBase):  # type: ignore[misc]  # ansible-core ships no types
    """Runs the module of the same name, printing its progress; everything else is the module's business."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        task_vars = task_vars or {}
        result: Dict[str, Any] = super().run(tmp, task_vars)
        path = f"/tmp/.llmops-ollama-{uuid.uuid4().hex}"
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
