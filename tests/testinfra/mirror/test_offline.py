# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the internet's side to a host behind a guarded mirror without internet: bundle, carry, serve, install, pull."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import testinfra
import yaml
from conftest import ROOT, RunPlaybook
from testinfra.host import Host

MIRROR, CLIENT, UPSTREAM = "small", "ollama2", "edge"
URL = f"https://{MIRROR}:5001"
CA, CERTIFICATE = "/etc/ssl/site-ca.pem", "/etc/ssl/private/mirror.pem"
USER = {"name": "fleet", "password": "geheim ß:1"}
LOGIN = {"username": USER["name"], "password": USER["password"], "ca_path": CA}
BUNDLE = "/media/bundle.tar"
# Found nowhere in the lab, so that a run that asks the internet's side fails.
NOWHERE = {"mirror_registry": "http://127.0.0.1:9", "mirror_release_url": "http://127.0.0.1:9"}

GetHost = Callable[[str], Host]


@pytest.fixture(scope="module")
def on(inventory: Path) -> GetHost:
    """A host of the fleet by its name."""
    return lambda name: testinfra.get_host(f"ansible://{name}?ansible_inventory={inventory}")


def run(host: Host, module: str, **arguments: Any) -> dict[str, Any]:
    """The result of a module, also of one that failed."""
    try:
        result: dict[str, Any] = host.ansible(f"llmops.ollama.{module}", json.dumps(arguments), check=False)
    except host.ansible.AnsibleException as error:
        result = error.result
    return result


# --- the internet's side -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ssh(fleet_variables: dict[str, Any]) -> list[str]:
    """The command that logs in, without the host."""
    return ["ssh", *fleet_variables["ansible_ssh_common_args"].split()]


@pytest.fixture(scope="module")
def upstream(ssh: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address at which the controller reaches what stands for the internet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    control = ["-S", str(tmp_path_factory.mktemp("ssh") / "socket")]
    # In the background once the port is open.
    forward = ["-M", "-f", "-N", "-o", "ControlPersist=no", "-o", "ExitOnForwardFailure=yes"]
    forward += ["-L", f"127.0.0.1:{port}:127.0.0.1:5001"]
    subprocess.run([*ssh, *control, *forward, UPSTREAM], check=True)
    yield f"http://127.0.0.1:{port}"
    subprocess.run([*ssh, *control, "-O", "exit", UPSTREAM], check=True, capture_output=True)


@pytest.fixture(scope="module")
def bundle(run_playbook: RunPlaybook, upstream: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, as a directory and beside it as a tar."""
    path = tmp_path_factory.mktemp("carried") / "bundle"
    variables = {
        "bundle_path": str(path),
        "bundle_archive": True,
        "mirror_registry": upstream,
        "mirror_release_url": f"{upstream}/releases",
        "mirror_architectures": ["amd64"],
        "mirror_lock_path": "",
    }
    code, output = run_playbook(playbook="playbooks/bundle.yml", variables=variables)
    assert code == 0, output
    assert f"{path}.tar is complete, with gemma3:270m" in output
    return path


def test_a_bundle_can_be_checked_by_anybody(bundle: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=bundle, check=True)
    with tarfile.open(f"{bundle}.tar") as archive:
        names = set(archive.getnames())
    assert names == {str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file()}
    assert {"models.lock.yml", "releases/v0.34.0/ollama-linux-amd64.tar.zst"} <= names


# --- the site without internet -------------------------------------------------------------------------------------


def openssl(*words: str, folder: Path) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private authority (ca.pem), and what it signed for the mirror (mirror.pem, with its key)."""
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "names").write_text(f"subjectAltName=DNS:{MIRROR}\nauthorityKeyIdentifier=keyid\n")
    new = ["-newkey", "rsa:2048", "-nodes"]
    usage = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Site CA", *usage, folder=folder)
    openssl("req", *new, "-keyout", "key", "-out", "request", "-subj", f"/CN={MIRROR}", folder=folder)
    by = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names"]
    openssl("x509", "-req", "-in", "request", *by, "-out", "certificate", folder=folder)
    (folder / "mirror.pem").write_text((folder / "certificate").read_text() + (folder / "key").read_text())
    return folder


@pytest.fixture(scope="module")
def fill(
    inventory: Path,
    bundle: Path,
    certificates: Path,
    ssh: list[str],
    run_playbook: RunPlaybook,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[], str]:
    """Runs the playbook ``mirror`` on the site, whose mirror has got the bundle; returns what it printed."""
    site = yaml.safe_load(inventory.read_text())
    groups = site["all"]["children"]
    groups["mirror"] = {"hosts": {MIRROR: groups["limited"]["hosts"][MIRROR]}}
    folder = tmp_path_factory.mktemp("site")
    (folder / "inventory.yml").write_text(yaml.safe_dump(site))
    for name, source, target in (
        (MIRROR, bundle.with_suffix(".tar"), BUNDLE),
        (MIRROR, certificates / "mirror.pem", CERTIFICATE),
        (CLIENT, certificates / "ca.pem", CA),
    ):
        with source.open("rb") as stream:
            subprocess.run([*ssh, name, f"umask 077; cat > {target}"], stdin=stream, check=True)
    variables = {
        **NOWHERE,
        "mirror_source": BUNDLE,
        "mirror_architectures": ["amd64"],
        "mirror_tls_certificate": CERTIFICATE,
        "mirror_tls_key": CERTIFICATE,
        "mirror_users": [USER],
    }

    def run() -> str:
        code, output = run_playbook(
            playbook="playbooks/mirror.yml", variables=variables, source=str(folder / "inventory.yml")
        )
        assert code == 0, output
        lock = yaml.safe_load((folder / "models.lock.yml").read_text())
        assert lock == yaml.safe_load((bundle / "models.lock.yml").read_text())
        return output.split("PLAY RECAP")[1]

    return run


@pytest.fixture(scope="module")
def site(fill: Callable[[], str], on: GetHost) -> Host:
    """The mirror of the site, filled and serving."""
    fill()
    return on(MIRROR)


def test_a_second_run_changes_nothing(site: Host, fill: Callable[[], str]) -> None:
    assert re.findall(r"changed=(\d+)", fill()) == ["0", "0"]


def test_passwords_are_hashed_and_not_for_everybody(site: Host) -> None:
    file = site.file("/etc/nginx/ollama-mirror.users")
    assert (file.mode, file.user, file.group) == (0o640, "root", "www-data")
    assert re.fullmatch(r"fleet:\$6\$[./\w]{16}\$[./\w]{86}\n", file.content_string)


def test_a_host_installs_from_it(site: Host, on: GetHost) -> None:
    result = run(on(CLIENT), "release", version="0.34.0", base_url=f"{URL}/releases", root="/opt/site", **LOGIN)
    assert result.get("path") == "/opt/site/0.34.0", result
    assert "secret" not in str(result)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"password": "falsch"}, "It does not accept the password of 'fleet'"),
        ({"ca_path": None}, "its certificate is not accepted"),
        ({"base_url": f"http://{MIRROR}:5001/releases"}, "plain HTTP request was sent to HTTPS port"),
    ],
)
def test_who_is_not_let_in_is_told_why(site: Host, on: GetHost, change: dict[str, Any], words: str) -> None:
    given = {"version": "0.34.0", "base_url": f"{URL}/releases", "root": "/opt/none", **LOGIN, **change}
    result = run(on(CLIENT), "release", **{key: value for key, value in given.items() if value})
    assert words in result["msg"]
    assert "falsch" not in result["msg"]


