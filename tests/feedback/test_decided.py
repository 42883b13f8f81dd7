"""What was decided is remembered, within bounds, and told to nobody else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.feedback.decided import Decided, DecidedMemory, decided_by
from entroute.spending import Charge, Usage
from tests.feedback.traffic import NOW_S, Wall, decided_trace


def memory_of(capacity: int = 10, ttl_s: float = 100.0) -> tuple[DecidedMemory, Wall]:
    wall = Wall()
    return DecidedMemory(capacity, ttl_s, wall), wall


def found(memory: DecidedMemory, request_id: str, tenant: str) -> Decided:
    decided = memory.find(request_id, tenant)
    assert isinstance(decided, Decided)
    return decided


def test_an_answered_request_is_remembered_with_its_decision() -> None:
    decided = decided_by(decided_trace(decision={"propensity": 0.25}), "profile", NOW_S)
    assert decided == Decided(
        "r-1",
        "a",
        NOW_S,
        plan="p",
        strategy="single",
        tier="small",
        profile="profile",
        profile_quality=0.7,
        predicted_quality=0.75,
        propensity=0.25,
    )


@pytest.mark.parametrize("result", ["client_error", "server_error", "cancelled", "running"])
def test_a_request_without_an_answer_is_not(result: str) -> None:
    assert decided_by(decided_trace(result=result), "profile", NOW_S) is None
    assert decided_by(decided_trace(outcome=None), "profile", NOW_S) is None


@pytest.mark.parametrize(
    "facts", [{"cache": "exact"}, {"cache": "exact", "shared": True}, {"resumed": 3}]
)
def test_a_kept_answer_has_no_plan_of_its_own(facts: dict[str, Any]) -> None:
    decided = decided_by(decided_trace(**facts), "profile", NOW_S)
    assert decided is not None
    assert decided.cached
    assert decided.plan == ""
    assert decided.profile_quality is None


def test_an_answer_that_drew_more_samples_has_its_plan() -> None:
    charge = Charge(0, "small", "sample", Usage(10, 0, 3, 1), 0.1)
    decided = decided_by(decided_trace(resumed=3, charges=(charge,)), "profile", NOW_S)
    assert decided is not None
    assert (decided.cached, decided.plan) == (False, "p")


def test_tenants_share_ids_and_not_answers() -> None:
    memory, _ = memory_of()
    memory.put(Decided("id", "a", NOW_S, plan="of-a"))
    memory.put(Decided("id", "b", NOW_S, plan="of-b"))
    assert found(memory, "id", "a").plan == "of-a"
    assert found(memory, "id", "b").plan == "of-b"
    assert memory.find("id", "c") == "foreign"
    assert memory.find("other", "a") == "unknown"


def test_the_newest_answer_of_an_id_counts() -> None:
    memory, _ = memory_of()
    memory.put(Decided("id", "a", NOW_S, plan="old", label=1.0))
    memory.put(Decided("id", "a", NOW_S + 1, plan="new"))
    assert found(memory, "id", "a") == Decided("id", "a", NOW_S + 1, plan="new")
    memory.update(Decided("id", "a", NOW_S, plan="old", label=0.0))
    assert found(memory, "id", "a").label is None
    assert len(memory) == 1


def test_answers_expire() -> None:
    memory, wall = memory_of(ttl_s=100)
    memory.put(Decided("id", "a", wall.now))
    wall.now += 99
    assert memory.find("id", "a") != "unknown"
    wall.now += 2
    assert memory.find("id", "a") == "unknown"
    assert memory.find("id", "b") == "unknown"
    assert len(memory) == 0


def test_two_answers_of_one_id_have_different_keys() -> None:
    keys = {
        Decided("id", "a", 1.0).key,
        Decided("id", "a", 2.0).key,
        Decided("id", "b", 1.0).key,
        Decided("di", "a", 1.0).key,
    }
    assert len(keys) == 4


@given(
    st.lists(st.tuples(st.sampled_from("uvwxyz"), st.sampled_from("abc"), st.floats(0, 30))),
    st.integers(1, 5),
)
def test_memory_is_bounded_and_agrees_with_the_list_of_answers(
    answers: list[tuple[str, str, float]], capacity: int
) -> None:
    memory, wall = memory_of(capacity, ttl_s=50)
    told: list[tuple[str, str, float]] = []
    for request_id, tenant, pause in answers:
        wall.now += pause
        memory.put(Decided(request_id, tenant, wall.now))
        told = [one for one in told if one[:2] != (request_id, tenant)]
        told.append((request_id, tenant, wall.now))
        told = [one for one in told if one[2] > wall.now - 50][-capacity:]
        assert len(memory) == len(told) <= capacity
    ids = {one[0] for one in told}
    for request_id in "uvwxyz":
        for tenant in "abc":
            held = [one for one in told if one[:2] == (request_id, tenant)]
            answer = memory.find(request_id, tenant)
            if held:
                assert isinstance(answer, Decided)
                assert answer.at == held[0][2]
            else:
                assert answer == ("foreign" if request_id in ids else "unknown")
