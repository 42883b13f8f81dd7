"""What a simulated run came to: percentiles with intervals, use of the workers, cost."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from random import Random

from entroute.evaluation.sizing import Supply
from loadtest.capacity_fleet import Asked, Fleet
from loadtest.capacity_worker import Work

WINDOW_S = 60.0
RESAMPLES = 200


@dataclass(frozen=True, slots=True)
class Figure:
    """A percentile, and its 95% interval by windows of the trace."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class TierUse:
    """What became of one tier.

    Attributes:
        replicas: Workers.
        calls: Made.
        busy: Share of the time in which a worker had anything to do, [0, 1].
        batch: Answers a worker was writing, in the mean over the time.
        kv: Most of its KV cache that a worker ever set aside, [0, 1]; 0 where it has no limit.
        cached: Share of prompt tokens found in prefix caches, [0, 1].
        ttft_p95: Of its calls, from the gateway's queue to the first token, in seconds.
        wait_p95: Of its calls, until a worker let them in.
    """

    replicas: int
    calls: int
    busy: float
    batch: float
    kv: float
    cached: float
    ttft_p95: float
    wait_p95: float


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to.

    Attributes:
        requests: Counted, those of the warm-up left out.
        ttft: Seconds until clients saw anything, by percentile.
        e2e: Seconds until they had all of it, by percentile.
        tiers: By name.
        usd_per_hour: Of the workers.
        usd_per_thousand: Of the workers, a thousand requests.
    """

    requests: int
    ttft: Mapping[str, Figure]
    e2e: Mapping[str, Figure]
    tiers: Mapping[str, TierUse]
    usd_per_hour: float
    usd_per_thousand: float


def percentile(values: Sequence[float], level: float) -> float:
    """Return the least value that a share `level` of them does not exceed.

    Raises:
        ValueError: There are none.
    """
    if not values:
        raise ValueError("percentile needs at least one value")
    ranked = sorted(values)
    return ranked[max(0, ceil(level * len(ranked)) - 1)]


def measured(
    fleet: Fleet, asked: Sequence[Asked], supplies: Mapping[str, Supply], warm_s: float, rng: Random
) -> Result:
    """Return what a run came to.

    Args:
        fleet: After the run.
        asked: Its requests, all ended.
        supplies: Prices of its tiers.
        warm_s: Requests that came before are not counted.
        rng: Of the bootstrap.
    """
    counted = [request for request in asked if request.arrival.at_s >= warm_s]
    span_s = asked[-1].arrival.at_s
    usd = sum(
        len(tier.workers) * supplies[name].gpus * supplies[name].usd_per_gpu_hour
        for name, tier in fleet.tiers.items()
    )
    rate = len(counted) / (span_s - warm_s)
    return Result(
        requests=len(counted),
        ttft=_figures(counted, lambda request: request.first_s, rng),
        e2e=_figures(counted, lambda request: request.done_s, rng),
        tiers={name: _use(fleet, name, counted, asked) for name in fleet.tiers},
        usd_per_hour=usd,
        usd_per_thousand=usd / (rate * 3.6),
    )


def _figures(
    counted: Sequence[Asked], when: Callable[[Asked], float], rng: Random
) -> dict[str, Figure]:
    """Return p50, p95 and p99 of the time from arrival, with intervals.

    Source: windows of the trace are drawn with replacement, since neighbours share a burst: the
    block bootstrap of Carlstein (1986).
    """
    windows: dict[int, list[float]] = {}
    for request in counted:
        window = int(request.arrival.at_s / WINDOW_S)
        windows.setdefault(window, []).append(when(request) - request.arrival.at_s)
    blocks = list(windows.values())
    samples = [rng.choices(blocks, k=len(blocks)) for _ in range(RESAMPLES)]
    drawn = [sorted(value for block in sample for value in block) for sample in samples]
    found = {}
    for name, level in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        resampled = sorted(one[max(0, ceil(level * len(one)) - 1)] for one in drawn)
        value = percentile([value for block in blocks for value in block], level)
        low, high = resampled[int(0.025 * RESAMPLES)], resampled[int(0.975 * RESAMPLES) - 1]
        found[name] = Figure(value, low, high)
    return found


def _use(fleet: Fleet, name: str, counted: Sequence[Asked], asked: Sequence[Asked]) -> TierUse:
    tier = fleet.tiers[name]
    every = _works(asked, name)
    works = _works(counted, name)
    span_s = max((work.done_s for work in every), default=0.0) or 1.0
    written_s = sum(work.done_s - work.first_s for work in every)
    limit = tier.spec.worker.kv_tokens
    return TierUse(
        replicas=len(tier.workers),
        calls=len(works),
        busy=sum(worker.busy_s for worker in tier.workers) / span_s / len(tier.workers),
        batch=written_s / span_s / len(tier.workers),
        kv=0.0 if limit is None else max(w.most_held for w in tier.workers) / limit,
        cached=sum(w.cached for w in every) / max(1, sum(w.prompt for w in every)),
        ttft_p95=percentile([w.first_s - w.given_s for w in works], 0.95) if works else 0.0,
        wait_p95=percentile([w.begun_s - w.given_s for w in works], 0.95) if works else 0.0,
    )


def _works(asked: Sequence[Asked], name: str) -> list[Work]:
    return [work for request in asked for tier, work in request.works if tier == name]
