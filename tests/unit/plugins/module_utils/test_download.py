# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Downloads that break, resume, lie about their size, or are not what was promised."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.access import Access
from ansible_collections.llmops.ollama.plugins.module_utils.download import Downloader, Incoming, Rest
from ansible_collections.llmops.ollama.plugins.module_utils.errors import (
    ChecksumMismatch,
    OllamaError,
    UnexpectedAnswer,
    Unreachable,
    Untrusted,
)
from fake_http import sha256
from fake_mirror import FakeMirror, Fault, authority
from hypothesis import given
from hypothesis import strategies as st

BODY = random.Random(5).randbytes(300_000)  # noqa: S311  # not a secret
OTHER = bytes(len(BODY))
PATH = "/file"


@pytest.fixture
def served(fake_mirror: FakeMirror) -> FakeMirror:
    fake_mirror.files[PATH] = BODY
    return fake_mirror


def save(mirror: FakeMirror, path: Path, size: int = 0, retries: int = 2, access: Access | None = None) -> int:
    downloader = Downloader(5, retries, wait=lambda pause: None, access=access or Access())
    return downloader.save(mirror.url + PATH, path, sha256(BODY), size)


# --- what an earlier run left --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "size", "ranges", "received"),
    [
        pytest.param(b"", 0, [""], len(BODY), id="nothing"),
        pytest.param(BODY[:1000], 0, ["bytes=1000-"], len(BODY) - 1000, id="the beginning"),
        pytest.param(BODY[:1000], len(BODY), ["bytes=1000-"], len(BODY) - 1000, id="the beginning of a known size"),
        pytest.param(BODY, len(BODY), [], 0, id="all of it"),
        pytest.param(BODY, 0, ["bytes=300000-", ""], len(BODY), id="all of it, which nobody knows"),
        pytest.param(OTHER[:1000], 0, ["bytes=1000-", ""], 2 * len(BODY) - 1000, id="something else"),
        pytest.param(OTHER, len(BODY), [""], len(BODY), id="something else of the same size"),
        pytest.param(BODY + b"x", len(BODY), [""], len(BODY), id="too much"),
    ],
)
def test_what_is_left_of_an_earlier_run_counts_once(
    served: FakeMirror, tmp_path: Path, left: bytes, size: int, ranges: list[str], received: int
) -> None:
    path = tmp_path / "partial"
    path.write_bytes(left)
    assert save(served, path, size) == received
    assert path.read_bytes() == BODY
    assert served.asked() == ranges


def test_a_broken_transfer_leaves_what_arrived(served: FakeMirror, tmp_path: Path) -> None:
    path = tmp_path / "partial"
    served.faults[PATH] = [Fault(cut=100_000)]
    with pytest.raises(Unreachable, match=f"{served.url}{PATH}"):
        save(served, path, retries=0)
    kept = path.read_bytes()
    assert 0 < len(kept) <= 100_000
    assert BODY.startswith(kept)
    assert save(served, path, retries=0) == len(BODY) - len(kept)


def test_a_file_that_was_published_anew_in_between_is_loaded_as_a_whole(served: FakeMirror, tmp_path: Path) -> None:
    served.faults[PATH] = [Fault(body=OTHER, cut=70_000)]
    save(served, tmp_path / "partial")
    assert (tmp_path / "partial").read_bytes() == BODY
    assert served.asked()[-1] == ""


def test_wrong_bytes_are_refused_and_not_asked_for_twice(served: FakeMirror, tmp_path: Path) -> None:
    served.files[PATH] = BODY[:-1] + b"\0"
    with pytest.raises(ChecksumMismatch) as caught:
        save(served, tmp_path / "partial")
    assert sha256(BODY) in str(caught.value) and sha256(served.files[PATH]) in str(caught.value)
    assert served.asked() == [""]
    assert not (tmp_path / "partial").exists()


@pytest.mark.parametrize(("size", "words"), [(len(BODY) + 1, "offers 300000 bytes"), (10, "offers 300000 bytes")])
def test_another_size_is_refused_before_a_byte_is_loaded(
    served: FakeMirror, tmp_path: Path, size: int, words: str
) -> None:
    with pytest.raises(UnexpectedAnswer, match=f"{words}, but {size} were announced"):
        save(served, tmp_path / "partial", size)
    assert (tmp_path / "partial").stat().st_size == 0
    assert len(served.log) == 1


