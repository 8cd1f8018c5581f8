# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Entries of a list of models: every form that is accepted, and what is refused with which words."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.model_definition import (
    Definition,
    check_parameters,
    definitions,
    quantized,
)
from ansible_collections.llmops.ollama.plugins.module_utils.model_name import ModelName
from hypothesis import given
from hypothesis import strategies as st

SHA256 = "0123456789abcdef" * 4


def bases(entry: Any) -> list[str]:
    return [str(base) for base in Definition.parse(entry).bases]


def test_a_name_is_what_the_registry_has_under_it() -> None:
    definition = Definition.parse("gemma3:270m")
    assert (str(definition.name), definition.is_plain, definition.is_derived) == ("gemma3:270m", True, False)
    assert definition == Definition.parse({"name": "gemma3:270m"})


def test_a_model_of_another_ones_weights() -> None:
    definition = Definition.parse(
        {"name": "assistant", "from": "gemma3:270m", "parameters": {"num_ctx": "8192"}, "system": "Be brief."}
    )
    assert (str(definition.name), [str(base) for base in definition.bases]) == ("assistant:latest", ["gemma3:270m"])
    assert (definition.parameters, definition.system, definition.template) == ({"num_ctx": 8192}, "Be brief.", None)
    assert definition.is_derived
    assert not definition.is_open


def test_candidates_in_their_order_each_once() -> None:
    entry = {"name": "chat", "candidates": ["m:big", "M:BIG", "m:small"]}
    assert bases(entry) == ["m:big", "m:small"]
    assert Definition.parse(entry).is_open


@pytest.mark.parametrize(
    ("name", "quantization", "tag"),
    [
        ("gemma3:270m-it", "q8_0", "gemma3:270m-it-q8_0"),
        ("gemma3:270m-it", "Q4_K_M", "gemma3:270m-it-q4_K_M"),
        ("gemma3:270m-it", "q4_k_s", "gemma3:270m-it-q4_K_S"),
        ("gemma3:270m-it", "Q6_K", "gemma3:270m-it-q6_K"),
        ("gemma3:270m-it", "F16", "gemma3:270m-it-fp16"),
        ("gemma3:270m-it", "fp16", "gemma3:270m-it-fp16"),
        ("gemma3:270m-it", "bf16", "gemma3:270m-it-bf16"),
        ("hf.co/some/Model-GGUF", "Q4_K_M", "hf.co/some/Model-GGUF:q4_K_M"),
    ],
)
def test_a_quantization_stands_for_the_models_tag_with_it(name: str, quantization: str, tag: str) -> None:
    assert str(quantized(ModelName.parse(name), quantization)) == tag
    assert bases({"name": name, "candidates": [quantization]}) == [tag]


@pytest.mark.parametrize("other", ["qwen3", "q", "phi4", "q8_0:1b", "mine/q8_0", "gemma3:q8_0"])
def test_what_only_looks_like_a_quantization(other: str) -> None:
    assert bases({"name": "m", "candidates": [other]}) == [str(ModelName.parse(other))]


