"""A gateway, as operators run it, whose workers an API server or a name tells."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.api.conftest import Workers, base_settings
from tests.gateway_process import served
from tests.kubernetes_api import TOKEN, a_slice, endpoint, kubernetes_api

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATIENCE_S = 30.0
BODY = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}


def port(url: str) -> int:
    return urlsplit(url).port or 0


def discovering(workers: Workers, **discover: Any) -> dict[str, Any]:
    """Return settings whose small tier finds its workers."""
    settings = base_settings(workers)
    small, large = settings["tiers"]
    found = {key: value for key, value in small.items() if key != "workers"}
    return {**settings, "tiers": [{**found, "discover": discover}, large]}


async def answered(http: httpx.AsyncClient, url: str) -> int:
    return (await http.post(f"{url}/v1/chat/completions", json=BODY, timeout=20)).status_code


async def until_answered(http: httpx.AsyncClient, url: str, status: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await answered(http, url) != status:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.05)


async def test_pods_of_a_service_come_and_go(
    workers: Workers, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    async with kubernetes_api() as api, AsyncExitStack() as stack:
        settings = discovering(
            workers,
            kind="kubernetes",
            service="vllm",
            namespace="models",
            api=api.url,
            token_file=str(tmp_path / "token"),
        )
        # In a thread: the API answers from this one while the gateway starts.
        gateway = await asyncio.to_thread(stack.enter_context, served(tmp_path, settings))
        missing = await http.post(f"{gateway.url}/v1/chat/completions", json=BODY)
        assert missing.status_code == 503
        assert missing.json()["error"]["code"] == "tier_unavailable"
        api.put(a_slice("one", port(workers.small.url), endpoint("127.0.0.1", ready=True)))
        await until_answered(http, gateway.url, 200)
        page = (await http.get(f"{gateway.url}/metrics")).text
        small = f'tier="small",worker="127.0.0.1:{port(workers.small.url)}"'
        assert f"entroute_worker_up{{{small}}} 1.0" in page
        api.put(a_slice("one", port(workers.small.url), endpoint("127.0.0.1", ready=False)))
        await until_answered(http, gateway.url, 503)
        page = (await http.get(f"{gateway.url}/metrics")).text
        assert small not in page
        gateway.terminate()
        await asyncio.to_thread(gateway.process.wait, PATIENCE_S)
    assert TOKEN not in gateway.log.read_text()


async def test_addresses_of_a_name_are_workers(
    workers: Workers, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    settings = discovering(workers, kind="dns", host="localhost", port=port(workers.small.url))
    with served(tmp_path, settings) as gateway:
        assert await answered(http, gateway.url) == 200
