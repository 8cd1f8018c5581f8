# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every detector: what must make it speak, with the words that a person needs, and what must not."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.doctor import memory, running, settings, speed
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.diagnosis import (
    DETECTORS,
    checked,
    diagnose,
    healthy,
)
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.evidence import (
    Evidence,
    FailedCheck,
    Loaded,
    Process,
    Runner,
    Setting,
    UnitFile,
)
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.finding import (
    MEMORY,
    PROBLEM,
    SETTING,
    SEVERITIES,
    SLOW,
    STOPPED,
    SYMPTOMS,
    WARNING,
    Finding,
)
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.journal import Line
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.proof import Detector
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import Gpu
from ansible_collections.llmops.ollama.plugins.module_utils.model_lock import Drift
from ansible_collections.llmops.ollama.plugins.module_utils.systemd import Unit, parse_unit
from doctor_evidence import (
    FIXTURES,
    GIB,
    HAS,
    HEALTHY,
    LOCAL,
    MIB,
    RUNNING,
    STARTED,
    TUNING,
    UNIT,
    WANTED,
    read,
    said,
)

Changes = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """What differs from the healthy host, and what is then found: symptom, severity, words in the finding."""

    detector: Detector
    changes: Changes
    symptom: str
    severity: str
    words: tuple[str, ...]
    silent: tuple[Changes, ...] = field(default=({},))  # what must yield nothing


def has(**changes: str) -> dict[str, str]:
    return {**HAS, **changes}


def unit(name: str) -> Unit:
    return parse_unit((FIXTURES / "systemd/252" / name).read_text(encoding="utf-8"))


def after(**changes: Any) -> Changes:
    return {"after": replace(HEALTHY.after, **changes)}


def hardware(**changes: Any) -> Changes:
    assert HEALTHY.hardware
    return {"hardware": HEALTHY.hardware._replace(**changes)}


TIGHT: Changes = {"memory_free": 500 * MIB, "memory_limit": 16 * GIB}
# As a plan leaves it that takes all of the budget but for its margin.
FULL: Changes = {"memory_free": 340 * MIB, "memory_limit": 7168 * MIB}
F16 = (Loaded("gemma3:270m-it-fp16", "F16", 600 * MIB, 0),)
GPU = Gpu("nvidia", "NVIDIA L4", 24576)
DOWN: Changes = {"environment": None, "runners": (), "loaded": (), "version": "", "api_problem": "refused"}
OVERRIDE = (*HEALTHY.settings, Setting(LOCAL, "OLLAMA_NUM_PARALLEL", "1"))
# A real load by 0.34 of a model whose family is forced to one slot differs in this number only.
ONE_SLOT = tuple(
    replace(line, text=line.text.replace("-c 4096 -np 2", "-c 2048 -np 1")) for line in read("0.34.0-reloads.txt")
)
EMBEDS = tuple(replace(line, text=line.text.replace("-np 1 ", "-np 1 --embedding ")) for line in ONE_SLOT)
BY_FAMILY = tuple(replace(line, text=line.text.replace("= gemma3", "= qwen3vl")) for line in ONE_SLOT)
BY_SIGNAL = said('level=WARN msg="llama-server process no longer running" sys=9 string="signal: killed"')
SLOW_STOP = said(
    "ollama.service: State 'stop-sigterm' timed out. Killing.",
    "ollama.service: Killing process 402 (ollama) with signal SIGKILL.",
    "ollama.service: Main process exited, code=killed, status=9/KILL",
)
BROKE_OFF = said(
    'level=ERROR source=llama_server.go:1643 msg="llama-server completion error" '
    r'error="Post \"http://127.0.0.1:41771/completion\": EOF"'
)
# In the words of systemd 252's src/core/service.c and of Linux's mm/oom_kill.c.
OOM_UNIT = said("ollama.service: A process of this unit has been killed by the OOM killer.")
OOM_KERNEL = said(
    "Memory cgroup out of memory: Killed process 450 (llama-server) total-vm:4194304kB, anon-rss:3145728kB"
)
NOT_ALLOCATED = said("ggml_backend_cuda_buffer_type_alloc_buffer: cudaMalloc failed: out of memory")
STARTS = said('msg="starting llama-server" cmd="/x/llama-server --model /m/blobs/sha256-12 --port 41771 -c 4096"')
CAME_UP = said('level=INFO source=llama_server.go:1362 msg="llama-server started in 3.20 seconds"')
OLD_SLOT = tuple(
    replace(line, text=line.text.replace("Parallel:2", "Parallel:1")) for line in read("0.24.0-reloads.txt")
)


GROUP_KILL = said(
    "Tasks in /kubepods/pod1 are going to be killed due to memory.oom.group set",
    "Memory cgroup out of memory: Killed process 451 (ollama) total-vm:4194304kB",
)


def killed_in(group: str) -> tuple[Line, ...]:
    """What the kernel says when a process of a control group was killed."""
    choice = (
        f"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg={group},"
        f"task_memcg={group},task=llama-server,pid=450,uid=0"
    )
    return (*said(choice), *OOM_KERNEL)


IGNORED = said(f"{LOCAL}:3: Unknown key 'Enviroment' in section [Service], ignoring.")
# In the words of systemd 252, where a file that variables come from is not there.
NO_FILE = said(
    "ollama.service: Failed to load environment files: No such file or directory",
    "ollama.service: Failed to run 'start' task: No such file or directory",
    "ollama.service: Failed with result 'resources'.",
    "Failed to start ollama.service - Ollama LLM service.",
)
TRUNCATED = said(
    'level=WARN source=llama_server.go:317 msg="truncating input prompt" limit=2051 prompt=9002 keep=5 new=2051',
    'level=WARN source=llama_server.go:317 msg="truncating input prompt" limit=2051 prompt=6002 keep=5 new=2051',
)
LIMITS = (Setting(TUNING, "MemoryHigh", "3072M"), Setting(TUNING, "MemoryMax", "3584M"))
LONG_AGO: Changes = {
    "before": replace(HEALTHY.before, oom_kills=1, memory_group="/sys/fs/cgroup/memory"),
    "after": replace(HEALTHY.after, oom_kills=1, memory_group="/sys/fs/cgroup/memory"),
}
REFUSED = "The models do not fit: m:70b would take up to 40000 MiB. Choose a smaller model."

