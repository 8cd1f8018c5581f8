# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module's options and result; what it does is tested with its core."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_http import sha256
from fake_mirror import FakeMirror, authority

RunModule = Callable[..., dict[str, Any]]
WEIGHTS = b"weights" * 1000


@pytest.fixture
def options(fake_mirror: FakeMirror, tmp_path: Path) -> dict[str, Any]:
    fake_mirror.publish_release("0.34.0", amd64=b"archive")
    for tag in ("q8", "q4"):
        fake_mirror.publish_model(f"library/m:{tag}", WEIGHTS + tag.encode())
    return {
        "path": str(tmp_path / "mirror"),
        "releases": ["v0.34.0"],
        "architectures": ["amd64"],
        "models": ["m:q8"],
        "release_url": fake_mirror.releases,
        "registry": fake_mirror.url,
        "retries": 0,
    }


def test_result_and_diff(run_module: RunModule, options: dict[str, Any], tmp_path: Path) -> None:
    predicted = run_module("mirror_content", **options, check=True, diff=True)
    assert not (tmp_path / "mirror").exists()
    result = run_module("mirror_content", **options, diff=True)
    assert result["changed"] and result["files"] == predicted["files"] and result["diff"] == predicted["diff"]
    assert (result["diff"]["before"], result["diff"]["after"].splitlines()) == ("", sorted(result["files"]))
    pins = result["lock"]["models"]
    assert (result["lock"]["format"], list(pins), pins["m:q8"]["weights"]) == (1, ["m:q8"], sha256(WEIGHTS + b"q8"))
    assert not run_module("mirror_content", **options)["changed"]


def test_all_that_a_definition_may_take_is_mirrored(run_module: RunModule, options: dict[str, Any]) -> None:
    options["models"] = [
        {"name": "assistant", "candidates": ["m:q8", "m:q4"], "parameters": {"num_ctx": 8192}},
        {"name": "twice", "from": "m:q4"},
        {"name": "local", "gguf": "/srv/weights.gguf"},
    ]
    assert list(run_module("mirror_content", **options)["lock"]["models"]) == ["m:q4", "m:q8"]


def test_a_lock_pins(run_module: RunModule, options: dict[str, Any], fake_mirror: FakeMirror) -> None:
    lock = run_module("mirror_content", **options)["lock"]
    fake_mirror.publish_model("library/m:q8", WEIGHTS)
    result = run_module("mirror_content", **options, lock=lock, state="latest")
    assert result["failed"] and lock["models"]["m:q8"]["digest"] in result["msg"]
    assert run_module("mirror_content", **options, state="latest")["lock"] != lock


def test_damage_is_a_warning(run_module: RunModule, options: dict[str, Any], tmp_path: Path) -> None:
    run_module("mirror_content", **options)
    name = f"models/blobs/sha256-{sha256(WEIGHTS + b'q8')}"
    (tmp_path / "mirror" / name).write_bytes(bytes(len(WEIGHTS) + 2))
    result = run_module("mirror_content", **options, verify=True)
    assert (result["damaged"], result["files"]) == ([name], [name])
    assert [warning for warning in result["warnings"] if name in str(warning)]


def test_a_failure_tells_what_came_before(
    run_module: RunModule, options: dict[str, Any], fake_mirror: FakeMirror
) -> None:
    del fake_mirror.files[f"/v2/library/m/blobs/sha256:{sha256(WEIGHTS + b'q8')}"]
    result = run_module("mirror_content", **options)
    assert result["failed"] and result["changed"]
    assert result["files"] == ["releases/v0.34.0/ollama-linux-amd64.tgz", "releases/v0.34.0/sha256sum.txt"]
    assert "exception" not in result


def test_a_guarded_upstream(run_module: RunModule, options: dict[str, Any], tmp_path: Path) -> None:
    with FakeMirror(authority(tmp_path)) as guarded:
        guarded.publish_release("0.34.0", amd64=b"archive")
        guarded.publish_model("library/m:q8", WEIGHTS)
        guarded.wants = "fleet:secret"
        options.update(release_url=guarded.releases, registry=guarded.url, ca_path=str(tmp_path / "ca.pem"))
        for wrong in ({}, {"username": "fleet", "password": "wrong"}):
            result = run_module("mirror_content", **options, **wrong)
            assert result["failed"] and "401" in result["msg"]
        result = run_module("mirror_content", **options, username="fleet", password="secret")  # noqa: S106
        assert result["changed"]
        assert "secret" not in str(result)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"releases": ["latest"]}, "'latest' is not a version of Ollama"),
        ({"models": ["a b"]}, "'a b' is not a model name"),
        ({"models": [{"nmae": "m"}]}, "models[0] has the unknown key 'nmae'"),
        ({"models": ["m:q8", 7]}, "models[1] is 7"),
        ({"variants": ["../x"]}, "'../x' is not a variant"),
        ({"registry": "mirror:5001"}, "registry is 'mirror:5001', which is not an address"),
        ({"lock": {"models": {}}}, "The lock is not one of this collection's"),
        ({"source": "/nonexistent/bundle"}, "source is /nonexistent/bundle, which does not exist on this host"),
        ({"source": "{path}"}, "which is the directory that is to be filled"),
        ({"archive": "{path}/bundle.tar"}, "it must be outside"),
        ({"archive": "/tmp/x.tar", "models_path": "/tmp/m"}, "Leave out releases_path and models_path"),  # noqa: S108
        ({"password": "x"}, "There is a password, but no username"),
        ({"timeout": 0}, "timeout is 0 seconds"),
    ],
)
def test_unusable_input_is_named(
    run_module: RunModule, options: dict[str, Any], change: dict[str, Any], words: str
) -> None:
    filled = {key: value.format(**options) if isinstance(value, str) else value for key, value in change.items()}
    result = run_module("mirror_content", **{**options, **filled})
    assert result["failed"]
    assert words in result["msg"]
    assert "exception" not in result
