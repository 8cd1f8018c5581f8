# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A registry that can be broken: an nginx of its own with one site for each way to go wrong, and models that are small.

Its files are apart from everything that the roles installed, so that nothing else notices.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
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
PAGE = "return 200 '<html><title>Welcome to the hotel</title><p>Log in</p></html>';"
SERVER = 'if ($http_user_agent ~ "^ollama/")'


def manifests(root: str, tag: str = "$tag") -> str:
    """Manifests as a mirror serves them."""
    return f"{MANIFEST} {{ default_type {MANIFEST_TYPE}; alias {root}/manifests/registry.ollama.ai/$model/{tag}; }}"


def blobs(root: str, first: str = "") -> str:
    """Blobs as a mirror serves them, after what comes ``first``."""
    return f"{BLOB} {{ {first} add_header Location $request_uri; alias {root}/blobs/sha256-$hex; }}"


# How a request is answered that should bring a manifest or a blob.
ANSWERS = {
    "401": 'return 401 \'{"errors": [{"code": "UNAUTHORIZED"}]}\';',
    "403": "return 403;",
    "404": "return 404;",
    "429": "return 429 'slow down';",
    "500": "return 500;",
    "HTML": PAGE,
    "a redirect to a login page": "return 302 /login;",
    "a reset": "return 444;",
    "silence": "proxy_pass http://127.0.0.1:5099;",
}
SITES = {
    "whole": manifests(STORE) + blobs(STORE),
    "slow": manifests(STORE) + blobs(STORE, "limit_rate 4m;"),
    "real": manifests(MIRROR) + blobs(MIRROR, "limit_rate 20m;"),
    # The registry publishes another version after the module looked, and before the server pulls.
    "moving": manifests(STORE, "$seen") + blobs(STORE),
    # Damaged weights arrive, and the pull breaks off before anybody has looked at them.
    "broken off": f"""location ~ "WEIGHTS$" {{ add_header Location $request_uri; alias {DAMAGED}; }}
        {manifests(STORE)} {blobs(STORE, f"{SERVER} {{ return 500; }}")}""",
    "other JSON": 'location / { return 200 \'{"status": "ok", "models": []}\'; }',
    **{f"no manifest: {name}": f"{MANIFEST} {{ {answer} }}" for name, answer in ANSWERS.items()},
    # The module may read a model's configuration; the server gets no file at all. (A header of its own takes away the
    # Location that blobs have.)
    **{
        f"no blob: {name}": manifests(STORE) + blobs(STORE, f"{SERVER} {{ add_header X-Fault yes; {answer} }}")
        for name, answer in ANSWERS.items()
    },
    "no blob: HTML with a Location": manifests(STORE) + blobs(STORE, f"{SERVER} {{ {PAGE} }}"),
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
  default_type text/html;
  reset_timedout_connection on;
  map $http_user_agent $seen {{ default $tag; ~^ollama/ new; }}
  {servers}
}}
"""

# Runs on the registry's host: writes models into the store and prints the digests of what pulls must bring.
PUBLISH = """
import hashlib, json, pathlib, random, struct, sys

store, models = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])

def text(value):
    return struct.pack("<Q", len(value)) + value.encode()

def blob(data, kind):
    digest = hashlib.sha256(data).hexdigest()
    (store / "blobs" / f"sha256-{digest}").write_bytes(data)
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

def publish(name, size, seed):
    # A GGUF file without tensors, and what would be weights behind its header.
    kv = text("general.architecture") + struct.pack("<I", 8) + text("llama")
    header = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + kv
    weights = blob(header + random.Random(seed).randbytes(size - len(header)), "application/vnd.ollama.image.model")
    facts = {"model_format": "gguf", "model_family": "llama", "model_families": ["llama"], "model_type": "1M",
             "file_type": "Q4_0", "architecture": "amd64", "os": "linux",
             "rootfs": {"type": "layers", "diff_ids": [weights["digest"]]}}
    config = blob(json.dumps(facts).encode(), "application/vnd.docker.container.image.v1+json")
    manifest = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                           "config": config, "layers": [weights]}).encode()
    model, _, tag = name.partition(":")
    place = store / "manifests/registry.ollama.ai/library" / model
    place.mkdir(parents=True, exist_ok=True)
    (place / tag).write_bytes(manifest)
    return [hashlib.sha256(manifest).hexdigest(), weights["digest"][7:], config["digest"][7:]]

print(json.dumps([publish(*model) for model in models]))
"""
# Takes connections and says nothing.
LISTEN = "import socket, signal; listener = socket.create_server(('127.0.0.1', 5099), backlog=64); signal.pause()"


@dataclass(frozen=True)
class Published:
    """A model of the registry: its weights' size in bytes, what makes them random, and its digests in hex."""

    name: str
    size: int
    seed: int
    digest: str
    weights: str
    configuration: str

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
        self.versions = 0

    def url(self, site: str) -> str:
        return f"http://{self.name}:{PORTS[site]}"

    def build(self) -> None:
        """Make its files; everything that it had before is gone."""
        self.remove()
        self.host.check_output(f"mkdir -p {STORE}/blobs")
        self.small = self.publish("small:1")
        login = f"location = /login {{ {PAGE} }}"
        rows = [f"server {{ listen {PORTS[name]}; {login} {body} }}" for name, body in SITES.items()]
        servers = "\n".join(rows).replace("WEIGHTS", self.small.weights)
        text = CONFIGURATION.format(unit=UNIT, folder=FOLDER, log=LOG, servers=servers)
        self.host.check_output(f"printf %%s %s > {FOLDER}/nginx.conf", text)
        self.host.check_output(f"tr '\\0' '\\1' < {self.small.weights_path} > {DAMAGED}")
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

    def publish(self, name: str, size: int = SMALL) -> Published:
        """Put a model into the store, of which no server knows anything yet."""
        return self.publish_all([name], size)[0]

    def publish_all(self, names: Iterable[str], size: int = SMALL) -> list[Published]:
        first = self.versions
        rows = [(name, size, first + number) for number, name in enumerate(names)]
        self.versions += len(rows)
        return [Published(*row, *digests) for row, digests in zip(rows, self._write(rows), strict=True)]

    def repair(self, *models: Published) -> None:
        """Write their files again as they were."""
        self._write([(model.name, model.size, model.seed) for model in models])

    def _write(self, rows: list[tuple[str, int, int]]) -> list[list[str]]:
        digests: list[list[str]] = json.loads(
            self.host.check_output(f"python3 -c %s {STORE} %s", PUBLISH, json.dumps(rows))
        )
        return digests

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
