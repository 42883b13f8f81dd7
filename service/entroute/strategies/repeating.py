"""An answer that is made again from its beginning, where a worker broke it off unseen."""

from collections.abc import Callable
from contextlib import aclosing

from entroute.errors import BudgetExhausted, WorkerError
from entroute.protocols import OutcomeStream, Run

MOST_REPEATS = 2
"""How often one request is answered anew; pools try again by themselves before a first piece."""


async def repeated(
    run: Run, begin: Callable[[], OutcomeStream], may_repeat: Callable[[str], bool]
) -> OutcomeStream:
    """Release an answer, begun again where a worker died in the middle and nobody saw any of it.

    So whoever asked for no stream, or still waits for the first of it, survives a worker's death
    however the strategy asks its workers. What was made in vain is charged as discarded.

    Args:
        run: The request.
        begin: Begins the answer.
        may_repeat: Whether a tier's retry budget holds one more.

    Raises:
        CallFailed, WorkerRejected, BudgetExhausted, DeadlineExceeded: As the strategy; where the
            budget of the request holds no second answer, what the first one died of.
    """
    failure: WorkerError | None = None
    for left in range(MOST_REPEATS, -1, -1):
        released = False
        try:
            async with aclosing(begin()) as items:
                async for item in items:
                    released = True
                    yield item
        except WorkerError as error:
            if released or not left or not _unseen(run, error, may_repeat):
                raise
            failure = error
        except BudgetExhausted as error:
            if released or failure is None:
                raise
            raise failure from error
        else:
            return
        run.ledger.discard()


def _unseen(run: Run, error: WorkerError, may_repeat: Callable[[str], bool]) -> bool:
    """Whether an answer had begun, and may be begun again."""
    tier = error.broke_off_on
    return bool(tier) and run.clock() < run.ledger.budget.deadline and may_repeat(tier)
