# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The relay: what a pull needs comes through, byte for byte, and nothing else does."""

from __future__ import annotations

import http.client
import random
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from ansible_collections.llmops.ollama.plugins.module_utils.access import Access
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from ansible_collections.llmops.ollama.plugins.module_utils.registry import Registry, Source, source_of
from ansible_collections.llmops.ollama.plugins.module_utils.registry_relay import relay, routed
from fake_http import sha256
from fake_mirror import FakeMirror, Fault, authority

WEIGHTS = random.Random(3).randbytes(1_500_000)  # noqa: S311  # not a secret
BLOB = f"/v2/library/m/blobs/sha256:{sha256(WEIGHTS)}"
MANIFEST = "/v2/library/m/manifests/t"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def mirror(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMirror]:
    """Speaks TLS by a private authority, and wants a password."""
    monkeypatch.setenv("no_proxy", "*")
    with FakeMirror(certificates) as mirror:
        mirror.publish_model("library/m:t", WEIGHTS)
        mirror.wants = "fleet:secret"
        yield mirror


@pytest.fixture
def access(mirror: FakeMirror, certificates: Path) -> Access:
    return Access(mirror.url, "fleet", "secret", str(certificates / "ca.pem"))


@pytest.fixture
def local(access: Access) -> Iterator[str]:
    with relay(access) as url:
        yield url


def test_a_model_comes_through(mirror: FakeMirror, local: str) -> None:
    with Registry(5) as registry:
        source = source_of(ModelName.parse("m:t"), local)
        manifest, body = registry.served_manifest(source)
        assert body == mirror.files[MANIFEST]
        assert registry.offer(source, manifest).quantization == "Q4_K_M"
    answer = requests.get(local + BLOB, timeout=5)
    assert answer.content == WEIGHTS
    assert answer.headers["Location"] == BLOB  # without it the server refuses the blob
    assert {request.user for request in mirror.log} == {"fleet"}


def test_head_and_ranges(mirror: FakeMirror, local: str) -> None:
    head = requests.head(local + BLOB, timeout=5)
    assert (head.status_code, head.headers["Content-Length"], head.headers["Location"]) == (200, "1500000", BLOB)
    part = requests.get(local + BLOB, headers={"Range": "bytes=1000-1999"}, timeout=5)
    assert (part.status_code, part.content) == (206, WEIGHTS[1000:2000])
    assert part.headers["Content-Range"] == "bytes 1000-1999/1500000"
    assert requests.get(local + BLOB, headers={"Range": "bytes=1500000-"}, timeout=5).status_code == 416


def test_sixteen_parts_at_once(mirror: FakeMirror, local: str) -> None:
    step = -(-len(WEIGHTS) // 16)

    def part(number: int) -> bytes:
        asked = {"Range": f"bytes={number * step}-{(number + 1) * step - 1}"}
        return requests.get(local + BLOB, headers=asked, timeout=10).content

    with ThreadPoolExecutor(16) as pool:
        assert b"".join(pool.map(part, range(16))) == WEIGHTS


def test_connections_are_kept_on_both_sides(mirror: FakeMirror, local: str) -> None:
    host, port = local.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=5)
    ports = set()
    for _ in range(3):
        connection.request("GET", MANIFEST)
        ports.add(connection.sock.getsockname())
        assert connection.getresponse().read() == mirror.files[MANIFEST]
    connection.close()
    assert (len(ports), len(mirror.ports)) == (1, 1)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v2/",
        "/releases/v0.34.0/sha256sum.txt",
        "/v2/library/m/manifests/",
        "/v2/library/m/manifests/t/u",
        "/v2/library/m/manifests/..",
        "/v2/library/../manifests/t",
        "/v2/library/m/manifests/%2e%2e",
        "/v2/library/m/manifests/t?x=1",
        "/v2/library/m/blobs/sha256:" + "g" * 64,
        "/v2/library/m/blobs/sha256:" + "a" * 63,
        "/v2/library/m/blobs/uploads",
        "http://elsewhere/v2/library/m/manifests/t",
    ],
)
def test_other_paths_do_not_reach_the_mirror(mirror: FakeMirror, local: str, path: str) -> None:
    assert raw(local, f"GET {path} HTTP/1.1").startswith("HTTP/1.1 404")
    assert mirror.log == []


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "CONNECT", "OPTIONS"])
def test_other_methods_do_not_reach_the_mirror(mirror: FakeMirror, local: str, method: str) -> None:
    assert raw(local, f"{method} {MANIFEST} HTTP/1.1").startswith("HTTP/1.1 501")
    assert mirror.log == []


