"""What workers say of their own load: vLLM's and llama.cpp's `/metrics`, read for two numbers.

Several gateways may send to one worker: its own numbers show what the others have there.
"""

import asyncio
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import httpx

from entroute.backends.http_worker import HttpWorker
from entroute.backends.wire import CONTINUING
from entroute.decisions import WorkerLoad
from entroute.protocols import Clock, WorkerView

MOST_BYTES = 2 * 1024 * 1024
"""A page larger than this says nothing; vLLM's has about 100 kB."""

_RUNNING = (b"vllm:num_requests_running", b"llamacpp:requests_processing")
_WAITING = (b"vllm:num_requests_waiting", b"llamacpp:requests_deferred")
_KV_USE = (b"vllm:kv_cache_usage_perc", b"llamacpp:kv_cache_usage_ratio")


class Loaded(Protocol):
    """A worker whose load is kept."""

    load: WorkerLoad | None

    @property
    def worker(self) -> HttpWorker:
        """Its client."""
        ...


class LoadReader:
    """Asks workers for their load.

    Args:
        client: HTTP client; speed does not matter here.
        clock: Monotonic seconds.
        timeout_s: Seconds a worker has to answer, above 0.
    """

    def __init__(self, client: httpx.AsyncClient, clock: Clock, *, timeout_s: float) -> None:
        self._client = client
        self._clock = clock
        self._timeout_s = timeout_s

    async def read(self, member: Loaded) -> None:
        """Keep a worker's load, or None where it does not tell: that is no fault of health.

        Only engines that are known to export it are asked.
        """
        worker = member.worker
        own = worker.in_flight
        page = await self._page(worker) if worker.engine in CONTINUING else b""
        # The longer of both: a call that has just begun or ended may or may not be counted.
        member.load = load_of(page, max(own, worker.in_flight), self._clock())

    async def _page(self, worker: HttpWorker) -> bytes:
        """Return a worker's metrics, empty where they cannot be had."""
        url = worker.url.removesuffix("/v1") + "/metrics"
        headers = {**worker.headers, "accept-encoding": "identity"}
        read = bytearray()
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._client.stream("GET", url, headers=headers, timeout=self._timeout_s) as answer,
            ):
                answer.raise_for_status()
                async for chunk in answer.aiter_bytes():
                    read += chunk
                    if len(read) > MOST_BYTES:
                        return b""
        except (httpx.HTTPError, TimeoutError):
            return b""
        return bytes(read)


def load_of(page: bytes, own: int, now: float) -> WorkerLoad | None:
    """Return the load that a page of metrics tells, None where it does not.

    Args:
        page: Prometheus text.
        own: Calls of this gateway in the worker while the page was made.
        now: Monotonic seconds.
    """
    running, waiting = _values(page, _RUNNING), _values(page, _WAITING)
    if not running or not waiting:
        return None
    kv_use = _values(page, _KV_USE)
    return WorkerLoad(
        running=int(sum(running)),
        waiting=int(sum(waiting)),
        kv_use=min(1.0, sum(kv_use) / len(kv_use)) if kv_use else None,
        others=max(0, int(sum(running) + sum(waiting)) - own),
        read_at=now,
    )


def _values(page: bytes, names: Sequence[bytes]) -> list[float]:
    """Return the samples of the first name that has any: one a replica of the engine."""
    for name in names:
        found = list(_samples(b"\n" + page, b"\n" + name))
        if found:
            return found
    return []


def _samples(page: bytes, name: bytes) -> Iterator[float]:
    """Yield what stands behind a name at the beginning of a line, where it is a sane number."""
    at = page.find(name)
    while at >= 0:
        begin = at + len(name)
        end = page.find(b"\n", begin)
        rest = page[begin : end if end >= 0 else len(page)]
        if rest[:1] in {b"{", b" "}:  # else it is the beginning of a longer name
            try:
                value = float(rest.rpartition(b"}")[2].split()[0])
            except (IndexError, ValueError):
                value = math.nan
            if math.isfinite(value) and value >= 0:
                yield value
        at = page.find(name, begin)


def waiting(loads: Sequence[WorkerLoad]) -> int | None:
    """Return how many calls are queued in workers that told, None where none did."""
    return sum(load.waiting for load in loads) if loads else None


def kv_use(loads: Sequence[WorkerLoad]) -> float | None:
    """Return the mean share of the KV caches in use, [0, 1], None where nobody told."""
    told = [load.kv_use for load in loads if load.kv_use is not None]
    return sum(told) / len(told) if told else None


@dataclass(frozen=True, slots=True)
class Reports:
    """How far balancers believe what workers said of their load.

    Attributes:
        clock: Monotonic seconds.
        fresh_s: Age from which it says nothing.
    """

    clock: Clock
    fresh_s: float

    def busy(self, workers: Sequence[WorkerView]) -> list[int]:
        """Return how many calls every worker has: this gateway's, and others' where known.

        Others' count only where all these workers told lately: one that is silent would look idle
        beside those that do not hide what others have there.
        """
        now = self.clock()
        loads = [worker.load for worker in workers]
        if any(load is None or now - load.read_at >= self.fresh_s for load in loads):
            return [worker.in_flight for worker in workers]
        return [
            worker.in_flight + load.others
            for worker, load in zip(workers, loads, strict=True)
            if load is not None
        ]


def silent() -> Reports:
    """Return reports of which none is believed: only this gateway's calls count."""
    return Reports(lambda: 0.0, fresh_s=0.0)
