"""`single` where the budget is short or one of several choices fails."""

import pytest

from entroute.backends.pool import NobodyAsked
from entroute.decisions import Decision
from entroute.errors import TierUnavailable
from tests.builders import a_budget, a_request, a_run, a_tier, backend_of
from tests.scripted import fails, hangs, says
from tests.strategies.singles import DOWN, answer, either, probed, spent


@either
@pytest.mark.parametrize(("calls", "tier"), [(1, "small"), (2, "large")])
async def test_a_probe_answers_where_the_budget_holds_no_call_on_the_wanted_tier(
    stream: bool,  # noqa: FBT001
    calls: int,
    tier: str,
) -> None:
    decided = Decision("large", "single", "test")
    budget = a_budget(max_calls=calls)
    run = await probed(a_run(a_tier("small"), a_tier("large"), decision=decided, budget=budget))
    outcome = await answer(run, stream=stream)
    assert outcome.choices[0].content == "6 times 7 is 42"
    assert (outcome.tier, outcome.stop_reason) == (tier, "budget" if calls == 1 else "settled")


@either
async def test_a_failure_stands_where_the_budget_holds_no_other_call(stream: bool) -> None:  # noqa: FBT001
    large = a_tier("large")
    run = a_run(a_tier("small", fails(DOWN)), large, budget=a_budget(max_calls=1))
    with pytest.raises(TierUnavailable):
        await answer(run, stream=stream)
    assert backend_of(large).calls == []
    assert run.ledger.exhausted == "max_calls"


@either
async def test_a_tier_known_to_be_down_costs_no_call(stream: bool) -> None:  # noqa: FBT001
    down = fails(NobodyAsked("small"))
    run = a_run(a_tier("small", down), a_tier("large"), budget=a_budget(max_calls=1))
    assert (await answer(run, stream=stream)).tier == "large"
    assert spent(run) == [("large", "answer")]


@either
@pytest.mark.parametrize(("max_tokens", "stop"), [(2, "settled"), (9, "budget"), (None, "budget")])
async def test_an_answer_cut_at_the_budgets_cap_says_so(
    stream: bool,  # noqa: FBT001
    max_tokens: int | None,
    stop: str,
) -> None:
    tier = a_tier("small", says("a", "b", "c", finish_reason="length"))
    request, budget = a_request(max_tokens=max_tokens), a_budget(max_generated_tokens=2)
    outcome = await answer(a_run(tier, request=request, budget=budget), stream=stream)
    assert outcome.choices[0].content == "ab"
    assert outcome.stop_reason == stop


@either
async def test_all_choices_move_where_one_fails_before_anything_was_released(stream: bool) -> None:  # noqa: FBT001
    small, large = a_tier("small"), a_tier("large", says("42"))
    backend_of(small)._scripts = (hangs(), fails(DOWN), hangs())
    run = a_run(small, large, request=a_request(n=3))
    outcome = await answer(run, stream=stream)
    assert [choice.tier for choice in outcome.choices] == ["large"] * 3
    (move,) = outcome.escalations
    assert (move.source, move.target, move.reason) == ("small", "large", "unavailable")
    assert run.trace.degraded == ["tier:small"]
    assert spent(run) == [("small", "discarded")] * 3 + [("large", "answer")] * 3


@either
async def test_choices_stay_where_something_was_released_or_the_budget_is_short(
    stream: bool,  # noqa: FBT001
) -> None:
    for first, calls in ((hangs(after=1), 16), (hangs(), 3)):
        small, large = a_tier("small"), a_tier("large")
        backend_of(small)._scripts = (first, fails(DOWN, after=0))
        budget = a_budget(max_calls=calls)
        with pytest.raises(TierUnavailable):
            await answer(a_run(small, large, request=a_request(n=2), budget=budget), stream=stream)
        assert backend_of(large).calls == []
