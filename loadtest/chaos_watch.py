"""What a gateway process uses over a run: memory, CPU, open files and sockets (Linux)."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from loadtest.chaos_checks import Check
from loadtest.processes import resident_megabytes, waited_seconds

_LISTENS = "0A"
_MOST_GROWTH = 1.1
_SPARE = 4  # files: health checks keep a connection more or less
_REDIS_POOL = 132  # connections that the gateway keeps to its Redis once it needed them

CLIENTS, WORKERS, REDIS = "of clients", "to workers", "to redis"


@dataclass(frozen=True, slots=True)
class Sample:
    """One look: seconds since the start, MB, open files, requests open.

    `waited_s` is how long the process has been ready to run without a free core, `ping_s` how long
    it took to say that it lives (infinite if it did not).
    """

    at: float
    megabytes: float
    files: int
    open_requests: int
    waited_s: float = 0.0
    ping_s: float = 0.0


@dataclass(slots=True)
class Watch:
    """Looks at a process again and again.

    Attributes:
        pid: Of the gateway.
        every_s: Seconds between looks.
        ping: Asks whether it lives, and returns how long that took.
        open_requests: How many the load client has open, changed by it.
    """

    pid: int
    every_s: float
    ping: Callable[[], Awaitable[float]]
    open_requests: int = 0
    samples: list[Sample] = field(default_factory=list)

    async def look(self) -> None:
        """Look until cancelled."""
        start = time.perf_counter()
        while True:
            at = time.perf_counter() - start
            self.samples.append(
                Sample(
                    at,
                    resident_megabytes(self.pid),
                    open_files(self.pid),
                    self.open_requests,
                    waited_seconds(self.pid),
                    await self.ping(),
                )
            )
            await asyncio.sleep(self.every_s)


def open_files(pid: int) -> int:
    """Return how many files a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def sockets(pid: int, port: int, workers: Sequence[int]) -> Counter[str]:
    """Return a process's open files by kind; its unix sockets are those to Redis.

    Args:
        pid: The process.
        port: It listens on.
        workers: Ports of its workers.
    """
    tcp = _tcp(pid)
    kinds: Counter[str] = Counter()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue  # closed meanwhile
        inode = target.removeprefix("socket:[").removesuffix("]")
        if not target.startswith("socket:"):
            kinds["files"] += 1
        elif inode not in tcp:
            kinds[REDIS] += 1
        else:
            kinds[_kind(tcp[inode], port, workers)] += 1
    return kinds


def _kind(ends: tuple[int, int, str], port: int, workers: Sequence[int]) -> str:
    local, remote, state = ends
    if state == _LISTENS:
        return "listening"
    if local == port:
        return CLIENTS
    return WORKERS if remote in workers else "other tcp"


def _tcp(pid: int) -> dict[str, tuple[int, int, str]]:
    """Return local port, remote port and state of TCP sockets, by inode."""
    found = {}
    for line in Path(f"/proc/{pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        local, remote = (int(fields[place].rpartition(":")[2], 16) for place in (1, 2))
        found[fields[9]] = (local, remote, fields[3])
    return found


def check_memory(samples: Sequence[Sample], seconds: float) -> Check:
    """Check that memory stays level: the last tenth of the run against its third tenth.

    Of ten minutes these are the tenth and the third.
    """
    early = _median(samples, 0.2 * seconds, 0.3 * seconds)
    late = _median(samples, 0.9 * seconds, seconds)
    peak = max((sample.megabytes for sample in samples), default=0.0)
    tenth = seconds / 10
    return Check(
        f"memory of the last {tenth:.0f} s is at most {_MOST_GROWTH} times that of "
        f"{2 * tenth:.0f} to {3 * tenth:.0f} s",
        0 < late <= _MOST_GROWTH * early,
        f"{early:.1f} MB, then {late:.1f} MB ({late / max(early, 1e-9):.3f} times); "
        f"peak {peak:.1f} MB",
    )


def _median(samples: Sequence[Sample], start: float, end: float) -> float:
    inside = [sample.megabytes for sample in samples if start <= sample.at <= end]
    return median(inside) if inside else 0.0


def check_files(
    before: Mapping[str, int], after: Mapping[str, int], gauges: Mapping[str, float]
) -> Check:
    """Check that files, sockets and work are back where they were before the load.

    Args:
        before: Open files by kind, quiet, after a first handful of requests.
        after: The same, quiet, at the end.
        gauges: What the gateway says it still does, by metric.
    """
    busy = {name: value for name, value in gauges.items() if value}
    grown = {kind: after[kind] - before.get(kind, 0) for kind in after}
    redis = grown.pop(REDIS, 0)
    level = sum(grown.values()) <= _SPARE and redis <= _REDIS_POOL and not after.get(CLIENTS)
    return Check(
        "open files are back at the beginning's level and nothing is in flight",
        level and not busy,
        f"before: {_listed(before)}; after: {_listed(after)}; in flight: {busy or 'nothing'}",
    )


def _listed(kinds: Mapping[str, int]) -> str:
    each = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    return f"{sum(kinds.values())} ({each})"
