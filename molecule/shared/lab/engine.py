# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An Ollama release made on this machine: the layout, names and checksum file of an official one."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .cache import Cache
from .debian import unpacked_root
from .errors import LabError
from .steps import Step, Steps, run

MODULE = "github.com/ollama/ollama"
# The Debian release whose llama.cpp and, where this machine has none, whose Go is used.
SUITE = "forky"


@dataclass(frozen=True)
class Arch:
    """What a processor architecture is called by whom."""

    release: str  # in the names of Ollama's files
    triplet: str  # Debian's library folder
    loader: str  # the dynamic loader


ARCHES = {
    "x86_64": Arch("amd64", "x86_64-linux-gnu", "ld-linux-x86-64.so.2"),
    "aarch64": Arch("arm64", "aarch64-linux-gnu", "ld-linux-aarch64.so.1"),
}


@dataclass(frozen=True)
class Engine:
    """How one version is built."""

    version: str
    # Runs models in llama.cpp's llama-server (since v0.30) rather than inside the ollama binary.
    llama_server: bool = True
    # Compiler flags; constant, so that Go's build cache holds.
    env: Mapping[str, str] = field(default_factory=dict)
    # C headers that the module's archive leaves out: Go module -> files of it to put on the include path.
    headers: Mapping[str, str] = field(default_factory=dict)


# For this processor; but for AMX, whose part of llama.cpp the module's archive leaves out.
NATIVE = "-O3 -march=native -U__AMX_INT8__"

ENGINES = {
    engine.version: engine
    for engine in (
        Engine("0.34.0"),
        Engine(
            "0.24.0",
            llama_server=False,
            env={"CGO_CFLAGS": NATIVE, "CGO_CXXFLAGS": NATIVE},
            headers={"github.com/gen2brain/malgo@v0.11.24": "miniaudio.h"},
        ),
    )
}


def arch() -> Arch:
    """The architecture of this machine."""
    machine = platform.machine()
    if machine not in ARCHES:
        raise LabError(f"The lab cannot build an engine for {machine}: it knows {', '.join(ARCHES)}.")
    return ARCHES[machine]


def archive_name(machine: Arch) -> str:
    """File name of a release for that architecture."""
    return f"ollama-linux-{machine.release}.tar.zst"


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def checksums(folder: Path) -> str:
    """Text of sha256sum.txt for the files of a folder, in the form of the official releases."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != "sha256sum.txt")
    return "".join(f"{sha256(path)}  ./{path.name}\n" for path in files)


def release(steps: Steps, cache: Cache, version: str) -> Path:
    """The cache's folder of a release (archive and sha256sum.txt), built where it is missing."""
    if version not in ENGINES:
        raise LabError(f"The lab cannot build Ollama {version}: it knows {', '.join(ENGINES)}.")
    engine = ENGINES[version]

    def build(folder: Path) -> None:
        machine = arch()
        with cache.scratch() as scratch:
            (scratch / "bin").mkdir()
            (scratch / "lib" / "ollama").mkdir(parents=True)
            if engine.llama_server:
                shutil.copytree(llama(steps, cache), scratch / "lib" / "ollama", dirs_exist_ok=True)
            with steps.step(f"engine Ollama {version}") as step:
                compile_go(steps, step, cache, engine, scratch / "bin" / "ollama")
                step.say("packing")
                pack: list[str | Path] = [
                    "tar",
                    "--use-compress-program=zstd -T0 -6",
                    "--owner=0",
                    "--group=0",
                    "-C",
                    scratch,
                ]
                run([*pack, "-cf", folder / archive_name(machine), "bin", "lib"])
                (folder / "sha256sum.txt").write_text(checksums(folder))

    return cache.entry(f"releases/v{version}", build)


def unpack(folder: Path, target: Path) -> Path:
    """Unpack a release of the cache; return its ollama binary."""
    target.mkdir(parents=True)
    run(["tar", "--zstd", "-xf", folder / archive_name(arch()), "-C", target])
    return target / "bin" / "ollama"


def compile_go(steps: Steps, step: Step, cache: Cache, engine: Engine, binary: Path) -> None:
    """Compile the ollama binary from the Go module of that version."""
    step.say("downloading the source")
    go, env = toolchain(steps, cache, engine)
    source = module(go, env, f"{MODULE}@v{engine.version}")
    env |= engine.env
    if engine.headers:
        env["CGO_CPPFLAGS"] = f"-I{headers(cache, engine, go, env)}"
    step.say("downloading modules")
    listing = run([go, "list", "-deps", "."], cwd=source, env=env, line=lambda text: tell_download(step, text))
    total = len(listing.splitlines())
    built = 0

    def line(text: str) -> bool:
        nonlocal built
        package = re.fullmatch(r"[\w./~+-]+", text) is not None
        if package:
            built += 1
            step.say("compiling", built, total)
        return package

    # Static: a binary made on a newer Debian than the lab's hosts run would want a newer libc than they have.
    flags = f"-w -s -X={MODULE}/version.Version={engine.version} -linkmode external -extldflags -static"
    run(
        [go, "build", "-v", "-buildvcs=false", "-tags", "netgo,osusergo", "-ldflags", flags, "-o", binary, "."],
        cwd=source,
        env=env,
        line=line,
    )


