"""entroute's own worker client against a real vLLM."""

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import aiohttp
import httpx
import pytest

from entroute.backends.balancing import RoundRobin
from entroute.backends.health import HealthSweeps
from entroute.backends.http_worker import Timeouts
from entroute.backends.pool import Pool
from entroute.backends.worker import Worker
from entroute.errors import DeadlineExceeded, WorkerMisconfigured, WorkerRejected
from entroute.types import Call, ChatRequest, Delta
from tests.scripted import collect
from tests.vllm.conftest import CONTEXT_LENGTH, MODEL
from tests.vllm.metrics import GENERATED, PROMPTED, RUNNING, page, seconds_until, total

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(420)]

STORY = ({"role": "user", "content": "Write a story about a sailor, at least 1000 words long."},)
LONG = {"min_tokens": 500}
"""Keeps a story from ending before the test ends it."""
HI = ({"role": "user", "content": "Say hi."},)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def worker(vllm_url: str, session: aiohttp.ClientSession) -> Worker:
    return worker_of(vllm_url, session, MODEL)


def worker_of(url: str, session: aiohttp.ClientSession, model: str) -> Worker:
    return Worker(
        f"{url}/v1",
        model=model,
        tier="small",
        session=session,
        clock=time.monotonic,
        timeouts=Timeouts(),
    )


def call_of(request: ChatRequest, *, within_s: float = 120, **facts: Any) -> Call:
    deadline = time.monotonic() + within_s
    return Call(id=0, request=request, purpose="answer", deadline=deadline, **facts)


async def test_stream_and_whole_are_the_same_completion(worker: Worker) -> None:
    request = ChatRequest(model="auto", messages=HI, max_tokens=24, temperature=0)
    call = call_of(request, max_tokens=24, top_logprobs=5)

    whole = await worker.complete(call)
    async with aclosing(worker.stream(call)) as stream:
        *deltas, streamed = [piece async for piece in stream]

    assert "".join(d.content for d in deltas if isinstance(d, Delta)) == whole.content
    assert not isinstance(streamed, Delta)
    assert streamed.content == whole.content
    assert streamed.finish_reason == whole.finish_reason == "stop"
    assert streamed.usage == whole.usage
    assert whole.usage.partial_calls == 0
    assert len(streamed.logprobs) == len(whole.logprobs) == whole.usage.completion_tokens
    assert all(len(token["top_logprobs"]) == 5 for token in streamed.logprobs)
    assert 0 < streamed.ttft_s < streamed.latency_s


async def test_usage_so_far_grows_with_every_delta(worker: Worker) -> None:
    request = ChatRequest(model="auto", messages=STORY, temperature=0)
    async with aclosing(worker.stream(call_of(request, max_tokens=12))) as stream:
        told = [piece.usage async for piece in stream if isinstance(piece, Delta)]

    counts = [usage.completion_tokens for usage in told if usage is not None]
    assert len(counts) == len(told)
    assert counts == sorted(counts)
    assert counts[-1] == 12
    assert {usage.prompt_tokens for usage in told if usage is not None} != {0}


async def test_usage_of_finished_calls_is_what_the_worker_counted(
    worker: Worker, vllm_url: str
) -> None:
    before = await page(vllm_url)
    request = ChatRequest(model="auto", messages=STORY, temperature=0.7)
    text = ChatRequest(model="auto", prompt="def fibonacci(n):", temperature=0.7)
    usages = [
        (await worker.complete(call_of(request, max_tokens=9))).usage,
        (await collect(worker.stream(call_of(request, max_tokens=17)))).usage,
        (await collect(worker.stream(call_of(text, max_tokens=5)))).usage,
    ]
    after = await page(vllm_url)

    generated = sum(usage.completion_tokens for usage in usages)
    prompted = sum(usage.prompt_tokens for usage in usages)
    assert generated == total(after, GENERATED) - total(before, GENERATED)
    assert prompted == total(after, PROMPTED) - total(before, PROMPTED)


async def test_a_long_prompt_asked_again_is_counted_as_cached(worker: Worker) -> None:
    numbers = " ".join(str(number) for number in range(150))
    messages = ({"role": "user", "content": f"Add these numbers: {numbers}"},)
    call = call_of(ChatRequest(model="auto", messages=messages), max_tokens=1)

    first = (await worker.complete(call)).usage
    again = (await collect(worker.stream(call))).usage

    assert first.cached_tokens == 0
    assert 0 < again.cached_tokens <= again.prompt_tokens == first.prompt_tokens


