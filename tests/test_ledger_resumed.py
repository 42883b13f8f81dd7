"""Calls that an earlier run has made: outside every limit but the deadline."""

from typing import Any

import pytest

from entroute.errors import BudgetExhausted
from entroute.ledger import Ledger
from entroute.spending import Price
from tests.builders import a_budget, a_completion, a_request
from tests.earlier import FakeEarlier
from tests.scripted import FakeClock

REQUEST = a_request()


def a_ledger(*kept: int, clock: FakeClock | None = None, **limits: Any) -> Ledger:
    """Return the ledger of a request that has these samples of the small tier."""
    ledger = Ledger(a_budget(**limits), {"small": Price(1.0, 2.0)}, clock or FakeClock())
    ledger.resume(FakeEarlier(REQUEST, [("small", sample, "42") for sample in kept]))
    return ledger


def test_a_kept_call_is_reserved_where_nothing_else_fits() -> None:
    ledger = a_ledger(0, 2, max_calls=0)
    call = ledger.reserve("small", REQUEST, "answer")
    taken = ledger.taken(call)
    assert taken is not None
    assert (taken.content, taken.call_id, taken.resumed) == ("42", call.id, True)
    assert (ledger.calls_left, ledger.charges, len(ledger.resumed)) == (0, (), 1)
    with pytest.raises(BudgetExhausted, match="max_calls"):
        ledger.reserve("small", REQUEST, "answer", sample=1)
    assert ledger.affords("small", REQUEST)
    assert not ledger.affords("large", REQUEST)
    assert not ledger.affords("small", a_request("Another?"))
    assert not ledger.affords("small", REQUEST, partial="So")


def test_a_choice_that_is_missing_must_fit() -> None:
    assert a_ledger(0, 1, max_calls=1).affords("small", REQUEST, share=3) is True
    ledger = a_ledger(1, 2, max_calls=1)
    assert ledger.affords("small", REQUEST, share=3)
    assert not ledger.affords("small", REQUEST, share=4)


def test_only_samples_that_are_drawn_share_what_is_left() -> None:
    ledger = a_ledger(1, 2, max_generated_tokens=300)
    calls = [ledger.reserve("small", REQUEST, "sample", sample=i, share=5 - i) for i in range(5)]
    assert [call.max_tokens for call in calls] == [100, None, None, 100, 100]


def test_a_kept_call_keeps_its_cap_and_can_be_given_back() -> None:
    ledger = a_ledger(0, max_calls=1)
    call = ledger.reserve("small", REQUEST, "probe")
    assert ledger.shrink(call, 7) == call
    ledger.mark(call, "answer")
    ledger.release(call)
    assert ledger.calls_left == 1
    assert not ledger.cut(a_completion(call_id=call.id, finish_reason="length"))


def test_time_is_up_for_kept_calls_too() -> None:
    ledger = a_ledger(0, clock=FakeClock(200.0), deadline=200.0)
    with pytest.raises(BudgetExhausted, match="deadline"):
        ledger.reserve("small", REQUEST, "answer")


def test_what_the_whole_budget_could_not_have_made_is_asked_for_again() -> None:
    ledger = a_ledger(0, max_generated_tokens=2)
    call = ledger.reserve("small", REQUEST, "answer")
    assert (ledger.taken(call), call.max_tokens) == (None, 2)
    with pytest.raises(BudgetExhausted, match="max_cost_usd"):
        a_ledger(0, max_cost_usd=1.5e-5).reserve("small", REQUEST, "answer")
    assert a_ledger(0, max_cost_usd=1.6e-5).affords("small", REQUEST)


def test_room_is_for_as_many_as_there_are_calls_for() -> None:
    ledger = a_ledger(0, 2, max_calls=3)
    assert ledger.room("small", REQUEST, 9) == 5
    assert ledger.room("small", REQUEST, 4) == 4
    assert ledger.room("small", REQUEST, 9, first=1) == 4
    assert ledger.room("small", REQUEST, 9, spare=1) == 4
    assert ledger.room("small", REQUEST, 9, judging=1) == 2
    assert ledger.room("small", REQUEST, 9, spare=5) == 0
    assert ledger.room("large", REQUEST, 9) == 3
    assert ledger.room("small", a_request("Another?"), 9) == 3
