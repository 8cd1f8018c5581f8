# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hashed passwords in a file: written once, readable by those who must, plain nowhere."""

from __future__ import annotations

import grp
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.password_file import parse, render, sha512_crypt, updated
from hypothesis import given
from hypothesis import strategies as st

RunModule = Callable[..., dict[str, Any]]
FLEET, ADMIN = {"name": "fleet", "password": "first secret"}, {"name": "admin", "password": "zweites: Geheimnis ß"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "etc" / "users"


@pytest.fixture
def run(run_module: RunModule, path: Path) -> RunModule:
    return lambda *users, **options: run_module("password_file", path=str(path), users=list(users), **options)


def test_the_hash_is_the_one_that_nginx_computes() -> None:
    # From crypt(3) of glibc's libcrypt, which nginx calls.
    assert sha512_crypt("Hello world!", "saltstring") == (
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
    )


def test_a_file_is_written_once(run: RunModule, path: Path) -> None:
    assert run(FLEET, ADMIN, check=True)["changed"] and not path.exists()
    result = run(FLEET, ADMIN)
    assert (result["changed"], result["users"]) == (True, ["admin", "fleet"])
    assert path.stat().st_mode & 0o777 == 0o640
    content = path.read_text()
    assert re.fullmatch(r"(?:\w+:\$6\$[./\w]{16}\$[./\w]{86}\n){2}", content)
    assert not run(FLEET, ADMIN)["changed"]
    assert path.read_text() == content


def test_a_new_password_changes_its_user_only(run: RunModule, path: Path) -> None:
    run(FLEET, ADMIN)
    before = parse(path.read_text())
    result = run({**FLEET, "password": "another"}, ADMIN, diff=True)
    after = parse(path.read_text())
    assert result["changed"] and after["admin"] == before["admin"] and after["fleet"] != before["fleet"]
    assert (result["diff"]["before"], result["diff"]["after"]) == ("admin\nfleet\n", "admin\nfleet (new password)\n")


def test_users_that_are_not_listed_go(run: RunModule, path: Path) -> None:
    run(FLEET, ADMIN)
    assert run(FLEET)["changed"]
    assert list(parse(path.read_text())) == ["fleet"]


def test_permissions_are_repaired(run: RunModule, path: Path) -> None:
    run(FLEET)
    path.chmod(0o644)
    assert run(FLEET)["changed"]
    assert path.stat().st_mode & 0o777 == 0o640


def test_the_group(run: RunModule, path: Path) -> None:
    name = grp.getgrgid(os.getegid()).gr_name
    run(FLEET, group=name)
    assert path.stat().st_gid == os.getegid()
    assert "nosuchgroup" in run(FLEET, group="nosuchgroup")["msg"]


def test_other_hashes_in_the_file_are_replaced(run: RunModule, path: Path) -> None:
    path.parent.mkdir()
    path.write_text("fleet:{PLAIN}first secret\n# a comment\nrubbish\n")
    assert run(FLEET)["changed"]
    assert "first secret" not in path.read_text()


def test_no_password_is_shown(run: RunModule, path: Path) -> None:
    for users in ((FLEET, ADMIN), (FLEET, FLEET), ({**FLEET, "name": "a b"},)):
        assert "secret" not in str({key: value for key, value in run(*users, diff=True).items() if key != "invocation"})


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ({"name": "", "password": "x"}, "'' is not a user's name"),
        ({"name": "a:b", "password": "x"}, "'a:b' is not a user's name"),
        ({"name": "#a", "password": "x"}, "'#a' is not a user's name"),
        ({"name": "a", "password": ""}, "The password of a is empty"),
        ({"name": "a", "password": "x\ny"}, "has a line break"),
        ({"name": "a", "password": "x" * 256}, "longer than 255 bytes"),
    ],
)
def test_unusable_users(run: RunModule, path: Path, user: dict[str, str], words: str) -> None:
    result = run(user)
    assert result["failed"] and words in result["msg"]
    assert not path.exists()


def test_without_openssl(run: RunModule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "Install the package openssl" in run(FLEET)["msg"]


def test_the_password_is_no_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    real = subprocess.run

    def record(command: list[str], **options: Any) -> Any:
        commands.append(command)
        return real(command, **options)

    monkeypatch.setattr(subprocess, "run", record)
    sha512_crypt("geheim", "salt")
    assert commands and "geheim" not in str(commands)


names = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"], exclude_characters=":#"), min_size=1)
passwords = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\0"), min_size=1, max_size=60)


@given(st.dictionaries(names, passwords, max_size=4), st.dictionaries(names, passwords, max_size=4))
def test_any_users_come_to_rest_after_one_run(first: dict[str, str], then: dict[str, str]) -> None:
    def hash_of(password: str, salt: str) -> str:
        return f"$6${salt}${password.encode().hex()[:86]:x<86}".replace(":", ".")

    there = updated({}, first, hash_of)
    wanted = updated(there, then, hash_of)
    assert set(wanted) == set(then)
    assert updated(parse(render(wanted)), then, hash_of) == wanted
