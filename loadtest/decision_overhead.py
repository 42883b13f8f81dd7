"""What deciding costs: `python -m loadtest.decision_overhead [--json FILE]`.

Alone, over many repetitions with the profile of the embedded pair: `Learned.read` on texts of
several lengths, and `ComputeOptimal.decide` with every plan open to it. In the request path: two
gateways before one fake worker, `compute_optimal` with `learned` against `static` with `lexical`,
asked one request at a time, in pairs that alternate which goes first; a gateway's own time is what
`x-entroute-overhead-ms` says. CPU times leave out what other processes took.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import orjson

from entroute.calls import CallStream
from entroute.deciding import deciding, profile_of
from entroute.decisions import Load, TierLoad
from entroute.difficulty.learned import Learned
from entroute.evidence import Trace
from entroute.feedback import MemoryFeedbackConfig
from entroute.feedback.feedback import Origin
from entroute.loading import load
from entroute.opening import Ask, Opener
from entroute.profile.profile import Profile
from entroute.protocols import Policy, Run, Strategy, Tier
from entroute.redis_link.links import RedisLinks
from entroute.sandbox import BubblewrapConfig
from entroute.spending import BudgetLimits
from entroute.strategies.parts import StrategyParts
from entroute.types import Call, ChatRequest, Completion, Options, Principal
from entroute.verifiers.majority import Majority
from entroute.verifiers.symbolic import SymbolicEquality
from loadtest.client import percentile
from loadtest.gateway_process import Gateway, gateway
from loadtest.spawn import fake_worker

WORDS = (50, 200, 1000)
NUMBER = (
    "A farmer has 12 cows and buys 7 more at the end of each month, and every fourth month he "
    "sells 5 of them at the market in town. How many cows does he have after 8 months?"
)
CODE = '''Complete the following function.

def longest_run(items: list[int]) -> int:
    """Return the length of the longest run of equal neighbours.

    >>> longest_run([1, 1, 2])
    2
    >>> longest_run([])
    0
    """
'''
PROMPTS = {"number": NUMBER, "code": CODE}

DECIDED: Mapping[str, Any] = {
    "difficulty": {"kind": "learned"},
    "policy": {"kind": "compute_optimal"},
}
FIXED: Mapping[str, Any] = {"difficulty": {"kind": "lexical"}, "policy": {"kind": "static"}}
ARMS = {"compute_optimal": DECIDED, "static": FIXED}

_RESAMPLES = 2000
_US = 1e6


class Nobody:
    """Workers that no decision calls."""

    async def complete(self, call: Call) -> Completion:
        """Fail."""
        raise RuntimeError("deciding asked a worker")

    def stream(self, call: Call) -> CallStream:
        """Fail."""
        raise RuntimeError("deciding asked a worker")


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    name = "python -m loadtest.decision_overhead"
    parser = argparse.ArgumentParser(prog=name, description=__doc__)
    parser.add_argument("--json", type=Path, help="write every number there")
    parser.add_argument("--repetitions", type=int, default=2000, help="of each call alone")
    parser.add_argument("--pairs", type=int, default=500, help="of requests to both gateways")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(argv)


def timed(call: Callable[[], object], repetitions: int) -> dict[str, float]:
    """Return percentiles of a call's wall and CPU microseconds, the first tenth left out."""
    wall, cpu = [], []
    for number in range(repetitions + repetitions // 10):
        since, spent = time.perf_counter(), time.thread_time()
        call()
        spent, since = time.thread_time() - spent, time.perf_counter() - since
        if number >= repetitions // 10:
            wall.append(since * _US)
            cpu.append(spent * _US)
    return {
        "p50_us": round(percentile(wall, 0.5), 1),
        "p99_us": round(percentile(wall, 0.99), 1),
        "cpu_p50_us": round(percentile(cpu, 0.5), 1),
        "cpu_p99_us": round(percentile(cpu, 0.99), 1),
    }


def text_of(words: int) -> str:
    """Return a text of so many words, none of its sentences twice in a row."""
    source = f"{NUMBER} Explain each step to the {{number}} children who listen.".split()
    return " ".join(source[place % len(source)].format(number=place) for place in range(words))


def opened(text: str, tiers: tuple[Tier, ...]) -> Run:
    """Return a run that lasts as long as the measurement."""
    limits = BudgetLimits(max_calls=16, max_generated_tokens=65_536, deadline_s=1e6)

    def judge(_: Mapping[str, Any], __: Run) -> Any:
        raise RuntimeError("no request brings a verifier")

    opener = Opener(lambda: tiers, limits, judge, time.perf_counter, random.Random(1))
    request = ChatRequest(model="auto", messages=({"role": "user", "content": text},))
    trace = Trace("bench", "chat", time.perf_counter())
    return opener.open(Ask(request, Options(), Principal("bench"), trace))


def alone(profile: Profile, policy: Policy, models: Mapping[str, str], most: int) -> dict[str, Any]:
    """Measure reading and deciding without a request around them."""
    learned = Learned(profile.text)
    tiers = tuple(Tier(name, model, Nobody()) for name, model in models.items())
    idle = Load({name: TierLoad(1, 1, 1) for name in models})
    found: dict[str, Any] = {}
    for words in WORDS:
        text = text_of(words)
        found[f"read {words} words"] = timed(lambda text=text: learned.read(text), most)  # type: ignore[misc]
    for name, text in PROMPTS.items():
        run, estimate = opened(text, tiers), learned.read(text)
        decision = policy.decide(run, estimate, idle)
        times = timed(
            lambda run=run, estimate=estimate: policy.decide(run, estimate, idle),  # type: ignore[misc]
            most,
        )
        shown = {"basis": decision.basis, "plan": decision.plan, "plans": len(decision.plans)}
        found[f"decide {name}"] = times | shown
    return found


def built() -> tuple[Profile, Policy, dict[str, str]]:
    """Return the shipped profile, its policy with a sandbox that no decision starts, its models."""
    settings = load(None, {})
    profile = profile_of(settings)
    if profile is None:
        raise RuntimeError("the embedded pair has a profile")
    parts = StrategyParts(Majority(SymbolicEquality()), BubblewrapConfig(kind="bubblewrap").build())
    strategies: dict[str, Strategy] = {c.kind: c.build(parts) for c in settings.all_strategies}
    clock = time.perf_counter
    corrections = MemoryFeedbackConfig().build(clock, Origin(), RedisLinks(clock))
    policy = deciding(settings, profile, strategies, parts, corrections, clock).policy
    return profile, policy, {tier.name: tier.model for tier in settings.tiers}


async def asked(session: aiohttp.ClientSession, front: Gateway, text: str) -> tuple[float, str]:
    """Ask once and return the gateway's own microseconds and the strategy."""
    body = {"model": "auto", "messages": [{"role": "user", "content": text}]}
    async with session.post(f"{front.url}/v1/chat/completions", json=body) as answer:
        answer.raise_for_status()
        await answer.read()
        own_ms = float(answer.headers["x-entroute-overhead-ms"])
        return own_ms * 1e3, answer.headers["x-entroute-strategy"]


async def in_path(models: dict[str, str], given: argparse.Namespace) -> dict[str, Any]:
    """Measure both gateways in pairs, the first tenth left out."""
    seen: dict[str, list[float]] = {name: [] for name in ARMS}
    strategies: dict[str, Counter[str]] = {name: Counter() for name in ARMS}
    async with AsyncExitStack() as stack:
        names = list(models.values())
        worker = await stack.enter_async_context(fake_worker(model=names, tokens=16))
        fronts = {}
        for name, changes in ARMS.items():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="decisions-")))
            front = gateway(folder, models, worker.url, changes=changes)
            fronts[name] = await stack.enter_async_context(front)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        for number in range(-given.pairs // 10, given.pairs):
            for name in list(ARMS) if number % 2 else list(reversed(ARMS)):
                text = f"Case {abs(number)}. {NUMBER}"
                us, strategy = await asked(session, fronts[name], text)
                if number >= 0:
                    seen[name].append(us)
                    strategies[name][strategy] += 1
    used = {name: dict(counts) for name, counts in strategies.items()}
    return {**compared(seen, random.Random(given.seed)), "strategies": used}


def compared(seen: Mapping[str, list[float]], rng: random.Random) -> dict[str, Any]:
    """Return what two gateways took, and the ratio of the first's median to the second's."""
    one, other = seen.values()
    low, high = ratio_interval(one, other, rng)
    return {
        "p50_us": {name: round(median(values), 1) for name, values in seen.items()},
        "p99_us": {name: round(percentile(values, 0.99), 1) for name, values in seen.items()},
        "ratio": round(median(one) / median(other), 3),
        "ratio_low": round(low, 3),
        "ratio_high": round(high, 3),
        "pairs": len(one),
    }


def ratio_interval(
    one: Sequence[float], other: Sequence[float], rng: random.Random
) -> tuple[float, float]:
    """Return the 95% percentile interval of the ratio of medians, pairs resampled together."""
    pairs = list(zip(one, other, strict=True))
    ratios = []
    for _ in range(_RESAMPLES):
        drawn = rng.choices(pairs, k=len(pairs))
        ratios.append(median(a for a, _ in drawn) / median(b for _, b in drawn))
    ratios.sort()
    return ratios[int(0.025 * _RESAMPLES)], ratios[int(0.975 * _RESAMPLES) - 1]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print JSON and one line."""
    given = arguments(argv)
    profile, policy, models = built()
    found = {
        "alone": alone(profile, policy, models, given.repetitions),
        "in_path": asyncio.run(in_path(models, given)),
    }
    text = orjson.dumps(found, option=orjson.OPT_INDENT_2)
    print(text.decode())
    if given.json is not None:
        given.json.write_bytes(text)
    path = found["in_path"]
    decided = ", ".join(f"{name} {times['p50_us']:g} us" for name, times in found["alone"].items())
    print(
        f"medians: {decided}; a request {path['p50_us']['compute_optimal']:g} us against "
        f"{path['p50_us']['static']:g} us of static, {path['ratio']:g} times as long "
        f"[{path['ratio_low']:g}, {path['ratio_high']:g}]"
    )


if __name__ == "__main__":
    main()
