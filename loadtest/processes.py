"""What a process and its descendants cost, read from /proc (Linux)."""

import os
from pathlib import Path

_PROC = Path("/proc")


def tree(pid: int) -> list[int]:
    """Return a process and all its living descendants."""
    parents: dict[int, int] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                parents[int(entry.name)] = int(fields[1])
    found = [pid]
    for process in found:
        found.extend(child for child, parent in parents.items() if parent == process)
    return found


def cpu_seconds(pid: int) -> float:
    """Return user and system CPU seconds of a process tree, in steps of a clock tick (10 ms)."""
    ticks = 0
    for process in tree(pid):
        fields = _stat(process)
        if fields:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def waited_seconds(pid: int) -> float:
    """Return the seconds that a process's main thread was ready to run and no CPU was free."""
    return int((_PROC / str(pid) / "schedstat").read_text(encoding="ascii").split()[1]) / 1e9


def resident_megabytes(pid: int) -> float:
    """Return the resident memory of a process tree in MB; shared pages count once a process."""
    pages = sum(int(fields[21]) for process in tree(pid) if (fields := _stat(process)))
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def pin(pid: int, cpus: set[int]) -> None:
    """Keep a process tree, threads included, on some CPUs."""
    for process in tree(pid):
        for thread in (_PROC / str(process) / "task").iterdir():
            os.sched_setaffinity(int(thread.name), cpus)


def _stat(pid: int) -> list[str]:
    """Return the fields after the name (state first), or nothing if it is gone."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()
