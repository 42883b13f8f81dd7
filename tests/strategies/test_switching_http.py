"""An answer that changes hands between two real fake workers, over HTTP."""

import asyncio
import time
from typing import Any

import pytest

from entroute.backends.balancing import RoundRobin
from entroute.backends.pool import Pool
from entroute.protocols import Run, Tier
from entroute.strategies.entropy_switch import EntropySwitchConfig
from loadtest.generation import tokenize
from loadtest.spawn import FakeWorker
from tests.builders import a_budget, a_request, a_run, read_outcome
from tests.fakes import strategy_parts
from tests.workers import (
    Connect,
    connect,
    generated,
    running,
    two_workers,
    worker_processes,
)

__all__ = ["connect", "two_workers", "worker_processes"]

SMALL = "The sum of six and seven is\n\nnaïvely 42, no doubt about it, 猫 or not; so much for that."
LARGE = "The sum of six and seven is\n\nthirteen: 6 + 7 = 13, which everybody can count."
DOUBT = 7
SURE, UNSURE = 0.99, 0.4
MESSAGES = [{"role": "user", "content": "What is 6 times 7?"}]


def certainties(*doubts: int) -> list[float]:
    return [UNSURE if place in doubts else SURE for place in range(40)]


def two(workers: tuple[FakeWorker, FakeWorker], connect: Connect, **facts: Any) -> Run:
    tiers = [
        Tier(
            name,
            "small",
            Pool(name, [connect(worker.url, tier=name)], RoundRobin()),
            continues=True,
        )
        for name, worker in zip(("small", "large"), workers, strict=True)
    ]
    request = a_request(logprobs=True, **facts)
    budget = a_budget(deadline=time.perf_counter() + 30)
    return a_run(*tiers, request=request, budget=budget, clock=time.perf_counter)


async def answer(run: Run, **config: float):
    given = {"window": 1, "minimum_run": 1, "low": 0.01} | config
    switch = EntropySwitchConfig.model_validate(given).build(strategy_parts())
    return await read_outcome(switch.stream(run))


async def test_the_reader_gets_what_both_workers_saw_put_together(
    two_workers: tuple[FakeWorker, FakeWorker], connect: Connect
) -> None:
    small, large = two_workers
    # The doubt is at a line break, which is left to the next writer.
    await small.script(
        answers=[{"text": SMALL, "certainty": certainties(DOUBT)}], tokens_per_second=200
    )
    await large.script(answers=[{"text": LARGE, "certainty": certainties(1)}])
    before = [await generated(worker) for worker in two_workers]
    run = two(two_workers, connect, max_tokens=30)
    text, outcome = await answer(run)
    assert text == outcome.choices[0].content == LARGE

    (first,) = [one["body"] for one in await small.requests()]
    (second,) = [one["body"] for one in await large.requests()]
    assert first["messages"] == MESSAGES
    partial = "The sum of six and seven is"
    assert second["messages"] == [*MESSAGES, {"role": "assistant", "content": partial}]
    assert (second["continue_final_message"], second["add_generation_prompt"]) == (True, False)
    assert (first["max_tokens"], second["max_tokens"]) == (30, 30 - DOUBT)

    assert text.startswith(partial)
    tokens = "".join(token["token"] for token in outcome.choices[0].logprobs)
    assert tokens == text
    rest = len(tokenize(LARGE)) - DOUBT
    assert [(s.tier, s.tokens, s.reread_tokens) for s in outcome.segments] == [
        ("small", DOUBT, 0),
        ("large", rest, DOUBT),
    ]
    await running(small, 0)
    made = [
        await generated(worker) - count for worker, count in zip(two_workers, before, strict=True)
    ]
    charged = [c.usage.completion_tokens for c in run.ledger.charges]
    assert charged[0] == DOUBT + 2  # one more was heard, to know that it had not ended
    assert charged[0] <= made[0] < len(tokenize(SMALL))  # it was cancelled; a few were under way
    assert charged[1] == made[1] == rest


async def test_a_pen_that_goes_to_and_fro_loses_nothing(
    two_workers: tuple[FakeWorker, FakeWorker], connect: Connect
) -> None:
    for worker in two_workers:
        await worker.script(answers=[{"text": SMALL, "certainty": certainties(0, 2, 4)}])
    text, outcome = await answer(two(two_workers, connect), low=0.5, max_hand_overs=14)
    assert text == SMALL
    assert len(outcome.segments) == len(outcome.escalations) + 1 > 4
    small, large = [[one["body"] for one in await w.requests()] for w in two_workers]
    partials = [body["messages"][-1]["content"] for body in [*small[1:], *large]]
    assert all(SMALL.startswith(partial) for partial in partials)
    assert all(partial == partial.rstrip() for partial in partials)


async def test_a_dead_target_leaves_the_answer_to_the_first_worker(
    two_workers: tuple[FakeWorker, FakeWorker], connect: Connect
) -> None:
    small, large = two_workers
    await small.script(answers=[{"text": SMALL, "certainty": certainties(3)}])
    await large.script(failure={"kind": "status", "status": 500})
    run = two(two_workers, connect)
    text, outcome = await answer(run)
    assert text == SMALL
    assert outcome.escalations == ()
    assert run.trace.degraded == ["tier:large"]


@pytest.mark.parametrize("stop", [["13,"], ["13, which"]])
async def test_a_stop_string_ends_the_continued_answer(
    two_workers: tuple[FakeWorker, FakeWorker], connect: Connect, stop: list[str]
) -> None:
    small, large = two_workers
    await small.script(answers=[{"text": SMALL, "certainty": certainties(3)}])
    await large.script(answers=[{"text": LARGE, "certainty": certainties(1)}])
    text, outcome = await answer(two(two_workers, connect, extra={"stop": stop}))
    assert text == LARGE[: LARGE.index(stop[0])]
    assert outcome.choices[0].finish_reason == "stop"
    assert outcome.choices[0].choice_extra == {"stop_reason": stop[0]}


async def test_a_doubt_about_the_token_that_ends_the_answer_hands_nothing_over(
    two_workers: tuple[FakeWorker, FakeWorker], connect: Connect
) -> None:
    small, large = two_workers
    last = tokenize(SMALL).index(" 42")
    await small.script(answers=[{"text": SMALL, "certainty": certainties(last)}])
    text, outcome = await answer(two(two_workers, connect, extra={"stop": "42"}))
    assert text == SMALL[: SMALL.index("42")]
    assert outcome.escalations == ()
    assert await large.requests() == []


async def test_leaving_in_the_second_stretch_stops_its_worker(
    two_workers: tuple[FakeWorker, FakeWorker], connect: Connect
) -> None:
    small, large = two_workers
    await small.script(answers=[{"text": SMALL, "certainty": certainties(3)}])
    await large.script(answers=[{"text": LARGE}], tokens_per_second=50)
    run = two(two_workers, connect)
    task = asyncio.create_task(answer(run))
    await running(large, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await running(large, 0)
    assert [charge.tier for charge in run.ledger.charges] == ["small", "large"]
