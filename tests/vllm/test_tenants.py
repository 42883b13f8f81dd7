"""Tenants on a real vLLM: what one has asked is never found in the prefix cache by another."""

from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import openai
import pytest

from tests.gateway_process import serving
from tests.keys import write_key_file
from tests.vllm.conftest import MODEL
from tests.vllm.metrics import page, total

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(420)]

HITS = "vllm:prefix_cache_hits_total"
NUMBERS = " ".join(str(number) for number in range(400, 600))
PROMPT = f"Add these numbers: {NUMBERS}"


@pytest.fixture
async def gateway(vllm_url: str, tmp_path: Path) -> AsyncIterator[str]:
    """A gateway of two tenants before the worker, no path."""
    keys = {"a-key": {"tenant": "acme"}, "b-key": {"tenant": "bolt"}}
    tier = {"name": "small", "model": MODEL, "workers": [{"url": f"{vllm_url}/v1"}]}
    settings = {
        "tiers": [tier],
        "auth": {
            "keys_file": str(write_key_file(tmp_path / "keys.yaml", keys)),
            "cache_salt_key": "the same on all gateways",
        },
    }
    async with serving(settings) as url:
        yield url


async def cached(gateway: str, key: str, *, chat: bool) -> int:
    """Ask the prompt once with a key; return how many of its tokens the worker had read before."""
    async with openai.AsyncOpenAI(
        base_url=f"{gateway}/v1", api_key=key, max_retries=0, timeout=120
    ) as sdk:
        if chat:
            asked = await sdk.chat.completions.create(
                model="small", messages=[{"role": "user", "content": PROMPT}], max_tokens=1
            )
            usage = asked.usage
        else:
            usage = (await sdk.completions.create(model="small", prompt=PROMPT, max_tokens=1)).usage
    assert usage is not None
    assert usage.prompt_tokens > 400
    assert usage.prompt_tokens_details is not None
    return usage.prompt_tokens_details.cached_tokens or 0


@pytest.mark.parametrize("chat", [True, False])
async def test_a_prompt_is_cached_for_its_tenant_alone(
    gateway: str, vllm_url: str, *, chat: bool
) -> None:
    counted = [total(await page(vllm_url), HITS)]
    told = []
    for key in ("a-key", "a-key", "b-key", "b-key", "a-key"):
        told.append(await cached(gateway, key, chat=chat))
        counted.append(total(await page(vllm_url), HITS))

    first, again, stranger, stranger_again, back = told
    assert first == stranger == 0
    assert min(again, stranger_again, back) > 400
    assert [now - before for before, now in pairwise(counted)] == told
