# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Either everything of a change works, or everything is as it was: real files, a service that does what tests want."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils import transaction as core
from ansible_collections.llmops.ollama.plugins.module_utils.errors import InvalidInput, OllamaError, Unhealthy
from ansible_collections.llmops.ollama.plugins.module_utils.systemd import Completed, Systemd, Unit
from fake_http import Answer, FakeServer
from fake_mirror import FakeMirror, authority
from hypothesis import given
from hypothesis import strategies as st

UNIT = "demo.service"
RUNNING = Unit(
    UNIT,
    load_state="loaded",
    active_state="active",
    sub_state="running",
    file_state="enabled",
    main_pid=100,
    started=1000.0,
    changed=1000.0,
)
STOPPED = RUNNING._replace(active_state="inactive", sub_state="dead", main_pid=0)


# --- planning ------------------------------------------------------------------------------------------------------

CONF, DROP_IN = "/etc/demo.conf", "/etc/systemd/system/demo.service.d/50.conf"


def planned(
    path: str = CONF, before: core.State = None, after: core.State = None, unit: Unit = RUNNING, **options: Any
) -> core.Plan:
    restart = options.pop("restart", True)
    return core.plan([core.Item(path, after, restart)], {path: before}, unit, **options)


A, B = core.File(b"a"), core.File(b"b")


@pytest.mark.parametrize(
    ("plan", "action", "changes"),
    [
        pytest.param(planned(before=A, after=A), "none", 0, id="nothing"),
        pytest.param(planned(before=None, after=None), "none", 0, id="absent and is"),
        pytest.param(planned(before=A, after=B), "restart", 1, id="content"),
        pytest.param(planned(before=A, after=replace(A, mode=0o600)), "restart", 1, id="mode"),
        pytest.param(planned(before=replace(A, owner=5, group=6), after=A), "none", 0, id="owner is left"),
        pytest.param(planned(before=replace(A, owner=5), after=replace(A, owner=7)), "restart", 1, id="owner"),
        pytest.param(planned(before=None, after=A), "restart", 1, id="new"),
        pytest.param(planned(before=A, after=None), "restart", 1, id="remove"),
        pytest.param(planned(before=core.Link("x"), after=core.Link("y")), "restart", 1, id="link"),
        pytest.param(planned(before=A, after=core.Link("y")), "restart", 1, id="file becomes link"),
        pytest.param(planned(before=A, after=B, on_change="reload"), "reload", 1, id="reload"),
        pytest.param(planned(DROP_IN, A, B, on_change="reload"), "restart", 1, id="reload is too little for a unit"),
        pytest.param(planned(before=A, after=B, restart=False), "none", 1, id="lies beside"),
        pytest.param(planned(before=A, after=A, unit=STOPPED), "start", 0, id="stopped"),
        pytest.param(planned(before=A, after=B, unit=STOPPED), "start", 1, id="stopped and changed"),
        pytest.param(
            planned(before=A, after=B, unit=STOPPED._replace(active_state="activating", sub_state="start")),
            "restart",
            1,
            id="starting with the old file",
        ),
        pytest.param(
            planned(before=A, after=A, unit=RUNNING._replace(need_daemon_reload=True), on_change="reload"),
            "restart",
            0,
            id="unit file changed by somebody",
        ),
        pytest.param(planned(before=A, after=A, written={CONF: 1000.1}), "restart", 0, id="older than its file"),
        pytest.param(planned(before=A, after=A, written={CONF: 999.9}), "none", 0, id="newer than its file"),
        pytest.param(
            planned(before=A, after=A, written={"/cert": 1000.1}, reads=["/cert"]), "restart", 0, id="others' file"
        ),
        pytest.param(planned(before=A, after=A, written={"/cert": 1000.1}), "none", 0, id="file that it does not read"),
        pytest.param(
            planned(before=A, after=A, written={CONF: 1000.1}, restart=False), "none", 0, id="older, but beside"
        ),
        pytest.param(
            planned(before=A, after=A, written={CONF: 1005}, on_change="reload", unit=RUNNING._replace(changed=1010)),
            "none",
            0,
            id="reloaded since",
        ),
        pytest.param(
            planned(before=A, after=A, written={CONF: 1015}, on_change="reload", unit=RUNNING._replace(changed=1010)),
            "reload",
            0,
            id="not reloaded since",
        ),
        pytest.param(
            planned(DROP_IN, A, A, written={DROP_IN: 1005}, on_change="reload", unit=RUNNING._replace(changed=1010)),
            "restart",
            0,
            id="a reload since is too little for a unit",
        ),
        pytest.param(
            planned(before=A, after=A, written={CONF: 5}, unit=RUNNING._replace(started=0.0)), "none", 0, id="no time"
        ),
    ],
)
def test_plan(plan: core.Plan, action: str, changes: int) -> None:
    assert (plan.action, len(plan.changes)) == (action, changes)
    assert bool(plan.reason) is (action != "none")
    assert plan.changed is bool(changes or action != "none")


