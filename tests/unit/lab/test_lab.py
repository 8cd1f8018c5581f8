# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The parts of the lab that decide something, without containers, packages or network."""

from __future__ import annotations

import hashlib
import io
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab import cache, debian, engine, fleet, inventory, sources
from lab.errors import LabError
from lab.hosts import FLEETS, small_memory
from lab.sources import Sources
from lab.steps import Steps, run
from rich.console import Console

DEFAULT = FLEETS["default"]
NAMES = {host.name: f"lab-{host.name}" for host in DEFAULT}


@pytest.fixture
def steps() -> Steps:
    return Steps(Console(file=io.StringIO()))


def rendered(chosen: Sources, port: int = 8080) -> dict[str, Any]:
    text = inventory.render(DEFAULT, NAMES, port, chosen, Path("/lab/ssh_config"), "0.34.0", ["gemma3:270m"])
    tree: dict[str, Any] = yaml.safe_load(text)["all"]
    return tree


# inventory


def test_inventory_with_substitutes_names_the_mirror() -> None:
    tree = rendered(Sources(releases=False, registry=False))
    groups = {name: list(group["hosts"]) for name, group in tree["children"].items()}
    assert groups == {"ollama": ["ollama1", "ollama2"], "gateway": ["edge"], "mirror": ["edge"]}
    assert tree["vars"]["ollama_release_url"] == "http://edge:5001/releases"
    assert tree["vars"]["ollama_registry"] == "http://edge:5001"
    assert tree["children"]["ollama"]["hosts"]["ollama1"] == {"ansible_host": "lab-ollama1"}


def test_inventory_with_official_sources_says_nothing_of_a_mirror() -> None:
    tree = rendered(Sources(releases=True, registry=True))
    assert set(tree["children"]) == {"ollama", "gateway"}
    assert not {"ollama_release_url", "ollama_registry"} & set(tree["vars"])


def test_inventory_with_one_substitute_names_only_that() -> None:
    tree = rendered(Sources(releases=True, registry=False))
    assert "mirror" in tree["children"]
    assert "ollama_registry" in tree["vars"]
    assert "ollama_release_url" not in tree["vars"]


def test_inventory_has_the_published_port_and_a_version_that_stays_text() -> None:
    variables = rendered(Sources(releases=True, registry=True), port=8083)["vars"]
    assert variables["gateway_url"] == "http://127.0.0.1:8083"
    assert variables["ollama_version"] == "0.34.0"
    assert variables["ansible_ssh_common_args"] == "-F /lab/ssh_config"


def test_ssh_reaches_a_host_by_both_of_its_names() -> None:
    text = inventory.ssh_config({"ollama1": "lab-ollama1"}, Path("/lab/key"), Path("/shared"))
    assert "Host ollama1 lab-ollama1\n" in text
    assert "podman exec -i lab-ollama1 " in text
    assert "IdentityFile /lab/key\n" in text


# names and ports


def test_two_checkouts_get_different_names(tmp_path: Path, steps: Steps) -> None:
    ours, theirs = tmp_path / "a", tmp_path / "b"
    assert fleet.Fleet(steps, "demo", ours).id != fleet.Fleet(steps, "demo", theirs).id
    assert fleet.Fleet(steps, "demo", ours).id == fleet.Fleet(steps, "demo", ours).id
    assert fleet.Fleet(steps, "demo", ours).id != fleet.Fleet(steps, "molecule", ours).id


def test_a_taken_port_moves_on_to_the_next_free_one() -> None:
    assert fleet.pick_port(8080, free=lambda port: True) == 8080
    assert fleet.pick_port(8080, free=lambda port: port not in (8080, 8081)) == 8082
    with pytest.raises(LabError, match="8080"):
        fleet.pick_port(8080, free=lambda port: False)


def test_a_host_is_made_anew_only_when_its_description_changed(tmp_path: Path, steps: Steps) -> None:
    lab = fleet.Fleet(steps, "demo", tmp_path)
    host = DEFAULT[0]
    official = Sources(releases=True, registry=True)
    command = lab.create_command(host, fleet.State("default", 8080, official), {})
    label = next(word for word in command if word.startswith(f"{fleet.SPEC}=")).removeprefix(f"{fleet.SPEC}=")
    there = {lab.container(host): {"Labels": {fleet.SPEC: label}}}
    assert not lab.needs(host, command, there)
    assert lab.needs(host, command, {})
    edge = DEFAULT[2]
    before = lab.create_command(edge, fleet.State("default", 8080, official), {})
    after = lab.create_command(edge, fleet.State("default", 8081, official), {})
    assert before != after


