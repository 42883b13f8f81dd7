"""A Redis that is slow, dead, back again, unwilling, or no Redis at all."""

import asyncio
import contextlib
import time
from collections.abc import Iterator

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from entroute.redis_link.budgeted import BudgetedRedis, RedisUnavailable
from entroute.stores.redis import RedisStore
from tests.redis_link.asking import (
    BUDGET_S,
    IN_TIME_S,
    PROBE_S,
    answers,
    answers_soon,
    link_to,
    opened,
    refused_after,
    soon,
)
from tests.redis_proxy import redis_proxy
from tests.redis_server import REDIS_8, RedisServer, redis_server


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server() as own:
        yield own


async def test_a_paused_redis_is_refused_in_time_and_recovers_by_itself(
    server: RedisServer,
) -> None:
    async with link_to(server.url) as link:
        assert await answers(link)
        server.pause()
        assert await refused_after(link) < IN_TIME_S
        server.resume()
        assert await answers_soon(link)


async def test_a_redis_that_failed_a_few_times_costs_nothing(server: RedisServer) -> None:
    async with link_to(server.url) as link:
        server.pause()
        await opened(link)
        start = time.monotonic()
        for _ in range(200):
            await refused_after(link)
        assert time.monotonic() - start < BUDGET_S
        assert link.calls["open"] == 200
        assert link.calls["timeout"] == 3


async def test_a_dead_redis_is_probed_for_ever_and_its_callers_never_wait(
    server: RedisServer,
) -> None:
    async with link_to(server.url, connect_timeout_s=0.1) as link:
        server.pause()
        await opened(link)
        for _ in range(5):
            await asyncio.sleep(PROBE_S)
            assert await refused_after(link) < BUDGET_S / 2
        server.resume()
        assert await soon(lambda: link.up)
        assert await answers(link)


async def test_a_killed_redis_is_refused_and_its_successor_found(server: RedisServer) -> None:
    async with link_to(server.url) as link:
        assert await answers(link)
        server.kill()
        await opened(link)
        server.start()
        assert await answers_soon(link)


async def test_one_slow_call_among_others_changes_nothing(server: RedisServer) -> None:
    async with link_to(server.url) as link, Redis.from_url(server.url) as watcher:
        await link.ask(lambda redis: redis.rpush("list", "x"))
        connected = await watcher.info("stats")
        slow = asyncio.create_task(refused_after_blocking(link))
        for _ in range(50):
            assert await answers(link)
            await asyncio.sleep(BUDGET_S / 25)
        await slow
        assert link.up
        assert link.calls["timeout"] == 1
        made = (await watcher.info("stats"))["total_connections_received"]
        assert made - connected["total_connections_received"] <= 2


async def refused_after_blocking(link: BudgetedRedis) -> None:
    """Wait for an element that does not come, for longer than a call may."""
    with pytest.raises(RedisUnavailable):
        await link.ask(lambda redis: redis.blpop(["empty"], timeout=1))


async def test_a_stall_closes_no_connection(server: RedisServer) -> None:
    async with link_to(server.url) as link, Redis.from_url(server.url) as watcher:
        await asyncio.gather(*(answers(link, str(number)) for number in range(50)))
        before = (await watcher.info("stats"))["total_connections_received"]
        server.pause()
        await asyncio.gather(*(refused_after(link) for _ in range(10)))
        server.resume()
        assert await answers_soon(link)
        assert (await watcher.info("stats"))["total_connections_received"] - before <= 16


async def test_answers_do_not_swap_places_after_calls_that_ran_out_of_time(
    server: RedisServer,
) -> None:
    async with link_to(server.url) as link:
        for name in "abcd":
            assert await answers(link, name)
        server.pause()
        await asyncio.gather(*(refused_after(link, name) for name in "abcd"))
        server.resume()
        assert await answers_soon(link)
        found = await asyncio.gather(*(read(link, name) for name in "dcba"))
        assert found == [b"d", b"c", b"b", b"a"]


async def test_an_abandoned_call_leaves_no_answer_for_the_next(server: RedisServer) -> None:
    async with link_to(server.url, 5.0) as link:
        assert await answers(link, "a")
        assert await answers(link, "b")
        server.pause()
        abandoned = asyncio.create_task(read(link, "a"))
        await asyncio.sleep(BUDGET_S / 5)
        abandoned.cancel()
        await asyncio.wait([abandoned])
        server.resume()
        assert await read(link, "b") == b"b"


