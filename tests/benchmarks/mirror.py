# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a mirror saves, and what its relay costs: ./dev exec python tests/benchmarks/mirror.py [-i INVENTORY]

Brings up a fleet of its own and removes it, unless an inventory names one of the lab's. Its host ``edge`` stands for
the internet, ``ollama1`` gets filled from there by the playbook, and servers on ``ollama2`` pull from ``ollama1``, all
at once. The web servers' logs tell how many bytes they sent. Then one server pulls several times, directly and through
the relay, over http and over https; with a password only the relay can. Prints Markdown tables; exit code 1 if more
left upstream than the goal allows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import yaml

CHECKOUT = Path(__file__).parents[2]
GOAL = 1.01  # copies that may leave upstream
INSTANCE = "mirror-benchmark"
UPSTREAM, MIRROR, CLIENT = "edge", "ollama1", "ollama2"
LOG = "/var/log/nginx/mirror-benchmark.log"
ROOT = "/opt/mirror-benchmark"
FIRST_PORT = 11900
LOGIN = {"name": "benchmark", "password": "benchmark"}

# Runs on the client: pulls a model into servers, each in a thread of its own; prints the seconds of each.
PULL = """
import contextlib, json, sys, threading, time
sys.path.insert(0, "ROOT")
from ansible_collections.llmops.ollama.plugins.module_utils.access import Access
from ansible_collections.llmops.ollama.plugins.module_utils.client import Client
from ansible_collections.llmops.ollama.plugins.module_utils.registry_relay import relay
mirror, model, ports, through, login = json.loads(sys.argv[1])
seconds = []
def pull(port, url):
    name = url.partition("//")[2] + "/library/" + model
    with Client(f"http://127.0.0.1:{port}", 300) as client:
        start = time.monotonic()
        *_, last = client.pull(name, insecure=url.startswith("http://"))
        assert last["status"] == "success", last
        seconds.append(time.monotonic() - start)
        client.delete(name)
with relay(Access(mirror, *login)) if through else contextlib.nullcontext(mirror) as url:
    threads = [threading.Thread(target=pull, args=(port, url)) for port in ports]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
assert len(seconds) == len(ports)
print(json.dumps(seconds))
"""

# On the mirror: an authority, and a certificate that it signed.
CERTIFICATE = f"""
mkdir -p {ROOT} && cd {ROOT}
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj "/CN=benchmark" \
  -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
openssl req -newkey rsa:2048 -nodes -keyout key.pem -out request -subj "/CN={MIRROR}"
printf 'subjectAltName=DNS:{MIRROR}\\nauthorityKeyIdentifier=keyid\\n' > names
openssl x509 -req -in request -CA ca.pem -CAkey ca.key -CAcreateserial -extfile names -out certificate.pem
"""


class Fleet:
    """Hosts of the lab, told what to do by Ansible. Raises ``SystemExit`` with what it printed on failure."""

    def __init__(self, inventory: Path, folder: Path) -> None:
        value = yaml.safe_load(inventory.read_text())
        groups = value["all"]["children"]
        hosts = {name: host for group in groups.values() for name, host in group["hosts"].items()}
        self.variables: dict[str, Any] = value["all"]["vars"]
        value["all"]["children"] = {
            "ollama": {"hosts": {CLIENT: hosts[CLIENT]}},
            "mirror": {"hosts": {MIRROR: hosts[MIRROR]}},
            "upstream": {"hosts": {UPSTREAM: hosts[UPSTREAM]}},
        }
        self._folder = folder
        self._inventory = folder / "inventory.yml"
        self._inventory.write_text(yaml.safe_dump(value))

    def shell(self, host: str, script: str) -> str:
        """Run a shell script on a host and return what it printed."""
        ssh = ["ssh", *self.variables["ansible_ssh_common_args"].split(), host, f"set -e; {script}"]
        return self._run(ssh)

    def play(self, playbook: Path | str, **variables: Any) -> None:
        """Run a playbook."""
        command = [str(Path(sys.executable).with_name("ansible-playbook")), str(playbook), "-i", str(self._inventory)]
        self._run([*command, "-e", json.dumps(variables)])

    def role(self, host: str, **variables: Any) -> None:
        """Serve what is in a host's mirror."""
        play = [{"hosts": host, "gather_facts": False, "roles": ["llmops.ollama.mirror"]}]
        (self._folder / "play.yml").write_text(yaml.safe_dump(play))
        self.play(self._folder / "play.yml", **variables)

    @staticmethod
    def _run(command: list[str]) -> str:
        environment = {**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg")}
        done = subprocess.run(command, env=environment, cwd=CHECKOUT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        return done.stdout


@contextmanager
def lab() -> Iterator[Path]:
    """The inventory of a fleet that is gone afterwards."""
    command = [sys.executable, "-m", "lab", "--instance", INSTANCE]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "molecule/shared"), "LLMOPS_SOURCES": "substitutes"}
    try:
        subprocess.run([*command, "up", "--fleet", "default"], env=environment, cwd=CHECKOUT, check=True)
        yield CHECKOUT / ".dev/lab" / INSTANCE / "inventory.yml"
    finally:
        subprocess.run([*command, "down"], env=environment, cwd=CHECKOUT, check=True)


