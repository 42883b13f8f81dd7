"""Makes one page of the metrics of several processes.

What counts (counters, histograms) is added, also over processes that are gone. A gauge says how
things are and is merged over living processes by the rule that is declared for it here: amounts
are added, and of a state the page tells the worst that any process sees.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from fractions import Fraction
from math import isfinite, isnan

from entroute.processes.families import Amount, Families, Family, Series

_COUNTED = frozenset({"counter", "histogram", "summary"})
_CREATED = "_created"


class Rule(StrEnum):
    """How a gauge of several processes becomes one."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"


GAUGES: Mapping[str, Rule] = {
    # Amounts: every process has its own part of them.
    "entroute_requests_in_flight": Rule.SUM,
    "entroute_worker_inflight": Rule.SUM,
    "entroute_queue_depth": Rule.SUM,
    "entroute_limit_leases": Rule.SUM,
    "entroute_processes_up": Rule.SUM,
    # States: the worst view. A worker is up when every process may call it, since one that may
    # not fails its share of the requests; an alert on 0 must not wait for the last process.
    "entroute_worker_up": Rule.MIN,
    "entroute_worker_weight": Rule.MIN,
    "entroute_redis_up": Rule.MIN,
    "entroute_worker_breaker_state": Rule.MAX,
    "entroute_worker_ejected": Rule.MAX,
    "entroute_draining": Rule.MAX,
    # Copies of one thing: the oldest copy, and the process that lags behind.
    "entroute_keys": Rule.MAX,
    "entroute_keys_age_seconds": Rule.MAX,
    # A constant 1, of the one version that all processes run.
    "entroute_build_info": Rule.MAX,
    # All processes learn the same labels from Redis, so they agree but for the last seconds.
    "entroute_feedback_window_labels": Rule.MAX,
    "entroute_calibration_brier": Rule.MAX,
    "entroute_calibration_error": Rule.MAX,
    "entroute_calibration_drift": Rule.MAX,
    "entroute_calibration_drift_evidence": Rule.MAX,
    "entroute_calibration_skill": Rule.MIN,
    "entroute_calibration_slope": Rule.MIN,
}
"""The rule of every gauge that entroute exports."""


def merged(living: Sequence[Families], gone: Families) -> dict[str, Family]:
    """Return the metrics of all processes together; the order of `living` does not matter.

    Args:
        living: Of each process.
        gone: What `added` made of processes that have ended.
    """
    return _joined([*living, gone], _rule)


def added(parts: Iterable[Families]) -> dict[str, Family]:
    """Return the sums of what counts, exactly; gauges are left out: who is gone has no state."""
    counted = [
        {name: family for name, family in part.items() if family.kind in _COUNTED} for part in parts
    ]
    return _joined(counted, lambda *_: Rule.SUM)


def _rule(name: str, family: Family) -> Rule:
    return Rule.SUM if family.kind in _COUNTED else GAUGES.get(name, Rule.MAX)


def _joined(parts: Iterable[Families], rule_of: Callable[[str, Family], Rule]) -> dict[str, Family]:
    by_name: defaultdict[str, list[Family]] = defaultdict(list)
    for part in parts:
        for name, family in part.items():
            by_name[name].append(family)
    return {name: _one(same, rule_of(name, same[0])) for name, same in by_name.items()}


def _one(same: Sequence[Family], rule: Rule) -> Family:
    values: defaultdict[Series, list[Amount]] = defaultdict(list)
    for family in same:
        for series, value in family.series.items():
            values[series].append(value)
    counted = same[0].kind in _COUNTED
    result = {
        one: _value(held, Rule.MIN if counted and one[0].endswith(_CREATED) else rule)
        for one, held in values.items()
    }
    return Family(same[0].kind, same[0].text, result)


def _value(values: Sequence[Amount], rule: Rule) -> Amount:
    if rule is Rule.SUM:
        # Rounded sums could fall by their last digit, and a counter that falls was reset.
        if all(isfinite(value) for value in values):
            return sum((Fraction(value) for value in values), Fraction())
        return sum(map(float, values))
    known = [value for value in values if not isnan(value)] or list(values)
    return max(known) if rule is Rule.MAX else min(known)
