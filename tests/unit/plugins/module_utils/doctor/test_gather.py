# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looking at hosts made of files: control groups of both versions, drop-ins, runners, and hosts that hide things."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest
from ansible_collections.llmops.ollama.plugins.module_utils.client import Client
from ansible_collections.llmops.ollama.plugins.module_utils.doctor import live
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.diagnosis import checked, diagnose
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.evidence import Evidence, Process, Setting
from ansible_collections.llmops.ollama.plugins.module_utils.doctor.gather import Looker
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput, OllamaError
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import Hardware
from ansible_collections.llmops.ollama.plugins.module_utils.model_lock import Pin
from ansible_collections.llmops.ollama.plugins.module_utils.systemd import Completed
from doctor_evidence import FIXTURES, LOCAL, TUNING, UNIT
from fake_http import Answer, FakeServer, Stream

MIB = 1 << 20
FILES = "--property=FragmentPath,DropInPaths,EnvironmentFiles"
SHOW = """\
Id=ollama.service
LoadState=loaded
ActiveState=active
SubState=running
MainPID=402
NeedDaemonReload=no
Result=success
NRestarts=0
ExecMainStartTimestamp=Wed 2026-11-25 19:04:02.000000 UTC
"""
CGROUP2 = "0::/system.slice/ollama.service\n"
MOUNT2 = "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
# As in a container on version 1: systemd's own hierarchy names the unit, the controllers name the container.
CGROUP1 = "9:name=systemd:/box/system.slice/ollama.service\n4:memory:/box\n2:cpu:/box\n"
MOUNT1 = """\
30 1 0:26 /box /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory
31 1 0:27 /box /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu
32 1 0:28 /box /sys/fs/cgroup/systemd ro - cgroup cgroup rw,name=systemd
"""


