# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Detectors of "out of memory", and the guide's remedies: less parallel, smaller quantization, shorter keep-alive."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ansible_collections.llmops.ollama.plugins.module_utils.doctor import journal
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.evidence import MIB, Evidence, Loaded, mib
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.finding import (
    MEMORY,
    PROBLEM,
    WARNING,
    Finding,
    brief,
    times,
)
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.journal import Line
from ansible_collections.llmops.ollama.plugins.module_utils.engine import duration
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.unit import SERVICE, TUNED

# llama-server's own limit for its prompt cache, for each loaded model.
DEFAULT_CACHE_MB = 8192
# Idle for longer than the server's default keep-alive time, several times over.
IDLE_SECONDS = 1800.0
# Less than this in swap is what any process has after a while.
SWAP_NOTICED = 64 * MIB

# The next smaller one that is published for most models.
SMALLER = {
    "F32": "Q8_0",
    "F16": "Q8_0",
    "BF16": "Q8_0",
    "Q8_0": "Q4_K_M",
    "Q6_K": "Q4_K_M",
    "Q5_K_M": "Q4_K_M",
    "Q5_K_S": "Q4_K_M",
    "Q5_0": "Q4_K_M",
    "Q5_1": "Q4_K_M",
    "Q4_K_M": "Q4_0",
}

_REFUSED = re.compile(r"model requires more system memory \([^)]+\) than is available \([^)]+\)")
_NOT_ALLOCATED = re.compile(
    r"cudaMalloc failed: out of memory|ErrorOutOfDeviceMemory|insufficient memory|"
    r"failed to allocate .*buffer|unable to allocate .*buffer"
)
_SYSTEMD_KILL = re.compile(r"killed by the OOM killer|Failed with result 'oom-kill'")
_KERNEL_KILL = re.compile(r"Killed process (\d+) \((?:ollama|llama-)")
_KERNEL_CHOICE = re.compile(r"oom-kill:.*,task_memcg=([^,]+),task=.*,pid=(\d+)")
_KERNEL_GROUP = re.compile(r"Tasks in (\S+) are going to be killed")
_SIGNAL_KILL = re.compile(
    r'no longer running" sys=9 |code=killed, status=9/KILL|error="signal: killed"|terminated.*signal: killed'
)
_SLOW_STOP = re.compile(r"State '[\w-]+' timed out\. Killing\.|Killing process \d+ \(.+\) with signal SIGKILL")
_STARTS = re.compile(r"Listening on \S+ \(version ")
_LOADING = re.compile(r'msg="starting (?:llama-server|runner)" .*--model (\S+)')
_LOADED = re.compile(r"llama(?:-server| runner) started in")
# All that 0.30 and newer say of a runner that ends during a request, until the next one comes: killed or crashed.
_BROKE_OFF = re.compile(r'llama-server completion error" error=".*: EOF"')


def refused(seen: Evidence) -> Iterator[Finding]:
    """The server said that a model does not fit."""
    lines = [line.text for line in seen.journal if _REFUSED.search(line.text)]
    if lines:
        text = _REFUSED.search(lines[-1])
        yield Finding(
            MEMORY,
            PROBLEM,
            f"The server refused to load a model: {text[0] if text else ''}, {times(len(lines))}.",
            brief(lines[-1]),
            remedy(seen),
        )


def not_allocated(seen: Evidence) -> Iterator[Finding]:
    """An allocation failed in the engine, which it did not get over: it tries again with less, or without others."""
    lines: list[str] = []
    attempts: list[str] = []
    model = ""
    for line in seen.journal:
        start = _LOADING.search(line.text)
        if _NOT_ALLOCATED.search(line.text):
            attempts.append(line.text)
        elif _LOADED.search(line.text):
            attempts = []
        elif start and start[1] != model:
            lines, attempts, model = lines + attempts, [], start[1]
    lines += attempts
    if lines:
        yield Finding(
            MEMORY, PROBLEM, "The engine could not get the memory for a model.", brief(lines[-1]), remedy(seen)
        )


