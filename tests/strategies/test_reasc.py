from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.confidence import tail_confidence
from entroute.errors import DeadlineExceeded, WorkerFailed
from entroute.protocols import Run
from entroute.spending import Price
from entroute.strategies.adaptive_consistency import AdaptiveConsistencyConfig
from entroute.strategies.reasc import Reasc, ReascConfig, SignalProfile
from entroute.voting import plurality_settled
from tests.builders import a_budget, a_completion, a_request, a_run, a_tier, refused
from tests.fakes import FakeVerifier, strategy_parts
from tests.scripted import SURE, UNSURE, FakeBackend, Script, coin, fails, hangs, says, token

SURE_NATS = tail_confidence([coin(SURE)]) or 0.0
"""C_t of a sure token: its improbable alternative makes it high."""


def says_that(answer: object, **facts: Any) -> Script:
    return says("The answer ", f"is {answer}.", **facts)


def a_profile(**facts: Any) -> SignalProfile:
    given = {"model": "small-model", "mean": SURE_NATS, "deviation": 1.0} | facts
    return SignalProfile.model_validate(given)


def reasc(*profiles: SignalProfile, samples: int = 16) -> Reasc:
    return ReascConfig(samples=samples, profiles=profiles).build(strategy_parts())


def drawing(*scripts: Script, **facts: Any) -> tuple[FakeBackend, Run]:
    backend = FakeBackend(*scripts)
    return backend, a_run(a_tier("small", backend), **facts)


async def test_one_sure_sample_is_enough_where_the_gate_is_calibrated() -> None:
    backend, run = drawing(says_that(42))
    outcome = await reasc(a_profile(accept_above=SURE_NATS - 0.1)).run(run)
    assert (outcome.stop_reason, len(backend.calls)) == ("confident", 1)
    assert outcome.choices[0].content == "The answer is 42."
    assert [charge.purpose for charge in run.ledger.charges] == ["answer"]
    assert outcome.saved == {"undrawn": 2 * 15}


async def test_an_unsure_first_sample_counts_among_those_that_follow() -> None:
    backend, run = drawing(says_that(42, p=UNSURE), *[says_that(42)] * 3)
    outcome = await reasc(a_profile(accept_above=SURE_NATS - 0.1)).run(run)
    assert (outcome.stop_reason, len(backend.calls)) == ("settled", 4)
    assert len(outcome.candidates) == 4


async def test_a_sure_sample_without_an_answer_does_not_pass_the_gate() -> None:
    backend, run = drawing(says("Hm."), *[says_that(42)] * 8)
    outcome = await reasc(a_profile(accept_above=0.0)).run(run)
    assert outcome.stop_reason == "settled"
    assert len(backend.calls) > 1


async def test_a_model_without_a_profile_has_no_gate_and_asks_for_no_log_probabilities() -> None:
    backend, run = drawing(says_that(42))
    outcome = await reasc().run(run)
    assert (outcome.stop_reason, len(backend.calls)) == ("settled", 3)
    assert {call.top_logprobs for call in backend.calls} == {None}


async def test_votes_of_surer_samples_count_for_more() -> None:
    profile = a_profile(mean=SURE_NATS - 3.0)  # every sure sample is three deviations above
    backend, run = drawing(says_that(42))
    outcome = await reasc(profile).run(run)
    assert outcome.stop_reason == "settled"
    assert len(outcome.candidates) < 4
    assert backend.running == 0


async def test_a_surer_minority_can_win() -> None:
    scripts = [says_that(7, p=UNSURE), says_that(7, p=UNSURE), says_that(42), says_that(9)]
    _, run = drawing(*scripts)
    profile = a_profile(mean=SURE_NATS - 2.0)
    outcome = await reasc(profile, samples=4).run(run)
    assert outcome.choices[0].content == "The answer is 42."


async def test_what_is_no_longer_needed_is_cancelled() -> None:
    profile = a_profile(mean=SURE_NATS - 10.0)
    backend, run = drawing(says_that(42), says_that(42), hangs(after=1), hangs(after=1))
    outcome = await reasc(profile).run(run)
    assert (outcome.stop_reason, outcome.cancelled) == ("settled", 2)
    assert outcome.saved["cancelled"] >= 1
    purposes = [charge.purpose for charge in run.ledger.charges]
    assert purposes.count("discarded") == 2
    assert backend.running == 0


def pair(small: Sequence[Script], large: Script, **facts: Any) -> tuple[FakeBackend, Run]:
    backend = FakeBackend(*small)
    return backend, a_run(a_tier("small", backend), a_tier("large", large), **facts)


ALL_DIFFERENT = [says_that(1), says_that(2), says("Hm."), says_that(4)]


async def test_where_the_first_samples_all_differ_the_next_tier_answers() -> None:
    backend, run = pair(ALL_DIFFERENT, says_that(42))
    outcome = await reasc().run(run)
    assert (outcome.choices[0].content, outcome.tier) == ("The answer is 42.", "large")
    assert (outcome.stop_reason, len(backend.calls)) == ("escalated", 3)
    assert [(m.source, m.target, m.reason) for m in outcome.escalations] == [
        ("small", "large", "rejected")
    ]
    assert len(outcome.candidates) == len(outcome.verdicts) == 4
    purposes = [charge.purpose for charge in run.ledger.charges]
    assert purposes == ["sample", "sample", "sample", "answer"]


async def test_two_that_agree_are_voted_on() -> None:
    backend, run = pair([says_that(1), says_that(42)], says_that(7))
    outcome = await reasc().run(run)
    assert (outcome.stop_reason, outcome.tier) == ("settled", "small")
    assert len(backend.calls) > 3


