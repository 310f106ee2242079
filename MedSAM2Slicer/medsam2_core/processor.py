"""How torch shares this computer's cores with other programs: told to OpenMP, which listens while torch is loaded."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path, PurePosixPath

_CHOSEN_BY = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def share_cores(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let idle threads sleep, and let there be no more threads than cores that this process may use.

    By default threads that wait for each other spin. Beside another program that computes, they then hold the very core
    that the thread they wait for needs: a run of 60 slices took 126 s beside one such program, and 10 s with a single
    thread. GNU's, Intel's and LLVM's OpenMP all obey OMP_WAIT_POLICY. They and MKL see the cores that a process is
    bound to, but not a container's quota. What the user has set stays. Without effect once torch is loaded.
    """
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if quota_cores() < _bound_cores() and not any(name in environment for name in _CHOSEN_BY):
        environment["OMP_NUM_THREADS"] = str(usable_cores())


def usable_cores() -> int:
    """Return how many cores this process may use: those it is bound to, as far as its control groups grant them."""
    return max(1, math.ceil(min(_bound_cores(), quota_cores())))


def quota_cores(own: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> float:
    """Return the processor time that the control groups grant this process, in cores; infinite without a limit.

    `own` lists its groups, `root` holds their settings. The groups around a group limit it too.
    """
    return min((_quota(folder) for folder in _groups(own, root)), default=math.inf)


def _groups(own: Path, root: Path) -> Iterator[Path]:
    """Where the settings may lie; inside a container the outer part of a path is not there."""
    for line in _lines(own):
        controllers, path = line.split(":", 2)[1:]
        if controllers and "cpu" not in controllers.split(","):
            continue
        inner = PurePosixPath(path.lstrip("/"))
        for mount in (root / controllers, root / "cpu") if controllers else (root, root / "unified"):
            yield from (mount / folder for folder in (inner, *inner.parents))


def _quota(group: Path) -> float:
    written = " ".join(_lines(group / "cpu.max")).split()  # version 2
    if not written:
        written = [*_lines(group / "cpu.cfs_quota_us"), *_lines(group / "cpu.cfs_period_us")]
    try:
        quota, period = map(int, written)
    except ValueError:  # no such file, or "max"
        return math.inf
    return quota / period if quota > 0 else math.inf


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux, or not the group's version
        return []


def _bound_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
