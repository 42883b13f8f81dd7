"""Replay a bank: every arm on every prompt through the real gateway, on recorded samples.

    python -m loadtest.replay --bank small.jsonl --bank large.jsonl --prompts DIR --out FILE

Time is virtual: a sample takes what it took when it was recorded. Programs run in the real
sandbox. One row an answer, appended to --out; loadtest.replay_report makes the table of them.
"""

import argparse
import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

from entroute.decisions import Load
from entroute.difficulty.lexical import LexicalConfig
from entroute.evaluation.bank import Sample, read_bank
from entroute.evaluation.replaying import ReplayBackend, recorded_sandbox
from entroute.evaluation.virtual_time import run_virtually
from entroute.evidence import Outcome, Trace
from entroute.gateway import Gateway, Parts
from entroute.opening import Ask, Opener
from entroute.protocols import Run, Sandbox, Tier, Verifier
from entroute.routing.static import StaticConfig
from entroute.spending import BudgetLimits, Price
from entroute.strategies.examples import EQUAL, examples_in
from entroute.strategies.parts import StrategyParts
from entroute.strategies.reasc import SignalProfile
from entroute.types import ChatRequest, Options, Principal
from entroute.verifiers import build_verifier
from entroute.verifiers.majority import Majority
from entroute.verifiers.parts import VerifierParts
from entroute.verifiers.symbolic import SymbolicEquality
from loadtest.grading_cache import Grades
from loadtest.replay_arms import ARMS, Arm, judged_by, profile_of, strategies_of
from loadtest.tasks import Prompt, prompts_of

PRICES = {"small": Price(0.05, 0.10), "large": Price(0.30, 0.60)}
LIMITS = BudgetLimits(64, 1_000_000, 3600.0)
GATE_ACCURACY = 0.8
FOLDS = 2


@dataclass(frozen=True, slots=True)
class Replay:
    """What is replayed.

    Attributes:
        samples: The bank.
        prompts: What was asked.
        arms: Names of arms.
        repeats: Permutations of each prompt's samples.
        seed: Of the permutations.
    """

    samples: Sequence[Sample]
    prompts: Sequence[Prompt]
    arms: Sequence[str]
    repeats: int
    seed: int


async def replayed(replay: Replay, sandbox: Sandbox, grades: Grades) -> list[dict[str, Any]]:
    """Return one row for every arm, prompt and repeat; to be run on a virtual loop.

    Each repeat of a prompt is one permutation of its samples for all arms, so that arms are
    compared on the same luck and none depends on which others are replayed.
    """
    rng = Random(replay.seed)
    tiers = {
        name: ReplayBackend((s for s in replay.samples if s.tier == name), rng) for name in PRICES
    }
    folds = [_gateway(tiers, sandbox, profile, rng) for profile in profiles_of(replay, grades)]
    rows: list[dict[str, Any]] = []
    for number, prompt in enumerate(replay.prompts):
        arms = [name for name in replay.arms if prompt.task in ARMS[name].tasks]
        for name, repeat in product(arms, range(replay.repeats)):
            rng.seed(f"{replay.seed} {prompt.id} {repeat}")
            for backend in tiers.values():
                backend.shuffle()
            asked = {"arm": name, "prompt": prompt.id, "task": prompt.task, "repeat": repeat}
            rows.append(asked | await _episode(folds[number % FOLDS], prompt, ARMS[name]))
        print(f"{number + 1} of {len(replay.prompts)} prompts", end="\r", flush=True)
    return rows


def profiles_of(replay: Replay, grades: Grades) -> list[list[SignalProfile]]:
    """Return the small model's profile for each fold of the prompts, fitted on the other fold.

    A prompt's fold is the parity of its place. The list is empty where the other fold has too few
    samples.
    """
    places = {prompt.id: (number % FOLDS, prompt) for number, prompt in enumerate(replay.prompts)}
    known = [
        (s, *places[s.prompt])
        for s in replay.samples
        if s.tier == "small" and s.form == "reasoning" and s.prompt in places
    ]
    profiles = []
    for fold in range(FOLDS):
        others = [(s, prompt) for s, its, prompt in known if its != fold]
        right = {(s.prompt, s.text): grades.right(prompt, s.text) for s, prompt in others}
        samples = [s for s, _ in others]
        profiles.append(profile_of(samples, right, model="small-model", accuracy=GATE_ACCURACY))
        print(f"fold {fold}: {profiles[-1]}")
    return profiles


def _gateway(
    backends: Mapping[str, ReplayBackend],
    sandbox: Sandbox,
    profiles: Sequence[SignalProfile],
    rng: Random,
) -> Gateway:
    """Return the real gateway over recorded tiers."""
    clock = asyncio.get_running_loop().time
    symbolic = SymbolicEquality()
    strategies = strategies_of(StrategyParts(Majority(symbolic), sandbox), profiles)
    tiers = tuple(
        Tier(name, f"{name}-model", backend, PRICES[name], context_length=2048)
        for name, backend in backends.items()
    )

    def judge(option: Mapping[str, Any], run: Run) -> Verifier:
        return build_verifier(option, VerifierParts(symbolic, run, sandbox))

    opener = Opener(lambda: tiers, LIMITS, judge, clock, rng)
    return Gateway(
        Parts(
            opener=opener,
            estimator=LexicalConfig().build(),
            policy=StaticConfig().build(strategies),
            strategies=strategies,
            cache=None,
            recorders=(),
            load=lambda: Load({}),
            fingerprint="replay",
            clock=clock,
        )
    )


