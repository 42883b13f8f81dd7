"""A repeated prompt begins with what earlier runs have made, at whichever gateway."""

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest

from entroute.errors import BudgetExhausted, DeadlineExceeded
from entroute.evidence import Outcome
from entroute.spending import BudgetLimits, Usage
from entroute.stores import Store
from entroute.types import Options
from tests.builders import a_request, an_ask, settle, text_of
from tests.cache.resuming import SEEDED, answers, drawn, gateway
from tests.fakes import no_task_left
from tests.scripted import FakeClock, fails, hangs, says, unsure
from tests.walks import COLD, either

__all__ = ["no_task_left"]

FORCED = Options(cache="force")


async def test_another_gateway_draws_only_what_is_missing(shared: Store) -> None:
    first, second = gateway(shared, n=4), gateway(shared, answers(41), n=8)
    await first.ask(SEEDED)
    assert drawn(first) == [0, 1, 2, 3]
    outcome = await second.ask(SEEDED)
    assert drawn(second) == [4, 5, 6, 7]
    assert "42" in outcome.choices[0].content
    assert sorted(c.resumed for c in outcome.candidates) == [False] * 4 + [True] * 4


async def test_a_resumed_sample_costs_nothing_and_says_what_it_was(store: Store) -> None:
    await gateway(store, n=3).ask(SEEDED)
    second = gateway(store, n=3)
    outcome = await second.ask(SEEDED)
    assert drawn(second) == []
    assert outcome.charges == ()
    assert outcome.choices[0].usage == Usage(10, 0, 2, 1)
    trace = second.trace
    assert (trace.samples, trace.resumed, trace.resumed_tokens) == ("hit", 3, 36)
    assert trace.upstream_s == 0


async def test_kept_samples_leave_the_calls_of_a_budget_to_new_ones(store: Store) -> None:
    split = (answers(41), answers(42), answers(43))
    await gateway(store, *split, n=3).ask(SEEDED)
    second = gateway(store, *split, n=8, limits=BudgetLimits(3, 100_000, 60.0))
    outcome = await second.ask(SEEDED)
    assert drawn(second) == [3, 4, 5]
    assert len(outcome.candidates) == 6
    assert (outcome.stop_reason, outcome.usage.calls) == ("budget", 3)


async def test_new_samples_share_all_tokens_of_a_budget(store: Store) -> None:
    undecided = (answers(41), answers(42), answers(43)) * 2
    await gateway(store, *undecided, n=6).ask(SEEDED)
    second = gateway(store, n=8, limits=BudgetLimits(8, 8, 60.0))
    await second.ask(SEEDED)
    assert [call.max_tokens for call in second.small.calls] == [4, 4]


async def test_an_answer_over_the_whole_budget_is_not_given_out(store: Store) -> None:
    await gateway(store, strategy="single").ask(SEEDED)
    small = gateway(store, strategy="single", limits=BudgetLimits(1, 1, 60.0))
    await small.ask(SEEDED)
    assert drawn(small) == [0]
    poor = gateway(store, strategy="single", limits=BudgetLimits(1, 100, 60.0, 1e-9))
    with pytest.raises(BudgetExhausted):
        await poor.ask(SEEDED)


async def test_a_vote_that_is_settled_already_asks_nobody(store: Store) -> None:
    await gateway(store, n=4).ask(SEEDED)
    second = gateway(store, strategy="adaptive_consistency", n=16)
    outcome = await second.ask(SEEDED)
    assert (drawn(second), outcome.stop_reason) == ([], "settled")


async def test_a_vote_that_is_not_settled_goes_on_where_it_was(store: Store) -> None:
    await gateway(store, answers(41), answers(42), answers(42), answers(43), n=4).ask(SEEDED)
    second = gateway(store, strategy="adaptive_consistency", n=16)
    outcome = await second.ask(SEEDED)
    assert drawn(second)
    assert drawn(second) == list(range(4, 4 + len(drawn(second))))
    assert outcome.stop_reason == "settled"


async def test_a_run_cut_short_is_resumed_too(store: Store) -> None:
    clock = FakeClock()
    late = fails(DeadlineExceeded("late"))
    first = gateway(store, answers(42), late, late, n=3, clock=clock)
    assert (await first.ask(SEEDED)).stop_reason == "deadline"
    second = gateway(store, n=3)
    assert (await second.ask(SEEDED)).stop_reason in {"settled", "exhausted"}
    assert drawn(second) == [1, 2]


