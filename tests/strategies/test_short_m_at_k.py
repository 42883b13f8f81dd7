import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from pydantic import ValidationError

from entroute.backends.http_worker import Timeouts
from entroute.backends.worker import Worker
from entroute.decisions import Estimate
from entroute.errors import WorkerFailed, WorkerRejected
from entroute.protocols import Run, Streams, Tier
from entroute.strategies.short_m_at_k import ShortMAtK, ShortMAtKConfig
from entroute.types import Completion
from tests.builders import (
    a_budget,
    a_call,
    a_request,
    a_run,
    a_tier,
    a_trace,
    read,
    refused,
    until,
)
from tests.fakes import FakeVerifier, strategy_parts
from tests.reasoning_worker import ReasoningWorker, Thought, reasoning_worker
from tests.scripted import FakeBackend, Script, fails, hangs, says
from tests.strategies.leaving import leave

FAILED = WorkerFailed("w", "answered 500")
FOR_EVER = Thought(5_000)


def strategy(k: int = 5, m: int = 3, **facts: Any) -> ShortMAtK:
    return ShortMAtKConfig(k=k, m=m, **facts).build(strategy_parts())


def says_that(answer: object, thoughts: int = 0, **facts: Any) -> Script:
    return says(*["hm "] * thoughts, "The answer ", f"is {answer}.", **facts)


def drawing(*scripts: Script, **facts: Any) -> tuple[FakeBackend, Run]:
    backend = FakeBackend(*scripts)
    return backend, a_run(a_tier("small", backend), **facts)


async def test_the_first_to_finish_vote_and_the_rest_is_cancelled() -> None:
    scripts = [says_that(9, 50), says_that(42), says_that(9, 50), says_that(41), says_that(42)]
    backend, run = drawing(*scripts)
    outcome = await strategy().run(run)
    assert outcome.choices[0].content == "The answer is 42."
    assert (outcome.strategy, outcome.stop_reason) == ("short_m_at_k", "settled")
    assert (outcome.cancelled, sorted(backend.cancelled)) == (2, [0, 2])
    assert sorted(c.call_id for c in outcome.candidates) == [1, 3, 4]
    assert outcome.verifier == "majority"
    assert [c.purpose for c in run.ledger.charges] == [
        "discarded", "answer", "discarded", "sample", "sample",
    ]  # fmt: skip


async def test_a_tie_goes_to_the_shortest() -> None:
    _, run = drawing(says_that(1, 6), says_that(2, 3), says_that(3, 4), hangs())
    outcome = await strategy(4, 3).run(run)
    assert outcome.choices[0].content.endswith("is 2.")
    lengths = [candidate.usage.completion_tokens for candidate in outcome.candidates]
    assert lengths == sorted(lengths)


async def test_of_equal_answers_the_shortest_is_delivered() -> None:
    _, run = drawing(says_that(42, 6), says_that(42, 1), says_that(7), hangs())
    outcome = await strategy(4, 3).run(run)
    assert outcome.choices[0].call_id == 1


async def test_one_is_enough_where_one_is_asked() -> None:
    backend, run = drawing(says_that(1, 9), says_that(2), says_that(3, 9))
    outcome = await strategy(3, 1).run(run)
    assert outcome.choices[0].content == "The answer is 2."
    assert sorted(backend.cancelled) == [0, 2]


async def test_all_are_waited_for_where_all_are_asked() -> None:
    backend, run = drawing(says_that(1, 9), says_that(2), says_that(1, 9))
    outcome = await strategy(3, 3).run(run)
    assert outcome.choices[0].content.endswith("is 1.")
    assert (outcome.stop_reason, backend.cancelled) == ("exhausted", [])


async def test_a_failed_sample_is_none_that_finished() -> None:
    _, run = drawing(fails(FAILED), says_that(1), says_that(2, 2), says_that(2, 4), hangs())
    outcome = await strategy().run(run)
    assert outcome.choices[0].content.endswith("is 2.")
    assert len(outcome.failures) == 1


async def test_fewer_begun_than_wanted_is_cut_by_the_budget() -> None:
    _, run = drawing(says_that(1), says_that(1), says_that(1, 9), budget=a_budget(max_calls=3))
    assert (await strategy(5, 2).run(run)).stop_reason == "budget"


async def test_leaving_cancels_every_sample() -> None:
    backend, run = drawing(hangs(after=1))
    await leave(strategy(), run, backend, live=5)


def test_what_it_cannot_honour_is_named() -> None:
    made, tier = strategy(), a_tier("small")
    assert not isinstance(made, Streams)
    assert refused(made, a_run(tier, request=a_request(n=2))) == "n"
    assert refused(made, a_run(tier, request=a_request(temperature=0.0))) == "temperature"
    assert refused(made, a_run(tier, verifier=FakeVerifier({}))) == "entroute.verifier"
    tools = a_request(extra={"tools": [{}]})
    assert refused(made, a_run(tier, request=tools, verifier=strategy_parts().voter)) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"k": 3, "m": 4},
        {"budget_by_difficulty": True},
        {"thinking_budget": 63},
        {"k": 1, "m": 1},
        {"m": 0},
        {"n": 5},
    ],
)
def test_a_configuration_that_contradicts_itself_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ShortMAtKConfig(**wrong)


async def budgets(run: Run, backend: FakeBackend, **facts: Any) -> set[object]:
    await strategy(**facts).run(run)
    return {call.request.extra.get("thinking_token_budget") for call in backend.calls}


