# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""GPUs: NVIDIA by its driver's tool, AMD and Intel by sysfs. A tool is only started where its vendor's device exists.

AMD's ``rocm-smi`` is only asked for what sysfs does not say: it is a Python program that mostly reads the same files.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from typing import Callable, Optional

from ansible_collections.llmops.ollama.plugins.module_utils.hardware.description import MIB, Gpu
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.files import Files, to_int
from ansible_collections.llmops.ollama.plugins.module_utils.hardware.virtualization import (
    is_container,
    read_virtualization,
)
from ansible_collections.llmops.ollama.plugins.module_utils.words import from_json

# Runs a command and returns its output, or None when it is missing or fails. Raises ``TimeoutExpired`` when it hangs.
Run = Callable[[Sequence[str]], Optional[str]]

TOOL_SECONDS = 10.0
NVIDIA_QUERY = ("nvidia-smi", "--format=csv,noheader,nounits", "--query-gpu=name,memory.total,mig.mode.current")
# Drivers before 450 do not know the MIG field and refuse the whole query.
NVIDIA_OLD_QUERY = ("nvidia-smi", "--format=csv,noheader,nounits", "--query-gpu=name,memory.total")
NVIDIA_LIST = ("nvidia-smi", "-L")
# WSL has its tool and its device elsewhere.
WSL_TOOLS = "/usr/lib/wsl/lib"
WSL_NODE = "/dev/dxg"
# What the tool says of memory that is none of the GPU's own.
NO_MEMORY = ("[N/A]", "[Not Supported]")
ROCM_QUERY = ("rocm-smi", "--showmeminfo", "vram", "--json")
ROCM_TOTAL = "VRAM Total Memory (B)"

# An AMD APU carves a small part of main memory out as VRAM and borrows the rest through the GTT; Ollama
# (discover/amd.go) tells it by these proportions from a card, of which the driver has one of these files.
APU_VRAM_MAX = 4 << 30
APU_GTT_MIN = 8 << 30
APU_GTT_FACTOR = 4
CARD_FILES = ("mem_info_vram_vendor", "board_info")
KFD_NODES = "/sys/class/kfd/kfd/topology/nodes"
# Numbers of Intel's cards: DG1, Alchemist, Ponte Vecchio, Battlemage (Linux, include/drm/intel/pciids.h).
INTEL_CARD = re.compile(r"0x(490|56[9a-c]|0bd|e2)")


