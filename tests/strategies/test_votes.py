from typing import Any

import pytest

from entroute.errors import WorkerFailed
from entroute.evidence import Escalation, StopReason, Verdict
from entroute.protocols import Run
from entroute.strategies.adaptive_consistency import AdaptiveConsistencyConfig
from entroute.strategies.drawing import Draw
from entroute.strategies.esc import EscConfig
from entroute.strategies.self_consistency import SelfConsistencyConfig
from entroute.strategies.votes import judge_of, refuse_judge, vote_outcome, voter_of
from entroute.verifiers.majority import MajorityConfig
from tests.builders import a_budget, a_request, a_run, a_tier
from tests.fakes import FakeVerifier, strategy_parts, verifier_parts, voter
from tests.scripted import FakeBackend, says


def calling(arguments: str) -> dict[str, Any]:
    function = {"name": "find", "arguments": arguments}
    return {"tool_calls": [{"id": "x", "type": "function", "function": function}]}


async def drawn(*answers: str, finish_reason: str = "stop", **facts: Any) -> tuple[Run, Draw]:
    """Return a run and a draw of these finished samples, with votes that name them."""
    scripts = [says(answer, finish_reason=finish_reason) for answer in answers]
    run = a_run(a_tier("small", FakeBackend(*scripts)), **facts)
    draw = Draw(run.tiers[0], len(answers))
    for _ in answers:
        call = run.reserve(draw.tier, "sample")
        draw.calls.append(call)
        draw.done.append(await draw.tier.backend.complete(call))
    draw.votes = tuple(Verdict(0.5, answer=answer) for answer in answers)
    return run, draw


# --- who votes and who judges ----------------------------------------------------------------


def test_a_majority_verifier_takes_the_voters_place_and_judges_nothing() -> None:
    built_in, given = voter(), MajorityConfig(ignore=("at",)).build(verifier_parts())
    run = a_run(a_tier("small"), verifier=given)
    assert voter_of(run, built_in) is given
    assert judge_of(run) is None
    assert refuse_judge(run) is None


def test_any_other_verifier_judges_and_leaves_the_voter_in_place() -> None:
    built_in, given = voter(), FakeVerifier({})
    run = a_run(a_tier("small"), verifier=given)
    assert voter_of(run, built_in) is built_in
    assert judge_of(run) is given
    refusal = refuse_judge(run)
    assert refusal is not None
    assert refusal.param == "entroute.verifier"
    assert "self_consistency" in refusal.reason


def test_without_a_verifier_the_built_in_voter_votes() -> None:
    built_in, run = voter(), a_run(a_tier("small"))
    assert voter_of(run, built_in) is built_in
    assert judge_of(run) is None
    assert refuse_judge(run) is None


@pytest.mark.parametrize("config", [AdaptiveConsistencyConfig, EscConfig, SelfConsistencyConfig])
async def test_tool_calls_vote_by_the_requests_own_majority(config: Any) -> None:
    given = MajorityConfig(ignore=("at",)).build(verifier_parts())
    arguments = [f'{{"q": {q}, "at": {at}}}' for at, q in enumerate([1, 1, 1, 1, 1, 1, 2, 2])]
    scripts = [says("", extra=calling(raw)) for raw in arguments]
    request = a_request(extra={"tools": [{}]})
    run = a_run(a_tier("small", FakeBackend(*scripts)), request=request, verifier=given)
    made = config(samples=8).build(strategy_parts())
    assert made.supports(run) is None
    outcome = await made.run(run)
    assert outcome.stop_reason == "settled"
    assert '"q": 1' in outcome.choices[0].tool_calls[0]["function"]["arguments"]
    assert {verdict.answer for verdict in outcome.verdicts} == {'[["find","json",{"q":1}]]'}


# --- the outcome of a vote -------------------------------------------------------------------


async def test_the_best_score_is_chosen_and_of_equals_the_first() -> None:
    run, draw = await drawn("a", "b", "c")
    verdicts = [Verdict(score) for score in (0.2, 0.6, 0.6)]
    outcome = vote_outcome(run, "s", draw, verdicts, "v")
    assert outcome.choices[0].content == "b"
    assert (outcome.strategy, outcome.verifier) == ("s", "v")
    assert outcome.candidates == tuple(draw.done)
    assert outcome.verdicts == tuple(verdicts)
    assert [charge.purpose for charge in run.ledger.charges] == ["sample", "answer", "sample"]


async def test_the_rules_own_answer_goes_before_the_best_score() -> None:
    run, draw = await drawn("a", "b", "c")
    draw.answer = "c"
    verdicts = [Verdict(score) for score in (0.9, 0.6, 0.1)]
    assert vote_outcome(run, "s", draw, verdicts, "v").choices[0].content == "c"


async def test_an_answer_that_nobody_gave_leaves_the_best_score() -> None:
    run, draw = await drawn("a", "b")
    draw.answer = "z"
    verdicts = [Verdict(0.1), Verdict(0.2)]
    assert vote_outcome(run, "s", draw, verdicts, "v").choices[0].content == "b"


@pytest.mark.parametrize("stop", ["settled", "budget", "exhausted", "deadline"])
async def test_the_reason_to_stop_is_the_draws(stop: StopReason) -> None:
    run, draw = await drawn("a")
    draw.stop = stop
    assert vote_outcome(run, "s", draw, draw.votes, "v").stop_reason == stop
    assert (run.ledger.exhausted == "deadline") == (stop == "deadline")


async def test_an_answer_cut_at_the_budgets_cap_says_so() -> None:
    budget = a_budget(max_generated_tokens=1)
    run, draw = await drawn("a", finish_reason="length", budget=budget)
    draw.stop = "settled"
    assert vote_outcome(run, "s", draw, draw.votes, "v").stop_reason == "budget"


async def test_failures_moves_and_cancelled_calls_are_told() -> None:
    run, draw = await drawn("a", "b")
    draw.failures = [WorkerFailed("w", "answered 500")]
    draw.moves = (Escalation("tiny", "small", "unavailable"),)
    draw.cancelled, draw.stop, draw.most = 2, "settled", 6
    outcome = vote_outcome(run, "s", draw, draw.votes, "v")
    assert "answered 500" in outcome.failures[0]
    assert outcome.escalations == draw.moves
    assert (outcome.cancelled, dict(outcome.saved)) == (2, {"undrawn": 4})
