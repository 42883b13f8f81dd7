"""A key's life, made by the command and used at a gateway that is never restarted."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import Client, Workers, base_settings, client_of
from tests.gateway_process import child_environment, command, served
from tests.redis_server import RedisServer, redis_server

pytestmark = pytest.mark.asyncio(loop_scope="session")

SOON_S = 30.0
"""More than the 2 s that a change takes, for a machine that has other things to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where keys are: what the gateway is told, and what the command is."""

    settings: Mapping[str, Any]
    options: tuple[str, ...]
    environment: Mapping[str, str]

    async def keys(self, *arguments: str) -> str:
        """Run `entroute keys`; return what it printed."""
        process = await asyncio.create_subprocess_exec(
            *command(["keys", *arguments, *self.options]),
            env=child_environment(self.environment),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return out.decode().removesuffix("\n")


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


def in_redis(server: RedisServer) -> Place:
    redis = {"url": server.url, "timeout_ms": 2000}
    settings = {"redis": redis, "auth": {"keys": "redis"}}
    return Place(settings, (), {"ENTROUTE_REDIS__URL": server.url})


@pytest.fixture(params=["file", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "redis":
        return in_redis(request.getfixturevalue("server"))
    file = tmp_path / "keys.yaml"
    file.write_text("keys: []\n", encoding="utf-8")
    return Place({"auth": {"keys_file": str(file)}}, ("--file", str(file)), {})


def ask(gateway: Client, key: str) -> Awaitable[httpx.Response]:
    return gateway.chat(headers={"authorization": f"Bearer {key}"})


async def until(read: Callable[[], Awaitable[httpx.Response]], status: int) -> httpx.Response:
    """Ask until the answer has a status, and never another than that or 200 or 401."""
    end = time.monotonic() + SOON_S
    while (response := await read()).status_code != status:
        assert response.status_code in {200, 401}, response.text
        assert time.monotonic() < end, response.text
        await asyncio.sleep(0.05)
    return response


async def test_a_key_is_made_used_rotated_and_revoked_without_a_restart(
    workers: Workers, http: httpx.AsyncClient, tmp_path: Path, place: Place
):
    with served(tmp_path, base_settings(workers, **place.settings)) as running:
        gateway = client_of(running.url, http)
        assert (await ask(gateway, "er-unknown")).status_code == 401
        key = await place.keys("create", "--name", "ci", "--tenant", "acme")
        await until(lambda: ask(gateway, key), 200)
        newer = await place.keys("rotate", "ci", "--grace", "1h")
        await until(lambda: ask(gateway, newer), 200)
        assert (await ask(gateway, key)).status_code == 200  # the old one, within its grace
        newest = await place.keys("rotate", "ci")
        await until(lambda: ask(gateway, newer), 401)
        assert (await ask(gateway, key)).status_code == 401
        assert (await ask(gateway, newest)).status_code == 200
        await place.keys("revoke", "ci")
        gone = await until(lambda: ask(gateway, newest), 401)
        assert gone.json()["error"]["code"] == "invalid_api_key"
        log = running.log.read_text(encoding="utf-8")
    for secret in (key, newer, newest):
        assert secret not in log
    assert f'"key": "{key.split("-")[1]}"' in log


async def test_an_expired_key_is_told_so(
    workers: Workers, http: httpx.AsyncClient, tmp_path: Path, place: Place
):
    with served(tmp_path, base_settings(workers, **place.settings)) as running:
        gateway = client_of(running.url, http)
        key = await place.keys("create", "--name", "short", "--expires", "2s")
        end = time.monotonic() + SOON_S
        while (await ask(gateway, key)).json().get("error", {}).get("code") != "api_key_expired":
            assert time.monotonic() < end
            await asyncio.sleep(0.05)
        expired = await ask(gateway, key)
    assert expired.status_code == 401
    assert expired.json()["error"]["type"] == "authentication_error"
    assert expired.headers["www-authenticate"] == "Bearer"


async def test_keys_in_redis_outlive_it_and_are_503_before_they_were_ever_read(
    workers: Workers, http: httpx.AsyncClient, tmp_path: Path, server: RedisServer
):
    place = in_redis(server)
    known = await place.keys("create", "--name", "known")
    with served(tmp_path, base_settings(workers, **place.settings)) as running:
        gateway = client_of(running.url, http)
        assert (await ask(gateway, known)).status_code == 200
        server.kill()
        assert (await ask(gateway, known)).status_code == 200
        assert (await ask(gateway, "er-unknown")).status_code == 401
    with served(tmp_path, base_settings(workers, **place.settings)) as running:
        gateway = client_of(running.url, http)
        refused = await ask(gateway, known)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "keys_unavailable"
        assert int(refused.headers["retry-after"]) >= 1
        server.start()  # empty
        another = await place.keys("create", "--name", "another")
        end = time.monotonic() + SOON_S
        while (await ask(gateway, another)).status_code != 200:
            assert time.monotonic() < end
            await asyncio.sleep(0.05)
        assert await gateway.sample("entroute_keys", source="redis") == 1
        assert await gateway.sample("entroute_key_reloads_total", result="failed") >= 1


async def test_a_bad_key_file_changes_nothing_and_shows_in_metrics(
    workers: Workers, http: httpx.AsyncClient, tmp_path: Path
):
    file = tmp_path / "keys.yaml"
    file.write_text("keys: []\n", encoding="utf-8")
    place = Place({"auth": {"keys_file": str(file)}}, ("--file", str(file)), {})
    key = await place.keys("create", "--name", "ci")
    with served(tmp_path, base_settings(workers, **place.settings)) as running:
        gateway = client_of(running.url, http)
        assert await gateway.sample("entroute_keys", source="file") == 1
        file.write_text("keys: [er-secret-in-a-broken-file", encoding="utf-8")
        end = time.monotonic() + SOON_S
        while not await gateway.sample("entroute_key_reloads_total", result="failed"):
            assert time.monotonic() < end
            await asyncio.sleep(0.05)
        assert (await ask(gateway, key)).status_code == 200
        assert await gateway.sample("entroute_keys", source="file") == 1
        log = running.log.read_text(encoding="utf-8")
    assert log.count("not valid YAML") == 1
    assert "er-secret" not in log
