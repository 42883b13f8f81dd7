"""How many workers, gateways and dollars traffic takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from statistics import fmean

from entroute.errors import ConfigurationError
from entroute.evaluation.lengths import Lengths
from entroute.evaluation.queueing import one_server, quantile, several_servers
from entroute.evaluation.sizing_workers import Busy, Worker, busy_at, capacity

MOST_REPLICAS = 10_000


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is asked at the peak.

    Attributes:
        rate: Requests a second, above 0.
        lengths: Of one plain answer to each.
        cached: Share of prompt tokens that the workers' prefix caches hold, [0, 1).
        answered: Share of requests that the gateway's cache answers, [0, 1).
    """

    rate: float
    lengths: Lengths
    cached: float = 0.0
    answered: float = 0.0


@dataclass(frozen=True, slots=True)
class Need:
    """What one request takes of a tier in the mean, everything charged.

    Attributes:
        calls: Calls of any purpose: answers, samples, probes, verifiers, discarded ones; 0 or more.
        answers: Tokens that these generate, in lengths of one plain answer, 0 or more.
    """

    calls: float
    answers: float


@dataclass(frozen=True, slots=True)
class Supply:
    """What a tier is made of.

    Attributes:
        worker: One of its workers.
        gpus: GPUs of one worker, above 0.
        usd_per_gpu_hour: Price, 0 or more.
        least: Replicas at least, 1 or more.
    """

    worker: Worker
    gpus: float
    usd_per_gpu_hour: float
    least: int = 1


@dataclass(frozen=True, slots=True)
class Target:
    """What must hold at the peak.

    Attributes:
        utilisation: Share of a tier's capacity at most, in (0, 1).
        ttft_s: Seconds to a call's first token at most, or None.
        percentile: Of calls for which that holds, in (0, 1).
    """

    utilisation: float = 0.7
    ttft_s: float | None = None
    percentile: float = 0.95


@dataclass(frozen=True, slots=True)
class GatewayCost:
    """CPU of one gateway process, which has one core.

    Attributes:
        request_s: Seconds a request, its calls included.
        token_s: Seconds a streamed token.
        utilisation: Share of the core at most, in (0, 1).
        least: Replicas at least: two, so that one may fail or be replaced.

    Source: measured, docs/log.md: 1.4 ms of CPU a request, 110 to 190 us a chunk.
    """

    request_s: float = 0.0014
    token_s: float = 0.00015
    utilisation: float = 0.6
    least: int = 2


@dataclass(frozen=True, slots=True)
class TierSize:
    """What one tier needs.

    Attributes:
        replicas: Workers.
        calls_per_s: Of all of them.
        utilisation: Share of their capacity in use, [0, 1].
        busy: One worker in the mean.
        wait_s: Mean wait for a place and for other prompts.
        ttft_s: Time to the first token of a call, at the target's percentile.
        usd_per_hour: Of all of them.
    """

    replicas: int
    calls_per_s: float
    utilisation: float
    busy: Busy
    wait_s: float
    ttft_s: float
    usd_per_hour: float


@dataclass(frozen=True, slots=True)
class Sizing:
    """What all of it takes.

    Attributes:
        tiers: By name; those that nothing is asked of are left out.
        gateways: Gateway processes, one core each.
        usd_per_hour: Of the workers.
        usd_per_thousand: Of the workers, a thousand requests at the peak.
    """

    tiers: Mapping[str, TierSize]
    gateways: int
    usd_per_hour: float
    usd_per_thousand: float


def size(
    traffic: Traffic,
    needs: Mapping[str, Need],
    supplies: Mapping[str, Supply],
    target: Target,
    gateway: GatewayCost,
) -> Sizing:
    """Return the least fleet that keeps to the target; of over 100 workers 2% more at most.

    Args:
        traffic: What is asked.
        needs: By tier.
        supplies: By tier, at least those of `needs`.
        target: What must hold.
        gateway: What a gateway costs.

    Raises:
        ConfigurationError: No fleet keeps to the target.
    """
    tiers = {
        tier: _tier(tier, traffic, need, supplies[tier], target)
        for tier, need in needs.items()
        if need.calls > 0
    }
    usd = sum(tier.usd_per_hour for tier in tiers.values())
    return Sizing(
        tiers=tiers,
        gateways=_gateways(traffic, needs, gateway),
        usd_per_hour=usd,
        usd_per_thousand=usd / (traffic.rate * 3.6),
    )


