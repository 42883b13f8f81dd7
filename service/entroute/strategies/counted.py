"""What strategies share that draw until a count of votes settles."""

from entroute.evidence import Outcome, Refusal
from entroute.protocols import Run
from entroute.strategies.drawing import Manner, StoppingRule, drawn
from entroute.strategies.parts import StrategyParts
from entroute.strategies.refusals import refuse_choices, refuse_cold
from entroute.strategies.votes import refuse_judge, vote_outcome, voter_of


class CountedVote:
    """Draws samples by a stopping rule and returns the first one of the winning answer.

    Args:
        rule: When to stop.
        parts: Its voter gives each candidate its canonical answer; one without has no vote.
    """

    name: str

    def __init__(self, rule: StoppingRule, parts: StrategyParts) -> None:
        self._rule = rule
        self._voter = parts.voter

    def supports(self, run: Run) -> Refusal | None:
        """Refuse several choices, temperature 0 and weights that come after the vote."""
        return refuse_choices(run) or refuse_cold(run) or refuse_judge(run)

    async def run(self, run: Run) -> Outcome:
        """Draw in waves, vote, cancel what is not needed. See `Strategy.run`."""
        voter = voter_of(run, self._voter)
        draw = await drawn(run, run.tier(run.decision.tier), Manner(self._rule, voter))
        return vote_outcome(run, self.name, draw, draw.votes, voter.name)