@contextmanager
def servers(fleet: Fleet, count: int) -> Iterator[list[int]]:
    """Ollama servers on the client, from the mirror's release, each with a store of its own; their ports."""
    version = fleet.variables["ollama_version"]
    code = "ansible_collections/llmops/ollama/plugins/module_utils"
    with tempfile.TemporaryFile() as packed:
        tar = ["tar", "-C", str(CHECKOUT / ".collections"), "-ch", "--exclude=__pycache__", code]
        subprocess.run(tar, stdout=packed, check=True)
        packed.seek(0)
        ssh = [
            "ssh",
            *fleet.variables["ansible_ssh_common_args"].split(),
            CLIENT,
            f"mkdir -p {ROOT} && tar -C {ROOT} -x",
        ]
        subprocess.run(ssh, stdin=packed, check=True)
    archive = f"http://{MIRROR}:5001/releases/v{version}/ollama-linux-amd64.tar.zst"
    load = f"import urllib.request as u; u.urlretrieve('{archive}', '{ROOT}/archive')"
    fleet.shell(
        CLIENT, "apt-get update -q >&2 && apt-get install -q -y --no-install-recommends zstd python3-requests >&2"
    )
    fleet.shell(
        CLIENT, f'python3 -c "{load}" && mkdir -p {ROOT}/release && tar -C {ROOT}/release --zstd -xf {ROOT}/archive'
    )
    ports = list(range(FIRST_PORT, FIRST_PORT + count))
    try:
        for port in ports:
            settings = {"HOME": ROOT, "OLLAMA_MODELS": f"{ROOT}/{port}", "OLLAMA_HOST": f"127.0.0.1:{port}"}
            settings["SSL_CERT_FILE"] = f"{ROOT}/ca.pem"  # as if the whole host trusted the authority
            options = " ".join(f"--setenv={name}={value}" for name, value in settings.items())
            fleet.shell(CLIENT, f"systemd-run --unit=benchmark-{port} {options} {ROOT}/release/bin/ollama serve")
            wait = f"OLLAMA_HOST=127.0.0.1:{port} {ROOT}/release/bin/ollama list"
            fleet.shell(CLIENT, f"timeout 60 sh -c 'until {wait} >/dev/null 2>&1; do sleep 0.1; done'")
        yield ports
    finally:
        units = " ".join(f"benchmark-{port}" for port in ports)
        fleet.shell(CLIENT, f"systemctl stop {units}; rm -rf {ROOT}")


def pull(
    fleet: Fleet, mirror: str, ports: list[int], through: bool = False, login: tuple[str, ...] = ()
) -> list[float]:
    """The seconds of each of the servers to pull the model."""
    arguments = json.dumps([mirror, fleet.variables["ollama_models"][0], ports, through, login])
    script = PULL.replace("ROOT", ROOT)
    seconds: list[float] = json.loads(fleet.shell(CLIENT, f"python3 - '{arguments}' <<'END'\n{script}\nEND"))
    return seconds


def sent(fleet: Fleet, host: str) -> int:
    """The bytes of models that a host's web server has sent since its log was emptied."""
    lines = fleet.shell(host, f"cat {LOG}").splitlines()
    return sum(int(line.split()[-1]) for line in lines if " /v2/" in line)


