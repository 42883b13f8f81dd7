"""What workers answer to embeddings requests, in any shape; and pools of them."""

import math
import struct
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.backends.balancing import RoundRobin
from entroute.backends.embedding import (
    EmbeddingCall,
    EmbeddingPool,
    EmbeddingWorker,
    body_of,
    converted,
    embedded_of,
    length_of,
)
from entroute.backends.embedding_tier import Embedding, EmbeddingRequest, EmbeddingTier
from entroute.backends.http_worker import Timeouts
from entroute.backends.metered import Stopwatch
from entroute.backends.pool import NobodyAsked
from entroute.errors import BudgetExhausted, TierUnavailable, WorkerFailed, WorkerRejected
from entroute.evidence import Trace
from entroute.spending import Budget, Price, Usage
from loadtest.embedding import unit_vector
from loadtest.spawn import FakeWorker
from tests.workers import MODEL

Two = tuple[FakeWorker, FakeWorker]


def packed(*numbers: float) -> str:
    return b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def a_call(*inputs: Any, **facts: Any) -> EmbeddingCall:
    return EmbeddingCall(inputs or ("x",), time.perf_counter() + 10, **facts)


def an_answer(*vectors: Any, **others: Any) -> dict[str, Any]:
    return {"data": [{"index": i, "embedding": v} for i, v in enumerate(vectors)], **others}


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_numbers_survive_base64_and_back(numbers: list[float]):
    text = converted(numbers, base64=True)
    assert converted(text, base64=True) == text
    assert converted(text, base64=False) == numbers
    assert length_of(text) == length_of(numbers) == len(numbers)


@pytest.mark.parametrize(
    "vector",
    [
        None,
        [],
        "",
        "AAA",
        "AAAAAAA=",
        "no base64!",
        {"x": 1},
        [1, None],
        [1, "2"],
        [math.nan],
    ],
)
@pytest.mark.parametrize("base64", [False, True])
def test_what_is_no_vector_is_refused(vector: Any, *, base64: bool):
    with pytest.raises((TypeError, ValueError, struct.error)):
        converted(vector, base64=base64)


def test_base64_that_json_could_not_say_as_numbers_is_only_passed_on():
    infinite = packed(1.0, math.inf)
    assert converted(infinite, base64=True) == infinite
    with pytest.raises(ValueError, match="no finite number"):
        converted(infinite, base64=False)


def test_vectors_are_put_into_the_inputs_order():
    payload = an_answer([1.0], [2.0], [3.0])
    payload["data"].reverse()
    assert embedded_of(payload, a_call("a", "b", "c")).vectors == ([1.0], [2.0], [3.0])


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"data": []},
        {"data": [{"embedding": [1.0]}]},
        {"data": [{"index": 1, "embedding": [1.0]}]},
        an_answer([1.0], [2.0]),
        {"data": "x"},
    ],
)
def test_an_answer_of_another_shape_is_refused(payload: Any):
    with pytest.raises((KeyError, TypeError, ValueError)):
        embedded_of(payload, a_call("a"))


def test_usage_is_the_worker_s_and_partial_without_one():
    told = embedded_of(an_answer([1.0], usage={"prompt_tokens": 7, "total_tokens": 7}), a_call())
    assert told.usage == Usage(prompt_tokens=7, calls=1)
    assert embedded_of(an_answer([1.0]), a_call()).usage == Usage(calls=1, partial_calls=1)


def test_only_what_was_asked_for_is_sent():
    assert body_of(a_call("x"), "m", "vllm") == {
        "model": "m",
        "input": ("x",),
        "encoding_format": "float",
    }
    call = a_call((1, 2), base64=True, dimensions=4, extra={"model": "no", "user": "u"}, salt="s")
    assert body_of(call, "m", "vllm") == {
        "model": "m",
        "input": ((1, 2),),
        "encoding_format": "base64",
        "dimensions": 4,
        "user": "u",
        "cache_salt": "s",
    }
    assert "cache_salt" not in body_of(call, "m", "llamacpp")


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def a_pool(session: aiohttp.ClientSession, *urls: str) -> EmbeddingPool:
    workers = [
        EmbeddingWorker(
            f"{url}/v1",
            model=MODEL,
            tier="mini",
            session=session,
            clock=time.perf_counter,
            timeouts=Timeouts(total_s=10),
        )
        for url in urls
    ]
    return EmbeddingPool("mini", workers, RoundRobin())


