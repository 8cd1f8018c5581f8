# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From options to a plan, and the module's result; the transaction is tested with its core."""

from __future__ import annotations

import grp
import os
import pwd
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llmops.ollama.plugins.module_utils import transaction
from ansible_collections.llmops.ollama.plugins.module_utils.errors import Unhealthy
from ansible_collections.llmops.ollama.plugins.module_utils.systemd import Systemd, Unit

RunModule = Callable[..., dict[str, Any]]


class Service:
    """What systemd would know and was told."""

    def __init__(self) -> None:
        self.unit = Unit("demo.service", "loaded", "active", "running", "enabled", main_pid=5, started=1.0, changed=1.0)
        self.properties: dict[str, str] = {}
        self.told: list[str] = []
        self.broken = False

    def do(self, verb: str) -> None:
        self.told.append(verb)
        if self.broken and verb in ("restart", "reload") and self.told.count(verb) == 1:
            raise Unhealthy(f"systemctl {verb} demo.service failed: no.")


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    service = Service()
    monkeypatch.setattr(transaction, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(Systemd, "show", lambda self, unit: service.unit._replace(name=unit))
    monkeypatch.setattr(Systemd, "properties", lambda self, unit, names: service.properties)
    monkeypatch.setattr(Systemd, "journal", lambda self, unit, since: ["a line"])
    for verb in ("start", "restart", "reload", "enable", "disable", "stop"):
        monkeypatch.setattr(Systemd, verb, lambda self, unit, verb=verb: service.do(verb))
    monkeypatch.setattr(Systemd, "daemon_reload", lambda self: service.do("daemon-reload"))
    return service


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "gone").touch()
    old = 0.5  # before the service started
    os.utime(tmp_path / "gone", (old, old))
    return {
        "name": "demo",
        "files": [
            {"path": f"{tmp_path}/demo.conf", "content": "é\n"},
            {"path": f"{tmp_path}/helper", "content": "#!/bin/sh\n", "mode": "0755", "restart": False},
        ],
        "links": [{"path": f"{tmp_path}/current", "target": "0.34.0"}],
        "absent": [f"{tmp_path}/gone"],
        "on_change": "reload",
    }


def age(folder: Path, service: Service) -> None:
    """Let everything in the folder be older than the service's start, which is past, too."""
    now = time.time()
    for path in folder.iterdir():
        os.utime(path, (now - 100, now - 100), follow_symlinks=False)
    service.unit = service.unit._replace(started=now - 50)