# Runs on the client: a server of its own pulls a model through the relay, which has the password and the authority.
PULL = """
import json, sys
from ansible_collections.llmops.ollama.plugins.module_utils.access import Access
from ansible_collections.llmops.ollama.plugins.module_utils.client import Client
from ansible_collections.llmops.ollama.plugins.module_utils.registry_relay import relay
login = json.loads(sys.argv[2])
with relay(Access(sys.argv[1], login["username"], login["password"], login["ca_path"])) as url, \\
        Client("http://127.0.0.1:11999", 60) as client:
    name = url.partition("//")[2] + "/library/gemma3:270m"
    *_, last = client.pull(name, insecure=True)
    client.copy(name, "gemma3:270m")
    client.delete(name)
    print(json.dumps([last["status"], [[tag["name"], tag["digest"]] for tag in client.tags()]]))
"""


@pytest.fixture
def server(on: GetHost) -> Iterator[Host]:
    """The release from the mirror, running, with the collection's own code beside it."""
    host = on(CLIENT)
    packed = ROOT / ".dev" / "module_utils.tar"
    code = "ansible_collections/llmops/ollama/plugins/module_utils"
    subprocess.run(["tar", "-C", ROOT / ".collections", "-chf", packed, "--exclude=__pycache__", code], check=True)
    arguments = json.dumps({"src": str(packed), "dest": "/opt/site"})
    host.ansible("ansible.builtin.unarchive", arguments, check=False)
    environment = "--setenv=HOME=/opt/site --setenv=OLLAMA_MODELS=/opt/site/models --setenv=OLLAMA_HOST=127.0.0.1:11999"
    host.check_output(f"systemd-run --unit=ollama-site {environment} /opt/site/0.34.0/bin/ollama serve")
    arguments = json.dumps({"host": "127.0.0.1", "port": 11999, "timeout": 60})
    host.ansible("ansible.builtin.wait_for", arguments, check=False)
    yield host
    host.check_output("systemctl stop ollama-site && rm -rf /opt/site")


