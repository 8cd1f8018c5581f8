# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Shows the progress of llmops.ollama.autotune while it runs."""

from __future__ import annotations

from ansible_collections.llmops.ollama.plugins.plugin_utils.progress import ProgressAction


class ActionModule(ProgressAction):
    """Everything is inherited."""