@pytest.mark.parametrize(
    ("state", "enabled", "enable", "disable"),
    [
        ("enabled", True, False, False),
        ("disabled", True, True, False),
        ("", True, True, False),
        ("static", True, False, False),
        ("enabled-runtime", True, True, False),
        ("enabled", False, False, True),
        ("disabled", False, False, False),
        ("", False, False, False),
    ],
)
def test_start_at_boot(state: str, enabled: bool, enable: bool, disable: bool) -> None:
    plan = core.plan([], {}, RUNNING._replace(file_state=state), enabled=enabled)
    assert (plan.enable, plan.disable, plan.changed) == (enable, disable, enable or disable)


def test_a_unit_that_could_not_be_enabled_is_with_another_file() -> None:
    for state in ("static", "masked", "linked", "indirect"):
        unit = RUNNING._replace(file_state=state)
        for path, enable in ((f"/etc/systemd/system/{UNIT}", True), (DROP_IN, False), ("/usr/local/bin/x", False)):
            assert core.plan([core.Item(path, A)], {path: B}, unit).enable is enable
    path = f"/etc/systemd/system/{UNIT}"
    assert not core.plan([core.Item(path, A)], {path: B}, RUNNING).enable


@pytest.mark.parametrize("paths", [["etc/x"], ["/etc/../x"], ["/etc//x"], ["/etc/x/"], ["/etc/x", "/etc/x"]])
def test_paths_that_are_refused(paths: list[str]) -> None:
    with pytest.raises(InvalidInput, match=r"etc|/x"):
        core.plan([core.Item(path, A) for path in paths], {}, RUNNING)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/etc/systemd/system/ollama.service", True),
        ("/run/systemd/system/ollama.service.d/90-trial.conf", True),
        ("/etc/systemd/system/nginx.timer", True),
        ("/etc/nginx/conf.d/ollama.conf", False),
        ("/etc/nginx/service.d/ollama.conf", False),
        ("/usr/local/bin/ollama.service.sh", False),
    ],
)
def test_unit_files(path: str, expected: bool) -> None:
    assert core.is_unit_file(path) is expected


def test_diff() -> None:
    items = [
        core.Item("/a", core.File(b"new\n", 0o600)),
        core.Item("/b", core.Link("target")),
        core.Item("/c", None),
        core.Item("/d", A),
    ]
    current: dict[str, core.State] = {"/a": core.File(b"old\n", 0o644, 0, 0), "/c": core.Link("x"), "/d": A}
    assert core.diff(core.plan(items, current, RUNNING._replace(file_state="disabled"))) == [
        {
            "before_header": "/a (mode 0644, owner 0:0)",
            "after_header": "/a (mode 0600, owner 0:0)",
            "before": "old\n",
            "after": "new\n",
        },
        {"before_header": "/b (absent)", "after_header": "/b (link)", "before": "", "after": "-> target\n"},
        {"before_header": "/c (link)", "after_header": "/c (absent)", "before": "-> x\n", "after": ""},
        {"before_header": UNIT, "after_header": UNIT, "before": "disabled\n", "after": "enabled\n"},
    ]


# --- reading -------------------------------------------------------------------------------------------------------


