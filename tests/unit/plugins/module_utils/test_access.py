# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who is shown a password, and what is said about one that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.access import Access, access_to
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from fake_mirror import authority

OFFICIAL = "https://registry.ollama.ai"


@pytest.mark.parametrize(
    ("url", "covered"),
    [
        ("https://mirror:5001", True),
        ("https://mirror:5001/v2/library/m/manifests/t", True),
        ("https://MIRROR:5001/", True),
        ("http://mirror:5001", False),
        ("https://mirror:5002", False),
        ("https://mirror", False),
        ("https://mirror:5001@elsewhere", False),
        ("https://mirror.example.org:5001", False),
    ],
)
def test_a_password_is_for_one_server(url: str, covered: bool) -> None:
    access = Access("https://mirror:5001/releases", "fleet", "secret", "/ca.pem")
    assert access.covers(url) is covered
    assert bool(access.options(url)) is covered


def test_the_usual_port_need_not_be_written() -> None:
    assert Access("https://mirror", "fleet", "x").covers("https://mirror:443/v2/")
    assert not Access().covers("")


def test_a_password_is_not_printed() -> None:
    assert "secret" not in repr(Access("https://mirror", "fleet", "secret"))


def test_nothing_is_meant_for_the_official_address() -> None:
    assert access_to(f"{OFFICIAL}/", OFFICIAL, "fleet", "secret", "/nothing/ca.pem") == Access()
    given = access_to("https://mirror", OFFICIAL, "fleet", "secret", None)
    assert given == Access("https://mirror", "fleet", "secret", "")
    assert access_to("https://mirror", OFFICIAL, None, None, None).options("https://mirror") == {}


@pytest.mark.parametrize(
    ("username", "password", "words"),
    [(None, "secret", "no username"), ("", "secret", "no username"), ("a:b", "secret", "'a:b' has a colon")],
)
def test_half_a_login(username: str | None, password: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        access_to("https://mirror", OFFICIAL, username, password, None)
    assert "secret" not in str(caught.value)


def test_a_ca_that_is_none(tmp_path: Path) -> None:
    authority(tmp_path)
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("certificate")
    assert access_to("https://mirror", OFFICIAL, None, None, str(tmp_path / "ca.pem")).ca_path
    for name in ("missing", "empty", "text"):
        with pytest.raises(InvalidInput, match=f"{name}', which cannot be used: .*in PEM form"):
            access_to("https://mirror", OFFICIAL, None, None, str(tmp_path / name))
