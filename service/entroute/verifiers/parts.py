"""What verifiers are built with."""

from dataclasses import dataclass

from entroute.protocols import Run, Sandbox
from entroute.verifiers.symbolic import SymbolicEquality


@dataclass(frozen=True, slots=True)
class VerifierParts:
    """What verifiers are built with, one request at a time.

    Attributes:
        symbolic: Decides equality of formulas.
        run: The request they judge for; calls they make are reserved and charged there, with
            purpose `verify`.
        sandbox: Runs programs; None where the operator has switched none on.
    """

    symbolic: SymbolicEquality
    run: Run
    sandbox: Sandbox | None = None
