"""The embedded default with its real models: `entroute serve` without a file, asked by the SDK."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI

from entroute.embedded.engine import free_port
from loadtest.spawn import read_metrics
from tests.gateway_process import served, serving, two_tiers
from tests.openai_wire import CheckedTransport, read_events

pytestmark = [
    pytest.mark.models,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="session"),
]

START_S = 240.0
RECTANGLE: dict[str, Any] = {
    "prompt": 'def area(width, height):\n    """Return the area of a rectangle."""\n    return ',
    "suffix": "\n\nprint(area(2, 3))\n",
}
CAPITAL: list[Any] = [{"role": "user", "content": "What is the capital of France? One word."}]
OPEN: list[Any] = [{"role": "user", "content": "Invent a name for a planet and say why it fits."}]
SUM: list[Any] = [{"role": "user", "content": "What is 2 + 3? Answer with the number only."}]


@dataclass(frozen=True, slots=True)
class Running:
    """The embedded default: its own address and those of its engines, no paths."""

    url: str
    small: str
    large: str

    async def generated(self) -> dict[str, int]:
        """Return how many tokens each engine says it has made."""
        async with httpx.AsyncClient() as client:
            pages = {
                name: (await client.get(f"{url}/metrics")).text
                for name, url in (("small", self.small), ("large", self.large))
            }
        return {
            name: int(read_metrics(page)["llamacpp:tokens_predicted_total"])
            for name, page in pages.items()
        }


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Start `entroute serve` as a newcomer does; only the ports are given, by environment."""
    small, large = free_port(), free_port()
    environment = {
        "ENTROUTE_SERVER__PORT": "0",
        "ENTROUTE_TIERS__0__ENGINE__PORT": str(small),
        "ENTROUTE_TIERS__1__ENGINE__PORT": str(large),
    }
    folder = tmp_path_factory.mktemp("embedded")
    with served(folder, None, environment, within_s=START_S) as gateway:
        yield Running(gateway.url, f"http://127.0.0.1:{small}", f"http://127.0.0.1:{large}")
    assert gateway.process.returncode == 0


@pytest_asyncio.fixture(loop_scope="session")
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=CheckedTransport(), timeout=60) as client:
        yield client


@pytest.fixture
def sdk(running: Running, http: httpx.AsyncClient) -> AsyncOpenAI:
    return sdk_of(running.url, http)


def sdk_of(url: str, http: httpx.AsyncClient) -> AsyncOpenAI:
    transport: Any = http  # the SDK's annotations name its own copy of httpx
    return AsyncOpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0, http_client=transport)


def spent(answer: Any) -> dict[str, Any]:
    """Return everything spent on an answer, by tier: completion tokens."""
    by: dict[str, Any] = {"small": 0, "large": 0}
    for row in answer.usage.model_extra["entroute"]["by"]:
        by[row["tier"]] += row["completion_tokens"]
    return by


@pytest.mark.parametrize(
    ("tier", "model"), [("small", "qwen2.5-coder-0.5b"), ("large", "qwen2.5-coder-1.5b")]
)
async def test_a_pinned_model_answers(sdk: AsyncOpenAI, tier: str, model: str):
    answer = await sdk.chat.completions.create(
        model=tier, messages=CAPITAL, max_tokens=8, temperature=0.01
    )
    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.model == model
    assert answer.usage is not None
    assert 1 <= answer.usage.completion_tokens <= 8
    assert answer.usage.prompt_tokens > 10


@pytest.mark.parametrize("tier", ["small", "large"])
async def test_the_models_fill_in_the_middle(sdk: AsyncOpenAI, tier: str):
    answer = await sdk.completions.create(
        model=tier, **RECTANGLE, echo=True, max_tokens=16, temperature=0, stop=["\n"]
    )
    assert answer.choices[0].text == RECTANGLE["prompt"] + "width * height"


async def test_llama_cpp_is_not_asked_to_read_a_prompt_out(sdk: AsyncOpenAI):
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.completions.create(model="small", prompt="x", echo=True, logprobs=1)
    assert refused.value.param == "echo"


