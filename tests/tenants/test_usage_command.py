"""`entroute keys usage` as operators run it."""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from entroute.cli import main
from entroute.redis_link.links import RedisLinks
from entroute.tenants.usage import Batch, Place
from entroute.tenants.usage_redis import RedisUsage
from tests.gateway_process import two_tiers
from tests.keys import write_key_file
from tests.redis_server import RedisServer

ID = "fedcba987654"
FIELDS = {
    "requests": 3,
    "errors": 1,
    "small|answer|prompt": 1200,
    "small|answer|completion": 340,
    "small|answer|calls": 2,
    "small|answer|pico_usd": 1_880_000_000,
}


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return write_key_file(tmp_path / "keys.yaml", {"secret": {"id": ID, "tenant": "t"}})


def config(folder: Path, keys: Path, **settings: object) -> str:
    tiers = two_tiers("http://127.0.0.1:1", "http://127.0.0.1:2")
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump({**tiers, "auth": {"keys_file": str(keys)}, **settings}))
    return str(path)


async def book(redis: RedisServer, month: str) -> None:
    links = RedisLinks(time.monotonic)
    usage = RedisUsage(links.to(redis.url, 5.0))
    await usage.add(Place(ID, month), Batch("gateway", time.time_ns(), {3: FIELDS}))
    await links.close()


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(["keys", "usage", *arguments])
    assert isinstance(exit_.value.code, int)
    return exit_.value.code


def test_a_keys_month_is_shown_by_tier_and_purpose(
    redis: RedisServer,
    keys: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    asyncio.run(book(redis, "2026-10"))
    where = config(tmp_path, keys, redis={"url": redis.url})
    assert run(ID, "--month", "2026-10", "--config", where) == 0
    shown = capfd.readouterr().out
    assert f"{ID} (holder 0) in 2026-10" in shown
    assert "3 requests, 1 errors, 0 from cache" in shown
    for cell in ("small", "answer", "1200", "340", "0.001880"):
        assert cell in shown
    assert run(ID, "--config", where) == 0  # this month, of which nothing is booked
    shown = capfd.readouterr().out
    assert f"in {datetime.now(UTC):%Y-%m}" in shown
    assert "0 requests" in shown


def test_a_wrong_month_and_a_missing_redis_are_said(
    keys: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    where = config(tmp_path, keys)
    assert run(ID, "--month", "October", "--config", where) != 0
    assert "--month: write a year and a month" in capfd.readouterr().err
    assert run(ID, "--config", where) != 0
    assert "GET /v1/usage" in capfd.readouterr().err
