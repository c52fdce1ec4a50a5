"""How many processor cores this process may use, and how its threads wait for one; set before any thread starts."""

from __future__ import annotations

import os
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from math import ceil
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def share_cores(environment: MutableMapping[str, str], root: Path = CGROUP) -> None:
    """Let OpenMP's threads sleep while they wait, and start no more of them than there are cores for this process.

    Threads that spin hold the cores that others need: two of them beside a dozen busy processes wait for each other
    most of the time. Torch reads both variables when it is imported. What the user has set stays.
    """
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    usable = usable_cores(root)
    if usable < (os.cpu_count() or 1):
        environment.setdefault("OMP_NUM_THREADS", str(usable))


def usable_cores(root: Path = CGROUP) -> int:
    """Cores by affinity, and by the quota that a container sets (cgroup v2 or v1); at least one."""
    affinity: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    quota = _quota(root)
    return cores if quota is None else max(1, min(cores, ceil(quota)))


def _quota(root: Path) -> float | None:
    """CPU time per time, or None without a limit."""
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (root / "cpu.max").read_text(encoding="ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    with suppress(OSError, ValueError, ZeroDivisionError):
        files = (root / "cpu" / f"cpu.cfs_{name}_us" for name in ("quota", "period"))
        quota, period = (file.read_text(encoding="ascii") for file in files)
        return int(quota) / int(period) if int(quota) > 0 else None
    return None
