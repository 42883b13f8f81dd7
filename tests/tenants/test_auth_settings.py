"""Where API keys come from is said once, and in full."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from entroute.errors import ConfigurationError
from entroute.loading import load
from tests.gateway_process import two_tiers

REDIS = {"url": "redis://127.0.0.1:1/0"}


def loaded(folder: Path, **changes: Any) -> Any:
    path = folder / "gateway.yaml"
    settings = {**two_tiers("http://127.0.0.1:1", "http://127.0.0.1:2"), **changes}
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return load(path, {})


def test_keys_come_from_a_file_or_from_redis(tmp_path: Path):
    settings = loaded(tmp_path, auth={"keys_file": "keys.yaml"})
    assert (str(settings.auth.keys_file), settings.auth.keys) == ("keys.yaml", None)
    assert settings.auth.when_redis_fails == "open"
    settings = loaded(tmp_path, auth={"keys": "redis", "when_redis_fails": "closed"}, redis=REDIS)
    assert (settings.auth.keys_file, settings.auth.keys) == (None, "redis")
    assert settings.auth.when_redis_fails == "closed"


def test_the_caches_redis_will_do(tmp_path: Path):
    settings = loaded(tmp_path, auth={"keys": "redis"}, cache={"kind": "redis", **REDIS})
    assert settings.shared_redis is not None


@pytest.mark.parametrize(
    ("auth", "message"),
    [
        ({}, "auth: give exactly one of keys_file: PATH and keys: redis"),
        ({"keys_file": "a", "keys": "redis"}, "auth: give exactly one of"),
        ({"keys": "redis"}, "auth.keys: redis needs the address of a Redis; set redis.url"),
        ({"keys": "file"}, "auth.keys: "),
        ({"keys_file": "a", "when_redis_fails": "ajar"}, "auth.when_redis_fails: "),
        ({"key_file": "a"}, "auth.key_file: unknown key"),
    ],
)
def test_anything_else_is_refused_by_its_path(tmp_path: Path, auth: dict[str, str], message: str):
    with pytest.raises(ConfigurationError) as raised:
        loaded(tmp_path, auth=auth)
    assert message in str(raised.value)