def test_no_more_is_written_than_was_announced(tmp_path: Path) -> None:
    endless = Rest(0, 0, iter(lambda: b"x" * 1000, b""))
    with pytest.raises(UnexpectedAnswer, match="offers more bytes, but 5500 were announced"):
        Incoming("it", tmp_path / "partial", 5500).complete(
            "0" * 64, lambda start: nullcontext(endless), lambda go: go()
        )
    assert (tmp_path / "partial").stat().st_size <= 5500


@given(data=st.data())
def test_any_sequence_of_breaks_ends_with_the_file(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Each attempt may begin anew or go on, and break anywhere; what is believed in the end is always the file."""
    body = data.draw(st.binary(min_size=1, max_size=60))
    path = tmp_path_factory.mktemp("any") / "partial"
    path.write_bytes(data.draw(st.binary(max_size=10)))
    size = data.draw(st.sampled_from([0, len(body)]))

    def open_at(start: int) -> AbstractContextManager[Rest]:
        begin = start if data.draw(st.booleans()) and start <= len(body) else 0
        stop = data.draw(st.integers(begin, len(body)))
        return nullcontext(Rest(begin, len(body), chunks(body[begin:stop], data.draw(st.integers(1, 9)))))

    def persistently(attempt: object) -> None:
        for _ in range(20):
            try:
                attempt()  # type: ignore[operator]
                return
            except Unreachable:
                continue
        raise Unreachable("gave up")

    incoming = Incoming("it", path, size)
    try:
        incoming.complete(sha256(body), open_at, persistently)
    except Unreachable:
        return
    assert path.read_bytes() == body


def chunks(body: bytes, length: int) -> Iterator[bytes]:
    return (body[start : start + length] for start in range(0, len(body), length))


# --- being let in --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        ("", "It wants a username and a password"),
        ("fleet:wrong", "It does not accept the password of 'fleet'"),
    ],
)
def test_refused_access(served: FakeMirror, tmp_path: Path, shown: str, words: str) -> None:
    served.wants = "fleet:secret"
    name, _, password = shown.partition(":")
    with pytest.raises(OllamaError) as caught:
        save(served, tmp_path / "partial", access=Access(served.url, name, password))
    assert words in str(caught.value)
    assert "wrong" not in str(caught.value)
    assert len(served.log) == 1


def test_a_password_in_any_script(served: FakeMirror, tmp_path: Path) -> None:
    served.wants = "fleet:пароль:ß"
    save(served, tmp_path / "partial", access=Access(served.url, "fleet", "пароль:ß"))


def test_a_password_goes_to_its_own_server_only(served: FakeMirror, tmp_path: Path) -> None:
    with FakeMirror() as other:
        other.files[PATH] = BODY
        served.faults[PATH] = [Fault(302, b"", headers={"Location": other.url + PATH})]
        save(served, tmp_path / "redirected", access=Access(served.url, "fleet", "secret"))
        save(other, tmp_path / "unrelated", access=Access(served.url, "fleet", "secret"))
        assert [request.user for request in other.log] == ["", ""]
    assert [request.user for request in served.log] == ["fleet"]


def test_a_private_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificates = authority(tmp_path)
    # What the environment names for everything else must not stand in for what was given for this mirror.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "nothing.pem"))
    with FakeMirror(certificates) as mirror:
        mirror.files[PATH] = BODY
        save(mirror, tmp_path / "partial", access=Access(mirror.url, ca_path=str(certificates / "ca.pem")))
        monkeypatch.delenv("REQUESTS_CA_BUNDLE")
        (tmp_path / "partial").unlink()
        with pytest.raises(Untrusted, match=r"its certificate is not accepted \(.*with ca_path") as caught:
            save(mirror, tmp_path / "partial", access=Access(mirror.url))
    assert "Retry" not in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(404), "does not exist"),
        (Fault(500, b"<html>oops"), "answered 500: oops. Check base_url"),
        (
            Fault(400, b"<html><title>x</title>plain HTTP to an HTTPS port"),
            "answered 400: x plain HTTP to an HTTPS port.",
        ),
        (Fault(200, b"<html>login", headers={"Content-Type": "text/html"}), "web page instead of the file"),
        (Fault(403, b""), "answered 403: Forbidden. Check base_url and the access to it."),
    ],
)
def test_other_answers(served: FakeMirror, tmp_path: Path, fault: Fault, words: str) -> None:
    if fault.status == 404:
        del served.files[PATH]
    served.faults[PATH] = [fault] * 3
    with pytest.raises(OllamaError) as caught:
        save(served, tmp_path / "partial")
    assert words in str(caught.value)
