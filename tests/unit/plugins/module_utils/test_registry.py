# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a registry says about a model, and what it may say instead."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.errors import (
    InvalidInput,
    NotFound,
    OllamaError,
    UnexpectedAnswer,
    Unreachable,
)
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from ansible_collections.llmops.ollama.plugins.module_utils.registry import (
    DEFAULT_URL,
    Layer,
    Manifest,
    Registry,
    Source,
    source_of,
)
from fake_http import Answer, FakeRegistry
from hypothesis import given
from hypothesis import strategies as st

GEMMA = ModelName.parse("gemma3:270m")

# A manifest as a registry serves it: no space, no newline at the end. Its digest was taken with sha256sum.
SERVED = (
    b'{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",'
    b'"config":{"mediaType":"application/vnd.docker.container.image.v1+json",'
    b'"digest":"sha256:1111111111111111111111111111111111111111111111111111111111111111","size":417},'
    b'"layers":[{"mediaType":"application/vnd.ollama.image.model",'
    b'"digest":"sha256:2222222222222222222222222222222222222222222222222222222222222222","size":253115552},'
    b'{"mediaType":"application/vnd.ollama.image.template",'
    b'"digest":"sha256:3333333333333333333333333333333333333333333333333333333333333333","size":358}]}'
)


@pytest.fixture
def asker() -> Iterator[Registry]:
    with Registry(timeout=5.0) as asker:
        yield asker


@pytest.fixture
def source(registry: FakeRegistry) -> Source:
    return source_of(GEMMA, registry.url)


# Where a model comes from


@pytest.mark.parametrize(
    ("name", "registry", "address", "pulled_as", "insecure"),
    [
        ("gemma3:270m", DEFAULT_URL, DEFAULT_URL, "gemma3:270m", False),
        ("gemma3:270m", "http://edge:5001", "http://edge:5001", "edge:5001/library/gemma3:270m", True),
        ("team/m:t", "http://edge:5001/", "http://edge:5001", "edge:5001/team/m:t", True),
        ("gemma3:270m", "https://Mirror.example.com", "https://Mirror.example.com", "mirror.example.com/library/gemma3:270m", False),  # noqa: E501
        ("hf.co/u/m:t", "http://edge:5001", "https://hf.co", "hf.co/u/m:t", False),
        ("edge:5001/u/m:t", "http://edge:5001", "http://edge:5001", "edge:5001/u/m:t", True),
        ("edge:5001/u/m:t", DEFAULT_URL, "https://edge:5001", "edge:5001/u/m:t", False),
    ],
)  # fmt: skip
def test_source(name: str, registry: str, address: str, pulled_as: str, insecure: bool) -> None:
    source = source_of(ModelName.parse(name), registry)
    assert (source.registry, str(source.name), source.insecure) == (address, pulled_as, insecure)