def _killed_by_others(lines: Sequence[Line]) -> list[str]:
    """What tells of signal 9, but for services that systemd killed since they took too long to stop."""
    found: list[str] = []
    by_systemd = False
    for line in lines:
        by_systemd = by_systemd or bool(_SLOW_STOP.search(line.text))
        if _SIGNAL_KILL.search(line.text):
            found += [] if by_systemd else [line.text]
        elif _STARTS.search(line.text):
            by_systemd = False
    return found


def _killed_by_kernel(seen: Evidence) -> list[str]:
    """What the kernel says of killing Ollama's processes, but for those of other services."""
    found: list[str] = []
    groups: dict[str, str] = {}
    whole = ""  # a group of which all processes are killed with the one that was chosen
    for line in seen.kernel:
        chosen, all_of = _KERNEL_CHOICE.search(line.text), _KERNEL_GROUP.search(line.text)
        kill = _KERNEL_KILL.search(line.text)
        if chosen:
            groups[chosen[2]], whole = chosen[1], ""
        elif all_of:
            whole = all_of[1]
        elif kill:
            group = groups.pop(kill[1], whole)
            if not group or seen.unit.name in group.split("/"):
                found.append(line.text)
    return found


def killed(seen: Evidence) -> Iterator[Finding]:
    """The kernel killed the server or a runner for want of memory. One finding, with all that says so."""
    said = [line.text for line in seen.journal if _SYSTEMD_KILL.search(line.text)][-1:]
    said += _killed_by_kernel(seen)[-1:]
    if seen.unit.result == "oom-kill":
        said.append("systemctl show: Result=oom-kill")
    by_signal = _killed_by_others(seen.journal)
    counted = f"{seen.after.memory_group}/: processes killed since the group was made: {seen.after.oom_kills}"
    own = seen.after.memory_group.endswith(f"/{seen.unit.name}")
    hints = said or by_signal[-1:] or _gone(seen)
    # The count alone may be of long ago.
    grew = seen.after.oom_kills > seen.before.oom_kills
    if seen.after.oom_kills and (hints or (own and grew)):
        said = [*hints, counted]
    if said:
        yield Finding(
            MEMORY,
            PROBLEM,
            "The kernel killed processes because memory was used up.",
            brief("; ".join(said)),
            remedy(seen),
        )
        return
    if by_signal:
        yield Finding(
            MEMORY,
            WARNING,
            "A process of the service was killed with signal 9, which is what the kernel does when memory is used up.",
            brief(by_signal[-1]),
            f"If nobody did it by hand (kill -9): {remedy(seen)}",
        )
    if seen.after.oom_kills and (grew or any("Killed process" in line.text for line in seen.kernel)):
        yield Finding(
            MEMORY,
            WARNING,
            "The kernel killed another process that shares the server's memory limit, because it was used up.",
            counted,
            f"Find what else runs there (ps aux --sort=-rss), or: {remedy(seen)}",
        )


def _gone(seen: Evidence) -> list[str]:
    """What tells that a runner has ended without a word of why."""
    broke_off = [line.text for line in seen.journal if _BROKE_OFF.search(line.text)]
    lost = seen.engine.runs_llama_server and seen.loaded and not seen.runners
    return [*broke_off[-1:], *([f"/api/ps lists {_names(seen.loaded)}, but no process runs it"] if lost else [])]


def at_the_limit(seen: Evidence) -> Iterator[Finding]:
    """The control group's limit is in the way now. Hits of the past alone may be the page cache, which gives way."""
    limits = seen.after.limit_hits - seen.before.limit_hits
    highs = seen.after.high_hits - seen.before.high_hits
    if (seen.memory_short or highs > 0 or limits > 0) and seen.after.limit_hits + seen.after.high_hits > 0:
        yield Finding(
            MEMORY,
            PROBLEM if seen.memory_short else WARNING,
            "The control group is at its memory limit, so the server is slowed down and may be killed.",
            f"{seen.after.memory_group}: {mib(seen.memory_free)} of {mib(seen.memory_limit)} left, limit hit "
            f"{times(seen.after.limit_hits)} in all and {times(limits)} in {seen.seconds:g} s, "
            f"slowed down {times(highs)}",
            f"Raise the limit ({_limits(seen) or 'MemoryMax=, MemoryHigh='} or the container's), or: {remedy(seen)}",
        )


