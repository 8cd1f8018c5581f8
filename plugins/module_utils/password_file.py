# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files of names and hashed passwords, as nginx and Apache read them: ``name:$6$salt$hash`` (SHA-512 crypt).

OpenSSL computes the hashes: Python no longer can by itself. It gets a password through its standard input.
"""

from __future__ import annotations

import hmac
import re
import secrets
import subprocess  # only openssl, without a shell
from collections.abc import Mapping
from typing import Callable

from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput

MAX_BYTES = 255  # of a password: openssl would cut a longer one off

# The hash of a password with a salt.
Hash = Callable[[str, str], str]

_SALT_BYTES = 12  # 16 characters, as many as the format has room for
_HASH = re.compile(r"\$6\$([./0-9A-Za-z]{1,16})\$[./0-9A-Za-z]{86}")


def parse(text: str) -> dict[str, str]:
    """Name → hash; lines of any other form are left out."""
    pairs = (line.strip().partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {name: hashed for name, colon, hashed in pairs if name and colon}


def render(users: Mapping[str, str]) -> str:
    """The text that ``parse`` reads."""
    return "".join(f"{name}:{users[name]}\n" for name in sorted(users))


def updated(present: Mapping[str, str], passwords: Mapping[str, str], hash_of: Hash | None = None) -> dict[str, str]:
    """Name → hash for exactly these passwords; a hash that fits already stays as it is. Raises ``InvalidInput``."""
    compute = hash_of or sha512_crypt
    wanted = {}
    for name, password in passwords.items():
        _check(name, password)
        found = _HASH.fullmatch(present.get(name, ""))
        if found and hmac.compare_digest(compute(password, found[1]), found[0]):
            wanted[name] = found[0]
        else:
            wanted[name] = compute(password, _salt())
    return wanted


def sha512_crypt(password: str, salt: str) -> str:
    """The SHA-512 crypt of a password. Raises ``InvalidInput`` where openssl cannot be run."""
    command = ["openssl", "passwd", "-6", "-salt", salt, "-stdin"]
    try:
        done = subprocess.run(command, input=password.encode() + b"\n", capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", b"").decode("utf-8", "replace").strip() or error
        raise InvalidInput(
            f"{' '.join(command[:3])} failed: {reason}.", "Install the package openssl on the host."
        ) from None
    return done.stdout.decode().strip()


def _salt() -> str:
    return secrets.token_urlsafe(_SALT_BYTES).replace("-", ".").replace("_", "/")


def _check(name: str, password: str) -> None:
    if not name or re.search(r"[:\s#]", name):
        raise InvalidInput(f"{name!r} is not a user's name.", "Use one without spaces, # and :.", key="name")
    if not password or len(password.encode()) > MAX_BYTES or re.search(r"[\n\r\0]", password):
        raise InvalidInput(
            f"The password of {name} is empty, longer than {MAX_BYTES} bytes, or has a line break.",
            "Choose another one.",
            key="password",
        )
