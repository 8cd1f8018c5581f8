# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A mirror for tests, in this process and on loopback: whole releases and models, ranges, a password, TLS, faults."""

from __future__ import annotations

import base64
import contextlib
import datetime
import ipaddress
import json
import ssl
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fake_http import sha256


@dataclass
class Fault:
    """What one request gets instead: another status or body, or the first ``cut`` bytes before the line goes dead.

    Without ``measured`` it does not say how long it is. After ``pause_at`` bytes it calls ``pause`` before it goes on.
    """

    status: int = 200
    body: bytes | None = None
    cut: int | None = None
    ranges: bool = True
    measured: bool = True
    pause: Callable[[], object] | None = None
    pause_at: int = 0
    headers: dict[str, str] = field(default_factory=dict)


class Request(NamedTuple):
    """What was asked for; ``range`` as in its header, ``user`` as whom, both empty where nothing was said."""

    method: str
    path: str
    range: str
    user: str


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that has gone, or that does not like a certificate."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class FakeMirror:
    """Serves ``files``, path → content; the ``faults`` of a path come first, one for each GET.

    ``wants`` is the ``name:password`` that it lets in, if set. With ``certificates``, a folder that ``authority``
    filled, it speaks TLS. ``log`` has every request, ``ports`` those of its clients, ``sent`` counts bytes of bodies.
    """

    def __init__(self, certificates: Path | None = None) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[Fault]] = {}
        self.log: list[Request] = []
        self.wants = ""
        self.ports: set[int] = set()
        self.heads = 200  # how HEAD is answered
        self.sent = 0
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                with contextlib.suppress(OSError):
                    fake._answer(self)

            do_HEAD = do_GET  # noqa: N815

        self._server = _Server(("127.0.0.1", 0), Handler)
        if certificates:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificates / "server.pem")
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if certificates else ''}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def releases(self) -> str:
        return f"{self.url}/releases"

    def publish_release(self, version: str, **archives: bytes) -> None:
        """``archives`` by the name after ``ollama-linux-``, with ``_`` for ``-``; all of them are .tgz files."""
        lines = []
        for name, body in archives.items():
            file = f"ollama-linux-{name.replace('_', '-')}.tgz"
            self.files[f"/releases/v{version}/{file}"] = body
            lines.append(f"{sha256(body)}  ./{file}\n")
        self.files[f"/releases/v{version}/sha256sum.txt"] = "".join(lines).encode()

    def publish_model(self, name: str, *layers: bytes, quantization: str = "Q4_K_M") -> str:
        """Offer ``namespace/model:tag``; the first layer is its weights. Returns the digest of its manifest."""
        model, _, tag = name.partition(":")
        config = json.dumps({"file_type": quantization, "model_family": "gemma3"}).encode()
        entries = []
        for kind, body in zip(("model", "template", "params"), layers):
            entries.append({**self._blob(model, body), "mediaType": f"application/vnd.ollama.image.{kind}"})
        manifest = json.dumps({"schemaVersion": 2, "config": self._blob(model, config), "layers": entries}).encode()
        self.files[f"/v2/{model}/manifests/{tag}"] = manifest
        return sha256(manifest)

    def _blob(self, model: str, body: bytes) -> dict[str, Any]:
        self.files[f"/v2/{model}/blobs/sha256:{sha256(body)}"] = body
        return {"digest": f"sha256:{sha256(body)}", "size": len(body)}

    def asked(self, part: str = "", method: str = "GET") -> list[str]:
        """The ranges of the requests for paths that contain ``part``."""
        return [request.range for request in self.log if request.method == method and part in request.path]

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        shown = base64.b64decode(handler.headers.get("Authorization", "").removeprefix("Basic ")).decode()
        asked = handler.headers.get("Range", "")
        self.ports.add(handler.client_address[1])
        self.log.append(Request(handler.command, handler.path, asked, shown.partition(":")[0]))
        waiting = self.faults.get(handler.path)
        fault = waiting.pop(0) if waiting and handler.command == "GET" else Fault()
        body = self.files.get(handler.path) if fault.body is None else fault.body
        status = 404 if body is None else fault.status
        if handler.command == "HEAD" and self.heads != 200:
            status = self.heads
        if self.wants and shown != self.wants:
            status, body = 401, b"<html>who are you?</html>"
        body = body or b""
        kind = "application/octet-stream" if status == 200 else "text/html"  # as nginx does
        headers = {"Content-Type": kind, "Accept-Ranges": "bytes", **fault.headers}
        total = len(body)
        if status == 200 and asked and fault.ranges:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            end = min(int(last) + 1 if last else total, total)
            if int(first) >= total:
                status, body = 416, b""
            else:
                status, body = 206, body[int(first) : end]
                headers["Content-Range"] = f"bytes {first}-{end - 1}/{total}"
        handler.send_response(status)
        for name, value in {**({"Content-Length": str(len(body))} if fault.measured else {}), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command != "HEAD":
            begin = fault.pause_at if fault.pause else 0
            handler.wfile.write(body[:begin])
            if fault.pause:
                fault.pause()
            handler.wfile.write(body[begin : fault.cut])
            self.sent += len(body[: fault.cut])
        if fault.cut is not None or not fault.measured:
            handler.close_connection = True


_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def authority(folder: Path, address: str = "127.0.0.1") -> Path:
    """Fill a folder with a new ``ca.pem`` and a ``server.pem`` (key and certificate) that it signed for ``address``.

    As strict as Python 3.13 wants them.
    """
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of this test")])
    now = datetime.datetime.now(datetime.timezone.utc)

    by = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    signs = {name: name in ("key_cert_sign", "crl_sign") for name in _USAGES}

    def builder(name: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        made = x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(public)
        made = made.serial_number(x509.random_serial_number()).add_extension(by, critical=False)
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        return made.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))

    ca = builder(issuer, ca_key.public_key()).add_extension(x509.BasicConstraints(True, None), critical=True)
    ca = ca.add_extension(x509.KeyUsage(**signs), critical=True)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a mirror")])
    server = builder(subject, key.public_key()).add_extension(names, critical=False)
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "ca.pem").write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    (folder / "server.pem").write_bytes(secret + server.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    return folder
