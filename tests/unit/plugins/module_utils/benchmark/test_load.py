# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import errno
import json
import math
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils import errors
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark import load
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.load import Load, LoadGenerator
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.prompts import Request, Workload
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.protocol import Target
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.sample import Sample
from ansible_collections.llmops.ollama.plugins.module_utils.benchmark.wire import Connection
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fake_http import Answer, Stream
from hypothesis import given
from hypothesis import strategies as st

ONE = {"response": "a", "done": True, "eval_count": 1}  # an answer of one token
SECONDS = 5.0  # no test waits that long unless the code under test is wrong


def asked() -> Iterator[Request]:
    return Workload(1, max_tokens=8).requests()


def send(url: str, requests: int = 1, concurrency: int = 1, timeout: float = SECONDS) -> list[Sample]:
    with LoadGenerator(Target(url, "gemma3:270m", timeout=timeout)) as generator:
        return generator.run(asked(), Load(concurrency, requests=requests))


def failure_of(sample: Sample) -> tuple[str, str]:
    assert sample.failure is not None
    return sample.failure.kind, sample.failure.detail


def test_request_is_what_a_client_sends(server: Any) -> None:
    with LoadGenerator(Target(server.url, "gemma3:270m")) as generator:
        generator.run(iter([Request("Hello", max_tokens=8, seed=5)]), Load(1, requests=1))
    assert server.bodies == [
        {"model": "gemma3:270m", "prompt": "Hello", "stream": True, "options": {"num_predict": 8, "seed": 5}}
    ]


def test_sample_of_a_good_answer(server: Any) -> None:
    [sample] = send(server.url)
    assert sample.failure is None
    assert sample.output_tokens == 3, "the server's count, not the number of pieces"
    assert len(sample.arrivals) == 2
    assert sample.due < sample.arrivals[0] <= sample.arrivals[1] <= sample.end


