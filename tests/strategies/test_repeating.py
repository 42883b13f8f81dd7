"""Answers that broke off before anybody saw them are made again."""

from collections.abc import Callable

import pytest

from entroute.errors import BudgetExhausted, WorkerError, WorkerFailed
from entroute.evidence import Outcome
from entroute.protocols import OutcomeStream, Run
from entroute.strategies.cascade import CascadeConfig
from entroute.strategies.repeating import MOST_REPEATS, repeated
from entroute.strategies.self_consistency import SelfConsistencyConfig
from entroute.strategies.single import Single
from entroute.types import Delta
from tests.builders import a_budget, a_request, a_run, a_tier, read_outcome
from tests.fakes import strategy_parts
from tests.scripted import FakeBackend, FakeClock, fails, says


def broken_off() -> WorkerFailed:
    error = WorkerFailed("w", "broke off its answer")
    error.broke_off_on = "small"
    return error


class Leave:
    """Grants so many repetitions; notes the tiers that they were asked for."""

    def __init__(self, grants: int = 9) -> None:
        self.asked: list[str] = []
        self._grants = grants

    def __call__(self, tier: str) -> bool:
        """Whether one more is granted."""
        self.asked.append(tier)
        return len(self.asked) <= self._grants


def plain(run: Run) -> Callable[[], OutcomeStream]:
    async def made() -> OutcomeStream:
        yield await Single().run(run)

    return made


@pytest.mark.parametrize("deaths", [1, MOST_REPEATS])
async def test_a_plain_answer_survives_its_worker(deaths: int) -> None:
    scripts = [fails(broken_off(), after=2)] * deaths
    run = a_run(a_tier("small", FakeBackend(*scripts, says("a", "b"))))
    leave = Leave()
    _, outcome = await read_outcome(repeated(run, plain(run), leave))
    assert outcome.choices[0].content == "ab"
    purposes = [charge.purpose for charge in run.ledger.charges]
    assert purposes == ["discarded"] * deaths + ["answer"]
    assert leave.asked == ["small"] * deaths


async def test_an_answer_is_not_made_again_for_ever() -> None:
    backend = FakeBackend(fails(broken_off(), after=1))
    run = a_run(a_tier("small", backend))
    with pytest.raises(WorkerError):
        await read_outcome(repeated(run, plain(run), Leave()))
    assert len(backend.calls) == 1 + MOST_REPEATS


async def test_an_empty_retry_budget_lets_the_error_stand() -> None:
    backend = FakeBackend(fails(broken_off(), after=1))
    run = a_run(a_tier("small", backend))
    with pytest.raises(WorkerError):
        await read_outcome(repeated(run, plain(run), Leave(0)))
    assert len(backend.calls) == 1


async def test_released_text_is_never_made_again() -> None:
    backend = FakeBackend(fails(broken_off(), after=2), says("x"))
    run = a_run(a_tier("small", backend))
    pieces: list[Delta | Outcome] = []

    async def read() -> None:
        async for piece in repeated(run, lambda: Single().stream(run), Leave()):
            pieces.append(piece)  # noqa: PERF401 - the error comes in between

    with pytest.raises(WorkerError):
        await read()
    assert len(pieces) == 2
    assert len(backend.calls) == 1


async def test_what_was_held_back_is_made_again_for_a_stream() -> None:
    cascade = CascadeConfig(window=8).build(strategy_parts())
    backend = FakeBackend(fails(broken_off(), after=3), says("a", "b"))
    run = a_run(a_tier("small", backend), strategy="cascade")
    text, outcome = await read_outcome(repeated(run, lambda: cascade.stream(run), Leave()))
    assert "".join(text) == outcome.choices[0].content == "ab"
    assert [charge.purpose for charge in run.ledger.charges] == ["discarded", "answer"]


async def test_samples_that_all_broke_off_are_drawn_again() -> None:
    voting = SelfConsistencyConfig(samples=3).build(strategy_parts())
    scripts = [fails(broken_off(), after=1)] * 3
    run = a_run(
        a_tier("small", FakeBackend(*scripts, says("The answer is 42."))),
        strategy="self_consistency",
    )

    async def made() -> OutcomeStream:
        yield await voting.run(run)

    _, outcome = await read_outcome(repeated(run, made, Leave()))
    assert outcome.choices[0].content == "The answer is 42."
    purposes = [charge.purpose for charge in run.ledger.charges]
    assert purposes[:3] == ["discarded"] * 3


async def test_an_error_before_any_piece_was_tried_again_already() -> None:
    backend = FakeBackend(fails(WorkerFailed("w", "answered 500")))
    run = a_run(a_tier("small", backend))
    leave = Leave()
    with pytest.raises(WorkerFailed):
        await read_outcome(repeated(run, plain(run), leave))
    assert len(backend.calls) == 1
    assert leave.asked == []


async def test_without_room_for_a_second_answer_the_first_error_stands() -> None:
    run = a_run(
        a_tier("small", FakeBackend(fails(broken_off(), after=1))), budget=a_budget(max_calls=1)
    )
    with pytest.raises(WorkerFailed) as caught:
        await read_outcome(repeated(run, plain(run), Leave()))
    assert isinstance(caught.value.__cause__, BudgetExhausted)


async def test_nothing_is_begun_again_after_the_deadline() -> None:
    clock = FakeClock(100.0)
    backend = FakeBackend(fails(broken_off(), after=2), says("a"), clock=clock)
    run = a_run(a_tier("small", backend), clock=clock, budget=a_budget(deadline=101.5))
    leave = Leave()
    with pytest.raises(WorkerFailed):
        await read_outcome(repeated(run, plain(run), leave))
    assert len(backend.calls) == 1
    assert leave.asked == []


async def test_what_was_reserved_and_never_sent_makes_room_again() -> None:
    backend = FakeBackend(fails(broken_off(), after=1), says("a"))
    run = a_run(
        a_tier("small", backend),
        request=a_request(max_tokens=10),
        budget=a_budget(max_generated_tokens=21),
    )
    run.reserve(run.tiers[0], "sample")
    _, outcome = await read_outcome(repeated(run, plain(run), Leave()))
    assert outcome.choices[0].content == "a"
    assert run.ledger.calls_left == 14
