"""Text completions on a real vLLM: echoes with log-probabilities, and filling in the middle."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from tests.gateway_process import serving
from tests.openai_wire import CheckedTransport
from tests.vllm.conftest import MODEL

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(420)]

PROMPT = "The quick brown fox jumps over the lazy"
TOKENS = {"prefix": "<|fim_prefix|>", "suffix": "<|fim_suffix|>", "middle": "<|fim_middle|>"}


@pytest.fixture
async def sdk(vllm_url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client of a gateway that fills in, every response held to the schemas."""
    tier = {
        "name": "small",
        "model": MODEL,
        "workers": [{"url": f"{vllm_url}/v1"}],
        "fill_in_middle": TOKENS,
    }
    async with (
        serving({"tiers": [tier]}) as url,
        httpx.AsyncClient(transport=CheckedTransport(), timeout=120) as http,
    ):
        transport: Any = http  # the SDK's annotations name its own copy of httpx
        yield openai.AsyncOpenAI(
            base_url=f"{url}/v1", api_key="unused", max_retries=0, http_client=transport
        )


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("max_tokens", [0, 3])
async def test_a_prompt_is_read_out_with_its_log_probabilities(
    sdk: openai.AsyncOpenAI, max_tokens: int, *, stream: bool
) -> None:
    asked: dict[str, Any] = {
        "model": "small",
        "prompt": PROMPT,
        "echo": True,
        "max_tokens": max_tokens,
        "logprobs": 2,
        "temperature": 0,
    }
    if stream:
        choices = [
            chunk.choices[0] async for chunk in await sdk.completions.create(**asked, stream=True)
        ]
    else:
        answer = await sdk.completions.create(**asked)
        choices = answer.choices
        assert answer.usage is not None
        assert answer.usage.prompt_tokens > 5

    told = [choice.logprobs for choice in choices if choice.logprobs]
    text = "".join(choice.text for choice in choices)
    tokens = [token for one in told for token in one.tokens or []]
    logprobs = [value for one in told for value in one.model_dump()["token_logprobs"]]
    offsets = [at for one in told for at in one.text_offset or []]
    assert text.startswith(PROMPT)
    assert (text == PROMPT) is (max_tokens == 0)
    assert "".join(tokens) == text
    assert logprobs[0] is None
    assert all(value <= 0 for value in logprobs[1:])
    assert [text[at:][: len(token)] for at, token in zip(offsets, tokens, strict=True)] == tokens


@pytest.mark.parametrize("stream", [False, True])
async def test_an_echo_at_the_edge_is_the_same_text(
    sdk: openai.AsyncOpenAI, *, stream: bool
) -> None:
    asked: dict[str, Any] = {"model": "small", "prompt": PROMPT, "max_tokens": 3, "temperature": 0}
    plain = (await sdk.completions.create(**asked)).choices[0].text
    if stream:
        chunks = await sdk.completions.create(**asked, echo=True, stream=True)
        echoed = "".join([chunk.choices[0].text async for chunk in chunks])
    else:
        echoed = (await sdk.completions.create(**asked, echo=True)).choices[0].text
    assert echoed == PROMPT + plain


async def test_the_model_fills_in_the_middle(sdk: openai.AsyncOpenAI) -> None:
    answer = await sdk.completions.create(
        model="small",
        prompt='def area(width, height):\n    """Return the area of a rectangle."""\n    return ',
        suffix="\n\nprint(area(2, 3))\n",
        max_tokens=16,
        temperature=0,
        stop=["\n"],
    )
    assert answer.choices[0].text.strip() == "width * height"
