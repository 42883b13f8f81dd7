"""`code_cluster`: several programs, filtered by tests, clustered by what they do."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.evidence import Outcome, Refusal, Verdict
from entroute.protocols import Run, Verifier
from entroute.strategies.behaviour import (
    Solution,
    best_solution,
    cluster_sizes,
    digest,
    functional_hash,
)
from entroute.strategies.climbing import Climb, climb_outcome
from entroute.strategies.drawing import Manner, drawn
from entroute.strategies.examples import Examples, examples_in
from entroute.strategies.inputs import generated_inputs
from entroute.strategies.judging import OneByOne
from entroute.strategies.parts import StrategyParts
from entroute.strategies.programs import last_prompt
from entroute.strategies.refusals import need_sandbox, refuse_choices, refuse_cold, refuse_tools
from entroute.strategies.self_consistency import FixedRule
from entroute.strategies.trials import Trial, Tried, answered_code
from entroute.strategies.verify_then_escalate import refuse_but_tests
from entroute.types import ChatRequest, Completion

Score = Literal["size", "codet"]

_WORD = re.compile(r"[^\W\d]\w*")
_UNSEEN = Solution("", "unseen", 0.0)


class CodeClusterConfig(BaseModel):
    """Cluster programs by behaviour; the largest cluster of those that pass wins."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["code_cluster"] = "code_cluster"
    samples: int = Field(default=8, ge=3, le=64, description="Samples at most.")
    inputs: int = Field(
        default=12,
        ge=0,
        le=100,
        description="Inputs generated from the examples' arguments, which serve where none can be.",
    )
    score: Score = Field(
        default="size",
        description="size: tests filter, the largest cluster wins. codet: size times the share of "
        "tests passed; draws all samples.",
    )
    wall_s: float = Field(
        default=10.0, gt=0, le=60, description="Seconds that one program may run on all inputs."
    )

    def build(self, parts: StrategyParts) -> "CodeCluster":
        """Return the strategy."""
        return CodeCluster(self, parts)


@dataclass(slots=True)
class ClusterJudge:
    """Gives each sample the hash of its behaviour as its answer, and its cluster's share.

    A sample that fails a test has no answer under `size`: it is filtered. Programs that are the
    same but for names and layout are run once. Without anything to run, or without a sandbox,
    programs are compared as they are written.

    Attributes:
        trial: Runs a program on the examples and the inputs.
        tests: The request's own tests, in place of the examples, or None.
        score_by: How clusters are ranked.
        solutions: Every sample met so far, by call id.
        tested: Ids of those that were put to tests or examples.
    """

    trial: Trial
    tests: Verifier | None
    score_by: Score
    top_logprobs: int | None = None
    solutions: dict[int, Solution] = field(default_factory=dict)
    tested: set[int] = field(default_factory=set)
    _reasons: dict[int, str] = field(default_factory=dict)
    _ran: dict[str, Tried] = field(default_factory=dict)

    @property
    def compares(self) -> bool:
        """See `Verifier.compares`."""
        return True

    @property
    def calls(self) -> int:
        """See `Verifier.calls`."""
        return 0

    @property
    def name(self) -> str:
        """See `Verifier.name`."""
        return "behaviour"

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        """Run what is new, then count. See `Verifier.score`."""
        given = await self.tests.score(request, candidates) if self.tests else None
        for i, candidate in enumerate(candidates):
            if candidate.call_id not in self.solutions:
                await self._meet(request, candidate, given[i] if given else None)
        return self._verdicts([candidate.call_id for candidate in candidates])

    async def _meet(
        self, request: ChatRequest, candidate: Completion, test: Verdict | None
    ) -> None:
        examples = self.trial.examples
        code = answered_code(request, candidate, examples)
        if code is None:
            solution, reason = Solution("", "no code", 0.0), "no code can be read"
        else:
            written = functional_hash(code, _public_names(examples))
            tried = await self._tried(written, code)
            shown = tried.behaviour or (written,)
            loaded = tried.loaded or tried.lost
            share = 1.0 if tried.lost else tried.share
            reason = tried.reason
            if test is not None:
                share = 0.0 if test.abstained or not loaded else test.score
                reason = f"tests: {test.reason}"
            solution = Solution(code, digest(f"{share:.9f}", *shown), share)
            if test is not None or tried.of:
                self.tested.add(candidate.call_id)
        self.solutions[candidate.call_id] = solution
        self._reasons[candidate.call_id] = reason

    async def _tried(self, written: str, code: str) -> Tried:
        """Run a program unless one that is the same has been."""
        nothing = not self.trial.inputs and not self.trial.examples.examples
        if nothing:
            return Tried(loaded=True, reason="compared as written")
        if written not in self._ran:
            self._ran[written] = await self.trial.of(code)
        return self._ran[written]

    def _verdicts(self, ids: list[int]) -> tuple[Verdict, ...]:
        sizes = cluster_sizes([self.solutions[i] for i in ids])
        return tuple(
            self._verdict(self.solutions[i], sizes, len(ids), self._reasons[i]) for i in ids
        )

    def _verdict(self, one: Solution, sizes: dict[str, int], total: int, reason: str) -> Verdict:
        if not one.code or one.share == 0:
            return Verdict(0.0, reason)
        size = sizes[one.key]
        filtered = self.score_by == "size" and one.share < 1
        return Verdict(
            0.0 if filtered else size * one.share / total,
            f"cluster of {size} of {total}, {reason}",
            answer=None if filtered else one.key,
        )