def alone(
    traffic: Traffic, supplies: Mapping[str, Supply], target: Target, gateway: GatewayCost
) -> dict[str, Sizing]:
    """Return, by tier, what it takes if that tier answers everything with one call.

    Raises:
        ConfigurationError: No fleet keeps to the target.
    """
    one = Need(calls=1.0, answers=1.0)
    return {tier: size(traffic, {tier: one}, supplies, target, gateway) for tier in supplies}


def _tier(name: str, traffic: Traffic, need: Need, supply: Supply, target: Target) -> TierSize:
    lengths = traffic.lengths.scaled(answer=need.answers / need.calls)
    calls_per_s = traffic.rate * (1 - traffic.answered) * need.calls
    most = capacity(supply.worker, lengths, traffic.cached)
    if not most:
        raise ConfigurationError(
            f"traffic: answers of {lengths.answer:.3g} tokens are too long for tier {name}"
        )
    replicas = max(supply.least, ceil(calls_per_s / (most * target.utilisation)))
    while replicas <= MOST_REPLICAS:
        found = _with(replicas, calls_per_s, most, lengths, traffic.cached, supply, target)
        if found is not None and (target.ttft_s is None or found.ttft_s <= target.ttft_s):
            return found
        if found is not None and found.utilisation < 0.01:  # noqa: PLR2004 - idle, and still late
            break
        replicas += max(1, replicas // 50)  # a step costs the more, the more workers there are
    if replicas > MOST_REPLICAS:
        raise ConfigurationError(
            f"tiers.{name}: {calls_per_s:.3g} calls a second take more than {MOST_REPLICAS} workers"
            " by this target: give it a faster worker, or less traffic"
        )
    raise ConfigurationError(
        f"target.ttft_s: tier {name} cannot begin {target.percentile:.0%} of its calls within"
        f" {target.ttft_s} s: reading a long prompt alone takes longer"
    )


def _with(  # noqa: PLR0913, PLR0917 - what one tier is judged by
    replicas: int,
    calls_per_s: float,
    most: float,
    lengths: Lengths,
    cached: float,
    supply: Supply,
    target: Target,
) -> TierSize | None:
    """Return how a tier of so many replicas fares, None if it falls behind."""
    worker, rate = supply.worker, calls_per_s / replicas
    busy = busy_at(worker, rate, lengths, cached)
    if busy is None or rate >= most:
        return None
    stays = [
        reading + (answer - 1) * busy.token_s
        for reading, (_, answer) in zip(busy.readings, lengths.pairs, strict=True)
    ]
    places = replicas * worker.room(lengths)
    if calls_per_s * fmean(stays) >= places or rate * fmean(busy.readings) >= 1:
        return None
    waits = (several_servers(calls_per_s, places, stays), one_server(rate, busy.readings))
    # A prompt that comes while only answers are written waits for the end of that step.
    begun = busy.step_s / 2 if busy.batch else 0.0
    firsts = [begun + reading for reading in busy.readings]
    return TierSize(
        replicas=replicas,
        calls_per_s=calls_per_s,
        utilisation=rate / most,
        busy=busy,
        wait_s=sum(wait.mean_s for wait in waits),
        ttft_s=quantile(target.percentile, waits, firsts),
        usd_per_hour=replicas * supply.gpus * supply.usd_per_gpu_hour,
    )


def _gateways(traffic: Traffic, needs: Mapping[str, Need], gateway: GatewayCost) -> int:
    """Return how many processes, each with one core, carry the requests and all their tokens."""
    read = sum(need.answers for need in needs.values()) * traffic.lengths.answer
    busy = traffic.rate * (gateway.request_s + (1 - traffic.answered) * read * gateway.token_s)
    return max(gateway.least, ceil(busy / gateway.utilisation))
