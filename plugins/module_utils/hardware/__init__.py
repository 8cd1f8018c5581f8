# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host has and what it may use: ``probe.probe()`` reads it, ``description.Hardware`` holds it."""

from __future__ import annotations
