# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of every module that may talk to a mirror which does not let everybody in."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  username:
    description:
      - Name for HTTP basic authentication at a mirror. Nothing of it is sent to Ollama's own addresses, or to another
        server that the mirror redirects to.
    type: str
  password:
    description:
      - The password that goes with O(username). Over plain http anybody on the way can read it.
    type: str
  ca_path:
    description:
      - File on the host with the certificate of the authority that signed the mirror's, in PEM form. Without it the
        system's authorities count.
    type: path
"""
