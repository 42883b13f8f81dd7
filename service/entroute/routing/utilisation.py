"""How busy the fleet is, smoothed, so that one burst does not change every decision."""

from collections.abc import Mapping
from math import exp

from entroute.decisions import Load
from entroute.protocols import Clock

BUSY_FROM, FULL, SLACK = 0.7, 1.0, 0.1
"""Utilisation from which compute shrinks, of a full batch, and by which it must fall to grow."""


class Utilisation:
    """Smooths the busiest tier's calls in flight over the batch its workers were measured at.

    Exponentially over `smoothing_s`; stale snapshots are left out, and forgotten in that time.

    Args:
        batches: Calls that one worker of a tier answers at once, by tier.
        clock: Monotonic seconds.
        smoothing_s: Time constant, above 0.
        stale_s: Age from which a snapshot says nothing.
    """

    def __init__(
        self, batches: Mapping[str, float], clock: Clock, *, smoothing_s: float, stale_s: float
    ) -> None:
        self._batches = batches
        self._clock = clock
        self._smoothing_s = smoothing_s
        self._stale_s = stale_s
        self._value = 0.0
        self._seen = clock()
        self._held = 0.0

    def seen(self, load: Load) -> float:
        """Return the smoothed utilisation, 0 and up: 1 is a full batch on every worker."""
        now = self._clock()
        kept = exp(-max(0.0, now - self._seen) / self._smoothing_s)
        self._seen = now
        current = 0.0 if load.age_s > self._stale_s else self._current(load)
        self._value = kept * self._value + (1 - kept) * current
        return self._value

    def excess(self, load: Load) -> float:
        """Return max(0, (u - .7) / .3) with hysteresis.

        It rises with u at once, and falls only as if u were .1 higher: it is 0 again below .6.
        """
        used = self.seen(load)
        self._held = max(_above(used), min(self._held, _above(used + SLACK)))
        return self._held

    def _current(self, load: Load) -> float:
        used = 0.0
        for name, batch in self._batches.items():
            tier = load.tiers.get(name)
            if tier is None or not tier.healthy:
                continue
            busy = max(tier.in_flight, tier.waiting or 0) + tier.queued
            used = max(used, busy / (tier.healthy * batch), tier.kv_use or 0.0)
        return used


def _above(used: float) -> float:
    return max(0.0, (used - BUSY_FROM) / (FULL - BUSY_FROM))
