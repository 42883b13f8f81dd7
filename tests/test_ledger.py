import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.errors import BudgetExhausted
from entroute.ledger import UNKNOWN_CONTEXT, Ledger, prompt_bound
from entroute.spending import Budget, BudgetLimits, Price, Usage
from entroute.types import Call, ChatRequest
from tests.builders import a_budget, a_request
from tests.scripted import FakeClock

PRICES = {"small": Price(1.0, 2.0), "large": Price(10.0, 20.0)}


def a_ledger(clock: FakeClock | None = None, **limits: object) -> Ledger:
    return Ledger(a_budget(**limits), PRICES, clock or FakeClock())


def test_a_committed_call_is_charged_at_its_tiers_price() -> None:
    ledger = a_ledger()
    call = ledger.reserve("large", a_request(), "answer")
    ledger.commit(call, Usage(100, 40, 50, 1))
    (charge,) = ledger.charges
    assert (charge.call_id, charge.tier, charge.purpose) == (call.id, "large", "answer")
    assert charge.usage == Usage(100, 40, 50, 1)
    assert charge.cost_usd == pytest.approx((100 * 10 + 50 * 20) / 1e6)


def test_a_tier_without_a_price_costs_nothing() -> None:
    ledger = a_ledger(max_cost_usd=0.0)
    call = ledger.reserve("local", a_request(), "answer")
    ledger.commit(call, Usage(100, 0, 50, 1))
    assert ledger.charges[0].cost_usd == 0


def test_a_call_is_committed_exactly_once() -> None:
    ledger = a_ledger()
    call = ledger.reserve("small", a_request(), "answer")
    ledger.commit(call, Usage(calls=1))
    with pytest.raises(RuntimeError, match="settled already"):
        ledger.commit(call, Usage(calls=1))
    assert len(ledger.charges) == 1


def test_a_released_call_cannot_be_committed_and_gives_its_place_back() -> None:
    ledger = a_ledger(max_calls=1)
    call = ledger.reserve("small", a_request(), "answer")
    ledger.release(call)
    with pytest.raises(RuntimeError, match="settled already"):
        ledger.commit(call, Usage(calls=1))
    again = ledger.reserve("small", a_request(), "answer")
    assert again.id != call.id


def test_releasing_a_committed_call_changes_nothing() -> None:
    ledger = a_ledger()
    call = ledger.reserve("small", a_request(), "answer")
    ledger.commit(call, Usage(1, 0, 1, 1))
    ledger.release(call)
    assert len(ledger.charges) == 1
    assert ledger.calls_left == 15


@pytest.mark.parametrize("committed", [True, False])
def test_a_purpose_may_be_marked_before_and_after_the_commit(committed: bool) -> None:  # noqa: FBT001
    ledger = a_ledger()
    call = ledger.reserve("small", a_request(), "sample")
    if committed:
        ledger.commit(call, Usage(calls=1))
    ledger.mark(call, "discarded")
    if not committed:
        ledger.commit(call, Usage(calls=1))
    assert ledger.charges[0].purpose == "discarded"


def test_marking_a_released_call_is_harmless() -> None:
    ledger = a_ledger()
    call = ledger.reserve("small", a_request(), "sample")
    ledger.release(call)
    ledger.mark(call, "answer")
    assert ledger.charges == ()


def test_charges_keep_the_order_of_reservation() -> None:
    ledger = a_ledger()
    first = ledger.reserve("small", a_request(), "sample")
    second = ledger.reserve("small", a_request(), "sample")
    ledger.commit(second, Usage(calls=1))
    ledger.commit(first, Usage(calls=1))
    assert [charge.call_id for charge in ledger.charges] == [first.id, second.id]


def test_calls_are_limited_whether_reserved_or_committed() -> None:
    ledger = a_ledger(max_calls=2)
    ledger.commit(ledger.reserve("small", a_request(), "sample"), Usage(calls=1))
    ledger.reserve("small", a_request(), "sample")
    with pytest.raises(BudgetExhausted) as caught:
        ledger.reserve("small", a_request(), "sample")
    assert caught.value.limit == ledger.exhausted == "max_calls"


def test_nothing_is_reserved_at_the_deadline() -> None:
    clock = FakeClock()
    ledger = a_ledger(clock, deadline=clock.now + 1)
    assert ledger.reserve("small", a_request(), "answer").deadline == clock.now + 1
    clock.advance(1)
    with pytest.raises(BudgetExhausted) as caught:
        ledger.reserve("small", a_request(), "answer")
    assert caught.value.limit == "deadline"


def test_generated_tokens_cap_a_call_at_what_is_left() -> None:
    ledger = a_ledger(max_generated_tokens=100)
    first = ledger.reserve("small", a_request(max_tokens=60), "answer")
    second = ledger.reserve("small", a_request(max_tokens=60), "answer")
    assert (first.max_tokens, second.max_tokens) == (60, 40)
    with pytest.raises(BudgetExhausted) as caught:
        ledger.reserve("small", a_request(max_tokens=60), "answer")
    assert caught.value.limit == "max_generated_tokens"
    ledger.commit(first, Usage(5, 0, 10, 1))
    assert ledger.reserve("small", a_request(max_tokens=60), "answer").max_tokens == 50


def test_shares_of_a_fan_out_are_fair() -> None:
    ledger = a_ledger(max_generated_tokens=100)
    caps = [
        ledger.reserve("small", a_request(), "sample", share=4 - i, sample=i).max_tokens
        for i in range(4)
    ]
    assert caps == [25, 25, 25, 25]


