# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What each release of the engine reads, and how it takes the values."""

from __future__ import annotations

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.engine import (
    Engine,
    check_variable,
    is_on,
    variable_problem,
    visible,
)
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "version", "threads", "prompt_cache"),
    [
        ("0.34.0", (0, 34, 0), "LLAMA_ARG_THREADS", "LLAMA_ARG_CACHE_RAM"),
        ("v0.30.0", (0, 30, 0), "LLAMA_ARG_THREADS", "LLAMA_ARG_CACHE_RAM"),
        ("0.30.0-rc1", (0, 30, 0), "LLAMA_ARG_THREADS", "LLAMA_ARG_CACHE_RAM"),
        ("1.0", (1, 0, 0), "LLAMA_ARG_THREADS", "LLAMA_ARG_CACHE_RAM"),
        ("0.24.0", (0, 24, 0), None, None),
        ("0.29.9", (0, 29, 9), None, None),
        ("0.0.0", None, "LLAMA_ARG_THREADS", "LLAMA_ARG_CACHE_RAM"),
        (None, None, "LLAMA_ARG_THREADS", "LLAMA_ARG_CACHE_RAM"),
        ("", None, "LLAMA_ARG_THREADS", "LLAMA_ARG_CACHE_RAM"),
    ],
)
def test_engine(text: str, version: tuple[int, int, int] | None, threads: str | None, prompt_cache: str | None) -> None:
    engine = Engine.parse(text)
    assert (engine.version, engine.threads_variable, engine.prompt_cache_variable) == (version, threads, prompt_cache)


def test_parallel_is_known_since() -> None:
    assert not Engine.parse("0.1.32").knows_parallel
    assert Engine.parse("0.1.33").knows_parallel


