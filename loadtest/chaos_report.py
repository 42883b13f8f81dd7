"""What a chaos run found, as Markdown and as JSON."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from statistics import mean
from typing import Any

from loadtest.chaos_checks import Check, Evidence
from loadtest.chaos_watch import Sample

_STARVED = 0.2  # share of the time in which the gateway may be ready to run and not be run
_SHOWN = 40  # lines of what speaks against one check


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds of the parts over `seconds` of load, and seconds they waited for a free CPU."""

    seconds: float
    gateway_s: float
    client_s: float
    workers_s: float
    gateway_waited_s: float
    client_waited_s: float

    def since(self, earlier: "Cost") -> "Cost":
        """Return what was added; nothing less than 0, since workers are killed."""
        now, then = astuple(self), astuple(earlier)
        return Cost(*(max(0.0, one - other) for one, other in zip(now, then, strict=True)))


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything a run found."""

    seed: int
    seconds: float
    evidence: Evidence
    samples: Sequence[Sample]
    cost: Cost
    checks: Sequence[Check]

    @property
    def hold(self) -> bool:
        """Whether every check holds."""
        return all(check.holds for check in self.checks)


def markdown(found: Findings) -> str:
    """Return the report."""
    lines = [f"Seed {found.seed}, {found.seconds:.0f} s.", "", *_load(found), "", *_faults(found)]
    starved = found.cost.gateway_waited_s / found.cost.seconds
    if starved > _STARVED:
        lines += [
            "",
            f"**No core was free for the gateway {starved:.0%} of the time**: what is late,",
        ]
        lines += [
            "and the errors that come of it, may be this machine's doing. Repeat it on an idle one."
        ]
    lines += ["", "| check | holds | seen |", "| --- | --- | --- |"]
    for check in found.checks:
        lines.append(f"| {check.claim} | {'yes' if check.holds else '**NO**'} | {check.seen} |")
    for check in found.checks:
        if check.against:
            lines += ["", f'Against "{check.claim}":', ""]
            lines += [f"- {line}" for line in check.against[:_SHOWN]]
            if len(check.against) > _SHOWN:
                lines.append(f"- and {len(check.against) - _SHOWN} more")
    return "\n".join(lines)


def _load(found: Findings) -> list[str]:
    asked = found.evidence.asked
    open_now = [s.open_requests for s in found.samples if s.at >= 0.1 * found.seconds] or [0]
    ways = Counter(
        f"{'streamed' if a.wish.way.stream else 'plain'} {a.strategy or 'undecided'}" for a in asked
    )
    caches = Counter(a.cache or "none" for a in asked)
    cost = found.cost
    shares = [s / cost.seconds for s in (cost.gateway_s, cost.client_s, cost.workers_s)]
    return [
        f"{len(asked)} requests, {mean(open_now):.0f} open on average ({max(open_now)} at most): "
        + ", ".join(f"{count} {way}" for way, count in ways.most_common()),
        "",
        "Cache: " + ", ".join(f"{count} {kind}" for kind, count in caches.most_common()),
        "",
        "CPU in cores: gateway {:.2f}, load client {:.2f}, workers {:.2f}; ".format(*shares)
        + f"ready to run without a free core: gateway {cost.gateway_waited_s:.1f} s, load client "
        f"{cost.client_waited_s:.1f} s of {cost.seconds:.0f} s. /healthz took "
        f"{max((s.ping_s for s in found.samples), default=0.0):.2f} s at most.",
    ]


def _faults(found: Findings) -> list[str]:
    kinds = Counter(one.fault.kind for one in found.evidence.happened)
    each = ", ".join(f"{count} x {kind}" for kind, count in sorted(kinds.items()))
    return [f"{sum(kinds.values())} faults: {each}"]


def as_json(found: Findings) -> dict[str, Any]:
    """Return the report with every error, fault and sample."""
    return {
        "seed": found.seed,
        "seconds": found.seconds,
        "holds": found.hold,
        "checks": [asdict(check) for check in found.checks],
        "cost": asdict(found.cost),
        "faults": [asdict(one) for one in found.evidence.happened],
        "samples": [asdict(sample) for sample in found.samples],
        "errors": [_error(asked) for asked in found.evidence.asked if asked.failed],
        "requests": len(found.evidence.asked),
    }


def _error(asked: Any) -> dict[str, Any]:
    row = asdict(asked)
    row["text"] = row["text"][-100:]
    return row