def test_a_fan_out_is_refused_where_a_share_would_be_no_token() -> None:
    ledger = a_ledger(max_generated_tokens=3)
    with pytest.raises(BudgetExhausted):
        ledger.reserve("small", a_request(), "sample", share=4)


def test_no_cap_is_sent_while_the_budget_holds_a_whole_context() -> None:
    ledger = a_ledger(max_generated_tokens=UNKNOWN_CONTEXT)
    assert ledger.reserve("small", a_request(), "answer").max_tokens is None


def test_a_cap_of_the_budget_leaves_room_for_the_prompt() -> None:
    ledger = a_ledger(max_generated_tokens=990)
    request = a_request("word " * 100)
    call = ledger.reserve("small", request, "answer", context_length=1000)
    assert call.max_tokens == 1000 - prompt_bound(request) // 2


def test_a_prompt_that_fills_the_context_still_gets_a_few_tokens() -> None:
    ledger = a_ledger(max_generated_tokens=990)
    call = ledger.reserve("small", a_request("w" * 4000), "answer", context_length=1000)
    assert call.max_tokens is not None
    assert 16 <= call.max_tokens < 1000


def test_money_caps_the_tokens_of_a_call() -> None:
    request = ChatRequest(model="auto", prompt="")
    prompt_usd = prompt_bound(request) * 1.0 / 1e6
    ledger = a_ledger(max_cost_usd=prompt_usd + 100 * 2.0 / 1e6 + 1e-9)
    assert ledger.reserve("small", request, "answer").max_tokens == 100


def test_money_that_does_not_pay_for_the_prompt_is_exhausted() -> None:
    ledger = a_ledger(max_cost_usd=1e-6)
    with pytest.raises(BudgetExhausted) as caught:
        ledger.reserve("large", a_request(), "answer")
    assert caught.value.limit == ledger.exhausted == "max_cost_usd"


def test_images_count_as_a_whole_context() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    request = ChatRequest(model="auto", messages=({"role": "user", "content": [picture]},))
    money = 4096 * 1.0 / 1e6
    with pytest.raises(BudgetExhausted):
        a_ledger(max_cost_usd=money).reserve("small", request, "answer", context_length=4096)
    cheaper = a_ledger(max_cost_usd=money).reserve(
        "small", a_request(), "answer", context_length=4096
    )
    assert cheaper.max_tokens is not None


def test_the_prompt_bound_counts_bytes_tools_and_templates() -> None:
    plain = prompt_bound(a_request("é" * 10))
    assert plain >= 20
    tools = a_request("é" * 10, extra={"tools": [{"function": {"name": "f" * 100}}]})
    assert prompt_bound(tools) >= plain + 100


def test_limits_are_capped_one_by_one() -> None:
    mine = BudgetLimits(max_calls=3, max_cost_usd=0.0)
    theirs = BudgetLimits(max_calls=5, max_generated_tokens=7, max_cost_usd=1.0)
    assert mine.capped(theirs) == theirs.capped(mine) == BudgetLimits(3, 7, None, 0.0)


usages = st.builds(Usage, *[st.integers(0, 1000)] * 5)


@given(st.lists(usages, max_size=5), st.lists(usages, max_size=5))
def test_usage_is_additive(some: list[Usage], others: list[Usage]) -> None:
    total = sum(some + others, Usage())
    assert total == sum(some, Usage()) + sum(others, Usage())
    assert total.completion_tokens == sum(u.completion_tokens for u in some + others)


budgets = st.builds(
    Budget,
    st.integers(1, 8),
    st.integers(1, 3000),
    st.just(1e12),
    st.none() | st.floats(0, 0.05),
)
requests = st.builds(
    a_request,
    st.text(max_size=200),
    max_tokens=st.none() | st.integers(1, 2000),
)
steps = st.tuples(
    st.sampled_from(["reserve", "finish", "fail", "release", "mark", "affords"]),
    st.sampled_from(["small", "large", "free"]),
    requests,
    st.integers(1, 5),  # share
    st.floats(0, 1),  # how much of the worst case is spent
    st.none() | st.integers(64, 4000),  # context length
)


@given(budgets, st.lists(steps, max_size=25))
def test_no_script_of_calls_exceeds_a_budget(budget: Budget, script: list[tuple]) -> None:  # type: ignore[type-arg]
    ledger = Ledger(budget, PRICES, FakeClock())
    live: list[tuple[Call, int, int]] = []
    spent = Usage()
    for verb, tier, request, share, part, context in script:
        if verb == "reserve":
            try:
                call = ledger.reserve(tier, request, "sample", share=share, context_length=context)
            except BudgetExhausted:
                continue
            length = context or UNKNOWN_CONTEXT
            prompt = min(prompt_bound(request), length)
            live.append((call, prompt, call.max_tokens or request.max_tokens or length))
        elif live and verb in {"finish", "fail"}:
            call, prompt, most = live.pop()
            usage = (
                Usage(math.floor(prompt * part), 0, math.floor(most * part), 1)
                if verb == "finish"
                else Usage(calls=1, partial_calls=1)
            )
            ledger.commit(call, usage)
            spent += usage
        elif live and verb == "release":
            ledger.release(live.pop()[0])
        elif live and verb == "mark":
            ledger.mark(live[-1][0], "discarded")
        elif live and verb == "affords":
            ledger.affords(tier, request, without=live[-1][0])
        used = sum((charge.usage for charge in ledger.charges), Usage())
        assert used == spent
        assert used.calls <= budget.max_calls
        assert used.completion_tokens <= budget.max_generated_tokens
        if budget.max_cost_usd is not None:
            cost = sum(charge.cost_usd for charge in ledger.charges)
            assert cost <= budget.max_cost_usd + 1e-12
