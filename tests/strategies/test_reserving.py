"""Waves that a probe begins, that are judged by calls, or that the budget holds only later."""

from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.calls import Head
from entroute.errors import BudgetExhausted, CallFailed
from entroute.evidence import Verdict
from entroute.protocols import Run, Strategy
from entroute.spending import Price
from entroute.strategies.adaptive_consistency import AdaptiveConsistencyConfig
from entroute.strategies.best_of_n import BestOfNConfig
from entroute.strategies.drawing import Manner, drawn
from entroute.strategies.esc import EscConfig
from entroute.strategies.rejection import RejectionConfig
from entroute.strategies.self_consistency import SelfConsistencyConfig
from entroute.strategies.self_refine import SelfRefineConfig
from entroute.types import ChatRequest, Completion
from entroute.verifiers.judge import Judge
from tests.builders import a_budget, a_run, a_tier
from tests.fakes import FakeVerifier, strategy_parts, voter
from tests.scripted import FakeBackend, FakeClock, Script, fails, says
from tests.strategies.waves import FAILED, Waves, all_of, at, drawing, says_that


async def probed(run: Run) -> Run:
    """Begin a probe with all that is left, as the estimator does."""
    call = run.reserve(run.tiers[0], "probe")
    rest = run.tiers[0].backend.stream(call)
    run.head = Head(run.tiers[0].name, call, [await anext(rest)], rest)
    return run


# --- a probe is one of the samples ------------------------------------------------------------


@pytest.mark.parametrize("context", [300, 600, 6000])
@pytest.mark.parametrize(
    "config",
    [
        SelfConsistencyConfig(samples=5),
        BestOfNConfig(samples=5),
        AdaptiveConsistencyConfig(samples=5),
        EscConfig(samples=10, window=5),
        SelfRefineConfig(chains=3, rounds=2),
    ],
)
async def test_a_probe_that_reserved_all_tokens_leaves_the_wave_its_shares(
    config: SelfConsistencyConfig, context: int
) -> None:
    backend = FakeBackend(*map(says_that, range(12)))
    budget = a_budget(max_generated_tokens=600)
    run = await probed(a_run(a_tier("small", backend, context_length=context), budget=budget))
    outcome = await config.build(strategy_parts()).run(run)
    assert len(outcome.candidates) >= 5
    assert outcome.stop_reason == "exhausted"
    assert run.ledger.exhausted is None


async def test_a_probe_is_cut_at_its_share_and_says_so() -> None:
    long = says("a ", *["b "] * 40, extra={})
    backend, run = drawing(long, says_that(1), budget=a_budget(max_generated_tokens=30))
    draw = await drawn(await probed(run), at(run), all_of(3))
    assert [call.max_tokens for call in draw.calls] == [10, 10, 10]
    (cut,) = [sample for sample in draw.done if sample.call_id in draw.cut]
    assert (cut.content, cut.finish_reason) == ("a " + "b " * 9, "length")
    assert (cut.usage.completion_tokens, cut.tier, cut.call_id) == (10, "small", 0)
    assert backend.cancelled == [0]
    assert draw.failures == []


@given(
    st.lists(
        st.sampled_from([says(*"abcdefgh"), says("1"), fails(FAILED), fails(FAILED, after=1)]),
        min_size=1, max_size=12,
    ),
    st.integers(1, 8),
    st.integers(1, 30),
    st.integers(1, 8),
    st.none() | st.floats(1e-4, 4e-3),
    st.booleans(),
)  # fmt: skip
async def test_a_shared_probe_exceeds_no_budget(  # noqa: PLR0917
    scripts: list[Script],
    most: int,
    tokens: int,
    calls: int,
    dollars: float | None,
    revised: bool,  # noqa: FBT001
) -> None:
    budget = a_budget(max_generated_tokens=tokens, max_calls=calls, max_cost_usd=dollars)
    backend = FakeBackend(*scripts)
    run = a_run(a_tier("small", backend, price=Price(1.0, 200.0)), budget=budget)
    with suppress(CallFailed, BudgetExhausted):
        run = await probed(run)
        if revised:
            await SelfRefineConfig(chains=most, rounds=2).build(strategy_parts()).run(run)
        else:
            draw = await drawn(run, at(run), Manner(Waves(most, [2, 1, 3]), voter()))
            assert len(draw.votes) == len(draw.done) >= 1
    spent = [charge.usage for charge in run.ledger.charges]
    assert sum(usage.completion_tokens for usage in spent) <= tokens
    assert len(spent) <= calls
    assert sum(charge.cost_usd for charge in run.ledger.charges) <= (dollars or 1) + 1e-12
    assert backend.running == 0


# --- later waves ------------------------------------------------------------------------------


async def test_what_a_later_wave_could_draw_after_all_is_no_cut() -> None:
    _, run = drawing(says(), budget=a_budget(max_generated_tokens=2))
    draw = await drawn(run, at(run), Manner(Waves(3, [3, 1]), voter()))
    assert len(draw.done) == 3
    assert (draw.stop, run.ledger.exhausted) == ("exhausted", None)