async def test_a_dead_worker_is_left_out_and_the_last_one_s_death_told(
    session: aiohttp.ClientSession, two_workers: Two
):
    pool = a_pool(session, "http://127.0.0.1:1", two_workers[0].url)
    for _ in range(3):
        assert (await pool.embed(a_call("x"))).vectors == (unit_vector("x", 16),)
    assert [member.healthy for member in pool.members] == [False, True]
    assert pool.attempts_by_outcome == {"WorkerUnavailable": 1, "ok": 3}
    nobody = a_pool(session, "http://127.0.0.1:1")
    with pytest.raises(TierUnavailable):
        await nobody.embed(a_call("x"))
    with pytest.raises(NobodyAsked):
        await nobody.embed(a_call("x"))


def an_embedding(
    pool: EmbeddingPool, trace: Trace, *, max_inputs: int = 2, budget: Budget | None = None
) -> Embedding:
    tier = EmbeddingTier("mini", MODEL, pool, Price(prompt=1e6), max_inputs=max_inputs)
    plenty = Budget(100, 1, time.perf_counter() + 10)
    watch = Stopwatch(trace, time.perf_counter)
    return Embedding(tier, budget or plenty, trace, watch)


async def test_batches_run_beside_each_other_on_as_many_workers_as_are_well(
    session: aiohttp.ClientSession, two_workers: Two
):
    for worker in two_workers:
        await worker.script(ttft_ms=300)
    trace = Trace("r", "embeddings", time.perf_counter())
    pool = a_pool(session, *(worker.url for worker in two_workers))
    texts = tuple(f"t {n}" for n in range(7))
    vectors = await an_embedding(pool, trace).vectors(EmbeddingRequest(texts))
    assert vectors == tuple(unit_vector(text, 16) for text in texts)
    assert [len(await worker.requests()) for worker in two_workers] == [2, 2]
    assert sum(charge.usage.prompt_tokens for charge in trace.charges) == 14
    assert sum(charge.cost_usd for charge in trace.charges) == 14
    assert trace.upstream_s >= 0.6  # four calls of 0.3 s, two at once


async def test_a_failed_batch_ends_the_others_and_all_is_discarded(
    session: aiohttp.ClientSession, two_workers: Two
):
    await two_workers[0].script(failure={"kind": "status", "status": 400})
    await two_workers[1].script(ttft_ms=60_000)
    trace = Trace("r", "embeddings", time.perf_counter())
    pool = a_pool(session, *(worker.url for worker in two_workers))
    with pytest.raises(WorkerRejected):
        await an_embedding(pool, trace).vectors(EmbeddingRequest(("a", "b", "c", "d")))
    assert {charge.purpose for charge in trace.charges} == {"discarded"}
    assert sum(charge.usage.partial_calls for charge in trace.charges) == 2
    assert [member.in_flight for member in pool.members] == [0, 0]


async def test_a_call_that_nobody_was_asked_for_is_not_charged(session: aiohttp.ClientSession):
    pool = a_pool(session, "http://127.0.0.1:1")
    pool.members[0].healthy = False
    trace = Trace("r", "embeddings", time.perf_counter())
    with pytest.raises(NobodyAsked):
        await an_embedding(pool, trace).vectors(EmbeddingRequest(("a",)))
    assert trace.charges == ()


@pytest.mark.parametrize(
    ("budget", "limit"),
    [
        (Budget(1, 1, 1e9), "max_calls"),
        (Budget(9, 1, 1e9, max_cost_usd=20.0), "max_cost_usd"),
    ],
)
async def test_a_budget_that_does_not_hold_it_spends_nothing(
    session: aiohttp.ClientSession, worker: FakeWorker, budget: Budget, limit: str
):
    trace = Trace("r", "embeddings", time.perf_counter())
    embedding = an_embedding(a_pool(session, worker.url), trace, budget=budget)
    with pytest.raises(BudgetExhausted) as refused:
        await embedding.vectors(EmbeddingRequest(("a", "b", "c")))
    assert refused.value.limit == limit
    assert await worker.requests() == []


async def test_a_failing_worker_fails_the_call(session: aiohttp.ClientSession, worker: FakeWorker):
    await worker.script(failure={"kind": "status", "status": 500})
    with pytest.raises(WorkerFailed):
        await a_pool(session, worker.url).embed(a_call("x"))
