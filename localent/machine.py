"""What this machine allows: cores and memory that a program started here may really use."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def usable_cores() -> int:
    """Physical cores within this process's affinity and CPU quota: more threads make llama.cpp slower."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = [allowed, _physical_cores(), _cgroup_cores()]
    return max(1, min(int(limit) for limit in limits if limit))


def available_memory() -> int | None:
    """Bytes that can be had without swapping, within the container's limit. None where the system does not say."""
    seen = [_meminfo("MemAvailable"), _cgroup_memory()]
    return min((n for n in seen if n is not None), default=None)


def host() -> dict[str, str]:
    """What identifies this machine in a run's records."""
    return {"system": platform.platform(), "cpu": _cpu_name(), "python": platform.python_version()}


def _physical_cores() -> int | None:
    """Distinct cores, hyper-threads counted once (Linux); None where unknown."""
    cores, package = set(), "0"
    for line in _lines("/proc/cpuinfo"):
        key, _, value = line.partition(":")
        package = value.strip() if key.strip() == "physical id" else package
        if key.strip() == "core id":
            cores.add((package, value.strip()))
    return len(cores) or None


def _cgroup_cores() -> float | None:
    """CPU quota of a version 2 control group, rounded up to whole cores."""
    words = next(iter(_lines("/sys/fs/cgroup/cpu.max")), "max").split()
    return None if words[0] == "max" else -(-int(words[0]) // int(words[1]))


def _cgroup_memory() -> int | None:
    limit = next(iter(_lines("/sys/fs/cgroup/memory.max")), "max")
    used = next(iter(_lines("/sys/fs/cgroup/memory.current")), "0")
    return None if limit == "max" else max(0, int(limit) - int(used))


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
