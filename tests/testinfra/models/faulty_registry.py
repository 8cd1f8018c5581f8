# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A registry that can be broken: an nginx of its own with one site for each way to go wrong, and models that are small.

Its files are apart from everything that the roles installed, so that nothing else notices.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from testinfra.host import Host

MIRROR = "/srv/ollama-mirror/models"  # the lab's models, read only
FOLDER = "/srv/faults"
STORE = f"{FOLDER}/models"
DAMAGED = f"{FOLDER}/damaged"
LOG = f"{FOLDER}/access.log"
UNIT = "faulty-registry"
SILENT = "silent-registry"
FIRST_PORT = 5100
# Bytes of what is pulled at once, and of what takes long enough from the slow site to be interrupted.
SMALL, LARGE = 300_000, 24_000_000

MANIFEST = r'location ~ "^/v2/(?<model>[^/]+/[^/]+)/manifests/(?<tag>[^/]+)$"'
BLOB = r'location ~ "^/v2/[^/]+/[^/]+/blobs/sha256:(?<hex>[0-9a-f]{64})$"'
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
PAGE = "default_type text/html; return 200 '<html><title>Welcome to the hotel</title><p>Log in</p></html>';"


def manifests(root: str, tag: str = "$tag") -> str:
    """Manifests as a mirror serves them."""
    return f"{MANIFEST} {{ default_type {MANIFEST_TYPE}; alias {root}/manifests/registry.ollama.ai/$model/{tag}; }}"


def blobs(root: str, rate: str = "0") -> str:
    """Blobs as a mirror serves them, with so many bytes per second (0: no limit) for each connection."""
    return f"{BLOB} {{ add_header Location $request_uri; limit_rate {rate}; alias {root}/blobs/sha256-$hex; }}"


WHOLE = manifests(STORE) + blobs(STORE)
# How a request is answered that should bring a manifest or the weights.
ANSWERS = {
    "401": 'return 401 \'{"errors": [{"code": "UNAUTHORIZED"}]}\';',
    "403": "return 403;",
    "404": "return 404;",
    "429": "return 429 'slow down';",
    "500": "return 500;",
    "HTML": PAGE,
    "a redirect to a login page": "return 302 /login;",
    "a reset": "reset_timedout_connection on; return 444;",
    "silence": "proxy_pass http://127.0.0.1:5099;",
}
SITES = {
    "whole": WHOLE,
    "slow": manifests(STORE) + blobs(STORE, "4m"),
    "real": manifests(MIRROR) + blobs(MIRROR, "20m"),
    # The registry publishes another version after the module looked, and before the server pulls.
    "moving": manifests(STORE, "$seen") + blobs(STORE),
    "other JSON": 'default_type application/json; return 200 \'{"status": "ok", "models": []}\';',
    # Damaged weights arrive, and the pull breaks off before anybody has looked at them.
    "broken off": f"""location ~ "WEIGHTS$" {{ add_header Location $request_uri; alias {DAMAGED}; }}
        location ~ "CONFIGURATION$" {{
            if ($http_user_agent ~ "^ollama/") {{ return 500; }}
            alias {STORE}/blobs/sha256-CONFIGURATION;
        }} {WHOLE}""",
    **{f"manifest: {name}": f"{MANIFEST} {{ {answer} }}" for name, answer in ANSWERS.items()},
    **{f"weights: {name}": f'location ~ "WEIGHTS$" {{ {answer} }} {WHOLE}' for name, answer in ANSWERS.items()},
}
PORTS = {name: FIRST_PORT + number for number, name in enumerate(SITES)}

CONFIGURATION = """
pid /run/{unit}.pid;
error_log {folder}/error.log;
worker_processes 2;
events {{ }}
http {{
  log_format short '$server_port $request_method $uri $status "$http_range" $body_bytes_sent';
  access_log {log} short;
  map $http_user_agent $seen {{ default $tag; ~^ollama/ new; }}
  {servers}
}}
"""

# Runs on the registry's host: writes one model into the store and prints what a pull must bring.
PUBLISH = """
import hashlib, json, pathlib, random, struct, sys

store, name, tag, size, seed = *sys.argv[1:4], *map(int, sys.argv[4:])
store = pathlib.Path(store)

def text(value):
    return struct.pack("<Q", len(value)) + value.encode()

def blob(data, kind):
    digest = hashlib.sha256(data).hexdigest()
    (store / "blobs" / f"sha256-{digest}").write_bytes(data)
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

# A GGUF file without tensors, and what would be weights behind its header.
header = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("general.architecture") + struct.pack("<I", 8) + text("llama")
weights = blob(header + random.Random(seed).randbytes(size - len(header)), "application/vnd.ollama.image.model")
facts = {"model_format": "gguf", "model_family": "llama", "model_families": ["llama"], "model_type": "1M",
         "file_type": "Q4_0", "architecture": "amd64", "os": "linux",
         "rootfs": {"type": "layers", "diff_ids": [weights["digest"]]}}
config = blob(json.dumps(facts).encode(), "application/vnd.docker.container.image.v1+json")
manifest = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                       "config": config, "layers": [weights]}).encode()
place = store / "manifests/registry.ollama.ai/library" / name
place.mkdir(parents=True, exist_ok=True)
(place / tag).write_bytes(manifest)
print(json.dumps([hashlib.sha256(manifest).hexdigest(), *(each["digest"][7:] for each in (weights, config))]))
"""
# Takes connections and says nothing.
LISTEN = "import socket, signal; listener = socket.create_server(('127.0.0.1', 5099), backlog=64); signal.pause()"


