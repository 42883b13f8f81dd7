"""Plans replayed over a bank: what each makes of each prompt, and what it spends.

The real strategies run on recorded samples in virtual time; programs run in a real sandbox. Exact
for independent draws at one prompt form, temperature and engine.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from entroute.answers import recognised_form
from entroute.deciding import MEETS
from entroute.decisions import Decision
from entroute.errors import CallFailed, WorkerRejected
from entroute.evaluation.grading import PROGRAM
from entroute.evaluation.prompts_file import BankPrompt
from entroute.evaluation.replaying import ReplayBackend
from entroute.evaluation.samples import Sample
from entroute.evidence import Outcome, Trace
from entroute.opening import AUTO, Ask, Opener
from entroute.profile.plans import Need, Runtime
from entroute.protocols import Run, Sandbox, Strategy, Tier, Verifier
from entroute.spending import BudgetLimits
from entroute.strategies import build_strategy
from entroute.strategies.parts import StrategyParts
from entroute.types import Options, Principal
from entroute.verifiers.majority import Majority
from entroute.verifiers.symbolic import SymbolicEquality

_LIMITS = BudgetLimits(64, 1_000_000, 36_000.0)


@dataclass(frozen=True, slots=True)
class PlanSpec:
    """A plan before anything is known of it.

    Attributes:
        name: Unique.
        family: What the plan is called whatever the answer form: what an operator who gives
            every prompt the same budget would choose.
        tier: Tier it starts on.
        strategy: Its strategy's configuration.
        forms: Answer forms it serves.
        worst_calls: Calls at most.
        draws: Samples by tier that it may ask for, at most. A prompt of which the bank holds fewer
            is left out whatever would have come of it: leaving out only those whose replay ran
            dry would leave out the hard ones.
        programs: The same for samples in the program form, of the tier it starts on.
        needs: What else it needs of a prompt.
    """

    name: str
    family: str
    tier: str
    strategy: Mapping[str, Any]
    forms: tuple[str, ...]
    worst_calls: int
    draws: Mapping[str, int]
    programs: int = 0
    needs: tuple[Need, ...] = ()


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent on one tier: calls, tokens read and tokens made."""

    calls: int
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Episode:
    """One plan on one prompt, on one permutation of its samples.

    Attributes:
        prompt: The prompt's id.
        form: The answer form that it asks for.
        plan: The plan's name.
        repeat: Which permutation, from 0; the same one for all plans.
        text: The answer.
        cut: Whether it ran into its token limit.
        spent: By tier, everything: discarded samples too.
        latency_s: Virtual seconds.
        failures: Draws that were asked for and that the bank does not hold.
        right: Whether the answer is right, None until it is graded.
    """

    prompt: str
    form: str
    plan: str
    repeat: int
    text: str
    cut: bool
    spent: Mapping[str, Spent]
    latency_s: float
    failures: int
    right: bool | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """What is replayed.

    Attributes:
        samples: All samples, of every tier and form; draws added for hard prompts are left out.
        prompts: What was asked, other forms of the same question left out.
        models: Model by tier, cheapest first.
        runtimes: By tier; the pace of every stream.
        repeats: Permutations of each prompt's samples.
        seed: Of the permutations.
    """

    samples: Sequence[Sample]
    prompts: Sequence[BankPrompt]
    models: Mapping[str, str]
    runtimes: Mapping[str, Runtime]
    repeats: int
    seed: int


@dataclass(frozen=True, slots=True)
class _Stage:
    """What plans play on.

    Attributes:
        orders: Each tier's order of samples.
        marks: What strategies draw, the same for every plan and permutation of a prompt: programs
            hold such marks, and one that was run before is not run again.
    """

    opener: Opener
    backends: Mapping[str, ReplayBackend]
    orders: Mapping[str, Random]
    parts: StrategyParts
    marks: Random
    built: dict[str, Strategy] = field(default_factory=dict)

    def shuffle(self, prompt: str, seed: str) -> None:
        """Begin a permutation: each tier's order is its own, whatever a plan asks before."""
        self.marks.seed(prompt)
        for tier, backend in self.backends.items():
            self.orders[tier].seed(f"{seed} {tier}")
            backend.shuffle()

    def strategy(self, spec: PlanSpec) -> Strategy:
        key = f"{spec.name} {sorted(map(repr, spec.strategy.items()))}"
        if key not in self.built:
            self.built[key] = build_strategy(spec.strategy, self.parts)
        return self.built[key]


def asked_once(prompts: Sequence[BankPrompt]) -> list[BankPrompt]:
    """Return the prompts as clients ask them: other forms of a question are a strategy's own."""
    return [prompt for prompt in prompts if prompt.form != PROGRAM]