def headers(cache: Cache, engine: Engine, go: Path, env: Mapping[str, str]) -> Path:
    """Include path with the headers that the engine's own module leaves out; always the same, for Go's build cache."""

    def build(folder: Path) -> None:
        for name, header in engine.headers.items():
            target = folder / Path(header).stem
            target.mkdir()
            shutil.copy(module(go, env, name) / header, target)

    return cache.entry(f"headers/v{engine.version}", build)


def tell_download(step: Step, text: str) -> bool:
    """Report a line of Go that says which module it is downloading, and tell whether this is one."""
    downloads = text.startswith("go: downloading ")
    if downloads:
        step.say(text.removeprefix("go: "))
    return downloads


def module(go: Path, env: Mapping[str, str], name: str) -> Path:
    """Folder of the source of a Go module, downloaded through whatever proxy Go is configured for."""
    answer = run([go, "mod", "download", "-json", name], env=env, cwd=Path("/"))
    return Path(json.loads(answer)["Dir"])


def toolchain(steps: Steps, cache: Cache, engine: Engine) -> tuple[Path, dict[str, str]]:
    """The go command and its environment: this machine's own, or Debian's where it is missing or too old."""
    env = {"CGO_ENABLED": "1", "GOTOOLCHAIN": "local"}
    own = shutil.which("go")
    if own:
        wanted = (module(Path(own), env, f"{MODULE}@v{engine.version}") / "go.mod").read_text()
        version = subprocess.run([own, "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout
        if go_version(version) >= go_version(wanted):
            return Path(own), env

    def build(folder: Path) -> None:
        with steps.step("Go from Debian") as step:
            unpacked_root(step, SUITE, folder / "root", ["golang-go"])

    folder = cache.entry(f"go-{SUITE}", build)
    homes = sorted((folder / "root" / "usr" / "lib").glob("go-*"))
    if not homes:
        raise LabError(f"Debian's package golang-go has no Go in usr/lib: see {folder}.")
    return homes[-1] / "bin" / "go", {**env, "GOROOT": str(homes[-1])}


def go_version(text: str) -> tuple[int, ...]:
    """Version in the output of `go env GOVERSION` (go1.26.8) or in the `go` line of a go.mod (go 1.26.0)."""
    found = re.search(r"^go ?(\d+(?:\.\d+)*)", text, re.MULTILINE)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def llama(steps: Steps, cache: Cache) -> Path:
    """The part of a release's lib/ollama that is llama.cpp, from Debian, with all libraries it needs."""

    def build(folder: Path) -> None:
        machine = arch()
        with steps.step("llama.cpp from Debian") as step, cache.scratch() as scratch:
            root = scratch / "root"
            unpacked_root(step, SUITE, root, ["llama.cpp-tools"])
            step.say("collecting libraries")
            relocate(root, machine, ("llama-server", "llama-quantize"), folder)

    return cache.entry(f"llama-{SUITE}", build)


def relocate(root: Path, machine: Arch, programs: Sequence[str], target: Path) -> None:
    """Copy programs out of a root file system so that they run anywhere, with their own loader and libraries.

    They go into the sub-folder rt: Ollama puts lib/ollama itself on LD_LIBRARY_PATH, and a foreign libc there would
    break every program that it starts.
    """
    rt = target / "rt"
    rt.mkdir()
    libraries = root / "usr" / "lib" / machine.triplet
    loader = libraries / machine.loader
    shutil.copy(loader, rt)
    # One back end for each generation of processors, picked when a program starts, from the loader's own folder.
    for backend in libraries.glob("ggml/backends*/*.so"):
        shutil.copy(backend, rt)
    for program in programs:
        binary = root / "usr" / "bin" / program
        listing = run([loader, "--library-path", f"{libraries}:{libraries / 'llama'}", "--list", binary])
        for library, place in needed(listing):
            shutil.copy(place, rt / library)
        shutil.copy(binary, rt / f"{program}.bin")
        wrapper = target / program
        wrapper.write_text(
            "#!/bin/sh\n"
            "unset LD_LIBRARY_PATH\n"
            'rt="${0%/*}/rt"\n'
            f'exec "$rt/{machine.loader}" --library-path "$rt" "$rt/{program}.bin" "$@"\n'
        )
        wrapper.chmod(0o755)


def needed(listing: str) -> list[tuple[str, Path]]:
    """Libraries and where they were found, from what `ld.so --list` printed."""
    found = re.findall(r"^\s*(\S+) => (.+?)(?: \(0x\w+\))?$", listing, re.MULTILINE)
    missing = [library for library, place in found if place == "not found"]
    if missing:
        raise LabError(f"Debian's packages do not bring {', '.join(missing)}, which llama.cpp needs.")
    return [(library, Path(place)) for library, place in found if not library.startswith("/")]
