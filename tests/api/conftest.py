"""A gateway on a real socket before two fake workers, which are processes of their own."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest_asyncio
from openai import AsyncOpenAI
from prometheus_client.parser import text_string_to_metric_families

from loadtest.spawn import FakeWorker, fake_worker
from tests.gateway_process import merged, serving, two_tiers
from tests.openai_wire import CheckedTransport, Events, read_events
from tests.workers import UNSCRIPTED

TIMEOUT_S = 10.0

EASY = "Hi"
"""Looks easy: one sample of the small tier, no probe."""

OPEN = "Please explain to me how exactly a spider walks on all of its many legs"
"""Looks neither easy nor hard: the probe decides."""

DECIDING: dict[str, Any] = {
    "difficulty": {
        "kind": "chain",
        "estimators": [{"kind": "lexical"}, {"kind": "probe", "tokens": 16, "smoothing": 8}],
    },
    "policy": {"kind": "threshold", "easy_below": 0.1, "hard_above": 0.6},
    "strategies": [{"kind": "cascade", "window": 32, "smoothing": 16, "threshold": 0.8}],
}
"""Said out loud, so that these tests do not hang on how the defaults are tuned."""

PROBED_EASY = 0.99
PROBED_MIDDLE_SURE = 0.97  # the cascade releases the small tier's answer
PROBED_MIDDLE_UNSURE = 0.9  # the cascade escalates
PROBED_HARD = 0.4
"""Certainty of the small worker's tokens, by what these settings make of it."""


@dataclass(frozen=True, slots=True)
class Workers:
    """The workers behind the gateway."""

    small: FakeWorker
    large: FakeWorker

    async def bodies(self, tier: str = "small") -> list[dict[str, Any]]:
        """Return the bodies of the requests that a tier's worker received."""
        worker = self.small if tier == "small" else self.large
        return [received["body"] for received in await worker.requests()]


@dataclass(frozen=True, slots=True)
class Client:
    """A gateway as its clients see it."""

    url: str
    http: httpx.AsyncClient
    sdk: AsyncOpenAI

    async def post(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Post a body below /v1."""
        return await self.http.post(f"{self.url}/v1/{path}", json=body, headers=headers)

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Get a path."""
        return await self.http.get(f"{self.url}{path}", headers=headers)

    async def chat(
        self, text: str = EASY, *, headers: Mapping[str, str] | None = None, **fields: Any
    ) -> httpx.Response:
        """Ask for a chat completion of the small tier, or of `model`."""
        body = {"model": "small", "messages": [{"role": "user", "content": text}], **fields}
        return await self.post("chat/completions", body, headers)

    async def answer(
        self, text: str = EASY, *, headers: Mapping[str, str] | None = None, **fields: Any
    ) -> dict[str, Any]:
        """Ask as `chat` does and return the body of a good answer."""
        response = await self.chat(text, headers=headers, **fields)
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    async def events(
        self, text: str = EASY, *, headers: Mapping[str, str] | None = None, **fields: Any
    ) -> Events:
        """Ask as `chat` does for a stream and read it to its end."""
        response = await self.chat(text, headers=headers, stream=True, **fields)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("text/event-stream")
        return read_events(response.text)

    async def sample(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that carry these labels."""
        page = (await self.get("/metrics")).text
        return sum(
            sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


Serve = Callable[..., Awaitable[Client]]

PATIENT: dict[str, Any] = {"failures": 1000, "least": 1000}
"""Of breakers: tests that share a gateway let its workers fail again and again."""

# One event loop holds the shared gateway and the tests that talk to it.
SESSION: Any = {"scope": "session", "loop_scope": "session"}


@pytest_asyncio.fixture(**SESSION)
async def fake_workers() -> AsyncIterator[Workers]:
    async with (
        fake_worker(model="qwen-small") as small,
        fake_worker(model="qwen-large") as large,
    ):
        yield Workers(small, large)


@pytest_asyncio.fixture(**SESSION)
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=CheckedTransport(), timeout=TIMEOUT_S) as client:
        yield client


@pytest_asyncio.fixture(**SESSION)
async def shared_gateway(fake_workers: Workers) -> AsyncIterator[str]:
    settings = base_settings(fake_workers, server={"keep_alive_s": 0.4}, breaker=PATIENT)
    async with serving(settings) as url:
        yield url


@pytest_asyncio.fixture(loop_scope="session")
async def workers(fake_workers: Workers, http: httpx.AsyncClient) -> Workers:
    """Both workers, unscripted, with nothing received."""
    urls = (fake_workers.small.url, fake_workers.large.url)
    answers = await asyncio.gather(
        *(http.post(f"{url}/fake/script", json=UNSCRIPTED) for url in urls),
        *(http.delete(f"{url}/fake/requests") for url in urls),
    )
    assert [answer.status_code for answer in answers] == [200] * 4
    return fake_workers


@pytest_asyncio.fixture(loop_scope="session")
async def gateway(shared_gateway: str, workers: Workers, http: httpx.AsyncClient) -> Client:
    """The gateway that tests share; they must leave its workers healthy."""
    return client_of(shared_gateway, http)


@pytest_asyncio.fixture(loop_scope="session")
async def serve(workers: Workers, http: httpx.AsyncClient) -> AsyncIterator[Serve]:
    """Start gateways of a test's own before the two workers, with changed settings."""
    async with AsyncExitStack() as stack:

        async def start(**changes: Any) -> Client:
            url = await stack.enter_async_context(serving(base_settings(workers, **changes)))
            return client_of(url, http)

        yield start


async def eventually(
    read: Callable[[], Awaitable[float]], wanted: float, *, within_s: float = 2.0
) -> bool:
    """Read a number until it is the wanted one; return whether it was within the time."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if await read() == wanted:
            return True
        await asyncio.sleep(0.02)
    return False


def base_settings(workers: Workers, **changes: Any) -> dict[str, Any]:
    """Return the settings of these tests' gateways, with changes put over them."""
    return merged({**two_tiers(workers.small.url, workers.large.url), **DECIDING}, changes)


def client_of(url: str, http: httpx.AsyncClient, key: str = "unused") -> Client:
    """Return a client of the gateway at an address, no path."""
    transport: Any = http  # the SDK's annotations name its own copy of httpx
    sdk = AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, http_client=transport)
    return Client(url, http, sdk)


@pytest_asyncio.fixture(**{**SESSION, "scope": "module"})
async def second_process() -> AsyncIterator[FakeWorker]:
    async with fake_worker(model="qwen-small") as second:
        yield second


@pytest_asyncio.fixture(loop_scope="session")
async def second(second_process: FakeWorker) -> FakeWorker:
    """Another worker of the small tier, as if it was just started."""
    await second_process.script(**UNSCRIPTED)
    await second_process.forget()
    return second_process
