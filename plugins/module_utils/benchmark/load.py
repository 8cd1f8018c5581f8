# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The load generator: a closed loop of workers that stream answers and time them on the client's side."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Callable

with contextlib.suppress(ImportError):  # entry.run() reports a missing library to the user
    import requests

from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.prompts import Request
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.sample import Failure, Sample
from ansible_collections.llmops.ollama.plugins.module_utils.client import CONNECT_TIMEOUT, brief, error_text

TICK_SECONDS = 0.5

# Called every TICK_SECONDS with the samples so far.
Watch = Callable[[Sequence[Sample]], None]

clock = time.perf_counter


class LoadGenerator:
    """``concurrency`` workers, each with a connection that it keeps, as a client with a connection pool has.

    A request sends the sampling options only. Any other option (num_ctx, num_thread, …) that differs from what
    clients send would make the server reload the model and measure something else. ``timeout`` (seconds) bounds each
    request.
    """

    def __init__(self, url: str, model: str, concurrency: int, timeout: float) -> None:
        self._url = f"{url}/api/generate"
        self._model = model
        self._timeout = timeout
        self._sessions: list[requests.Session] = []
        self._worker = threading.local()
        self._pool = ThreadPoolExecutor(concurrency, "load", initializer=self._connect)

    def __enter__(self) -> LoadGenerator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()
        for session in self._sessions:
            session.close()

    def closed_loop(self, load: Sequence[Request], deadline: float, watch: Watch) -> list[Sample]:
        """Send every request of ``load``, each worker its next one as soon as its last is answered.

        From ``deadline`` (a time of ``clock``) on no request is sent any more, so fewer samples than requests may
        come back; the requests under way are waited for, because leaving out just the slowest would flatter. Failures
        are samples too.
        """
        pending: set[Future[Sample | None]] = {self._pool.submit(self._send, request, deadline) for request in load}
        samples: list[Sample] = []
        while pending:
            done, pending = wait(pending, timeout=TICK_SECONDS)
            samples += [sample for sample in (future.result() for future in done) if sample is not None]
            watch(samples)
        return samples

    def _connect(self) -> None:
        session = requests.Session()
        session.trust_env = False  # the address is given explicitly; see client.Client
        session.headers["Accept-Encoding"] = "identity"  # a compressing proxy would hold tokens back
        self._worker.session = session
        self._sessions.append(session)

    def _send(self, request: Request, deadline: float) -> Sample | None:
        if clock() >= deadline:
            return None
        body = {
            "model": self._model,
            "prompt": request.prompt,
            "stream": True,
            "options": {"num_predict": request.max_tokens, "seed": request.seed},
        }
        return stream(self._worker.session, self._url, body, self._timeout)


def stream(session: requests.Session, url: str, body: object, timeout: float) -> Sample:
    """Send one request and time its streamed answer; whatever goes wrong is the sample's ``failure``."""
    start = clock()
    arrivals: list[float] = []

    def failed(kind: str, detail: str) -> Sample:
        return Sample(start, clock(), tuple(arrivals), failure=Failure(kind, detail))

    answered = False
    complete: Sample | None = None
    try:
        with session.post(url, json=body, stream=True, timeout=(CONNECT_TIMEOUT, timeout)) as response:
            answered = True
            if not response.ok:
                return failed(f"http_{response.status_code}", error_text(response))
            # Read to the very end also after the last object: only then can the connection serve the next request.
            for now, line in _lines(response):
                if now - start > timeout:
                    return failed("timeout", f"the answer was not complete after {timeout:g} s")
                message = json.loads(line)
                if "error" in message:
                    return failed("error_line", str(message["error"]).strip().rstrip("."))
                # A reasoning model thinks first: those tokens are work of the server, and the user sees them come.
                if message.get("response") or message.get("thinking"):
                    arrivals.append(now)
                if message.get("done"):
                    complete = Sample(start, now, tuple(arrivals), int(message.get("eval_count") or len(arrivals)))
    except requests.RequestException as error:
        return failed(_kind(error, answered), brief(error))
    except (ValueError, TypeError, AttributeError):
        return failed("bad_answer", "a line of the answer is not one of Ollama's JSON objects")
    return complete or failed("broken_stream", "the answer ended before it was complete")


def _lines(response: requests.Response) -> Iterator[tuple[float, bytes]]:
    """Yield each line with the time at which its last byte was there; cheaper than ``iter_lines``."""
    rest = b""
    for chunk in response.iter_content(chunk_size=None):
        now = clock()
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield now, line
    if rest:
        yield clock(), rest


def _kind(error: BaseException, answered: bool) -> str:
    """Classify a transport error by the operating system's error at the root of its chain."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionRefusedError):
            return "refused"
        if isinstance(cause, socket.timeout):
            return "timeout"
        if isinstance(cause, (ConnectionResetError, BrokenPipeError)):  # includes http.client.RemoteDisconnected
            return "broken_stream"
        cause = cause.__cause__ or cause.__context__
    return "broken_stream" if answered else "unreachable"