def raw(local: str, line: str) -> str:
    host, port = local.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(f"{line}\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        return connection.makefile("rb").read().decode()


def test_it_listens_on_loopback_and_only_for_a_while(access: Access) -> None:
    with relay(access) as url:
        session = requests.Session()
        assert session.get(url + MANIFEST, timeout=5).ok
    assert url.startswith("http://127.0.0.1:")
    with pytest.raises(requests.ConnectionError):
        session.get(url + MANIFEST, timeout=5)


# --- what the mirror may do ----------------------------------------------------------------------------------------


def test_a_wrong_password_is_an_error_with_a_reason(mirror: FakeMirror, certificates: Path) -> None:
    with relay(Access(mirror.url, "fleet", "wrong", str(certificates / "ca.pem"))) as local:
        answer = requests.get(local + MANIFEST, timeout=5)
    assert answer.status_code == 403  # with 401 the server would look for a place to get a token from
    assert answer.text.startswith(f"{mirror.url} answered 401. It does not accept the password of 'fleet'")
    assert "wrong" not in answer.text


def test_a_certificate_that_is_not_accepted(mirror: FakeMirror) -> None:
    with relay(Access(mirror.url, "fleet", "secret")) as local:
        answer = requests.get(local + MANIFEST, timeout=5)
    assert answer.status_code == 502
    assert "its certificate is not accepted" in answer.text
    assert mirror.log == []


def test_a_mirror_that_is_not_there(closed_port: int) -> None:
    with relay(Access(f"http://127.0.0.1:{closed_port}")) as local:
        answer = requests.get(local + MANIFEST, timeout=5)
    assert (answer.status_code, "refused" in answer.text) == (502, True)


@pytest.mark.parametrize("status", [403, 404, 429, 500])
def test_other_refusals_come_through(mirror: FakeMirror, local: str, status: int) -> None:
    mirror.faults[MANIFEST] = [Fault(status, b"no")]
    answer = requests.get(local + MANIFEST, timeout=5)
    assert (answer.status_code, answer.content) == (status, b"no")


@pytest.mark.parametrize(
    ("fault", "status"), [(Fault(500, b"<html>oops"), 500), (Fault(429, b"slow"), 429), (Fault(ranges=False), 502)]
)
def test_no_byte_is_taken_for_a_part_of_a_blob_that_is_none(
    mirror: FakeMirror, local: str, fault: Fault, status: int
) -> None:
    mirror.faults[BLOB] = [fault]
    answer = requests.get(local + BLOB, headers={"Range": "bytes=5-9"}, timeout=5)
    assert (answer.status_code, answer.content) == (status, b"")


def test_a_transfer_that_breaks_is_seen_as_broken(
    mirror: FakeMirror, local: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror.faults[BLOB] = [Fault(cut=1_200_000)]
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
        requests.get(local + BLOB, timeout=5)
    assert capsys.readouterr().err == ""
    assert requests.get(local + BLOB, timeout=5).content == WEIGHTS


def test_a_server_that_hangs_up_early_does_no_harm(mirror: FakeMirror, local: str) -> None:
    # So does every pull: it asks for the whole blob, to see where it is, and reads none of it.
    for _ in range(3):
        requests.get(local + BLOB, stream=True, timeout=5).close()
    assert requests.get(local + BLOB, timeout=5).content == WEIGHTS


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("{mirror}" + BLOB, BLOB),
        (BLOB, BLOB),
        ("https://cdn.example.org/x?signature=1", "https://cdn.example.org/x?signature=1"),
    ],
)
def test_redirects(mirror: FakeMirror, local: str, location: str, expected: str) -> None:
    mirror.faults[BLOB] = [Fault(307, b"", headers={"Location": location.format(mirror=mirror.url)})]
    answer = requests.get(local + BLOB, allow_redirects=False, timeout=5)
    assert (answer.status_code, answer.headers["Location"]) == (307, expected)


def test_an_answer_of_unknown_length(mirror: FakeMirror, local: str) -> None:
    mirror.faults[MANIFEST] = [Fault(measured=False)]
    assert requests.get(local + MANIFEST, timeout=5).content == mirror.files[MANIFEST]


HERE = "http://127.0.0.1:11434"


def source_at(url: str) -> Source:
    return source_of(ModelName.parse("m:t"), url)


def test_only_what_the_server_cannot_reach_by_itself_goes_through(access: Access, mirror: FakeMirror) -> None:
    guarded, official = source_at(mirror.url), source_at("https://registry.ollama.ai")
    with routed(access, [guarded, official], HERE, 5) as route:
        assert route(official) == official
        through = route(guarded)
        assert through.insecure
        assert through.registry.startswith("http://127.0.0.1:")
        assert str(through.name) == f"{through.registry[7:]}/library/m:t"
        answer = requests.get(f"{through.registry}{BLOB}", timeout=5)
        assert answer.content == WEIGHTS


@pytest.mark.parametrize("access", [Access(), Access("http://mirror:5001"), Access("http://other:5001", "a", "b")])
def test_without_a_need_there_is_no_relay(access: Access) -> None:
    source = source_at("http://mirror:5001")
    with routed(access, [source], "http://192.0.2.1:11434", 5) as route:
        assert route(source) == source


def test_a_server_elsewhere_cannot_reach_it(access: Access, mirror: FakeMirror) -> None:
    with (
        pytest.raises(InvalidInput, match=r"192\.0\.2\.1:11434 is on another host"),
        routed(access, [source_at(mirror.url)], "http://192.0.2.1:11434", 5),
    ):
        pass
