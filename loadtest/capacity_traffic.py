"""Requests of a trace, and the calls that a way of answering makes of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from entroute.evaluation.lengths import Arrival
from entroute.evaluation.sizing_mix import plan_needs
from entroute.profile.profile import Profile


@dataclass(frozen=True, slots=True)
class Stage:
    """Calls to one tier, side by side.

    Attributes:
        tier: Which.
        calls: In the mean, 0 or more: so many for sure, and one more by chance.
        length: Tokens of each, in lengths of the trace's answer.
        streams: Whether the client sees its tokens as they are made, if it is what answers.
        window: Tokens that are held back before; 0 for none.
    """

    tier: str
    calls: float
    length: float = 1.0
    streams: bool = True
    window: int = 0


@dataclass(frozen=True, slots=True)
class Way:
    """A way to answer: stages one after the other; the last that is called answers.

    Attributes:
        name: Of it.
        share: Of requests that are answered so, in proportion to the others' shares.
        stages: At least one; the first makes at least one call.
    """

    name: str
    share: float
    stages: tuple[Stage, ...]


def always(tier: str) -> tuple[Way, ...]:
    """Return the way that answers everything by one call to a tier."""
    return (Way(f"always {tier}", 1.0, (Stage(tier, 1.0),)),)


def cascade(escalated: float, window: int) -> tuple[Way, ...]:
    """Return a cascade: small's window, held back; then small goes on, or large answers.

    Args:
        escalated: Share of requests that go up, [0, 1].
        window: Tokens held back: all that small makes of a request that goes up.
    """
    up = (Stage("small", 1.0, 0.0, window=window), Stage("large", 1.0))
    stay = (Stage("small", 1.0, window=window),)
    return (Way("escalated", escalated, up), Way("released", 1 - escalated, stay))


def planned(profile: Profile, shares: Mapping[str, float]) -> tuple[Way, ...]:
    """Return the ways of a profile's plans, dealt in these shares, with their mean spending.

    A plan of one call streams; what is checked or voted on comes whole, and where a plan goes up
    the larger tier's answer streams.

    Raises:
        ConfigurationError: The profile has no such plan.
    """
    return tuple(Way(name, share, _stages(profile, name)) for name, share in shares.items())


def _stages(profile: Profile, name: str) -> tuple[Stage, ...]:
    needs = [(tier, need) for tier, need in plan_needs(profile, name).items() if need.calls > 0]
    alone = len(needs) == 1 and needs[0][1].calls == 1
    return tuple(
        Stage(tier, need.calls, need.answers / need.calls, streams=alone or place > 0)
        for place, (tier, need) in enumerate(needs)
    )


def scaled(arrivals: Sequence[Arrival], rate: float | None, seconds: float) -> list[Arrival]:
    """Return the first so many seconds of a trace, its clock changed so that it has this rate.

    Args:
        arrivals: Ordered.
        rate: Requests a second in the mean, or None for the trace's own.
        seconds: Of simulated time, after the change.
    """
    begin = arrivals[0].at_s
    own = len(arrivals) / max(arrivals[-1].at_s - begin, 1e-9)
    factor = 1.0 if rate is None else own / rate
    clocked = ((a, (a.at_s - begin) * factor) for a in arrivals)
    return [Arrival(at_s, a.prompt, a.answer, a.blocks) for a, at_s in clocked if at_s <= seconds]


def poisson(arrivals: Sequence[Arrival], rng: Random) -> list[Arrival]:
    """Return the same requests at random times, as many in the mean: what formulas assume."""
    rate = len(arrivals) / arrivals[-1].at_s
    at_s, found = 0.0, []
    for arrival in arrivals:
        at_s += rng.expovariate(rate)
        found.append(replace(arrival, at_s=at_s))
    return found


def drawn(ways: Sequence[Way], rng: Random) -> tuple[Way, tuple[int, ...]]:
    """Return one request's way, and how many calls each of its stages makes."""
    way = rng.choices(ways, [way.share for way in ways])[0]
    counts = [int(stage.calls) + (rng.random() < stage.calls % 1) for stage in way.stages]
    return way, (max(1, counts[0]), *counts[1:])
