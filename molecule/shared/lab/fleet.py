# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The fleet itself: containers that run systemd in a network of their own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from . import engine, images, inventory, models
from .cache import Cache
from .errors import LabError
from .hosts import FLEETS, OLDER_ENGINES, Host
from .sources import Sources, choose
from .steps import Steps, run

CHECKOUT = Path(__file__).parents[3]
VERSION = "0.34.0"
GATEWAY_PORT = 8080
MIRROR_FOLDER = "/srv/ollama-mirror"
BOOT_PATIENCE = 120.0  # seconds
LABEL = "llmops.lab"
SPEC = "llmops.spec"


@dataclass(frozen=True)
class State:
    """What was decided when the fleet was made, and holds until it is taken down."""

    fleet: str
    port: int
    sources: Sources


def checkout_id(checkout: Path) -> str:
    """Short text that differs between checkouts on one machine."""
    return hashlib.sha256(str(checkout.resolve()).encode()).hexdigest()[:6]


def is_free(port: int) -> bool:
    """Whether a server could listen on that loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def pick_port(wanted: int, free: Callable[[int], bool] = is_free) -> int:
    """The wanted port, or the next one that is free."""
    for port in range(wanted, wanted + 100):
        if free(port):
            return port
    raise LabError(f"No port from {wanted} to {wanted + 99} is free on 127.0.0.1.")


def podman(*words: str | Path) -> str:
    """Run podman and return what it printed."""
    return run(["podman", *words])


class Fleet:
    """The fleet of one instance (`demo`, `molecule`) of one checkout."""

    def __init__(self, steps: Steps, instance: str, checkout: Path = CHECKOUT) -> None:
        self.steps = steps
        self.instance = instance
        self.id = f"llmops-{instance}-{checkout_id(checkout)}"
        self.folder = checkout / ".dev" / "lab" / instance
        self.inventory = self.folder / "inventory.yml"
        self.cache = Cache(steps)

    def container(self, host: Host) -> str:
        """Name of the container of a host."""
        return f"{self.id}-{host.name}"

    # up

    def up(self, name: str = "default") -> None:
        """Bring up whatever is missing of that fleet."""
        hosts = FLEETS[name]
        there = self.containers()
        state = self.remembered() if there else None
        if state is None or state.fleet != name:
            sources = state.sources if state else choose(VERSION, models.DEFAULT_MODEL)
            port = state.port if state else pick_port(GATEWAY_PORT)
            if port != GATEWAY_PORT:
                self.steps.tell(f"Port {GATEWAY_PORT} is taken on this machine; the gateway is published at {port}.")
            state = State(name, port, sources)
            if sources.substitutes:
                self.steps.tell("Official sources do not answer: hosts use a mirror with what this machine built.")
        releases = {host.debian for host in hosts}
        mounts = build(self.steps, self.cache, state.sources, releases, OLDER_ENGINES.get(name, ()))

        commands = {host: self.create_command(host, state, mounts) for host in hosts}
        key = self.key()
        fresh = [host for host in hosts if self.needs(host, commands[host], there)]
        surplus = set(there) - {self.container(host) for host in hosts}
        if fresh or surplus:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.remember(state)
            self.remove([*surplus, *(self.container(host) for host in fresh)])
            with self.steps.step("network"):
                if not self.has_network():
                    podman("network", "create", self.id)
        stopped = [h for h in hosts if h not in fresh and there[self.container(h)]["State"] != "running"]

        def boot(host: Host) -> None:
            if host in fresh:
                with self.steps.step(f"host {host.name}"):
                    run(commands[host])
                    self.wait_booted(host)
                    self.authorize(host, key)
            elif host in stopped:
                with self.steps.step(f"host {host.name}"):
                    podman("start", self.container(host))
                    self.wait_booted(host)

        parallel([partial(boot, host) for host in hosts])
        self.write(hosts, state)
        started = [host.name for host in hosts if host in fresh or host in stopped]
        self.steps.tell(f"Started: {', '.join(started)}." if started else "Every host was up already.")
        self.steps.tell(f"Inventory: {self.inventory}")

    def create_command(self, host: Host, state: State, mounts: dict[str, Path]) -> list[str]:
        """The command that makes and starts the container of a host."""
        command = ["podman", "run", "--detach", "--name", self.container(host), "--hostname", host.name]
        # What root has on a real host: mount namespaces, so that a unit's sandbox is applied; other users' /proc/PID.
        command += ["--cap-add=SYS_ADMIN", "--cap-add=SYS_PTRACE"]
        command += ["--network", self.id, "--network-alias", host.name, "--systemd=always"]
        command += ["--label", f"{LABEL}={self.id}"]
        command += [f"--cpus={host.cpus}"] if host.cpus else []
        last = (os.cpu_count() or 1) - 1
        command += [f"--cpuset-cpus={host.spare_cpus}-{last}"] if 0 < host.spare_cpus <= last else []
        # The same for memory and swap together: a host without swap, whatever this machine has.
        command += [f"--memory={host.memory}", f"--memory-swap={host.memory}"] if host.memory else []
        command += ["--publish", f"127.0.0.1:{state.port}:8080"] if host.gateway else []
        if host.mirror:
            for name, folder in mounts.items():
                command += ["--volume", f"{folder}:{MIRROR_FOLDER}/{name}:ro"]
        command += [images.name(host.debian), "/sbin/init"]
        spec = hashlib.sha256("\0".join(command).encode()).hexdigest()[:12]
        return [*command[:3], "--label", f"{SPEC}={spec}", *command[3:]]

    def needs(self, host: Host, command: list[str], there: dict[str, dict[str, Any]]) -> bool:
        """Whether the container of a host is missing, or was made by another command."""
        found = there.get(self.container(host))
        return found is None or f"{SPEC}={found['Labels'].get(SPEC)}" not in command

    def wait_booted(self, host: Host) -> None:
        """Return when systemd of the host has reached its target."""
        wait = ["podman", "exec", self.container(host), "systemctl", "is-system-running", "--wait"]
        deadline = time.monotonic() + BOOT_PATIENCE
        while True:
            # Blocks until the boot is over; only in the first moments, before systemd listens, it returns at once.
            answer = subprocess.run(wait, capture_output=True, text=True, check=False)
            state = answer.stdout.strip()
            if state in ("running", "degraded"):
                return
            if time.monotonic() > deadline:
                logs = podman("logs", "--tail=20", self.container(host))
                raise LabError(f"{host.name} does not boot (systemd says: {state or answer.stderr.strip()}):\n{logs}")

    # logging in

    def key(self) -> Path:
        """The key that Ansible logs in with; made once."""
        path = self.folder / "id_ed25519"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.id, "-f", path])
        return path

    def authorize(self, host: Host, key: Path) -> None:
        """Let that key log in as root."""
        script = "mkdir -p -m 700 /root/.ssh /run/sshd && cat > /root/.ssh/authorized_keys"
        command = ["podman", "exec", "--interactive", self.container(host), "sh", "-c", script]
        run(command, stdin=key.with_suffix(".pub").read_text())

    def write(self, hosts: Iterable[Host], state: State) -> None:
        """Write the inventory and the ssh configuration that it names."""
        names = {host.name: self.container(host) for host in hosts}
        ssh = self.folder / "ssh_config"
        ssh.write_text(inventory.ssh_config(names, self.folder / "id_ed25519", CHECKOUT / "molecule/shared"))
        text = inventory.render(hosts, names, state.port, state.sources, ssh, VERSION, [models.DEFAULT_MODEL])
        if not self.inventory.exists() or self.inventory.read_text() != text:
            self.inventory.write_text(text)

    # state

    def remembered(self) -> State | None:
        """What was decided for the containers that exist, if that is known."""
        try:
            saved = json.loads((self.folder / "state.json").read_text())
            return State(saved["fleet"], saved["port"], Sources(**saved["sources"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def remember(self, state: State) -> None:
        """Keep what was decided."""
        (self.folder / "state.json").write_text(json.dumps(asdict(state)))

    def containers(self) -> dict[str, dict[str, Any]]:
        """The instance's containers by name, as `podman ps` tells."""
        text = podman("ps", "--all", "--format=json", f"--filter=label={LABEL}={self.id}")
        return {item["Names"][0]: item for item in json.loads(text or "[]")}

    def has_network(self) -> bool:
        """Whether the instance's network exists."""
        return self.id in podman("network", "ls", "--format={{.Name}}").split()

    # down and status

    def remove(self, names: Iterable[str]) -> None:
        """Remove containers with their volumes, running or not; names that do not exist are fine."""
        names = list(names)
        if names:
            podman("rm", "--force", "--ignore", "--volumes", "--time=0", *names)

    def down(self) -> None:
        """Remove the instance: containers, volumes, network and files."""
        with self.steps.step(f"taking down {self.id}"):
            self.remove(self.containers())
            if self.has_network():
                podman("network", "rm", self.id)
            shutil.rmtree(self.folder, ignore_errors=True)
        self.steps.tell(f"Nothing of {self.id} is left.")

    def status(self) -> list[dict[str, str]]:
        """One row for each host."""
        names = list(self.containers())
        details = json.loads(podman("inspect", *names)) if names else []
        return [self.row(item) for item in details]

    def row(self, item: dict[str, Any]) -> dict[str, str]:
        """What a person wants to know about a container, from what `podman inspect` tells."""
        limits = item["HostConfig"]
        ports = item["NetworkSettings"]["Ports"] or {}
        published = [f"http://{p['HostIp']}:{p['HostPort']}" for found in ports.values() for p in found or []]
        networks = item["NetworkSettings"]["Networks"]
        return {
            "host": item["Config"]["Hostname"],
            "container": item["Name"],
            "state": item["State"]["Status"],
            "image": item["ImageName"].rpartition("/")[2],
            "cpus": f"{limits['NanoCpus'] / 1e9:g}" if limits["NanoCpus"] else "all",
            "memory": f"{limits['Memory'] / 2**30:g} GiB" if limits["Memory"] else "all",
            "address": ", ".join(network["IPAddress"] for network in networks.values()),
            "published": ", ".join(published),
        }


def build(
    steps: Steps, cache: Cache, sources: Sources, releases: Iterable[str], older_engines: Iterable[str]
) -> dict[str, Path]:
    """Make whatever is missing in the cache; return what the mirror serves, by name."""
    mounts: dict[str, Path] = {}

    def make_images() -> None:
        for release in sorted(releases):
            images.ensure(steps, cache, release)

    def make_engine() -> None:
        engine.release(steps, cache, VERSION)
        if not sources.registry:
            mounts["models"] = models.store(steps, cache, VERSION)
        if not sources.releases:
            mounts["releases"] = cache.folder / "releases"

    jobs: list[Callable[[], object]] = [make_images]
    if sources.substitutes:
        jobs.append(make_engine)
    if not sources.releases:
        jobs += [partial(engine.release, steps, cache, version) for version in older_engines]
    if not sources.registry:
        jobs.append(lambda: models.weights(steps, cache))
    parallel(jobs)
    return mounts


def parallel(jobs: Iterable[Callable[[], object]]) -> None:
    """Run jobs side by side; when all have ended, raise the first error."""
    with ThreadPoolExecutor() as pool:
        futures = [pool.submit(job) for job in jobs]
    for future in futures:
        future.result()
