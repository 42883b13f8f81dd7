"""When what breaks in a chaos run: drawn from a seed, never all workers of a tier at once.

It knows nothing about processes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

REST_S = 5.0
"""Seconds after a fault in which its worker still counts as broken: until a sweep has seen it, and
breakers and ejections of two seconds are over."""

REDIS = "redis"
GATEWAY = "gateway"

_SCRIPTS: Mapping[str, Mapping[str, Any]] = {
    "status 500": {"failures": [{"kind": "status", "status": 500}]},
    "status 500 now and then": {
        "failures": [{"kind": "status", "status": 500, "probability": 0.3}]
    },
    "status 429": {"failures": [{"kind": "status", "status": 429, "retry_after_s": 1}]},
    "status 503": {"failures": [{"kind": "status", "status": 503, "retry_after_s": 1}]},
    "refuse": {"failures": [{"kind": "refuse"}]},
    "hang": {"failures": [{"kind": "hang"}]},
    "slow loris": {"failures": [{"kind": "slow_loris"}]},
    "wrong content type": {"failures": [{"kind": "content_type"}]},
    "reset": {"failures": [{"kind": "reset", "after_tokens": 12, "probability": 0.5}]},
    "close": {"failures": [{"kind": "close", "after_tokens": 7, "probability": 0.5}]},
    "stall": {"failures": [{"kind": "stall", "after_tokens": 9, "probability": 0.3}]},
    "malformed": {"failures": [{"kind": "malformed", "after_tokens": 5, "probability": 0.5}]},
    "truncated": {"failures": [{"kind": "truncated", "after_tokens": 10, "probability": 0.5}]},
    "trickle": {"failures": [{"kind": "trickle", "piece_bytes": 200, "every_ms": 20}]},
    "slow trickle": {"failures": [{"kind": "trickle", "probability": 0.3}]},
    "several at once": {
        "failures": [
            {"kind": "status", "status": 500, "probability": 0.2},
            {"kind": "reset", "after_tokens": 3, "probability": 0.2},
            {"kind": "malformed", "probability": 0.2},
        ]
    },
    "sick": {"healthy": False},
}

WORKER_FAULTS = ("killed", "paused", *_SCRIPTS)
REDIS_FAULTS = ("redis killed", "redis paused")
GATEWAY_FAULTS = ("reload", "reload of a bad file")
ALL_FAULTS = (*WORKER_FAULTS, *REDIS_FAULTS, *GATEWAY_FAULTS)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something breaks `at` seconds after the start, for `lasts_s`.

    `target` is a worker's name, REDIS or GATEWAY; `script` is what a worker is told.
    """

    at: float
    lasts_s: float
    kind: str
    target: str
    script: Mapping[str, Any] = field(default_factory=dict)

    @property
    def end(self) -> float:
        """Seconds after the start at which it is mended."""
        return self.at + self.lasts_s


@dataclass(frozen=True, slots=True)
class Period:
    """Faults of a run: between two times, one about every so many seconds, each so long."""

    start: float
    end: float
    every_s: float
    shortest_s: float = 1.5
    longest_s: float = 6.0


def schedule(
    tiers: Mapping[str, Sequence[str]], kinds: Sequence[str], period: Period, seed: int
) -> list[Fault]:
    """Return the faults of a run in the order of their times.

    Every kind comes once before one comes twice. A worker's fault waits until another worker of its
    tier is sound as long as it lasts, and every part breaks one way at a time.

    Args:
        tiers: Names of workers by tier.
        kinds: Of `ALL_FAULTS`.
        period: When.
        seed: Of what is drawn.
    """
    rng = Random(seed)
    faults: list[Fault] = []
    at = period.start
    for kind in _in_rounds(kinds, rng):
        lasts = rng.uniform(period.shortest_s, period.longest_s)
        target = None
        while target is None and at + lasts <= period.end:
            target = _target(kind, _broken(faults, at, at + lasts + REST_S), tiers, rng)
            at += 0.0 if target else 0.5
        if target is None:
            break
        faults.append(Fault(at, lasts, kind, target, _SCRIPTS.get(kind, {})))
        at += rng.uniform(0.5, 1.5) * period.every_s
    return faults


def _in_rounds(kinds: Sequence[str], rng: Random) -> Iterator[str]:
    while kinds:
        yield from rng.sample(kinds, len(kinds))


def _broken(faults: Sequence[Fault], start: float, end: float) -> set[str]:
    return {fault.target for fault in faults if fault.at < end and start < fault.end + REST_S}


def _target(
    kind: str, broken: set[str], tiers: Mapping[str, Sequence[str]], rng: Random
) -> str | None:
    """Return what may break in that way beside what is broken, None where nothing may."""
    if kind in GATEWAY_FAULTS or kind in REDIS_FAULTS:
        part = GATEWAY if kind in GATEWAY_FAULTS else REDIS
        return None if part in broken else part
    able = [
        worker
        for workers in tiers.values()
        for worker in workers
        if worker not in broken and len(broken.intersection(workers)) + 1 < len(workers)
    ]
    return rng.choice(able) if able else None