async def test_a_client_that_leaves_leaves_its_finished_samples(store: Store) -> None:
    first = gateway(store, answers(42), hangs(), n=3)
    asking = asyncio.create_task(first.ask(SEEDED, stream=False))
    await settle()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    second = gateway(store, n=3)
    await second.ask(SEEDED)
    assert drawn(second) == [1, 2]


async def test_log_probabilities_must_be_kept_where_they_are_needed(store: Store) -> None:
    await gateway(store, strategy="single").ask(COLD)
    wanted = gateway(store, strategy="single")
    shown = await wanted.ask(replace(COLD, logprobs=True, top_logprobs=1))
    assert drawn(wanted) == [0]
    fewer = gateway(store, strategy="single")
    outcome = await fewer.ask(replace(COLD, logprobs=True))
    assert drawn(fewer) == []
    assert shown.choices[0].logprobs
    assert [t["top_logprobs"] for t in outcome.choices[0].logprobs] == [[], []]
    none = gateway(store, strategy="single")
    assert (await none.ask(COLD)).choices[0].logprobs == ()
    assert drawn(none) == []


@either
async def test_a_stream_of_a_kept_answer_is_that_answer(
    store: Store,
    stream: bool,  # noqa: FBT001
) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said = answers(42, extra={"tool_calls": [call]}, finish_reason="tool_calls")
    await gateway(store, said, strategy="single").ask(COLD)
    second = gateway(store, strategy="single")
    async with aclosing(second.gateway.stream(an_ask(COLD, streamed=stream))) as pieces:
        items = [piece async for piece in pieces]
    outcome = items[-1]
    assert isinstance(outcome, Outcome)
    assert (outcome.choices[0].content, drawn(second)) == ("So the answer is 42.", [])
    assert list(outcome.choices[0].tool_calls) == [call]
    if stream:
        assert text_of(items) == "So the answer is 42."
        deltas = [item.extra for item in items if not isinstance(item, Outcome)]
        assert [extra for extra in deltas if extra] == [{"tool_calls": [{"index": 0, **call}]}]


async def test_a_gate_judges_the_same_window_of_a_kept_answer(store: Store) -> None:
    sure, doubtful = ("So ", "it ", "is ", "42."), a_request("Hm?", temperature=0.0)
    await gateway(store, says(*sure), strategy="cascade").ask(COLD)
    await gateway(store, unsure(*sure), strategy="cascade").ask(doubtful)
    second = gateway(store, strategy="cascade")
    outcome = await second.ask(COLD)
    assert (outcome.tier, outcome.stop_reason, drawn(second)) == ("small", "confident", [])
    third = gateway(store, strategy="cascade")
    outcome = await third.ask(doubtful)
    assert (outcome.tier, outcome.stop_reason, drawn(third)) == ("large", "escalated", [])
    assert outcome.usage == Usage()  # the larger tier's answer was kept, too


async def test_the_shortest_win_not_those_that_were_kept(store: Store) -> None:
    long = says("It takes ", "a while ", "to see ", "that the ", "answer is 41.")
    await gateway(store, long, n=3).ask(SEEDED)
    second = gateway(store, answers(42), strategy="short_m_at_k", n=5)
    outcome = await second.ask(SEEDED)
    assert drawn(second) == [3, 4]
    assert "42" in outcome.choices[0].content
    third = gateway(store, strategy="short_m_at_k", n=5)
    outcome = await third.ask(SEEDED)
    assert drawn(third) == []
    assert ["42" in c.content for c in outcome.candidates] == [True, True]


async def test_a_judges_verdict_is_kept_too(store: Store) -> None:
    judged = Options(verifier={"kind": "judge", "tier": "small"})
    mark = says("It is right.\n", "Score: 9")
    first = gateway(store, answers(42), answers(41), answers(40), mark, strategy="best_of_n", n=3)
    before = await first.ask(SEEDED, judged)
    assert len(first.small.calls) == 6
    second = gateway(store, strategy="best_of_n", n=3)
    outcome = await second.ask(SEEDED, judged)
    assert second.small.calls == []
    assert [v.score for v in outcome.verdicts] == [v.score for v in before.verdicts]
    assert outcome.usage == Usage()
