# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Small HTTP servers for tests, in this process and on loopback: one that answers as told, a registry, an Ollama."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import ssl
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
        self.content = b""  # that came with it
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
                fake.content = self._body()
                fake.log.append(f"{self.command} {self.path}")
                is_json = self.headers.get("Transfer-Encoding") is None  # only uploads come in chunks
                fake.bodies.append(json.loads(fake.content) if fake.content and is_json else {})
                fake.range = self.headers.get("Range", "")
                fake.connections.add(self.client_address[1])
                with contextlib.suppress(OSError):  # the client may have gone, which some tests want
                    fake._send(self, fake.queue.pop(0) if fake.queue else fake.answer(fake.log[-1], fake.bodies[-1]))

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = b""
                while length := int(self.rfile.readline(), 16):
                    body += self.rfile.read(length)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            do_GET = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815  # the names that the base class looks for

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_port
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Speak TLS on the connections that come from now on."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)

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


PARENT = "from"  # in a manifest's layer: the model that it was made of
IMAGE = "application/vnd.ollama.image."


class FakeOllama(FakeServer):
    """Behaves as an Ollama server; what it is told to pull comes from ``registry``, in chunks of a quarter.

    Up to version 0.24 its list does not tell what a model was made of. ``no_list`` stands for each list in an answer
    of ``/api/show`` that is not verbose.
    """

    def __init__(self, registry: FakeRegistry) -> None:
        super().__init__()
        self.registry = registry
        self.version = "0.34.0"
        self.no_list: list[Any] | None = None
        self.models: dict[str, bytes] = {}  # short name → manifest
        self.blobs: set[str] = set()  # digests of complete blobs
        self.contents: dict[str, bytes] = {}  # digest → bytes, of blobs that were not pulled
        self.partial: dict[str, int] = {}  # digest → bytes that a broken pull left behind
        self.shows: dict[str, Json] = {}  # short name → what /api/show answers beyond what follows from the manifest
        self.loads: dict[str, list[float]] = {}  # short name → seconds that each of the next requests waits for a load
        self.loaded: list[str] = []  # short names of what is in memory
        self.faults: list[Any] = []  # one for each pull, in order: an error line, "break", "stall" or "end"
        self.rewrites = False  # whether it writes the files that models are made of anew

    def install(self, name: str, manifest: bytes) -> None:
        self.models[name] = manifest
        self.blobs.update(layer["digest"] for layer in self._layers(manifest))

    @staticmethod
    def _layers(manifest: bytes) -> list[Json]:
        value = json.loads(manifest)
        return [*value["layers"], value["config"]]

    def answer(self, request: str, body: Json) -> Answer | Stream | None:
        if request == "GET /api/version":
            return Answer(200, {"version": self.version})
        if request == "GET /api/tags":
            return Answer(200, {"models": [self._tag(name) for name in self.models]})
        if request == "GET /api/ps":
            return Answer(200, {"models": [{"name": name} for name in self.loaded]})
        if request == "POST /api/show" and (body["model"] in self.models or body["model"] in self.shows):
            show = self.show(body["model"])
            return Answer(200, show if body.get("verbose") else self._brief(show))
        if request == "POST /api/generate" and body.get("keep_alive") == 0:
            self.loaded = [name for name in self.loaded if name != body["model"]]
            return Answer(200, {"done": True, "done_reason": "unload"})
        if request == "POST /api/generate" and body["model"] in self.models:
            self.loaded = [body["model"]]
            waits = self.loads.get(body["model"]) or [0.0]
            load = waits.pop(0) if len(waits) > 1 else waits[0]
            return Stream([{"response": "x", "done": False}, {"done": True, "load_duration": int(load * 1e9)}])
        if request == "POST /api/create":
            return Stream(self._create(body))
        if request.startswith("HEAD /api/blobs/"):
            return Answer(200 if request.rpartition("/")[2] in self.blobs else 404)
        if request.startswith("POST /api/blobs/"):
            return self._store(request.rpartition("/")[2], self.content)
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

    def _store(self, digest: str, content: bytes) -> Answer:
        if digest != f"sha256:{sha256(content)}":
            return Answer(400, {"error": f"digest mismatch, expected {digest}"})
        self.contents[digest] = content
        self.blobs.add(digest)
        return Answer(201)

    def _add(self, kind: str, value: Any) -> Json:
        content = value if isinstance(value, bytes) else json.dumps(value, sort_keys=True).encode()
        digest = f"sha256:{sha256(content)}"
        self._store(digest, content)
        return {"mediaType": IMAGE + kind, "digest": digest, "size": len(content)}

    def _kinds(self, name: str) -> dict[str, Json]:
        """The layers of a model by their kind."""
        layers = json.loads(self.models[name])["layers"]
        return {layer.get("mediaType", IMAGE + "model").rpartition(".")[2]: layer for layer in layers}

    def _read(self, layer: Json | None) -> bytes:
        digest = layer["digest"] if layer else ""
        return self.contents.get(digest) or self.registry.blobs.get(digest) or b""

    def show(self, name: str) -> Json:
        """The answer of ``/api/show``."""
        if name not in self.models:
            return self.shows[name]
        kinds = self._kinds(name)
        parameters = json.loads(self._read(kinds.get("params")) or b"{}")
        rows = [
            f"{key:30} {json.dumps(value)}"
            for key, values in parameters.items()
            for value in (values if isinstance(values, list) else [values])
        ]
        shown = {
            "parameters": "\n".join(rows),
            "system": self._read(kinds.get("system")).decode(),
            "template": self._read(kinds.get("template")).decode(),
            "modelfile": f"# generated\nFROM /models/blobs/{kinds['model']['digest'].replace(':', '-')}\nTEMPLATE x",
            "details": {"parent_model": kinds["model"].get(PARENT, "")},
        }
        return {**shown, **self.shows.get(name, {})}

    def _brief(self, show: Json) -> Json:
        info = show.get("model_info") or {}
        brief = {key: self.no_list if isinstance(value, list) else value for key, value in info.items()}
        return {**show, "model_info": brief} if info else show

    def _create(self, body: Json) -> Iterable[Any]:
        """A model of another one, whose parameters stay where they are not replaced, or of a file."""
        name, base = body["model"], body.get("from")
        if base and base not in self.models:
            yield {"error": "pull model manifest: file does not exist"}
            return
        if base:
            old, kinds = json.loads(self.models[base]), self._kinds(base)
            kinds["model"] = {**kinds["model"], PARENT: base}
            config = old["config"]
        else:
            (digest,) = body["files"].values()
            if digest not in self.blobs:
                yield {"error": f"open {digest}: no such file or directory"}
                return
            content = self.contents[digest]
            if self.rewrites and not content.startswith(b"GGUF rewritten"):
                content = b"GGUF rewritten" + content
            kinds = {"model": self._add("model", content)}
            config = {**self._add("config", {"file_type": "Q8_0", "model_family": "llama", "model_type": "1.00M"})}
        parameters = {**json.loads(self._read(kinds.get("params")) or b"{}"), **body.get("parameters", {})}
        if parameters:
            kinds["params"] = self._add("params", parameters)
        for kind in ("system", "template"):
            if body.get(kind):
                kinds[kind] = self._add(kind, body[kind].encode())
        self.install(name, json.dumps({"config": config, "layers": list(kinds.values())}).encode())
        yield {"status": "writing manifest"}
        yield {"status": "success"}

    def _tag(self, name: str) -> Json:
        manifest = self.models[name]
        config = json.loads(self._read(json.loads(manifest)["config"]))
        parent = self._kinds(name)["model"].get(PARENT, "")
        newer = {"parent_model": parent, "context_length": 32768} if self.version >= "0.30" else {"parent_model": ""}
        return {
            "name": name,
            "digest": sha256(manifest),
            "size": sum(layer["size"] for layer in self._layers(manifest)),
            "details": {
                **newer,
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