@pytest.mark.parametrize("leaves", ["by itself", "out of time"])
async def test_what_is_carried_out_after_its_caller_left_is_undone(
    server: RedisServer, leaves: str
) -> None:
    async with link_to(server.url) as link:
        assert await answers(link)
        store = RedisStore(link)
        server.pause()
        claim = asyncio.create_task(store.claim("lease", b"me", 60.0))
        await asyncio.sleep(BUDGET_S / 5)
        if leaves == "by itself":
            claim.cancel()
        await asyncio.wait([claim])
        server.resume()
        async with Redis.from_url(server.url) as watcher:
            before = time.monotonic()
            while await watcher.exists("entroute:lease") or time.monotonic() < before + PROBE_S:
                assert time.monotonic() < before + 10
                await asyncio.sleep(0.01)
            stats = await watcher.info("commandstats")
        assert stats["cmdstat_eval"]["calls"] == 1
        assert await store.claim("lease", b"other", 60.0)


async def read(link: BudgetedRedis, key: str) -> bytes | None:
    value: bytes | None = await link.ask(lambda redis: redis.get(key))
    return value


async def written(link: BudgetedRedis, key: str, value: bytes) -> None:
    """Write, or be refused."""
    with contextlib.suppress(RedisUnavailable):
        await link.ask(lambda redis: redis.set(key, value))


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "unix:///nonexistent/redis.sock"])
async def test_an_address_where_nothing_listens_is_refused_in_time(url: str) -> None:
    async with link_to(url) as link:
        await opened(link)
        assert link.calls["unavailable"] == 3
        assert link.latency_s is None


async def test_more_calls_than_connections_wait_for_one(server: RedisServer) -> None:
    async with link_to(server.url, 10.0) as link, Redis.from_url(server.url) as watcher:
        done = await asyncio.gather(*(answers(link, f"many:{number}") for number in range(500)))
        assert all(done)
        assert len(await watcher.client_list()) < 100
        assert link.calls["ok"] == 1000


async def test_a_refusal_of_one_call_is_no_reason_to_leave_redis_alone(server: RedisServer) -> None:
    async with link_to(server.url) as link:
        await link.ask(lambda redis: redis.sadd("set", "x"))
        for _ in range(5):
            with pytest.raises(RedisUnavailable, match="WRONGTYPE"):
                await link.ask(lambda redis: redis.get("set"))
        assert await answers(link)
        assert link.calls["refused"] == 5


async def test_a_full_redis_can_still_be_read() -> None:
    with redis_server({"maxmemory": "1500kb", "maxmemory-policy": "noeviction"}) as server:
        async with link_to(server.url) as link:
            assert await answers(link)
            with capture_logs() as logs:
                for number in range(40):
                    await written(link, f"big:{number}", b"x" * 65536)
            assert link.calls["refused"] > 10
            assert await read(link, "k") == b"k"
            assert link.up
    assert [line["event"] for line in logs] == ["redis refuses"]
    assert "maxmemory" in logs[0]["reason"]


async def test_a_replica_is_read_and_its_refusals_are_told_once(server: RedisServer) -> None:
    settings = {"replicaof": "127.0.0.1 1"}
    with redis_server(settings) as replica:
        async with link_to(replica.url) as link:
            with capture_logs() as logs:
                for _ in range(5):
                    assert not await answers(link)
                    assert await read(link, "k") is None
            assert link.up
    assert [line["reason"] for line in logs] == ["read-only: this is a replica"]


async def test_a_replica_without_its_master_may_say_that_it_is_down() -> None:
    settings = {"replicaof": "127.0.0.1 1", "replica-serve-stale-data": "no"}
    with redis_server(settings) as replica:
        async with link_to(replica.url) as link:
            with capture_logs() as logs:
                await opened(link)
            assert link.calls["unavailable"] == 3
    assert logs[0]["reason"] == "cluster or master down"


