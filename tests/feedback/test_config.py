"""Where labels are kept, as operators say it."""

import time
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from entroute.errors import ConfigurationError
from entroute.feedback import (
    FeedbackConfig,
    FileFeedbackConfig,
    MemoryFeedbackConfig,
    RedisFeedbackConfig,
)
from entroute.feedback.feedback import Origin
from entroute.redis_link.links import RedisLinks
from tests.feedback.traffic import decided_trace

ADAPTER: TypeAdapter[MemoryFeedbackConfig | FileFeedbackConfig | RedisFeedbackConfig] = TypeAdapter(
    FeedbackConfig
)


def test_defaults_are_a_day_of_ten_thousand_answers_and_one_audit_in_fifty() -> None:
    config = MemoryFeedbackConfig()
    assert (config.capacity, config.ttl_s, config.window) == (10_000, 86_400, 500)
    assert config.audit_share == 0.02
    assert config.max_age_days is None


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"kind": "memory", "capacty": 3}, ("memory", "capacty")),
        ({"kind": "memory", "window": 10}, ("memory", "window")),
        ({"kind": "memory", "audit_share": 0.9}, ("memory", "audit_share")),
        ({"kind": "memory", "max_age_days": 0}, ("memory", "max_age_days")),
        ({"kind": "file"}, ("file", "path")),
        ({"kind": "redis"}, ("redis", "url")),
        ({"kind": "redis", "url": "http://h"}, ("redis", "url")),
        ({"kind": "sqlite"}, ()),
    ],
)
def test_a_wrong_setting_is_refused_by_its_path(
    config: dict[str, object], path: tuple[str, ...]
) -> None:
    with pytest.raises(ValidationError) as caught:
        ADAPTER.validate_python(config)
    assert [error["loc"] for error in caught.value.errors()] == [path]


@pytest.mark.parametrize("url", ["redis://:hunter2/x@h:y", "redis://:hunter2@h/0?colour=red"])
def test_a_wrong_address_is_refused_without_repeating_its_password(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RedisFeedbackConfig.model_validate({"url": url})
    assert "redis://HOST" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    config = FileFeedbackConfig(path=tmp_path / "none" / "labels.json")
    with pytest.raises(ConfigurationError, match=r"feedback\.path: .*none"):
        config.build(time.monotonic, Origin(), RedisLinks(time.monotonic))


@pytest.mark.parametrize("kind", ["memory", "file", "redis"])
async def test_every_kind_takes_labels(kind: str, tmp_path: Path) -> None:
    where = {
        "memory": {},
        "file": {"path": str(tmp_path / "labels.json")},
        "redis": {"url": "redis://127.0.0.1:1/0"},
    }[kind]
    config = ADAPTER.validate_python({"kind": kind, **where})
    links = RedisLinks(time.monotonic)
    feedback = config.build(time.monotonic, Origin("profile"), links)
    await feedback.start()
    feedback.record(decided_trace())
    assert (await feedback.label("r-1", "a", 1.0)).result == "accepted"
    await feedback.close()
    await links.close()
