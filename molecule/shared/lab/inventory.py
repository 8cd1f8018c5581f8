# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The inventory of a running fleet: a normal one, as a person would write it for hosts of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from .hosts import Host
from .sources import Sources

MIRROR_PORT = 5001
HEADER = "# Written by `./dev lab up`; changes are lost.\n---\n"


def render(
    hosts: Iterable[Host],
    names: Mapping[str, str],
    port: int,
    sources: Sources,
    ssh_config_file: Path,
    version: str,
    models: Sequence[str],
) -> str:
    """Text of the inventory; ``names`` has the container of each host."""
    hosts = list(hosts)
    groups: dict[str, dict[str, Any]] = {}
    for host in hosts:
        for group in (*host.groups, *(("mirror",) if host.mirror and sources.substitutes else ())):
            groups.setdefault(group, {"hosts": {}})["hosts"][host.name] = {"ansible_host": names[host.name]}
    variables: dict[str, Any] = {
        "ansible_user": "root",
        "ansible_ssh_common_args": f"-F {ssh_config_file}",
        "ansible_ssh_pipelining": True,
        "ansible_python_interpreter": "/usr/bin/python3",
        "ollama_version": version,
        "ollama_models": list(models),
        "gateway_url": f"http://127.0.0.1:{port}",
    }
    mirror = next((host.name for host in hosts if host.mirror), None)
    if mirror and not sources.releases:
        variables["ollama_release_url"] = f"http://{mirror}:{MIRROR_PORT}/releases"
    if mirror and not sources.registry:
        variables["ollama_registry"] = f"http://{mirror}:{MIRROR_PORT}"
    body = yaml.safe_dump({"all": {"vars": variables, "children": groups}}, sort_keys=False, width=120)
    return HEADER + body


def ssh_config(names: Mapping[str, str], key: Path, shared: Path) -> str:
    """How ssh reaches the hosts: through podman, so no port, address or host key is involved.

    Four times faster than one `podman exec` for each step of each module, and as close to real hosts as it gets.
    """
    login = "/usr/sbin/sshd -i -o UsePAM=no -o MaxSessions=100 -o LogLevel=QUIET"
    blocks = [
        "# Written by `./dev lab up`. To log in: ssh -F THIS_FILE ollama1\n",
        *(
            f"Host {host} {container}\n  HostName {container}\n"
            f"  ProxyCommand env CONTAINERS_CONF={shared}/containers.conf podman exec -i {container} {login}\n"
            for host, container in names.items()
        ),
        "Host *\n  User root\n"
        f"  IdentityFile {key}\n  IdentitiesOnly yes\n"
        # In /tmp, since the path of a socket must be short.
        "  ControlMaster auto\n  ControlPersist 60s\n  ControlPath /tmp/llmops-%i-%C\n"
        "  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n",
    ]
    return "\n".join(blocks)
