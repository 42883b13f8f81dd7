"""The ways a Redis fails under a gateway: each a real server, broken and mended on the way."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis

from tests.redis_groups import redis_cluster, sentinel_service
from tests.redis_proxy import Proxy, redis_proxy
from tests.redis_server import RedisServer, redis_server

Act = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Stage:
    """A Redis and what happens to it.

    Attributes:
        url: Where the gateway finds it.
        begin: Breaks it.
        end: Mends it; None where it heals by itself, from the beginning on.
    """

    url: str
    begin: Act
    end: Act | None


async def _nothing() -> None:
    """Leave it as it is."""


@asynccontextmanager
async def _served(
    begin: Callable[[RedisServer], Act], end: Callable[[RedisServer], Act | None]
) -> AsyncIterator[Stage]:
    with redis_server() as server:
        yield Stage(server.url, begin(server), end(server))


@asynccontextmanager
async def _proxied(change: Callable[[Proxy], None]) -> AsyncIterator[Stage]:
    with redis_server() as server:
        async with redis_proxy(server.url.removeprefix("unix://")) as proxy:

            async def begin() -> None:
                change(proxy)

            async def end() -> None:
                proxy.garbage, proxy.answer_delay_s, proxy.silent = b"", 0.0, False

            yield Stage(f"redis://127.0.0.1:{proxy.port}/0", begin, end)


@asynccontextmanager
async def _sentinels() -> AsyncIterator[Stage]:
    with sentinel_service() as service:
        yield Stage(service.url, _blocking(service.master.kill), None)


@asynccontextmanager
async def _cluster() -> AsyncIterator[Stage]:
    with redis_cluster() as cluster:
        yield Stage(cluster.url, _blocking(cluster.masters[0].kill), None)


def _blocking(*acts: Callable[[], None]) -> Act:
    async def act() -> None:
        for one in acts:
            await asyncio.to_thread(one)

    return act


def _command(server: RedisServer, *words: str) -> Act:
    async def act() -> None:
        async with Redis.from_url(server.url) as redis:
            await redis.execute_command(*words)  # type: ignore[no-untyped-call]

    return act


def _garble(proxy: Proxy) -> None:
    proxy.garbage = b"HTTP/1.1 400 Bad Request\r\n\r\n"


def _slow(proxy: Proxy) -> None:
    proxy.answer_delay_s = 0.2


def _silence(proxy: Proxy) -> None:
    proxy.silent = True


FAULTS: Mapping[str, Callable[[], AbstractAsyncContextManager[Stage]]] = {
    "none": lambda: _served(lambda _: _nothing, lambda _: None),
    "killed": lambda: _served(lambda s: _blocking(s.kill), lambda s: _blocking(s.start)),
    "paused": lambda: _served(lambda s: _blocking(s.pause), lambda s: _blocking(s.resume)),
    "restarted empty": lambda: _served(lambda s: _blocking(s.kill, s.start), lambda _: None),
    "out of memory": lambda: _served(
        lambda s: _command(s, "CONFIG", "SET", "maxmemory", "1"),
        lambda s: _command(s, "CONFIG", "SET", "maxmemory", "0"),
    ),
    "read-only": lambda: _served(
        lambda s: _command(s, "REPLICAOF", "127.0.0.1", "1"),
        lambda s: _command(s, "REPLICAOF", "NO", "ONE"),
    ),
    "speaks garbage": lambda: _proxied(_garble),
    "answers 200 ms late": lambda: _proxied(_slow),
    "no network": lambda: _proxied(_silence),
    "sentinel failover": _sentinels,
    "cluster failover": _cluster,
}
"""Faults by name, each with a Redis of its own."""
