# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An Ollama server as its own host sees it: over its API, beside everything that is tested."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from testinfra.host import Host

ASK = """
import json, sys, urllib.request
method, url, body = sys.argv[1:]
request = urllib.request.Request(url, body.encode() or None, method=method)
print(urllib.request.urlopen(request, timeout=60).read().decode())
"""


@dataclass(frozen=True)
class OllamaServer:
    """The server of a systemd ``unit`` on ``host``, with its API at ``port`` and its models in ``store``."""

    host: Host
    unit: str = "ollama"
    port: int = 11434
    store: str = "/var/lib/ollama/models"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> str:
        text = json.dumps(body) if body else ""
        return self.host.check_output("python3 -c %s %s %s %s", ASK, method, self.url + path, text)

    def models(self) -> dict[str, str]:
        """Name and digest of what the server says it has."""
        return {model["name"]: model["digest"] for model in json.loads(self.ask("GET", "/api/tags"))["models"] or []}

    def answers(self, model: str) -> bool:
        """Whether the model makes a token."""
        body = {"model": model, "prompt": "The sea", "raw": True, "stream": False, "options": {"num_predict": 1}}
        return json.loads(self.ask("POST", "/api/generate", body))["eval_count"] == 1

    def delete(self, model: str) -> None:
        self.ask("DELETE", "/api/delete", {"model": model})

    def arrived(self, digest: str) -> int:
        """Bytes on disk of a blob that is being pulled, given its hex digest."""
        return int(self.host.check_output(f"stat --format=%b {self.store}/blobs/sha256-{digest}-partial")) * 512

    def files(self) -> list[str]:
        """What is in the store: manifests and blobs, whole and partial."""
        return self.host.check_output(f"find {self.store} -type f -printf '%P\\n'").split()

    def forget_partials(self) -> None:
        self.host.check_output(f"rm -f {self.store}/blobs/*-partial*")

    def wait_for(self, pattern: str, since: str, seconds: int = 30) -> None:
        """Returns when the server's log has the pattern in a line that is not older than ``since`` (``date``'s)."""
        follow = f"timeout {seconds} journalctl --unit={self.unit} --follow --since={since} --output=cat"
        search = f'grep --quiet --max-count=1 "$0" <({follow} 2> /dev/null)'
        self.host.check_output("bash -c %s %s", search, pattern)