@pytest.mark.parametrize("gguf", ["/srv/m.gguf", "https://example.org/m.gguf"])
def test_a_file(gguf: str) -> None:
    definition = Definition.parse({"name": "mine", "gguf": gguf, "sha256": f"sha256:{SHA256.upper()}"})
    assert (definition.gguf, definition.sha256, definition.bases) == (gguf, SHA256, ())
    assert definition.is_download == gguf.startswith("https")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("a b", "'a b' is not a model name"),
        ("", "it is empty"),
        (7, "models is 7"),
        (None, "models is None"),
        (["m"], "models is ['m']"),
        ({"model": "m"}, "unknown key 'model'. Known keys: name, from, candidates, gguf"),
        ({}, "models has no name"),
        ({"name": None}, "models has no name"),
        ({"name": 7}, "models has the name 7. Give a text."),
        ({"name": "m", "file": "x"}, "unknown key 'file'"),
        ({"name": "m", "From": "x"}, "unknown key 'From'"),
        ({"name": "m", "from": "x", "gguf": "/f"}, "has from and gguf. A model's weights come from one of them."),
        ({"name": "m", "from": "x", "candidates": ["y"]}, "has from and candidates"),
        ({"name": "m", "candidates": []}, "has the candidates []"),
        ({"name": "m", "candidates": "q8_0"}, "has the candidates 'q8_0'"),
        ({"name": "m", "candidates": ["a", 8]}, "has the candidates ['a', 8]"),
        ({"name": "m", "candidates": ["a", "m"]}, "has m:latest among its own candidates"),
        ({"name": "m", "sha256": SHA256}, "has a sha256 without gguf"),
        ({"name": "m", "gguf": "/f", "sha256": "abc"}, "has the sha256 'abc'. Give 64 hexadecimal digits."),
        ({"name": "m", "gguf": "http://h/f"}, "has an address as gguf, but no sha256"),
        ({"name": "m", "gguf": ""}, "has an empty gguf"),
        ({"name": "m", "system": ""}, "has an empty system"),
        ({"name": "m", "template": ""}, "has an empty template"),
        ({"name": "m", "system": ["x"]}, "has the system ['x']. Give a text."),
        ({"name": "m", "parameters": [1]}, "models: parameters is [1]"),
    ],
)
def test_a_bad_entry_is_named(entry: Any, words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Definition.parse(entry)
    assert words in str(refused.value)


def test_a_list_says_which_entry_is_wrong() -> None:
    with pytest.raises(InvalidInput, match=r"models\[1\] has the unknown key 'nam'"):
        definitions(["a", {"nam": "b"}])


def test_an_entry_may_be_repeated_but_not_contradicted() -> None:
    assert len(definitions(["m", "M:latest", {"name": "m"}])) == 1
    with pytest.raises(InvalidInput, match=r"models\[2\] declares m:latest a second time, differently"):
        definitions(["a", "m", {"name": "m", "system": "x"}])


@pytest.mark.parametrize(
    "entries",
    [
        [{"name": "a", "from": "b"}, {"name": "b", "from": "a"}],
        [{"name": "a", "from": "b"}, {"name": "b", "from": "c"}, {"name": "c", "candidates": ["x", "a"]}],
    ],
)
def test_models_that_are_made_of_each_other_are_refused(entries: Any) -> None:
    with pytest.raises(InvalidInput, match="is made of itself"):
        definitions(entries)


def test_a_model_may_be_made_of_one_that_is_made_of_the_registrys() -> None:
    assert len(definitions([{"name": "a", "from": "b"}, {"name": "b", "system": "x"}])) == 2


@pytest.mark.parametrize(
    ("given", "checked"),
    [
        ({"num_ctx": 4096, "use_mmap": False}, {"num_ctx": 4096, "use_mmap": False}),
        ({"num_ctx": "4096", "temperature": "0.5"}, {"num_ctx": 4096, "temperature": 0.5}),
        ({"num_ctx": 8192.0, "num_gpu": "5.0", "use_mmap": "yes"}, {"num_ctx": 8192, "num_gpu": 5, "use_mmap": True}),
        ({"stop": "7"}, {"stop": "7"}),
        ({"stop": ["<a>", "1"]}, {"stop": ["<a>", "1"]}),
        ({"draft_num_predict": 4}, {"draft_num_predict": 4}),  # what newer versions bring
    ],
)
def test_parameters(given: Any, checked: Any) -> None:
    assert check_parameters(given) == checked


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"Num Ctx": 1}, "'Num Ctx' is not a name"),
        ({"num_ctx": None}, "num_ctx is None"),
        ({"num_ctx": {"a": 1}}, "num_ctx is {'a': 1}"),
        ({"stop": []}, "stop is []"),
        ({"num_ctxt": 1}, "num_ctxt is no parameter of a model. Did you mean num_ctx?"),
        ({"num_threads": 1}, "Did you mean num_thread?"),
        ({"temprature": 1}, "Did you mean temperature?"),
        *(
            ({"num_ctx": value}, "parameters: num_ctx is")
            for value in ("8k", -5, 0, True, [8192], 8192.5, 1e12, "99999999999", "nan")
        ),
        *(({"num_gpu": value}, "It must be a whole number from -1 to 999") for value in ("all", 5.5, -2, 99999)),
        ({"temperature": "hot"}, "temperature is 'hot'. It must be a number"),
        ({"use_mmap": "maybe"}, "use_mmap is 'maybe'. It must be true or false"),
    ],
)
def test_what_cannot_be_a_parameter_is_refused(given: Any, words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_parameters(given)
    assert words in str(refused.value)


PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "num_ctx": st.integers(1, 1 << 24),
        "seed": st.integers(-(1 << 53), 1 << 53),
        "temperature": st.floats(-1e6, 1e6),
        "stop": st.lists(st.text(), min_size=1),
        "use_mmap": st.booleans(),
        "newer": st.one_of(st.integers(), st.floats(allow_nan=False), st.booleans()),
    },
)


@given(
    origin=st.sampled_from(
        [
            {},
            {"from": "base:1"},
            {"candidates": ["q8_0", "other:q4_0"]},
            {"gguf": "/srv/m.gguf"},
            {"gguf": "https://example.org/m.gguf", "sha256": SHA256},
        ]
    ),
    parameters=PARAMETERS,
    texts=st.fixed_dictionaries({}, optional={"system": st.text(min_size=1), "template": st.text(min_size=1)}),
)
def test_what_is_written_is_read_again(origin: Any, parameters: Any, texts: Any) -> None:
    definition = Definition.parse({"name": "ns/m:1", **origin, "parameters": parameters, **texts})
    assert Definition.parse(definition.to_data()) == definition