def test_first_token_is_timed_while_the_rest_is_still_to_come(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server sends its second piece only after the client has read the first."""
    read, original = threading.Event(), Connection.read
    second: list[float] = []

    def noticed(connection: Connection) -> bytes | None:
        data = original(connection)
        if data and b"response" in data:
            read.set()
        return data

    def pieces() -> Iterator[dict[str, Any]]:
        yield {"response": "a"}
        assert read.wait(SECONDS)
        second.append(load.clock())
        yield {"response": "b", "done": True, "eval_count": 2}

    server.reply = lambda body: Stream(pieces())
    monkeypatch.setattr(Connection, "read", noticed)
    [sample] = send(server.url)
    assert sample.arrivals[0] < second[0] < sample.arrivals[1]


def test_thinking_is_output_too(server: Any) -> None:
    server.reply = lambda body: Stream([{"thinking": "hm", "response": ""}, {"response": "Yes"}, {"done": True}])
    [sample] = send(server.url)
    assert (len(sample.arrivals), sample.output_tokens) == (2, 2), "the pieces count where the server does not"


def test_lines_may_be_split_and_joined_on_the_way(server: Any) -> None:
    server.reply = lambda body: Stream(
        [
            b'{"response": "\xc3',
            b'\xa9"}\n\n{"response": "b"}\n{"resp',
            b'onse": "", "done": true, "eval_count": 2}',  # and no newline at the end
        ]
    )
    [sample] = send(server.url)
    assert (sample.failure, len(sample.arrivals), sample.output_tokens) == (None, 2, 2)


def test_exactly_the_concurrency_is_under_way(server: Any) -> None:
    """Each round of three passes a barrier of three: fewer under way would block it, more would be counted."""
    together = threading.Barrier(3, timeout=SECONDS)
    lock = threading.Lock()
    inside = most = 0

    def reply(body: dict[str, Any]) -> Stream:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        together.wait()
        with lock:
            inside -= 1
        together.wait()
        return Stream([ONE])

    server.reply = reply
    samples = send(server.url, requests=12, concurrency=3)
    assert [sample.failure for sample in samples] == [None] * 12
    assert most == 3
    assert len(server.connections) == 3, "each worker keeps its connection"


def test_connection_outlives_an_error_answer(server: Any) -> None:
    server.reply = lambda body: Answer(503, {"error": "server busy, please try again"})
    samples = send(server.url, requests=4)
    assert [failure_of(sample) for sample in samples] == [("http_503", "server busy, please try again")] * 4
    assert len(server.connections) == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(404, {"error": "model 'gemma3:270m' not found"}), "http_404"),
        (Answer(429), "http_429"),
        (Answer(502, b"<html><h1>Bad Gateway</h1></html>"), "http_502"),
        (None, "broken_stream"),
        (Stream([{"response": "a"}], broken=True), "broken_stream"),
        (Stream([{"response": "a"}]), "broken_stream"),
        (Stream([]), "broken_stream"),
        (Stream([b"\n"]), "broken_stream"),
        (Stream([{"response": "a"}, {"error": "llama runner process has terminated"}]), "error_line"),
        (Stream([b"<html>Welcome to nginx</html>\n"]), "bad_answer"),
        (Stream([["a list"]]), "bad_answer"),
        (Stream(["a string"]), "bad_answer"),
        (Stream([5]), "bad_answer"),
        (Stream([{"done": True, "eval_count": "many"}]), "bad_answer"),
        (Stream([b"\xff\xfe\n"]), "bad_answer"),
    ],
)
def test_failures_of_an_answering_server(server: Any, answer: Any, kind: str) -> None:
    server.reply = lambda body: answer
    [sample] = send(server.url)
    assert failure_of(sample)[0] == kind
    assert failure_of(sample)[1], "the detail says something"
    assert sample.end >= sample.due


def test_silence_is_a_timeout(server: Any) -> None:
    over = threading.Event()

    def silent() -> Iterator[dict[str, Any]]:
        yield {"response": "a"}
        over.wait(SECONDS)

    server.reply = lambda body: Stream(silent())
    [in_the_middle] = send(server.url, timeout=0.1)
    server.reply = lambda body: over.wait(SECONDS) and None
    [from_the_start] = send(server.url, timeout=0.1)
    over.set()
    assert failure_of(in_the_middle)[0] == "timeout"
    assert failure_of(from_the_start)[0] == "timeout"


def test_a_trickle_cannot_outlast_the_timeout(server: Any) -> None:
    """Every piece is in time for a socket, all together are not."""
    over = threading.Event()

    def trickle() -> Iterator[dict[str, Any]]:
        while not over.wait(0.02):
            yield {"response": "a"}

    server.reply = lambda body: Stream(trickle())
    [sample] = send(server.url, timeout=0.2)
    over.set()
    assert failure_of(sample) == ("timeout", "the answer was not complete after 0.2 s")
    assert sample.latency >= 0.2


def test_nobody_there(nobody: str) -> None:
    with pytest.raises(errors.Unreachable, match=f"^Nothing answers at {nobody}: Connection refused. Check that"):
        send(nobody)


@pytest.mark.parametrize("url", ["localhost:11434", "http://", "ftp://x"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(errors.InvalidInput, match="which is not an address"):
        send(url)


def test_a_name_without_an_address() -> None:
    with pytest.raises(errors.Unreachable, match=r"http://name\.invalid:11434: the name has no address\."):
        send("http://name.invalid:11434")


def test_a_server_that_goes_away_in_the_middle(server: Any) -> None:
    """The first answer ends the server: what follows is refused, and counted."""
    with LoadGenerator(Target(server.url, "m", timeout=SECONDS)) as generator:
        assert generator.run(asked(), Load(1, requests=1))[0].failure is None
        server.stop()
        samples = generator.run(asked(), Load(2, requests=4))
    assert {failure_of(sample)[0] for sample in samples} <= {"refused", "broken_stream"}
    assert failure_of(samples[-1])[0] == "refused"


def test_a_connection_that_the_server_has_closed_meanwhile_is_no_failure(server: Any) -> None:
    server.reply = lambda body: Stream([ONE])
    with LoadGenerator(Target(server.url, "m", timeout=SECONDS)) as generator:
        assert generator.run(asked(), Load(2, requests=2))[0].failure is None
        server.hang_up()
        samples = generator.run(asked(), Load(2, requests=4))
    assert [sample.failure for sample in samples] == [None] * 4


@pytest.fixture
def certified(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Puts TLS in front of the server, by a certificate for a name that this process trusts; returns its address."""

    def certify(name: str) -> str:
        key = ec.generate_private_key(ec.SECP256R1())
        who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder(
                who, who, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1)
            )
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        plain = serialization.PrivateFormat.PKCS8
        (tmp_path / "key.pem").write_bytes(
            key.private_bytes(serialization.Encoding.PEM, plain, serialization.NoEncryption())
        )
        (tmp_path / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
        server.encrypt(context)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        return f"https://localhost:{server.port}"

    return certify


def test_tls(server: Any, certified: Callable[[str], str]) -> None:
    """Also an answer of several records, and a request that is larger than what a socket takes at once."""
    url = certified("localhost")
    server.reply = lambda body: Stream([{"response": "x" * 40_000}, {"response": "b"}, {"done": True, "eval_count": 9}])
    long = Workload(1, prompts=("word " * 1_000_000,))
    with LoadGenerator(Target(url, "m", timeout=SECONDS * 4)) as generator:
        samples = generator.run(asked(), Load(3, requests=9))
        [large] = generator.run(long.requests(), Load(1, requests=1))
    assert [(sample.failure, len(sample.arrivals), sample.output_tokens) for sample in samples] == [(None, 2, 9)] * 9
    assert large.failure is None
    assert len(server.bodies[-1]["prompt"]) == 5_000_000


def test_a_certificate_for_another_name(server: Any, certified: Callable[[str], str]) -> None:
    [sample] = send(certified("elsewhere.example.org"))
    assert failure_of(sample)[0] == "unreachable"
    assert "certificate is not accepted (Hostname mismatch" in failure_of(sample)[1]
    assert server.bodies == []


def test_an_answer_without_a_length_ends_with_its_connection(server: Any) -> None:
    body = json.dumps(ONE).encode()
    server.reply = lambda body_: Answer(200, body, {"Connection": "close"})
    assert [sample.failure for sample in send(server.url, requests=3)] == [None] * 3
    assert len(server.connections) == 3


def test_after_the_deadline_nothing_is_sent(server: Any) -> None:
    seen: list[int] = []
    with LoadGenerator(Target(server.url, "m", timeout=SECONDS)) as generator:
        assert generator.run(asked(), Load(2, requests=5), until=load.clock() - 1) == []
        assert generator.truncated
        assert server.bodies == []
        whole = generator.run(asked(), Load(2, requests=5), watch=lambda samples: seen.append(len(samples)))
    assert len(whole) == 5
    assert not generator.truncated
    assert seen[-1] == 5, "the watcher sees the end"


@pytest.mark.parametrize("bound", ["until", "seconds"])
def test_requests_under_way_at_the_deadline_are_waited_for(
    server: Any, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    now = 0.0
    monkeypatch.setattr(load, "clock", lambda: now)

    def slow(body: dict[str, Any]) -> Stream:
        nonlocal now
        now += 10.0
        return Stream([ONE])

    server.reply = slow
    with LoadGenerator(Target(server.url, "m", timeout=60)) as generator:
        if bound == "until":
            samples = generator.run(asked(), Load(1, requests=5), until=15.0)
        else:
            samples = generator.run(asked(), Load(1, requests=5, seconds=15.0))
    assert [sample.latency for sample in samples] == [10.0, 10.0]
    assert all(sample.failure is None for sample in samples)
    assert generator.truncated is (bound == "until"), "the load's own end is not cut short"


def test_a_cancelled_run_gives_up_what_is_under_way(server: Any) -> None:
    over = threading.Event()

    def endless() -> Iterator[dict[str, Any]]:
        yield {"response": "a"}
        over.wait(SECONDS)

    server.queue = [Stream([ONE])]
    server.reply = lambda body: Stream(endless())
    with LoadGenerator(Target(server.url, "m")) as generator:
        samples = generator.run(asked(), Load(2, requests=9), cancelled=lambda: True)
        over.set()
        assert len(samples) == 1
        assert generator.truncated
        server.reply = lambda body: Stream([ONE])
        assert len(generator.run(asked(), Load(2, requests=4))) == 4, "it can be used again"


class TestOpenLoop:
    def test_latency_counts_from_the_scheduled_time(self, server: Any) -> None:
        """Three requests are due at once to a server that takes one connection's answer at a time."""
        turn = threading.Lock()

        def one_by_one(body: dict[str, Any]) -> Stream:
            with turn:
                threading.Event().wait(0.1)
            return Stream([ONE])

        server.reply = one_by_one
        with LoadGenerator(Target(server.url, "m", timeout=SECONDS)) as generator:
            samples = generator.run(asked(), Load(rate=1000.0, requests=3, arrivals="constant"))
        latencies = sorted(sample.latency for sample in samples)
        assert [sample.failure for sample in samples] == [None] * 3
        assert latencies[0] >= 0.09
        assert latencies[2] >= 0.29, "the wait behind the others is counted"

    def test_what_is_due_beyond_the_limit_is_an_error_of_its_own(self, server: Any) -> None:
        over = threading.Event()

        def held(body: dict[str, Any]) -> Stream:
            over.wait(SECONDS)
            return Stream([ONE])

        server.reply = held
        with LoadGenerator(Target(server.url, "m", timeout=SECONDS)) as generator:

            def release(samples: Sequence[Sample]) -> None:
                if len(samples) == 3:
                    over.set()

            samples = generator.run(
                asked(), Load(rate=1000.0, requests=5, arrivals="constant", max_in_flight=2), watch=release
            )
        assert [sample.failure and sample.failure.kind for sample in samples] == ["generator_limit"] * 3 + [None] * 2
        assert failure_of(samples[0])[1] == "2 requests were under way (max_in_flight)"

    def test_no_file_descriptor_left_is_the_generators_own_failure(
        self, server: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def exhausted(address: object) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        with LoadGenerator(Target(server.url, "m")) as generator:
            monkeypatch.setattr(load, "Connection", exhausted)
            [sample] = generator.run(asked(), Load(rate=100.0, requests=1))
        assert failure_of(sample) == ("generator_limit", "Too many open files")

    @given(st.floats(0.01, 10_000), st.integers(1, 300), st.integers())
    def test_schedule_is_repeatable_and_ascends(self, rate: float, count: int, seed: int) -> None:
        for arrivals in load.ARRIVALS:
            level = Load(rate=rate, requests=count, arrivals=arrivals)
            times = level.schedule(seed)
            assert times == level.schedule(seed)
            assert len(times) == count
            assert all(0 <= earlier <= later for earlier, later in zip(times, times[1:], strict=False))

    def test_random_arrivals_have_the_rate_and_no_memory(self) -> None:
        times = Load(rate=5.0, requests=20_000).schedule(3)
        gaps = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
        mean = sum(gaps) / len(gaps)
        deviation = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
        assert mean == pytest.approx(0.2, rel=0.03)
        assert deviation == pytest.approx(mean, rel=0.05), "as of an exponential distribution"

    def test_level_ends_by_its_seconds(self) -> None:
        assert Load(rate=2.0, requests=100, seconds=3.0, arrivals="constant").schedule(1) == [0, 0.5, 1, 1.5, 2, 2.5]

    @pytest.mark.parametrize("pause", [0.0, 0.05])
    def test_sending_does_not_wait_for_the_server(self, server: Any, pause: float) -> None:
        """The same schedule, whether the server answers at once or slowly."""

        def reply(body: dict[str, Any]) -> Stream:
            threading.Event().wait(pause)
            return Stream([ONE])

        server.reply = reply
        level = Load(rate=100.0, requests=20)
        with LoadGenerator(Target(server.url, "m", timeout=SECONDS)) as generator:
            samples = sorted(generator.run(asked(), level, seed=4), key=lambda sample: sample.due)
        start = samples[0].due - level.schedule(4)[0]
        assert [sample.due - start for sample in samples] == pytest.approx(level.schedule(4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either a concurrency or a rate"),
        ({"concurrency": 1, "rate": 1.0}, "either a concurrency or a rate"),
        ({"concurrency": 0}, r"concurrency is 0\. Give 1 to 1,000"),
        ({"concurrency": 1001, "requests": 2000}, "concurrency is 1001"),
        ({"concurrency": 11, "requests": 10}, "concurrency is 11, more than the 10 requests there are"),
        ({"rate": 0.0}, "rate is 0. Give requests per second, above 0"),
        ({"rate": -1.0}, "rate is -1"),
        ({"rate": math.nan}, "rate is nan"),
        ({"rate": 1e9}, r"rate is 1e\+09"),
        ({"rate": 1.0, "requests": 0}, "requests is 0"),
        ({"rate": 1.0, "seconds": 0.0}, "level_seconds is 0"),
        ({"rate": 1.0, "seconds": math.nan}, "level_seconds is nan"),
        ({"rate": 1.0, "arrivals": "bursts"}, "arrivals is 'bursts'. It must be one of poisson, constant"),
        ({"rate": 1.0, "max_in_flight": 0}, "max_in_flight is 0"),
    ],
)
def test_unusable_load(options: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.InvalidInput, match=message):
        Load(**options)
