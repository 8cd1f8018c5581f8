# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Detectors of "setting had no effect": what was configured is not what the process runs with."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.llmops.ollama.plugins.module_utils.doctor.evidence import Evidence, Setting, UnitFile
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.finding import (
    PROBLEM,
    SETTING,
    WARNING,
    Finding,
    brief,
)
from ansible_collections.llmops.ollama.plugins.module_utils.engine import VARIABLES, unusable, variable_problem
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.unit import TUNED
from ansible_collections.llmops.ollama.plugins.module_utils.loaded_model import same_model
from ansible_collections.llmops.ollama.plugins.module_utils.model_lock import LOCK_REMEDY
from ansible_collections.llmops.ollama.plugins.module_utils.systemd import is_own_drop_in

# What is in the same second may have been written before the start.
CLOCK_SLACK = 1.0

NOT_IN_A_FILE = (
    "No file of the unit sets it: restart the service; if it is there again, look at systemctl show-environment."
)
# What is set by another variable of the role than ollama_environment, in the unit itself.
OF_THE_ROLE = {"OLLAMA_HOST": "ollama_host", "OLLAMA_MODELS": "ollama_models_path"}
RESTART = "systemctl daemon-reload && systemctl restart"
# The words differ between releases of systemd; that it goes on without the line is in all of them.
_IGNORED = re.compile(r"(/[^:]+):(\d+): (.*\bignoring\b.*)", re.IGNORECASE)
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS")


def not_in_process(seen: Evidence) -> Iterator[Finding]:
    """A wanted variable that the process lacks or has with another value."""
    # Where the models do not fit, nobody writes what is wanted: do_not_fit() names the reason.
    if seen.environment is None or seen.refused:
        return
    for name, value in sorted(seen.wanted.items()):
        has = seen.environment.get(name)
        if has == value:
            continue
        last = _last(seen, name)
        if last and last.value == has and _sets(seen, name, value):
            continue  # overridden() names the file
        if name in seen.taken_back and has is None:
            remedy = f'Remove the line "Environment=" from it, then: {RESTART} {seen.unit.name}.'
            where = f"; {seen.taken_back[name]} takes back all variables before it (Environment=)"
        elif last and last.value == value:
            remedy = f"Restart it: {RESTART} {seen.unit.name}."
            where = f"; {last.file} sets it, the process is older"
        else:
            remedy = "Run site.yml (playbooks/site.yml): it writes the values and restarts the service once."
            where = f"; {last.file} sets {last.value!r}" if last else "; no file of the unit sets it"
        actual = "not set" if has is None else repr(has)
        yield Finding(
            SETTING,
            PROBLEM,
            f"The running server does not have {name}={value}.",
            f"process {seen.unit.main_pid}: {name} is {actual}{where}",
            remedy,
        )


def overridden(seen: Evidence) -> Iterator[Finding]:
    """A drop-in's variable that a later file sets otherwise. One drop-in over the unit itself is what they are for."""
    main = {file.path for file in seen.files if file.main}
    # Of other variables we know nothing, and some hold passwords.
    judged = {setting.name for setting in seen.settings if setting.name in VARIABLES or setting.name in seen.wanted}
    for name in sorted(judged):
        last = _last(seen, name)
        lost = [each for each in seen.settings if each.name == name and last and each.value != last.value]
        wanted, variable = seen.wanted.get(name), OF_THE_ROLE.get(name)
        if not last or not lost or last.value == wanted:
            continue
        if wanted is None and not variable and lost[-1].file in main:
            continue
        is_read = seen.environment is None or seen.environment.get(name) == last.value
        counts = "counts" if is_read else "will count from the next start"
        yield Finding(
            SETTING,
            WARNING if wanted is None else PROBLEM,
            f"{last.file} overrides {name}: {last.value} {counts}, not {lost[-1].value}.",
            f"{lost[-1].file}: {name}={lost[-1].value}; read later, {last.file}: {name}={last.value}",
            f"Remove {name} from {last.file}, and set {variable} to what is meant; then run site.yml."
            if variable
            else f"Remove {name} from {last.file}, or set it in ollama_environment; then run site.yml.",
        )


