"""Reads what workers counted themselves, to hold against the usage a gateway reports."""

import asyncio
from dataclasses import dataclass

import aiohttp

from loadtest.spawn import read_metrics

_NAMES = {
    "prompt": ("vllm:prompt_tokens_total", "llamacpp:prompt_tokens_total"),
    "completion": ("vllm:generation_tokens_total", "llamacpp:tokens_predicted_total"),
    "running": ("vllm:num_requests_running", "llamacpp:requests_processing"),
}
_SETTLE_S = 10.0


@dataclass(frozen=True, slots=True)
class Counted:
    """Tokens a worker counted; llama.cpp leaves cached prompt tokens out of `prompt`."""

    prompt: float = 0.0
    completion: float = 0.0

    def __add__(self, other: "Counted") -> "Counted":
        return Counted(self.prompt + other.prompt, self.completion + other.completion)

    def __sub__(self, other: "Counted") -> "Counted":
        return Counted(self.prompt - other.prompt, self.completion - other.completion)


async def read_counted(session: aiohttp.ClientSession, url: str) -> Counted:
    """Read a worker's counters once nothing runs on it any more.

    `url` may end in /v1.

    Raises:
        ValueError: the worker exports neither vLLM's nor llama.cpp's names.
        TimeoutError: it stays busy for 10 s: other traffic reaches it.
    """
    address = url.rstrip("/").removesuffix("/v1") + "/metrics"
    async with asyncio.timeout(_SETTLE_S):
        while True:
            async with session.get(address) as answer:
                totals = read_metrics(await answer.text())
            if not _value(totals, "running", address):
                break
            await asyncio.sleep(0.02)
    return Counted(_value(totals, "prompt", address), _value(totals, "completion", address))


def _value(totals: dict[str, float], kind: str, address: str) -> float:
    for name in _NAMES[kind]:
        if name in totals:
            return totals[name]
    raise ValueError(f"{address} exports none of {_NAMES[kind]}; start the worker with metrics on")
