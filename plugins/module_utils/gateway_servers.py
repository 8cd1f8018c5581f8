# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The servers behind a gateway, as a file that nginx includes and that remembers what is known of each. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput

HEADER = "# Managed by llmops.ollama: the servers, their shares, and what these follow from.\n"
# Shares are whole numbers. The fastest server gets this one where all have been measured.
FINEST_WEIGHT = 20

_ADDRESS = re.compile(r"(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}")
_NAME = re.compile(r"[A-Za-z0-9_.:-]+")
_LINE = re.compile(
    r"server (?P<address>\S+) weight=\d+(?P<down> down)?;  # (?P<name>\S+)"
    r"(?: slots=(?P<slots>\d+))?(?: requests_per_second=(?P<rate>[\d.]+))?"
)


@dataclass(frozen=True)
class Server:
    """One server: its inventory ``name`` and ``address`` (host:port).

    ``slots`` is how many requests it serves in parallel and ``requests_per_second`` what it was measured to do; None
    where that is not known. A ``drained`` one gets no new requests.
    """

    name: str
    address: str
    slots: int | None = None
    requests_per_second: float | None = None
    drained: bool = False

    @classmethod
    def make(
        cls, name: str, address: str, slots: int | None = None, requests_per_second: float | None = None
    ) -> Server:
        """Check what a user gave. Raises ``InvalidInput``."""
        if not _NAME.fullmatch(name) or not _ADDRESS.fullmatch(address):
            raise InvalidInput(
                f"The server {name!r} has the address {address!r}.", "Give a name, and an address as HOST:PORT."
            )
        for key, value in (("slots", slots), ("requests_per_second", requests_per_second)):
            if value is not None and not value > 0:
                raise InvalidInput(f"{key} of the server {name} is {value!r}.", "Give a positive number.")
        return cls(name, address, slots, requests_per_second)


def weights(servers: Sequence[Server]) -> list[int]:
    """Each server's share: by measured requests per second where every one was measured, else by slots."""
    rates = [server.requests_per_second for server in servers]
    known = [rate for rate in rates if rate]
    if known and len(known) == len(rates):
        return [max(1, round(FINEST_WEIGHT * rate / max(known))) for rate in known]
    return [server.slots or 1 for server in servers]


def render(servers: Sequence[Server]) -> str:
    """The file's text; ``parse`` reads it back."""
    lines = []
    for server, weight in zip(servers, weights(servers)):
        known = f" slots={server.slots}" if server.slots else ""
        known += f" requests_per_second={server.requests_per_second:g}" if server.requests_per_second else ""
        state = " down" if server.drained else ""
        lines.append(f"server {server.address} weight={weight}{state};  # {server.name}{known}\n")
    return HEADER + "".join(lines)


def parse(text: str) -> list[Server]:
    """The servers in such a file; lines that were written by somebody else are left out."""
    found = filter(None, (_LINE.fullmatch(line.strip()) for line in text.splitlines()))
    return [
        Server(
            line["name"],
            line["address"],
            int(line["slots"]) if line["slots"] else None,
            float(line["rate"]) if line["rate"] else None,
            bool(line["down"]),
        )
        for line in found
    ]


def declare(declared: Iterable[Server], known: Iterable[Server], working: Collection[str] = ()) -> list[Server]:
    """The declared servers. What nobody told about them now stays as it was known.

    So does a drained one, unless it is among the names of those that were just proved to be ``working``. One has to
    be in service: where none would be, all are.
    """
    before = {server.name: server for server in known}
    after = [
        replace(
            server,
            slots=server.slots or before.get(server.name, server).slots,
            requests_per_second=server.requests_per_second or before.get(server.name, server).requests_per_second,
            drained=server.name not in working and before.get(server.name, server).drained,
        )
        for server in declared
    ]
    if all(server.drained for server in after):
        return [replace(server, drained=False) for server in after]
    return after


def drain(servers: Sequence[Server], name: str) -> list[Server]:
    """The servers with one taken out of service. Raises ``InvalidInput`` where no other would be left."""
    _named(servers, name)
    after = [replace(server, drained=server.drained or server.name == name) for server in servers]
    if all(server.drained for server in after):
        raise InvalidInput(
            f"{name} cannot be drained: no other server of this gateway is in service.",
            "Add a server, or bring one back, so that requests have somewhere to go.",
            server=name,
        )
    return after


def restore(servers: Sequence[Server], name: str, measured: Server | None = None) -> list[Server]:
    """The servers with one back in service, with what was measured of it meanwhile. Raises ``InvalidInput``."""
    old = _named(servers, name)
    slots = measured.slots if measured and measured.slots else old.slots
    rate = measured.requests_per_second if measured and measured.requests_per_second else old.requests_per_second
    new = replace(old, slots=slots, requests_per_second=rate, drained=False)
    return [new if server.name == name else server for server in servers]


def _named(servers: Sequence[Server], name: str) -> Server:
    found = next((server for server in servers if server.name == name), None)
    if found is None:
        known = ", ".join(server.name for server in servers) or "none"
        raise InvalidInput(
            f"The gateway has no server {name!r}; it has {known}.", "Check the name, or run the gateway's role first."
        )
    return found
