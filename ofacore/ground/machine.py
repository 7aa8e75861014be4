"""What the operating system has and tells: processors, memory of this process, signals.

Everything here asks first: macOS and Windows lack much of what Linux has.
"""

from __future__ import annotations

import math
import mmap
import os
import signal
import sys
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def processors() -> int:
    """Processors that this process may use: of its affinity, where there is one, and of its container's share."""
    affinity = getattr(os, "sched_getaffinity", None)
    present = len(affinity(0)) if affinity else os.cpu_count() or 1
    share = processor_share()
    return present if share is None else min(present, max(1, math.ceil(share)))


def processor_share(folder: Path = _CGROUPS) -> float | None:
    """Processors that the control group of a container gives (``docker run --cpus 2``); None: as many as there are.

    Args:
        folder: Where control groups of version 2, or 1, are mounted.
    """
    limits = (
        (folder / "cpu.max",),
        (folder / "cpu/cpu.cfs_quota_us", folder / "cpu/cpu.cfs_period_us"),
    )
    for files in limits:
        try:
            quota, period = (float(word) for file in files for word in file.read_text().split())
        except (OSError, ValueError):  # not there; or "max 100000", which is no limit
            continue
        if quota > 0 and period > 0:
            return quota / period
    return None


def current_memory() -> int:
    """Resident set of this process, bytes; elsewhere than on Linux its peak, and 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak_memory()
    return pages * mmap.PAGESIZE


def peak_memory() -> int:
    """Largest resident set of this process so far, bytes; 0 where the system does not tell, as on Windows."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def known_signals(*names: str) -> tuple[signal.Signals, ...]:
    """Those of these signals that the system has: Windows knows SIGTERM and SIGINT, but neither SIGHUP nor SIGKILL."""
    return tuple(signal.Signals(getattr(signal, name)) for name in names if hasattr(signal, name))


def signal_name(number: int) -> str:
    """``SIGTERM``; real-time signals have numbers only."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