def in_swap(seen: Evidence) -> Iterator[Finding]:
    """Part of the service is on disk."""
    if seen.service_swap > SWAP_NOTICED:
        yield Finding(
            MEMORY,
            PROBLEM if seen.service_swap * 10 > seen.service_rss else WARNING,
            "Part of the server's memory was swapped out to disk, which makes each token wait for it.",
            f"VmSwap of the service's processes: {mib(seen.service_swap)}, in memory {mib(seen.service_rss)}",
            remedy(seen),
        )


def less_than_predicted(seen: Evidence) -> Iterator[Finding]:
    """What is available, with what the service has already, is less than what its models will need."""
    if seen.refused:  # the tuner knows more of it
        return
    if seen.predicted_mb is None or not seen.memory_limit:
        return
    known = seen.hardware.memory_room_mb if seen.hardware and seen.unit.name == SERVICE else None
    room = (seen.memory_free + seen.service_rss) // MIB if known is None else known
    if room < seen.predicted_mb:
        yield Finding(
            MEMORY,
            PROBLEM,
            "The models as they are configured need more memory than there is for them.",
            f"predicted {seen.predicted_mb} MiB; {room} MiB are free or used by it now",
            remedy(seen),
        )


def do_not_fit(seen: Evidence) -> Iterator[Finding]:
    """The tuner finds no way to run the models here, so that nothing is to be had from running site.yml again."""
    if seen.refused:
        yield Finding(
            MEMORY,
            PROBLEM,
            "The models that are declared do not fit this host, so that site.yml refuses them.",
            seen.refused + (f" The unit's files limit it: {_limits(seen)}." if _limits(seen) else ""),
            remedy(seen),
        )


def kept_for_nobody(seen: Evidence) -> Iterator[Finding]:
    """Models stay in short memory though nobody asks them."""
    keep = duration(seen.has.get("OLLAMA_KEEP_ALIVE", "5m"))
    if not seen.memory_short or not seen.loaded or keep <= IDLE_SECONDS:
        return
    # Where nothing is logged nobody knows; and a model that was loaded for a look at the server stays for that.
    if not seen.journal or any(load.time >= seen.until for load in seen.loads[-1:]):
        return
    idle = seen.now - (journal.last_request(seen.journal, seen.until) or seen.unit.started)
    if idle > IDLE_SECONDS:
        yield Finding(
            MEMORY,
            WARNING,
            f"{_names(seen.loaded)} stays in memory though nobody has asked for {idle / 60:.0f} minutes.",
            f"OLLAMA_KEEP_ALIVE={seen.has.get('OLLAMA_KEEP_ALIVE')}, {mib(seen.memory_free)} left",
            "Shorten OLLAMA_KEEP_ALIVE in ollama_environment (the guide: 5m) and run site.yml.",
        )


def several_models(seen: Evidence) -> Iterator[Finding]:
    """More than one model is loaded while memory is short."""
    if seen.memory_short and len(seen.loaded) > 1:
        total = sum(model.size for model in seen.loaded)
        yield Finding(
            MEMORY,
            WARNING,
            f"{len(seen.loaded)} models are in memory at once: {_names(seen.loaded)}.",
            f"/api/ps: {mib(total)} together, {mib(seen.memory_free)} left",
            "Set OLLAMA_MAX_LOADED_MODELS to 1 in ollama_environment and run site.yml; or shorten OLLAMA_KEEP_ALIVE.",
        )