@pytest.mark.parametrize(
    ("registry", "message"),
    [
        ("edge:5001", "Write it as http://HOST:PORT"),
        ("http://edge:5001/models", "can carry only a host and a port"),
        ("http://user:secret@edge:5001", "can carry only a host and a port"),
        ("http://[::1]:5001", "Ollama takes no such host"),
    ],
)
def test_registries_that_no_name_can_carry(registry: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        source_of(GEMMA, registry)


# Manifests


def test_manifest_of_a_real_form() -> None:
    manifest = Manifest.parse(SERVED)
    assert manifest.digest == "012053350515893ee222926dd3f502bf160269a2e29e67f4b6bb32f684b42c46"
    assert manifest.config == Layer("sha256:" + "1" * 64, 417)
    assert [layer.size for layer in manifest.layers] == [253115552, 358]
    assert manifest.size == 253116327


@pytest.mark.parametrize(
    "body",
    [
        *[b"", b"<html>", b"1", b"[]", b"{}", b'{"config": 1, "layers": []}', b'{"config": {}, "layers": []}', b"\xff"],
        b"[" * 100_000,
        *[SERVED.replace(b"sha256:1", b"sha256:/"), SERVED.replace(b"417", b'"417"'), SERVED.replace(b"417", b"-1")],
        SERVED.replace(b"417", b"1" * 400),
    ],
)
def test_what_is_no_manifest(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Manifest.parse(body)


keys = st.sampled_from(["config", "layers", "digest", "size"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner),
)


@given(json_values)
def test_any_json_is_a_manifest_or_a_value_error(value: object) -> None:
    with contextlib.suppress(ValueError):
        Manifest.parse(json.dumps(value).encode())


def test_questions_and_answers(registry: FakeRegistry, asker: Registry, source: Source) -> None:
    digest = registry.publish("library/gemma3:270m", size=253_000_000)
    manifest = asker.manifest(source)
    offer = asker.offer(source, manifest)
    assert manifest.digest == digest
    assert (offer.quantization, offer.family, offer.parameter_size) == ("Q4_K_M", "gemma3", "268.10M")
    assert registry.log == [
        "GET /v2/library/gemma3/manifests/270m",
        f"GET /v2/library/gemma3/blobs/{manifest.config.digest}",
    ]


# Everything else that a registry may answer


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (Answer(404), NotFound, "has no model {name}. Check the spelling of the model and of its tag"),
        (Answer(401, {"errors": []}), UnexpectedAnswer, "answered 401 when asked for {name}: {{\"errors\": []}}. It wants a username and a password"),  # noqa: E501
        (Answer(403), UnexpectedAnswer, "answered 403 when asked for {name}: Forbidden. The model is private"),
        (Answer(429), UnexpectedAnswer, "answered 429 when asked for {name}: Too Many Requests. The registry limits"),
        (Answer(500, {"error": "oops"}), UnexpectedAnswer, "answered 500 when asked for {name}: oops. Look at"),
        (Answer(200, b"<html>Log in"), UnexpectedAnswer, "for {name}, but not as a registry does: b'<html>Log in'."),
        (Answer(200, b""), UnexpectedAnswer, "answered for {name}, but not as a registry does: b''."),
    ],
)  # fmt: skip
def test_refusals(
    registry: FakeRegistry, asker: Registry, source: Source, answer: Answer, kind: type[OllamaError], message: str
) -> None:
    registry.queue.append(answer)
    with pytest.raises(kind) as caught:
        asker.manifest(source)
    assert message.format(name="gemma3:270m") in str(caught.value)
    assert registry.url in str(caught.value)
    assert caught.value.details["status"] == answer.status


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"[" * 100_000])
def test_a_configuration_that_is_none(registry: FakeRegistry, asker: Registry, source: Source, body: bytes) -> None:
    registry.publish("library/gemma3:270m")
    manifest = asker.manifest(source)
    registry.queue.append(Answer(200, body))
    with pytest.raises(UnexpectedAnswer, match="not as a registry does"):
        asker.offer(source, manifest)


def test_a_model_of_which_a_file_is_missing(asker: Registry, registry: FakeRegistry, source: Source) -> None:
    registry.publish("library/gemma3:270m")
    manifest = asker.manifest(source)
    registry.queue.append(Answer(404))
    with pytest.raises(
        NotFound, match=f"has the model gemma3:270m, but not its file {manifest.config.digest}. Its copy"
    ):
        asker.offer(source, manifest)


# Patience


def test_a_busy_registry_is_asked_again(registry: FakeRegistry, source: Source) -> None:
    digest = registry.publish("library/gemma3:270m")
    registry.queue += [Answer(429), Answer(503)]
    pauses: list[float] = []
    said: list[str] = []
    with Registry(5.0, retries=2, announce=said.append, wait=pauses.append) as asker:
        assert asker.manifest(source, patient=True).digest == digest
    assert pauses == [1.0, 4.0]
    assert [line.rpartition(". ")[2] for line in said] == ["Retry 1 of 2 in 1 s.", "Retry 2 of 2 in 4 s."]


def test_a_missing_model_is_asked_for_once(registry: FakeRegistry, source: Source) -> None:
    with Registry(5.0, retries=3, wait=lambda pause: pytest.fail("waited")) as asker, pytest.raises(NotFound):
        asker.manifest(source, patient=True)
    assert len(registry.log) == 1


def test_a_registry_out_of_reach_is_not_tried_again_without_patience(
    asker: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookups: list[object] = []

    def fail(*args: object, **options: object) -> None:
        lookups.append(args[0])
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    for name in ("a", "b"):
        with pytest.raises(
            Unreachable, match=r"No answer from the registry http://mirror: Name or service not known\."
        ):
            asker.manifest(source_of(ModelName.parse(name), "http://mirror"))
    assert lookups == ["mirror"]
    with pytest.raises(Unreachable):
        asker.manifest(source_of(GEMMA, "http://other"))
    assert lookups == ["mirror", "other"]
