"""Slow start: a worker that came back takes its share of the calls little by little."""

LEAST_WEIGHT = 0.1


def weight(since_s: float, slow_start_s: float) -> float:
    """Return the share of its usual calls that a worker takes, in [0.1, 1].

    It rises linearly. A worker that was away has cold caches and may break at the first rush.

    Args:
        since_s: Seconds since it came back; below 0 it is yet to.
        slow_start_s: Seconds until it takes its whole share, 0 for at once.

    Source:
        Envoy, "Slow start mode", with aggression 1 and a minimum of 10 %.
    """
    if since_s >= slow_start_s:
        return 1.0
    return max(LEAST_WEIGHT, LEAST_WEIGHT + (1 - LEAST_WEIGHT) * since_s / slow_start_s)