@pytest.mark.parametrize(
    ("strategy", "deadline"),
    [
        (AdaptiveConsistencyConfig(samples=8).build(strategy_parts()), 112.0),
        (SelfRefineConfig(chains=1, rounds=3).build(strategy_parts()), 103.0),
    ],
)
async def test_a_deadline_between_waves_is_called_one(strategy: Strategy, deadline: float) -> None:
    clock = FakeClock()
    backend = FakeBackend(*(says("It ", "is ", f"{i}.") for i in (1, 2, 1, 2, 3)), clock=clock)
    run = a_run(a_tier("small", backend), clock=clock, budget=a_budget(deadline=deadline))
    outcome = await strategy.run(run)
    assert (outcome.stop_reason, run.ledger.exhausted) == ("deadline", "deadline")
    assert outcome.choices[0].content == "It is 1."


# --- judges cost calls ------------------------------------------------------------------------


def judged(calls: int, *answers: object) -> Run:
    small = a_tier("small", FakeBackend(*map(says_that, answers)))
    run = a_run(
        small, a_tier("large", says("Score: 5")), budget=a_budget(max_calls=calls), pinned="small"
    )
    run.verifier = Judge(run, run.tiers[1], "Is it good?", 10)
    return run


@pytest.mark.parametrize(("calls", "samples"), [(1, 1), (2, 1), (4, 2), (7, 3), (8, 4)])
@pytest.mark.parametrize(
    "config",
    [
        BestOfNConfig(samples=4),
        SelfConsistencyConfig(samples=4),
        RejectionConfig(samples=4, waves=(4,)),
        SelfRefineConfig(chains=2, rounds=2),
    ],
)
async def test_every_sample_is_drawn_with_the_call_that_judges_it(
    config: BestOfNConfig, calls: int, samples: int
) -> None:
    run = judged(calls, 1, 2, 3, 4)
    outcome = await config.build(strategy_parts()).run(run)
    assert len(outcome.candidates) == samples
    verify = [c for c in run.ledger.charges if c.purpose == "verify"]
    assert len(verify) == min(samples, calls - samples)
    assert (outcome.stop_reason == "budget") == (samples < 4)
    assert run.ledger.exhausted == ("max_calls" if samples < 4 else None)


async def test_a_climb_keeps_a_sample_and_its_judging_for_the_next_tier() -> None:
    small, large = FakeBackend(*map(says_that, range(9))), FakeBackend(says("Score: 1"))
    run = a_run(a_tier("small", small), a_tier("large", large), budget=a_budget(max_calls=9))
    run.verifier = Judge(run, run.tiers[1], "Is it good?", 10)
    outcome = await RejectionConfig(samples=8).build(strategy_parts()).run(run)
    assert [c.tier for c in outcome.candidates] == ["small"] * 3 + ["large"]
    assert not any(verdict.abstained for verdict in outcome.verdicts)
    assert outcome.stop_reason == "budget"


class Refused(FakeVerifier):
    """Wants a call that the budget does not hold, for all but the first candidate."""

    run: Run

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        return tuple([self._verdict(candidate) for candidate in candidates])

    def _verdict(self, candidate: Completion) -> Verdict:
        if candidate.content in self._scores:
            return Verdict(self._scores[candidate.content])
        try:
            self.run.reserve(self.run.tiers[0], "verify", share=1000)
        except BudgetExhausted:
            return Verdict(0.0, "no call", abstained=True)
        raise AssertionError("the budget holds no 1000 calls")


@pytest.mark.parametrize(
    "config",
    [
        BestOfNConfig(samples=3),
        SelfConsistencyConfig(samples=3),
        RejectionConfig(samples=3),
        SelfRefineConfig(rounds=3),
    ],
)
@pytest.mark.parametrize("scores", [{}, {"The answer is 1.": 0.5}])
async def test_samples_that_the_budget_left_unjudged_are_no_whole_answer(
    config: BestOfNConfig, scores: dict[str, float]
) -> None:
    verifier = Refused(scores)
    _, run = drawing(*map(says_that, (1, 2, 3)), verifier=verifier)
    verifier.run = run
    outcome = await config.build(strategy_parts()).run(run)
    assert (outcome.stop_reason, run.ledger.exhausted) == ("budget", "max_calls")


async def test_what_was_verified_is_whatever_else_was_short() -> None:
    verifier = Refused({"The answer is 1.": 1.0})
    cut = says("The answer ", "is 1.", "x", finish_reason="length")
    _, run = drawing(cut, verifier=verifier, budget=a_budget(max_generated_tokens=8))
    verifier.run = run
    outcome = await BestOfNConfig(samples=4).build(strategy_parts()).run(run)
    assert run.ledger.cut(outcome.choices[0])
    assert outcome.stop_reason == "verified"


# --- what the cap cut -------------------------------------------------------------------------


async def test_a_vote_in_which_samples_were_cut_off_is_no_whole_one() -> None:
    long = says(*["thinking "] * 50, finish_reason="length")
    _, run = drawing(long, long, says_that(3), budget=a_budget(max_generated_tokens=60))
    outcome = await SelfConsistencyConfig(samples=3).build(strategy_parts()).run(run)
    assert outcome.choices[0].content == "The answer is 3."
    assert outcome.stop_reason == "budget"
