"""Outliers: workers that fail or dawdle more than the others are ejected for a while."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import sqrt
from statistics import fmean, median, pvariance
from typing import Literal, Protocol

Reason = Literal["failures", "slowness"]

_DEVIATIONS = 1.9
_LEAST_GAP = 0.1  # of success rates: less is not worth a worker
_LEAST_GAP_S = 0.1  # of times to the first piece: less, no client feels
_MOST_TIMES = 512  # kept of one worker and interval


@dataclass(frozen=True, slots=True)
class OutlierLimits:
    """Who is ejected, and for how long.

    Attributes:
        interval_s: Seconds between comparisons, above 0.
        requests: Attempts that a worker must have ended in an interval to be compared, at least 1.
        slow_factor: Times the others' median above which a worker's median is too slow, above 1;
            None to leave slow ones alone.
        base_ejection_s: Length of a first ejection; the n-th in a row is n times as long.
        max_ejection_s: Longest ejection.
        max_ejected: Share of a tier's workers that may be ejected at one time, in [0, 1]; one may,
            of two or more, unless it is 0.
    """

    interval_s: float = 10.0
    requests: int = 20
    slow_factor: float | None = 3.0
    base_ejection_s: float = 30.0
    max_ejection_s: float = 300.0
    max_ejected: float = 0.34


TimesKey = tuple[bool, int]
"""Whether an answer was streamed, and the size of its prompt: what may be compared."""


@dataclass(slots=True)
class Record:
    """What one worker did since the last comparison.

    Attributes:
        good: Attempts answered.
        bad: Attempts that failed through its fault.
        times_s: Seconds to the first piece of streams, to the whole of other answers.
    """

    good: int = 0
    bad: int = 0
    times_s: dict[TimesKey, list[float]] = field(default_factory=lambda: defaultdict(list))

    @property
    def ended(self) -> int:
        """Attempts that say something of the worker."""
        return self.good + self.bad

    @property
    def rate(self) -> float:
        """Share of good ones, in [0, 1], higher is better; of at least one."""
        return self.good / self.ended

    def answered(self, seconds: float, key: TimesKey) -> None:
        """Count an answer."""
        self.good += 1
        times = self.times_s[key]
        if len(times) < _MOST_TIMES:
            times.append(seconds)


class Compared(Protocol):
    """A worker as it is compared with others."""

    @property
    def admits(self) -> bool:
        """Whether anything but an ejection keeps calls from it."""
        ...

    @property
    def ejected(self) -> bool:
        """Whether it is ejected now."""
        ...

    @property
    def warming(self) -> bool:
        """Whether it came back a moment ago: slow for now, with cold caches."""
        ...

    def take_record(self) -> Record:
        """Return what it did since it was last asked, and begin anew."""
        ...

    def eject(self, why: str, limits: OutlierLimits) -> None:
        """Leave it alone for a while."""
        ...

    def pardon(self) -> None:
        """Note an interval without fault: the next ejection is shorter again."""
        ...


class Outliers:
    """Compares a tier's workers every interval and ejects those that stand out.

    Attributes:
        limits: Who is ejected, and for how long.
        ejections: How many so far, by reason.
    """

    def __init__(self, limits: OutlierLimits) -> None:
        self.limits = limits
        self.ejections: Counter[str] = Counter()
        self._due: float | None = None

    def compare(self, members: Sequence[Compared], now: float) -> None:
        """Compare if an interval has passed at `now`, in monotonic seconds; else do nothing."""
        if self._due is None:
            self._due = now + self.limits.interval_s
        if now < self._due:
            return
        self._due = now + self.limits.interval_s
        records = [member.take_record() for member in members]
        judged = [not member.ejected for member in members]
        found = failing(records, self.limits) | {
            place: ("slowness", why)
            for place, why in dawdling(
                [Record() if m.warming else r for m, r in zip(members, records, strict=True)],
                self.limits,
            ).items()
        }
        for place, member in enumerate(members):
            enough = records[place].ended >= self.limits.requests and not member.warming
            if judged[place] and enough and place not in found:
                member.pardon()
        worst = sorted((p for p in found if judged[p]), key=lambda p: records[p].rate)
        for place in worst:
            reason, why = found[place]
            if self._may_eject(members, members[place]):
                members[place].eject(why, self.limits)
                self.ejections[reason] += 1

    def _may_eject(self, members: Sequence[Compared], one: Compared) -> bool:
        """Whether enough workers are left without it, at least one that can be called."""
        share = self.limits.max_ejected
        most = max(1, int(share * len(members))) if share else 0
        already = sum(member.ejected for member in members)
        left = any(m.admits and not m.ejected for m in members if m is not one)
        return already < most and left


def failing(records: Sequence[Record], limits: OutlierLimits) -> dict[int, tuple[Reason, str]]:
    """Return who succeeds too seldom, and why, by place.

    A worker's rate of success is held against the others': it is too low where it is below their
    mean by more than 1.9 standard deviations, those between the others and that of so few attempts
    together, and by more than 0.1.

    Envoy holds a worker against the mean of all, itself included. Of n workers, one can then be
    sqrt(n - 1) deviations away at most, so that its rule never fires below five workers; leaving
    the worker out it does from two on, and the deviation of the sample keeps it from firing at
    chance. As many of the worst others as may be ejected with it are left out as well: several
    that fail would hide each other.

    Source:
        Envoy, "Outlier detection", success rate: mean - 1.9 deviations.
    """
    told = {place: r for place, r in enumerate(records) if r.ended >= limits.requests}
    total = sum(r.ended for r in told.values())
    overall = sum(r.good for r in told.values()) / total if total else 1.0
    hiding = max(0, int(limits.max_ejected * len(records)) - 1)
    found: dict[int, tuple[Reason, str]] = {}
    for place, record in told.items():
        others = sorted(other.rate for at, other in told.items() if at != place)[hiding:]
        if not others:
            continue
        by_chance = overall * (1 - overall) / record.ended
        gap = _DEVIATIONS * sqrt(pvariance(others) + by_chance)
        usual = fmean(others)
        if usual - record.rate > max(gap, _LEAST_GAP):
            found[place] = "failures", f"{record.rate:.0%} answered, the others {usual:.0%}"
    return found


def dawdling(records: Sequence[Record], limits: OutlierLimits) -> dict[int, str]:
    """Return who is too slow, and why, by place: against others with prompts of like size."""
    if limits.slow_factor is None:
        return {}
    found: dict[int, str] = {}
    for key in {key for record in records for key in record.times_s}:
        medians = {
            place: median(record.times_s[key])
            for place, record in enumerate(records)
            if len(record.times_s.get(key, ())) >= limits.requests
        }
        for place, own in medians.items():
            others = [other for at, other in medians.items() if at != place]
            usual = median(others) if others else own
            if own > limits.slow_factor * usual and own - usual > _LEAST_GAP_S:
                found[place] = f"{own:.3f} s to answer, the others {usual:.3f} s"
    return found
