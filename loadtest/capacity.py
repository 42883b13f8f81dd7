"""How many workers a trace takes, by simulation: always small, always large, and what adapts.

    python -m loadtest.capacity --trace FILE --forward-times FILE --out FILE.json

A fleet of workers that batch continuously is simulated step by step; our own balancers pick among
them. For each arm the smallest fleet is searched of which 95% of calls begin within --bound, and
`entroute size` is asked the same. loadtest.capacity_report makes a table and a figure of several.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any, get_args

from entroute.backends.balancing import BalancerKind
from entroute.deciding import shipped_profile
from entroute.errors import ConfigurationError
from entroute.evaluation.lengths import Lengths, read_trace
from entroute.evaluation.sizing import GatewayCost, Need, Supply, Target, Traffic, size
from entroute.evaluation.sizing_workers import Worker
from entroute.evaluation.step_times import OVERHEAD_S, ForwardSteps
from entroute.profile.profile import read_profile
from loadtest.capacity_measures import Result
from loadtest.capacity_search import WARM_S, Scene, simulated, smallest
from loadtest.capacity_traffic import Way, always, cascade, planned, poisson, scaled

TIERS = ("small=a100/Meta-Llama-3-8B/1", "large=a100/Meta-Llama-3-70B/4")
ARMS = ("small", "large", "profile", "cascade=0.2", "cascade=0.5")

LIVE_PLANS: Mapping[str, float] = {
    "large x1": 79,
    "small program -> large": 55,
    "small checked <=1 -> large": 48,
    "large checked <=2": 9,
    "small x1": 6,
    "small checked <=2 -> large": 4,
}
"""What the shipped profile's policy chose for 201 fresh prompts.

