# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names are read as Ollama reads them."""

from __future__ import annotations

import string

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from hypothesis import given
from hypothesis import strategies as st

OFFICIAL = "registry.ollama.ai"


@pytest.mark.parametrize(
    ("text", "parts", "short"),
    [
        ("gemma3", (OFFICIAL, "library", "gemma3", "latest"), "gemma3:latest"),
        ("gemma3:270m", (OFFICIAL, "library", "gemma3", "270m"), "gemma3:270m"),
        ("gpt-oss:20b-q4_0", (OFFICIAL, "library", "gpt-oss", "20b-q4_0"), "gpt-oss:20b-q4_0"),
        ("library/gemma3:270m", (OFFICIAL, "library", "gemma3", "270m"), "gemma3:270m"),
        ("team/My_Model.v2:Q4_K_M", (OFFICIAL, "team", "My_Model.v2", "Q4_K_M"), "team/My_Model.v2:Q4_K_M"),
        ("hf.co/User/Repo:Q8_0", ("hf.co", "User", "Repo", "Q8_0"), "hf.co/User/Repo:Q8_0"),
        ("edge:5001/library/gemma3", ("edge:5001", "library", "gemma3", "latest"), "edge:5001/library/gemma3:latest"),
        ("10.0.0.5:80/a/b:c", ("10.0.0.5:80", "a", "b", "c"), "10.0.0.5:80/a/b:c"),
        ("registry.ollama.ai/library/gemma3", (OFFICIAL, "library", "gemma3", "latest"), "gemma3:latest"),
        ("Registry.Ollama.AI/team/m:t", (OFFICIAL, "team", "m", "t"), "team/m:t"),
        ("_m:_t", (OFFICIAL, "library", "_m", "_t"), "_m:_t"),
        ("m" * 80 + ":" + "t" * 80, (OFFICIAL, "library", "m" * 80, "t" * 80), "m" * 80 + ":" + "t" * 80),
    ],
)
def test_names(text: str, parts: tuple[str, ...], short: str) -> None:
    name = ModelName.parse(text)
    assert (name.registry, name.namespace, name.model, name.tag) == parts
    assert str(name) == short


@pytest.mark.parametrize(
    "text",
    [
        *["", " ", ":", "/", ":tag", "model:", "/model", "model/", "a//b", "a:b:c", "a/b:c:d", "a/b/c/d"],
        *["a b", "model:a b", " m", "m\n", "-m", ".m", "..", "../m", "m:.t", "m:-t", "modèle", "模型"],
        *["m@sha256:aa", "user@host/a/b", "edge:5001/gemma3", "hf.co/gemma3", "a.b/c:d", "[::1]:5001/a/b"],
        *["m" * 81, "m:" + "t" * 81, "n" * 81 + "/m", "h" * 351 + "/n/m"],
    ],
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        ModelName.parse(text)
    assert caught.value.problem.startswith(f"{text!r} is not a model name: ")
    assert caught.value.remedy.startswith("Write MODEL, ")


def test_a_scheme_is_refused_with_the_option_to_use() -> None:
    with pytest.raises(InvalidInput, match="with the option registry"):
        ModelName.parse("http://edge:5001/library/gemma3:270m")


def test_case_makes_no_other_model() -> None:
    assert ModelName.parse("Gemma3:270M").key == ModelName.parse("library/gemma3:270m").key
    assert ModelName.parse("Gemma3:270M") != ModelName.parse("gemma3:270m")
    assert str(ModelName.parse("Library/gemma3:270m")) == "gemma3:270m"


def test_at_a_mirror() -> None:
    name = ModelName.parse("gemma3:270m")
    assert str(name.at("edge:5001")) == "edge:5001/library/gemma3:270m"
    assert name.at(OFFICIAL) == name
    with pytest.raises(InvalidInput, match=r"cannot be pulled from '\[::1\]:5001'"):
        name.at("[::1]:5001")


part = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=80).filter(lambda s: s[0] != "-")


@given(host=st.sampled_from([OFFICIAL, "hf.co", "edge:5001"]), namespace=part, model=part, tag=part)
def test_the_short_form_is_read_back_as_the_same_model(host: str, namespace: str, model: str, tag: str) -> None:
    name = ModelName.parse(f"{host}/{namespace}/{model}:{tag}")
    assert (name.registry, name.namespace, name.model, name.tag) == (host, namespace, model, tag)
    assert ModelName.parse(str(name)).key == name.key


@given(st.text(max_size=30) | st.text("ab.:/-_@", max_size=12))
def test_any_text_is_a_name_or_an_error_of_the_user(text: str) -> None:
    try:
        name = ModelName.parse(text)
    except InvalidInput:
        return
    assert ModelName.parse(str(name)).key == name.key
