"""How long work waits before it is begun: formulas for one and for several servers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from entroute.errors import ConfigurationError

_HALVINGS = 60


@dataclass(frozen=True, slots=True)
class Wait:
    """How long one arrival waits.

    Attributes:
        probability: Of waiting at all, [0, 1].
        mean_s: Mean over all arrivals, those that do not wait included, in seconds.
    """

    probability: float
    mean_s: float

    def tail(self, seconds: float) -> float:
        """Return the probability of waiting longer than so many seconds, [0, 1].

        Source: exact for M/M/c; for other services the heavy-traffic limit of Kingman (1961), in
        which those who wait do so for an exponential time.
        """
        if seconds < 0:
            return 1.0
        if self.probability <= 0 or self.mean_s <= 0:
            return 0.0
        return self.probability * math.exp(-seconds * self.probability / self.mean_s)


def erlang_c(servers: int, offered: float) -> float:
    """Return the probability that an arrival finds all servers busy, [0, 1].

    Args:
        servers: At least 1.
        offered: Arrival rate times mean service time, 0 or more and below `servers`.

    Raises:
        ConfigurationError: There is more work than the servers can do.

    Source: Erlang (1917); the recursion of B(c, a), then C = B / (1 - rho (1 - B)).
    """
    if not 0 <= offered < servers:
        raise ConfigurationError(
            f"{offered:.3g} servers' worth of work for {servers}: nothing would end"
        )
    blocked = 1.0
    for server in range(1, servers + 1):
        blocked = offered * blocked / (server + offered * blocked)
    return blocked / (1 - offered / servers * (1 - blocked))


def several_servers(rate: float, servers: int, services: Sequence[float]) -> Wait:
    """Return the wait in M/G/c, one queue before `servers` servers.

    Args:
        rate: Arrivals a second.
        servers: At least 1.
        services: Equally likely service times, in seconds.

    Raises:
        ConfigurationError: There is more work than the servers can do.

    Source: Allen-Cunneen: E[W] = C(c, a) / (c mu - lambda) x (c_a^2 + c_s^2) / 2 with c_a = 1;
    see Whitt, Approximations for the GI/G/m queue (1993).
    """
    mean, square = _moments(services)
    if mean <= 0 or rate <= 0:
        return Wait(0.0, 0.0)
    busy = erlang_c(servers, rate * mean)
    variability = square / mean**2 / 2  # (1 + c_s^2) / 2
    return Wait(busy, busy / (servers / mean - rate) * variability)


def one_server(rate: float, services: Sequence[float]) -> Wait:
    """Return the wait in M/G/1.

    Args:
        rate: Arrivals a second.
        services: Equally likely service times, in seconds.

    Raises:
        ConfigurationError: There is more work than the server can do.

    Source: Pollaczek (1930), Khinchine (1932): E[W] = lambda E[S^2] / (2 (1 - rho)).
    """
    mean, square = _moments(services)
    busy = rate * mean
    if busy >= 1:
        raise ConfigurationError(f"{busy:.3g} servers' worth of work for one: nothing would end")
    return Wait(busy, rate * square / (2 * (1 - busy)))


def quantile(level: float, waits: Sequence[Wait], services: Sequence[float]) -> float:
    """Return the time by which a share of arrivals has waited everywhere and been served.

    The probabilities of waiting longer are added, which never promises too little time.

    Args:
        level: In (0, 1).
        waits: One after the other.
        services: Equally likely times of the service that ends it, in seconds.
    """
    mean_s = sum(wait.mean_s for wait in waits)
    low, high = 0.0, max(services) + mean_s + 1e-9
    while _later(high, waits, services) > 1 - level:
        high *= 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _later(middle, waits, services) > 1 - level:
            low = middle
        else:
            high = middle
    return high


def _later(seconds: float, waits: Sequence[Wait], services: Sequence[float]) -> float:
    late = (min(1.0, sum(w.tail(seconds - own) for w in waits)) for own in services)
    unwaited = (1.0 if own > seconds else 0.0 for own in services)
    return sum(max(a, b) for a, b in zip(late, unwaited, strict=True)) / len(services)


def _moments(services: Sequence[float]) -> tuple[float, float]:
    """Return mean and mean square."""
    count = len(services)
    return sum(services) / count, sum(service**2 for service in services) / count