@dataclass(frozen=True)
class Published:
    """A model of the registry: its name, the hex digests of its manifest and its blobs, its weights' size in bytes."""

    name: str
    digest: str
    weights: str
    configuration: str
    size: int
    seed: int

    @property
    def manifest_path(self) -> str:
        model, _, tag = self.name.partition(":")
        return f"{STORE}/manifests/registry.ollama.ai/library/{model}/{tag}"

    @property
    def weights_path(self) -> str:
        return f"{STORE}/blobs/sha256-{self.weights}"

    @property
    def configuration_path(self) -> str:
        return f"{STORE}/blobs/sha256-{self.configuration}"


@dataclass(frozen=True)
class Request:
    """What the registry was asked and how it answered; ``first`` is the first byte of a range, None without one."""

    port: int
    method: str
    path: str
    status: int
    first: int | None
    sent: int


class FaultyRegistry:
    """The registry on ``host``; ``name`` is what other hosts call it."""

    def __init__(self, host: Host, name: str) -> None:
        self.host = host
        self.name = name
        self.remove()
        host.check_output(f"mkdir -p {STORE}/blobs")
        self.small = self.publish("small:1", SMALL)
        self.versions = 1

    def url(self, site: str) -> str:
        return f"http://{self.name}:{PORTS[site]}"

    def build(self) -> None:
        small = self.small
        rows = [
            f"server {{ listen {PORTS[name]}; location = /login {{ {PAGE} }} {body} }}" for name, body in SITES.items()
        ]
        servers = "\n".join(rows).replace("WEIGHTS", small.weights).replace("CONFIGURATION", small.configuration)
        text = CONFIGURATION.format(unit=UNIT, folder=FOLDER, log=LOG, servers=servers)
        self.host.check_output(f"printf %%s %s > {FOLDER}/nginx.conf", text)
        self.host.check_output(f"tr '\\0' '\\1' < {small.weights_path} > {DAMAGED}")
        self.host.check_output(f"systemd-run --collect --unit={SILENT} python3 -c %s", LISTEN)

    def remove(self) -> None:
        self.host.run(f"systemctl stop {UNIT} {SILENT}")
        self.host.check_output(f"rm -rf {FOLDER}")

    def start(self) -> None:
        """Have it run; returns when it listens."""
        options = f"--collect --unit={UNIT} -p Type=forking -p PIDFile=/run/{UNIT}.pid"
        start = f"systemd-run {options} nginx -c {FOLDER}/nginx.conf"
        self.host.check_output(f"systemctl --quiet is-active {UNIT} || {start}")

    def kill(self) -> None:
        """As a crash or a power failure does it: no answer is finished."""
        self.host.check_output(f"systemctl kill --signal=KILL {UNIT}")

    def publish_new(self, name: str, size: int) -> Published:
        """Put a new version of a model into the store, of which no server knows anything yet."""
        self.versions += 1
        return self.publish(name, size, self.versions)

    def publish(self, name: str, size: int, seed: int = 1) -> Published:
        """Put a model into the store."""
        model, _, tag = name.partition(":")
        command = f"python3 -c %s {STORE} {model} {tag} {size} {seed}"
        printed = self.host.check_output(command, PUBLISH)
        return Published(name, *json.loads(printed), size, seed)

    def forget_requests(self) -> None:
        self.host.check_output(f"truncate --size=0 {LOG}")

    def requests(self, pattern: str = "") -> list[Request]:
        """The requests that were answered since they were last forgotten, with a path that has the pattern."""
        found = []
        for line in self.host.check_output(f"cat {LOG}").splitlines():
            port, method, path, status, span, sent = line.split()
            first = re.match(r'"bytes=(\d+)-', span)
            if re.search(pattern, path):
                found.append(Request(int(port), method, path, int(status), int(first[1]) if first else None, int(sent)))
        return found

    def wait_for(self, pattern: str, seconds: int = 60) -> None:
        """Returns when the log of requests has the pattern in a line."""
        follow = f"timeout {seconds} tail --lines=+1 --follow {LOG}"
        search = f'grep --quiet --max-count=1 "$0" <({follow} 2> /dev/null)'
        self.host.check_output("bash -c %s %s", search, pattern)
