"""`verify_then_escalate`: the prompt's own examples judge code; failure goes up a tier."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.evidence import Outcome, Refusal
from entroute.protocols import Run, Verifier
from entroute.strategies.climbing import AcceptRule, best_of, climb_outcome, climbed
from entroute.strategies.drawing import Manner
from entroute.strategies.examples import examples_in
from entroute.strategies.judging import OneByOne
from entroute.strategies.parts import StrategyParts
from entroute.strategies.plain import plain_outcome
from entroute.strategies.programs import last_prompt
from entroute.strategies.refusals import need_sandbox, refuse_choices, refuse_tools
from entroute.strategies.trials import ExampleJudge, Trial

TESTS = "tests"
"""The verifier whose tests take the place of the prompt's examples."""

Wave = Annotated[int, Field(ge=1, le=4)]


class VerifyThenEscalateConfig(BaseModel):
    """Run each sample's code on the examples given; go up a tier when all fail."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["verify_then_escalate"] = "verify_then_escalate"
    samples: int = Field(default=2, ge=1, le=4, description="Samples of a tier at most.")
    waves: tuple[Wave, ...] = Field(
        default=(1,),
        min_length=1,
        max_length=4,
        description="Samples drawn side by side, wave after wave; the last size repeats.",
    )
    wall_s: float = Field(
        default=10.0, gt=0, le=60, description="Seconds that one sample's code may run."
    )

    def build(self, parts: StrategyParts) -> "VerifyThenEscalate":
        """Return the strategy."""
        return VerifyThenEscalate(AcceptRule(self.samples, self.waves), self.wall_s, parts)


class VerifyThenEscalate:
    """Returns the first sample whose code passes, from the decided tier upwards.

    A `tests` verifier of the request judges in place of the prompt's examples. Where neither is
    there, the decided tier answers plainly. Where nothing passes, the largest tier's best sample
    is the answer.

    Args:
        rule: How many samples a tier gives.
        wall_s: Seconds that one sample's code may run.
        parts: Its sandbox runs the code.

    Source: filtering by given tests, AlphaCode (2203.07814); one tier after another, see
    FrugalGPT (2305.05176).
    """

    name = "verify_then_escalate"

    def __init__(self, rule: AcceptRule, wall_s: float, parts: StrategyParts) -> None:
        self._rule = rule
        self._wall_s = wall_s
        self._parts = parts

    def supports(self, run: Run) -> Refusal | None:
        """Refuse several choices, tools, verifiers but `tests`, and a server without a sandbox."""
        refusal = need_sandbox(self._parts.sandbox) or refuse_choices(run) or refuse_tools(run)
        return refusal or refuse_but_tests(run)

    async def run(self, run: Run) -> Outcome:
        """Draw, run, accept or climb. See `Strategy.run`."""
        judge = self._judge(run)
        if judge is None:
            run.trace.degrade("examples")
            return await plain_outcome(run, self.name, self._parts.voter)
        # At temperature 0 a second sample of a tier is the first one again.
        most = 1 if run.request.temperature == 0 else self._rule.most
        rule = AcceptRule(most, self._rule.waves)
        climb = await climbed(run, rule, lambda fitted: Manner(fitted, judge, judge.top_logprobs))
        return climb_outcome(run, self.name, judge.name, climb, best_of(climb.draws[-1:]))

    def _judge(self, run: Run) -> Verifier | None:
        if run.verifier is not None:
            return OneByOne(run.verifier)
        examples = examples_in(last_prompt(run.request))
        sandbox = self._parts.sandbox
        if not examples.examples or sandbox is None:
            return None
        mark = f"{run.rng.getrandbits(64):016x}"
        return OneByOne(ExampleJudge(Trial(run, sandbox, examples, self._wall_s, mark=mark)))


def refuse_but_tests(run: Run) -> Refusal | None:
    """Refuse a verifier that does not judge code by running it."""
    if run.verifier is None or run.verifier.name == TESTS:
        return None
    return Refusal(
        "entroute.verifier",
        f"it takes '{TESTS}', or the prompt's own examples; 'rejection' takes any verifier",
    )