CASES = [
    Case(
        settings.not_in_process,
        {"environment": {"OLLAMA_NUM_PARALLEL": "2", "LLAMA_ARG_THREADS": "4"}},
        SETTING,
        PROBLEM,
        ("LLAMA_ARG_CACHE_RAM=512", "process 402: LLAMA_ARG_CACHE_RAM is not set", TUNING, "restart ollama.service"),
        ({}, {"environment": None}),
    ),
    Case(
        settings.not_in_process,
        {
            "environment": {"OLLAMA_NUM_PARALLEL": "2", "LLAMA_ARG_THREADS": "4"},
            "settings": (),
            "taken_back": {"LLAMA_ARG_CACHE_RAM": LOCAL},
        },
        SETTING,
        PROBLEM,
        (f"{LOCAL} takes back all variables before it (Environment=)", 'Remove the line "Environment=" from it'),
    ),
    Case(
        settings.not_in_process,
        {"environment": has(OLLAMA_NUM_PARALLEL="1"), "settings": ()},
        SETTING,
        PROBLEM,
        ("OLLAMA_NUM_PARALLEL is '1'", "no file of the unit sets it", "site.yml"),
        # The file that has the last word is named by overridden(); and what cannot fit nobody writes.
        (
            {"environment": has(OLLAMA_NUM_PARALLEL="1"), "settings": OVERRIDE},
            {"environment": has(OLLAMA_NUM_PARALLEL="1"), "settings": (), "refused": REFUSED},
        ),
    ),
    Case(
        settings.overridden,
        {"settings": OVERRIDE},
        SETTING,
        PROBLEM,
        (
            f"{LOCAL} overrides OLLAMA_NUM_PARALLEL: 1 will count from the next start, not 2.",
            f"Remove OLLAMA_NUM_PARALLEL from {LOCAL}",
        ),
        # What is wanted wins; a drop-in that changes what the unit itself says is what drop-ins are for.
        (
            {},
            {"settings": (Setting(UNIT, "OLLAMA_NUM_PARALLEL", "1"), *HEALTHY.settings)},
            {
                "settings": (
                    Setting(TUNING, "HTTPS_PROXY", "http://a:secret@proxy"),
                    Setting(LOCAL, "HTTPS_PROXY", "http://b:secret@proxy"),
                    Setting(UNIT, "OLLAMA_DEBUG", "0"),
                    Setting(LOCAL, "OLLAMA_DEBUG", "1"),
                )
            },
        ),
    ),
    # What the role sets in the unit itself no drop-in is for.
    Case(
        settings.overridden,
        {
            "settings": (Setting(UNIT, "OLLAMA_HOST", "127.0.0.1"), Setting(LOCAL, "OLLAMA_HOST", "127.0.0.1:9")),
            "environment": has(OLLAMA_HOST="127.0.0.1:9"),
        },
        SETTING,
        WARNING,
        ("127.0.0.1:9 counts, not 127.0.0.1.", f"Remove OLLAMA_HOST from {LOCAL}, and set ollama_host to"),
    ),
    Case(
        settings.overridden,
        {"settings": (Setting(UNIT, "OLLAMA_MODELS", "/a"), Setting(LOCAL, "OLLAMA_MODELS", "/b"))},
        SETTING,
        WARNING,
        ("set ollama_models_path to",),
    ),
    Case(
        settings.ignored,
        {"files": (*HEALTHY.files, UnitFile(LOCAL, STARTED + 50)), "journal": IGNORED},
        SETTING,
        PROBLEM,
        (
            f"systemd ignores line 3 of {LOCAL}.",
            f"{LOCAL}:3: Unknown key 'Enviroment' in section [Service], ignoring.",
            "restart ollama.service",
        ),
        (
            {},
            {"journal": IGNORED},  # the file is gone
            {"files": (UnitFile(LOCAL, STARTED + 61),), "journal": IGNORED},  # it is another one now
        ),
    ),
    Case(
        settings.ignored,
        {
            "files": (UnitFile(LOCAL, STARTED),),
            "journal": (
                *IGNORED,
                *IGNORED,
                *said(f"{LOCAL}:7: Invalid environment assignment, ignoring: MY_PASSWORD = hunter2"),
            ),
        },
        SETTING,
        PROBLEM,
        ("ignores lines 3, 7 of", f"; {LOCAL}:7: Invalid environment assignment, ignoring do"),
    ),
    # A directive that an older systemd does not know yet.
    Case(
        settings.ignored,
        {"journal": said(f"{UNIT}:30: Unknown key name 'ProtectClock' in section 'Service', ignoring.")},
        SETTING,
        WARNING,
        (f"systemd ignores line 30 of {UNIT}.",),
    ),
    Case(
        settings.overridden,
        {
            "settings": (Setting(TUNING, "OLLAMA_DEBUG", "0"), Setting(LOCAL, "OLLAMA_DEBUG", "1")),
            "environment": has(OLLAMA_DEBUG="1"),
        },
        SETTING,
        WARNING,
        (f"{LOCAL} overrides OLLAMA_DEBUG: 1 counts, not 0.",),
    ),
    Case(
        settings.read_by_nobody,
        {
            "environment": has(OLLAMA_NUM_PARALEL="4"),
            "settings": (*HEALTHY.settings, Setting(LOCAL, "OLLAMA_NUM_PARALEL", "4")),
        },
        SETTING,
        PROBLEM,
        ("OLLAMA_NUM_PARALEL", f"{LOCAL}: OLLAMA_NUM_PARALEL=4", "Did you mean OLLAMA_NUM_PARALLEL?"),
        ({}, {"environment": has(PATH="/usr/bin", OLLAMA_DEBUG="1")}),
    ),
    Case(
        settings.read_by_nobody,
        {"environment": has(OLLAMA_API_KEY="hunter2")},
        SETTING,
        PROBLEM,
        ("process 402: OLLAMA_API_KEY=(not shown)", "No file of the unit sets it"),
    ),
    Case(
        settings.read_by_nobody,
        {"environment": has(OLLAMA_NUM_GPU="0")},
        SETTING,
        PROBLEM,
        ("OLLAMA_NUM_GPU is read by no current Ollama", "process 402: OLLAMA_NUM_GPU=0", "num_gpu"),
    ),
    # What the role writes it would write again.
    Case(
        settings.read_by_nobody,
        {"settings": (*HEALTHY.settings, Setting(TUNING, "OLLAMA_NUM_PARALEL", "4"))},
        SETTING,
        PROBLEM,
        (f"{TUNING}: OLLAMA_NUM_PARALEL=4", "Take it out of ollama_environment and run site.yml."),
    ),
    Case(
        settings.cannot_be_used,
        {"environment": has(OLLAMA_NUM_PARALLEL="four"), "journal": read("0.34.0-malformed.txt")},
        SETTING,
        PROBLEM,
        ("OLLAMA_NUM_PARALLEL=four", "invalid environment variable, using default", "a whole number, 1 or more"),
        # The server takes white space and quotes off itself, and an empty value is none.
        ({}, {"environment": has(OLLAMA_NUM_PARALLEL=' "4" ', OLLAMA_MAX_QUEUE="")}),
    ),
    Case(
        settings.cannot_be_used,
        {"environment": has(OLLAMA_KEEP_ALIVE="90x")},
        SETTING,
        PROBLEM,
        ("process 402: OLLAMA_KEEP_ALIVE=90x", "a duration such as"),
    ),
    Case(
        settings.cannot_be_used,
        {"environment": has(LLAMA_ARG_THREADS='"2"')},
        SETTING,
        PROBLEM,
        ("llama-server refuses it, so that no model loads", "a whole number"),
    ),
    Case(
        settings.cannot_be_used,
        {"environment": has(OLLAMA_KV_CACHE_TYPE="q8")},
        SETTING,
        PROBLEM,
        ("llama-server refuses it", "one of f16, q8_0, q4_0"),
        ({"environment": has(OLLAMA_KV_CACHE_TYPE="Q8_0")}, {"environment": has(OLLAMA_KV_CACHE_TYPE="q5_1")}),
    ),
    Case(
        settings.cannot_be_used,
        {"environment": has(OLLAMA_KV_CACHE_TYPE="q5_1"), "version": "0.24.0"},
        SETTING,
        PROBLEM,
        ("the server silently replaces it by its default",),
    ),
    Case(
        settings.cannot_be_used,
        {"environment": has(OLLAMA_FLASH_ATTENTION="off")},
        SETTING,
        PROBLEM,
        ("OLLAMA_FLASH_ATTENTION=off cannot be used: the server takes it for true.",),
    ),
    Case(
        settings.drifted_from_lock,
        {"pinned": 2, "drifted": (Drift("gemma3:270m", "a" * 64, "b" * 64),)},
        SETTING,
        PROBLEM,
        (f"gemma3:270m has the digest {'a' * 12} and is pinned to {'b' * 12}", "site.yml"),
        ({}, {"pinned": 2}),
    ),
    Case(
        settings.cannot_be_read,
        {"unread": {"gemma3:270m": "/api/show answered 500: invalid manifest."}},
        SETTING,
        PROBLEM,
        ("cannot read its model gemma3:270m", "invalid manifest", "ollama rm gemma3:270m"),
        ({},),
    ),
    Case(
        settings.not_installed,
        {"declared": ("gemma3:270m", "smollm2:135m")},
        SETTING,
        PROBLEM,
        ("smollm2:135m is declared", "/api/tags lists gemma3:270m", "Run site.yml (--tags models"),
        (
            {},
            {"declared": ("registry.ollama.ai/library/Gemma3:270m",)},
            {"declared": ("smollm2:135m",), "drifted": (Drift("smollm2:135m", "", "b" * 64),)},
            # A server that does not answer lists nothing.
            {"declared": ("smollm2:135m",), "installed": (), "api_problem": "refused"},
        ),
    ),
    Case(
        settings.needs_reload,
        {"files": (*HEALTHY.files, UnitFile(LOCAL, STARTED + 9, unread=True))},
        SETTING,
        PROBLEM,
        ("NeedDaemonReload=no", f"not read yet: {LOCAL}"),
    ),
    Case(
        settings.needs_reload,
        {"unit": unit("need-reload.txt"), "files": (*HEALTHY.files, UnitFile(LOCAL, STARTED + 9, unread=True))},
        SETTING,
        PROBLEM,
        ("NeedDaemonReload=yes", f"not read yet: {LOCAL}", "systemctl daemon-reload"),
        (
            {},
            {"unit": unit("reloaded.txt")},
            {"unit": RUNNING._replace(load_state="masked", need_daemon_reload=True)},
        ),
    ),
    Case(
        settings.older_than_its_files,
        {"files": (*HEALTHY.files, UnitFile(LOCAL, STARTED + 90))},
        SETTING,
        WARNING,
        (LOCAL, "90 s older", "restart ollama.service"),
        (
            {"files": (UnitFile("/etc/default/ollama", STARTED - 90, variables=True),)},
            {},
            {"files": (UnitFile(LOCAL, STARTED + 0.5),)},
            # A clock that was set back.
            {"files": (UnitFile(LOCAL, STARTED + 9000),)},
            {"files": (UnitFile(LOCAL, STARTED + 90, unread=True),)},
            # What systemctl set-property writes takes effect at once.
            {"files": (UnitFile("/etc/systemd/system.control/ollama.service.d/50-MemoryMax.conf", STARTED + 90),)},
        ),
    ),
    Case(
        settings.older_than_its_files,
        {"files": (*HEALTHY.files, UnitFile("/etc/default/ollama", STARTED + 90, variables=True))},
        SETTING,
        WARNING,
        ("before /etc/default/ollama was changed", "restart ollama.service"),
    ),
    Case(
        settings.too_old_for_parallel,
        {"version": "0.1.20"},
        SETTING,
        PROBLEM,
        ("Ollama 0.1.20 does not know OLLAMA_NUM_PARALLEL", "ollama_version"),
        ({}, {"version": "0.24.0"}, {"version": "strange"}),
    ),
    Case(
        settings.fewer_slots,
        {"journal": ONE_SLOT},
        SETTING,
        PROBLEM,
        ("gemma3:270m answers 1 at a time, though OLLAMA_NUM_PARALLEL is 2", "-np 1", "qwen3vl"),
        ({}, {"journal": read("0.34.0-reloads.txt")}, {"journal": read("0.24.0-reloads.txt")}),
    ),
    # What the engine does with every such model is no fault of the host.
    Case(settings.fewer_slots, {"journal": EMBEDS}, SETTING, WARNING, ("answers 1 at a time", "embedding models")),
    Case(settings.fewer_slots, {"journal": BY_FAMILY}, SETTING, WARNING, ("answers 1 at a time", "qwen3vl")),
    # Up to 0.24 the log does not tell that a model of the same architecture as others only embeds.
    Case(settings.fewer_slots, {"journal": OLD_SLOT, "version": "0.24.0"}, SETTING, WARNING, ("answers 1 at a time",)),
    # Of a load that the journal no longer has the command line tells.
    Case(
        settings.fewer_slots,
        {"runners": (Runner(450, ("llama-server", "--model", "/m/blobs/sha256-12", "-np", "1"), HAS),)},
        SETTING,
        WARNING,
        ("sha256-12 answers 1 at a time, though OLLAMA_NUM_PARALLEL is 2", "--model /m/blobs/sha256-12"),
    ),
    Case(
        settings.fewer_slots,
        {"runners": (Runner(450, ("llama-server", "-np", "2"), HAS),), "environment": has(OLLAMA_NUM_PARALLEL="4")},
        SETTING,
        PROBLEM,
        ("A model answers 2 at a time",),
    ),
    Case(
        settings.fewer_slots,
        {"journal": read("0.24.0-reloads.txt"), "environment": has(OLLAMA_NUM_PARALLEL="4")},
        SETTING,
        PROBLEM,
        ("Gemma 3 270m answers 2 at a time", "Parallel:2"),
    ),
    Case(
        memory.refused,
        {"journal": read("0.24.0-memory.txt"), "environment": has(OLLAMA_NUM_PARALLEL="300")},
        MEMORY,
        PROBLEM,
        (
            "model requires more system memory (40.3 GiB) than is available (21.0 GiB), once",
            "Lower OLLAMA_NUM_PARALLEL from 300 to 150",
            "shorten OLLAMA_KEEP_ALIVE from 24h to 5m",
        ),
        ({}, {"journal": read("0.24.0-reloads.txt")}),
    ),
    Case(
        memory.not_allocated,
        {"journal": said("ggml_backend_cuda_buffer_type_alloc_buffer: cudaMalloc failed: out of memory")},
        MEMORY,
        PROBLEM,
        ("cudaMalloc failed",),
        # The last ones are what the engine got over by itself.
        (
            {},
            {"journal": read("0.34.0-reloads.txt")},
            {"journal": (*NOT_ALLOCATED, *CAME_UP)},
            {"journal": (*STARTS, *NOT_ALLOCATED, *STARTS, *CAME_UP)},
        ),
    ),
    Case(
        memory.not_allocated,
        {"journal": (*NOT_ALLOCATED, *read("0.34.0-reloads.txt"))},
        MEMORY,
        PROBLEM,
        ("cudaMalloc failed",),
    ),
    Case(
        memory.killed,
        {"journal": OOM_UNIT, "kernel": OOM_KERNEL, "unit": RUNNING._replace(result="oom-kill"), **after(oom_kills=2)},
        MEMORY,
        PROBLEM,
        ("killed by the OOM killer", "Killed process 450", "Result=oom-kill", "since the group was made: 2"),
        (
            {},
            {"kernel": said("Out of memory: Killed process 77 (java) total-vm:1kB")},
            {"kernel": killed_in("/system.slice/docker-12.scope")},
            {"kernel": (*killed_in("/kubepods/pod1"), *GROUP_KILL)},
            {"journal": ONE_SLOT[:40]},
        ),
    ),
    Case(
        memory.killed,
        {"kernel": killed_in("/system.slice/ollama.service")},
        MEMORY,
        PROBLEM,
        ("Killed process 450 (llama-server)",),
    ),
    Case(
        memory.killed,
        after(oom_kills=1),
        MEMORY,
        PROBLEM,
        ("ollama.service/: processes killed",),
        # Nothing tells when that was.
        ({**after(oom_kills=1), "before": replace(HEALTHY.before, oom_kills=1)},),
    ),
    Case(
        memory.killed,
        {"journal": read("0.24.0-reloads.txt")},
        MEMORY,
        WARNING,
        ("signal: killed", "If nobody did it by hand"),
        ({}, {"journal": SLOW_STOP}),
    ),
    # As a container shows it that shares one group with all its processes.
    Case(
        memory.killed,
        after(oom_kills=1, memory_group="/sys/fs/cgroup/memory"),
        MEMORY,
        WARNING,
        ("another process", "/sys/fs/cgroup/memory/"),
        ({**LONG_AGO},),
    ),
    Case(
        memory.killed,
        {**LONG_AGO, "kernel": said("Out of memory: Killed process 77 (java) total-vm:1kB")},
        MEMORY,
        WARNING,
        ("another process", "/sys/fs/cgroup/memory/"),
    ),
    Case(
        memory.killed,
        {"journal": BY_SIGNAL, **after(oom_kills=1, memory_group="/sys/fs/cgroup/memory")},
        MEMORY,
        PROBLEM,
        ("signal: killed", "/sys/fs/cgroup/memory/"),
    ),
    # A runner of 0.34 that was killed during a request, and one that was killed after its client had gone.
    Case(
        memory.killed,
        {"journal": BROKE_OFF, **after(oom_kills=1, memory_group="/sys/fs/cgroup/memory")},
        MEMORY,
        PROBLEM,
        ("completion error", "EOF", "/sys/fs/cgroup/memory/"),
        # By itself it may as well be a crash.
        ({"journal": BROKE_OFF}, {"runners": ()}),
    ),
    Case(
        memory.killed,
        {"runners": (), **after(oom_kills=1, memory_group="/sys/fs/cgroup/memory")},
        MEMORY,
        PROBLEM,
        ("/api/ps lists gemma3:270m, but no process runs it", "/sys/fs/cgroup/memory/"),
    ),
    Case(
        memory.at_the_limit,
        {**TIGHT, **after(limit_hits=60)},
        MEMORY,
        PROBLEM,
        ("500 MiB of 16.0 GiB left", "60 times in all and 50 times in 1 s", "(MemoryMax=, MemoryHigh= or"),
        # Reading model files fills the page cache up to the limit, which hurts nobody.
        ({}, after(limit_hits=10), {**FULL, **after(limit_hits=10)}),
    ),
    Case(
        memory.at_the_limit,
        {**after(high_hits=3), "limits": (*LIMITS, Setting(LOCAL, "MemoryHigh", "500M"))},
        MEMORY,
        WARNING,
        ("slowed down 3 times", f"Raise the limit (MemoryHigh=500M in {LOCAL} or the container's)"),
    ),
    Case(
        memory.in_swap,
        {"service_swap": 200 * MIB},
        MEMORY,
        PROBLEM,
        ("200 MiB", "430 MiB"),
        ({}, {"service_swap": 10 * MIB}),
    ),
    Case(
        memory.less_than_predicted,
        {"predicted_mb": 4000, "memory_free": 2 * GIB},
        MEMORY,
        PROBLEM,
        ("predicted 4000 MiB; 2478 MiB are free or used by it now",),
        (
            {},
            {"predicted_mb": None},
            {"predicted_mb": 2400, "memory_free": 2 * GIB},
            {"predicted_mb": 4000, "memory_free": 2 * GIB, "refused": REFUSED},
        ),
    ),
    Case(
        memory.do_not_fit,
        {"refused": REFUSED},
        MEMORY,
        PROBLEM,
        ("so that site.yml refuses them", f"seen {REFUSED} do", "Declare other models, or change ollama_tuning_policy"),
        ({},),
    ),
    Case(
        memory.do_not_fit,
        {"refused": REFUSED, "limits": (*LIMITS, Setting(LOCAL, "MemoryMax", "600M"))},
        MEMORY,
        PROBLEM,
        (
            f"{REFUSED} The unit's files limit it: MemoryMax=600M in {LOCAL}.",
            f"Raise or remove MemoryMax=600M in {LOCAL}, declare other models",
        ),
    ),
    Case(
        memory.kept_for_nobody,
        TIGHT,
        MEMORY,
        WARNING,
        ("gemma3:270m stays in memory", "60 minutes", "OLLAMA_KEEP_ALIVE=24h"),
        (
            {},
            {**TIGHT, "environment": has(OLLAMA_KEEP_ALIVE="5m")},
            # Nobody knows who asked, or the model was loaded in order to see whether the server answers.
            {**TIGHT, "journal": ()},
            {**TIGHT, "journal": read("0.34.0-reloads.txt"), "until": STARTED + 9},
            {**TIGHT, "journal": said('[GIN] x | 200 | 1s | 127.0.0.1 | POST     "/api/chat"', time=STARTED + 3500)},
        ),
    ),
    Case(
        memory.kept_for_nobody,
        {
            **TIGHT,
            "journal": said('[GIN] x | 200 | 1s | 127.0.0.1 | POST     "/api/chat"', time=STARTED + 3500),
            "until": STARTED + 3490,
        },
        MEMORY,
        WARNING,
        ("gemma3:270m stays in memory",),
    ),
    Case(
        memory.several_models,
        {**TIGHT, "loaded": (*HEALTHY.loaded, *F16)},
        MEMORY,
        WARNING,
        ("2 models are in memory at once: gemma3:270m, gemma3:270m-it-fp16", "OLLAMA_MAX_LOADED_MODELS"),
        ({}, TIGHT, {"loaded": (*HEALTHY.loaded, *F16)}, {**FULL, "loaded": (*HEALTHY.loaded, *F16)}),
    ),
    Case(
        memory.cache_without_limit,
        {"environment": {"OLLAMA_NUM_PARALLEL": "2"}, "memory_free": 4 * GIB},
        MEMORY,
        PROBLEM,
        ("up to 8192 MiB", "LLAMA_ARG_CACHE_RAM is not set", "4096 MiB left"),
        ({}, {"environment": {}, "version": "0.24.0"}, DOWN),
    ),
    Case(memory.cache_without_limit, {"environment": {}}, MEMORY, WARNING, ("up to 8192 MiB",)),
    Case(
        memory.cache_without_limit,
        {"environment": has(LLAMA_ARG_CACHE_RAM="-1")},
        MEMORY,
        PROBLEM,
        ("without a limit",),
    ),
    Case(
        speed.competitors,
        {"processes": (Process(77, "python3", 3.5, 9 * MIB), Process(78, "cron", 0.0, MIB))},
        SLOW,
        PROBLEM,
        ("python3 (process 77)", "350% of a CPU over 1 s, 9 MiB"),
        ({}, {"processes": (Process(78, "cron", 0.1, MIB),)}),
    ),
    Case(
        speed.competitors,
        {"processes": (Process(77, "java /opt/app.jar", 0.05, 6 * GIB),)},
        SLOW,
        WARNING,
        ("java /opt/app.jar (process 77) competes with the server for memory", "6144 MiB"),
    ),
    # In a container the limit is of all processes together; elsewhere it may be the server's alone.
    Case(
        speed.competitors,
        {"processes": (Process(77, "java", 0.05, 2 * GIB),), **hardware(memory_limit_mb=4096, virtualization="podman")},
        SLOW,
        WARNING,
        ("java (process 77) competes with the server for memory", "2048 MiB"),
        (
            {},
            {"processes": (Process(77, "java", 0.05, 2 * GIB),), **hardware(memory_limit_mb=4096)},
            {"processes": (Process(77, "java", 0.05, 2 * GIB),), **hardware(virtualization="podman")},
        ),
    ),
    Case(
        speed.throttled,
        after(periods=100, throttled=60),
        SLOW,
        WARNING,
        ("throttled in 60 of the last 100 periods", "CPUQuota="),
        ({}, after(periods=100, throttled=10), after(periods=3, throttled=3)),
    ),
    # Measured: a quota of one CPU on two cores, two threads: a third of the speed is lost.
    Case(
        speed.too_many_threads,
        {"runners": (Runner(450, ("llama-server",), has(LLAMA_ARG_THREADS="2")),), **hardware(cpu_quota=1.0)},
        SLOW,
        PROBLEM,
        ("2 threads on what is worth 1 CPU.", "quota 1 CPU", "Set LLAMA_ARG_THREADS to 1"),
        ({}, {"runners": (), "environment": HAS}),
    ),
    Case(
        speed.too_many_threads,
        {"runners": (Runner(450, (), HAS), Runner(451, ("llama-server", "-t", "64"), HAS))},
        SLOW,
        PROBLEM,
        ("64 threads on what is worth 8 CPUs", "Remove num_thread from the model's parameters and from the requests"),
    ),
    Case(
        speed.too_many_threads,
        {"journal": read("0.24.0-reloads.txt"), "version": "0.24.0", "runners": (), **hardware(cpu_quota=1.0)},
        SLOW,
        PROBLEM,
        ("2 threads", "the model parameter num_thread to 1"),
        ({"journal": read("0.24.0-reloads.txt"), "version": "0.24.0", "runners": (), **hardware(cpu_quota=1.5)},),
    ),
    Case(
        speed.too_many_threads,
        {"runners": (Runner(450, ("llama-server",), has(LLAMA_ARG_THREADS="6")),)},
        SLOW,
        WARNING,
        ("6 threads", "physical cores 4"),
    ),
    Case(
        speed.overloaded,
        {"load_average": 20.0},
        SLOW,
        WARNING,
        ("load average 20.0", "8 CPUs", "4 threads of the model"),
        ({}, {"load_average": 15.0}),
    ),
    Case(
        speed.overloaded,
        {"load_average": 17.0, "runners": (), "journal": read("0.34.0-reloads.txt")},
        SLOW,
        WARNING,
        ("0 threads of the model",),
    ),
    Case(
        speed.stolen,
        after(steal=320),
        SLOW,
        PROBLEM,
        ("40% of the CPU time was stolen",),
        ({}, after(steal=8)),
    ),
    Case(speed.stolen, after(steal=80), SLOW, WARNING, ("10%",)),
    Case(
        speed.faults,
        after(major_faults=905),
        SLOW,
        PROBLEM,
        ("900 major page faults",),
        ({}, after(major_faults=20)),
    ),
    Case(
        speed.reloads,
        {"journal": read("0.34.0-reloads.txt")},
        SLOW,
        PROBLEM,
        ("gemma3:270m was loaded 6 times within 36 s: clients ask with different num_ctx", "1024, 2048 tokens"),
        # Two loads are a restart; loads of the process before this one are another matter.
        (
            {},
            {"journal": read("0.34.0-malformed.txt")},
            {"journal": read("0.34.0-reloads.txt"), "unit": RUNNING._replace(started=STARTED + 5000)},
        ),
    ),
    Case(
        speed.reloads,
        {"journal": read("0.24.0-reloads.txt"), "version": "0.24.0"},
        SLOW,
        PROBLEM,
        ("loaded 6 times", "1024, 2048 tokens"),
    ),
    Case(
        speed.unquantized,
        {"loaded": F16, "installed": (("gemma3:270m-it-fp16", "F16"),)},
        SLOW,
        WARNING,
        ("gemma3:270m-it-fp16 is not quantized (F16)", "ollama pull gemma3:270m-it-q8_0"),
        ({}, {"loaded": (Loaded("m:1", "F16", GIB, GIB),)}),
    ),
    Case(
        speed.not_on_the_gpu,
        hardware(gpus=(GPU,)),
        SLOW,
        PROBLEM,
        ("gemma3:270m runs on the CPU though the host has a GPU", "size_vram 0 MiB of 300 MiB", "NVIDIA L4"),
        (
            {},
            {**hardware(gpus=(GPU,)), "loaded": (Loaded("m:1", "Q8_0", GIB, GIB),)},
            *(
                {**hardware(gpus=(GPU,)), "environment": has(CUDA_VISIBLE_DEVICES=hides)}
                for hides in ("-1", "", "1", "none", "-1,0")
            ),
            {**hardware(gpus=(GPU,)), "gpu": "none"},
            {**hardware(gpus=(GPU,)), "gpu_layers": {"gemma3:270m": 0}},
            {**hardware(gpus=(GPU,)), "gpu_layers": {"m:1": 5}, "loaded": (Loaded("m:1", "Q8_0", GIB, GIB // 2),)},
            {**hardware(gpus=(GPU,)), "gpu": "some", "loaded": (Loaded("m:1", "Q8_0", GIB, GIB // 2),)},
            hardware(gpus=(GPU._replace(memory_mb=1024),)),
        ),
    ),
    Case(
        speed.not_on_the_gpu,
        {**hardware(gpus=(GPU,)), "gpu": "some", "gpu_layers": {"gemma3:270m": 5}},
        SLOW,
        PROBLEM,
        ("gemma3:270m runs on the CPU",),
    ),
    Case(
        speed.not_on_the_gpu,
        {**hardware(gpus=(GPU,)), "loaded": (Loaded("m:1", "Q8_0", GIB, GIB // 2),)},
        SLOW,
        WARNING,
        ("m:1 runs partly on the CPU",),
    ),
    Case(
        running.unit_down,
        {**DOWN, "unit": unit("not-found.txt")},
        STOPPED,
        PROBLEM,
        ("no usable unit", "LoadState=not-found", "site.yml"),
        ({}, {"unit": RUNNING._replace(active_state="reloading")}),
    ),
    Case(
        running.unit_down,
        {"unit": RUNNING._replace(load_state="masked")},
        STOPPED,
        PROBLEM,
        ("ollama.service runs, and will not start again.", "systemctl unmask ollama.service, then run site.yml."),
    ),
    Case(
        running.unit_down,
        {**DOWN, "unit": RUNNING._replace(load_state="bad-setting", active_state="inactive", main_pid=0)},
        STOPPED,
        PROBLEM,
        ("no usable unit", "systemd-analyze verify ollama.service"),
    ),
    Case(
        running.unit_down,
        {**DOWN, "unit": RUNNING._replace(active_state="inactive", sub_state="dead", main_pid=0)},
        STOPPED,
        PROBLEM,
        ("ollama.service is stopped.", "systemctl start ollama.service"),
    ),
    Case(
        running.unit_down,
        {**DOWN, "unit": unit("auto-restart.txt"), "journal": read("port-taken.txt")[:10]},
        STOPPED,
        PROBLEM,
        ("demo.service failed and systemd will try again", "journal: Error: listen tcp"),
    ),
    Case(
        running.unit_down,
        {**DOWN, "unit": unit("failed.txt")._replace(result="resources"), "journal": NO_FILE, "missing": ("/etc/a",)},
        STOPPED,
        PROBLEM,
        (
            "not there: /etc/a; journal: ollama.service: Failed to load environment files: No such file or directory",
            "Write /etc/a, or begin its EnvironmentFile= with a minus",
        ),
    ),
    Case(
        running.not_at_boot,
        {"unit": RUNNING._replace(file_state="disabled")},
        STOPPED,
        WARNING,
        ("will not start when the host is booted", "systemctl enable ollama.service, or run site.yml."),
        ({}, {"unit": RUNNING._replace(file_state="static")}, {"unit": unit("failed.txt")}),
    ),
    Case(
        running.disk_full,
        {"disk_free": 900 * MIB, "disk_size": 8 * GIB},
        STOPPED,
        WARNING,
        ("/var/lib/ollama/models: 900 MiB of 8192 MiB are free", "ollama rm"),
        (
            {},
            {"disk_free": 2 * GIB, "disk_size": 8 * GIB},
            {"disk_free": 20 * GIB, "disk_size": 4000 * GIB},
            {"disk_free": 0, "disk_size": 0},
        ),
    ),
    Case(
        running.disk_full,
        {"disk_free": 9 * GIB, "disk_size": 200 * GIB},
        STOPPED,
        WARNING,
        ("nearly full", "9216 MiB of 200.0 GiB"),
    ),
    Case(
        running.truncated,
        {"journal": TRUNCATED},
        STOPPED,
        WARNING,
        ("too long for the context, twice.", "the longest has 9002 tokens, of which 2051 were kept", "num_ctx"),
        # Since then the server was started anew, perhaps with a longer one.
        (
            {},
            {"journal": TRUNCATED, "unit": RUNNING._replace(started=STARTED + 100)},
            {"journal": TRUNCATED, "unit": unit("failed.txt")},
        ),
    ),
    Case(
        running.restarts,
        {"unit": RUNNING._replace(restarts=4)},
        STOPPED,
        PROBLEM,
        ("restarted ollama.service 4 times", "NRestarts=4"),
    ),
    Case(
        running.restarts, {"unit": RUNNING._replace(restarts=4), "now": STARTED + 9999}, STOPPED, WARNING, ("4 times",)
    ),
    Case(running.restarts, {"unit": RUNNING._replace(restarts=1)}, STOPPED, WARNING, ("once",)),
    Case(
        running.port_taken,
        {
            **DOWN,
            "unit": unit("failed.txt"),
            "journal": read("port-taken.txt")[:10],
            "port_holder": "ollama (process 9)",
        },
        STOPPED,
        PROBLEM,
        ("taken by ollama (process 9)", "listen tcp 0.0.0.0:11434: bind: address already in use", "ollama serve"),
        # In the end it started: that trouble is over.
        ({}, {"journal": read("port-taken.txt")}),
    ),
    Case(
        running.no_permission,
        {**DOWN, "unit": unit("failed.txt"), "journal": read("0.34.0-permission.txt")},
        STOPPED,
        PROBLEM,
        ("mkdir /var/lib/ollama/models: permission denied", "chown"),
    ),
    Case(
        running.no_permission,
        {**DOWN, "unit": unit("failed.txt"), "journal": said("Error: mkdir /mnt/dev/models/blobs: permission denied")},
        STOPPED,
        PROBLEM,
        ("mkdir /mnt/dev/models/blobs", "chown"),
    ),
    Case(
        running.no_permission,
        {**DOWN, "unit": unit("failed.txt"), "journal": said("Error: mkdir /srv/models: read-only file system")},
        STOPPED,
        PROBLEM,
        ("mkdir /srv/models", "read-only for it", "Name the folder in ollama_models_path"),
    ),
    Case(
        running.no_permission,
        {"journal": said("Unable to open /dev/kfd read-write: Permission denied")},
        SLOW,
        PROBLEM,
        ("may not use a device", "/dev/kfd", "render,video"),
        ({}, {"journal": said("Unable to open /dev/kfd read-write: Permission denied"), "gpu": "none"}),
    ),
    Case(
        running.runner_ended,
        {"journal": said('level=WARN msg="llama-server process no longer running" sys=11 string="signal: aborted"')},
        STOPPED,
        PROBLEM,
        ("ended unexpectedly (once)", "signal: aborted"),
        ({}, {"journal": BY_SIGNAL}, {"journal": read("0.34.0-reloads.txt")}),
    ),
    Case(
        running.no_answer,
        {"api_problem": "No answer from http://127.0.0.1:11434/api/version: timed out."},
        STOPPED,
        PROBLEM,
        ("runs but does not answer", "timed out"),
        ({}, {**DOWN, "unit": unit("failed.txt")}),
    ),
]


def run(detector: Detector, changes: Changes) -> list[Finding]:
    return list(detector(replace(HEALTHY, **changes)))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.detector.__name__)
def test_detector(case: Case) -> None:
    found = run(case.detector, case.changes)
    assert len(found) == 1, found
    (finding,) = found
    assert (finding.symptom, finding.severity) == (case.symptom, case.severity)
    text = f"{finding.what} seen {finding.evidence} do {finding.remedy}"
    for word in case.words:
        assert word in text
    assert finding.what.endswith(".")
    assert finding.remedy.endswith(".")
    for changes in case.silent:
        assert run(case.detector, changes) == []


def test_every_detector_is_tried() -> None:
    assert {case.detector for case in CASES} == set(DETECTORS)
    for module in (memory, running, settings, speed):
        assert set(module.DETECTORS) <= set(DETECTORS)


def test_a_healthy_host_has_no_finding() -> None:
    assert diagnose(HEALTHY) == []


def test_a_host_of_which_nothing_can_be_read() -> None:
    """Only that the unit is not there; no detector falls over missing evidence."""
    found = diagnose(Evidence(unit=Unit("ollama.service")))
    assert [finding.symptom for finding in found] == [STOPPED]
    assert not healthy(found)
    lines = checked(Evidence(unit=Unit("ollama.service")), 24)
    assert "journal: empty or not readable" in lines
    assert "environment: no process to read it from" in lines
    assert "model store: not found, or not readable" in lines


def test_an_old_count_of_kills_is_looked_at_and_no_finding() -> None:
    seen = replace(HEALTHY, **LONG_AGO)
    assert diagnose(seen) == []
    assert any("killed in /sys/fs/cgroup/memory since it was made: 1" in line for line in checked(seen, 24))


def test_problems_come_first_and_what_stops_the_server_before_all() -> None:
    seen = replace(
        HEALTHY, unit=RUNNING._replace(restarts=1), environment=has(OLLAMA_NUM_PARALEL="4"), **after(steal=320)
    )
    found = diagnose(seen)
    assert [(each.severity, each.symptom) for each in found] == [
        (PROBLEM, SETTING),
        (PROBLEM, SLOW),
        (WARNING, STOPPED),
    ]
    assert not healthy(found)
    assert healthy([found[-1]])
    assert all(each.severity in SEVERITIES and each.symptom in SYMPTOMS for each in found)


def test_one_misspelt_variable_does_not_hide_the_wanted_one() -> None:
    """The guide's problem 1 in its commonest form."""
    environment = {name: value for name, value in HAS.items() if name != "OLLAMA_NUM_PARALLEL"}
    found = diagnose(replace(HEALTHY, environment={**environment, "OLLAMA_NUM_PARALEL": "2"}))
    assert [finding.what for finding in found] == [
        "The running server does not have OLLAMA_NUM_PARALLEL=2.",
        "OLLAMA_NUM_PARALEL is not known to be read by any Ollama.",
    ]


@pytest.mark.parametrize(
    ("name", "quantization", "installed", "words"),
    [
        ("gpt-oss:20b-fp16", "F16", (), "use gpt-oss:20b-fp16 in Q8_0 rather than F16 (ollama pull gpt-oss:20b-q8_0)"),
        ("m:7b", "Q8_0", (("m:7b-q4_K_M", "Q4_K_M"),), "m:7b-q4_K_M is installed"),
        ("m:7b", "Q8_0", (), "see the tags of m that end in q4_K_M"),
        ("m:7b", "MXFP4", (), "use a smaller model"),
    ],
)
def test_the_next_smaller_quantization(
    name: str, quantization: str, installed: tuple[tuple[str, str], ...], words: str
) -> None:
    seen = replace(HEALTHY, loaded=(Loaded(name, quantization, GIB, 0),), installed=installed, wanted=WANTED)
    assert words.lower() in memory.remedy(seen).lower()


# --- what only the proof knows --------------------------------------------------------------------------------------

REPLACED = "ollama.service does not run as it is configured: its program /opt/ollama was replaced since it started."
NO_LIMIT = "ollama.service does not run as it is configured: MemoryMax should be 3584M and is infinity"
RELOAD = "its files were changed without telling systemd (NeedDaemonReload)"
RELOADING: Changes = {"unit": RUNNING._replace(need_daemon_reload=True)}
DRIFTS: Changes = {"environment": has(OLLAMA_NUM_PARALLEL="1"), "settings": ()}


@pytest.mark.parametrize(
    ("name", "problem", "changes", "words"),
    [
        ("unit", REPLACED, {}, "The service does not run as it is configured."),
        # A reload is told already, and hides nothing that comes with it.
        ("unit", f"{NO_LIMIT}; {RELOAD}.", RELOADING, "The service does not run as it is configured."),
        ("unit", f"ollama.service does not run as it is configured: {RELOAD}.", RELOADING, ""),
        ("environment", "OLLAMA_NUM_PARALLEL should be '2'.", {}, "The server does not have the variables"),
        ("environment", "OLLAMA_NUM_PARALLEL should be '2'.", DRIFTS, ""),
        ("runner", "No child runs m:1.", {}, "The check runner of the server's health failed."),
        ("context", "The context is 2048.", {}, "The model does not have the wanted context."),
        ("slots", "m:1 has 1 slot.", {}, "The model does not have the wanted number of slots."),
        ("slots", "m:1 has 1 slot.", DRIFTS, ""),
        ("kv_cache", "It is in f16.", DRIFTS, "The model's cache is not of the wanted type."),
        ("context", "The context is 2048.", {"refused": "The models do not fit."}, ""),
        ("generate", "m:1 is not there.", {}, "The server could not generate with its model."),
        ("generate", "m:1 is not there.", {"declared": ("m:1",)}, ""),
        # Another model that is not there explains nothing either.
        ("generate", "No answer.", {"declared": ("a:1", "m:1"), "installed": (("a:1", "Q4_0"),)}, "could not generate"),
        ("context", "The context is 2048.", {"wanted": {}}, "The model does not have the wanted context."),
        ("generate", "500.", {"journal": read("0.24.0-memory.txt"), "until": STARTED - 1e6}, ""),
        # What the journal tells of an hour ago explains nothing.
        ("generate", "500.", {"journal": read("0.24.0-memory.txt"), "until": STARTED + 1e6}, "could not generate"),
        ("settings", "A is not read.", {"environment": has(OLLAMA_NUM_PARALEL="4")}, ""),
        ("generate", "No answer.", {**DOWN, "unit": RUNNING._replace(active_state="failed")}, ""),
    ],
)
def test_a_failed_check_is_told_once(name: str, problem: str, changes: Changes, words: str) -> None:
    without = diagnose(replace(HEALTHY, **changes))
    found = diagnose(replace(HEALTHY, failed=(FailedCheck(name, problem, "Do this."),), **changes))
    assert len(found) == len(without) + bool(words)
    for finding in found:
        if finding not in without:
            assert words in finding.what
            assert (finding.severity, finding.remedy) == (PROBLEM, "Do this.")
            assert finding.evidence == f"health, {name}: {problem}"


def test_what_does_not_fit_is_not_promised() -> None:
    refused = "The models do not fit: b would take up to 9000 MiB."
    found = diagnose(replace(HEALTHY, declared=("a:1", "b:1"), installed=(("a:1", "Q4_0"),), refused=refused))
    assert [each.what for each in found] == [
        "The models that are declared do not fit this host, so that site.yml refuses them."
    ]


def test_a_check_of_the_modules_result() -> None:
    result = {"name": "unit", "ok": False, "detail": "A is not B. Set it.", "remedy": "Set it.", "latency_ms": 1.0}
    assert FailedCheck.of_result(result) == FailedCheck("unit", "A is not B.", "Set it.")
