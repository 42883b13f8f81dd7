"""Whom a bank is recorded from, and what its workers tell beyond answers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from entroute.embedded.engine import free_port
from entroute.errors import ConfigurationError
from entroute.evaluation.sources import PATIENT, mean_of, opened_tiers, settings_of
from loadtest.spawn import FakeWorker
from tests.workers import two_workers, worker, worker_processes

__all__ = ["two_workers", "worker", "worker_processes"]

ASKED = [{"role": "user", "content": "Hi?"}]


def nothing(name: str) -> Path:
    raise AssertionError(name)


@asynccontextmanager
async def likely(told: Any, owner: str = "vllm") -> AsyncIterator[tuple[str, list[Any]]]:
    """Serve a worker that tells `prompt_logprobs`; yield its URL and what it is asked."""
    asked: list[Any] = []

    async def models(_: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "m", "owned_by": owner}]})

    async def version(_: web.Request) -> web.Response:
        return web.json_response({"version": "0.32.0"})

    async def chat(request: web.Request) -> web.Response:
        asked.append((await request.json(), request.headers.get("authorization")))
        return web.json_response({"choices": [], "prompt_logprobs": told})

    app = web.Application()
    app.router.add_get("/v1/models", models)
    app.router.add_get("/version", version)
    app.router.add_post("/v1/chat/completions", chat)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}", asked
    finally:
        await runner.cleanup()


def test_workers_of_one_name_are_one_tier() -> None:
    settings = settings_of(["a=http://h:1,m", "b=http://h:2/v1/,n", "a=http://h:3,m"], None)
    tiers = {tier.name: (tier.model, [w.url for w in tier.workers]) for tier in settings.tiers}
    assert tiers == {
        "a": ("m", ["http://h:1/v1", "http://h:3/v1"]),
        "b": ("n", ["http://h:2/v1"]),
    }
    assert settings.timeouts == PATIENT


def test_without_workers_the_tiers_are_the_embedded_ones() -> None:
    assert [tier.name for tier in settings_of((), None).tiers] == ["small", "large"]
    (only,) = settings_of((), None, ["large"]).tiers
    assert only.engine is not None


async def test_a_prompts_tokens_are_as_likely_as_the_worker_tells() -> None:
    told = [None, {"11": {"logprob": -1.0}}, {"12": {"logprob": -2.0, "rank": 3}}]
    async with likely(told) as (url, asked):
        settings = settings_of([f"small={url},m"], None)
        async with opened_tiers(settings, nothing, print) as sources:
            assert await sources.prompt_logprob("small", ASKED) == -1.5
            assert await sources.engine() == "vllm 0.32.0"
            assert sources.models == {"small": "m"}
    body = {"model": "m", "messages": ASKED, "max_tokens": 1, "prompt_logprobs": 0}
    assert asked == [(body, None)]


async def test_a_configured_key_is_sent(tmp_path: Path) -> None:
    async with likely([None], owner="someone") as (url, asked):
        config = tmp_path / "gateway.yaml"
        config.write_text(
            f"tiers: [{{name: small, model: m, workers: [{{url: '{url}/v1', api_key: k}}]}}]"
        )
        async with opened_tiers(settings_of((), config), nothing, print) as sources:
            assert await sources.prompt_logprob("small", ASKED) is None
            assert await sources.engine() == "someone"
    assert [key for _, key in asked] == ["Bearer k"]


async def test_a_worker_that_cannot_tell_tells_nothing(worker: FakeWorker) -> None:
    settings = settings_of([f"small={worker.url},small"], None)
    async with opened_tiers(settings, nothing, print) as sources:
        assert await sources.prompt_logprob("small", ASKED) is None
        await worker.script(failure={"kind": "status", "status": 500})
        assert await sources.prompt_logprob("small", ASKED) is None


async def test_a_tier_without_a_worker_is_named() -> None:
    settings = settings_of(["small=http://127.0.0.1:9,m"], None)
    with pytest.raises(ConfigurationError, match="no worker of tier 'small' serves m at http://1"):
        async with opened_tiers(settings, nothing, print):
            pass


@pytest.mark.parametrize(
    "told", [None, "x", [], [None], [3], [{}], [{"1": 2}], [{"1": {"logprob": "x"}}]]
)
def test_nonsense_is_no_log_probability(told: Any) -> None:
    assert mean_of({"prompt_logprobs": told}) is None
