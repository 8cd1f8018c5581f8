# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Detectors of "does not run": the unit, its port, its model store, its runners."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.llmops.ollama.plugins.module_utils.doctor import journal
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.evidence import Evidence, mib
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.finding import (
    PROBLEM,
    SLOW,
    STOPPED,
    WARNING,
    Finding,
    brief,
    times,
)
from ansible_collections.llmops.ollama.plugins.module_utils.engine import GPU_NONE

# So many automatic restarts are no accident.
RESTARTS = 3
# A server that has been up for longer has got over it.
SETTLED_SECONDS = 3600.0

# Bytes of a model store's file system that should be free, and from how many on a share of it is no matter.
DISK_FREE = 1 << 30
DISK_FREE_SHARE = 0.05
DISK_ENOUGH = 10 << 30

_TRUNCATED = re.compile(r'msg="truncating input prompt" limit=(\d+) prompt=(\d+)')
_PORT = re.compile(r"listen tcp.*address already in use")
_PERMISSION = re.compile(r"permission denied|read-only file system", re.IGNORECASE)
_READ_ONLY = re.compile(r"read-only file system", re.IGNORECASE)
_DEVICE = re.compile(r"(?<![\w./-])/dev/(?!shm)")
_ENDED = re.compile(r"process no longer running|(?:runner|llama-server).*terminated|unexpectedly stopped")
# What systemd says at the end of any start that failed, "Failed to start" and "Failed to run 'start' task", tells
# nothing.
_ERROR = re.compile(r"^Error: |level=ERROR|^panic: |^fatal error: |Failed (?:at|to) (?!start |run )")


def unit_down(seen: Evidence) -> Iterator[Finding]:
    """The unit is missing, failed, stopped, or between two attempts."""
    unit = seen.unit
    state = f"systemctl show: LoadState={unit.load_state}, ActiveState={unit.active_state}, SubState={unit.sub_state}"
    if unit.load_state != "loaded":
        yield Finding(
            STOPPED,
            PROBLEM,
            f"{unit.name} runs, and will not start again." if unit.running else f"There is no usable unit {unit.name}.",
            state,
            {
                "masked": f"Take the mask off: systemctl unmask {unit.name}, then run site.yml.",
                "not-found": "Install Ollama on this host: run site.yml.",
            }.get(
                unit.load_state,
                f"Correct the line that systemd-analyze verify {unit.name} names, then: systemctl daemon-reload.",
            ),
        )
    elif unit.gone or not unit.running:
        last = next((line.text for line in reversed(seen.journal) if _ERROR.search(line.text)), "")
        failed = unit.active_state == "failed" or unit.sub_state.startswith("auto-restart")
        again = " and systemd will try again" if unit.sub_state.startswith("auto-restart") else ""
        why = f", Result={unit.result}, status {unit.exit_status}" if failed else ""
        absent = ", ".join(seen.missing) if failed and unit.result == "resources" else ""
        why += f"; not there: {absent}" if absent else ""
        yield Finding(
            STOPPED,
            PROBLEM,
            f"{unit.name} {'failed' if failed else 'is stopped'}{again}.",
            brief(f"{state}{why}{f'; journal: {last}' if last and failed else ''}"),
            f"Write {absent}, or begin its EnvironmentFile= with a minus; then: systemctl daemon-reload && systemctl "
            f"restart {unit.name}."
            if absent
            else f"See what else was found here, then: systemctl start {unit.name}, or run site.yml."
            if failed
            else f"Start it: systemctl start {unit.name}, or run site.yml.",
        )


def not_at_boot(seen: Evidence) -> Iterator[Finding]:
    """It runs, and nothing will start it when the host does."""
    if seen.unit.running and seen.unit.file_state == "disabled":
        yield Finding(
            STOPPED,
            WARNING,
            f"{seen.unit.name} runs, and will not start when the host is booted.",
            f"systemctl show: UnitFileState={seen.unit.file_state}",
            f"Enable it: systemctl enable {seen.unit.name}, or run site.yml.",
        )


def restarts(seen: Evidence) -> Iterator[Finding]:
    """systemd had to start it again."""
    settled = seen.unit.running and seen.now - seen.unit.started > SETTLED_SECONDS
    if seen.unit.restarts:
        yield Finding(
            STOPPED,
            PROBLEM if seen.unit.restarts >= RESTARTS and not settled else WARNING,
            f"systemd restarted {seen.unit.name} {times(seen.unit.restarts)} because it had ended by itself.",
            f"systemctl show: NRestarts={seen.unit.restarts}, Result={seen.unit.result}",
            f"Look for the first error: journalctl -u {seen.unit.name} -p warning.",
        )


