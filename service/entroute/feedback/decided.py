"""What was decided for recent requests, so that a label that comes later finds it."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from entroute.decisions import Decision
from entroute.evidence import Trace

Missing = Literal["unknown", "foreign"]
"""Why there is no decision: nobody was given this id, or only other tenants were."""


@dataclass(frozen=True, slots=True)
class Decided:
    """One answered request, and the label it has so far.

    Attributes:
        request_id: As the client sees it; a client may choose it, so it names nothing alone.
        tenant: Who was answered.
        at: Seconds since the epoch; the newest answer of an id counts.
        plan: Name of the profile's plan, "" when none was chosen.
        strategy: Strategy that answered.
        tier: Tier that answered.
        profile: Which profile predicted.
        profile_quality: The profile's own P(right) in [0, 1], before correction, or None.
        predicted_quality: P(right) in [0, 1] as the decision said it, or None.
        propensity: Probability in (0, 1] with which this plan was chosen for this prompt.
        cached: Whether the answer was kept or shared, not made for this request.
        label: The latest label in [0, 1], or None.
        changes: How often the label was changed.
    """

    request_id: str
    tenant: str
    at: float
    plan: str = ""
    strategy: str = ""
    tier: str = ""
    profile: str = ""
    profile_quality: float | None = None
    predicted_quality: float | None = None
    propensity: float = 1.0
    cached: bool = False
    label: float | None = None
    changes: int = 0

    @property
    def key(self) -> str:
        """Name this answer, and no other of the same id, without telling who asked."""
        name = f"{self.tenant}\n{self.request_id}\n{self.at!r}"
        return blake2b(name.encode(), digest_size=12).hexdigest()

    def labelled(self, value: float) -> "Decided":
        """Return it with a label in place of an older one."""
        if self.label in {None, value}:
            return replace(self, label=value)
        return replace(self, label=value, changes=self.changes + 1)


_DECIDED = TypeAdapter(Decided)
_NO_DECISION = Decision("", "", "")


def decided_from(data: bytes) -> Decided | None:
    """Return an answer from its JSON, None when it cannot be read."""
    try:
        return _DECIDED.validate_json(data)
    except ValidationError:
        return None


def decided_by(trace: Trace, profile: str, at: float) -> Decided | None:
    """Return what a finished trace decided, None when the request was not answered."""
    if trace.result != "ok" or trace.outcome is None:
        return None
    # What earlier runs had made whole is their answer once more.
    resumed = trace.resumed > 0 and not trace.charges
    cached = resumed or trace.shared or trace.cache in {"exact", "semantic"}
    decision = _NO_DECISION if cached or trace.decision is None else trace.decision
    return Decided(
        trace.request_id,
        trace.tenant,
        at,
        plan=decision.plan,
        strategy=trace.outcome.strategy,
        tier=trace.outcome.tier,
        profile=profile,
        profile_quality=decision.profile_quality,
        predicted_quality=decision.predicted_quality,
        propensity=decision.propensity,
        cached=cached,
    )


class DecidedMemory:
    """The last answers, bounded in number and age.

    Args:
        capacity: Most answers kept; the oldest go first.
        ttl_s: Seconds an answer is kept.
        wall: Seconds since the epoch.
    """

    def __init__(self, capacity: int, ttl_s: float, wall: Callable[[], float]) -> None:
        self._capacity = capacity
        self._ttl_s = ttl_s
        self._wall = wall
        self._held: OrderedDict[tuple[str, str], Decided] = OrderedDict()
        self._holders: dict[str, int] = {}  # tenants by id: tells foreign from unknown

    def __len__(self) -> int:
        return len(self._held)

    def put(self, decided: Decided) -> None:
        """Keep an answer in place of an older one of the same id and tenant."""
        key = (decided.request_id, decided.tenant)
        self._drop(key)
        self._held[key] = decided
        self._holders[decided.request_id] = self._holders.get(decided.request_id, 0) + 1
        self._expire()
        while len(self._held) > self._capacity:
            self._drop(next(iter(self._held)))

    def update(self, decided: Decided) -> None:
        """Keep a label with its answer, unless a newer answer has taken its place."""
        key = (decided.request_id, decided.tenant)
        held = self._held.get(key)
        if held is not None and held.at == decided.at:
            self._held[key] = decided

    def find(self, request_id: str, tenant: str) -> Decided | Missing:
        """Return the answer that this tenant was given, or why there is none."""
        self._expire()
        held = self._held.get((request_id, tenant))
        if held is not None:
            return held
        return "foreign" if request_id in self._holders else "unknown"

    def _expire(self) -> None:
        """Drop what is too old; answers are kept in the order they came."""
        oldest = self._wall() - self._ttl_s
        while self._held:
            key, held = next(iter(self._held.items()))
            if held.at > oldest:
                return
            self._drop(key)

    def _drop(self, key: tuple[str, str]) -> None:
        if self._held.pop(key, None) is None:
            return
        left = self._holders[key[0]] - 1
        if left:
            self._holders[key[0]] = left
        else:
            del self._holders[key[0]]