def ignored(seen: Evidence) -> Iterator[Finding]:
    """Lines of the unit's files that systemd said it ignores as it read the files that are there now."""
    said: dict[UnitFile, dict[str, str]] = {}
    files = {file.path: file for file in seen.files}
    for line in seen.journal:
        found = _IGNORED.fullmatch(line.text)
        file = files.get(found[1]) if found else None
        if found and file and line.time >= file.changed:
            said.setdefault(file, {})[found[2]] = found[3]  # at each reload once more
    for file, lines in said.items():
        shown = {number: words.partition(":")[0] if _SECRET.search(words) else words for number, words in lines.items()}
        yield Finding(
            SETTING,
            # The unit may be written for releases of systemd that know more.
            WARNING if file.main else PROBLEM,
            f"systemd ignores {'lines' if len(lines) > 1 else 'line'} {', '.join(lines)} of {file.path}.",
            "; ".join(brief(f"{file.path}:{number}: {words}") for number, words in shown.items()),
            f'Correct what is ignored (a variable is set in [Service] by Environment="NAME=value"), then: {RESTART} '
            f"{seen.unit.name}.",
        )


def read_by_nobody(seen: Evidence) -> Iterator[Finding]:
    """A variable that is dead, misspelt or for another engine, in the process or in the unit's files."""
    places = dict.fromkeys(seen.has, f"process {seen.unit.main_pid}")
    places.update({setting.name: setting.file for setting in seen.settings})
    values = {**seen.has, **{setting.name: setting.value for setting in seen.settings}}
    for name in sorted(places):
        problem = variable_problem(name, seen.engine, values)
        if problem:
            what, _, hint = problem.partition(". ")
            last = _last(seen, name)
            take = f"Take it out of {last.file}." if last else NOT_IN_A_FILE
            if last and last.file.endswith(f"/{TUNED}"):
                take = "Take it out of ollama_environment and run site.yml."
            value = "(not shown)" if _SECRET.search(name) else values[name]
            yield Finding(
                SETTING,
                PROBLEM,
                f"{what.rstrip('.')}.",
                f"{places[name]}: {name}={value}",
                f"{hint} {take}".strip(),
            )


def cannot_be_used(seen: Evidence) -> Iterator[Finding]:
    """A value that the server silently replaces, or that stops its models from being loaded."""
    for name, value in sorted(seen.has.items()):
        wrong = unusable(name, value, seen.engine)
        if wrong:
            said = [line.text for line in seen.current if "invalid environment variable" in line.text]
            line = next((text for text in said if f"key={name} " in text), "")
            yield Finding(
                SETTING,
                PROBLEM,
                f"{name}={value} cannot be used: {wrong[0]}.",
                brief(line) or f"process {seen.unit.main_pid}: {name}={value}",
                wrong[1],
            )


def drifted_from_lock(seen: Evidence) -> Iterator[Finding]:
    """A model that is not the one that the lock pins."""
    for drift in seen.drifted:
        evidence = f"installed: {drift.has or 'no'}; pinned: {drift.pinned}"
        yield Finding(SETTING, PROBLEM, f"{drift}.", evidence, LOCK_REMEDY)


def cannot_be_read(seen: Evidence) -> Iterator[Finding]:
    """A model that is installed and of which the server cannot tell what it is made of."""
    for name, said in seen.unread.items():
        remedy = f"Have it made anew: ollama rm {name}, then site.yml."
        yield Finding(SETTING, PROBLEM, f"The server cannot read its model {name}.", brief(said), remedy)


def not_installed(seen: Evidence) -> Iterator[Finding]:
    """A model that the host shall have and that its server does not list."""
    if seen.api_problem or seen.refused:  # what does not fit, site.yml does not provide
        return
    have = [name for name, _ in seen.installed]
    # drifted_from_lock() names these.
    have += [drift.name for drift in seen.drifted if not drift.has]
    for name in seen.declared:
        if not any(same_model(name, other) for other in have):
            yield Finding(
                SETTING,
                PROBLEM,
                f"{name} is declared, and the server does not have it.",
                f"/api/tags lists {', '.join(other for other, _ in seen.installed) or 'no model'}",
                "Run site.yml (--tags models is enough): it provides the models. If it did so before, see whether "
                "OLLAMA_MODELS of the process is the store that ollama_models_path names.",
            )