def port_taken(seen: Evidence) -> Iterator[Finding]:
    """Another process has the server's address."""
    line = next((line.text for line in _since_start(seen) if _PORT.search(line.text)), "")
    if line or (not seen.unit.running and seen.port_holder):
        holder = f" by {seen.port_holder}" if seen.port_holder else ""
        yield Finding(
            STOPPED,
            PROBLEM,
            f"The server's port is taken{holder}.",
            brief(line) or f"{seen.port_holder} listens on it",
            f"End that process (often a hand-started `ollama serve`), or change ollama_host; then systemctl restart "
            f"{seen.unit.name}.",
        )


def no_permission(seen: Evidence) -> Iterator[Finding]:
    """The server may not use its files, or its GPU."""
    denied = [line.text for line in _since_start(seen) if _PERMISSION.search(line.text)]
    devices = [line for line in denied if _DEVICE.search(line)]
    if devices and seen.gpu != GPU_NONE:
        yield Finding(
            SLOW,
            PROBLEM,
            "The server may not use a device, so that its models run on the CPU.",
            brief(devices[-1]),
            "Put the service's user into the groups that own it (ls -l /dev/kfd /dev/dri; usermod -aG render,video "
            "ollama), let the unit have it (DeviceAllow=), and restart it.",
        )
    files = [line for line in denied if not _DEVICE.search(line)]
    read_only = [line for line in files if _READ_ONLY.search(line)]
    if read_only:
        yield Finding(
            STOPPED,
            PROBLEM,
            "The server may not write into its model store or home, which is read-only for it.",
            brief(read_only[-1]),
            "Name the folder in ollama_models_path and run site.yml: the unit lets the server write there and nowhere "
            "else (ProtectSystem=, ReadWritePaths=). Where its file system is mounted read-only, mount it for writing.",
        )
    lines = [line for line in files if not _READ_ONLY.search(line)]
    if lines:
        yield Finding(
            STOPPED,
            PROBLEM,
            "The server may not use its model store or home.",
            brief(lines[-1]),
            "Give the folder to the service's user (chown -R ollama: FOLDER) and let it pass the folders above; "
            "site.yml does so for ollama_models_path.",
        )


def runner_ended(seen: Evidence) -> Iterator[Finding]:
    """A model's process ended by itself; being killed is for memory.killed() to tell."""
    lines = [line.text for line in seen.journal if _ENDED.search(line.text) and "signal: killed" not in line.text]
    if lines:
        yield Finding(
            STOPPED,
            PROBLEM,
            f"The process of a model ended unexpectedly ({times(len(lines))}).",
            brief(lines[-1]),
            f"Look at what the journal says just before (journalctl -u {seen.unit.name}); try another release.",
        )


def disk_full(seen: Evidence) -> Iterator[Finding]:
    """Hardly any room is left for models."""
    if seen.disk_size and seen.disk_free < max(DISK_FREE, min(DISK_FREE_SHARE * seen.disk_size, DISK_ENOUGH)):
        yield Finding(
            STOPPED,
            WARNING,
            "The file system of the model store is nearly full, so that pulling a model may fail.",
            f"{seen.store}: {mib(seen.disk_free)} of {mib(seen.disk_size)} are free",
            "Remove models that nobody needs (ollama rm NAME), make room, or set ollama_models_path to a larger file "
            "system and run site.yml.",
        )


def truncated(seen: Evidence) -> Iterator[Finding]:
    """Prompts that are longer than the context: the server drops what is too much and answers the rest."""
    lines = seen.current if seen.unit.running else ()
    found = [match for match in (_TRUNCATED.search(line.text) for line in lines) if match]
    if found:
        longest = max(found, key=lambda match: int(match[2]))
        yield Finding(
            STOPPED,
            WARNING,
            f"The server cut a prompt that was too long for the context, {times(len(found))}.",
            f"the longest has {longest[2]} tokens, of which {longest[1]} were kept: {brief(longest.string)}",
            "Give the model a longer context (OLLAMA_CONTEXT_LENGTH in ollama_environment, or its parameter num_ctx) "
            "and run site.yml, or have clients send shorter prompts.",
        )


def no_answer(seen: Evidence) -> Iterator[Finding]:
    """The unit is up and the server does not answer."""
    if seen.unit.running and seen.api_problem:
        yield Finding(
            STOPPED,
            PROBLEM,
            f"{seen.unit.name} runs but does not answer.",
            brief(seen.api_problem),
            "Check that OLLAMA_HOST is the address that was asked; else look at the journal and restart it.",
        )


def _since_start(seen: Evidence) -> tuple[journal.Line, ...]:
    """What was logged after the last successful start: trouble before that is over."""
    return seen.journal[journal.last_listening(seen.journal) :]


DETECTORS = (unit_down, not_at_boot, restarts, port_taken, no_permission, runner_ended, disk_full, truncated, no_answer)
