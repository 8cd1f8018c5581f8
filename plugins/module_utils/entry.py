# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The only place where the collection's Python meets ``AnsibleModule``."""

from __future__ import annotations

import atexit
import gc
import importlib
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Callable, Dict  # noqa: UP035  # see below

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.llmops.ollama.plugins.module_utils.archive_finder import install
from ansible_collections.llmops.ollama.plugins.module_utils.errors import OllamaError

install()
# The process ends with the module's answer: Python need not look for garbage in all that it leaves behind.
atexit.register(gc.freeze)

# Not dict[…]: on Python 3.8 this file must still load, so that the preflight can say that it is too old.
Result = Dict[str, Any]  # noqa: UP006  # the same

# The options of doc_fragments/server.py: where the Ollama server is.
SERVER_OPTIONS: dict[str, Any] = {
    "url": {"type": "str", "default": "http://127.0.0.1:11434"},
    "timeout": {"type": "float", "default": 30.0},
}
# The options of every module that talks to a mirror.
ACCESS_OPTIONS: dict[str, Any] = {
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "ca_path": {"type": "path"},
}


def run(
    main: Callable[[AnsibleModule], Result],
    argument_spec: Mapping[str, Any],
    *,
    requires: Sequence[str] = (),
    **module_options: Any,
) -> None:
    """Run a module's ``main`` and leave the process with its result.

    ``requires`` names the Python libraries that ``main`` needs on the target (``requests``, ``psutil``); a missing one
    is reported with the interpreter that lacks it. ``progress_file`` is set by the collection's action plugins and is
    accepted by every module. An ``OllamaError`` becomes ``fail_json`` here and nowhere else.
    """
    spec = dict(argument_spec, progress_file={"type": "path"})
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True, **module_options)
    for library in requires:
        need(module, library)
    try:
        result = main(module)
    except OllamaError as error:
        module.fail_json(msg=str(error), **error.details)
    finally:
        if module.params["progress_file"]:
            Path(module.params["progress_file"]).unlink(missing_ok=True)
    module.exit_json(**result)


def need(module: AnsibleModule, library: str) -> None:
    """Fail with a hint unless a Python library is there; for one that only some options need."""
    try:
        importlib.import_module(library)
    except ImportError:
        module.fail_json(msg=missing_required_lib(library), exception=traceback.format_exc())
