# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of every module that talks to a running Ollama server."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  url:
    description:
      - Address of the Ollama server, as seen from the host that the module runs on.
    type: str
    default: http://127.0.0.1:11434
  timeout:
    description:
      - Seconds to wait for the next byte of an answer. A stream that keeps coming may take longer in all.
    type: float
    default: 30.0
requirements:
  - requests (Debian and Ubuntu package python3-requests)
"""
