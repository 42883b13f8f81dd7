import time

from prometheus_client import CollectorRegistry, generate_latest

from entroute.redis_link.budgeted import RedisUnavailable
from entroute.redis_link.links import RedisLinks
from entroute.telemetry.redis import RedisMetrics
from tests.redis_server import RedisServer


def exported(links: RedisLinks) -> list[str]:
    registry = CollectorRegistry()
    registry.register(RedisMetrics(links))
    lines = generate_latest(registry).decode().splitlines()
    return [line for line in lines if not line.startswith("#")]


def test_without_a_redis_there_are_no_series() -> None:
    assert exported(RedisLinks(time.monotonic)) == []


async def test_calls_are_counted_by_what_became_of_them(redis: RedisServer) -> None:
    links = RedisLinks(time.monotonic)
    there = links.to(redis.url, 5.0)
    gone = links.to("unix:///nonexistent/redis.sock", 5.0)
    await there.ask(lambda client: client.get("k"))
    assert "entroute_redis_up 1.0" in exported(links)
    for _ in range(5):
        try:
            await gone.ask(lambda client: client.get("k"))
        except RedisUnavailable:
            continue
    assert exported(links) == [
        "entroute_redis_up 0.0",
        'entroute_redis_calls_total{result="ok"} 1.0',
        'entroute_redis_calls_total{result="timeout"} 0.0',
        'entroute_redis_calls_total{result="unavailable"} 3.0',
        'entroute_redis_calls_total{result="refused"} 0.0',
        'entroute_redis_calls_total{result="open"} 2.0',
    ]
    await links.close()
