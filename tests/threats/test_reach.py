"""Who can make the gateway reach whom."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import Client, Serve, Workers
from tests.gateway_process import served, two_tiers

pytestmark = pytest.mark.asyncio(loop_scope="session")


@asynccontextmanager
async def trap() -> AsyncIterator[tuple[str, list[bytes]]]:
    """Listen for anybody who should not come; yield the address and what was said."""
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1000))
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heard


async def test_an_image_s_address_is_the_worker_s_business(serve: Serve, workers: Workers):
    own = two_tiers(workers.small.url, workers.large.url)["tiers"]
    gateway = await serve(tiers=[{**tier, "vision": True} for tier in own])
    async with trap() as (url, heard):
        image = {"type": "image_url", "image_url": {"url": f"{url}/secret.png"}}
        content = [{"type": "text", "text": "What is it?"}, image]
        body = {"model": "small", "messages": [{"role": "user", "content": content}]}
        assert (await gateway.post("chat/completions", body)).status_code == 200
        assert heard == []
    (asked,) = await workers.bodies()
    assert asked["messages"][0]["content"] == content


@pytest.mark.parametrize("kind", ["reward", "judge", "program", "tests"])
async def test_a_verifier_s_address_cannot_be_given_by_a_client(gateway: Client, kind: str):
    async with trap() as (url, heard):
        for name in ("url", "base_url", "endpoint"):
            options = {"strategy": "best_of_n", "verifier": {"kind": kind, name: url}}
            response = await gateway.chat(entroute=options)
            assert response.status_code == 400
        named = {"strategy": "best_of_n", "verifier": {"kind": "reward", "name": url}}
        assert (await gateway.chat(entroute=named)).status_code == 400
        assert heard == []


async def test_a_proxy_of_the_environment_is_not_asked(tmp_path: Path, workers: Workers):
    settings = two_tiers(workers.small.url, workers.large.url)
    async with trap() as (url, heard):
        names = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy")
        environment = {**dict.fromkeys(names, url), "NO_PROXY": "", "no_proxy": ""}
        with_proxy = served(tmp_path, settings, environment, within_s=60)
        process = await asyncio.to_thread(with_proxy.__enter__)
        try:
            body: dict[str, Any] = {
                "model": "small",
                "messages": [{"role": "user", "content": "Hi"}],
            }
            async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
                answer = await client.post(f"{process.url}/v1/chat/completions", json=body)
            assert answer.status_code == 200
        finally:
            await asyncio.to_thread(with_proxy.__exit__, None, None, None)
        assert heard == []
