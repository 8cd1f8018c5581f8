# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.gateway_servers import (
    HEADER,
    Server,
    declare,
    drain,
    parse,
    render,
    restore,
    weights,
)
from hypothesis import given
from hypothesis import strategies as st

LLM1 = Server("llm1", "10.0.0.1:11434", 4)
LLM2 = Server("llm2", "llm2.example.org:11434", 2, 1.75)

SERVERS = st.lists(
    st.builds(
        Server,
        name=st.from_regex(r"[a-z][a-z0-9.-]{0,8}", fullmatch=True),
        address=st.sampled_from(["10.0.0.1:11434", "llm.example.org:8080", "[fd00::1]:11434"]),
        slots=st.none() | st.integers(1, 64),
        requests_per_second=st.none() | st.integers(1, 5000).map(lambda value: value / 100),
        drained=st.booleans(),
    ),
    max_size=6,
)


def test_the_file_is_what_nginx_reads_and_what_a_person_understands() -> None:
    assert render([LLM1, drain([LLM1, LLM2], "llm2")[1]]) == (
        f"{HEADER}server 10.0.0.1:11434 weight=4;  # llm1 slots=4\n"
        "server llm2.example.org:11434 weight=2 down;  # llm2 slots=2 requests_per_second=1.75\n"
    )


@given(SERVERS)
def test_what_is_written_is_read_back(servers: list[Server]) -> None:
    assert parse(render(servers)) == servers


@given(SERVERS)
def test_every_server_has_a_share(servers: list[Server]) -> None:
    assert all(weight >= 1 for weight in weights(servers))
    assert len(weights(servers)) == len(servers)


def test_shares_follow_from_measurements_only_where_all_were_measured() -> None:
    fast, slow = Server("fast", "a:1", 4, 3.2), Server("slow", "b:1", 8, 0.8)
    assert weights([fast, slow]) == [20, 5]
    assert weights([fast, Server("new", "c:1", 2)]) == [4, 2]
    assert weights([Server("a", "a:1"), Server("b", "b:1")]) == [1, 1]


def test_what_is_not_known_now_stays_as_it_was() -> None:
    moved = Server("llm2", "10.0.0.9:11434")
    declared = [Server("llm1", LLM1.address, 6), moved]
    after = [replace(declared[0], drained=True), Server("llm2", "10.0.0.9:11434", 2, 1.75)]
    assert declare(declared, drain([LLM1, LLM2], "llm1")) == after


def test_a_drained_server_comes_back_once_it_is_proved_to_work() -> None:
    drained = drain([LLM1, LLM2], "llm1")
    assert [server.drained for server in declare([LLM1, LLM2], drained)] == [True, False]
    assert [server.drained for server in declare([LLM1, LLM2], drained, ["llm1"])] == [False, False]
    assert [server.drained for server in declare([LLM1], drained)] == [False], "it is all that is left"


def test_a_server_comes_back_with_what_was_measured() -> None:
    drained = drain([LLM1, LLM2], "llm1")
    assert [server.drained for server in drained] == [True, False]
    assert restore(drained, "llm1") == [LLM1, LLM2]
    assert restore(drained, "llm1", Server("", "", 8, 2.5)) == [Server("llm1", LLM1.address, 8, 2.5), LLM2]


def test_the_last_server_stays_in_service() -> None:
    with pytest.raises(InvalidInput, match="llm2 cannot be drained: no other server"):
        drain(drain([LLM1, LLM2], "llm1"), "llm2")
    with pytest.raises(InvalidInput, match="no other"):
        drain([LLM1], "llm1")


@pytest.mark.parametrize("change", [drain, restore])
def test_a_name_that_is_none(change: object) -> None:
    with pytest.raises(InvalidInput, match="no server 'llm3'; it has llm1, llm2"):
        change([LLM1, LLM2], "llm3")  # type: ignore[operator]  # both take the same


@pytest.mark.parametrize(
    ("name", "address", "slots", "rate", "word"),
    [
        ("a;b", "10.0.0.1:1", None, None, "a;b"),
        ("a", "10.0.0.1", None, None, "HOST:PORT"),
        ("a", "x y:1", None, None, "x y:1"),
        ("a", "10.0.0.1:1; evil", None, None, "evil"),
        ("a", "10.0.0.1:1", 0, None, "slots"),
        ("a", "10.0.0.1:1", None, -1.0, "requests_per_second"),
    ],
)
def test_bad_input_is_named(name: str, address: str, slots: int | None, rate: float | None, word: str) -> None:
    with pytest.raises(InvalidInput, match=word):
        Server.make(name, address, slots, rate)


def test_lines_of_others_are_left_out() -> None:
    assert parse("server 10.0.0.1:80;\n# a comment\n" + render([LLM1])) == [LLM1]
