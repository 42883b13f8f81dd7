"""A gateway before a worker that sends whatever bytes it is told to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.fuzz.raw_worker import RawWorker, raw_worker
from tests.gateway_process import merged, serving


@dataclass(frozen=True, slots=True)
class Spoiled:
    """A gateway whose only worker is spoiled.

    Attributes:
        url: Its address, no path.
        worker: The worker.
        http: A client with kept connections, where one is needed.
    """

    url: str
    worker: RawWorker
    http: httpx.Client | None = None


@asynccontextmanager
async def spoiled(**changes: Any) -> AsyncIterator[Spoiled]:
    """Serve a gateway that asks its worker once a request, and believes in it for ever."""
    async with raw_worker() as worker:
        settings = {
            "server": {"port": 0},
            "tiers": [
                {
                    "name": "small",
                    "model": "qwen-small",
                    "workers": [{"url": f"{worker.url}/v1"}],
                    "price": {"prompt": 1.0, "completion": 2.0},
                }
            ],
            "retries": {"attempts": 1},
            "breaker": {"failures": 1_000_000, "least": 1_000_000},
            "health": {"interval_s": 0.02},
            "timeouts": {"first_token_s": 10, "between_tokens_s": 5, "total_s": 15},
        }
        async with serving(merged(settings, changes)) as url:
            yield Spoiled(url, worker)
