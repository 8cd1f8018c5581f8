# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Loading models, and proving that they stay: the second of two requests must not wait for a load."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.llmops.ollama.plugins.module_utils.client import NO_GENERATE, Client
from ansible_collections.llmops.ollama.plugins.module_utils.engine import Engine
from ansible_collections.llmops.ollama.plugins.module_utils.errors import OllamaError, UnexpectedAnswer, Unhealthy
from ansible_collections.llmops.ollama.plugins.module_utils.model_lock import weights_of
from ansible_collections.llmops.ollama.plugins.module_utils.progress import Report

# Seconds that a load may take until the first byte of the answer.
LOAD_TIMEOUT = 1800.0

# What a server reports as the load of a model that is in memory already (measured: 0.19 to 0.46 s before 0.30).
LOADED_SECONDS, LOADED_SECONDS_OLD = 0.2, 0.7
# A busy host needs longer; a load takes at least so many times as long as finding the model in memory.
RELOAD_FACTOR = 3.0


def warm(client: Client, names: Sequence[str], report: Report) -> dict[str, float]:
    """Load all models, then ask each again; returns the seconds that the second request waited for its model.

    Raises ``Unhealthy`` where one was loaded anew: it is not kept in memory beside the others.
    """
    engine = Engine.parse(client.version())
    limit = LOADED_SECONDS if engine.runs_llama_server else LOADED_SECONDS_OLD
    for name in names:
        report(f"{name}: loading")
        _load(client, name)
    again = {}
    for name in names:
        report(f"{name}: asking again")
        again[name] = _load(client, name)
        if again[name] > limit and not _is_only_slow(client, name, again[name]):
            raise _loaded_anew(client, name, names, again[name])
    return again


def _is_only_slow(client: Client, name: str, seconds: float) -> bool:
    """Whether the host needs about as long for a model that is in memory for certain: it has just been asked."""
    once_more = _load(client, name)
    weights = weights_of(client.show(name))[:1]
    loaded = [str(model.get("name")) for model in client.ps()]
    stays = name in loaded or any(weights_of(client.show(each))[:1] == weights for each in loaded)
    return stays and seconds < RELOAD_FACTOR * once_more


def _loaded_anew(client: Client, name: str, names: Sequence[str], seconds: float) -> Unhealthy:
    files = {each: weights_of(client.show(each))[:1] for each in names}
    same = [each for each in names if each != name and files[each] and files[each] == files[name]]
    if same:
        remedy = (
            f"It is made of the same weights as {', '.join(same)}: the server has one process for each file, and loads "
            "it anew where num_ctx or another parameter of a load differs. Give them the same, or declare one of them."
        )
    else:
        remedy = (
            "Something unloads it: too little memory for all models together, OLLAMA_MAX_LOADED_MODELS below their "
            "number, OLLAMA_KEEP_ALIVE=0, or clients that ask with other options. Declare fewer or smaller models, or "
            "leave warm out; the playbook doctor looks for the cause."
        )
    loaded = ", ".join(str(model.get("name")) for model in client.ps()) or "nothing"
    return Unhealthy(
        f"{name} was in memory, and the next request loaded it anew ({seconds:.1f} s). In memory now: {loaded}.",
        remedy,
        model=name,
        load_seconds=seconds,
    )


def _load(client: Client, name: str) -> float:
    """Have one token generated, or a text embedded; returns the seconds that the server needed to have the model."""
    # No option of the model: one that differs from what clients send would make the server load it anew.
    request = {"model": name, "prompt": "Hello", "options": {"num_predict": 1}}
    try:
        *_, answer = client.generate(request)
    except UnexpectedAnswer as error:
        if NO_GENERATE not in error.problem:
            raise _explained(name, error) from error
        answer = client.embed(name, "Hello")
    return float(answer.get("load_duration") or 0) / 1e9


def _explained(name: str, error: UnexpectedAnswer) -> OllamaError:
    return Unhealthy(
        f"{name} could not be loaded. {error.problem}",
        error.remedy or "Look at the server's log; the playbook doctor does, too.",
        **error.details,
    )