def test_a_server_pulls_through_the_relay(site: Host, server: Host, bundle: Path) -> None:
    done = server.run("PYTHONPATH=/opt/site python3 -c %s %s %s", PULL, URL, json.dumps(LOGIN))
    assert done.rc == 0, done.stderr
    digest = yaml.safe_load((bundle / "models.lock.yml").read_text())["models"]["gemma3:270m"]["digest"]
    assert json.loads(done.stdout) == ["success", [["gemma3:270m", digest]]]


# Runs on the client: raw requests, since a client library would tidy the paths.
ASK = """
import base64, json, socket, ssl, sys
login, requests = json.loads(sys.argv[1]), json.loads(sys.argv[2])
shown = base64.b64encode(f"{login['username']}:{login['password']}".encode()).decode()
context = ssl.create_default_context(cafile=login["ca_path"])
answers = []
for line in requests:
    connection = context.wrap_socket(socket.create_connection(("small", 5001), 9), server_hostname="small")
    head = f"{line} HTTP/1.1\\r\\nHost: small\\r\\nAuthorization: Basic {shown}\\r\\nConnection: close\\r\\n\\r\\n"
    connection.sendall(head.encode())
    answers.append(int(connection.makefile("rb").readline().split()[1]))
    connection.close()
print(json.dumps(answers))
"""


