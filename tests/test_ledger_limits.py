"""What the ledger says of calls that are not made yet, and of answers that it cut."""

import pytest

from entroute.errors import BudgetExhausted
from entroute.ledger import prompt_bound
from entroute.spending import Usage
from tests.builders import a_completion, a_request
from tests.test_ledger import PRICES, a_ledger


@pytest.mark.parametrize(("calls", "affordable"), [(1, False), (2, True)])
def test_an_escalation_needs_a_call_beside_the_one_it_cancels(
    calls: int,
    affordable: bool,  # noqa: FBT001
) -> None:
    ledger = a_ledger(max_calls=calls)
    call = ledger.reserve("small", a_request(), "answer")
    assert ledger.affords("large", a_request(), without=call) is affordable


def test_an_escalation_gets_back_what_the_cancelled_call_did_not_send() -> None:
    ledger = a_ledger(max_generated_tokens=100)
    request = a_request(max_tokens=100)
    call = ledger.reserve("small", request, "answer")
    ledger.note(call, Usage(10, 0, 99, 1))
    assert ledger.affords("large", request, without=call)
    ledger.note(call, Usage(10, 0, 100, 1))
    assert not ledger.affords("large", request, without=call)


def test_asking_what_is_affordable_reserves_nothing() -> None:
    ledger = a_ledger(max_calls=2, max_generated_tokens=100)
    call = ledger.reserve("small", a_request(max_tokens=90), "answer")
    assert ledger.affords("large", a_request(), without=call)
    assert ledger.calls_left == 1
    assert ledger.reserve("large", a_request(max_tokens=90), "answer").max_tokens == 10


def test_a_fan_out_needs_all_its_calls_before_the_first_is_reserved() -> None:
    ledger = a_ledger(max_calls=3)
    assert ledger.affords("small", a_request(), share=3)
    assert not ledger.affords("small", a_request(), share=4)
    with pytest.raises(BudgetExhausted):
        ledger.reserve("small", a_request(), "answer", share=4)
    assert ledger.calls_left == 3


@pytest.mark.parametrize(
    ("asked", "allowed", "finish_reason", "cut"),
    [
        (None, 50, "length", True),
        (80, 50, "length", True),
        (80, 50, "stop", False),
        (50, 50, "length", False),
        (None, 1_000_000, "length", False),
    ],
)
def test_an_answer_is_cut_that_ends_at_the_budgets_cap_and_not_at_the_clients(
    asked: int | None,
    allowed: int,
    finish_reason: str,
    cut: bool,  # noqa: FBT001
) -> None:
    ledger = a_ledger(max_generated_tokens=allowed)
    call = ledger.reserve("small", a_request(max_tokens=asked), "answer")
    assert ledger.cut(a_completion(finish_reason=finish_reason, call_id=call.id)) is cut


def test_the_answer_so_far_is_read_again_and_paid_for() -> None:
    partial = "é" * 50
    assert prompt_bound(a_request(), partial) > prompt_bound(a_request()) + 100
    short = a_ledger(max_cost_usd=5e-4, max_generated_tokens=10)
    call = short.reserve("small", a_request(), "answer", partial=partial)
    assert call.partial == partial
    cost = PRICES["large"].cost(Usage(prompt_tokens=prompt_bound(a_request()) + 20))
    tight = a_ledger(max_cost_usd=cost, max_generated_tokens=10)
    assert tight.affords("large", a_request())
    assert not tight.affords("large", a_request(), partial=partial)
    with pytest.raises(BudgetExhausted):
        tight.reserve("large", a_request(), "answer", partial=partial)


def test_a_call_that_goes_on_leaves_room_for_what_it_reads() -> None:
    fresh = a_ledger(max_generated_tokens=800)
    whole = fresh.reserve("small", a_request(), "answer", context_length=900)
    again = a_ledger(max_generated_tokens=800)
    rest = again.reserve("small", a_request(), "answer", context_length=900, partial="x" * 400)
    assert (whole.max_tokens or 0) > (rest.max_tokens or 0) + 100


def test_a_running_call_can_be_left_its_share() -> None:
    ledger = a_ledger(max_generated_tokens=100, max_calls=5)
    call = ledger.reserve("small", a_request(), "probe")
    assert ledger.shrink(call, 4).max_tokens == 25
    shares = [ledger.reserve("small", a_request(), "sample", share=3 - i) for i in range(3)]
    assert [share.max_tokens for share in shares] == [25, 25, 25]
    assert ledger.cut(a_completion(finish_reason="length", call_id=call.id))
    for share in shares:
        ledger.release(share)
    assert ledger.shrink(call, 1) == call


def test_a_running_call_keeps_what_it_has_sent() -> None:
    ledger = a_ledger(max_generated_tokens=100)
    call = ledger.reserve("small", a_request(max_tokens=90), "probe")
    ledger.note(call, Usage(10, 0, 40, 1, 1))
    assert ledger.shrink(call, 10).max_tokens == 40
    assert ledger.reserve("small", a_request(), "sample").max_tokens == 60
    with pytest.raises(BudgetExhausted):
        ledger.shrink(call, 101)
    assert ledger.exhausted == "max_generated_tokens"


def test_a_call_that_has_ended_keeps_nothing_and_gives_nothing() -> None:
    ledger = a_ledger(max_generated_tokens=100)
    call = ledger.reserve("small", a_request(), "probe")
    ledger.commit(call, Usage(10, 0, 7, 1))
    assert ledger.shrink(call, 2) == call
    assert ledger.reserve("small", a_request(), "sample").max_tokens == 93