Source: docs/log.md, live on 210 fresh prompts; 9 of free form are left out.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Simulate, print, write."""
    given = _parser().parse_args(argv)
    try:
        report = simulate(given)
    except ConfigurationError as error:
        raise SystemExit(f"capacity: {error}") from error
    text = json.dumps(report, indent=1)
    if given.out is None:
        print(text)
    else:
        given.out.write_text(text + "\n", encoding="utf-8")


def simulate(given: argparse.Namespace) -> dict[str, Any]:
    """Return the report of one trace.

    Raises:
        ConfigurationError: A file or an option is wrong, or no fleet keeps the bound.
    """
    arrivals = scaled(read_trace(given.trace), given.rate, given.seconds)
    if given.poisson:
        arrivals = poisson(arrivals, Random(given.seed))
    if arrivals[-1].at_s <= WARM_S:
        raise ConfigurationError(
            f"--seconds: the trace ends after {arrivals[-1].at_s:.3g} s, but what comes in the"
            f" first {WARM_S:g} s is not counted"
        )
    scene = Scene(
        arrivals=arrivals,
        supplies=supplies_of(given),
        balancer=given.balancer,
        max_in_flight=given.max_in_flight,
        seed=given.seed,
    )
    lengths = Lengths.of(arrivals)
    rate = len(arrivals) / arrivals[-1].at_s
    rows = {}
    for name in given.arms.split(","):
        began = time.perf_counter()
        ways = ways_of(name, given.window)
        rows[name] = _arm(scene, ways, Traffic(rate, lengths), given)
        print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    options = {name: str(value) for name, value in vars(given).items() if name != "out"}
    traffic = {"requests": len(arrivals), "requests_per_s": rate}
    traffic |= {"prompt_tokens": lengths.prompt, "completion_tokens": lengths.answer}
    return {"options": options, "traffic": traffic, "bound_s": given.bound, "arms": rows}


def _arm(
    scene: Scene, ways: Sequence[Way], traffic: Traffic, given: argparse.Namespace
) -> dict[str, Any]:
    """Return one arm's smallest fleet, and what `entroute size` says.

    `size` is told which share of prompts the simulated caches held.
    """
    target = Target(given.utilisation, given.bound)
    needs = needs_of_ways(ways, traffic.lengths.answer)
    if unknown := sorted(set(needs) - set(scene.supplies)):
        raise ConfigurationError(f"--tier: {unknown[0]} is missing, which --arms asks")
    roughly = size(traffic, needs, scene.supplies, Target(given.utilisation), GatewayCost())
    begin = {name: tier.replicas for name, tier in roughly.tiers.items()}
    fleet, result = smallest(scene, ways, begin, given.bound)
    every = result.tiers.values()
    cached = sum(tier.cached * tier.calls for tier in every) / sum(tier.calls for tier in every)
    known = Traffic(traffic.rate, traffic.lengths, cached)
    sized = size(known, needs, scene.supplies, target, GatewayCost())
    counts = {name: tier.replicas for name, tier in sized.tiers.items()}
    there = result if counts == fleet else simulated(scene, ways, counts)
    return {
        "fleet": fleet,
        "result": _row(result),
        "size": {
            "fleet": counts,
            "usd_per_hour": sized.usd_per_hour,
            "ttft_p95": {name: tier.ttft_s for name, tier in sized.tiers.items()},
            "batch": {name: tier.busy.batch for name, tier in sized.tiers.items()},
            "utilisation": {name: tier.utilisation for name, tier in sized.tiers.items()},
            "simulated": _row(there),
        },
    }


def _row(result: Result) -> dict[str, Any]:
    return asdict(result)


def needs_of_ways(ways: Sequence[Way], answer: float) -> dict[str, Need]:
    """Return what one request takes in the mean, by tier.

    Args:
        ways: How requests are answered.
        answer: Mean answer of the trace, in tokens.
    """
    whole = sum(way.share for way in ways)
    found: dict[str, Need] = {}
    for way in ways:
        for stage in way.stages:
            calls = way.share / whole * stage.calls
            made = calls * (stage.length or stage.window / answer)
            old = found.get(stage.tier, Need(0.0, 0.0))
            found[stage.tier] = Need(old.calls + calls, old.answers + made)
    return found


def ways_of(arm: str, window: int) -> tuple[Way, ...]:
    """Return an arm's ways: small, large, profile, or cascade=SHARE that goes up.

    Raises:
        ConfigurationError: There is no such arm.
    """
    name, _, share = arm.partition("=")
    if name in {"small", "large"} and not share:
        return always(name)
    if name == "profile" and not share:
        return planned(read_profile(shipped_profile()), LIVE_PLANS)
    try:
        escalated = float(share)
    except ValueError:
        escalated = -1.0
    if name != "cascade" or not 0 <= escalated <= 1:
        raise ConfigurationError(f"--arms: {arm} is none of small, large, profile, cascade=SHARE")
    return cascade(escalated, window)


def supplies_of(given: argparse.Namespace) -> dict[str, Supply]:
    """Return the tiers.

    Raises:
        ConfigurationError: One is not known to the table of forward times.
    """
    found = {}
    for text in given.tier or TIERS:
        try:
            name, _, speed = text.partition("=")
            gpu, model, gpus = speed.split("/")
            steps = ForwardSteps.read(
                given.forward_times, gpu, model, int(gpus), given.overhead_ms / 1e3
            )
        except ValueError:
            raise ConfigurationError(
                f"--tier {text}: write NAME=GPU/MODEL/TENSOR_PARALLEL"
            ) from None
        worker = Worker(steps, given.max_num_seqs, given.max_num_batched_tokens, steps.kv_tokens)
        found[name] = Supply(worker, float(gpus), given.usd_per_gpu_hour)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.capacity", description=__doc__)
    option = parser.add_argument
    option("--trace", type=Path, required=True, help="arrival_s,input_tokens,output_tokens")
    option("--forward-times", type=Path, required=True, help="vidur_linear_times.csv.gz")
    option("--tier", action="append", help=f"NAME=GPU/MODEL/TP; else {' '.join(TIERS)}")
    option("--arms", default=",".join(ARMS), help="small, large, profile, cascade=SHARE")
    option("--window", type=_count, default=24, help="tokens that a cascade holds back")
    option("--rate", type=_above_0, help="requests a second; the trace's own if left out")
    option("--seconds", type=_above_0, default=1200.0, help="of the trace, after --rate")
    option("--bound", type=_above_0, default=2.0, help="seconds to a call's first token, p95")
    option("--utilisation", type=_above_0, default=0.7, help="what `size` may use of a worker")
    option("--poisson", action="store_true", help="at random times, not the trace's")
    option("--balancer", default="prefix_affinity", choices=get_args(BalancerKind))
    option("--max-in-flight", type=_count, help="calls given to a worker at once")
    option("--max-num-seqs", type=_count, default=256)
    option("--max-num-batched-tokens", type=_count, default=2048)
    option("--overhead-ms", type=float, default=OVERHEAD_S * 1e3, help="of a step")
    option("--usd-per-gpu-hour", type=float, default=2.0)
    option("--seed", type=int, default=0)
    option("--out", type=Path, help="JSON")
    return parser


def _above_0(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


if __name__ == "__main__":
    main()
