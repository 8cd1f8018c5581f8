# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a search found, kept on the host as a custom fact: the settings, what they hold for, and the evidence.

The settings hold as long as the hardware, the engine and the model are those that were measured. The fact is read where
a host is tuned, before anything is installed there: this file imports nothing that needs a library.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import Hardware
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.files import Files
from ansible_collections.llmops.ollama.plugins.module_utils.words import from_json

PATH = "/etc/ansible/facts.d/ollama_tuning.fact"
SCHEMA = 1
RE_TUNE = "Run llmops.ollama.autotune again."
# A memory that differs by less is the same: kernels and firmware take a little more or less of it.
SAME_MEMORY = 0.02


@dataclass(frozen=True)
class Fingerprint:
    """What a result holds for. ``model`` is a name, ``weights`` the name of its file in a store (sha256-...).

    ``hardware`` has what the tuning looks at. ``digest`` is that of the model's manifest, ``workload`` what was asked.
    """

    hardware: dict[str, Any]
    engine_version: str
    model: str
    weights: str
    digest: str = ""
    workload: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """The settings that a search adopted; None where it had no choice.

    ``reason`` is a sentence with its numbers, ``date`` when that was (ISO 8601).
    """

    parallel: int
    threads: int
    kv_type: str | None
    batch: int | None
    reason: str
    date: str


@dataclass(frozen=True)
class Record:
    """The content of the fact. ``evidence`` is for people and reports."""

    fingerprint: Fingerprint
    measured: Measured
    evidence: dict[str, Any] = field(default_factory=dict)

    def to_text(self) -> str:
        """The file."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1, sort_keys=True) + "\n"

    @classmethod
    def parse(cls, text: str) -> Record:
        """Read the file. Raises ``InvalidInput``."""
        try:
            value = from_json(text)
            if value["schema"] != SCHEMA:
                raise InvalidInput(f"{PATH} has schema {value['schema']}, and {SCHEMA} is known.", RE_TUNE)
            return cls(Fingerprint(**value["fingerprint"]), Measured(**value["measured"]), value["evidence"])
        except (ValueError, TypeError, KeyError) as error:
            raise InvalidInput(f"{PATH} is not what llmops.ollama.autotune writes ({error}).", RE_TUNE) from None

    def stale(self, now: Fingerprint) -> list[str]:
        """What is not any more as it was when this was measured, in words; whoever asks need not know the workload."""
        before = self.fingerprint
        changed = [
            f"{name} was {before.hardware.get(name)} and is {value}"
            for name, value in now.hardware.items()
            if not _same(name, before.hardware.get(name), value)
        ]
        if now.engine_version and before.engine_version != now.engine_version:
            changed.append(f"the engine was {before.engine_version} and is {now.engine_version}")
        if before.weights and now.weights and before.weights != now.weights:
            changed.append(f"the weights of {before.model} are others")
        if now.workload and before.workload != now.workload:
            changed.append("another workload is asked for")
        return changed


def of_hardware(hardware: Hardware) -> dict[str, Any]:
    """What of a host a measurement depends on: what does not change by itself."""
    return {
        "architecture": hardware.architecture,
        "cpu_model": hardware.cpu_model,
        "cpu_quota": hardware.cpu_quota,
        "usable_cpus": hardware.usable_cpus,
        "usable_cores": hardware.usable_cores,
        "physical_cores": hardware.physical_cores,
        "memory_mb": hardware.usable_memory_mb,
        "gpus": [f"{gpu.vendor} {gpu.name} {gpu.memory_mb}" for gpu in hardware.gpus],
    }


def kept(files: Files) -> Record | None:
    """What the host has kept; None without anything, and where it cannot be read."""
    try:
        return Record.parse(files.read(PATH))
    except InvalidInput:
        return None


def valid(
    files: Files, hardware: Hardware, engine: str | None, weights: Mapping[str, str]
) -> tuple[Measured | None, list[str]]:
    """The measured settings of this host where they hold, and warnings where they do not.

    ``engine`` is the version that the host shall have, ``weights`` those of its models by their names, empty where they
    are not known.
    """
    text = files.read(PATH)
    if not text:
        return None, []
    try:
        record = Record.parse(text)
    except InvalidInput as error:
        return None, [str(error)]
    model = record.fingerprint.model
    changed = (
        record.stale(Fingerprint(of_hardware(hardware), engine or "", model, weights[model]))
        if model in weights
        else [f"{model} is not among the models"]
    )
    if changed:
        date = record.measured.date[:10]
        return None, [f"The settings measured on {date} are stale, re-tune: {'; '.join(changed)}. {RE_TUNE}"]
    return record.measured, []


def _same(name: str, before: Any, now: Any) -> bool:
    if name == "memory_mb" and isinstance(before, (int, float)):
        return bool(abs(before - now) <= SAME_MEMORY * max(before, now))
    return bool(before == now)
