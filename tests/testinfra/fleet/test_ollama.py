# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Each server of the fleet, looked at from the inside."""

from __future__ import annotations

import json
import re

from testinfra.host import Host

testinfra_hosts = ["ansible://ollama"]

DROP_IN = "/etc/systemd/system/ollama.service.d/50-tuning.conf"


def show(host: Host, *properties: str) -> dict[str, str]:
    output = host.check_output(f"systemctl show ollama -p {','.join(properties)}")
    return dict(line.split("=", 1) for line in output.splitlines())


def test_the_service_runs_and_starts_at_boot(host: Host) -> None:
    assert host.service("ollama").is_running
    assert host.service("ollama").is_enabled


def test_the_unit_is_as_the_guide_wants_it(host: Host) -> None:
    unit = show(host, "User", "Restart", "RestartUSec", "After", "ProtectSystem", "NoNewPrivileges", "NeedDaemonReload")
    assert unit.pop("After").split().count("network-online.target") == 1
    assert unit == {
        "User": "ollama",
        "Restart": "on-failure",
        "RestartUSec": "10s",
        "ProtectSystem": "strict",
        "NoNewPrivileges": "yes",
        "NeedDaemonReload": "no",
    }


def test_the_running_process_has_the_tuned_values(host: Host) -> None:
    wanted = set(re.findall(r'^Environment="(.*)"$', host.file(DROP_IN).content_string, re.MULTILINE))
    assert any(entry.startswith("OLLAMA_NUM_PARALLEL=") for entry in wanted)
    pid = show(host, "MainPID")["MainPID"]
    assert wanted <= set(host.check_output(f"tr '\\0' '\\n' < /proc/{pid}/environ").splitlines())


def test_the_engine_runs_with_the_tuned_slots_and_threads(host: Host) -> None:
    settings = dict(
        entry.split("=", 1) for entry in re.findall(r'^Environment="(.*)"$', host.file(DROP_IN).content_string, re.M)
    )
    runner = next(line for line in host.check_output("ps -eo args").splitlines() if " --port " in line)
    assert f"-np {settings['OLLAMA_NUM_PARALLEL']} " in runner + " "


def test_the_process_cannot_write_where_it_need_not(host: Host) -> None:
    pid = show(host, "MainPID")["MainPID"]
    mounts = host.check_output(f"cat /proc/{pid}/mountinfo").splitlines()
    options = {line.split()[4]: line.split()[5].split(",") for line in mounts}
    assert "ro" in options["/"]
    assert "rw" in options["/var/lib/ollama/models"]


def test_releases_lie_beside_a_link_to_the_current_one(host: Host) -> None:
    link = host.file("/opt/ollama/current")
    assert link.is_symlink
    version = host.check_output("/usr/local/bin/ollama --version").split()[-1]
    assert link.linked_to == f"/opt/ollama/{version}"


def test_the_models_are_those_of_the_inventory(host: Host, model: str) -> None:
    ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:11434/api/tags').read().decode())"
    tags = json.loads(host.check_output("python3 -c %s", ask))["models"]
    assert [entry["name"] for entry in tags] == [model]
    assert tags[0]["details"]["quantization_level"].startswith("Q")


def test_ollama_health(host: Host) -> None:
    assert host.check_output("ollama-health") == "Ollama is healthy"


def test_ollama_health_of_a_stopped_server(host: Host) -> None:
    script = host.file("/usr/local/bin/ollama-health").content_string.replace(":11434", ":9")
    done = host.run("python3 -c %s", script)
    assert done.rc == 1
    assert "Ollama is unhealthy (http://127.0.0.1:9/api/tags: [Errno 111] Connection refused)" in done.stderr


def test_ollama_config_prints_what_the_process_has(host: Host) -> None:
    output = host.check_output("ollama-config")
    assert re.search(r"^OLLAMA_NUM_PARALLEL +\d+  \(requests answered at once\)$", output, re.MULTILINE)
    assert show(host, "MainPID")["MainPID"] in output


def test_nothing_is_left_in_tmp(host: Host) -> None:
    assert host.check_output("find /tmp -maxdepth 1 -name '.llmops-ollama-*'") == ""
