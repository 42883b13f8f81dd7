"""What strategies are built with."""

from dataclasses import dataclass

from entroute.protocols import Sandbox, Verifier


@dataclass(frozen=True, slots=True)
class StrategyParts:
    """What strategies are built with.

    Attributes:
        voter: Gives each candidate its canonical answer and its share of the votes.
        sandbox: Runs programs; None where the operator has switched none on.
    """

    voter: Verifier
    sandbox: Sandbox | None = None
