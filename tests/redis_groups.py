"""Redis servers that belong together: a master and its replica behind sentinels, a cluster."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from entroute.embedded.engine import free_port
from tests.redis_server import REDIS_8, RedisServer, redis_server

FORM_S = 30.0
SERVICE = "shared"
_SLOTS = 16384
_DOWN_MS = 1000


class Sentinel(RedisServer):
    """One sentinel; it keeps what it knows in a file of its own."""

    def _arguments(self) -> list[str]:
        return [str(self.folder / "sentinel.conf"), "--sentinel"]


@dataclass(frozen=True, slots=True)
class Service:
    """A master, its replica and the three sentinels that watch them."""

    master: RedisServer
    replica: RedisServer
    sentinels: Sequence[Sentinel]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}"


@contextmanager
def sentinel_service() -> Iterator[Service]:
    """Run a service for the length of a `with` block; a dead master is replaced in seconds."""
    with ExitStack() as stack:
        master = stack.enter_context(redis_server(tcp=True))
        replica = stack.enter_context(
            redis_server({"replicaof": f"127.0.0.1 {master.port}"}, tcp=True)
        )
        sentinels = [stack.enter_context(_sentinel(master.port)) for _ in range(3)]
        for sentinel in sentinels:
            _eventually(lambda sentinel=sentinel: _knows_all(sentinel))  # type: ignore[misc]
        yield Service(master, replica, sentinels)


@contextmanager
def _sentinel(master_port: int) -> Iterator[Sentinel]:
    with tempfile.TemporaryDirectory(prefix="sentinel-") as folder:
        sentinel = Sentinel(Path(folder), port=free_port())
        lines = [
            f"port {sentinel.port}",
            "bind 127.0.0.1",
            f"unixsocket {sentinel.url.removeprefix('unix://')}",
            f"dir {folder}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {master_port} 2",
            f"sentinel down-after-milliseconds {SERVICE} {_DOWN_MS}",
            f"sentinel failover-timeout {SERVICE} 5000",
        ]
        (Path(folder) / "sentinel.conf").write_text("\n".join([*lines, ""]))
        try:
            sentinel.start()
            yield sentinel
        finally:
            sentinel.kill()


def _knows_all(sentinel: Sentinel) -> bool:
    with Redis(port=sentinel.port) as redis:
        state = redis.sentinel_master(SERVICE)
        return (state["num-other-sentinels"], state["num-slaves"]) == (2, 1)


@dataclass(frozen=True, slots=True)
class ClusterServers:
    """Three masters with a third of the slots each, and a replica of the first one."""

    masters: Sequence[RedisServer]
    replica: RedisServer

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.masters)
        return f"redis+cluster://{hosts}"


@contextmanager
def redis_cluster() -> Iterator[ClusterServers]:
    """Run a cluster for the length of a `with` block; a dead master is replaced in seconds."""
    with ExitStack() as stack:
        buses = [free_port() for _ in range(4)]
        servers = [stack.enter_context(_member(bus)) for bus in buses]
        clients = [stack.enter_context(Redis(port=server.port)) for server in servers]
        for client in clients:  # each meets each: gossip would take seconds
            for server, bus in zip(servers, buses, strict=True):
                _command(client, "CLUSTER MEET", "127.0.0.1", server.port, bus)
        for number, client in enumerate(clients[:3]):
            first, last = number * _SLOTS // 3, (number + 1) * _SLOTS // 3 - 1
            _command(client, "CLUSTER ADDSLOTSRANGE", first, last)
        first_id = _command(clients[0], "CLUSTER MYID")
        _eventually(lambda: bool(_command(clients[3], "CLUSTER REPLICATE", first_id)))
        for client in clients:
            _eventually(lambda client=client: _formed(client))  # type: ignore[misc]
        yield ClusterServers(servers[:3], servers[3])


def _formed(client: Redis) -> bool:
    info = _command(client, "CLUSTER INFO")
    ranges = _command(client, "CLUSTER SLOTS")
    replicas = [one for one in ranges if len(one) > 3]  # first slot, last slot, master, replica
    covered = sum(last - first + 1 for first, last, *_ in ranges)
    return (info["cluster_state"], len(replicas), covered) == ("ok", 1, _SLOTS)


def _command(client: Redis, *words: str | int) -> Any:
    return client.execute_command(*words)  # type: ignore[no-untyped-call]


@contextmanager
def _member(bus: int) -> Iterator[RedisServer]:
    settings = {
        "cluster-enabled": "yes",
        "cluster-port": str(bus),
        "cluster-node-timeout": str(_DOWN_MS),
        "cluster-require-full-coverage": "no",
        "cluster-replica-validity-factor": "0",
        "repl-diskless-sync-delay": "0",
        "repl-ping-replica-period": "1",  # a replica without an offset is not told of
    }
    with redis_server(settings, binary=REDIS_8, tcp=True) as server:
        yield server


def _eventually(holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + FORM_S
    while True:
        try:
            if holds():
                return
        except RedisError:
            pass  # it does not know the others yet
        if time.monotonic() > give_up:
            raise RuntimeError("the servers did not find each other")
        time.sleep(0.05)
