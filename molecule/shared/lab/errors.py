# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one exception that the command line turns into a message."""

from __future__ import annotations


class LabError(Exception):
    """Something that a person has to know: what happened, and what to do about it."""
