"""No secret of the operator's is ever said: not to clients, not in logs, metrics or `check`."""

import asyncio
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from entroute.app import create_app
from entroute.calls import CallStream
from entroute.settings import Settings
from entroute.types import Call
from tests.api.ways import SUM
from tests.builders import a_tier
from tests.echoing import Echo, echoing
from tests.gateway_process import (
    Served,
    served,
    serving_app,
    two_tiers,
)
from tests.redis_server import RedisServer, redis_server
from tests.scripted import FakeBackend
from tests.secret_settings import (
    CLIENT_KEY,
    PASSWORD,
    REVOKED_KEY,
    WRONG_PASSWORD,
    key_file,
    redis_url,
    said_in,
    settings_of,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

MODES: tuple[str | int, ...] = (
    *(302, 400, 401, 403, 404, 413, 422, 429, 500, 503),
    *("models", "text", "malformed", "not an object", "another shape"),
    *("stream error", "stream garbage"),
)


@dataclass(slots=True)
class Heard:
    """Everything that clients and operators read."""

    texts: list[str] = field(default_factory=list)
    statuses: set[int] = field(default_factory=set)

    def note(self, response: httpx.Response) -> httpx.Response:
        lines = [f"{name}: {value}" for name, value in response.headers.items()]
        self.texts += [*lines, response.text]
        self.statuses.add(response.status_code)
        return response

    @property
    def leaks(self) -> list[str]:
        return [f"{said}: {text[:300]}" for text in self.texts if (said := said_in(text))]


@pytest.fixture
def redis_with_password() -> Iterator[RedisServer]:
    with redis_server({"requirepass": PASSWORD}, tcp=True) as server:
        yield server


BEARER = {"authorization": f"Bearer {CLIENT_KEY}"}
WRONG: tuple[Mapping[str, str], ...] = (
    {},
    {"authorization": f"Bearer {REVOKED_KEY}"},
    {"authorization": CLIENT_KEY},
    {"authorization": f"Basic {b64encode(CLIENT_KEY.encode()).decode()}"},
    {"authorization": f"Bearer {CLIENT_KEY},{CLIENT_KEY}"},
    {"x-api-key": CLIENT_KEY},
    {"x-request-id": "r-1", "api-key": CLIENT_KEY},
)


def chat(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "auto", "messages": [{"role": "user", "content": text}], **fields}


def checked_by(options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    return "chat/completions", chat(SUM, entroute={**options, "explain": True, "cache": "bypass"})


CHECKED = (
    checked_by({"strategy": "best_of_n", "verifier": {"kind": "reward", "name": "rm"}}),
    checked_by({"strategy": "cot_pot"}),
)
"""Requests that ask the reward model and the sandbox."""


def asks() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield requests that use every key."""
    for stream in (False, True):
        for model in ("auto", "small", "large"):
            body = {"model": model, "stream": stream, "entroute": {"explain": True}}
            yield "chat/completions", {**body, "messages": [{"role": "user", "content": SUM}]}
        yield "completions", {"model": "small", "prompt": "Hi", "stream": stream}
        yield "responses", {"model": "small", "input": "Hi", "stream": stream}
    yield from CHECKED
    yield "embeddings", {"model": "minilm", "input": "Hi"}


@asynccontextmanager
async def running(
    folder: Path, settings: Mapping[str, Any]
) -> AsyncIterator[tuple[Served, httpx.AsyncClient]]:
    """Run a gateway whose workers are in this process; yield it and a client of it."""
    process = served(folder, settings)
    gateway = await asyncio.to_thread(process.__enter__)
    try:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=60) as client:
            yield gateway, client
    finally:
        await asyncio.to_thread(process.__exit__, None, None, None)


async def drive(client: httpx.AsyncClient, heard: Heard, echo: Echo) -> None:
    """Use every path and every key, well and badly."""

    async def post(path: str, body: Any, headers: Mapping[str, str] = BEARER) -> None:
        heard.note(await client.post(f"/v1/{path}", json=body, headers=headers))

    for headers in WRONG:
        await post("chat/completions", chat("Hi"), headers)
    heard.note(await client.get(f"/v1/models?api_key={quote(CLIENT_KEY)}"))
    for path, body in asks():
        await post(path, body)
    for path in ("chat/completions", "embeddings", "responses", "feedback", "nowhere"):
        await post(path, {"model": CLIENT_KEY[:3], "strange": [1]})
    for mode in MODES:
        for where in ("/v1", "/reward", "/run"):
            echo.mode, echo.where = mode, where
            for path, body in asks() if where == "/v1" else CHECKED:
                await post(path, body)
        echo.mode = "ok"
        await until_healthy(client)
    for path in ("/metrics", "/openapi.json", "/readyz", "/v1/models", "/v1/usage"):
        heard.note(await client.get(path, headers=BEARER))


async def until_healthy(client: httpx.AsyncClient) -> None:
    """Wait until a sweep has brought the workers back."""
    end = time.monotonic() + 30
    body = {**chat("Hi"), "model": "large", "entroute": {"cache": "bypass"}}
    while (await client.post("/v1/chat/completions", json=body, headers=BEARER)).status_code != 200:
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def until_logged(gateway: Served, words: str) -> None:
    end = time.monotonic() + 30
    while words not in gateway.log.read_text(encoding="utf-8"):
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def test_no_secret_is_said_whatever_goes_wrong(
    tmp_path: Path, redis_with_password: RedisServer
):
    heard, keys = Heard(), key_file(tmp_path)
    async with echoing() as echo:
        settings = settings_of(echo, keys, redis_url(redis_with_password))
        async with running(tmp_path, settings) as (gateway, client):
            await drive(client, heard, echo)
            keys.write_text(f"keys: [{CLIENT_KEY}", encoding="utf-8")
            redis_with_password.kill()
            await until_logged(gateway, "not valid YAML")
            for path, body in asks():
                heard.note(await client.post(f"/v1/{path}", json=body, headers=BEARER))
            heard.texts.append(gateway.log.read_text(encoding="utf-8"))
    assert heard.leaks == []
    assert heard.statuses >= {200, 400, 401, 404, 502, 503}
    assert "[api_key]" in "".join(heard.texts)
    wanted = {"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/reward", "/run"}
    assert echo.asked >= wanted


async def test_a_wrong_redis_password_is_not_said(tmp_path: Path, redis_with_password: RedisServer):
    heard, keys = Heard(), key_file(tmp_path)
    async with echoing() as echo:
        settings = settings_of(echo, keys, redis_url(redis_with_password, WRONG_PASSWORD))
        async with running(tmp_path, settings) as (gateway, client):
            for path, body in asks():
                heard.note(await client.post(f"/v1/{path}", json=body, headers=BEARER))
            heard.note(await client.get("/metrics"))
            log = gateway.log.read_text(encoding="utf-8")
    assert [*heard.leaks, *said_in(log)] == []
    assert heard.statuses == {200}
    assert "redis" in log


async def test_a_bug_shows_no_header(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    class Broken(FakeBackend):
        def stream(self, call: Call) -> CallStream:
            raise ZeroDivisionError("a bug")

    settings = two_tiers("http://127.0.0.1:1", "http://127.0.0.1:2")
    settings["auth"] = {"keys_file": str(key_file(tmp_path))}
    tiers = [a_tier("small", Broken())]
    app = create_app(Settings.model_validate(settings), tiers=tiers)
    with caplog.at_level("DEBUG"):
        async with serving_app(app) as url, httpx.AsyncClient(base_url=url) as client:
            response = await client.post(
                "/v1/chat/completions", json={**chat("Hi"), "model": "small"}, headers=BEARER
            )
    assert response.status_code == 500
    assert "ZeroDivisionError" in caplog.text
    assert said_in(response.text + caplog.text) == []