def test_reading_what_is_there(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"\xff\n")
    file.chmod(0o4750)
    link.symlink_to("nowhere")
    assert core.read(str(file)) == core.File(b"\xff\n", 0o4750, os.geteuid(), os.getegid())
    assert core.read(str(link)) == core.Link("nowhere")
    assert core.read(str(tmp_path / "no" / "thing")) is None
    assert core.read(str(file / "below a file")) is None
    assert core.written(str(link)) == link.lstat().st_mtime
    assert core.written(str(tmp_path / "nothing")) is None
    with pytest.raises(InvalidInput, match="neither a file nor a link"):
        core.read(str(tmp_path))


# --- a service to play with ----------------------------------------------------------------------------------------


class Clock:
    """Time that passes only by waiting."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class FakeSystemd(Systemd):
    """One service. ``works`` says from the files whether its process lives; ``log`` has what was done with it."""

    def __init__(self, unit: Unit, works: Callable[[], bool] = lambda: True) -> None:
        self.unit, self.works = unit, works
        self.log: list[str] = []
        self.refuses = ""  # a verb that fails
        self.crash_after: float | None = None  # seconds after a start, for a service that does not work
        self.clock = Clock()
        self._started_at = 0.0

    def show(self, unit: str) -> Unit:
        crash = self.crash_after is not None and self.clock() - self._started_at >= self.crash_after
        if self.unit.running and crash and not self.works():
            self.unit = self.unit._replace(
                active_state="activating", sub_state="auto-restart", main_pid=0, exit_status=1
            )
        return self.unit

    def journal(self, unit: str, since: float, lines: int = 15) -> list[str]:
        return ["Error: bad setting"] if self.unit.exit_status else []

    def daemon_reload(self) -> None:
        self._do("daemon-reload")

    def enable(self, unit: str) -> None:
        self._do("enable")
        self.unit = self.unit._replace(file_state="enabled")

    def disable(self, unit: str) -> None:
        self._do("disable")
        self.unit = self.unit._replace(file_state="disabled")

    def start(self, unit: str) -> None:
        self._do("start")
        self._process()

    def restart(self, unit: str) -> None:
        self._do("restart")
        self._process()

    def reload(self, unit: str) -> None:
        self._do("reload")

    def stop(self, unit: str) -> None:
        self._do("stop")
        self.unit = self.unit._replace(active_state="inactive", sub_state="dead", main_pid=0)

    def _do(self, verb: str) -> None:
        self.log.append(verb)
        if verb == self.refuses:
            raise Unhealthy(f"systemctl {verb} {UNIT} failed: no.")

    def _process(self) -> None:
        self._started_at = self.clock()
        if self.works() or self.crash_after:
            pid = self.unit.main_pid + 1
            self.unit = self.unit._replace(
                active_state="active", sub_state="running", main_pid=pid, exit_status=0, result="success"
            )
        else:
            self.unit = self.unit._replace(
                active_state="failed", sub_state="failed", main_pid=0, exit_status=7, result="exit-code"
            )


class World:
    """A service with a configuration file, a drop-in and a link in a temporary folder, and the change of all three."""

    def __init__(self, root: Path, unit: Unit = RUNNING) -> None:
        self.conf, self.drop_in = root / "demo.conf", root / "demo.service.d" / "50.conf"
        self.link, self.old = root / "current", root / "old.conf"
        self.conf.write_text("good 1")
        self.conf.chmod(0o640)
        os.utime(self.conf, (100, 100))
        self.link.symlink_to("0.33.0")
        self.old.write_text("remove me")
        self.root = root
        self.systemd = FakeSystemd(unit, works=lambda: "bad" not in self.conf.read_text())
        self.before = self.picture()

    def picture(self) -> dict[str, Any]:
        """Everything below the root that a user could notice."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            status = path.lstat()
            content: Any = None if path.is_dir() else (str(path.readlink()) if path.is_symlink() else path.read_bytes())
            when = None if path.is_dir() else status.st_mtime_ns
            found[str(path.relative_to(self.root))] = (status.st_mode, content, when)
        return found

    def plan(self, conf: str = "good 2", drop_in: str | None = "[Service]\n", **options: Any) -> core.Plan:
        items = [
            core.Item(str(self.conf), core.File(conf.encode())),
            core.Item(str(self.link), core.Link("0.34.0")),
            core.Item(str(self.old), None),
        ]
        if drop_in is not None:
            items.append(core.Item(str(self.drop_in), core.File(drop_in.encode(), 0o600)))
        current = {item.path: core.read(item.path) for item in items}
        return core.plan(items, current, self.systemd.unit, **options)

    def transaction(self, plan: core.Plan, **options: Any) -> core.Transaction:
        clock = self.systemd.clock
        return core.Transaction(plan, self.systemd, clock=clock, sleep=clock.sleep, **options)

    def run(self, plan: core.Plan, **options: Any) -> None:
        with self.transaction(plan, **options) as change:
            change.apply()
            change.commit()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# --- it works ------------------------------------------------------------------------------------------------------


