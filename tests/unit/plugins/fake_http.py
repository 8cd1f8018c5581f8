# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Small HTTP servers for tests, in this process and on loopback: one that answers as told, a registry, an Ollama."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

Json = dict[str, Any]


@dataclass
class Answer:
    """A whole answer; ``body`` may be a JSON value."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Stream:
    """JSON lines, one chunk each. ``broken`` cuts the connection after the last one instead of ending the answer."""

    lines: Iterable[Any]
    broken: bool = False


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that has gone, which some tests want."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class FakeServer:
    """Answers on a free loopback port.

    ``log`` holds one ``METHOD path`` for each request, ``bodies`` what came with it, ``connections`` their ports.
    None as an answer hangs up without a word.
    """

    def __init__(self) -> None:
        self.log: list[str] = []
        self.bodies: list[Json] = []
        self.connections: set[int] = set()
        self.range = ""  # that the last request asked for
        self.queue: list[Answer | Stream | None] = []  # answers for the next requests, before any others
        self._sockets: list[socket.socket] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # it would hold lines of a stream back for 40 ms

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def setup(self) -> None:
                super().setup()
                fake._sockets.append(self.connection)

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                fake.log.append(f"{self.command} {self.path}")
                fake.bodies.append(json.loads(body) if body else {})
                fake.range = self.headers.get("Range", "")
                fake.connections.add(self.client_address[1])
                with contextlib.suppress(OSError):  # the client may have gone, which some tests want
                    fake._send(self, fake.queue.pop(0) if fake.queue else fake.answer(fake.log[-1], fake.bodies[-1]))

            do_GET = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815  # the names that the base class looks for

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.host}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End: hang up on everybody and listen no more."""
        self._server.shutdown()
        self._server.server_close()
        self.hang_up()

    def hang_up(self) -> None:
        """Close the connections that clients keep."""
        for sock in self._sockets:
            with contextlib.suppress(OSError):  # it may be closed already
                sock.shutdown(socket.SHUT_RDWR)
        self._sockets.clear()

    def answer(self, request: str, body: Json) -> Answer | Stream | None:
        return Answer(404, {"error": f"no answer to {request} in this test"})

    @staticmethod
    def _send(handler: BaseHTTPRequestHandler, answer: Answer | Stream | None) -> None:
        if answer is None:
            handler.close_connection = True
            return
        if isinstance(answer, Stream):
            handler.send_response(200)
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            for line in answer.lines:
                data = line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            if answer.broken:
                handler.wfile.write(b"ff\r\nhalf a li")
                handler.close_connection = True
            else:
                handler.wfile.write(b"0\r\n\r\n")
            return
        data = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        handler.send_response(answer.status)
        for name, value in {"Content-Length": str(len(data)), **answer.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(data)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class FakeRegistry(FakeServer):
    """Serves the manifests and configurations of models; weights are only described."""

    def __init__(self) -> None:
        super().__init__()
        self.manifests: dict[str, bytes] = {}
        self.blobs: dict[str, bytes] = {}
        self.ranges = True

    def publish(self, name: str, weights: str = "weights", size: int = 1000, quantization: str = "Q4_K_M") -> str:
        """Offer ``library/m:tag`` with one layer of ``size`` bytes, whose digest follows from ``weights``."""
        config = {"file_type": quantization, "model_family": "gemma3", "model_type": "268.10M"}
        blob = json.dumps(config).encode()
        self.blobs[f"sha256:{sha256(blob)}"] = blob
        layers = [{"digest": f"sha256:{sha256(weights.encode())}", "size": size}]
        manifest = {"config": {"digest": f"sha256:{sha256(blob)}", "size": len(blob)}, "layers": layers}
        self.manifests[name] = json.dumps(manifest).encode()
        return sha256(self.manifests[name])

    def publish_file(self, name: str, content: bytes, quantization: str = "Q4_K_M", **beside: Any) -> str:
        """Offer a model with a real file; ``beside`` are layers of other kinds, as a size or as JSON."""
        self.publish(name, quantization=quantization)
        manifest = json.loads(self.manifests[name])
        layers = []
        for kind, data in {"model": content, **beside}.items():
            blob = (
                b"-" * data if isinstance(data, int) else data if isinstance(data, bytes) else json.dumps(data).encode()
            )
            self.blobs[f"sha256:{sha256(blob)}"] = blob
            media_type = f"application/vnd.ollama.image.{kind}"
            layers.append({"digest": f"sha256:{sha256(blob)}", "size": len(blob), "mediaType": media_type})
        self.manifests[name] = json.dumps({**manifest, "layers": layers}).encode()
        return sha256(self.manifests[name])

    def answer(self, request: str, body: Json) -> Answer | Stream:
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.range)
        found = self._find(request)
        if asked and found.status == 200 and self.ranges:
            first, last = int(asked[1]), int(asked[2])
            return Answer(206, found.body[first : last + 1])
        return found

    def _find(self, request: str) -> Answer:
        _, _, path = request.partition(" /v2/")
        name, _, what = path.partition("/manifests/")
        found = self.manifests.get(f"{name}:{what}") if what else self.blobs.get(path.rpartition("/")[2])
        return Answer(404, {"errors": [{"code": "MANIFEST_UNKNOWN"}]}) if found is None else Answer(200, found)