def run_command(command: Sequence[str]) -> str | None:
    """Run a tool of the host, bounded in time.

    One that hangs is killed and not waited for: where it hangs in its driver, not even that ends it.
    """
    program = shutil.which(command[0]) or shutil.which(command[0], path=WSL_TOOLS)
    if not program:
        return None
    try:
        process = subprocess.Popen(  # a fixed command
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            errors="replace",
        )
    except OSError:
        return None
    try:
        output, _ = process.communicate(timeout=TOOL_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return output if process.returncode == 0 else None


def _until_it_hangs(run: Run) -> Run:
    """The same, but a tool that hung once is not started again: it would be waited for as long."""
    hung: set[str] = set()

    def run_again(command: Sequence[str]) -> str | None:
        if command[0] in hung:
            return None
        try:
            return run(command)
        except subprocess.TimeoutExpired:
            hung.add(command[0])
            return None

    return run_again


def read_gpus(files: Files, memory_mb: int, run: Run = run_command) -> tuple[Gpu, ...]:
    """The GPUs that an engine on this host can use: those with a driver whose device nodes are there, too.

    A container sees its host's cards in /sys and /proc without being given them. Of GPUs that are partitioned (MIG),
    one process is given a single instance, and no whole GPU beside it: the first instance is all that is reported.
    ``memory_mb`` is the main memory, which an integrated NVIDIA GPU (Jetson, GB10) shares.
    """
    model = files.read("/proc/device-tree/model")
    compatible = files.read("/proc/device-tree/compatible").split("\0")
    if "Jetson" in model or any(each.startswith("nvidia,tegra") for each in compatible):
        return (Gpu(vendor="nvidia", name=model, memory_mb=memory_mb, integrated=True),)
    run = _until_it_hangs(run)
    return (*_nvidia(files, memory_mb, run), *_drm(files, run))


def _nvidia(files: Files, memory_mb: int, run: Run) -> list[Gpu]:
    known = files.glob("/proc/driver/nvidia/gpus/*/information")
    nodes = any(files.exists(path) for path in ("/dev/nvidiactl", WSL_NODE)) or bool(files.glob("/dev/nvidia[0-9]*"))
    # Outside of containers the driver makes its nodes when they are first needed.
    if not nodes and (not known or is_container(read_virtualization(files))):
        return []
    table = run(NVIDIA_QUERY) or run(NVIDIA_OLD_QUERY)
    if table is None:
        names = [re.search(r"Model:\s*(.+)", files.read(path)) for path in known]
        return [Gpu(vendor="nvidia", name=name.group(1) if name else "") for name in names]
    # A line that is no row is a complaint: the tool makes some of them without failing.
    rows = [[field.strip() for field in line.split(",")] for line in table.splitlines() if "," in line]
    partitioned = any("Enabled" in row[2:] for row in rows)
    instance = _first_instance(run(NVIDIA_LIST) or "") if partitioned else None
    whole = [
        Gpu("nvidia", row[0], memory_mb, integrated=True)
        if row[1] in NO_MEMORY
        # A card that has to be reset tells so in the place of a size.
        else Gpu("nvidia", f"{row[0]} {row[1] if row[1].startswith('[') else ''}".strip(), to_int(row[1]))
        for row in rows
        if "Enabled" not in row[2:]
    ]
    return [instance] if instance else whole


def _first_instance(listing: str) -> Gpu | None:
    """The first MIG instance in the output of ``nvidia-smi -L``."""
    board = ""
    for line in listing.splitlines():
        found = re.match(r"GPU \d+: (.+?) \(UUID", line)
        instance = re.match(r"\s+MIG (\S*?(\d+)gb\S*)", line)
        board = found.group(1) if found else board
        if instance:
            memory_mb = int(instance.group(2)) * 10**9 // MIB
            return Gpu(vendor="nvidia", name=f"{board} MIG {instance.group(1)}", memory_mb=memory_mb)
    return None


def _drm(files: Files, run: Run) -> list[Gpu]:
    """The AMD and Intel GPUs that a kernel driver has bound, and that programs can reach."""
    amd_usable = files.exists("/dev/kfd")  # without it there is no ROCm
    gpus = []
    amd = 0
    for card in files.glob("/sys/class/drm/card[0-9]*"):
        device = f"{card}/device"
        vendor = files.read(f"{device}/vendor") if _is_here(files, device) else ""
        if vendor == "0x1002" and amd_usable:
            vram = files.integer(f"{device}/mem_info_vram_total") or _rocm_memory(run, amd)
            amd += 1
            gpus.append(
                Gpu(
                    vendor="amd",
                    name=files.read(f"{device}/product_name") or f"AMD {files.read(f'{device}/device')}",
                    memory_mb=None if vram is None else vram // MIB,
                    integrated=_is_apu(files, device, vram or 0),
                    target=_target(files, device),
                )
            )
        elif vendor == "0x8086":
            memory, number = _intel_memory(files, card), files.read(f"{device}/device")
            gpus.append(
                Gpu(
                    vendor="intel",
                    name=f"Intel {number}",
                    memory_mb=None if memory is None else memory // MIB,
                    integrated=memory is None and not INTEL_CARD.match(number),
                )
            )
    return gpus


def _is_apu(files: Files, device: str, vram: int) -> bool:
    """Whether an AMD GPU with so many bytes of its own lives in main memory."""
    if any(files.exists(f"{device}/{name}") for name in CARD_FILES):
        return False
    gtt = files.integer(f"{device}/mem_info_gtt_total") or 0
    return 0 < vram <= APU_VRAM_MAX and gtt >= max(APU_GTT_MIN, APU_GTT_FACTOR * vram)


def _target(files: Files, device: str) -> str:
    """What ROCm compiles for on this AMD GPU, for example ``gfx1151``; empty where its driver does not tell."""
    nodes = [path.rpartition("/renderD")[2] for path in files.glob(f"{device}/drm/renderD*")]
    for path in files.glob(f"{KFD_NODES}/*/properties"):
        properties = dict(line.split(" ", 1) for line in files.read(path).splitlines() if " " in line)
        version = to_int(properties.get("gfx_target_version", "")) or 0
        if version and properties.get("drm_render_minor") in nodes:
            return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"
    return ""


def _intel_memory(files: Files, card: str) -> int | None:
    """Bytes of an Intel card's own memory. i915 tells them in some kernels only, xe for each of the card's parts."""
    tiles = files.glob(f"{card}/device/tile*/physical_vram_size_bytes")
    sizes = [files.integer(path) for path in tiles] or [files.integer(f"{card}/lmem_total_bytes")]
    return sum(size or 0 for size in sizes) or None


def _is_here(files: Files, device: str) -> bool:
    """Whether there is a node to compute on this device by. Where sysfs does not tell which is its, any counts."""
    nodes = [path.rpartition("/")[2] for path in files.glob(f"{device}/drm/renderD*")]
    return any(files.exists(f"/dev/dri/{node}") for node in nodes) if nodes else bool(files.glob("/dev/dri/renderD*"))


def _rocm_memory(run: Run, index: int) -> int | None:
    """Bytes of one AMD GPU's own memory; the tool counts them as ``card0``, ``card1``, ..."""
    try:
        return to_int(str(from_json(run(ROCM_QUERY) or "{}")[f"card{index}"][ROCM_TOTAL]))
    except (ValueError, KeyError, TypeError):  # not there, or of another form
        return None
