"""A client that nobody here wrote: LangChain's OpenAI package, pointed at the gateway.

Nothing is sent anywhere else: tracing is off, and token counting, which would fetch a vocabulary,
is left to the workers.
"""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio
from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from pydantic import BaseModel

from loadtest.embedding import unit_vector
from loadtest.spawn import FakeWorker, fake_worker
from tests.api.conftest import Client, Workers, base_settings, client_of
from tests.gateway_process import serving
from tests.workers import UNSCRIPTED

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOKENS = {"prefix": "<P>", "suffix": "<S>", "middle": "<M>"}


@pytest.fixture(autouse=True)
def untraced(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2"):
        monkeypatch.setenv(name, "false")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def embedder() -> AsyncIterator[FakeWorker]:
    async with fake_worker(model="mini-lm") as worker:
        yield worker


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def url(fake_workers: Workers, embedder: FakeWorker) -> AsyncIterator[str]:
    settings = base_settings(fake_workers)
    tiers = [{**tier, "fill_in_middle": TOKENS} for tier in settings["tiers"]]
    mini = {"name": "mini", "model": "mini-lm", "workers": [{"url": f"{embedder.url}/v1"}]}
    async with serving({**settings, "tiers": tiers, "embeddings": [mini]}) as address:
        yield address


@pytest_asyncio.fixture(loop_scope="session")
async def gateway(url: str, workers: Workers, embedder: FakeWorker, http: httpx.AsyncClient):
    """A gateway that completes, fills in and embeds."""
    await embedder.script(**UNSCRIPTED)
    await embedder.forget()
    return client_of(url, http)


def reaching(gateway: Client, model: str, **facts: Any) -> dict[str, Any]:
    """Return how a LangChain model reaches the gateway, over checked connections."""
    return {
        "model": model,
        "base_url": f"{gateway.url}/v1",
        "api_key": "unused",
        "max_retries": 0,
        "http_async_client": gateway.http,
        **facts,
    }


def chat(gateway: Client, model: str = "small", **facts: Any) -> ChatOpenAI:
    return ChatOpenAI(**reaching(gateway, model, **facts))


@tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"Rain in {city}."


class Spider(BaseModel):
    """An animal."""

    name: str
    legs: int


async def test_a_chat_is_answered_with_usage(gateway: Client, workers: Workers):
    await workers.small.script(answer="Eight legs.")
    answer = await chat(gateway).ainvoke([SystemMessage("Be brief."), HumanMessage("A spider?")])
    assert answer.content == "Eight legs."
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == 3
    assert answer.response_metadata["model_name"] == "qwen-small"
    (sent,) = await workers.bodies()
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]


async def test_options_of_entroute_go_in_the_extra_body(gateway: Client, workers: Workers):
    await workers.small.script(answers=["7", "8", "7"])
    model = chat(
        gateway,
        "auto",
        temperature=0.7,
        extra_body={
            "entroute": {"strategy": "self_consistency", "budget": {"max_calls": 3}},
        },
    )
    answer = await model.ainvoke("What is 3 + 4? Answer with the number only.")
    assert answer.content == "7"
    spent = answer.response_metadata["token_usage"]["entroute"]
    assert spent["calls"] == len(await workers.bodies()) == 3


async def test_an_answer_streams(gateway: Client, workers: Workers):
    await workers.small.script(answer="one two three")
    pieces: list[AIMessageChunk] = []
    async for piece in chat(gateway, stream_usage=True).astream("Count."):
        assert isinstance(piece, AIMessageChunk)
        pieces.append(piece)
    whole = pieces[0]
    for piece in pieces[1:]:
        whole += piece
    assert whole.content == "one two three"
    assert sum(bool(piece.content) for piece in pieces) == 3
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] == 3


async def test_a_batch_is_answered_in_order(gateway: Client, workers: Workers):
    rules = [{"contains": f"number {n}", "answer": f"answer {n}"} for n in range(5)]
    await workers.small.script(rules=rules)
    answers = await chat(gateway).abatch([f"number {n}" for n in range(5)])
    assert [answer.content for answer in answers] == [f"answer {n}" for n in range(5)]


@pytest.mark.parametrize("stream", [True, False])
async def test_tools_are_called_and_their_answers_taken(
    gateway: Client, workers: Workers, *, stream: bool
):
    calls = [{"name": "weather", "arguments": {"city": "Paris"}}]
    await workers.small.script(answers=[{"tool_calls": calls}, {"text": "It rains."}])
    model = chat(gateway, streaming=stream).bind_tools([weather])
    asked: list[Any] = [HumanMessage("What is the weather in Paris?")]
    called = await model.ainvoke(asked)
    assert [(call["name"], call["args"]) for call in called.tool_calls] == [
        ("weather", {"city": "Paris"})
    ]
    result = await weather.ainvoke(called.tool_calls[0])
    assert isinstance(result, ToolMessage)
    answer = await model.ainvoke([*asked, called, result])
    assert answer.content == "It rains."
    told = (await workers.bodies())[1]["messages"]
    assert told[1]["tool_calls"][0]["id"] == told[2]["tool_call_id"]
    assert told[2]["content"] == "Rain in Paris."


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
async def test_structured_output_is_parsed(gateway: Client, workers: Workers, method: Any):
    said: dict[str, Any] = {"name": "Boris", "legs": 8}
    by_tool = {"tool_calls": [{"name": "Spider", "arguments": said}]}
    text = {"text": '{"name": "Boris", "legs": 8}'}
    await workers.small.script(answers=[by_tool if method == "function_calling" else text])
    model = chat(gateway).with_structured_output(Spider, method=method)
    assert await model.ainvoke("Describe a spider as JSON.") == Spider(name="Boris", legs=8)