async def _episode(gateway: Gateway, prompt: Prompt, arm: Arm) -> dict[str, Any]:
    """Ask once and return what it took; correctness is graded afterwards."""
    message = {"role": "user", "content": prompt.message}
    request = ChatRequest(model=arm.model, messages=(message,), temperature=0.7)
    verifier = judged_by(prompt, _assertions(prompt)) if arm.judged else arm.verifier
    # A prompt that shows no example leaves its client nothing to judge by: one plain sample.
    strategy = "single" if arm.judged and verifier is None else arm.strategy
    options = Options(strategy=strategy, verifier=verifier, cache="bypass")
    clock = asyncio.get_running_loop().time
    trace = Trace("replay", "chat", clock())
    outcome = await gateway.complete(Ask(request, options, Principal(), trace))
    return {
        **spent(outcome),
        "text": outcome.choices[0].content,
        "latency_s": clock() - trace.started,
    }


def _assertions(prompt: Prompt) -> list[str]:
    """Return the examples in a prompt as assertions, what a client could send as its tests."""
    return [
        f"{EQUAL} = lambda a, b: a == b\nassert {example.check}"
        for example in examples_in(prompt.message).examples
    ]


def spent(outcome: Outcome) -> dict[str, Any]:
    """Return what an answer cost: samples, tokens by tier and purpose, dollars.

    `failures` counts samples that were asked for and that the bank does not hold; they are no
    `calls`.
    """
    tokens: dict[str, int] = {}
    for charge in outcome.charges:
        key = f"{charge.tier} {charge.purpose}"
        tokens[key] = tokens.get(key, 0) + charge.usage.completion_tokens
    return {
        "calls": len(outcome.charges) - len(outcome.failures),
        "tokens": tokens,
        "prompt_tokens": outcome.usage.prompt_tokens,
        "usd": sum(charge.cost_usd for charge in outcome.charges),
        "tier": outcome.tier,
        "stop": outcome.stop_reason,
        "saved": dict(outcome.saved),
        "degraded": list(outcome.degraded),
        "failures": len(outcome.failures),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Replay and write the rows."""
    given = _parser().parse_args(argv)
    samples = [_paced(s, given.pace) for path in given.bank for s in read_bank(path)]
    prompts = prompts_of(given.prompts, given.counts, given.seed)
    Random(given.seed).shuffle(prompts)
    arms = [name.strip() for name in given.arms.split(",")]
    if unknown := [name for name in arms if name not in ARMS]:
        raise SystemExit(f"--arms: {unknown[0]} is none of {', '.join(ARMS)}")
    replay = Replay(samples, prompts, arms, given.repeats, given.seed)
    grades = Grades(given.out.with_suffix(".grades.json"))
    with recorded_sandbox() as sandbox:
        rows = run_virtually(replayed(replay, sandbox, grades))
    by_id = {prompt.id: prompt for prompt in prompts}
    with given.out.open("w", encoding="utf-8") as out:
        for row in rows:
            right = grades.right(by_id[row["prompt"]], row.pop("text"))
            out.write(json.dumps({**row, "right": right}) + "\n")
    grades.save()
    print(f"{len(rows)} rows: {given.out}")
    if lacking := sum(row["failures"] for row in rows):
        print(f"{lacking} samples were asked for that the bank does not hold")


def _paced(sample: Sample, pace: Mapping[str, float]) -> Sample:
    """Return a sample that takes so long a token: a record may have shared its machine."""
    if sample.tier not in pace:
        return sample
    return replace(sample, latency_s=len(sample.tokens) * pace[sample.tier])


def pace_of(text: str) -> dict[str, float]:
    """Read `tier=seconds,...`.

    Raises:
        ValueError: It is written otherwise.
    """
    return {tier: float(seconds) for tier, seconds in (p.split("=") for p in text.split(","))}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.replay", description=__doc__)
    option = parser.add_argument
    option("--bank", type=Path, action="append", required=True, help="banks, .jsonl or .jsonl.gz")
    option("--prompts", type=Path, required=True, help="folder of the benchmarks' .jsonl.gz files")
    option("--counts", default="gsm8k=70,humaneval=50,mbpp=40,p3=40", help="as recorded")
    option("--arms", default=",".join(ARMS), help=f"of {', '.join(ARMS)}")
    option("--pace", type=pace_of, default={}, help="tier=seconds a token, not as recorded")
    option("--repeats", type=int, default=4, help="permutations of each prompt's samples")
    option("--seed", type=int, default=0)
    option("--out", type=Path, required=True, help="rows, .jsonl")
    return parser


if __name__ == "__main__":
    main()
