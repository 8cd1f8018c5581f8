# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is read out of recorded journals."""

from __future__ import annotations

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.doctor import journal
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.finding import EVIDENCE_LENGTH, brief, times
from ansible_collections.llmops.ollama.plugins.module_utils.engine import duration
from doctor_evidence import read


def test_entries() -> None:
    lines = journal.parse_journal(
        "1795634192.411283 ollama1 systemd[1]: ollama.service: Scheduled restart job.\n"
        "1795634192.500000 ollama1 ollama[672]: panic: a\n"
        "                                       goroutine 1: b\n"
        "-- Boot 1234 --\n"
        "1795634193.000000 ollama1 kernel: Out of memory: Killed process 1 (x)\n"
    )
    assert lines == (
        journal.Line(1795634192.411283, "ollama.service: Scheduled restart job."),
        journal.Line(1795634192.5, "panic: a\ngoroutine 1: b"),
        journal.Line(1795634193.0, "Out of memory: Killed process 1 (x)"),
    )
    assert journal.since(lines, 1795634192.5) == lines[1:]


@pytest.mark.parametrize(("version", "name"), [("0.34.0", "gemma3:270m"), ("0.24.0", "Gemma 3 270m")])
def test_loads_of_both_engines(version: str, name: str) -> None:
    """Requests alternated between contexts of 2048 and 1024 tokens, with two slots; then the runner was killed."""
    lines = read(f"{version}-reloads.txt")
    assert journal.version(lines) == version
    loads = journal.loads(lines)
    assert [(load.parallel, load.context, load.threads) for load in loads] == [
        (2, 4096, 2),
        (2, 2048, 2),
        (2, 4096, 2),
        (2, 2048, 2),
        (2, 4096, 2),
        (2, 4096, 2),
    ]
    assert {load.model[:14] for load in loads} == {"sha256-a5fd3b6"}
    assert {load.label for load in loads} == {name}
    assert {load.file_type for load in loads} <= {"Q4_K", "Q4_K_M"}
    assert 0 <= lines[-1].time - journal.last_request(lines) < 1


def test_a_journal_that_says_nothing() -> None:
    assert (journal.loads(()), journal.version(()), journal.last_listening(()), journal.last_request(())) == (
        (),
        "",
        0,
        0.0,
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5m", 300),
        ("24h", 86400),
        ("90", 90),
        ("1h30m", 5400),
        ("-1", float("inf")),
        ("-1m", float("inf")),
        ("0", 0),
        ("x", 300),
    ],
)
def test_keep_alive_times(text: str, seconds: float) -> None:
    assert duration(text) == seconds


def test_words() -> None:
    assert [times(count) for count in (0, 1, 2, 3)] == ["0 times", "once", "twice", "3 times"]
    assert brief("a  b\n\tc") == "a b c"
    assert len(brief("x" * 1000)) == EVIDENCE_LENGTH