async def test_closing_a_stream_frees_the_worker_and_stops_its_counter(
    worker: Worker, vllm_url: str
) -> None:
    before = total(await page(vllm_url), GENERATED)
    request = ChatRequest(model="auto", messages=STORY, extra=LONG)
    stream = worker.stream(call_of(request, max_tokens=600))
    pieces = [await anext(stream) for _ in range(5)]
    assert total(await page(vllm_url), RUNNING) == 1

    await stream.aclose()

    await seconds_until(vllm_url, RUNNING, 0, within_s=1)
    counted = total(await page(vllm_url), GENERATED) - before
    last = pieces[-1]
    assert isinstance(last, Delta)
    assert last.usage is not None
    assert 5 <= last.usage.completion_tokens <= counted < 50
    assert worker.in_flight == 0


async def test_a_deadline_ends_a_call_upstream_too(worker: Worker, vllm_url: str) -> None:
    request = ChatRequest(model="auto", messages=STORY, extra=LONG)
    with pytest.raises(DeadlineExceeded):
        await collect(worker.stream(call_of(request, within_s=1.5, max_tokens=600)))

    await seconds_until(vllm_url, RUNNING, 0, within_s=1)


async def test_a_continued_answer_holds_only_what_is_new(worker: Worker) -> None:
    request = ChatRequest(
        model="auto",
        messages=(*HI, {"role": "assistant", "content": "Hello! How"}),
        temperature=0,
        extra={"continue_final_message": True, "add_generation_prompt": False},
    )
    call = call_of(request, max_tokens=4)

    whole = await worker.complete(call)
    streamed = await collect(worker.stream(call))

    assert whole.content == streamed.content
    assert whole.content.startswith(" ")


async def test_logprobs_of_a_text_completion_come_in_chat_shape(worker: Worker) -> None:
    request = ChatRequest(model="auto", prompt="def add(a, b):", temperature=0)
    completion = await worker.complete(call_of(request, max_tokens=4, top_logprobs=2))

    assert "".join(token["token"] for token in completion.logprobs) == completion.content
    for token in completion.logprobs:
        assert token["logprob"] <= 0
        assert len(token["top_logprobs"]) == 2


@pytest.mark.parametrize("k", [0, 20])
async def test_as_many_alternatives_come_as_were_asked_for(worker: Worker, k: int) -> None:
    request = ChatRequest(model="auto", messages=HI, temperature=0)
    completion = await worker.complete(call_of(request, max_tokens=2, top_logprobs=k))

    assert [len(token["top_logprobs"]) for token in completion.logprobs] == [k, k]


async def test_a_prompt_beyond_the_context_is_rejected_by_its_name(worker: Worker) -> None:
    messages = ({"role": "user", "content": "word " * (CONTEXT_LENGTH + 500)},)
    request = ChatRequest(model="auto", messages=messages)
    with pytest.raises(WorkerRejected) as rejected:
        await worker.complete(call_of(request, max_tokens=1))

    assert rejected.value.status == 400
    assert rejected.value.code == "context_length_exceeded"


async def test_a_value_out_of_range_is_rejected_with_its_field(worker: Worker) -> None:
    request = ChatRequest(model="auto", messages=HI, extra={"top_p": 2})
    with pytest.raises(WorkerRejected) as rejected:
        await collect(worker.stream(call_of(request, max_tokens=1)))

    assert rejected.value.status == 400
    assert rejected.value.param == "top_p"


async def test_a_model_the_worker_does_not_serve_is_the_operators_fault(
    vllm_url: str, session: aiohttp.ClientSession
) -> None:
    stranger = worker_of(vllm_url, session, "no-such-model")
    with pytest.raises(WorkerMisconfigured, match="no-such-model"):
        await stranger.complete(call_of(ChatRequest(model="auto", messages=HI), max_tokens=1))


async def test_a_sweep_learns_health_and_context_length(
    vllm_url: str, session: aiohttp.ClientSession
) -> None:
    right = Pool("small", [worker_of(vllm_url, session, MODEL)], RoundRobin())
    wrong = Pool("large", [worker_of(vllm_url, session, "no-such-model")], RoundRobin())
    async with httpx.AsyncClient() as client:
        sweeps = HealthSweeps([right, wrong], client, time.monotonic, interval_s=60, timeout_s=10)
        await sweeps.sweep()

    assert right.available
    assert right.context_length == CONTEXT_LENGTH
    assert not wrong.available
    assert MODEL in wrong.members[0].detail
