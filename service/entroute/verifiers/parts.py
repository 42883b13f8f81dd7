"""What verifiers are built with."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from entroute.protocols import Run, Sandbox
from entroute.verifiers.reward_endpoint import RewardClient
from entroute.verifiers.symbolic import SymbolicEquality


@dataclass(frozen=True, slots=True)
class VerifierParts:
    """What verifiers are built with, one request at a time.

    Attributes:
        symbolic: Decides equality of formulas.
        run: The request they judge for; calls they make are reserved and charged there, with
            purpose `verify`.
        sandbox: Runs programs; None where the operator has switched none on.
        rewards: Reward models that the operator has configured, by name.
    """

    symbolic: SymbolicEquality
    run: Run
    sandbox: Sandbox | None = None
    rewards: Mapping[str, RewardClient] = field(default_factory=dict)
