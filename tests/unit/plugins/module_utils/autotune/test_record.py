# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.record import (
    PATH,
    Fingerprint,
    Measured,
    Record,
    kept,
    of_hardware,
    valid,
)
from ansible_collections.llmops.ollama.plugins.module_utils.autotune.run import keep
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput, OllamaError
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import Gpu, Hardware
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.files import Files

HOST = Hardware.describe({"cpu_cores": 8, "memory_mb": 32000, "cpu_quota": 1.5})
MODEL, WEIGHTS = "gemma3:270m", f"sha256-{'a' * 64}"
MEASURED = Measured(8, 2, None, None, "Measured on 2026-11-27: 3.20 requests/s.", "2026-11-27T01:02:03Z")
RECORD = Record(
    Fingerprint(of_hardware(HOST), "0.34.0", MODEL, WEIGHTS, "b" * 64, {"concurrency": 10}), MEASURED, {"trials": []}
)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    found = Files(str(tmp_path))
    place = found.path(PATH)
    place.parent.mkdir(parents=True)
    place.write_text(RECORD.to_text())
    return found


def test_the_fact_is_json_that_ansible_reads(files: Files) -> None:
    assert json.loads(files.read(PATH))["measured"]["parallel"] == 8
    assert Record.parse(files.read(PATH)) == RECORD == kept(files)


def test_a_result_holds_on_the_same_host(files: Files) -> None:
    assert valid(files, HOST, "0.34.0", {MODEL: WEIGHTS}) == (MEASURED, [])
    # What is not known of the model or the version, and what changes by itself, does not matter.
    assert valid(files, HOST, None, {MODEL: "", "other:1b": "x"}) == (MEASURED, [])
    assert (
        valid(files, HOST._replace(memory_mb=32100, memory_available_mb=5), "0.34.0", {MODEL: WEIGHTS})[0] == MEASURED
    )


@pytest.mark.parametrize(
    ("host", "engine", "weights", "words"),
    [
        (HOST._replace(cpu_quota=2.0), "0.34.0", {MODEL: WEIGHTS}, "cpu_quota was 1.5 and is 2.0"),
        (HOST._replace(memory_mb=64000), "0.34.0", {MODEL: WEIGHTS}, "memory_mb was 32000 and is 64000"),
        (
            HOST._replace(gpus=(Gpu("nvidia", "L4", 24000),)),
            "0.34.0",
            {MODEL: WEIGHTS},
            "gpus was [] and is ['nvidia L4",
        ),
        (HOST, "0.35.0", {MODEL: WEIGHTS}, "the engine was 0.34.0 and is 0.35.0"),
        (HOST, "0.34.0", {MODEL: "sha256-c"}, f"the weights of {MODEL} are others"),
        (HOST, "0.34.0", {"other:1b": WEIGHTS}, f"{MODEL} is not among the models"),
    ],
)
def test_a_stale_result_says_what_changed(
    files: Files, host: Hardware, engine: str, weights: dict[str, str], words: str
) -> None:
    measured, [warning] = valid(files, host, engine, weights)
    assert measured is None
    assert warning.startswith("The settings measured on 2026-11-27 are stale, re-tune: ")
    assert words in warning
    assert warning.endswith("Run llmops.ollama.autotune again.")


def test_another_workload_matters_to_whom_asks_for_one() -> None:
    assert RECORD.stale(RECORD.fingerprint) == []
    assert RECORD.stale(replace(RECORD.fingerprint, workload={})) == []
    assert RECORD.stale(replace(RECORD.fingerprint, workload={"concurrency": 2})) == ["another workload is asked for"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not what llmops.ollama.autotune writes"),
        ("[]", "is not what llmops.ollama.autotune writes"),
        ('{"schema": 1}', "is not what llmops.ollama.autotune writes ('fingerprint')"),
        ('{"schema": 2}', "has schema 2, and 1 is known"),
    ],
)
def test_a_fact_that_is_none(files: Files, text: str, words: str) -> None:
    files.path(PATH).write_text(text)
    with pytest.raises(InvalidInput):
        Record.parse(text)
    assert kept(files) is None
    measured, [warning] = valid(files, HOST, "0.34.0", {})
    assert measured is None
    assert words in warning
    assert "Run llmops.ollama.autotune again." in warning


def test_without_a_fact_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert valid(Files(str(tmp_path)), HOST, None, {}) == (None, [])
    assert kept(Files(str(tmp_path))) is None


def test_it_is_written_whole_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fchown", lambda *arguments: None)  # tests need not be root
    place = tmp_path / "etc" / "facts.d" / "ollama_tuning.fact"
    assert keep(RECORD, str(place))
    assert Record.parse(place.read_text()) == RECORD
    assert place.stat().st_mode & 0o7777 == 0o644
    assert place.parent.stat().st_mode & 0o7777 == 0o755
    assert [each.name for each in place.parent.iterdir()] == [place.name]
    before = place.stat().st_mtime_ns
    if place.stat().st_uid == 0:
        assert not keep(RECORD, str(place))
        assert place.stat().st_mtime_ns == before
    assert keep(replace(RECORD, evidence={"trials": [1]}), str(place))


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OllamaError, match="file"):
        keep(RECORD, str(tmp_path / "file" / "fact"))