class FakeOllama(FakeServer):
    """Behaves as an Ollama server; what it is told to pull comes from ``registry``, in chunks of a quarter."""

    def __init__(self, registry: FakeRegistry) -> None:
        super().__init__()
        self.registry = registry
        self.models: dict[str, bytes] = {}  # short name → manifest
        self.blobs: set[str] = set()  # digests of complete blobs
        self.partial: dict[str, int] = {}  # digest → bytes that a broken pull left behind
        self.shows: dict[str, Json] = {}  # short name → answer of /api/show
        self.faults: list[Any] = []  # one for each pull, in order: an error line, "break", "stall" or "end"

    def install(self, name: str, manifest: bytes) -> None:
        self.models[name] = manifest
        self.blobs.update(layer["digest"] for layer in self._layers(manifest))

    @staticmethod
    def _layers(manifest: bytes) -> list[Json]:
        value = json.loads(manifest)
        return [*value["layers"], value["config"]]

    def answer(self, request: str, body: Json) -> Answer | Stream | None:
        if request == "GET /api/tags":
            return Answer(200, {"models": [self._tag(name) for name in self.models]})
        if request == "POST /api/show" and body["model"] in self.shows:
            return Answer(200, self.shows[body["model"]])
        if request == "POST /api/create":
            return Stream(self._create(body))
        if request.startswith("HEAD /api/blobs/"):
            return Answer(200 if request.rpartition("/")[2] in self.blobs else 404)
        if request == "POST /api/copy":
            if body["source"] not in self.models:
                return Answer(404, {"error": "model not found"})
            self.models[body["destination"]] = self.models[body["source"]]
            return Answer()
        if request == "DELETE /api/delete":
            return Answer() if self.models.pop(body["model"], None) else Answer(404, {"error": "model not found"})
        if request == "POST /api/pull":
            fault = self.faults.pop(0) if self.faults else None
            return Stream(self._pull(body["model"], fault), broken=fault == "break")
        return super().answer(request, body)

    def _create(self, body: Json) -> Iterable[Any]:
        """Another manifest over the same weights, and parameters added to what is shown."""
        name, parameters = body["model"], body["parameters"]
        manifest = json.loads(self.models[body["from"]])
        self.models[name] = json.dumps({**manifest, "parameters": parameters}).encode()
        show = self.shows.setdefault(name, {})
        kept = [line for line in show.get("parameters", "").splitlines() if line.split()[0] not in parameters]
        show["parameters"] = "\n".join([*kept, *(f"{key}    {value}" for key, value in parameters.items())])
        yield {"status": "writing manifest"}
        yield {"status": "success"}

    def _tag(self, name: str) -> Json:
        manifest = self.models[name]
        config = json.loads(self.registry.blobs[json.loads(manifest)["config"]["digest"]])
        return {
            "name": name,
            "digest": sha256(manifest),
            "size": sum(layer["size"] for layer in self._layers(manifest)),
            "details": {
                "quantization_level": config["file_type"],
                "family": config["model_family"],
                "parameter_size": config["model_type"],
            },
        }

    def _pull(self, name: str, fault: Any) -> Iterable[Any]:
        yield {"status": "pulling manifest"}
        path, _, tag = name.rpartition(":")
        manifest = self.registry.manifests.get(f"library/{path.rpartition('/')[2]}:{tag}")
        if manifest is None:
            yield {"error": "pull model manifest: file does not exist"}
            return
        for layer in self._layers(manifest):
            digest, total = layer["digest"], layer["size"]
            start = total if digest in self.blobs else self.partial.get(digest, 0)
            for completed in sorted({start, *(max(start, total * quarter // 4) for quarter in range(5))}):
                event = {"status": f"pulling {digest[7:19]}", "digest": digest, "total": total, "completed": completed}
                yield event
                if fault and total > completed >= total // 2:
                    self.partial[digest] = completed
                    if fault == "stall":
                        yield from (event for _ in range(100_000))
                    elif fault not in ("break", "end"):
                        yield {"error": fault}
                    return
            self.blobs.add(digest)
        yield {"status": "verifying sha256 digest"}
        yield {"status": "writing manifest"}
        self.install(name, manifest)
        yield {"status": "success"}