@pytest.mark.parametrize("login", ["", ":wrong@", "nobody:secret@", "off:secret@"])
async def test_who_may_not_log_in_is_told_so_once_without_the_password(login: str) -> None:
    with redis_server({"requirepass": "secret", "user": "off off >secret"}, tcp=True) as server:
        async with link_to(f"redis://{login}127.0.0.1:{server.port}/0") as link:
            with capture_logs() as logs:
                await opened(link)
                await asyncio.sleep(PROBE_S * 3)
            assert not link.up
            assert link.calls["refused"] == 3
    assert len(logs) == 1
    assert logs[0]["reason"] == "wrong or missing user or password"
    assert logs[0]["address"] == f"redis://127.0.0.1:{server.port}"


async def test_a_user_with_the_rights_that_the_operations_page_names_can_work() -> None:
    rules = "-@all +@read +@write +@scripting +time +select +cluster|slots"
    user = f"gateway on >secret ~entroute:* resetchannels {rules}"
    script = "return redis.call('TIME')[1] .. redis.call('GET', KEYS[1])"
    with redis_server({"requirepass": "x", "user": user}, tcp=True) as server:
        async with link_to(f"redis://gateway:secret@127.0.0.1:{server.port}/1") as link:
            assert await answers(link, "entroute:k")
            assert await link.ask(lambda redis: redis.eval(script, 1, "entroute:k"))
            assert link.calls["refused"] == 0


async def test_a_user_with_too_few_rights_is_refused_and_the_operator_told() -> None:
    rules = "reader on >secret ~entroute:* -@all +get"
    with redis_server({"requirepass": "x", "user": rules}, tcp=True) as server:
        async with link_to(f"redis://reader:secret@127.0.0.1:{server.port}/0") as link:
            with capture_logs() as logs:
                for _ in range(4):
                    assert not await answers(link, "entroute:k")
                    assert await read(link, "entroute:k") is None
                with pytest.raises(RedisUnavailable):
                    await read(link, "others")
            assert link.up
    assert [line["reason"] for line in logs] == ["this user lacks rights: see the operations page"]


async def test_a_loading_redis_is_left_alone_until_it_has_loaded() -> None:
    settings = {"enable-debug-command": "yes", "loading-process-events-interval-bytes": "1024"}
    with redis_server(settings, binary=REDIS_8) as server:
        async with Redis.from_url(server.url) as filler, link_to(server.url) as link:
            async with filler.pipeline(transaction=False) as pipe:
                for number in range(2000):
                    pipe.set(f"k:{number}", "v")
                await pipe.execute()
            await filler.config_set("key-load-delay", 1000)  # microseconds a key
            reload = asyncio.create_task(_reloaded(filler))
            with capture_logs() as logs:
                while link.up and not reload.done():
                    await answers(link)
            assert not link.up
            assert logs[0]["reason"] in {"still loading its data", "no answer in time"}
            await reload
            assert await answers_soon(link)


async def _reloaded(redis: Redis) -> None:
    await redis.execute_command("DEBUG", "RELOAD")  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    "garbage",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b":abc\r\n", b"*3\r\n$-5\r\n", b"$99\r\nx", b"\xff" * 64],
)
async def test_what_is_no_redis_is_an_unavailable_one(server: RedisServer, garbage: bytes) -> None:
    async with redis_proxy(server.url.removeprefix("unix://")) as proxy:
        proxy.garbage = garbage
        async with link_to(f"redis://127.0.0.1:{proxy.port}/0", connect_timeout_s=0.5) as link:
            await opened(link)
            proxy.garbage = b""
            assert await answers_soon(link)


async def test_changes_are_told_once(server: RedisServer) -> None:
    async with link_to(server.url) as link:
        with capture_logs() as logs:
            assert await answers(link)
            server.kill()
            await opened(link)
            await asyncio.sleep(PROBE_S * 3)
            server.start()
            assert await answers_soon(link)
    assert [line["event"] for line in logs] == ["redis is down", "redis is up"]
    assert logs[0]["address"] == server.url


async def test_a_link_can_be_made_before_a_loop_runs_and_used_after_it_was_closed(
    server: RedisServer,
) -> None:
    link = await asyncio.to_thread(BudgetedRedis, server.url, 5.0, time.monotonic)
    for _ in range(2):
        assert await answers(link)
        await link.close()


async def test_a_call_of_its_own_fault_is_not_redis_fault(server: RedisServer) -> None:
    async def wrong(redis: Redis) -> None:
        await redis.get("k")
        raise TypeError("k")

    async with link_to(server.url) as link:
        with pytest.raises(TypeError):
            await link.ask(wrong)
        assert link.up
