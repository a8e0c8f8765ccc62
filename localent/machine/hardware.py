"""Cores, memory, disk and GPUs that this process may use."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ASK_S = 10  # time limit of a program that lists GPUs, in seconds


@dataclass(frozen=True, slots=True)
class Cores:
    """The limits on threads; None: no such limit, or unknown."""

    allowed: int  # by this process's affinity
    physical: int | None  # hyper-threads counted once
    quota: int | None  # of the control group, rounded up

    @property
    def usable(self) -> int:
        return max(1, min(limit for limit in (self.allowed, self.physical, self.quota) if limit))


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU of this machine; llama.cpp may not be built for it."""

    name: str
    backend: str  # the CMake option that builds llama.cpp for it: "CUDA", "HIP", "METAL", "VULKAN"
    total_bytes: int | None = None
    arch: str | None = None  # CUDA: compute capability without the point


def cores() -> Cores:
    """The limits on this process's threads."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Cores(allowed, _physical_cores(), _cgroup_cores())


def usable_cores() -> int:
    """Physical cores within this process's affinity and CPU quota: more threads make llama.cpp slower."""
    return cores().usable


def available_memory() -> int | None:
    """Bytes available without swapping, within the container's limit; None where unknown."""
    seen = [_meminfo("MemAvailable") or _total_memory(), _cgroup_memory()]
    return min((n for n in seen if n is not None), default=None)


def total_memory() -> int | None:
    """Bytes of memory in total, within the container's limit."""
    limit = next(iter(_lines("/sys/fs/cgroup/memory.max")), "max")
    seen = [_meminfo("MemTotal") or _total_memory(), None if limit == "max" else int(limit)]
    return min((n for n in seen if n is not None), default=None)


def free_disk(folder: Path) -> int:
    """Bytes free where `folder` is, or would be."""
    for place in (folder, *folder.absolute().parents):
        with suppress(OSError):  # not there yet, or not ours to look into
            return shutil.disk_usage(place).free
    return 0


def cpu_flags() -> frozenset[str]:
    """Features of the processor by the system's names; empty where unknown."""
    found = (line.partition(":")[2] for line in _lines("/proc/cpuinfo") if line.startswith(("flags", "Features")))
    return frozenset(next(found, "").split())


def gpus() -> list[Gpu]:
    """The GPUs of this machine, best backend first."""
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return [Gpu("Apple GPU", "METAL", _total_memory())]
    return _nvidia() or _amd() or _vulkan()


def _nvidia() -> list[Gpu]:
    asked = _output("nvidia-smi", "--query-gpu=name,memory.total,compute_cap", "--format=csv,noheader,nounits")
    rows = [[cell.strip() for cell in line.split(",")] for line in asked.splitlines()]
    return [Gpu(row[0], "CUDA", _mebibytes(row[1]), row[2].replace(".", "")) for row in rows if len(row) == 3]


def _amd() -> list[Gpu]:
    if not Path("/dev/kfd").exists():
        return []
    names = [line.split(":", 1)[1].strip() for line in _output("rocminfo").splitlines() if "Marketing Name" in line]
    return [Gpu(next((n for n in names if "Radeon" in n or "Instinct" in n), "AMD GPU"), "HIP")]


def _vulkan() -> list[Gpu]:
    """Any other GPU with a display driver: Vulkan may run on it."""
    cards = Path("/dev/dri").glob("renderD*") if Path("/dev/dri").is_dir() else ()
    asked = _output("vulkaninfo", "--summary") if any(cards) else ""
    names = [line.partition("=")[2].strip() for line in asked.splitlines() if "deviceName" in line]
    return [Gpu(name, "VULKAN") for name in names if "llvmpipe" not in name]


def _output(*command: str) -> str:
    """The output of another program; empty where it is absent, fails or hangs."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=ASK_S, check=True).stdout
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""


def _mebibytes(text: str) -> int | None:
    return int(text) << 20 if text.isdigit() else None


def _total_memory() -> int | None:
    """Physical memory in bytes, for systems without /proc/meminfo."""
    try:
        return None if Path("/proc/meminfo").exists() else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def host() -> dict[str, str]:
    """The system, processor and Python that a session is stored with."""
    return {"system": platform.platform(), "cpu": _cpu_name(), "python": platform.python_version()}


def _physical_cores() -> int | None:
    """Distinct cores, hyper-threads counted once (Linux); None where unknown."""
    cores: set[tuple[str, str]] = set()
    package = "0"
    for line in _lines("/proc/cpuinfo"):
        key, _, value = line.partition(":")
        package = value.strip() if key.strip() == "physical id" else package
        if key.strip() == "core id":
            cores.add((package, value.strip()))
    return len(cores) or None


def _cgroup_cores() -> int | None:
    """CPU quota of the control group, rounded up to whole cores."""
    words = next(iter(_lines("/sys/fs/cgroup/cpu.max")), "").split() or [
        *_lines("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"),  # version 1; -1: none
        *_lines("/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
    ]
    limited = len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]) > 0
    return -(-int(words[0]) // int(words[1])) if limited else None


def _cgroup_memory() -> int | None:
    limit = next(iter(_lines("/sys/fs/cgroup/memory.max")), "max")
    used = next(iter(_lines("/sys/fs/cgroup/memory.current")), "0")
    cached = (line.split()[1] for line in _lines("/sys/fs/cgroup/memory.stat") if line.startswith("inactive_file "))
    reclaimable = int(next(cached, 0))  # the system's cache of files counts as used, but makes room when asked
    return None if limit == "max" else max(0, int(limit) - int(used) + reclaimable)


def _meminfo(key: str) -> int | None:
    found = (line.split() for line in _lines("/proc/meminfo") if line.startswith(f"{key}:"))
    return next((int(words[1]) * 1024 for words in found), None)


def _cpu_name() -> str:
    names = (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