def form_of(prompt: BankPrompt) -> str:
    """Return the answer form that a prompt asks for, "" where none is recognised."""
    return recognised_form(prompt.request.asked) or ""


async def replayed(
    replay: Replay,
    specs_of: Callable[[BankPrompt], Sequence[PlanSpec]],
    sandbox: Sandbox,
    progress: Callable[[int, int], None],
) -> list[Episode]:
    """Return every plan's episodes on every prompt; to be run on a virtual loop.

    Args:
        replay: What is replayed.
        specs_of: Plans to run on a prompt: gates must not have been fitted on it.
        sandbox: Runs programs.
        progress: Told how many prompts of how many are done.
    """
    # Draws that were added for hard prompts stop at a right one: they are no independent draws.
    replay = replace(replay, samples=[s for s in replay.samples if not s.extra])
    stage = _stage(replay, sandbox)
    held = Counter((s.prompt, s.tier, s.form == PROGRAM) for s in replay.samples)
    episodes: list[Episode] = []
    for number, prompt in enumerate(replay.prompts, start=1):
        form = form_of(prompt)
        for spec in specs_of(prompt):
            if form not in spec.forms or not _held(held, prompt.id, spec):
                continue
            for repeat in range(replay.repeats):
                stage.shuffle(prompt.id, f"{replay.seed} {prompt.id} {repeat}")
                episode = await _episode(stage, prompt, spec, repeat)
                if episode is not None:
                    episodes.append(episode)
        progress(number, len(replay.prompts))
    return episodes


def _held(held: Mapping[tuple[str, str, bool], int], prompt: str, spec: PlanSpec) -> bool:
    """Whether the bank holds all that a plan may ask for."""
    enough = all(held.get((prompt, tier, False), 0) >= n for tier, n in spec.draws.items())
    return enough and held.get((prompt, spec.tier, True), 0) >= spec.programs


def _stage(replay: Replay, sandbox: Sandbox) -> _Stage:
    orders = {tier: Random(replay.seed) for tier in replay.models}  # noqa: S311 - an order
    marks = Random(replay.seed)  # noqa: S311 - nothing secret
    backends = {
        tier: ReplayBackend(
            (_paced(s, replay.runtimes[tier]) for s in replay.samples if s.tier == tier), order
        )
        for tier, order in orders.items()
    }
    tiers = tuple(
        Tier(name, model, backends[name], context_length=32_768)
        for name, model in replay.models.items()
    )

    def judge(option: Mapping[str, Any], run: Run) -> Verifier:
        raise NotImplementedError("a replayed request brings no verifier")

    clock = asyncio.get_running_loop().time
    opener = Opener(lambda: tiers, _LIMITS, judge, clock, marks)
    parts = StrategyParts(Majority(SymbolicEquality()), sandbox)
    return _Stage(opener, backends, orders, parts, marks)


def _paced(sample: Sample, runtime: Runtime) -> Sample:
    """Return a sample at its worker's pace: a record may have shared its machine."""
    seconds = sample.prompt_tokens * runtime.prompt_s + len(sample.tokens) * runtime.stream_token_s
    return replace(sample, latency_s=seconds)


async def _episode(
    stage: _Stage, prompt: BankPrompt, spec: PlanSpec, repeat: int
) -> Episode | None:
    """Run one plan, None where it does not serve the prompt."""
    clock = asyncio.get_running_loop().time
    request = replace(prompt.request, model=AUTO)
    trace = Trace("replay", "chat", clock())
    run = stage.opener.open(Ask(request, Options(cache="bypass"), Principal(), trace))
    strategy = stage.strategy(spec)
    if strategy.supports(run) is not None or not all(MEETS[need](run) for need in spec.needs):
        return None
    trace.decision = Decision(spec.tier, str(spec.strategy["kind"]), "replayed", plan=spec.name)
    try:
        outcome: Outcome | None = await strategy.run(run)
    except (CallFailed, WorkerRejected):
        outcome = None
    finally:
        await run.close()
    answer = None if outcome is None else outcome.choices[0]
    return Episode(
        prompt=prompt.id,
        form=form_of(prompt),
        plan=spec.name,
        repeat=repeat,
        text="" if answer is None else answer.content,
        cut=answer is not None and answer.finish_reason == "length",
        spent=_spent(run),
        latency_s=clock() - trace.started,
        failures=len(outcome.failures) if outcome is not None else 1,
    )


def _spent(run: Run) -> dict[str, Spent]:
    spent: dict[str, Spent] = {}
    for charge in run.ledger.charges:
        before = spent.get(charge.tier, Spent(0, 0, 0))
        spent[charge.tier] = Spent(
            before.calls + 1,
            before.prompt_tokens + charge.usage.prompt_tokens,
            before.completion_tokens + charge.usage.completion_tokens,
        )
    return spent
