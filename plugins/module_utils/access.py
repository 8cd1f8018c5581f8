# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What it takes to be let in at a mirror: a name and a password, and the authority that signed its certificate."""

from __future__ import annotations

import base64
import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput

_PORTS = {"http": 80, "https": 443}


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of an address: what two addresses of one server have in common."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme)


@dataclass(frozen=True)
class Access:
    """``username`` and ``password`` for HTTP basic authentication at ``url``, and a file with the CA of that server.

    All of it is for that server alone: another one, also when it is redirected to, is asked as anybody would.
    """

    url: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    ca_path: str = ""

    @property
    def guarded(self) -> bool:
        """Whether there is anything that a request must carry."""
        return bool(self.username or self.ca_path)

    def covers(self, url: str) -> bool:
        """Whether this is for the server of ``url``."""
        return bool(self.url) and origin(url) == origin(self.url)

    def options(self, url: str) -> dict[str, Any]:
        """The arguments for a request of the ``requests`` library to ``url``."""
        if not self.covers(url):
            return {}
        options: dict[str, Any] = {}
        if self.username:
            options["auth"] = (self.username.encode(), self.password.encode())
        if self.ca_path:
            options["verify"] = self.ca_path
        return options

    def remedy(self, url: str, option: str) -> str:
        """What to do about an answer 401."""
        if self.covers(url) and self.username:
            return f"It does not accept the password of {self.username!r}: check username and password."
        return f"It wants a username and a password: set both, and {option} to the address that they are for."

    def headers(self) -> dict[str, str]:
        """The same name and password as a header."""
        if not self.username:
            return {}
        token = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return {"Authorization": f"Basic {token}"}

    def context(self) -> ssl.SSLContext:
        """How to check the server's certificate."""
        return ssl.create_default_context(cafile=self.ca_path or None)


def access_to(url: str, official: str, username: str | None, password: str | None, ca_path: str | None) -> Access:
    """Check what the user gave for the mirror at ``url``. Raises ``InvalidInput``.

    Nothing of it is meant for the ``official`` address, which a mirror stands in for.
    """
    if password and not username:
        raise InvalidInput("There is a password, but no username.", "Give both.", key="username")
    if username and ":" in username:
        raise InvalidInput(f"The username {username!r} has a colon.", "HTTP has no way to send it.", key="username")
    if url.rstrip("/") == official:
        return Access()
    access = Access(url, username or "", password or "", ca_path or "")
    try:
        access.context()
    except OSError as error:  # also what ssl cannot read
        raise InvalidInput(
            f"ca_path is {ca_path!r}, which cannot be used: {error.strerror or error}.",
            "Give a file on this host with the certificate of the authority, in PEM form.",
            key="ca_path",
        ) from error
    return access
