"""A vote that is settled stops the worker: by vLLM's own gauges and counters."""

import asyncio
import time

import openai
import pytest

from tests.vllm.conftest import MODEL, sdk
from tests.vllm.metrics import GENERATED, RUNNING, page, seconds_until, total

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(420)]

QUESTION = (
    "A shop has 17 red pens and 25 blue ones. How many is that? Explain it as shortly or as fully "
    "as you like, then end with 'The answer is <number>.'"
)
TRIES = 15


async def asked(client: openai.AsyncOpenAI) -> dict[str, object]:
    """Ask once with votes and return `entroute` of the body."""
    answer = await client.chat.completions.create(
        model="auto",
        messages=[{"role": "user", "content": QUESTION}],
        max_tokens=300,
        temperature=1.0,
        extra_body={"entroute": {"strategy": "self_consistency", "explain": True}},
    )
    evidence = answer.model_dump()["entroute"]
    assert isinstance(evidence, dict)
    return evidence


async def test_losers_stop_generating_within_a_second_of_the_decision(
    gateway_url: str, vllm_url: str
) -> None:
    """Samples differ in length, so that some are open when three of five agree; seen to be so."""
    async with sdk(gateway_url) as client:
        for _ in range(TRIES):
            cancelled = (await asked(client))["cancelled"]
            decided = time.monotonic()
            await seconds_until(vllm_url, RUNNING, 0, within_s=1)
            stopped = total(await page(vllm_url), GENERATED)
            assert time.monotonic() - decided < 1
            await asyncio.sleep(1)
            assert total(await page(vllm_url), GENERATED) == stopped
            if cancelled:
                return
    pytest.fail(f"no sample was open when the vote settled, in {TRIES} tries of {MODEL}")
