import time

import pytest
from pydantic import TypeAdapter, ValidationError

from entroute.cache import CacheConfig, MemoryCacheConfig, NoCacheConfig, RedisCacheConfig
from entroute.redis_link.links import RedisLinks
from tests.cache.samples import incompressible, outcome
from tests.redis_server import RedisServer

ADAPTER: TypeAdapter[MemoryCacheConfig | RedisCacheConfig | NoCacheConfig] = TypeAdapter(
    CacheConfig
)


def test_the_kind_tells_the_stores_apart() -> None:
    memory = ADAPTER.validate_python({"kind": "memory"})
    redis = ADAPTER.validate_python({"kind": "redis", "url": "redis://127.0.0.1:6379/0"})
    off = ADAPTER.validate_python({"kind": "off"})
    links = RedisLinks(time.monotonic)
    in_memory, in_redis = memory.build(time.monotonic, links), redis.build(time.monotonic, links)
    assert in_memory is not None
    assert in_redis is not None
    assert in_memory.leases is None  # nobody to share with
    assert in_redis.leases is not None
    assert off.build(time.monotonic, links) is None


def test_no_seconds_to_follow_is_no_lease() -> None:
    config = RedisCacheConfig.model_validate({"url": "redis://127.0.0.1", "follow_s": 0})
    built = config.build(time.monotonic, RedisLinks(time.monotonic))
    assert built is not None
    assert built.leases is None


def test_rules_of_what_is_kept_are_handed_on() -> None:
    config = MemoryCacheConfig(sampled=True, across_tenants=True)
    built = config.build(time.monotonic, RedisLinks(time.monotonic))
    assert built is not None
    assert built.sampled
    assert built.across_tenants


async def test_an_answer_above_an_eighth_of_the_memory_is_counted() -> None:
    config = MemoryCacheConfig(max_bytes=800)
    built = config.build(time.monotonic, RedisLinks(time.monotonic))
    assert built is not None
    assert not await built.answers.put("k", outcome(incompressible(200)))
    assert built.discarded["too_large"] == 1


def test_defaults_are_an_hour_64_mib_and_50_ms() -> None:
    memory = MemoryCacheConfig()
    redis = RedisCacheConfig.model_validate({"url": "redis://127.0.0.1"})
    assert (memory.max_bytes, memory.ttl_s) == (67_108_864, 3600)
    assert (redis.timeout_ms, redis.ttl_s, redis.follow_s) == (50, 3600, 30)
    for config in (memory, redis):
        assert (config.max_entry_bytes, config.resume) == (1_048_576, True)
        assert not config.sampled
        assert not config.across_tenants


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"kind": "memory", "max_byte": 3}, ("memory", "max_byte")),
        ({"kind": "memory", "max_bytes": 0}, ("memory", "max_bytes")),
        ({"kind": "memory", "ttl_s": 0}, ("memory", "ttl_s")),
        ({"kind": "memory", "max_entry_bytes": 0}, ("memory", "max_entry_bytes")),
        ({"kind": "memory", "follow_s": 1}, ("memory", "follow_s")),
        ({"kind": "redis", "url": "redis://h", "follow_s": -1}, ("redis", "follow_s")),
        ({"kind": "redis"}, ("redis", "url")),
        ({"kind": "redis", "url": "redis://h", "timeout_ms": 0}, ("redis", "timeout_ms")),
        ({"kind": "off", "ttl_s": 1}, ("off", "ttl_s")),
        ({"kind": "disk"}, ()),
    ],
)
def test_a_wrong_setting_is_refused_by_its_path(
    config: dict[str, object], path: tuple[str, ...]
) -> None:
    with pytest.raises(ValidationError) as caught:
        ADAPTER.validate_python(config)
    assert [error["loc"] for error in caught.value.errors()] == [path]


@pytest.mark.parametrize(
    "url", ["http://h/0", "h:6379", "redis://:hunter2/x@h:y", "redis://:hunter2@h/0?colour=red"]
)
def test_a_wrong_address_is_refused_without_repeating_its_password(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RedisCacheConfig.model_validate({"url": url})
    assert "redis://HOST" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_password_is_not_shown() -> None:
    config = RedisCacheConfig.model_validate({"url": "redis://:hunter2@127.0.0.1/0"})
    assert "hunter2" not in repr(config)
    assert "hunter2" not in config.model_dump_json()


async def test_a_configured_redis_answers(redis: RedisServer) -> None:
    config = RedisCacheConfig.model_validate({"url": redis.url, "timeout_ms": 2000})
    links = RedisLinks(time.monotonic)
    cache = config.build(time.monotonic, links)
    assert cache is not None
    assert await cache.answers.put("configured", outcome())
    assert await cache.answers.get("configured") == outcome()
    await links.close()


@pytest.mark.parametrize("model", [MemoryCacheConfig, RedisCacheConfig, NoCacheConfig])
def test_every_setting_is_described(
    model: type[MemoryCacheConfig | RedisCacheConfig | NoCacheConfig],
) -> None:
    assert all(field.description for field in model.model_fields.values())
