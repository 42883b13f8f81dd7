import time

import pytest
from pydantic import TypeAdapter, ValidationError

from entroute.cache import CacheConfig, MemoryCacheConfig, NoCacheConfig, RedisCacheConfig
from entroute.cache.memory import MemoryCache
from entroute.cache.redis import RedisCache
from entroute.redis_links import RedisLinks
from tests.cache.samples import outcome
from tests.redis_server import RedisServer

ADAPTER: TypeAdapter[MemoryCacheConfig | RedisCacheConfig | NoCacheConfig] = TypeAdapter(
    CacheConfig
)


def test_the_kind_tells_the_stores_apart() -> None:
    memory = ADAPTER.validate_python({"kind": "memory"})
    redis = ADAPTER.validate_python({"kind": "redis", "url": "redis://127.0.0.1:6379/0"})
    off = ADAPTER.validate_python({"kind": "off"})
    links = RedisLinks(time.monotonic)
    assert isinstance(memory.build(time.monotonic, links), MemoryCache)
    assert isinstance(redis.build(time.monotonic, links), RedisCache)
    assert off.build(time.monotonic, links) is None


def test_defaults_are_an_hour_64_mib_and_50_ms() -> None:
    memory = MemoryCacheConfig()
    redis = RedisCacheConfig.model_validate({"url": "redis://127.0.0.1"})
    assert (memory.max_bytes, memory.ttl_s) == (67_108_864, 3600)
    assert (redis.timeout_ms, redis.ttl_s) == (50, 3600)


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"kind": "memory", "max_byte": 3}, ("memory", "max_byte")),
        ({"kind": "memory", "max_bytes": 0}, ("memory", "max_bytes")),
        ({"kind": "memory", "ttl_s": 0}, ("memory", "ttl_s")),
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
    await cache.put("configured", outcome())
    assert await cache.get("configured") == outcome()
    await links.close()


@pytest.mark.parametrize("model", [MemoryCacheConfig, RedisCacheConfig, NoCacheConfig])
def test_every_setting_is_described(
    model: type[MemoryCacheConfig | RedisCacheConfig | NoCacheConfig],
) -> None:
    assert all(field.description for field in model.model_fields.values())
