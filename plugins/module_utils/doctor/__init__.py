# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Why a server does not do well.

``gather`` looks at a host and makes an ``Evidence``. The detectors (``settings``, ``memory``, ``speed``, ``running``)
are pure functions from it to findings; ``diagnosis`` runs them all.
"""

from __future__ import annotations