async def test_log_probabilities_arrive(gateway: Client, workers: Workers):
    await workers.small.script(answer="yes indeed")
    answer = await chat(gateway, logprobs=True, top_logprobs=2).ainvoke("Sure?")
    told = answer.response_metadata["logprobs"]["content"]
    assert [token["token"] for token in told] == ["yes", " indeed"]
    assert [len(token["top_logprobs"]) for token in told] == [2, 2]


async def test_errors_are_the_sdk_s(gateway: Client):
    with pytest.raises(openai.NotFoundError):
        await chat(gateway, "no-such-model").ainvoke("x")
    with pytest.raises(openai.BadRequestError) as refused:
        await chat(gateway, extra_body={"entroute": {"nonsense": 1}}).ainvoke("x")
    assert refused.value.param == "entroute.nonsense"


async def test_texts_are_embedded(gateway: Client, embedder: FakeWorker):
    model = OpenAIEmbeddings(
        **reaching(gateway, "mini", check_embedding_ctx_length=False, chunk_size=2)
    )
    texts = [f"text {number}" for number in range(5)]
    assert await model.aembed_documents(texts) == [unit_vector(text, 16) for text in texts]
    assert await model.aembed_query("text 3") == unit_vector("text 3", 16)
    assert len(await embedder.requests()) == 4


def text(gateway: Client, **facts: Any) -> OpenAI:
    return OpenAI(**reaching(gateway, "small", **facts))


@pytest.mark.parametrize("stream", [True, False])
async def test_a_prompt_is_completed(gateway: Client, workers: Workers, *, stream: bool):
    await workers.small.script(answer=" eight legs.")
    model = text(gateway)
    if stream:
        completed = "".join([piece async for piece in model.astream("A spider has")])
    else:
        completed = await model.ainvoke("A spider has")
    assert completed == " eight legs."


async def test_a_prompt_is_filled_in_and_echoed(gateway: Client, workers: Workers):
    await workers.small.script(answer="a + b")
    model = text(gateway, model_kwargs={"suffix": "\n# end", "echo": True})
    assert await model.ainvoke("return ") == "return a + b"
    (sent,) = await workers.bodies()
    assert sent["prompt"] == "<P>return <S>\n# end<M>"


def responses(gateway: Client, **facts: Any) -> ChatOpenAI:
    return chat(gateway, use_responses_api=True, **facts)


async def test_the_responses_api_answers(gateway: Client, workers: Workers):
    await workers.small.script(answer="Eight legs.")
    answer = await responses(gateway).ainvoke("A spider?")
    assert answer.text == "Eight legs."
    assert answer.response_metadata["id"].startswith("resp_")
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == 3


async def test_the_responses_api_streams(gateway: Client, workers: Workers):
    await workers.small.script(answer="one two three")
    pieces = [piece async for piece in responses(gateway).astream("Count.")]
    assert "".join(piece.text for piece in pieces) == "one two three"
    assert sum(bool(piece.text) for piece in pieces) == 3


async def test_a_response_is_gone_on_with(gateway: Client, workers: Workers):
    await workers.small.script(answers=["Boris.", "Eight."])
    model = responses(gateway, use_previous_response_id=True, store=True)
    first: Any = HumanMessage("Name a spider.")
    named = await model.ainvoke([first])
    counted = await model.ainvoke([first, named, HumanMessage("How many legs has it?")])
    assert counted.text == "Eight."
    told = (await workers.bodies())[1]["messages"]
    assert [message["role"] for message in told] == ["user", "assistant", "user"]


async def test_the_responses_api_calls_tools(gateway: Client, workers: Workers):
    calls = [{"name": "weather", "arguments": {"city": "Paris"}}]
    await workers.small.script(answers=[{"tool_calls": calls}, {"text": "It rains."}])
    model = responses(gateway).bind_tools([weather])
    asked: list[Any] = [HumanMessage("What is the weather in Paris?")]
    called = await model.ainvoke(asked)
    assert [(call["name"], call["args"]) for call in called.tool_calls] == [
        ("weather", {"city": "Paris"})
    ]
    result = await weather.ainvoke(called.tool_calls[0])
    answer = await model.ainvoke([*asked, called, result])
    assert answer.text == "It rains."