def test_a_change_is_applied_with_one_restart(world: World) -> None:
    old = os.umask(0o077)
    try:
        world.run(world.plan())
    finally:
        os.umask(old)
    assert world.conf.read_text() == "good 2"
    assert world.conf.stat().st_mode & 0o7777 == 0o644
    assert world.link.readlink() == Path("0.34.0")
    assert not world.old.exists()
    assert world.drop_in.read_text() == "[Service]\n"
    assert (world.drop_in.stat().st_mode & 0o7777, world.drop_in.parent.stat().st_mode & 0o7777) == (0o600, 0o755)
    assert world.systemd.log == ["daemon-reload", "restart"]
    assert not list(world.root.rglob(".*"))
    again = world.plan()
    assert not again.changed


def test_a_reload_needs_no_daemon_reload(world: World) -> None:
    world.run(world.plan(drop_in=None, on_change="reload"))
    assert world.systemd.log == ["reload"]


def test_validation_sees_the_new_files_and_an_untouched_service(world: World) -> None:
    seen: list[Any] = []

    def run(command: Sequence[str], timeout: float) -> Completed:
        seen.append((list(command), world.conf.read_text(), list(world.systemd.log)))
        return Completed(0, "", "")

    world.run(world.plan(), validate=["demo", "-t"], run=run)
    assert seen == [(["demo", "-t"], "good 2", [])]


def test_a_new_service_is_enabled_and_started(tmp_path: Path) -> None:
    world = World(tmp_path, Unit(UNIT))
    world.run(world.plan())
    assert world.systemd.log == ["daemon-reload", "enable", "start"]


def test_a_stale_process_is_restarted_without_any_file_changing(world: World) -> None:
    world.run(core.Plan(RUNNING, action="restart", reason="stale"), validate=["must not run"])
    assert world.systemd.log == ["restart"]
    assert world.picture() == world.before


def test_it_waits_until_the_service_is_ready(world: World) -> None:
    answers = iter(["not yet", "not yet", "not yet", None, None, None, None])
    world.run(world.plan(), ready=lambda: next(answers))
    assert world.systemd.log == ["daemon-reload", "restart"]


def test_what_was_only_tried_is_taken_back(world: World) -> None:
    with world.transaction(world.plan()) as trial:
        trial.apply()
        assert world.conf.read_text() == "good 2"
    assert world.picture() == world.before
    assert world.systemd.log == ["daemon-reload", "restart", "daemon-reload", "restart"]


# --- it does not work ----------------------------------------------------------------------------------------------


def fail(world: World, plan: core.Plan, **options: Any) -> OllamaError:
    with pytest.raises(OllamaError) as caught:
        world.run(plan, **options)
    return caught.value


def test_a_validator_that_refuses(world: World) -> None:
    said = "nginx: [emerg] unknown directive\nnginx: test failed\n"
    words = "nginx: [emerg] unknown directive | nginx: test failed"
    error = fail(world, world.plan(), validate=["demo", "-t"], run=lambda *_: Completed(1, "", said))
    assert world.picture() == world.before
    assert world.systemd.log == []
    assert str(error) == (
        f"demo -t refused the new files: {words}. The previous files are back; the service was not touched."
        " Correct the values and run again."
    )
    assert isinstance(error, InvalidInput)
    assert (error.details["reason"], error.details["restored"]) == (words, True)