def cache_without_limit(seen: Evidence) -> Iterator[Finding]:
    """The prompt cache of 0.30 and newer grows to its default limit after the model was loaded."""
    variable = seen.engine.prompt_cache_variable
    if seen.environment is None or variable is None:
        return
    value = seen.environment.get(variable, "")
    if value.isdecimal():
        return
    room = seen.memory_free // MIB
    allowed = "without a limit" if value == "-1" else f"up to {DEFAULT_CACHE_MB} MiB for each loaded model"
    yield Finding(
        MEMORY,
        PROBLEM if seen.memory_limit and (value == "-1" or room < DEFAULT_CACHE_MB) else WARNING,
        f"The prompt cache may grow {allowed} after the model was loaded.",
        f"process {seen.unit.main_pid}: {variable} is {value or 'not set'}, {mib(seen.memory_free)} left",
        f"Cap it: {variable} in ollama_environment (site.yml sets it to what fits).",
    )


def _limits(seen: Evidence) -> str:
    """The memory limits that somebody else than the role set for the unit, each with its file."""
    # What is read later wins.
    last = {each.name: each for each in seen.limits if not each.file.endswith(f"/{TUNED}")}
    return ", ".join(f"{each.name}={each.value} in {each.file}" for each in last.values() if each.value)


def remedy(seen: Evidence) -> str:
    """The guide's three remedies, with this host's numbers; where the tuner finds that none helps, what does."""
    if seen.refused:
        raised = f"Raise or remove {_limits(seen)}, declare" if _limits(seen) else "Declare"
        return (
            f"{raised} other models, or change ollama_tuning_policy (reserve, min_context_length, quantized_kv); then "
            "run site.yml."
        )
    ways = []
    if seen.parallel > 1:
        ways.append(f"lower OLLAMA_NUM_PARALLEL from {seen.parallel} to {seen.parallel // 2}")
    context = seen.has.get("OLLAMA_CONTEXT_LENGTH", "")
    if context.isdecimal() and int(context) > 4096:
        ways.append(f"lower OLLAMA_CONTEXT_LENGTH from {context}")
    ways.append(_quantized(seen))
    keep = seen.has.get("OLLAMA_KEEP_ALIVE", "")
    if duration(keep or "5m") > IDLE_SECONDS:
        ways.append(f"shorten OLLAMA_KEEP_ALIVE from {keep} to 5m")
    text = ", or ".join(ways)
    return f"{text[0].upper()}{text[1:]} (ollama_environment and ollama_models, then site.yml)."


def _quantized(seen: Evidence) -> str:
    known = [(model.name, model.quantization) for model in seen.loaded] or list(seen.installed)
    for name, quantization in known:
        smaller = SMALLER.get(quantization)
        if smaller:
            return (
                f"use {name} in {smaller} rather than {quantization} ({smaller_tag(seen, name, quantization, smaller)})"
            )
    return "use a smaller model"


def smaller_tag(seen: Evidence, name: str, quantization: str, smaller: str) -> str:
    """How to get a model in a smaller quantization: an installed one, else its tag or where to look."""
    family, _, tag = name.partition(":")
    for other, kind in seen.installed:
        if kind == smaller and other.partition(":")[0] == family:
            return f"{other} is installed"
    written = {"F16": "fp16", "BF16": "bf16"}.get(quantization, quantization)
    if tag.lower().endswith(f"-{written.lower()}"):
        spelt = smaller.replace("Q", "q", 1)
        return f"ollama pull {family}:{tag[: -len(written)]}{spelt}"
    return f"see the tags of {family} that end in {smaller.replace('Q', 'q', 1)}"


def _names(loaded: tuple[Loaded, ...]) -> str:
    return ", ".join(model.name for model in loaded)


DETECTORS = (
    refused,
    not_allocated,
    killed,
    at_the_limit,
    in_swap,
    less_than_predicted,
    do_not_fit,
    kept_for_nobody,
    several_models,
    cache_without_limit,
)
