"""The arms of the strategy table: every way to spend compute that a bank of samples can replay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Any

from entroute.confidence import tail_confidence
from entroute.evaluation.bank import Sample
from entroute.protocols import Strategy
from entroute.strategies.adaptive_consistency import AdaptiveConsistencyConfig
from entroute.strategies.best_of_n import BestOfNConfig
from entroute.strategies.cascade import CascadeConfig
from entroute.strategies.code_cluster import CodeClusterConfig
from entroute.strategies.cot_pot import CotPotConfig
from entroute.strategies.esc import EscConfig
from entroute.strategies.parts import StrategyParts
from entroute.strategies.program_first import ProgramFirstConfig
from entroute.strategies.reasc import ReascConfig, SignalProfile
from entroute.strategies.rejection import RejectionConfig
from entroute.strategies.self_consistency import SelfConsistencyConfig
from entroute.strategies.short_m_at_k import ShortMAtKConfig
from entroute.strategies.single import SingleConfig
from entroute.strategies.verify_then_escalate import VerifyThenEscalateConfig
from loadtest.tasks import Prompt

NUMBERS = frozenset({"gsm8k"})
CODE = frozenset({"humaneval", "mbpp"})
FEWEST = 20  # samples to fit a profile on
EVERYTHING = NUMBERS | CODE | {"p3"}


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to ask.

    Attributes:
        strategy: Key of the strategy that answers.
        model: What the client names.
        tasks: Tasks that it can serve.
        judged: Whether the client sends what it can judge by.
        verifier: The verifier that it sends otherwise, None for none.
    """

    strategy: str
    model: str = "auto"
    tasks: frozenset[str] = EVERYTHING
    judged: bool = False
    verifier: Mapping[str, Any] | None = None


ARMS: dict[str, Arm] = {
    "single small": Arm("single", "small"),
    "single large": Arm("single", "large"),
    "self_consistency 4": Arm("sc4"),
    "self_consistency 8": Arm("sc8"),
    "self_consistency 16": Arm("sc16", tasks=NUMBERS),
    "adaptive_consistency": Arm("adaptive_consistency", tasks=NUMBERS),
    "adaptive_consistency .90": Arm("adaptive90", tasks=NUMBERS),
    "esc": Arm("esc", tasks=NUMBERS),
    "reasc": Arm("reasc", tasks=NUMBERS),
    "reasc never up": Arm("reasc_down", tasks=NUMBERS),
    "cot_pot": Arm("cot_pot", tasks=NUMBERS),
    "program_first": Arm("program_first", tasks=NUMBERS),
    "verify_then_escalate": Arm("verify_then_escalate", tasks=CODE),
    "rejection": Arm("rejection", tasks=CODE, judged=True),
    # P3's predicate is the whole task: here alone the same test selects and grades.
    "rejection by the task": Arm("rejection", tasks=frozenset({"p3"}), judged=True),
    "code_cluster": Arm("code_cluster", tasks=CODE),
    "code_cluster codet": Arm("codet", tasks=CODE),
    "cascade": Arm("cascade"),
    "best_of_n 8 by likelihood": Arm("best_of_n", tasks=NUMBERS | CODE),
    "best_of_n 8 by a test": Arm("best_of_n", tasks=CODE, judged=True),
    "votes of 8 by likelihood": Arm("sc8", tasks=NUMBERS, verifier={"kind": "likelihood"}),
    "votes of 8 by self_certainty": Arm("sc8", tasks=NUMBERS, verifier={"kind": "self_certainty"}),
    "votes of 8 by confidence": Arm("sc8", tasks=NUMBERS, verifier={"kind": "confidence"}),
    "short_m_at_k 1 of 8": Arm("short1", tasks=NUMBERS),
    "short_m_at_k 3 of 8": Arm("short3", tasks=NUMBERS),
}


def strategies_of(
    parts: StrategyParts, profiles: Sequence[SignalProfile] = ()
) -> Mapping[str, Strategy]:
    """Return every strategy of the arms by key; 16 samples at most, of which the bank holds."""
    return {
        "single": SingleConfig().build(parts),
        "sc4": SelfConsistencyConfig(samples=4).build(parts),
        "sc8": SelfConsistencyConfig(samples=8).build(parts),
        "sc16": SelfConsistencyConfig(samples=16).build(parts),
        "adaptive_consistency": AdaptiveConsistencyConfig(samples=16).build(parts),
        "adaptive90": AdaptiveConsistencyConfig(samples=16, level=0.9).build(parts),
        "esc": EscConfig(samples=15).build(parts),
        "reasc": ReascConfig(samples=16, profiles=tuple(profiles)).build(parts),
        "reasc_down": ReascConfig(samples=16, give_up_after=0, profiles=tuple(profiles)).build(
            parts
        ),
        "cot_pot": CotPotConfig().build(parts),
        "program_first": ProgramFirstConfig().build(parts),
        "verify_then_escalate": VerifyThenEscalateConfig().build(parts),
        "rejection": RejectionConfig().build(parts),
        "code_cluster": CodeClusterConfig().build(parts),
        "codet": CodeClusterConfig(score="codet").build(parts),
        "cascade": CascadeConfig().build(parts),
        "best_of_n": BestOfNConfig(samples=8).build(parts),
        "short1": ShortMAtKConfig(k=8, m=1).build(parts),
        "short3": ShortMAtKConfig(k=8, m=3).build(parts),
    }


def profile_of(
    samples: Sequence[Sample], right: Mapping[tuple[str, str], bool], *, model: str, accuracy: float
) -> list[SignalProfile]:
    """Fit a model's signal profile on samples whose correctness is known.

    There is none on fewer than 20 samples, or on such that are all alike. The gate opens at the
    least confidence from which samples are right at least at `accuracy`, on at least 20 of them;
    it stays shut where there is none.

    Args:
        samples: One model's, at one prompt form.
        right: Whether a (prompt, text) is right.
        model: What the tier serves.
        accuracy: Share in [0, 1] that accepted samples must reach.
    """
    seen = [(tail_confidence(s.token_logprobs), right[s.prompt, s.text]) for s in samples]
    known = sorted(((c, ok) for c, ok in seen if c is not None), reverse=True)
    values = [value for value, _ in known]
    if len(known) < FEWEST or values[0] == values[-1]:
        return []
    gate: float | None = None
    hits = 0
    for count, (value, ok) in enumerate(known, start=1):
        hits += ok
        tied = value in values[count : count + 1]  # all of one confidence pass, or none
        if count >= FEWEST and not tied and hits / count >= accuracy:
            gate = value
    spread = pstdev(values)
    return [SignalProfile(model=model, mean=fmean(values), deviation=spread, accept_above=gate)]


def judged_by(prompt: Prompt, examples: Sequence[str]) -> dict[str, Any] | None:
    """Return the verifier that a client of this task would send, None where it has none."""
    if prompt.task == "p3":
        source = f"from typing import *\n{prompt.row['question']}"
        return {"kind": "program", "source": source}
    if prompt.task in CODE and examples:
        entry = str(prompt.row["entry_point"])
        return {"kind": "tests", "tests": list(examples), "entry_point": entry}
    return None
