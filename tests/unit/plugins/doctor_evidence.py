# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A healthy host's evidence, and journals of real servers (fixtures/journals)."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.llmops.ollama.plugins.module_utils.doctor.evidence import (
    Evidence,
    Loaded,
    Runner,
    Sample,
    Setting,
    UnitFile,
)
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.journal import Line, parse_journal
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import Hardware
from ansible_collections.llmops.ollama.plugins.module_utils.systemd import Unit

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"

GIB = 1 << 30
MIB = 1 << 20
STARTED = 1_795_633_000.0
UNIT = "/etc/systemd/system/ollama.service"
TUNING = "/etc/systemd/system/ollama.service.d/50-tuning.conf"
LOCAL = "/etc/systemd/system/ollama.service.d/60-local.conf"

RUNNING = Unit(
    "ollama.service", "loaded", "active", "running", "enabled", main_pid=402, started=STARTED, changed=STARTED
)
WANTED = {"OLLAMA_NUM_PARALLEL": "2", "LLAMA_ARG_THREADS": "4", "LLAMA_ARG_CACHE_RAM": "512"}
HAS = {**WANTED, "HOME": "/var/lib/ollama", "OLLAMA_KEEP_ALIVE": "24h"}


def read(name: str) -> tuple[Line, ...]:
    """A recorded journal, in the form of ``journalctl --output=short-unix``."""
    return parse_journal((FIXTURES / "journals" / name).read_text(encoding="utf-8"))


def said(*texts: str, time: float = STARTED + 60) -> tuple[Line, ...]:
    return tuple(Line(time, text) for text in texts)


HEALTHY = Evidence(
    unit=RUNNING,
    now=STARTED + 3600,
    wanted=WANTED,
    environment=HAS,
    settings=tuple(Setting(TUNING, name, value) for name, value in WANTED.items()),
    files=(UnitFile(UNIT, STARTED - 20, main=True), UnitFile(TUNING, STARTED - 10)),
    journal=said('time=x level=INFO msg="Listening on 127.0.0.1:11434 (version 0.34.0)"', time=STARTED + 1),
    version="0.34.0",
    loaded=(Loaded("gemma3:270m", "Q4_K_M", 300 * MIB, 0),),
    installed=(("gemma3:270m", "Q4_K_M"),),
    runners=(Runner(450, ("llama-server", "-c", "8192", "-np", "2"), HAS, 400 * MIB),),
    service_rss=430 * MIB,
    hardware=Hardware(8, 4, 4, 8, 4, 4, memory_mb=16384),
    memory_free=12 * GIB,
    memory_limit=16 * GIB,
    load_average=1.0,
    before=Sample("/sys/fs/cgroup/system.slice/ollama.service", 0, 10, 0, "/sys/fs/cgroup", 0, 0, 0, 100, 5),
    after=Sample("/sys/fs/cgroup/system.slice/ollama.service", 0, 10, 0, "/sys/fs/cgroup", 10, 0, 0, 900, 5),
    seconds=1.0,
    predicted_mb=900,
    declared=("gemma3:270m",),
    limits=(Setting(TUNING, "MemoryMax", "3584M"),),
    store="/var/lib/ollama/models",
    disk_free=40 * GIB,
    disk_size=100 * GIB,
)