async def test_a_stream_comes_token_by_token_with_usage(sdk: AsyncOpenAI):
    stream = await sdk.chat.completions.create(
        model="small",
        messages=OPEN,
        max_tokens=16,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    pieces = [
        c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content
    ]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len([piece for piece in pieces if piece]) > 5
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens <= 16
    assert chunks[-1].model_extra is not None
    assert chunks[-1].model_extra["entroute"]["usage"]["calls"] == 1


async def test_usage_is_what_the_engines_counted(running: Running, sdk: AsyncOpenAI):
    before = await running.generated()
    totals = {"small": 0, "large": 0}
    for fields in (
        {"model": "small"},
        {"model": "large"},
        {"model": "small", "n": 2, "temperature": 1.0},
        {"model": "auto"},
    ):
        request: dict[str, Any] = {"messages": SUM, "max_tokens": 8, **fields}
        answer = await sdk.chat.completions.create(**request)
        for tier, tokens in spent(answer).items():
            totals[tier] += tokens
    now = await running.generated()
    assert totals == {tier: now[tier] - before[tier] for tier in now}
    assert min(totals.values()) > 0


async def test_log_probabilities_reach_only_who_asks(sdk: AsyncOpenAI):
    options = {"entroute": {"strategy": "cascade"}}
    request: dict[str, Any] = {
        "model": "auto",
        "messages": CAPITAL,
        "max_tokens": 4,
        "extra_body": options,
    }
    silent = await sdk.chat.completions.create(**request)
    assert silent.choices[0].logprobs is None
    asked = await sdk.chat.completions.create(**request, logprobs=True, top_logprobs=2)
    logprobs = asked.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content
    assert {len(entry.top_logprobs) for entry in logprobs.content} == {2}
    assert all(entry.logprob <= 0 for entry in logprobs.content)


async def test_a_vote_draws_three_samples(serving_threshold: Any, http: httpx.AsyncClient):
    sdk = sdk_of(await serving_threshold(0.5), http)
    answer = await sdk.chat.completions.create(
        model="small",
        messages=SUM,
        max_tokens=8,
        temperature=0.7,
        extra_body={"entroute": {"strategy": "self_consistency", "explain": True}},
    )
    assert "5" in (answer.choices[0].message.content or "")
    assert answer.model_extra is not None
    shown = answer.model_extra["entroute"]
    assert shown["usage"]["calls"] == 3
    # One that ended just after two had agreed is neither.
    assert 2 <= len(shown["candidates"]) <= 3 - shown["cancelled"]
    assert max(verdict["score"] for verdict in shown["verdicts"]) >= 0.5


async def test_the_same_greedy_question_is_answered_from_the_cache(
    running: Running, sdk: AsyncOpenAI
):
    request: dict[str, Any] = {
        "model": "auto",
        "messages": CAPITAL,
        "max_tokens": 6,
        "temperature": 0,
    }
    first = await sdk.chat.completions.with_raw_response.create(**request)
    before = await running.generated()
    second = await sdk.chat.completions.with_raw_response.create(**request)
    assert first.headers["x-entroute-cache"] == "miss"
    assert second.headers["x-entroute-cache"] == "exact"
    one, other = first.parse(), second.parse()
    assert other.choices[0].message.content == one.choices[0].message.content
    assert spent(other) == {"small": 0, "large": 0}
    assert await running.generated() == before


@pytest_asyncio.fixture(loop_scope="session")
async def serving_threshold(running: Running) -> AsyncIterator[Any]:
    """Serve gateways before the same engines that cascade everything at a threshold of choice."""
    async with AsyncExitStack() as stack:

        async def start(threshold: float) -> str:
            settings = two_tiers(running.small, running.large)
            settings["tiers"][0]["model"] = "qwen2.5-coder-0.5b"
            settings["tiers"][1]["model"] = "qwen2.5-coder-1.5b"
            settings["policy"] = {"kind": "threshold", "easy_below": 0.0, "hard_above": 1.0}
            settings["difficulty"] = {"kind": "lexical"}
            settings["strategies"] = [
                {"kind": "cascade", "threshold": threshold, "window": 8},
                {"kind": "self_consistency", "samples": 3},
            ]
            return await stack.enter_async_context(serving(settings))

        yield start


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("threshold", "tier", "stop_reason"), [(1.0, "large", "escalated"), (0.0, "small", "confident")]
)
async def test_auto_escalates_as_the_threshold_says(
    serving_threshold: Any,
    http: httpx.AsyncClient,
    threshold: float,
    tier: str,
    stop_reason: str,
    *,
    stream: bool,
):
    url = await serving_threshold(threshold)
    response = await http.post(
        f"{url}/v1/chat/completions",
        json={
            "model": "auto",
            "messages": OPEN,
            "max_tokens": 16,
            "stream": stream,
            "entroute": {"explain": True},
        },
    )
    assert response.status_code == 200
    if stream:
        final = read_events(response.text).chunks[-1]["entroute"]
    else:
        final = response.json()["entroute"]
    assert final["tier"] == tier
    assert final["strategy"] == "cascade"
    assert final["stop_reason"] == stop_reason
    used = {row["tier"] for row in final["usage"]["by"]}
    assert used == ({"small", "large"} if tier == "large" else {"small"})


async def test_metrics_count_what_was_answered(running: Running, sdk: AsyncOpenAI):
    await sdk.chat.completions.create(model="small", messages=CAPITAL, max_tokens=2)
    async with httpx.AsyncClient() as client:
        page = read_metrics((await client.get(f"{running.url}/metrics")).text)
    assert page["entroute_worker_up"] == 2
    assert page["entroute_tokens_total"] > 0
    assert page["entroute_requests_in_flight"] == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_conversation_goes_on_from_a_stored_response(
    running: Running, sdk: AsyncOpenAI, *, stream: bool
):
    before = await running.generated()
    ask: dict[str, Any] = {"model": "large", "temperature": 0.01, "max_output_tokens": 12}
    told = await sdk.responses.create(input="My name is Ada. Say hello to me.", **ask)
    question = "What is my name? Answer with the name only."
    if stream:
        async with sdk.responses.stream(
            input=question, previous_response_id=told.id, **ask
        ) as events:
            kinds = [event.type async for event in events]
        assert kinds.count("response.output_text.delta") >= 1
        answer: Any = await events.get_final_response()
    else:
        answer = await sdk.responses.create(input=question, previous_response_id=told.id, **ask)
    assert "Ada" in answer.output_text
    assert answer.model == "qwen2.5-coder-1.5b"
    assert answer.usage.input_tokens > told.usage.input_tokens
    made = told.usage.output_tokens + answer.usage.output_tokens
    assert (await running.generated())["large"] - before["large"] == made
    assert (await sdk.responses.retrieve(answer.id)).output_text == answer.output_text
