"""API keys: who may ask, for what, and nobody learns a secret."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest
import pytest_asyncio

from entroute.errors import ConfigurationError
from tests.api.conftest import OPEN, PROBED_HARD, Client, Serve, Workers, base_settings, client_of
from tests.gateway_process import serving
from tests.keys import write_key_file

pytestmark = pytest.mark.asyncio(loop_scope="session")

ASK: list[Any] = [{"role": "user", "content": "Hi"}]
KEYS: dict[str, dict[str, Any]] = {
    "all-key": {"tenant": "a"},
    "small-key": {"tenant": "b", "tiers": ["small"], "budget": {"max_calls": 2}},
    "single-key": {"tenant": "c", "strategies": ["single"]},
    "vote-key": {"tenant": "d", "strategies": ["self_consistency"]},
}


ENTRY = "{name: first, tenant: y, sha256: '" + "0" * 64 + "'}"


def write_keys(path: Path) -> Path:
    return write_key_file(path, KEYS)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def guarded_url(
    fake_workers: Workers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[str]:
    keys = write_keys(tmp_path_factory.mktemp("keys") / "keys.yaml")
    async with serving(base_settings(fake_workers, auth={"keys_file": str(keys)})) as url:
        yield url


@pytest_asyncio.fixture(loop_scope="session")
async def guarded(guarded_url: str, workers: Workers, http: httpx.AsyncClient) -> Client:
    """A gateway that wants keys."""
    return client_of(guarded_url, http)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def test_a_known_key_is_answered(guarded: Client, http: httpx.AsyncClient):
    client = client_of(guarded.url, http, "all-key")
    answer = await client.sdk.chat.completions.create(model="large", messages=ASK)
    assert answer.choices[0].message.content


async def test_the_sdk_raises_its_typed_error_on_an_unknown_key(
    guarded: Client, http: httpx.AsyncClient
):
    client = client_of(guarded.url, http, "wrong-key")
    with pytest.raises(openai.AuthenticationError) as raised:
        await client.sdk.chat.completions.create(model="small", messages=ASK)
    assert raised.value.code == "invalid_api_key"
    with pytest.raises(openai.AuthenticationError):
        await client.sdk.models.list()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "all-key"},
        {"authorization": "Basic all-key"},
        {"authorization": "Bearer " + hashlib.sha256(b"all-key").hexdigest()},
        {"authorization": "Bearer ALL-KEY"},
        {"x-api-key": "all-key"},
    ],
    ids=str,
)
@pytest.mark.parametrize("stream", [False, True])
async def test_without_a_known_key_nothing_is_answered(
    guarded: Client, headers: dict[str, str], *, stream: bool
):
    response = await guarded.chat(headers=headers, stream=stream)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["error"]["type"] == "authentication_error"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_read_in_any_case(guarded: Client, scheme: str):
    response = await guarded.chat(headers={"authorization": f"{scheme} all-key"})
    assert response.status_code == 200


async def test_a_missing_key_is_said_before_anything_else(guarded: Client):
    response = await guarded.chat(model="nonsense", entroute={"nonsense": 1})
    assert response.status_code == 401


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b"null", b""])
async def test_a_strangers_body_is_not_parsed(guarded: Client, content: bytes):
    response = await guarded.http.post(
        f"{guarded.url}/v1/chat/completions",
        content=content,
        headers={"content-type": "application/json"},
    )
    assert response.status_code == 401


async def test_a_strangers_body_is_not_waited_for(guarded: Client):
    parts = urlsplit(guarded.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\n"
        b"content-type: application/json\r\ncontent-length: 1000000\r\n\r\n{"
    )
    async with asyncio.timeout(5):
        assert (await reader.readline()).startswith(b"HTTP/1.1 401")
    writer.close()
    await writer.wait_closed()


async def test_a_stranger_who_asks_for_models_is_counted(guarded: Client):
    labels = {"endpoint": "other", "outcome": "client_error"}
    before = await guarded.sample("entroute_requests_total", **labels)
    assert (await guarded.get("/v1/models")).status_code == 401
    assert await guarded.sample("entroute_requests_total", **labels) == before + 1


async def test_a_refused_key_is_counted_and_never_shown(guarded: Client):
    before = await guarded.sample("entroute_requests_total", outcome="client_error")
    response = await guarded.chat(headers=bearer("very-secret-key"))
    assert "very-secret-key" not in response.text
    assert await guarded.sample("entroute_requests_total", outcome="client_error") == before + 1


@pytest.mark.parametrize("model", ["large", "qwen-large"])
async def test_a_tier_that_is_not_allowed_is_denied(
    guarded: Client, http: httpx.AsyncClient, model: str
):
    client = client_of(guarded.url, http, "small-key")
    with pytest.raises(openai.PermissionDeniedError) as raised:
        await client.sdk.chat.completions.create(model=model, messages=ASK)
    assert raised.value.param == "model"


async def test_auto_stays_within_the_allowed_tiers(guarded: Client, workers: Workers):
    await workers.small.script(certainty=PROBED_HARD)
    response = await guarded.chat(OPEN, model="auto", headers=bearer("small-key"))
    assert response.headers["x-entroute-tier"] == "small"
    response = await guarded.chat(OPEN, model="auto", headers=bearer("all-key"))
    assert response.headers["x-entroute-tier"] == "large"


async def test_a_strategy_that_is_not_allowed_is_denied(guarded: Client):
    response = await guarded.chat(
        headers=bearer("single-key"), entroute={"strategy": "self_consistency"}
    )
    assert response.status_code == 403
    assert response.json()["error"]["param"] == "entroute.strategy"


async def test_auto_uses_allowed_strategies_alone(guarded: Client):
    response = await guarded.chat(model="auto", headers=bearer("single-key"))
    assert response.headers["x-entroute-strategy"] == "single"
    response = await guarded.chat(model="auto", headers=bearer("vote-key"))
    assert response.status_code == 403


async def test_a_keys_budget_caps_what_a_client_asks(guarded: Client):
    options = {"strategy": "self_consistency", "budget": {"max_calls": 10}}
    response = await guarded.chat(headers=bearer("small-key"), entroute=options)
    assert response.json()["usage"]["entroute"]["calls"] == 2


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("all-key", ["auto", "small", "large", "qwen-small", "qwen-large"]),
        ("small-key", ["auto", "small", "qwen-small"]),
    ],
)
async def test_models_are_those_a_key_may_use(
    guarded: Client, http: httpx.AsyncClient, key: str, names: list[str]
):
    models = await client_of(guarded.url, http, key).sdk.models.list()
    assert sorted(model.id for model in models.data) == sorted(names)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/openapi.json"])
async def test_operators_paths_need_no_key(guarded: Client, path: str):
    assert (await guarded.get(path)).status_code == 200


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("keys: [", "not valid YAML"),
        ("keys:", "keys"),
        ("{}", "keys"),
        ("keys: [{name: x, tenant: y, sha256: sk-secret}]", "keys.0.sha256"),
        ("keys: [{name: x, tenant: y, key: sk-secret}]", "keys.0"),
        (f"keys: [{ENTRY}, {ENTRY.replace('first', 'second')}]", "keys.1 ('second')"),
    ],
)
async def test_a_wrong_key_file_is_named_and_not_quoted(
    serve: Serve, tmp_path: Path, content: str, message: str
):
    path = tmp_path / "keys.yaml"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"auth\.keys_file") as raised:
        await serve(auth={"keys_file": str(path)})
    assert message in str(raised.value)
    assert "sk-secret" not in str(raised.value)


async def test_a_missing_key_file_is_named(serve: Serve, tmp_path: Path):
    with pytest.raises(ConfigurationError, match="No such file"):
        await serve(auth={"keys_file": str(tmp_path / "none.yaml")})
