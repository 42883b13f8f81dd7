"""A Redis of several servers: a service behind sentinels, a cluster; and one of them dies."""

import asyncio
import time
from collections.abc import Iterator

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from entroute.redis_link.budgeted import BudgetedRedis, RedisUnavailable
from entroute.stores.redis import RedisStore
from tests.redis_groups import ClusterServers, Service, redis_cluster, sentinel_service
from tests.redis_link.asking import answers, answers_soon, link_to, opened, soon

BUDGET_S = 1.0
REPLACED_S = 40.0  # the servers need about 3 s on a quiet machine


@pytest.fixture
def service() -> Iterator[Service]:
    with sentinel_service() as own:
        yield own


@pytest.fixture(scope="module")
def whole_cluster() -> Iterator[ClusterServers]:
    """A cluster that no test breaks."""
    with redis_cluster() as servers:
        yield servers


@pytest.fixture
def cluster() -> Iterator[ClusterServers]:
    with redis_cluster() as own:
        yield own


async def test_writes_go_on_after_the_master_was_killed(service: Service) -> None:
    async with link_to(service.url, BUDGET_S) as link:
        assert await answers(link)
        with capture_logs() as logs:
            service.master.kill()
            await opened(link, BUDGET_S + 1.0)
            assert await answers_soon(link, within_s=REPLACED_S)
        async with Redis(port=service.replica.port) as promoted:
            assert await promoted.get("k") == b"k"
    reasons = {line.get("reason") for line in logs}
    assert "127.0.0.1" not in str(reasons)
    assert [line["event"] for line in logs][-1] == "redis is up"


async def test_writes_go_on_after_the_master_hung(service: Service) -> None:
    async with link_to(service.url, BUDGET_S, connect_timeout_s=1.0) as link:
        await asyncio.gather(*(answers(link, str(number)) for number in range(30)))
        service.master.pause()
        await opened(link, BUDGET_S + 1.0)
        assert await answers_soon(link, within_s=REPLACED_S)
        service.master.resume()  # and is a replica before long
        await asyncio.sleep(0.5)
        assert await answers_soon(link)


async def test_a_sentinel_that_hangs_is_passed_over(service: Service) -> None:
    service.sentinels[0].pause()
    async with link_to(service.url, BUDGET_S) as link:
        assert await answers_soon(link)


async def test_a_service_that_sentinels_do_not_know_is_unavailable(service: Service) -> None:
    async with link_to(service.url.replace("/shared", "/other"), BUDGET_S) as link:
        await opened(link, BUDGET_S + 1.0)
        assert link.calls["unavailable"] == 3


async def test_a_store_works_on_a_cluster(whole_cluster: ClusterServers) -> None:
    async with link_to(whole_cluster.url, 5.0) as link:
        store = RedisStore(link)
        for number in range(60):  # in slots of all nodes
            key = f"key:{number}"
            await store.put(key, b"value", 60.0)
            assert await store.get(key) == b"value"
            assert await store.delete(key)
            assert await store.claim(key, b"me", 60.0)
            assert not await store.claim(key, b"other", 60.0)
            assert await store.extend(key, b"me", 60.0)
            assert await store.release(key, b"me")
            await store.put_fields(key, {"a": b"1", "b": b"2"}, 60.0)
            assert await store.fields(key) == {"a": b"1", "b": b"2"}


async def test_streams_and_pipelines_work_on_a_cluster(whole_cluster: ClusterServers) -> None:
    async def piped(redis: Redis) -> object:
        async with redis.pipeline(transaction=False) as pipe:
            for number in range(30):
                pipe.hset(f"hash:{number}", "f", str(number))
                pipe.pexpire(f"hash:{number}", 60_000)
            pipe.xadd("stream", {"f": "v"}, maxlen=10)
            return await pipe.execute()

    async with link_to(whole_cluster.url, 5.0) as link:
        assert len(await link.ask(piped)) == 61
        assert await link.ask(lambda redis: redis.hget("hash:7", "f")) == b"7"
        found = await link.ask(lambda redis: redis.xread({"stream": "0"}, count=5))
        assert [fields for _, fields in found[0][1]] == [{b"f": b"v"}]


async def test_many_calls_at_once_on_a_cluster_wait_for_their_turn(
    whole_cluster: ClusterServers,
) -> None:
    async with link_to(whole_cluster.url, 20.0) as link:
        done = await asyncio.gather(*(answers(link, f"many:{number}") for number in range(500)))
        assert all(done)


async def test_a_cluster_goes_on_while_a_master_is_dead_and_is_whole_again(
    cluster: ClusterServers,
) -> None:
    keys = [f"key:{number}" for number in range(30)]
    async with link_to(cluster.url, BUDGET_S) as link:
        for key in keys:
            assert await answers_soon(link, key)
        cluster.masters[0].kill()
        start = time.monotonic()
        while not (works := [key for key in keys if await answers(link, key)]):
            assert time.monotonic() - start < REPLACED_S
        assert works  # the slots of the other masters
        assert await soon_whole(link, keys)


async def soon_whole(link: BudgetedRedis, keys: list[str]) -> bool:
    """Ask until all keys can be read and written, those of the promoted replica, too."""
    give_up = time.monotonic() + REPLACED_S
    while time.monotonic() < give_up:
        if all([await answers(link, key) for key in keys]):
            return True
        await asyncio.sleep(0.1)
    return False


async def test_a_dead_cluster_is_left_alone(cluster: ClusterServers) -> None:
    async with link_to(cluster.url, BUDGET_S, connect_timeout_s=1.0) as link:
        assert await answers(link)
        for server in (*cluster.masters, cluster.replica):
            server.kill()
        await opened(link, BUDGET_S + 1.0)
        start = time.monotonic()
        for _ in range(100):
            with pytest.raises(RedisUnavailable):
                await link.ask(lambda redis: redis.get("k"))
        assert time.monotonic() - start < BUDGET_S
        assert not await soon(lambda: link.up, 1.0)