def test_a_service_that_does_not_come_up(world: World) -> None:
    error = fail(world, world.plan("bad"))
    assert world.picture() == world.before
    assert world.systemd.log == ["daemon-reload", "restart", "daemon-reload", "restart"]
    assert world.systemd.unit.running
    assert isinstance(error, Unhealthy)
    assert str(error) == (
        "demo.service did not stay up (exit-code, exit status 7). Its last log lines: Error: bad setting"
        " The previous files are back and the service runs as before."
        " Correct the setting that the log names and run again."
    )
    assert error.details == {
        "reason": "demo.service did not stay up (exit-code, exit status 7).",
        "journal": ["Error: bad setting"],
        "restored": True,
    }
    assert world.systemd.clock.now < 1.0  # reported at once, not at the end of the time allowed


def test_a_long_log_is_cut_in_the_message_and_whole_in_the_result(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = [f"line {number} {'x' * 500}" for number in range(15)]
    monkeypatch.setattr(world.systemd, "journal", lambda unit, since: log)
    error = fail(world, world.plan("bad"))
    assert error.details["journal"] == log
    assert "line 9" not in str(error) and "line 10" in str(error) and "line 14" in str(error)
    assert len(str(error)) < 1500


@pytest.mark.parametrize("after", [0.01, 0.3])
def test_a_service_that_dies_a_moment_after_its_start(world: World, after: float) -> None:
    world.systemd.crash_after = after
    error = fail(world, world.plan("bad"))
    assert "did not stay up" in error.problem
    assert world.picture() == world.before
    assert world.systemd.unit.running
    assert world.systemd.clock.now < 3.0


def test_another_process_that_answers_in_its_place_does_not_hide_a_crash(world: World) -> None:
    world.systemd.crash_after = 0.3
    error = fail(world, world.plan("bad"), ready=lambda: None)
    assert "did not stay up" in error.problem


def test_a_service_that_systemd_restarted_meanwhile(world: World) -> None:
    def ready() -> str | None:
        if world.systemd.log:
            world.systemd.unit = world.systemd.unit._replace(restarts=world.systemd.unit.restarts + 1)
        return None

    error = fail(world, world.plan(), ready=ready)
    assert "did not stay up" in error.problem


def test_a_service_that_never_gets_ready(world: World) -> None:
    error = fail(world, world.plan(), ready=lambda: "http://x does not answer", ready_timeout=20)
    assert "demo.service was not ready within 20 s: http://x does not answer." in str(error)
    assert error.details["restored"] is True  # it was not ready before either, so running is all there was
    assert world.picture() == world.before
    assert 20 <= world.systemd.clock.now < 23


def test_a_previous_state_that_does_not_come_back_is_not_called_restored(world: World) -> None:
    broken = False

    def works() -> bool:
        nonlocal broken
        broken = broken or "bad" in world.conf.read_text()
        return not broken

    world.systemd.works = works
    error = fail(world, world.plan("bad"))
    assert error.details["restored"] is False
    assert "The previous state could not be restored: demo.service did not stay up" in str(error)
    assert world.picture() == world.before


def test_a_service_that_was_ready_must_be_ready_again(world: World) -> None:
    def ready() -> str | None:
        return "no answer" if world.systemd.log else None

    error = fail(world, world.plan(), ready=ready, ready_timeout=5)
    assert error.details["restored"] is False
    assert "could not be restored: demo.service was not ready within 5 s: no answer" in str(error)


@pytest.mark.parametrize("verb", ["daemon-reload", "restart"])
def test_systemctl_that_refuses(world: World, verb: str) -> None:
    world.systemd.refuses = verb
    error = fail(world, world.plan())
    assert f"systemctl {verb} demo.service failed" in str(error)
    assert world.picture() == world.before


def test_a_service_that_did_not_run_is_stopped_again(tmp_path: Path) -> None:
    world = World(tmp_path, STOPPED._replace(file_state="disabled"))
    error = fail(world, world.plan("bad"))
    assert world.systemd.log == ["daemon-reload", "enable", "start", "stop", "disable", "daemon-reload"]
    assert (world.systemd.unit.active_state, world.systemd.unit.file_state) == ("inactive", "disabled")
    assert world.picture() == world.before
    assert "the service is stopped, and it was not running before" in str(error)


def test_a_reload_is_taken_back_by_a_reload(world: World) -> None:
    error = fail(world, world.plan(drop_in=None, on_change="reload"), ready=lambda: "502", ready_timeout=1)
    assert world.systemd.log == ["reload", "reload"]
    assert error.details["restored"] is True


def test_a_reload_that_killed_the_service_is_taken_back_by_a_restart(world: World) -> None:
    world.systemd.crash_after = 0
    fail(world, world.plan("bad", drop_in=None, on_change="reload"))
    assert world.systemd.log == ["reload", "restart"]
    assert world.systemd.unit.running


def test_disabling_is_taken_back(world: World) -> None:
    fail(world, world.plan("bad", enabled=False))
    assert world.systemd.log == ["daemon-reload", "disable", "restart", "daemon-reload", "enable", "restart"]


# --- files that cannot be written ----------------------------------------------------------------------------------


def test_a_path_below_a_file(world: World) -> None:
    plan = core.Plan(RUNNING, (core.Change(str(world.conf / "x" / "y"), None, A),), "restart", "x")
    error = fail(world, plan)
    assert str(world.conf) in str(error) and "Not a directory" in str(error)
    assert world.picture() == world.before
    assert world.systemd.log == []


@pytest.mark.parametrize("failing", [1, 2, 3])
@pytest.mark.parametrize("method", ["replace", "unlink", "symlink_to"])
def test_any_write_that_fails_takes_the_others_back(
    world: World, monkeypatch: pytest.MonkeyPatch, method: str, failing: int
) -> None:
    plan = world.plan()
    real = getattr(Path, method)
    count = 0

    def sometimes(self: Path, *args: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count == failing:
            raise OSError(28, "No space left on device", str(self))
        return real(self, *args, **options)

    error = None
    with monkeypatch.context() as patch:
        patch.setattr(Path, method, sometimes)
        try:
            world.run(plan)
        except OllamaError as caught:
            error = caught
    if error:
        assert "is full" in str(error)
        assert world.picture() == world.before
        assert world.systemd.log == []
    else:
        assert not world.plan().changed
    assert error or (method, failing) not in {("replace", 1), ("replace", 2), ("replace", 3), ("symlink_to", 1)}


def test_leftovers_of_a_killed_run_are_cleaned(world: World) -> None:
    for kind in ("old", "new"):
        (world.root / f".demo.conf.llmops-{kind}").write_text("left")
    core.clean([str(world.conf), str(world.root / "no" / "such")])
    assert world.picture() == world.before


def test_a_run_killed_after_writing_is_completed_by_the_next(world: World) -> None:
    files = core.FileSet(world.plan().changes)
    files.write()  # and then the power of the controller fails
    again = world.plan(written={str(world.conf): 2000.0})
    assert (again.changes, again.action) == ((), "restart")


# --- interruptions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_restores_first(world: World, number: signal.Signals) -> None:
    handlers = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    seen: list[str] = []

    def ready() -> str | None:
        if world.systemd.log:
            seen.append(world.conf.read_text())
            signal.raise_signal(number)
        return None

    error = fail(world, world.plan(), ready=ready)
    assert f"Interrupted by {number.name}. The previous files are back and the service runs as before." in str(error)
    # The check of the restored service raised the signal again: what is being restored must be restored.
    assert seen[0] == "good 2" and "good 1" in seen[1:]
    assert world.picture() == world.before
    assert {each: signal.getsignal(each) for each in handlers} == handlers


def test_any_other_error_restores_too(world: World) -> None:
    with pytest.raises(ZeroDivisionError), world.transaction(world.plan()) as trial:
        trial.apply()
        raise ZeroDivisionError
    assert world.picture() == world.before


# --- readiness over HTTP -------------------------------------------------------------------------------------------


def test_readiness_over_http(server: FakeServer, closed_port: int) -> None:
    server.queue = [Answer(200), Answer(503), Answer(404), None]
    check = core.answers(f"{server.url}/api/tags")
    assert check() is None
    assert check() == f"{server.url}/api/tags answers 503"
    assert check() == f"{server.url}/api/tags answers 404"
    assert "does not answer" in str(check())
    assert server.log == ["GET /api/tags"] * 4
    assert "Connection refused" in str(core.answers(f"http://127.0.0.1:{closed_port}")())


def test_readiness_over_https_under_another_name(tmp_path: Path) -> None:
    with FakeMirror(authority(tmp_path, "192.0.2.1")) as server:
        server.files["/v2/"] = b"{}"
        assert core.answers(f"{server.url}/v2/")() is None
        assert core.answers(f"{server.url}/other")() == f"{server.url}/other answers 404"


def test_readiness_needs_an_address() -> None:
    with pytest.raises(InvalidInput, match="ready_url is 'file:///etc/passwd'"):
        core.answers("file:///etc/passwd")


# --- whatever is there ---------------------------------------------------------------------------------------------

STATES = st.one_of(
    st.none(),
    st.builds(core.Link, st.sampled_from(["a", "../b", "/nowhere"])),
    st.builds(core.File, st.binary(max_size=8), st.sampled_from([0o600, 0o644, 0o755])),
)


@given(states=st.lists(st.tuples(STATES, STATES), min_size=1, max_size=4), keep=st.booleans())
def test_any_change_is_made_or_taken_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, states: list[tuple[core.State, core.State]], keep: bool
) -> None:
    root = tmp_path_factory.mktemp("any")
    items = []
    for number, (there, wanted) in enumerate(states):
        path = root / f"{number}"
        items.append(core.Item(str(path), wanted))
        if isinstance(there, core.Link):
            path.symlink_to(there.target)
        elif there is not None:
            path.write_bytes(there.content)
            path.chmod(there.mode)
    before = {item.path: (core.read(item.path), core.written(item.path)) for item in items}
    files = core.FileSet(core.plan(items, {path: state for path, (state, _) in before.items()}, RUNNING).changes)
    files.write()
    assert not core.plan(items, {item.path: core.read(item.path) for item in items}, RUNNING).changed
    if keep:
        files.commit()
        assert not core.plan(items, {item.path: core.read(item.path) for item in items}, RUNNING).changed
    else:
        files.rollback()
        assert {item.path: (core.read(item.path), core.written(item.path)) for item in items} == before
    assert not list(root.glob(".*"))


# --- settings that are only tried ----------------------------------------------------------------------------------


def test_several_states_are_tried_in_one_transaction(world: World) -> None:
    before = world.picture()
    with world.transaction(world.plan(drop_in="[Service]\n# one\n", enabled=None)) as trial:
        trial.apply()
        for text in ("two", "three"):
            trial.switch(str(world.drop_in), core.File(f"[Service]\n# {text}\n".encode(), 0o600))
            assert world.drop_in.read_text() == f"[Service]\n# {text}\n"
            assert world.systemd.log[-2:] == ["daemon-reload", "restart"]
        with pytest.raises(Unhealthy, match="did not stay up"):
            trial.switch(str(world.conf), core.File(b"bad"))
        trial.switch(str(world.conf), core.File(b"good 3"))  # it goes on
        assert world.systemd.unit.running
    assert world.picture() == before
    assert world.systemd.unit.running
    assert not list(world.root.rglob(".*"))


def test_what_cannot_be_tried_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    before = world.picture()
    with world.transaction(world.plan()) as trial:
        trial.apply()
        with monkeypatch.context() as patch, pytest.raises(OllamaError, match=r"50\.conf"):
            patch.setattr(os, "fchmod", lambda *arguments: (_ for _ in ()).throw(PermissionError(1, "no")))
            trial.switch(str(world.drop_in), core.File(b"x"))
    assert world.picture() == before


def test_starting_at_boot_may_be_left_alone() -> None:
    for state in ("enabled", "disabled", ""):
        plan = core.plan([], {}, RUNNING._replace(file_state=state), enabled=None)
        assert (plan.enable, plan.disable, plan.changed) == (False, False, False)