def _public_names(examples: Examples) -> set[str]:
    """Return the words that a program is known by, or that it finds when it is loaded."""
    words = {examples.function or ""}
    for source in (*examples.imports, *(example.check for example in examples.examples)):
        words.update(_WORD.findall(source))
    return words


class CodeCluster:
    """Draws programs side by side and returns the shortest of the best cluster.

    Args:
        config: As configured.
        parts: Its sandbox runs the programs.

    Source: AlphaCode (2203.07814): filter by the tests given, cluster by behaviour on generated
    inputs; CodeT (2207.10397); functional hash (2302.05433).
    """

    name = "code_cluster"

    def __init__(self, config: CodeClusterConfig, parts: StrategyParts) -> None:
        self._config = config
        self._sandbox = parts.sandbox

    def supports(self, run: Run) -> Refusal | None:
        """Refuse several choices, temperature 0, tools, verifiers but `tests`, no sandbox."""
        refusal = need_sandbox(self._sandbox) or refuse_choices(run) or refuse_cold(run)
        return refusal or refuse_tools(run) or refuse_but_tests(run)

    async def run(self, run: Run) -> Outcome:
        """Draw, run, cluster; cancel what cannot change the winner. See `Strategy.run`."""
        codet = self._config.score == "codet"
        judge = self._judge(run)
        rule = FixedRule(self._config.samples, weighted=codet)
        draw = await drawn(run, run.tier(run.decision.tier), Manner(rule, judge))
        met = [judge.solutions.get(sample.call_id, _UNSEEN) for sample in draw.done]
        best = best_solution(met, codet=codet)
        tested = draw.done[best].call_id in judge.tested
        if draw.stop == "exhausted" and tested and met[best].share >= 1:
            draw.stop = "verified"
        climb = Climb([draw], draw.moves, draw.stop)
        return climb_outcome(run, self.name, judge.name, climb, draw.done[best])

    def _judge(self, run: Run) -> ClusterJudge:
        if self._sandbox is None:
            raise RuntimeError("a request that is not supported was run")
        examples = examples_in(last_prompt(run.request))
        inputs: tuple[tuple[Any, ...], ...] = ()
        if examples.function is not None:
            # The same for every run of the prompt: what a program does on them may be kept.
            rng = Random(repr(examples.inputs))  # noqa: S311 - nothing secret is drawn
            inputs = generated_inputs(examples.inputs, self._config.inputs, rng)
            # Without any, programs would be told apart by how they are written.
            inputs = inputs or tuple({repr(given): given for given in examples.inputs}.values())
        if not examples.inputs:
            run.trace.degrade("examples")
        mark = f"{run.rng.getrandbits(64):016x}"
        trial = Trial(run, self._sandbox, examples, self._config.wall_s, inputs, mark)
        tests = OneByOne(run.verifier) if run.verifier is not None else None
        return ClusterJudge(trial, tests, self._config.score)