def test_limits_and_the_mirror_go_to_the_hosts_that_ask_for_them(tmp_path: Path, steps: Steps) -> None:
    lab = fleet.Fleet(steps, "demo", tmp_path)
    state = fleet.State("default", 8080, Sources(releases=False, registry=False))
    commands = {host.name: lab.create_command(host, state, {"models": Path("/cache/m")}) for host in DEFAULT}
    assert {"--cpus=1", "--memory=4g", "--memory-swap=4g"} <= set(commands["ollama1"])
    assert not any(word.startswith(("--cpus=", "--memory")) for word in commands["ollama2"])
    assert "/cache/m:/srv/ollama-mirror/models:ro" in commands["edge"]
    assert "127.0.0.1:8080:8080" in commands["edge"]
    assert "--publish" not in commands["ollama1"]


@pytest.mark.parametrize(("cpus", "expected"), [(1, []), (2, ["--cpuset-cpus=1-1"]), (8, ["--cpuset-cpus=1-7"])])
def test_a_cpu_is_spared_for_other_hosts_where_there_are_several(
    tmp_path: Path, steps: Steps, monkeypatch: pytest.MonkeyPatch, cpus: int, expected: list[str]
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: cpus)
    state = fleet.State("default", 8080, Sources(releases=False, registry=False))
    host = next(host for host in DEFAULT if host.name == "ollama2")
    command = fleet.Fleet(steps, "demo", tmp_path).create_command(host, state, {})
    assert [word for word in command if word.startswith("--cpuset")] == expected


def test_what_was_decided_is_remembered_and_a_damaged_note_is_forgotten(tmp_path: Path, steps: Steps) -> None:
    lab = fleet.Fleet(steps, "demo", tmp_path)
    state = fleet.State("default", 8085, Sources(releases=True, registry=False))
    lab.folder.mkdir(parents=True)
    assert lab.remembered() is None
    lab.remember(state)
    assert lab.remembered() == state
    (lab.folder / "state.json").write_text('{"fleet": 1')
    assert lab.remembered() is None


# sources


def test_each_official_place_is_asked_for_exactly_what_will_be_needed() -> None:
    asked: list[str] = []

    def only_releases(url: str) -> bool:
        asked.append(url)
        return "releases" in url

    assert sources.choose("0.34.0", "gemma3:270m", only_releases, env={}) == Sources(releases=True, registry=False)
    assert {url.partition("//")[2].partition("/")[2] for url in asked} == {
        "ollama/ollama/releases/download/v0.34.0/sha256sum.txt",
        "v2/library/gemma3/manifests/270m",
    }


@pytest.mark.parametrize(("wanted", "substitutes"), [("official", False), ("substitutes", True)])
def test_the_person_can_decide_without_anybody_being_asked(wanted: str, substitutes: bool) -> None:
    def never(url: str) -> bool:
        raise AssertionError(url)

    assert sources.choose("1", "m", never, env={"LLMOPS_SOURCES": wanted}).substitutes is substitutes


# debian and engine

TARGETS = """\
Translations Debian bookworm http://wrong.example/debian/
Packages Debian bookworm-security http://security.example/debian-security/
Packages Elsewhere bookworm http://third.example/
Packages Debian bookworm http://mirror.example/debian/
"""


def test_the_mirror_is_the_one_that_serves_the_machines_own_release() -> None:
    assert debian.mirror_from(TARGETS, "bookworm") == "http://mirror.example/debian/"
    assert debian.mirror_from(TARGETS, "trixie") is None
    assert debian.mirror_from("", "bookworm") is None


def test_checksums_read_like_those_of_an_official_release(tmp_path: Path) -> None:
    (tmp_path / "b.tar.zst").write_bytes(b"two")
    (tmp_path / "a.tar.zst").write_bytes(b"one")
    (tmp_path / "sha256sum.txt").write_text("old")
    one, two = (hashlib.sha256(text).hexdigest() for text in (b"one", b"two"))
    assert engine.checksums(tmp_path) == f"{one}  ./a.tar.zst\n{two}  ./b.tar.zst\n"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go1.26.8\n", (1, 26, 8)),
        ("module github.com/ollama/ollama\n\ngo 1.26.0\n", (1, 26, 0)),
        ("go1.27rc1\n", (1, 27)),
        ("none of it", ()),
    ],
)
def test_versions_of_go(text: str, version: tuple[int, ...]) -> None:
    assert engine.go_version(text) == version