def measure(fleet: Fleet, count: int, rounds: int) -> bool:
    """Print both tables; returns whether the goal was reached."""
    common = {"mirror_access_log": LOG, "mirror_architectures": ["amd64"], "mirror_lock_path": ""}
    upstream, mirror = f"http://{UPSTREAM}:5001", f"http://{MIRROR}:5001"
    fleet.role(UPSTREAM, mirror_access_log=LOG)
    fleet.shell(UPSTREAM, f": > {LOG}")
    fleet.shell(MIRROR, "rm -rf /srv/ollama-mirror")
    origin = {"mirror_registry": upstream, "mirror_release_url": f"{upstream}/releases"}
    fleet.play("playbooks/mirror.yml", **common, **origin)
    size = sum(
        map(int, fleet.shell(MIRROR, "cd /srv/ollama-mirror/models && stat -c %s blobs/* manifests/*/*/*/*").split())
    )
    fleet.shell(MIRROR, f"({CERTIFICATE}) 2>&1")
    authority = fleet.shell(MIRROR, f"cat {ROOT}/ca.pem")
    fleet.shell(CLIENT, f"mkdir -p {ROOT} && cat > {ROOT}/ca.pem <<'END'\n{authority}END")
    with servers(fleet, count) as ports:
        fleet.shell(MIRROR, f": > {LOG}")
        seconds = pull(fleet, mirror, ports)
        copies = sent(fleet, UPSTREAM) / size
        print(f"| {count} servers at once | bytes | copies |\n|---|---|---|")
        print(f"| the model | {size:,} | 1 |")
        print(f"| sent by upstream | {sent(fleet, UPSTREAM):,} | {copies:.3f} |")
        print(f"| sent by the mirror | {sent(fleet, MIRROR):,} | {sent(fleet, MIRROR) / size:.3f} |")
        print(f"\nThe slowest server had the model after {max(seconds):.1f} s.\n")

        def single(url: str, through: bool = False, login: tuple[str, ...] = ()) -> float:
            return pull(fleet, url, ports[:1], through, login)[0]

        plain = [(single(mirror), single(mirror, True)) for _ in range(rounds)]
        secure = {"mirror_tls_certificate": f"{ROOT}/certificate.pem", "mirror_tls_key": f"{ROOT}/key.pem"}
        https, login = mirror.replace("http:", "https:"), (*LOGIN.values(), f"{ROOT}/ca.pem")
        fleet.role(MIRROR, **common, **secure)
        encrypted = [(single(https), single(https, True, ("", "", login[2]))) for _ in range(rounds)]
        fleet.role(MIRROR, **common, **secure, mirror_users=[LOGIN])
        guarded = [single(https, True, login) for _ in range(rounds)]
    fleet.role(MIRROR, **common)
    fleet.shell(MIRROR, f"rm -rf {ROOT}")
    print(f"| one pull, median of {rounds} | s | MB/s | of the direct speed |\n|---|---|---|---|")
    for label, direct, relayed in (("http", *map(median, zip(*plain))), ("https", *map(median, zip(*encrypted)))):
        row(f"{label}, directly", size, direct, direct)
        row(f"{label}, relay", size, relayed, direct)
    row("https and a password, relay", size, median(guarded), direct)
    return copies <= GOAL


def row(label: str, size: int, seconds: float, direct: float) -> None:
    print(f"| {label} | {seconds:.2f} | {size / seconds / 1e6:.0f} | {direct / seconds:.2f} |")


def main() -> int:
    parser = argparse.ArgumentParser(description="What a mirror saves, and what its relay costs.")
    parser.add_argument("-i", "--inventory", type=Path, help="of a fleet of the lab; [one of its own]")
    parser.add_argument("--servers", type=int, default=4, help="that pull at once [%(default)s]")
    parser.add_argument("--rounds", type=int, default=5, help="of single pulls [%(default)s]")
    asked = parser.parse_args()
    with ExitStack() as stack:
        inventory = asked.inventory or stack.enter_context(lab())
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        return 0 if measure(Fleet(inventory, Path(folder)), asked.servers, asked.rounds) else 1


if __name__ == "__main__":
    sys.exit(main())