def test_predicted_then_done_then_nothing(
    run_module: RunModule, service: Service, options: dict[str, Any], tmp_path: Path
) -> None:
    predicted = run_module("service_files", check=True, diff=True, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["gone"]
    done = run_module("service_files", diff=True, **options)
    for result in (predicted, done):
        assert {key: result[key] for key in ("changed", "name", "action", "action_reason", "paths")} == {
            "changed": True,
            "name": "demo.service",
            "action": "reload",
            "action_reason": f"{tmp_path}/demo.conf changed",
            "paths": [f"{tmp_path}/{name}" for name in ("demo.conf", "helper", "current", "gone")],
        }
    assert predicted["diff"] == done["diff"]
    assert [entry["after"] for entry in done["diff"]] == ["é\n", "#!/bin/sh\n", "-> 0.34.0\n", ""]
    assert service.told == ["reload"]
    assert (tmp_path / "demo.conf").read_text(encoding="utf-8") == "é\n"
    assert (tmp_path / "helper").stat().st_mode & 0o7777 == 0o755
    age(tmp_path, service)
    again = run_module("service_files", diff=True, **options)
    assert (again["changed"], again["action"], again["paths"], again["diff"]) == (False, "none", [], [])
    assert service.told == ["reload"]


def test_a_file_that_only_lies_beside_leaves_the_service_alone(
    run_module: RunModule, service: Service, options: dict[str, Any], tmp_path: Path
) -> None:
    run_module("service_files", **options)
    age(tmp_path, service)
    service.told.clear()
    options["files"][1]["content"] = "#!/bin/bash\n"
    result = run_module("service_files", **options)
    assert (result["changed"], result["action"], service.told) == (True, "none", [])


@pytest.mark.parametrize(("on_change", "told"), [("restart", ["restart"]), ("reload", [])])
def test_files_of_the_unit_that_others_wrote_are_taken_up(  # one column each
    run_module: RunModule, service: Service, options: dict[str, Any], tmp_path: Path, on_change: str, told: list[str]
) -> None:
    options["on_change"] = on_change
    run_module("service_files", **options)
    others = [tmp_path / "demo.service.d/60-local.conf", tmp_path / "demo.d/a.env"]
    service.properties = {
        "DropInPaths": f"{others[0]} /usr/lib/systemd/system/service.d/10-timeout.conf",
        "EnvironmentFiles": f"{tmp_path}/demo.d/*.env (ignore_errors=yes)",
    }
    for other in others:
        age(tmp_path, service)
        service.told.clear()
        other.parent.mkdir()
        other.touch()
        os.utime(other, (service.unit.started + 5, service.unit.started + 5))
        result = run_module("service_files", **options)
        assert (result["changed"], service.told) == (bool(told), told)
        assert not told or result["action_reason"] == f"{other} is newer than the running process"
        service.unit = service.unit._replace(started=service.unit.started + 9)


def test_links_to_files_of_others_are_followed_and_a_time_to_come_tells_nothing(
    run_module: RunModule, service: Service, options: dict[str, Any], tmp_path: Path
) -> None:
    options["on_change"] = "restart"
    run_module("service_files", **options)
    target, link = tmp_path / "checkout.env", tmp_path / "demo.env"
    target.touch()
    link.symlink_to(target)
    service.properties = {"EnvironmentFiles": f"{link} (ignore_errors=no)"}
    age(tmp_path, service)
    assert not run_module("service_files", **options)["changed"]
    for seconds, action in ((5, "restart"), (1000, "none")):
        moment = service.unit.started + seconds
        os.utime(target, (moment, moment))
        assert run_module("service_files", check=True, **options)["action"] == action


def test_a_stale_process_is_reported_with_its_reason(
    run_module: RunModule, service: Service, options: dict[str, Any], tmp_path: Path
) -> None:
    run_module("service_files", **options)
    result = run_module("service_files", check=True, **options)
    assert (result["changed"], result["action"]) == (True, "reload")
    assert result["action_reason"].endswith("is newer than the running process")


def test_a_certificate_that_was_renewed_is_taken_up(
    run_module: RunModule, service: Service, options: dict[str, Any], tmp_path: Path
) -> None:
    run_module("service_files", **options)
    age(tmp_path, service)
    certificate = tmp_path / "certificate"
    options["reads"] = [str(certificate)]
    assert not run_module("service_files", **options)["changed"]  # it is not there yet
    certificate.touch()
    later = service.unit.started + 1
    os.utime(certificate, (later, later))
    result = run_module("service_files", **options)
    assert (result["action"], result["action_reason"]) == (
        "reload",
        f"{certificate} is newer than the running process",
    )


def test_failure(run_module: RunModule, service: Service, options: dict[str, Any], tmp_path: Path) -> None:
    service.broken = True
    result = run_module("service_files", **options)
    assert result["failed"]
    assert (result["restored"], result["journal"]) == (True, ["a line"])
    assert result["reason"] == "systemctl reload demo.service failed: no."
    assert "The previous files are back and the service runs as before." in result["msg"]
    assert [path.name for path in tmp_path.iterdir()] == ["gone"]
    assert service.told == ["reload", "reload"]


def test_a_validator_that_is_not_there(
    run_module: RunModule, service: Service, options: dict[str, Any], tmp_path: Path
) -> None:
    result = run_module("service_files", validate=["no-such-validator", "-t"], **options)
    assert "no-such-validator -t cannot be run" in result["msg"]
    assert "the service was not touched" in result["msg"]
    assert (service.told, [path.name for path in tmp_path.iterdir()]) == ([], ["gone"])


def test_owners_by_name(run_module: RunModule, service: Service, tmp_path: Path) -> None:
    user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
    entry = {"path": f"{tmp_path}/x", "content": "", "owner": user, "group": group}
    result = run_module("service_files", name="demo", files=[entry], diff=True)
    assert result["diff"][0]["after_header"].endswith(f"owner {os.geteuid()}:{os.getegid()})")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mode": 420}, "The mode '420' of /x is not four octal digits. Quote it"),  # an unquoted 0644 in YAML
        ({"mode": "0999"}, "The mode '0999' of /x is not four octal digits"),
        ({"owner": "nobody-such"}, "/x: \"getpwnam(): name not found: 'nobody-such'\". Create the user"),
        ({"group": "nobody-such"}, "name not found: 'nobody-such'"),
        ({"path": "x/../y"}, "is not an absolute path"),
    ],
)
def test_options_that_are_refused(run_module: RunModule, service: Service, change: dict[str, Any], words: str) -> None:
    result = run_module("service_files", name="demo", files=[{"path": "/x", "content": "", **change}])
    assert words.replace('"getpwnam', "getpwnam").replace("such'\"", "such'") in result["msg"]
    assert service.told == []


def test_ready_url_is_checked_first(run_module: RunModule, service: Service) -> None:
    result = run_module("service_files", name="demo", ready_url="127.0.0.1:80")
    assert "ready_url is '127.0.0.1:80', which is not an address" in result["msg"]
