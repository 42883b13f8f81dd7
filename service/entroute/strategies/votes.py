"""What strategies that vote share: who votes, who judges, and the outcome of a vote."""

from collections.abc import Sequence

from entroute.evidence import Outcome, Refusal, StopReason, Verdict
from entroute.protocols import Run, Verifier
from entroute.strategies.drawing import Draw, mark_chosen
from entroute.strategies.saving import saved_tokens
from entroute.types import Completion

VOTER = "majority"
"""The verifier that reads canonical answers; in a request it takes the built-in voter's place."""


def voter_of(run: Run, voter: Verifier) -> Verifier:
    """Return who reads answers: the request's `majority` verifier, else the built-in one."""
    given = run.verifier
    return given if given is not None and given.name == VOTER else voter


def judge_of(run: Run) -> Verifier | None:
    """Return the request's verifier where it weighs votes, None where it only reads them."""
    given = run.verifier
    return None if given is None or given.name == VOTER else given


def refuse_judge(run: Run) -> Refusal | None:
    """Refuse a verifier other than `majority`: its weights would come after the votes settled."""
    if judge_of(run) is None:
        return None
    return Refusal(
        "entroute.verifier",
        f"it stops on counted votes and takes no verifier but '{VOTER}'; "
        "'self_consistency' weighs votes by any",
    )


def stop_of(run: Run, draws: Sequence[Draw], stop: StopReason) -> StopReason:
    """Return why a request ended, and note the limit: no whole vote is what a limit cut into."""
    limits = {draw.unjudged for draw in draws} - {None}
    if stop == "deadline" or (stop != "verified" and "deadline" in limits):
        run.ledger.exhausted = "deadline"
        return "deadline"
    if stop == "verified" or not (limits or any(draw.cut for draw in draws)):
        return stop
    run.ledger.exhausted = run.ledger.exhausted or next(iter(limits), "max_generated_tokens")
    return "budget"


def vote_outcome(
    run: Run, strategy: str, draw: Draw, verdicts: Sequence[Verdict], verifier: str
) -> Outcome:
    """Return the outcome of a vote: the rule's own answer, else the best score, else the first."""
    done = draw.done
    named = [i for i, vote in enumerate(draw.votes) if vote.answer == draw.answer is not None]
    chosen = min(named, default=0)
    if not named:
        chosen = max(range(len(done)), key=lambda i: (verdicts[i].score, -i))
    return draw_outcome(run, strategy, draw, verdicts, verifier, chosen=done[chosen])


def draw_outcome(  # noqa: PLR0913 - each is a fact of its own
    run: Run,
    strategy: str,
    draw: Draw,
    verdicts: Sequence[Verdict],
    verifier: str,
    *,
    chosen: Completion,
) -> Outcome:
    """Return the outcome of one tier's samples, of which one is the answer."""
    mark_chosen(run, (draw,), chosen)
    stop = stop_of(run, (draw,), draw.stop)
    return Outcome(
        choices=(chosen,),
        strategy=strategy,
        stop_reason=stop,
        candidates=tuple(draw.done),
        verdicts=tuple(verdicts),
        verifier=verifier,
        escalations=draw.moves,
        cancelled=draw.cancelled,
        failures=tuple(str(failure) for failure in draw.failures),
        saved=saved_tokens(run, draw),
    )


def weighted(votes: Sequence[Verdict], judged: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Return votes whose score is their answer's share of all weight.

    A candidate's weight is its verifier's score. Where no answer has any, the plain votes stand.
    """
    weights = answer_weights(votes, judged)
    total = sum(weights.values())
    if not total:
        return tuple(votes)
    return tuple(
        Verdict(weights.get(v.answer or "", 0.0) / total, j.reason, j.abstained, v.answer)
        for v, j in zip(votes, judged, strict=True)
    )


def answer_weights(votes: Sequence[Verdict], judged: Sequence[Verdict]) -> dict[str, float]:
    """Return the sum of scores of each answer that a verifier judged, 0 or more."""
    weights: dict[str, float] = {}
    for vote, verdict in zip(votes, judged, strict=True):
        if vote.answer is not None and not verdict.abstained:
            weights[vote.answer] = weights.get(vote.answer, 0.0) + verdict.score
    return weights