LISTING = """\
\tlinux-vdso.so.1 (0x00007f501a42f000)
\tlibm.so.6 => /root/usr/lib/libm.so.6 (0x00007f501a000000)
\t/lib64/ld-linux-x86-64.so.2 => /root/usr/lib/ld-linux-x86-64.so.2 (0x00007f501a431000)
"""


def test_libraries_are_those_found_and_a_missing_one_is_named() -> None:
    assert engine.needed(LISTING) == [("libm.so.6", Path("/root/usr/lib/libm.so.6"))]
    with pytest.raises(LabError, match=r"libgone\.so\.1"):
        engine.needed(LISTING + "\tlibgone.so.1 => not found\n")


def test_an_unknown_version_is_refused_with_those_that_are_known(tmp_path: Path, steps: Steps) -> None:
    with pytest.raises(LabError, match=r"0\.34\.0"):
        engine.release(steps, cache.Cache(steps, tmp_path), "9.9.9")


# cache and commands


def test_the_cache_is_where_the_environment_says() -> None:
    assert cache.root({"LLMOPS_CACHE": "/x", "XDG_CACHE_HOME": "/y", "HOME": "/h"}) == Path("/x")
    assert cache.root({"XDG_CACHE_HOME": "/y", "HOME": "/h"}) == Path("/y/llmops-ollama")
    assert cache.root({"HOME": "/h"}) == Path("/h/.cache/llmops-ollama")


def test_an_interrupted_build_leaves_nothing(tmp_path: Path, steps: Steps) -> None:
    ours = cache.Cache(steps, tmp_path)

    def break_off(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ours.entry("thing", break_off)
    assert [path.name for path in ours.folder.iterdir()] == ["locks"]
    assert (ours.entry("thing", lambda folder: (folder / "whole").touch()) / "whole").exists()


def test_two_that_want_the_same_build_it_once(tmp_path: Path, steps: Steps) -> None:
    builds: list[Path] = []
    threads = [
        threading.Thread(target=cache.Cache(steps, tmp_path).entry, args=("thing", builds.append)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 1


def test_a_failed_command_shows_what_it_printed() -> None:
    with pytest.raises(LabError, match=r"(?s)exit code 3.*the reason"):
        run(["sh", "-c", "echo the reason >&2; exit 3"])
    with pytest.raises(LabError, match="missing"):
        run(["no-such-command-anywhere"])
    assert run(["cat"], stdin="text") == "text"


def test_a_compiler_that_fails_shows_its_error_and_not_what_it_has_compiled(
    tmp_path: Path, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = tmp_path / "go"
    go.write_text(
        "#!/bin/sh\n"
        '[ "$1" = build ] || exec echo one\n'
        "exec >&2\n"
        "printf '# example.com/broken\\n./broken.go:3:2: undefined: gone\\n'\n"
        "seq --format=example.com/package%.0f 50\n"
        "exit 1\n"
    )
    go.chmod(0o755)
    monkeypatch.setattr(engine, "toolchain", lambda *_: (go, {}))
    monkeypatch.setattr(engine, "module", lambda *_: tmp_path)
    with steps.step("compile") as step, pytest.raises(LabError, match=r"broken\.go:3:2: undefined: gone$"):
        engine.compile_go(steps, step, cache.Cache(steps, tmp_path), engine.ENGINES["0.34.0"], tmp_path / "ollama")


@pytest.mark.parametrize(
    ("cpuinfo", "memory"),
    [
        ("processor : 0\nflags : fpu avx2 avx512f\n", "704m"),
        ("processor : 0\nflags\t\t: fpu avx512f amx_tile amx_int8\n", "896m"),
        ("processor : 0\nFeatures : fp asimd asimddp\n", "896m"),
        ("processor : 0\nmodel name : amx_int8\n", "704m"),
    ],
)
def test_the_small_host_has_room_for_the_model_as_it_is_here(cpuinfo: str, memory: str) -> None:
    assert small_memory(cpuinfo) == memory