@pytest.mark.parametrize(
    ("difficulty", "sent"), [(None, 1000), (1.0, 1000), (0.5, 500), (0.01, 64), (0.0, 64)]
)
async def test_an_easier_prompt_may_think_less(difficulty: float | None, sent: int) -> None:
    trace = a_trace(estimate=Estimate(difficulty, "test"))
    backend, run = drawing(says_that(42), trace=trace)
    facts = {"thinking_budget": 1000, "budget_by_difficulty": True}
    assert await budgets(run, backend, **facts) == {sent}


async def test_the_budget_is_the_same_for_all_where_difficulty_does_not_count() -> None:
    trace = a_trace(estimate=Estimate(0.1, "test"))
    backend, run = drawing(says_that(42), trace=trace)
    assert await budgets(run, backend, thinking_budget=1000) == {1000}
    backend, run = drawing(says_that(42))
    assert await budgets(run, backend) == {None}


async def test_a_clients_own_budget_and_fields_stand() -> None:
    request = a_request(extra={"thinking_token_budget": 7, "top_p": 0.9})
    backend, run = drawing(says_that(42), request=request)
    assert await budgets(run, backend, thinking_budget=1000) == {7}
    request = a_request(extra={"top_p": 0.9})
    backend, run = drawing(says_that(42), request=request)
    await budgets(run, backend, thinking_budget=1000)
    assert {call.request.extra["top_p"] for call in backend.calls} == {0.9}


# --- over HTTP -------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


def tier_of(worker: ReasoningWorker, session: aiohttp.ClientSession) -> Tier:
    backend = Worker(
        worker.url,
        model="thinker",
        tier="small",
        session=session,
        clock=time.perf_counter,
        timeouts=Timeouts(),
    )
    return Tier("small", "thinker", backend)


def asking(tier: Tier, **facts: Any) -> Run:
    facts.setdefault("request", a_request(seed=0))
    budget = a_budget(deadline=time.perf_counter() + 60)
    return a_run(tier, clock=time.perf_counter, budget=budget, **facts)


def thought_of(completion: Completion) -> str:
    return str(completion.extra.get("reasoning", ""))


async def test_the_shortest_thoughts_win_and_the_worker_sees_the_others_go(
    session: aiohttp.ClientSession,
) -> None:
    right = "The answer ", "is 42."
    wrong = "The answer ", "is 7."
    thoughts = FOR_EVER, Thought(2, right), FOR_EVER, Thought(4, wrong), Thought(8, right)
    async with reasoning_worker(*thoughts) as worker:
        run = asking(tier_of(worker, session))
        outcome = await strategy().run(run)
        await until(lambda: len(worker.left) == 2)
        assert sorted(worker.left) == [0, 2]
        assert worker.finished == [1, 3, 4]
    assert outcome.choices[0].content == "The answer is 42."
    assert thought_of(outcome.choices[0]) == "hm0 hm1 "
    assert [len(thought_of(c).split()) for c in outcome.candidates] == [2, 4, 8]
    assert [c.usage.completion_tokens for c in outcome.candidates] == [4, 6, 10]
    assert outcome.cancelled == 2
    cut = [c.usage for c in run.ledger.charges if c.purpose == "discarded"]
    assert all(0 < usage.completion_tokens < 5_000 for usage in cut)
    assert [usage.partial_calls for usage in cut] == [1, 1]


async def test_the_thinking_budget_arrives_and_cuts_thoughts_short(
    session: aiohttp.ClientSession,
) -> None:
    async with reasoning_worker(FOR_EVER, FOR_EVER) as worker:
        outcome = await strategy(2, 2, thinking_budget=64).run(asking(tier_of(worker, session)))
        assert [body["thinking_token_budget"] for body in worker.bodies] == [64, 64]
    assert outcome.choices[0].usage.completion_tokens == 66


async def test_a_worker_that_knows_no_thinking_budget_is_asked_without(
    session: aiohttp.ClientSession,
) -> None:
    async with reasoning_worker(Thought(1), Thought(1), parses=False) as worker:
        run = asking(tier_of(worker, session))
        outcome = await strategy(2, 2, thinking_budget=64).run(run)
    assert outcome.choices[0].content == "The answer is 42."
    assert run.trace.degraded == ["thinking_budget"]


async def test_a_budget_of_the_clients_own_is_the_workers_to_refuse(
    session: aiohttp.ClientSession,
) -> None:
    async with reasoning_worker(Thought(1), Thought(1), parses=False) as worker:
        request = a_request(seed=0, extra={"thinking_token_budget": 64})
        with pytest.raises(WorkerRejected, match="reasoning-parser"):
            await strategy(2, 2).run(asking(tier_of(worker, session), request=request))


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
async def test_thoughts_travel_untouched_streamed_or_whole(
    name: str, session: aiohttp.ClientSession
) -> None:
    async with reasoning_worker(Thought(3), name=name) as worker:
        backend = tier_of(worker, session).backend
        deltas, streamed = await read(backend.stream(a_call(request=a_request(seed=0))))
        whole = await backend.complete(a_call(request=a_request(seed=0)))
    assert [dict(delta.extra) for delta in deltas[:3]] == [
        {name: "hm0 "}, {name: "hm1 "}, {name: "hm2 "},
    ]  # fmt: skip
    assert dict(streamed.extra) == dict(whole.extra) == {name: "hm0 hm1 hm2 "}
    assert streamed.content == whole.content == "The answer is 42."
