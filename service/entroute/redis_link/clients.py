"""Clients of Redis by address: one server, a service behind sentinels, or a cluster.

What a client raises is put into few kinds here, so that its users need not know its errors.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis._parsers.commands import AsyncCommandsParser
from redis.asyncio import (
    Connection,
    ConnectionPool,
    Redis,
    RedisCluster,
    Sentinel,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from entroute.redis_link.addresses import RedisAddress

_REDISCOVER_S = 2.0
_ALL_KEYS = frozenset({"DEL", "UNLINK", "EXISTS", "TOUCH", "MGET"})


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may take.

    Attributes:
        timeout_s: Seconds to connect, and seconds one answer may take.
        connections: Most connections to one server.
    """

    timeout_s: float
    connections: int


@dataclass(frozen=True, slots=True)
class Client:
    """A client that connects when it is first asked.

    Attributes:
        redis: Takes commands; a cluster's has the same ones, with keys of one slot a command.
            Use it by way of `ready`.
    """

    redis: Redis
    _sentinel: Sentinel | None = None
    _cluster: RedisCluster | None = None

    async def ready(self) -> Redis:
        """Return what takes commands, once a cluster's nodes are known: else it asks any node."""
        if self._cluster is not None:
            await self._cluster.initialize()
        return self.redis

    async def close(self) -> None:
        """Close all connections."""
        if self._cluster is not None:
            await self._cluster.aclose()
            # A client that was about to look for its nodes again believes it has none open.
            await self._cluster.nodes_manager.aclose()
            await self._cluster.nodes_manager.aclose("startup_nodes")
            return
        await self.redis.aclose(close_connection_pool=True)
        if self._sentinel is not None:
            for sentinel in self._sentinel.sentinels:
                await sentinel.aclose()


def client(address: RedisAddress, limits: Limits, clock: Callable[[], float]) -> Client:
    """Return a client, not connected.

    Args:
        address: Where Redis is.
        limits: What it may take.
        clock: Monotonic seconds.
    """
    if address.kind == "cluster":
        cluster = _cluster(address, limits, clock)
        # Clusters' and servers' clients share their commands, not a class.
        return Client(cast("Redis", cluster), _cluster=cluster)
    if address.kind == "sentinel":
        sentinel = _sentinel(address, limits)
        return Client(sentinel.master_for(address.service), _sentinel=sentinel)
    return Client(_server(address, limits))


def _common(address: RedisAddress, limits: Limits) -> dict[str, Any]:
    return {
        "socket_connect_timeout": limits.timeout_s,
        "socket_timeout": limits.timeout_s,
        # A second try would cost a second budget: the next call is the retry.
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        **address.login,
        **address.options,
    }


def _server(address: RedisAddress, limits: Limits) -> Redis:
    options = {**_common(address, limits), "db": address.db}
    if address.path:
        where: dict[str, Any] = {"path": address.path}
        kind: type[Any] = UnixDomainSocketConnection
    else:
        host, port = address.hosts[0]
        where = {"host": host, "port": port}
        kind = SSLConnection if address.tls else Connection
    pool = ConnectionPool(
        connection_class=kind, max_connections=limits.connections, **where, **options
    )
    return Redis.from_pool(pool)


def _sentinel(address: RedisAddress, limits: Limits) -> "OrderlySentinel":
    common = _common(address, limits)
    tls = {name: value for name, value in address.options.items() if name.startswith("ssl_")}
    # Sentinels are asked one after another: one that hangs must leave time for the others.
    share_s = limits.timeout_s / (len(address.hosts) + 1)
    asked = {
        **{name: common[name] for name in ("retry", "protocol")},
        **address.sentinel_login,
        **tls,
        "socket_connect_timeout": share_s,
        "socket_timeout": share_s,
        "ssl": address.tls,
    }
    return OrderlySentinel(
        address.hosts,
        sentinel_kwargs=asked,
        ssl=address.tls,
        db=address.db,
        max_connections=limits.connections,
        **common,
    )


def _cluster(
    address: RedisAddress, limits: Limits, clock: Callable[[], float]
) -> "RediscoveringCluster":
    return RediscoveringCluster(
        clock,
        startup_nodes=[ClusterNode(host, port) for host, port in address.hosts],
        ssl=address.tls,
        max_connections=limits.connections,
        # A cluster that lost some of its slots can still answer for the others.
        require_full_coverage=False,
        # A redirection tells where one slot is now; looking for all nodes closes all connections.
        reinitialize_steps=0,
        **_common(address, limits),
    )


class OrderlySentinel(Sentinel):
    """Sentinels that are asked by one connection at a time.

    redis-py's moves the one that answered to the front of its list; when several connections look
    for the master at once, some sentinels are in that list twice and others no longer.

    Args:
        hosts: Where sentinels are.
        options: Those of `Sentinel`.
    """

    def __init__(self, hosts: Sequence[tuple[str, int]], **options: Any) -> None:
        super().__init__(hosts, **options)  # type: ignore[no-untyped-call]
        self._asking = asyncio.Lock()

    async def discover_master(self, service_name: str) -> Any:
        """Return where the master is."""
        async with self._asking:
            return await super().discover_master(service_name)


class _KeysFirst(AsyncCommandsParser):
    """Knows where the commands that entroute sends have their keys.

    redis-py asks a server for all its commands, whenever it has looked for the nodes: 25 ms of a
    processor, in which no other request gets on. Scripts are not asked about: it knows those.
    """

    async def initialize(self, node: Any = None) -> None:
        """Ask nobody."""

    async def get_keys(self, *args: Any) -> tuple[Any, ...] | None:
        """Return the keys of a command: its first argument, all, or those after STREAMS."""
        name, *rest = args
        if name in _ALL_KEYS:
            return tuple(rest)
        if name == "XREAD":
            streams = rest[rest.index(b"STREAMS") + 1 :]
            return tuple(streams[: len(streams) // 2])
        return tuple(rest[:1]) or None


class RediscoveringCluster(RedisCluster):
    """A cluster's client that looks for its nodes at most every two seconds.

    redis-py's looks for all of them after every failed command of one of them, which renews every
    connection to every node: while one node is gone, none would answer in time.

    Args:
        clock: Monotonic seconds.
        options: Those of `RedisCluster`.
    """

    def __init__(self, clock: Callable[[], float], **options: Any) -> None:
        super().__init__(**options)
        self.commands_parser = _KeysFirst()
        self._clock = clock
        self._look_from = clock()

    async def initialize(self, *args: Any, **kwargs: Any) -> "RediscoveringCluster":
        """Find the nodes, unless that was done a moment ago."""
        known = self.nodes_manager.default_node is not None
        if known and self._clock() < self._look_from:
            return self
        self._look_from = self._clock() + _REDISCOVER_S
        await super().initialize(*args, **kwargs)
        return self