def needs_reload(seen: Evidence) -> Iterator[Finding]:
    """Files that systemd has not read."""
    unread = ", ".join(file.path for file in seen.files if file.unread)
    # Of a masked unit systemd reads no file, however often it is told to.
    if seen.unit.load_state == "loaded" and (seen.unit.need_daemon_reload or unread):
        yield Finding(
            SETTING,
            PROBLEM,
            f"The files of {seen.unit.name} were changed without telling systemd.",
            f"systemctl show: NeedDaemonReload={'yes' if seen.unit.need_daemon_reload else 'no'}"
            + (f"; not read yet: {unread}" if unread else ""),
            f"Run {RESTART} {seen.unit.name}.",
        )


def older_than_its_files(seen: Evidence) -> Iterator[Finding]:
    """A process that was started before its unit's files were written."""
    if not seen.unit.running or not seen.unit.started:
        return
    newer = [
        file
        for file in seen.files
        if not file.unread
        and (file.main or file.variables or is_own_drop_in(file.path, seen.unit.name))
        and seen.unit.started + CLOCK_SLACK < file.changed <= seen.now
    ]
    if newer:
        newest = max(newer, key=lambda file: file.changed)
        yield Finding(
            SETTING,
            WARNING,
            f"The server was started before {newest.path} was changed, so it does not know what that says.",
            f"process {seen.unit.main_pid} is {newest.changed - seen.unit.started:.0f} s older than {newest.path}",
            f"Restart it: {RESTART} {seen.unit.name}.",
        )


def too_old_for_parallel(seen: Evidence) -> Iterator[Finding]:
    """A release that answers one request at a time whatever it is told."""
    if not seen.engine.knows_parallel:
        yield Finding(
            SETTING,
            PROBLEM,
            f"{seen.engine} does not know OLLAMA_NUM_PARALLEL and answers one request at a time.",
            f"version {seen.version or seen.engine}",
            "Set ollama_version to a current release and run site.yml.",
        )


def fewer_slots(seen: Evidence) -> Iterator[Finding]:
    """A model that was loaded with fewer slots than the process was told to use; by its kind, or for no good reason."""
    last = {load.model: load for load in seen.loads if load.parallel}
    # Up to 0.24 no log tells which models only embed.
    unsure = not seen.engine.runs_llama_server
    found = [
        (load.label, load.parallel, load.has_one_slot or (unsure and load.parallel == 1), load.line[-250:])
        for load in last.values()
    ]
    # The log of a load may be older than what the journal still has.
    for runner in seen.runners:
        slots = runner.option("-np")
        if slots and (runner.model not in last if runner.model else not last):
            command = " ".join(runner.command)
            # Of one slot only the log would tell whether the server gives the model no more.
            found.append((runner.model[:19] or "A model", slots, slots == 1, command[-250:]))
    for label, slots, has_one_slot, evidence in found:
        if slots < seen.parallel:
            yield Finding(
                SETTING,
                WARNING if has_one_slot else PROBLEM,
                f"{label} answers {slots} at a time, though OLLAMA_NUM_PARALLEL is {seen.parallel}.",
                brief(evidence),
                "The server forces embedding models and some families (mllama, qwen3vl, qwen35, qwen3next, lfm2, "
                "nemotron_h) to one at a time: put more hosts behind the gateway for it, or use another model.",
            )


def _last(seen: Evidence, name: str) -> Setting | None:
    return next((setting for setting in reversed(seen.settings) if setting.name == name), None)


def _sets(seen: Evidence, name: str, value: str) -> bool:
    return any(setting.name == name and setting.value == value for setting in seen.settings)


DETECTORS = (
    overridden,
    ignored,
    not_in_process,
    read_by_nobody,
    cannot_be_used,
    drifted_from_lock,
    cannot_be_read,
    not_installed,
    needs_reload,
    older_than_its_files,
    too_old_for_parallel,
    fewer_slots,
)
