"""A closed-loop load generator: one connection a slot, callbacks only, httptools for parsing.

It knows nothing about gateways or workers. Times are seconds of `time.perf_counter`.
"""

import asyncio
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import httptools

_EVENT = b"data: "


@dataclass(frozen=True, slots=True)
class Target:
    """What to send: request number i has the body `body(i)`; every one is a POST."""

    url: str
    body: Callable[[int], bytes]
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Load:
    """What was measured: seconds, one entry a finished request that had status 200.

    `ttfts` counts to the first byte of a body, `events` the `data:` lines of streams, `errors`
    requests with another status or without an answer, by what went wrong.
    """

    latencies: list[float] = field(default_factory=list)
    ttfts: list[float] = field(default_factory=list)
    events: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Requests finished a second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def fail(self, reason: str) -> None:
        """Count one failed request."""
        self.errors[reason] = self.errors.get(reason, 0) + 1


def percentile(values: list[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of the values lie, by linear interpolation.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("percentile needs at least one value")
    ranked = sorted(values)
    place = share * (len(ranked) - 1)
    low = int(place)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] + (ranked[high] - ranked[low]) * (place - low)


async def run_load(
    target: Target, concurrency: int, *, requests: int | None = None, seconds: float | None = None
) -> Load:
    """Keep `concurrency` requests in flight until a count or a time is reached, whichever first.

    Raises:
        ValueError: neither limit is given.
        OSError: the target cannot be reached.
    """
    if requests is None and seconds is None:
        raise ValueError("run_load needs `requests` or `seconds`")
    turns = _Turns(target, requests, seconds)
    loop = asyncio.get_running_loop()
    address = urlsplit(target.url)
    host, port = address.hostname or "127.0.0.1", address.port or 80
    slots = []
    for _ in range(concurrency):
        _, slot = await loop.create_connection(
            lambda: _Slot(turns, loop.create_future()), host, port
        )
        slots.append(slot)
    turns.start()
    for slot in slots:
        slot.send_next()
    await asyncio.gather(*(slot.done for slot in slots))
    turns.load.seconds = time.perf_counter() - turns.started
    return turns.load


class _Turns:
    """Hands out requests and keeps what was measured."""

    def __init__(self, target: Target, requests: int | None, seconds: float | None) -> None:
        self.load = Load()
        self.started = 0.0
        self._target = target
        self._requests = requests
        self._seconds = seconds
        self._sent = 0
        address = urlsplit(target.url)
        fields = "".join(f"{name}: {value}\r\n" for name, value in target.headers)
        self._head = (
            f"POST {address.path} HTTP/1.1\r\nhost: {address.netloc}\r\n"
            f"content-type: application/json\r\n{fields}content-length: "
        ).encode()

    def start(self) -> None:
        self.started = time.perf_counter()

    def next_request(self) -> bytes | None:
        """Return the bytes of the next request, or None when the run is over."""
        if self._requests is not None and self._sent >= self._requests:
            return None
        if self._seconds is not None and time.perf_counter() - self.started >= self._seconds:
            return None
        body = self._target.body(self._sent)
        self._sent += 1
        return b"%b%d\r\n\r\n%b" % (self._head, len(body), body)


class _Slot(asyncio.Protocol):
    """One connection: sends the next request when an answer is whole."""

    def __init__(self, turns: _Turns, done: "asyncio.Future[None]") -> None:
        self.done = done
        self._turns = turns
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport
        self._sent_at = 0.0
        self._first_at = 0.0

    def send_next(self) -> None:
        request = self._turns.next_request()
        if request is None:
            self._transport.close()
            return
        self._first_at = 0.0
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._turns.load.fail(f"not HTTP: {error}")
            self._sent_at = 0.0
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._sent_at:
            self._turns.load.fail(f"connection lost: {exc}")
        if not self.done.done():
            self.done.set_result(None)

    # what httptools calls

    def on_body(self, body: bytes) -> None:
        if not self._first_at:
            self._first_at = time.perf_counter()
        if body.startswith(_EVENT):
            self._turns.load.events += body.count(b"\n" + _EVENT) + 1

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        status = self._parser.get_status_code()
        load = self._turns.load
        if status == 200:
            load.latencies.append(now - self._sent_at)
            load.ttfts.append((self._first_at or now) - self._sent_at)
        else:
            load.fail(f"status {status}")
        self._sent_at = 0.0
        self.send_next()