class FakeHost:
    """A host's files below ``root`` and the answers of its commands."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.show, self.journal, self.kernel = SHOW, "", ""
        self.variables: tuple[str, ...] = ()  # files that the unit takes variables from
        self.commands: list[Sequence[str]] = []
        self.during: Callable[[], None] = lambda: None
        self.write("/proc/meminfo", "MemTotal: 16777216 kB\nMemAvailable: 12582912 kB\nSwapTotal: 0 kB\n")
        self.write("/proc/loadavg", "1.50 1.0 1.0 1/200 999\n")
        self.write("/proc/stat", "cpu  100 0 50 800 0 0 0 50 0 0\ncpu0 1 1\n")
        self.write("/proc/402/environ", "OLLAMA_NUM_PARALLEL=2\0HOME=/x\0")
        self.write("/proc/402/status", "Name:\tollama\nVmRSS:\t   30720 kB\nVmSwap:\t       0 kB\n")
        self.write("/proc/402/task/402/children", "450 \n")
        self.write("/proc/402/stat", "402 (ollama) S 1 1 1 0 -1 0 10 0 7 0 0 0")
        self.write("/proc/450/environ", "LLAMA_ARG_THREADS=4\0")
        self.write("/proc/450/cmdline", "llama-server\0-c\0008192\0-np\0002\0--threads\0003\0")
        self.write("/proc/450/status", "VmRSS:\t  409600 kB\nVmSwap:\t  102400 kB\n")
        self.write("/proc/450/stat", "450 (llama server) S 402 1 1 0 -1 0 10 0 40 0 0 0")

    def write(self, path: str, text: str) -> None:
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")

    def run(self, command: Sequence[str], timeout: float) -> Completed:
        self.commands.append(command)
        if FILES in command:
            named = "".join(
                f"EnvironmentFiles={path} (ignore_errors={'no' if path == '/etc/must' else 'yes'})\n"
                for path in self.variables
            )
            return Completed(0, f"FragmentPath={UNIT}\nDropInPaths={TUNING}\n{named}", "")
        if command[0] == "systemctl":
            return Completed(0, self.show, "")
        text = self.kernel if "--dmesg" in command else self.journal
        entries = text.splitlines()
        for option, _, value in (word.partition("=") for word in command):
            if option == "--grep":
                entries = [entry for entry in entries if re.search(value, entry.split("]: ", 1)[1])]
            if option == "--lines":
                last = int(value)
        entries = entries[-last:]
        return Completed(0, "\n".join(entries[::-1] if "--reverse" in command else entries), "")

    def watch(self, seconds: float, is_service: Callable[[int], bool]) -> tuple[Process, ...]:
        assert is_service(402)
        assert is_service(450)
        self.during()
        return (Process(77, "python3", 1.0, MIB),)

    def look(self, url: str, **options: float) -> Evidence:
        looker = Looker(
            root=str(self.root),
            run=self.run,
            watch=self.watch,
            holder=lambda port, is_service: f"port {port}",
            hardware=lambda: Hardware(8, 8, 8, 8, 8, 8, memory_mb=16384),
            now=lambda: 1_795_634_000.0,
        )
        with Client(url, timeout=5) as client:
            return looker.look(client, "ollama.service", {"OLLAMA_NUM_PARALLEL": "2"}, **options)  # type: ignore[arg-type]  # an int among the floats


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return FakeHost(tmp_path)


@pytest.fixture
def answering(server: FakeServer) -> FakeServer:
    model = {
        "name": "gemma3:270m",
        "size": 300,
        "size_vram": 100,
        "details": {"quantization_level": "Q4_K_M"},
    }
    models = Answer(200, {"models": [model]})
    server.queue = [Answer(200, {"version": "0.34.0"}), models, models]
    return server


def test_what_the_server_and_its_processes_say(host: FakeHost, answering: FakeServer) -> None:
    seen = host.look(answering.url)
    assert answering.log == ["GET /api/version", "GET /api/ps", "GET /api/tags"]
    assert (seen.version, seen.api_problem, seen.installed) == ("0.34.0", "", (("gemma3:270m", "Q4_K_M"),))
    (loaded,) = seen.loaded
    assert (loaded.name, loaded.quantization, loaded.size, loaded.size_vram) == ("gemma3:270m", "Q4_K_M", 300, 100)
    assert seen.environment == {"OLLAMA_NUM_PARALLEL": "2", "HOME": "/x"}
    (runner,) = seen.runners
    assert (runner.pid, runner.option("-np"), runner.environment) == (450, 2, {"LLAMA_ARG_THREADS": "4"})
    assert seen.threads == [3]  # the command line has the last word
    assert (seen.service_rss, seen.service_swap) == (430 * MIB, 100 * MIB)
    assert (seen.load_average, seen.memory_limit, seen.memory_free) == (1.5, 16384 * MIB, 12288 * MIB)
    assert seen.port_holder == f"port {answering.url.rpartition(':')[2]}"


def test_a_runner_that_ends_while_somebody_looks(host: FakeHost, answering: FakeServer) -> None:
    host.during = lambda: shutil.rmtree(host.root / "proc/450")
    seen = host.look(answering.url)
    assert [model.name for model in seen.loaded] == ["gemma3:270m"]
    assert (seen.runners, seen.service_rss) == ((), 30 * MIB)


def test_a_runner_whose_environment_only_root_may_read(host: FakeHost, answering: FakeServer) -> None:
    (host.root / "proc/450/environ").unlink()
    (host.root / "proc/450/environ").mkdir()  # which cannot be read like a file, by root neither
    (runner,) = host.look(answering.url).runners
    assert (runner.pid, runner.option("-np"), runner.environment) == (450, 2, {})


def test_the_room_of_the_model_store(host: FakeHost, answering: FakeServer) -> None:
    host.write("/x/.ollama/models/blobs/sha256-1", "")
    seen = host.look(answering.url)
    usage = shutil.disk_usage(host.root)
    assert (seen.store, seen.disk_size) == ("/x/.ollama/models", usage.total)
    assert 0 < seen.disk_free <= usage.total
    host.write("/proc/402/environ", 'HOME=/x\0OLLAMA_MODELS="/y"\0')
    answering.queue = [Answer(500)]
    gone = host.look(answering.url)
    assert (gone.store, gone.disk_size) == ("/y", 0)


@pytest.mark.parametrize("version", [1, 2])
def test_counters_of_control_groups(host: FakeHost, answering: FakeServer, version: int) -> None:
    own, cpu = ("/sys/fs/cgroup/memory", "/sys/fs/cgroup/cpu")
    if version == 2:
        own = cpu = "/sys/fs/cgroup/system.slice/ollama.service"
    host.write("/proc/402/cgroup", CGROUP2 if version == 2 else CGROUP1)
    host.write("/proc/self/mountinfo", MOUNT2 if version == 2 else MOUNT1)

    def counters(oom: int, hits: int, throttled: int, steal: int, faults: int) -> None:
        if version == 2:
            host.write(f"{own}/memory.events", f"low 0\nhigh 3\nmax {hits}\noom 1\noom_kill {oom}\n")
            host.write(f"{own}/memory.max", f"{1024 * MIB}\n")
            host.write(f"{own}/memory.current", f"{1000 * MIB}\n")
            host.write(f"{own}/memory.stat", f"inactive_file {60 * MIB}\nactive_file {40 * MIB}\n")
        else:
            # Recorded in a container of Debian 12.
            host.write(f"{own}/memory.oom_control", f"oom_kill_disable 0\nunder_oom 0\noom_kill {oom}\n")
            host.write(f"{own}/memory.failcnt", f"{hits}\n")
            host.write(f"{own}/memory.limit_in_bytes", f"{1024 * MIB}\n")
            host.write(f"{own}/memory.usage_in_bytes", f"{1000 * MIB}\n")
            host.write(f"{own}/memory.stat", f"total_inactive_file {60 * MIB}\ntotal_active_file {40 * MIB}\n")
        host.write(f"{cpu}/cpu.stat", f"nr_periods 100\nnr_throttled {throttled}\nthrottled_usec 5\n")
        host.write("/proc/stat", f"cpu  100 0 50 800 0 0 0 {steal} 0 0\n")
        host.write("/proc/450/stat", f"450 (llama server) S 402 1 1 0 -1 0 10 0 {faults} 0 0 0")

    counters(0, 5, 10, 50, 40)
    host.during = lambda: counters(2, 9, 30, 60, 90)
    seen = host.look(answering.url)
    assert seen.before.memory_group == seen.after.memory_group == own
    assert (seen.before.oom_kills, seen.after.oom_kills) == (0, 2)
    assert (seen.before.limit_hits, seen.after.limit_hits) == (5, 9)
    assert seen.after.high_hits == (3 if version == 2 else 0)
    assert (seen.after.cpu_group, seen.after.periods) == (cpu, 100)
    assert (seen.before.throttled, seen.after.throttled) == (10, 30)
    assert (seen.after.steal - seen.before.steal, seen.after.ticks - seen.before.ticks) == (10, 10)
    assert (seen.before.major_faults, seen.after.major_faults) == (47, 97)
    assert (seen.memory_limit, seen.memory_free) == (1024 * MIB, 124 * MIB)


def test_unit_files_in_the_order_in_which_systemd_reads_them(host: FakeHost, answering: FakeServer) -> None:
    host.write(
        UNIT,
        '[Service]\nEnvironment="A=1 one" B=2 \\\n  C=3\n'
        "EnvironmentFile=-/etc/default/ollama\nEnvironmentFile=-/etc/none\n",
    )
    host.write("/etc/default/ollama", '# no\n; no\nB="from file"\nexport C=9\nURLS=http://a, http://b\nP=50%%\n')
    host.variables = ("/etc/default/ollama", "/etc/none", "/etc/must", "/etc/llm.d/*.env")
    host.write("/etc/llm.d/a.env", "D = 1 \\\n2")
    host.write(
        TUNING,
        "Environment=B=6\n[Unit]\nEnvironment=B=7\n[Service]\nEnvironment=B=5%%\nEnvironment='open\n"
        'Environment="B = 8"\nMemoryMax=600M\n',
    )
    host.write(LOCAL, "[Service]\nEnvironment=B=unread\n")
    seen = host.look(answering.url)
    assert seen.settings == (
        Setting(UNIT, "A", "1 one"),
        Setting(UNIT, "B", "2"),
        Setting(UNIT, "C", "3"),
        Setting(TUNING, "B", "5%"),
        Setting("/etc/default/ollama", "B", "from file"),
        Setting("/etc/default/ollama", "URLS", "http://a, http://b"),
        Setting("/etc/default/ollama", "P", "50%%"),
        Setting("/etc/llm.d/a.env", "D", "1 2"),
    )
    assert [file.path for file in seen.files if file.variables] == ["/etc/default/ollama", "/etc/llm.d/a.env"]
    assert seen.taken_back == {}
    assert seen.limits == (Setting(TUNING, "MemoryMax", "600M"),)
    # Of these only what begins with a minus may be missing.
    assert seen.missing == ("/etc/must",)
    assert [(file.path, file.main, file.unread) for file in seen.files if not file.variables] == [
        (UNIT, True, False),
        (TUNING, False, False),
        (LOCAL, False, True),
    ]
    host.write(TUNING, "[Service]\nEnvironment=\nEnvironment=D=4\n")
    answering.queue = [Answer(500), Answer(500)]
    assert host.look(answering.url).taken_back == {"A": TUNING, "B": TUNING, "C": TUNING}
    assert [each.name for each in host.look(answering.url).settings] == ["D", "B", "URLS", "P", "D"]


def test_the_journals_are_bounded(host: FakeHost, answering: FakeServer) -> None:
    host.journal = (FIXTURES / "journals/0.34.0-reloads.txt").read_text(encoding="utf-8")
    host.kernel = (
        "1795633900.1 a kernel: Memory cgroup out of memory: Killed process 450 (llama-server)\n"
        "1795633900.2 a kernel: something else\n"
        "1795633900.3 a kernel: oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/a.slice,task=ollama,pid=450,uid=0\n"
    )
    seen = host.look(answering.url, hours=2)
    journal, kernel = (command for command in host.commands if command[0] == "journalctl")
    # With --since alone systemd 252 gives the oldest 2000 lines (measured).
    assert {"--unit=ollama.service", "--since=@1795626800", "--lines=2000", "--reverse"} <= set(journal)
    assert [line.time for line in seen.journal] == sorted(line.time for line in seen.journal)
    assert "--dmesg" in kernel
    assert len(seen.loads) == 6
    assert [line.text.partition(":")[0] for line in seen.kernel] == ["Memory cgroup out of memory", "oom-kill"]


def test_requests_do_not_push_loads_out_of_the_journal(host: FakeHost, answering: FakeServer) -> None:
    loads = (FIXTURES / "journals/0.34.0-reloads.txt").read_text(encoding="utf-8")
    after = max(float(line.split()[0]) for line in loads.splitlines() if line[:1].isdigit()) + 1
    requests = [
        '[GIN] 2026/11/25 - 19:05:00 | 200 | 1.1s | 127.0.0.1 | POST     "/api/generate"',
        "slot launch_slot_: id  0 | task 1 | processing task",
        "srv  update_slots: all slots are idle",
        "\ttop_k = 64, top_p = 0.950",
    ]
    lines = [f"{after + number:.6f} ollama1 ollama[402]: {requests[number % 4]}" for number in range(3000)]
    host.journal = loads + "\n".join(lines)
    seen = host.look(answering.url)
    assert len(seen.loads) == 6
    assert seen.journal[-1].text == requests[2999 % 4]
    assert [line.time for line in seen.journal] == sorted(line.time for line in seen.journal)
    assert any(line.endswith(", of requests only the newest") for line in checked(seen, 24))


def test_a_drop_in_that_another_one_hides_is_not_unread(host: FakeHost, answering: FakeServer) -> None:
    host.write(TUNING, "[Service]\n")
    host.write(TUNING.replace("/etc/", "/run/"), "[Service]\nEnvironment=A=1\n")
    assert [file.path for file in host.look(answering.url).files if file.unread] == []


def test_a_model_that_cannot_be_read_hides_no_other(host: FakeHost, answering: FakeServer) -> None:
    lock = {name: Pin("b" * 64, "c" * 64, 1) for name in ("gemma3:270m", "other:1")}
    answering.queue.append(Answer(500, {"error": "invalid manifest"}))
    answering.queue[2].body["models"][0]["digest"] = "a" * 64  # type: ignore[union-attr]  # a whole answer
    with Client(answering.url, timeout=5) as client:
        looker = Looker(
            str(host.root), host.run, host.watch, lambda port, ours: "", lambda: Hardware(8, 8, 8, 8, 8, 8, 9000)
        )
        seen = looker.look(client, "ollama.service", {}, lock=lock)
    assert (seen.api_problem, len(seen.loaded), len(seen.installed)) == ("", 1, 1)
    assert [drift.name for drift in seen.drifted] == ["other:1"]
    (finding,) = [each for each in diagnose(seen) if "cannot read" in each.what]
    assert (finding.what, "invalid manifest" in finding.evidence) == (
        "The server cannot read its model gemma3:270m.",
        True,
    )


def test_an_answer_that_is_cut_off_is_not_the_models_fault(host: FakeHost, answering: FakeServer) -> None:
    lock = {"gemma3:270m": Pin("b" * 64, "c" * 64, 1)}
    answering.queue[2].body["models"][0]["digest"] = "a" * 64  # type: ignore[union-attr]  # a whole answer
    answering.queue.append(Stream([{"modelfile": "FROM"}], broken=True))
    with Client(answering.url, timeout=5) as client:
        looker = Looker(
            str(host.root), host.run, host.watch, lambda port, ours: "", lambda: Hardware(8, 8, 8, 8, 8, 8, 9000)
        )
        seen = looker.look(client, "ollama.service", {}, lock=lock)
    assert (seen.unread, seen.drifted) == ({}, ())
    assert "/api/show" in seen.api_problem


def test_a_server_that_does_not_answer(host: FakeHost, closed_port: int) -> None:
    seen = host.look(f"http://127.0.0.1:{closed_port}")
    assert "refused" in seen.api_problem
    assert "ollama.service runs but does not answer." in [finding.what for finding in diagnose(seen)]
    assert any(line.startswith("API: No answer") for line in checked(seen, 24))


def test_a_stopped_server_on_a_host_that_hides_things(host: FakeHost, closed_port: int) -> None:
    host.show = "Id=ollama.service\nLoadState=loaded\nActiveState=inactive\nSubState=dead\nMainPID=0\n"
    run = host.run

    def fail(command: Sequence[str], timeout: float) -> Completed:
        if command[0] == "journalctl" or FILES in command:
            raise InvalidInput("it cannot be run")
        return run(command, timeout)

    def unknown() -> Hardware:
        raise OllamaError("The size of memory cannot be read.")

    looker = Looker(str(host.root), fail, lambda seconds, ours: (), lambda port, ours: "", unknown)
    with Client(f"http://127.0.0.1:{closed_port}") as client:
        seen = looker.look(client, "ollama.service", {})
    assert (seen.environment, seen.journal, seen.files, seen.hardware) == (None, (), (), None)
    assert [finding.what for finding in diagnose(seen)] == ["ollama.service is stopped."]


# --- the live host ------------------------------------------------------------------------------------------------


def test_a_busy_process_of_this_host() -> None:
    secret = "while True: pass  # hunter2"  # noqa: S105  # to see that it does not get into the result
    busy = subprocess.Popen([sys.executable, "-c", secret])
    try:
        time.sleep(0.2)
        seen = {process.pid: process for process in live.watch_processes(0.5, lambda pid: False)}
        assert seen[busy.pid].cpu > 0.1
        assert seen[busy.pid].command == Path(sys.executable).name
        assert seen[busy.pid].rss > MIB
        assert os.getpid() not in seen
        assert busy.pid not in {each.pid for each in live.watch_processes(0.01, lambda pid: pid == busy.pid)}
    finally:
        busy.kill()
        busy.wait()


def test_who_listens(server: FakeServer, closed_port: int) -> None:
    port = int(server.url.rpartition(":")[2])
    assert f"(process {os.getpid()})" in live.port_holder(port, lambda pid: False)
    assert live.port_holder(port, lambda pid: True) == ""
    assert live.port_holder(closed_port, lambda pid: False) == ""


def test_a_process_that_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(self: psutil.Process) -> None:
        raise psutil.NoSuchProcess(self.pid)

    monkeypatch.setattr(psutil.Process, "cpu_times", ended)
    assert live.watch_processes(0.01, lambda pid: False) == ()