@pytest.mark.parametrize("facts", [{"pinned": "small"}, {}])
async def test_it_votes_on_where_no_other_tier_may_answer(facts: dict[str, Any]) -> None:
    tiers = [a_tier("small", FakeBackend(*ALL_DIFFERENT))]
    if facts:
        tiers.append(a_tier("large", says_that(42)))
    outcome = await reasc(samples=4).run(a_run(*tiers, **facts))
    assert (outcome.stop_reason, outcome.tier, len(outcome.candidates)) == ("exhausted", "small", 4)


async def test_a_next_tier_that_fails_leaves_it_to_further_votes() -> None:
    backend, run = pair(ALL_DIFFERENT, fails(WorkerFailed("w", "answered 500")))
    outcome = await reasc().run(run)
    assert (outcome.stop_reason, outcome.tier) == ("settled", "small")
    assert outcome.choices[0].content == "The answer is 4."
    assert len(backend.calls) > 3
    assert run.trace.degraded == ["tier:large"]
    assert any("answered 500" in failure for failure in outcome.failures)


async def test_a_next_tier_that_is_too_dear_is_not_given_up_to() -> None:
    large = a_tier("large", says_that(7), price=Price(1e6, 1e6))
    run = a_run(
        a_tier("small", FakeBackend(*ALL_DIFFERENT)), large, budget=a_budget(max_cost_usd=1.0)
    )
    outcome = await reasc().run(run)
    assert (outcome.stop_reason, outcome.tier) == ("settled", "small")
    assert outcome.choices[0].content == "The answer is 4."
    assert (run.ledger.exhausted, outcome.failures) == (None, ())


async def test_time_that_ran_out_on_the_next_tier_begins_no_further_sample() -> None:
    backend, run = pair(ALL_DIFFERENT, fails(DeadlineExceeded("late")))
    outcome = await reasc().run(run)
    assert (outcome.stop_reason, outcome.tier, len(backend.calls)) == ("deadline", "small", 3)


async def test_a_budget_without_room_for_the_next_tier_leaves_the_vote_standing() -> None:
    _, run = pair(ALL_DIFFERENT, says_that(42), budget=a_budget(max_calls=3))
    outcome = await reasc().run(run)
    assert (outcome.stop_reason, outcome.tier) == ("budget", "small")


async def test_samples_that_the_budget_cut_off_are_no_reason_to_give_up() -> None:
    cut = says(*["thinking "] * 50, finish_reason="length")
    backend, run = pair([cut], says_that(42), budget=a_budget(max_generated_tokens=120))
    outcome = await reasc(samples=6).run(run)
    assert (outcome.stop_reason, outcome.tier, len(backend.calls)) == ("budget", "small", 6)


@pytest.mark.parametrize("gate", [None, SURE_NATS + 100.0])
async def test_one_sample_is_never_a_vote_however_sure_it_looks(gate: float | None) -> None:
    profile = a_profile(mean=SURE_NATS - 10.0, accept_above=gate)
    backend, run = drawing(says_that(42))
    outcome = await reasc(profile).run(run)
    assert outcome.stop_reason == "settled"
    assert len(outcome.candidates) == 2
    assert backend.running == 0


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"request": a_request(n=2)}, "n"),
        ({"request": a_request(temperature=0.0)}, "temperature"),
        ({"verifier": FakeVerifier({})}, "entroute.verifier"),
    ],
)
def test_what_it_cannot_honour_is_refused_by_name(facts: dict[str, Any], field: str) -> None:
    _, run = drawing(says_that(42), **facts)
    assert refused(reasc(), run) == field


def test_only_ranked_alternatives_count_and_nonsense_is_no_signal() -> None:
    ranked = (-0.1, -3.0, -4.0, -5.0, -6.0)
    plain = tail_confidence([token(-0.1, ranked)])
    assert plain == pytest.approx(sum(-p for p in ranked) / 5)
    assert tail_confidence([token(-0.1, (*ranked, -9.0))]) == plain
    assert tail_confidence([token(-0.1)]) is None
    assert tail_confidence([]) is None
    assert tail_confidence([{"token": "w", "logprob": 0.0, "top_logprobs": [{}]}]) is None


@given(st.lists(st.sampled_from([41, 42, 43, None]), min_size=16, max_size=16))
async def test_without_a_profile_it_stops_where_few_samples_hardly_can_change_the_winner(
    answers: list[int | None],
) -> None:
    scripts = [says("Hm.") if answer is None else says_that(answer) for answer in answers]
    backend, run = drawing(*scripts)
    outcome = await reasc().run(run)
    drawn = len(backend.calls)
    votes = Counter(answer for answer in answers[:drawn] if answer is not None)
    first, second = ([count for _, count in votes.most_common(2)] + [0, 0])[:2]
    if outcome.stop_reason == "settled":
        assert plurality_settled(first, second, drawn - first - second, 16 - drawn)
    else:
        assert drawn == 16


@given(st.lists(st.sampled_from([41, 42, 43, None]), min_size=16, max_size=16))
async def test_without_a_profile_it_never_draws_more_than_the_beta_rule(
    answers: list[int | None],
) -> None:
    scripts = [says("Hm.") if answer is None else says_that(answer) for answer in answers]
    soft, run = drawing(*scripts)
    await reasc().run(run)
    hard, other = drawing(*scripts)
    await AdaptiveConsistencyConfig().build(strategy_parts()).run(other)
    assert len(soft.calls) <= len(hard.calls)


def test_a_candidate_is_weighed_by_its_own_tokens_only() -> None:
    sure = a_completion(logprobs=(coin(SURE),) * 4)
    torn = a_completion(logprobs=(coin(SURE),) * 3 + (coin(UNSURE),))
    assert (tail_confidence(sure.logprobs) or 0) > (tail_confidence(torn.logprobs) or 0)
