import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from entroute.errors import WorkerFailed
from entroute.protocols import Run
from entroute.strategies.adaptive_consistency import (
    AdaptiveConsistency,
    AdaptiveConsistencyConfig,
)
from entroute.uncertainty import beta_settled, leading_votes, lossless_settled, votes_needed
from tests.builders import a_budget, a_run, a_tier, settle
from tests.fakes import strategy_parts
from tests.scripted import FakeBackend, Script, fails, hangs, says

FAILED = WorkerFailed("w", "answered 500")

votes = st.lists(st.sampled_from([1, 1, 1, 2, 2, 3, None]), min_size=32, max_size=32)


def strategy(samples: int = 16, level: float = 0.95) -> AdaptiveConsistency:
    config = AdaptiveConsistencyConfig(samples=samples, level=level)
    return config.build(strategy_parts())


def voting(answers: Sequence[int | None], **facts: Any) -> tuple[FakeBackend, Run]:
    """Return a run whose samples give these answers and end in this order."""
    scripts = [says("I cannot say.") if a is None else says(f"It is {a}.") for a in answers]
    return drawing(*scripts, **facts)


def drawing(*scripts: Script, **facts: Any) -> tuple[FakeBackend, Run]:
    backend = FakeBackend(*scripts)
    facts.setdefault("budget", a_budget(max_calls=64))
    return backend, a_run(a_tier("small", backend), **facts)


async def test_four_samples_of_one_answer_are_enough() -> None:
    backend, run = voting([42] * 16)
    outcome = await strategy().run(run)
    assert outcome.choices[0].content == "It is 42."
    assert (outcome.strategy, outcome.stop_reason) == ("adaptive_consistency", "settled")
    assert len(backend.calls) == len(outcome.candidates) == 4
    assert (outcome.verifier, outcome.cancelled) == ("majority", 0)
    assert dict(outcome.saved) == {"undrawn": 12}


@pytest.mark.parametrize(
    ("disagreeing", "totals"),
    [([], [4]), ([1], [4, 7]), ([1, 5], [4, 7, 10]), ([1, 5, 8], [4, 7, 10, 12]),
     ([1, 5, 8, 11], [4, 7, 10, 12, 15])],
)  # fmt: skip
async def test_waves_draw_up_to_the_boundary(disagreeing: list[int], totals: list[int]) -> None:
    answers = [2 if i in disagreeing else 1 for i in range(16)]
    gates = [asyncio.Event() for _ in answers]
    scripts = [says(f"It is {a}.", gate=g) for a, g in zip(answers, gates, strict=True)]
    backend, run = drawing(*scripts)
    task = asyncio.create_task(strategy().run(run))
    seen = []
    while not task.done():
        await settle()
        seen.append(len(backend.calls))
        for gate in gates[: len(backend.calls)]:
            gate.set()
        await settle()
    assert sorted(set(seen)) == totals
    assert (await task).stop_reason == "settled"


def replayed(answers: Sequence[int | None], most: int, level: float) -> tuple[int, int]:
    """Look after every sample; return how many were looked at and how many were drawn."""
    drawn = 0
    for seen in range(most + 1):
        leader, runner_up = leading_votes(answers[:seen])
        if beta_settled(leader, runner_up, level) or lossless_settled(
            leader, runner_up, most - seen
        ):
            return seen, drawn
        if seen == drawn:
            drawn = min(most, seen + votes_needed(runner_up, level) - leader)
    return most, most


@given(votes, st.integers(3, 32), st.sampled_from([0.6, 0.8, 0.9, 0.95, 0.99]))
async def test_it_stops_where_a_look_after_every_sample_would(
    answers: list[int | None], most: int, level: float
) -> None:
    looked_at, drawn = replayed(answers, most, level)
    backend, run = voting(answers)
    outcome = await strategy(most, level).run(run)
    assert len(outcome.candidates) == looked_at
    assert len(backend.calls) == drawn <= most
    unfinished = sum(charge.usage.partial_calls for charge in run.ledger.charges)
    assert outcome.cancelled == unfinished <= drawn - looked_at
    counts = {a: answers[:looked_at].count(a) for a in answers[:looked_at] if a is not None}
    best = max(counts.values(), default=0)
    winners = [f"It is {a}." for a, count in counts.items() if count == best]
    assert outcome.choices[0].content in (winners or ["I cannot say."])


@given(st.lists(st.sampled_from([1, 2, None, "failed"]), min_size=1, max_size=40))
async def test_failures_count_as_samples_drawn(answers: list[Any]) -> None:
    scripts = [fails(FAILED) if a == "failed" else says(f"It is {a}.") for a in answers]
    backend, run = drawing(says("It is 1."), *scripts)
    outcome = await strategy(12).run(run)
    assert len(backend.calls) <= 12
    unneeded = len(backend.calls) - len(outcome.candidates) - len(outcome.failures)
    assert 0 <= outcome.cancelled <= unneeded


async def test_a_vote_that_never_settles_ends_at_the_most() -> None:
    backend, run = voting(list(range(16)))
    outcome = await strategy(5).run(run)
    assert (len(backend.calls), outcome.stop_reason) == (5, "exhausted")
    assert outcome.choices[0].content == "It is 0."


async def test_what_can_no_longer_change_the_winner_is_not_drawn() -> None:
    backend, run = voting([1, 1, 2, 1, 1])
    outcome = await strategy(5).run(run)
    assert len(backend.calls) == len(outcome.candidates) == 4
    assert outcome.stop_reason == "settled"


async def test_a_budget_that_holds_no_further_wave_ends_it() -> None:
    backend, run = voting([1, 1, 2, 1, 1], budget=a_budget(max_calls=4))
    outcome = await strategy().run(run)
    assert (len(backend.calls), outcome.stop_reason) == (4, "budget")
    assert run.ledger.exhausted == "max_calls"


async def test_samples_needed_by_nobody_are_cancelled() -> None:
    backend, run = drawing(*(says(f"It is {a}.") for a in (1, 1, 1)), hangs(after=1))
    outcome = await strategy(4, level=0.9).run(run)
    assert outcome.choices[0].content == "It is 1."
    assert (len(outcome.candidates), outcome.stop_reason) == (3, "settled")
    assert backend.running == 0


@pytest.mark.parametrize(
    "wrong", [{"samples": 2}, {"samples": 65}, {"level": 0.4}, {"level": 1.0}, {"window": 5}]
)
def test_a_configuration_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AdaptiveConsistencyConfig(**wrong)
