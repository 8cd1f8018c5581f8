# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is decided for a model, from what is installed and what the registry offers."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.errors import NoSpace, NotFound
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from ansible_collections.llmops.ollama.plugins.module_utils.model_plan import (
    Model,
    Server,
    Step,
    bring,
    check_space,
    installed_models,
    keep,
    remove,
)
from ansible_collections.llmops.ollama.plugins.module_utils.registry import Layer, Registry, source_of
from fake_http import Answer, FakeRegistry

GEMMA = ModelName.parse("gemma3:270m")
INSTALLED = Model("0" * 64, 5, "Q8_0", "gemma3", "268.10M")

# An entry of /api/tags as a server of version 0.34.0 gives it.
TAG = {
    "name": "gemma3:270m",
    "model": "gemma3:270m",
    "modified_at": "2026-11-25T14:00:00.000000000Z",
    "size": 253136896,
    "digest": "ea58e06c1b41f6fb4a0ea2a2cc2e6f8a1d2b2e0d2f0c9d7a4a2b8f2d6a0e5c11",
    "details": {
        "parent_model": "",
        "format": "gguf",
        "family": "gemma3",
        "families": ["gemma3"],
        "parameter_size": "268.10M",
        "quantization_level": "Q4_K_M",
    },
}


def has_no_blob(digest: str) -> bool:
    return False


@pytest.fixture
def asker() -> Iterator[Registry]:
    with Registry(timeout=5.0, retries=2, wait=lambda pause: None) as asker:
        yield asker


Bring = Callable[..., Step]


@pytest.fixture
def decide(registry: FakeRegistry, asker: Registry) -> Bring:
    def decide(installed: Model | None, has_blob: Callable[[str], bool] = has_no_blob) -> Step:
        return bring(GEMMA, installed, source_of(GEMMA, registry.url), asker, Server(has_blob))

    return decide


def test_installed_models() -> None:
    models = installed_models([TAG, {"name": "Team/M:T", "digest": "d", "size": 1, "details": None}])
    assert models == {
        "gemma3:270m": Model(str(TAG["digest"]), 253136896, "Q4_K_M", "gemma3", "268.10M"),
        "team/m:t": Model("d", 1, "", "", ""),
    }


def test_a_model_that_is_absent_is_pulled(registry: FakeRegistry, decide: Bring) -> None:
    digest = registry.publish("library/gemma3:270m", size=1000)
    step = decide(None)
    config = step.missing[-1]
    assert (step.action, step.before, step.warning) == ("pulled", None, "")
    assert step.after == Model(digest, 1000 + config.size, "Q4_K_M", "gemma3", "268.10M")
    assert step.bytes_to_pull == 1000 + config.size


def test_what_the_server_has_is_not_counted(registry: FakeRegistry, decide: Bring) -> None:
    registry.publish("library/gemma3:270m", size=1000)
    config = decide(None).missing[-1]
    assert decide(None, lambda digest: digest == config.digest).bytes_to_pull == 1000


def test_a_blob_that_a_manifest_names_twice_is_counted_once(registry: FakeRegistry, decide: Bring) -> None:
    registry.publish("library/gemma3:270m", size=1000)
    layer = decide(None).missing[0]
    registry.manifests["library/gemma3:270m"] = registry.manifests["library/gemma3:270m"].replace(
        b'"layers": [', f'"layers": [{{"digest": "{layer.digest}", "size": {layer.size}}}, '.encode()
    )
    assert [blob.size for blob in decide(None).missing].count(1000) == 1


def test_a_model_that_is_current_costs_one_question(registry: FakeRegistry, decide: Bring) -> None:
    current = replace(INSTALLED, digest=registry.publish("library/gemma3:270m"))
    step = decide(current, lambda digest: pytest.fail("asked for blobs"))
    assert step == Step(GEMMA, "none", current, current)
    assert len(registry.log) == 1


def test_a_model_that_differs_is_updated(registry: FakeRegistry, decide: Bring) -> None:
    registry.publish("library/gemma3:270m")
    step = decide(INSTALLED)
    assert (step.action, step.before) == ("updated", INSTALLED)
    assert step.after is not None
    assert step.after.quantization == "Q4_K_M"


@pytest.mark.parametrize("answer", [Answer(404), Answer(429), Answer(500), Answer(401), Answer(200, b"<html>")])
def test_an_installed_model_is_kept_whatever_the_registry_says(
    registry: FakeRegistry, decide: Bring, answer: Answer
) -> None:
    registry.queue.append(answer)
    step = decide(INSTALLED)
    assert (step.action, step.after, step.changed) == ("none", INSTALLED, False)
    assert step.warning.startswith("gemma3:270m is installed and stays as it is; it could not be compared. ")
    assert registry.url in step.warning
    assert len(registry.log) == 1


def test_a_missing_model_needs_the_registry(registry: FakeRegistry, decide: Bring) -> None:
    with pytest.raises(NotFound):
        decide(None)
    digest = registry.publish("library/gemma3:270m")
    registry.queue += [Answer(500), Answer(429)]
    after = decide(None).after
    assert after is not None
    assert after.digest == digest


def test_remove() -> None:
    assert remove(GEMMA, INSTALLED) == Step(GEMMA, "removed", INSTALLED, None)
    assert remove(GEMMA, None) == Step(GEMMA, "none", None, None)
    assert not keep(GEMMA, None).changed


# Room on the disk

Usage = namedtuple("Usage", "total used free")
BIG, SMALL = Layer("sha256:" + "b" * 64, 1_000_000), Layer("sha256:" + "5" * 64, 500)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A file system with 1 000 000 bytes free; the list tells which directories were measured."""
    measured: list[Path] = []

    def usage(path: Path) -> Usage:
        measured.append(path)
        return Usage(5_000_000, 4_000_000, 1_000_000)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    return measured


def pulling(*missing: Layer) -> Step:
    return Step(GEMMA, "pulled", None, INSTALLED, None, missing)


def test_enough_space(disk: list[Path], tmp_path: Path) -> None:
    check_space(str(tmp_path), [pulling(BIG)])
    check_space(str(tmp_path), [pulling(BIG), pulling(BIG)])  # the same blob once
    check_space(str(tmp_path), [keep(GEMMA, INSTALLED)])
    assert disk == [tmp_path] * 3


def test_too_little_space(disk: list[Path], tmp_path: Path) -> None:
    with pytest.raises(NoSpace, match=r"The models need 1\.0 MB more in .*, but only 1\.0 MB are free") as caught:
        check_space(str(tmp_path), [pulling(BIG), pulling(SMALL)])
    assert caught.value.details == {"needed": 1_000_500, "free": 1_000_000, "models_path": str(tmp_path)}


def test_what_an_interrupted_pull_left_is_not_needed_again(disk: list[Path], tmp_path: Path) -> None:
    partial = tmp_path / "blobs" / ("sha256-" + "b" * 64 + "-partial")
    partial.parent.mkdir()
    with partial.open("wb") as stream:
        stream.truncate(BIG.size)
    with pytest.raises(NoSpace):  # only holes
        check_space(str(tmp_path), [pulling(BIG, SMALL)])
    with partial.open("r+b") as stream:
        stream.write(b"x" * 100_000)
        os.fsync(stream.fileno())
    check_space(str(tmp_path), [pulling(BIG, SMALL)])


def test_a_store_that_does_not_exist_yet(disk: list[Path], tmp_path: Path) -> None:
    check_space(str(tmp_path / "not" / "yet"), [pulling(SMALL)])
    assert disk == [tmp_path]
