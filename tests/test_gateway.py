"""The walk, over fakes of everything it is made of."""

from contextlib import aclosing
from dataclasses import replace

import pytest

from entroute.decisions import Decision
from entroute.errors import (
    WorkerFailed,
)
from entroute.types import ChatRequest, Options, Principal
from tests.builders import a_request, an_ask, read_outcome
from tests.fakes import (
    FakeCache,
    no_task_left,
)
from tests.scripted import FakeBackend, fails, says
from tests.walks import COLD, LIMITS, WARM, either, walk

__all__ = ["no_task_left"]


@either
async def test_a_request_walks_through_every_step_once(stream: bool) -> None:  # noqa: FBT001
    w = walk()
    outcome = await w.ask(stream=stream)
    assert outcome.choices[0].content == "6 times 7 is 42"
    assert [(c.tier, c.purpose) for c in outcome.charges] == [("small", "answer")]
    assert outcome.charges[0].cost_usd == pytest.approx((10 * 1 + 3 * 2) / 1e6)
    trace = w.trace
    assert (trace.result, trace.cache, trace.tenant) == ("ok", "miss", "anonymous")
    assert trace.estimate is not None
    assert trace.decision is not None
    assert trace.outcome == outcome
    assert trace.charges == outcome.charges
    assert trace.finished is not None
    assert w.gateway.in_flight == 0


async def test_a_stream_releases_pieces_as_they_are_made_and_times_them() -> None:
    w = walk(FakeBackend(says("a", "b", "c")))
    w.small._clock = w.clock
    text, outcome = await read_outcome(w.gateway.stream(an_ask(COLD, streamed=True)))
    assert text == outcome.choices[0].content == "abc"
    assert w.trace.ttft_s == 1
    assert w.trace.gaps_s == [1, 1]
    assert w.trace.upstream_s == 3
    assert w.trace.overhead_s(w.clock()) == 0


async def test_time_the_client_takes_to_read_is_not_the_gateways() -> None:
    w = walk()
    async with aclosing(w.gateway.stream(an_ask(COLD, streamed=True))) as items:
        async for _ in items:
            w.clock.advance(10)
    assert w.trace.client_s == 40  # three pieces and the outcome
    assert w.trace.overhead_s(w.clock()) == 0


@either
async def test_a_stored_answer_is_given_again_and_charged_nothing(stream: bool) -> None:  # noqa: FBT001
    w = walk()
    first = await w.ask(stream=stream)
    again = await w.ask(stream=not stream)
    assert again == first
    assert len(w.small.calls) == 1
    miss, hit = w.recorded.traces
    assert (miss.cache, hit.cache) == ("miss", "exact")
    assert (len(miss.charges), hit.charges) == (1, ())
    assert not hit.shared
    assert hit.decision is None


@pytest.mark.parametrize(
    ("request_", "options", "calls", "result"),
    [
        (WARM, Options(), 2, "bypass"),
        (a_request(), Options(), 2, "bypass"),
        (WARM, Options(cache="force"), 1, "exact"),
        (a_request(temperature=0.7, seed=1), Options(), 1, "exact"),
        (COLD, Options(cache="bypass"), 2, "bypass"),
        (COLD, Options(cache="refresh"), 2, "miss"),
    ],
)
async def test_only_what_would_be_answered_the_same_is_kept_unless_told(
    request_: ChatRequest, options: Options, calls: int, result: str
) -> None:
    w = walk()
    await w.ask(request_, options)
    await w.ask(request_, options)
    assert len(w.small.calls) == calls
    assert w.recorded.traces[1].cache == result


async def test_a_refreshed_answer_replaces_the_stored_one() -> None:
    w = walk(FakeBackend(says("old"), says("new")))
    await w.ask()
    await w.ask(options=Options(cache="refresh"))
    assert (await w.ask()).choices[0].content == "new"


async def test_tenants_share_no_answer() -> None:
    w = walk()
    await w.ask(principal=Principal("a"))
    await w.ask(principal=Principal("b"))
    assert len(w.small.calls) == 2
    assert [trace.tenant for trace in w.recorded.traces] == ["a", "b"]


async def test_without_a_cache_every_request_is_answered_anew() -> None:
    w = walk(cache=None)
    await w.ask()
    await w.ask()
    assert len(w.small.calls) == 2
    assert {trace.cache for trace in w.recorded.traces} == {"bypass"}


@either
async def test_a_dead_cache_is_a_miss_and_said_to_be(stream: bool) -> None:  # noqa: FBT001
    w = walk(cache=FakeCache(dead=True))
    outcome = await w.ask(stream=stream)
    assert outcome.choices[0].content == "6 times 7 is 42"
    assert w.trace.cache == "miss"
    assert w.trace.degraded == ["cache"]
    assert w.trace.result == "ok"


async def test_a_degraded_answer_is_not_kept() -> None:
    w = walk(fails(WorkerFailed("w", "500")))
    outcome = await w.ask()
    assert outcome.tier == "large"
    assert outcome.degraded == ("tier:small",)
    assert w.cache is not None
    assert w.cache.stored == {}


async def test_an_answer_cut_by_the_budget_is_not_kept() -> None:
    script = says(*["w "] * 40, p=0.5)
    w = walk(
        script,
        decision=Decision("small", "cascade", "test"),
        limits=replace(LIMITS, max_calls=1),
    )
    outcome = await w.ask()
    assert outcome.stop_reason == "budget"
    assert w.trace.exhausted == "max_calls"
    assert w.cache is not None
    assert w.cache.stored == {}


async def test_what_the_decision_had_to_do_without_is_noted() -> None:
    w = walk(decision=Decision("small", "single", "test", degraded=("tier:large",)))
    assert (await w.ask()).degraded == ("tier:large",)
