from collections.abc import AsyncIterator

import pytest_asyncio
from openai import AsyncOpenAI

from loadtest.spawn import FakeWorker, fake_worker


@pytest_asyncio.fixture
async def worker() -> AsyncIterator[FakeWorker]:
    async with fake_worker(model="small") as running:
        yield running


@pytest_asyncio.fixture
async def sdk(worker: FakeWorker) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(
        base_url=f"{worker.url}/v1", api_key="none", max_retries=0, timeout=5
    ) as client:
        yield client