@pytest.mark.parametrize("text", ["latest", "0", "0.34.x", "34", "0.34.0 "[:-1] + "beta"])
def test_a_version_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="engine_version"):
        Engine.parse(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OLLAMA_NUM_PARALLEL", "4"),
        ("OLLAMA_MAX_LOADED_MODELS", "0"),
        ("OLLAMA_KEEP_ALIVE", "24h"),
        ("OLLAMA_KEEP_ALIVE", "-1"),
        ("OLLAMA_KEEP_ALIVE", "1h30m"),
        ("OLLAMA_KEEP_ALIVE", "1.5h"),
        ("OLLAMA_KEEP_ALIVE", "2147483647"),
        ("OLLAMA_KEEP_ALIVE", "2147483647s"),
        ("OLLAMA_KEEP_ALIVE", "1h2m3s400ms"),
        ("OLLAMA_KEEP_ALIVE", "60000000000ns"),
        ("OLLAMA_LOAD_TIMEOUT", "300"),
        ("OLLAMA_FLASH_ATTENTION", "true"),
        ("OLLAMA_KV_CACHE_TYPE", "q8_0"),
        ("OLLAMA_HOST", "[::]:11434"),
        ("LLAMA_ARG_CACHE_RAM", "-1"),
        ("ANYTHING_ELSE", "text with spaces and ünïcode"),
    ],
)
def test_values_that_the_server_understands(name: str, value: str) -> None:
    check_variable(name, value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("OLLAMA_NUM_PARALLEL", "four", "whole number, 1 or more"),
        ("OLLAMA_NUM_PARALLEL", "0", "whole number, 1 or more"),
        ("OLLAMA_NUM_PARALLEL", "-1", "whole number, 1 or more"),
        ("OLLAMA_NUM_PARALLEL", "4.0", "whole number, 1 or more"),
        ("OLLAMA_NUM_PARALLEL", "", "whole number, 1 or more"),
        ("OLLAMA_MAX_QUEUE", "-1", "whole number, 0 or more"),
        ("OLLAMA_KEEP_ALIVE", "1 day", "duration"),
        ("OLLAMA_KEEP_ALIVE", "24H", "duration"),
        ("OLLAMA_KEEP_ALIVE", "٢٤h", "duration"),
        ("OLLAMA_KEEP_ALIVE", "9300000000", "duration"),
        ("OLLAMA_KEEP_ALIVE", "99999999999", "duration"),
        ("OLLAMA_KEEP_ALIVE", "2600000000h", "duration"),
        ("OLLAMA_CONTEXT_LENGTH", "١٢٣٤", "whole number"),
        ("LLAMA_ARG_CACHE_RAM", "4294967296", "whole number"),
        ("OLLAMA_FLASH_ATTENTION", "yes", "true or false"),
        ("OLLAMA_KV_CACHE_TYPE", "q5_0", "f16, q8_0, q4_0"),
        ("LLAMA_ARG_THREADS", "-2", "or -1"),
        ("OLLAMA_HOST", "0.0.0.0\nOLLAMA_DEBUG=1", "one line"),
        ("OLLAMA_NUM_PARALLEL", "4\n", "one line"),
        ("X\n", "1", "not a name"),
        ("A B", "1", "not a name"),
        ("1A", "1", "not a name"),
    ],
)
def test_values_that_the_server_would_silently_replace(name: str, value: str, words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_variable(name, value)
    assert words in str(refused.value)


NEW, OLD = Engine.parse("0.34.0"), Engine.parse("0.24.0")


@pytest.mark.parametrize(
    ("name", "engine", "words"),
    [
        ("OLLAMA_NUM_GPU", NEW, "option num_gpu"),
        ("OLLAMA_REQUEST_TIMEOUT", NEW, "option request_timeout"),
        ("OLLAMA_NUM_THREADS", NEW, "LLAMA_ARG_THREADS"),
        ("OLLAMA_NUM_PARALEL", NEW, "Did you mean OLLAMA_NUM_PARALLEL?"),
        ("OLLAMA_KEEPALIVE", NEW, "Did you mean OLLAMA_KEEP_ALIVE?"),
        ("OLLAMA_CONTEXT_LEN", NEW, "Did you mean OLLAMA_CONTEXT_LENGTH?"),
        ("OLLAMA_PARALLEL", NEW, "Did you mean OLLAMA_NUM_PARALLEL?"),
        ("OLLAMA_NUM_CTX", NEW, "read by no current Ollama. Use OLLAMA_CONTEXT_LENGTH"),
        ("OLLAMA_MAX_VRAM", NEW, "Use OLLAMA_GPU_OVERHEAD"),
        ("LLAMA_ARG_THREADS", OLD, "0.30 and newer"),
        ("OLLAMA_IGPU_ENABLE", OLD, "0.30 and newer"),
        ("OLLAMA_NEW_ENGINE", NEW, "before 0.30"),
        # A slip in what comes before, in case, or in a variable of the runner.
        ("OLAMA_NUM_PARALLEL", NEW, "Did you mean OLLAMA_NUM_PARALLEL?"),
        ("ollama_num_parallel", NEW, "Did you mean OLLAMA_NUM_PARALLEL?"),
        ("LLAMA_ARG_THREAD", NEW, "Did you mean LLAMA_ARG_THREADS?"),
        ("LLAMA_ARG_CACHERAM", NEW, "Did you mean LLAMA_ARG_CACHE_RAM?"),
    ],
)
def test_variables_without_effect(name: str, engine: Engine, words: str) -> None:
    problem = variable_problem(name, engine)
    assert problem is not None
    assert words in problem
    assert name in problem


@pytest.mark.parametrize("name", ["OLLAMA_ZZZZZZZZZZ", "OLLAMA_MAX_RAM", "OLLAMA_NUM_BATCH", "OLLAMA_LOG_LEVEL"])
def test_nothing_is_proposed_that_is_not_alike(name: str) -> None:
    assert variable_problem(name, NEW) == f"{name} is not known to be read by any Ollama."


@pytest.mark.parametrize(
    "name",
    [
        "OLLAMA_NUM_PARALLEL",
        "LLAMA_ARG_THREADS",
        "LLAMA_ARG_THREADS_BATCH",
        "LLAMA_ARG_CACHE_REUSE",
        "LLAMA_ARG_CTX_CHECKPOINTS",
        "LLAMA_ARG_CACHE_TYPE_K",
        "HTTPS_PROXY",
        "PATH",
    ],
)
def test_variables_with_effect_or_not_ours_to_judge(name: str) -> None:
    assert variable_problem(name, NEW) is None


@pytest.mark.parametrize(
    ("name", "engine"),
    [("OLLAMA_NEW_ENGINE", OLD), ("OLLAMA_IGPU_ENABLE", NEW), ("OLLAMA_LLAMA_CPP_COMPAT", NEW)],
)
def test_variables_that_only_some_releases_read(name: str, engine: Engine) -> None:
    assert variable_problem(name, engine) is None


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("LLAMA_ARG_N_PARALLEL", "OLLAMA_NUM_PARALLEL"),
        ("LLAMA_ARG_CTX_SIZE", "OLLAMA_CONTEXT_LENGTH"),
        ("LLAMA_ARG_FLASH_ATTN", "OLLAMA_FLASH_ATTENTION"),
        ("LLAMA_ARG_UBATCH", "num_batch"),
        ("LLAMA_ARG_CACHE_TYPE_V", "OLLAMA_KV_CACHE_TYPE"),
    ],
)
def test_variables_that_the_server_overrides(name: str, instead: str) -> None:
    problem = variable_problem(name, NEW, ["OLLAMA_KV_CACHE_TYPE"])
    assert problem
    assert f"{name} has no effect" in problem
    assert instead in problem


@pytest.mark.parametrize(
    ("value", "count", "left"),
    [
        ("-1", 2, ()),
        ("", 2, ()),
        ("0", 2, (0,)),
        ("1,0", 2, (1, 0)),
        ("0,7,1", 2, (0,)),
        ("0,0", 2, (0,)),
        ("GPU-8932f937,GPU-1", 2, (0, 1)),
        ("GPU-1,GPU-2", 1, (0,)),
        ("9" * 9, 2, ()),
        ("none", 0, ()),
    ],
)
def test_devices_that_a_variable_leaves(value: str, count: int, left: tuple[int, ...]) -> None:
    assert visible(value, count) == left


@pytest.mark.parametrize("value", ["1", "true", "T", "yes", ""])
def test_what_is_not_false_is_true(value: str) -> None:
    assert is_on(value)
    assert not is_on("False")
