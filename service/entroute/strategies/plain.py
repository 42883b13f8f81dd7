"""One plain answer, where a strategy has nothing to work with or has given up."""

from entroute.evidence import Outcome, StopReason
from entroute.protocols import Run, Verifier
from entroute.strategies.drawing import Manner, drawn, mark_chosen
from entroute.strategies.self_consistency import FixedRule


def one_sample(voter: Verifier) -> Manner:
    """Return the manner of drawing a single sample of the client's request."""
    return Manner(FixedRule(1), voter)


async def plain_outcome(
    run: Run, strategy: str, voter: Verifier, *, stop: StopReason = "exhausted"
) -> Outcome:
    """Answer with one sample of the decided tier, which nobody judges.

    Raises:
        CallFailed, WorkerRejected, BudgetExhausted, DeadlineExceeded: No tier can answer.
    """
    draw = await drawn(run, run.tier(run.decision.tier), one_sample(voter))
    (answer,) = draw.done
    mark_chosen(run, (draw,), answer)
    return Outcome(
        choices=(answer,),
        strategy=strategy,
        stop_reason="budget" if run.ledger.cut(answer) else stop,
        candidates=(answer,),
        escalations=draw.moves,
        failures=tuple(str(failure) for failure in draw.failures),
    )
