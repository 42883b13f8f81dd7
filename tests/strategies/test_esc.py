from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from entroute.errors import WorkerFailed
from entroute.protocols import Run
from entroute.strategies.esc import Esc, EscConfig
from tests.builders import a_budget, a_run, a_tier
from tests.fakes import strategy_parts
from tests.scripted import FakeBackend, Script, fails, says

FAILED = WorkerFailed("w", "answered 500")

Vote = int | str | None
"""An answer, "failed" for a sample that fails, None for one that gives no answer."""


def strategy(window: int = 5, samples: int = 40) -> Esc:
    return EscConfig(window=window, samples=samples).build(strategy_parts())


def script_of(vote: Vote) -> Script:
    if vote == "failed":
        return fails(FAILED)
    return says("I cannot say.") if vote is None else says(f"It is {vote}.")


def voting(votes: Sequence[Vote], **facts: Any) -> tuple[FakeBackend, Run]:
    backend = FakeBackend(*map(script_of, votes))
    facts.setdefault("budget", a_budget(max_calls=64))
    return backend, a_run(a_tier("small", backend), **facts)


async def test_a_unanimous_window_is_enough() -> None:
    backend, run = voting([42])
    outcome = await strategy().run(run)
    assert outcome.choices[0].content == "It is 42."
    assert (outcome.strategy, outcome.stop_reason) == ("esc", "settled")
    assert len(backend.calls) == len(outcome.candidates) == 5
    assert (outcome.verifier, outcome.cancelled) == ("majority", 0)
    assert dict(outcome.saved) == {"undrawn": 35}


async def test_a_unanimous_window_wins_against_an_earlier_majority() -> None:
    backend, run = voting([1, 1, 1, 1, 2, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2])
    outcome = await strategy().run(run)
    assert outcome.choices[0].content == "It is 2."
    assert len(backend.calls) == 15
    scores = {v.answer: v.score for v in outcome.verdicts}
    assert scores == {"1": pytest.approx(8 / 15), "2": pytest.approx(7 / 15)}


async def test_agreement_across_windows_does_not_count() -> None:
    backend, run = voting([1, 2, 2, 2, 2, 2, 1])
    outcome = await strategy(3, samples=6).run(run)
    assert (len(backend.calls), outcome.stop_reason) == (6, "settled")
    backend, run = voting([1, 2, 2, 2, 2, 1])
    outcome = await strategy(3, samples=6).run(run)
    assert (len(backend.calls), outcome.stop_reason) == (6, "exhausted")
    assert outcome.choices[0].content == "It is 2."


async def test_the_majority_decides_at_the_cap() -> None:
    backend, run = voting([1, 2, 3, 2] * 10)
    outcome = await strategy(4, samples=10).run(run)
    assert (len(backend.calls), outcome.stop_reason) == (10, "exhausted")
    assert outcome.choices[0].content == "It is 2."


async def test_what_is_left_below_the_cap_is_no_window() -> None:
    backend, run = voting([1, 2, 1, 1])
    outcome = await strategy(3, samples=4).run(run)
    assert (len(backend.calls), outcome.stop_reason) == (4, "exhausted")


@pytest.mark.parametrize("odd", ["failed", None])
async def test_a_sample_that_failed_or_says_nothing_breaks_unanimity(odd: Vote) -> None:
    backend, run = voting([42, 42, odd, 42, 42, 42])
    outcome = await strategy(3).run(run)
    assert (len(backend.calls), outcome.stop_reason) == (6, "settled")
    assert len(outcome.failures) == (odd == "failed")


async def test_a_window_of_samples_without_an_answer_settles_nothing() -> None:
    backend, run = voting([None])
    outcome = await strategy(3, samples=7).run(run)
    assert (len(backend.calls), outcome.stop_reason) == (7, "exhausted")


async def test_a_window_of_failures_is_the_last() -> None:
    backend, run = voting([1, 2, "failed", "failed", "failed"])
    outcome = await strategy(2).run(run)
    assert len(backend.calls) == 4
    assert outcome.choices[0].content == "It is 1."


def replayed(votes: Sequence[Vote], window: int, most: int) -> tuple[int, Vote]:
    """Return how many samples are drawn and which answer a window settles on, None if none."""
    for begun in range(0, most, window):
        latest = votes[begun : min(most, begun + window)]
        if len(latest) == window and len(set(latest)) == 1 and isinstance(latest[0], int):
            return begun + window, latest[0]
        if set(latest) == {"failed"}:
            return begun + len(latest), None
    return most, None


@given(
    st.lists(st.sampled_from([1, 1, 1, 1, 2, None, "failed"]), min_size=40, max_size=40),
    st.integers(2, 5),
    st.integers(3, 30),
)
async def test_it_stops_on_the_first_unanimous_window(
    votes: list[Vote], window: int, most: int
) -> None:
    votes = [1, *votes[1:]]
    drawn, answer = replayed(votes, window, most)
    backend, run = voting(votes)
    outcome = await strategy(window, most).run(run)
    assert len(backend.calls) == drawn <= most
    assert outcome.stop_reason == ("exhausted" if answer is None else "settled")
    if answer is not None:
        assert outcome.choices[0].content == f"It is {answer}."


async def test_a_short_budget_cuts_the_window() -> None:
    backend, run = voting([42], budget=a_budget(max_calls=4))
    outcome = await strategy().run(run)
    assert (len(backend.calls), outcome.stop_reason) == (4, "budget")
    assert outcome.choices[0].content == "It is 42."


@pytest.mark.parametrize(
    "wrong", [{"window": 1}, {"window": 17}, {"samples": 2}, {"samples": 65}, {"level": 0.9}]
)
def test_a_configuration_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EscConfig(**wrong)