def test_it_serves_the_files_of_the_mirror_and_nothing_else(site: Host, on: GetHost, bundle: Path) -> None:
    blob = next((bundle / "models/blobs").iterdir()).name
    manifests = "models/manifests/registry.ollama.ai/library/gemma3"
    links = {"releases/v0.34.0/ollama-linux-link.tgz": "/etc/hostname", f"{manifests}/link": "/etc/hostname"}
    for link, target in links.items():
        site.check_output(f"ln -sf {target} /srv/ollama-mirror/{link}")
    site.check_output("mkdir -p /srv/ollama-mirror/models/.partial && touch /srv/ollama-mirror/models/.partial/x")
    served = [
        "GET /v2/library/gemma3/manifests/270m",
        f"HEAD /v2/library/gemma3/blobs/{blob.replace('-', ':')}",
        "GET /releases/v0.34.0/sha256sum.txt",
        "HEAD /releases/v0.34.0/ollama-linux-amd64.tar.zst",
    ]
    refused = [
        "GET /",
        "GET /releases/",
        "GET /releases/v0.34.0/",
        "GET /releases/v0.34.0/../../SHA256SUMS",
        "GET /releases/v0.34.0/%2e%2e/%2e%2e/SHA256SUMS",
        "GET /releases/v0.34.0/..%2f..%2fSHA256SUMS",
        f"GET /releases/v0.34.0/../../models/blobs/{blob}",
        "GET /SHA256SUMS",
        "GET /models.lock.yml",
        "GET /models/.partial/x",
        f"GET /v2/library/gemma3/blobs/{blob}",
        f"GET /v2/library/gemma3/blobs/{blob.replace('-', ':')}-partial",
        "GET /v2/library/gemma3/manifests/../../../../../SHA256SUMS",
        "GET /v2/library/gemma3/manifests/%2e%2e%2f%2e%2e",
        "GET /v2/library/gemma3/manifests/link",
        "GET /releases/v0.34.0/ollama-linux-link.tgz",
        "GET /v2/../../../etc/passwd",
        *(f"{method} /v2/library/gemma3/manifests/270m" for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS")),
    ]
    output = on(CLIENT).check_output("python3 -c %s %s %s", ASK, json.dumps(LOGIN), json.dumps([*served, *refused]))
    answers = dict(zip([*served, *refused], json.loads(output), strict=True))
    assert [answers[line] for line in served] == [200] * len(served), answers
    assert all(answers[line] in (400, 403, 404, 405) for line in refused), answers
    for link in links:
        site.check_output(f"rm /srv/ollama-mirror/{link}")


# --- faults --------------------------------------------------------------------------------------------------------


def test_a_flipped_bit_in_the_bundle_is_refused(site: Host, bundle: Path) -> None:
    weights = max((bundle / "models/blobs").iterdir(), key=lambda path: path.stat().st_size)
    with tarfile.open(f"{bundle}.tar") as archive:
        offset = archive.getmember(f"models/blobs/{weights.name}").offset_data + 100_000_000
    flip = f"f=open({BUNDLE!r},'r+b'); f.seek({offset}); b=f.read(1)[0]^1; f.seek({offset}); f.write(bytes([b]))"
    site.check_output("python3 -c %s", flip)
    result = run(site, "mirror_content", path="/srv/other", source=BUNDLE, models=["gemma3:270m"])
    site.check_output("python3 -c %s", flip)
    assert f"{BUNDLE}: models/blobs/{weights.name} has the sha256 " in result["msg"]
    assert f"but {weights.name.removeprefix('sha256-')} was expected" in result["msg"]
    assert site.check_output("find /srv/other -type f -size +1k") == ""
    site.check_output("rm -rf /srv/other")


def test_a_damaged_blob_is_found_and_replaced(site: Host, bundle: Path) -> None:
    weights = max((bundle / "models/blobs").iterdir(), key=lambda path: path.stat().st_size).name
    place = f"/srv/ollama-mirror/models/blobs/{weights}"
    site.check_output(f"printf x | dd of={place} bs=1 seek=1000000 conv=notrunc status=none")
    given = {"path": "/srv/ollama-mirror", "source": BUNDLE, "models": ["gemma3:270m"], "verify": True}
    assert run(site, "mirror_content", **given)["damaged"] == [f"models/blobs/{weights}"]
    assert site.check_output(f"sha256sum {place}").split()[0] == weights.removeprefix("sha256-")


def test_a_full_file_system_is_said_before_the_first_byte(on: GetHost, fleet_variables: dict[str, Any]) -> None:
    host = on(CLIENT)
    host.check_output("mkdir -p /srv/full && mount -t tmpfs -o size=100m tmpfs /srv/full")
    try:
        result = run(
            host,
            "mirror_content",
            path="/srv/full",
            models=fleet_variables["ollama_models"],
            registry=f"http://{UPSTREAM}:5001",
        )
        assert "The mirror needs 253.1 MB more on the file system of /srv/full, but only" in result["msg"]
        assert host.check_output("find /srv/full -type f") == ""
    finally:
        host.check_output("umount /srv/full && rmdir /srv/full")


@pytest.fixture
def slow(on: GetHost) -> Iterator[Host]:
    """What stands for the internet, so slow that a transfer can be disturbed."""
    host = on(UPSTREAM)
    host.check_output("echo 'limit_rate 30m;' > /etc/nginx/conf.d/slow.conf && systemctl reload nginx")
    yield host
    host.check_output("rm /etc/nginx/conf.d/slow.conf && systemctl reset-failed nginx && systemctl restart nginx")


@pytest.fixture
def filling(inventory: Path, on: GetHost, tmp_path: Path) -> Iterator[Callable[[], dict[str, Any]]]:
    """A mirror that is being filled; at least 30 MB of it are there. Gives the function that waits for the result."""
    given = json.dumps(FILLING)
    command = [str(Path(sys.executable).with_name("ansible")), CLIENT, "-i", str(inventory), "--tree", str(tmp_path)]
    command += ["-m", "llmops.ollama.mirror_content", "-a", given]
    environment = dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"))
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    enough = "find /srv/filling/models/.partial -size +30M 2>/dev/null | grep -q ."
    on(CLIENT).check_output(f"timeout 60 sh -c 'until {enough}; do sleep 0.05; done'")

    def result() -> dict[str, Any]:
        process.wait(60)
        value: dict[str, Any] = json.loads((tmp_path / CLIENT).read_text())
        return value

    yield result
    process.wait(60)
    on(CLIENT).check_output("rm -rf /srv/filling")


FILLING = {"path": "/srv/filling", "models": ["gemma3:270m"], "registry": f"http://{UPSTREAM}:5001"}
SIZE = 253_113_335
# Whoever writes the file that is on its way.
KILL = """for file in /proc/[0-9]*/fd/*; do
    case $(readlink "$file") in /srv/filling/models/.partial/*) kill -KILL "$(echo "$file" | cut -d/ -f3)";; esac
done"""


def test_an_upstream_that_dies_and_comes_back(slow: Host, filling: Callable[[], dict[str, Any]], on: GetHost) -> None:
    assert "Another run is filling /srv/filling" in run(on(CLIENT), "mirror_content", **FILLING)["msg"]
    slow.check_output("systemctl kill --signal=KILL nginx; systemctl reset-failed nginx; systemctl start nginx")
    result = filling()
    assert result["changed"], result
    assert result["bytes"] == SIZE  # nothing was loaded twice
    on(CLIENT).check_output("cd /srv/filling && sha256sum --check --quiet SHA256SUMS")


def test_a_run_that_is_killed_goes_on_where_it_was(
    slow: Host, filling: Callable[[], dict[str, Any]], on: GetHost
) -> None:
    on(CLIENT).check_output(KILL)
    assert on(CLIENT).run("test -e /srv/filling/models/manifests -o -e /srv/filling/models/blobs").rc == 1
    assert "bytes" not in filling()
    result = run(on(CLIENT), "mirror_content", **FILLING)
    assert SIZE - 200_000_000 < result["bytes"] < SIZE - 30_000_000
    on(CLIENT).check_output("cd /srv/filling && sha256sum --check --quiet SHA256SUMS")
