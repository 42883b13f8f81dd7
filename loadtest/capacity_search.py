"""The smallest fleet that keeps its calls' time to the first token under a bound."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from entroute.backends.balancing import BalancerKind
from entroute.errors import ConfigurationError
from entroute.evaluation.lengths import Arrival
from entroute.evaluation.sizing import Supply
from loadtest.capacity_fleet import Fleet, TierSpec
from loadtest.capacity_measures import Result, measured
from loadtest.capacity_traffic import Way

WARM_S = 60.0
"""Requests of the first so many seconds are not counted: the fleet was empty before."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What is simulated.

    Attributes:
        arrivals: Of the trace, ordered.
        supplies: What tiers are made of, by name.
        balancer: Of every tier.
        max_in_flight: Calls given to a worker at once, None for no limit.
        warm_s: Requests that come before are not counted.
        seed: Of every random choice.
    """

    arrivals: Sequence[Arrival]
    supplies: Mapping[str, Supply]
    balancer: BalancerKind = "prefix_affinity"
    max_in_flight: int | None = None
    warm_s: float = WARM_S
    seed: int = 0


def simulated(scene: Scene, ways: Sequence[Way], replicas: Mapping[str, int]) -> Result:
    """Return what a fleet of so many workers by tier makes of a scene."""
    tiers = {
        name: TierSpec(scene.supplies[name].worker, count, scene.balancer, scene.max_in_flight)
        for name, count in replicas.items()
    }
    fleet = Fleet(tiers, ways, Random(scene.seed))
    asked = fleet.run(scene.arrivals)
    return measured(fleet, asked, scene.supplies, scene.warm_s, Random(scene.seed))


def smallest(
    scene: Scene, ways: Sequence[Way], begin: Mapping[str, int], bound_s: float, most: int = 64
) -> tuple[dict[str, int], Result]:
    """Return the least fleet of which every tier keeps p95 under the bound, and its result.

    Tiers are settled one after the other, in the order in which ways call them; what one of them
    has does not change how many calls the others get, only when.

    Args:
        scene: What is simulated.
        ways: How requests are answered.
        begin: Where to look first, by tier; those that no way calls are left out.
        bound_s: Seconds from the gateway's queue to a call's first token, for 95% of calls.
        most: Replicas at most.

    Raises:
        ConfigurationError: Even so many do not keep the bound.
    """
    fleet = {name: begin[name] for name in _called(ways)}
    seen: dict[tuple[int, ...], Result] = {}

    def late(name: str) -> bool:
        key = tuple(fleet.values())
        if key not in seen:
            seen[key] = simulated(scene, ways, fleet)
        return seen[key].tiers[name].ttft_p95 > bound_s

    for name in (*fleet, *fleet):  # twice: once others are faster, a tier is called earlier
        while late(name):
            fleet[name] += 1
            if fleet[name] > most:
                raise ConfigurationError(f"{most} workers of {name} miss {bound_s} s")
        while fleet[name] > 1:
            fleet[name] -= 1
            if late(name):
                fleet[name] += 1
                break
    return fleet, seen[tuple(fleet.values())]


def _called(ways: Sequence[Way]) -> list[str]:
    stages = [stage for way in ways if way.share > 0 for stage in way.stages if stage.calls > 0]
    return list(dict.fromkeys(stage.tier for stage in stages))
