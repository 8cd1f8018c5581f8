# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Registries that refuse, lie or are silent: one clear message, nothing half-written, and the next run completes."""

from __future__ import annotations
