"""Caches for tests: answers and stamps over any store."""

from collections.abc import Callable
from itertools import count

from entroute.cache.answers import AnswerCache
from entroute.cache.leases import Leases
from entroute.cache.parts import CacheParts
from entroute.cache.stamps import Stamps
from entroute.protocols import Clock
from entroute.stores import Store

LARGE = 2**20


def tokens(name: str = "t") -> Callable[[], bytes]:
    """Return what makes tokens, each once; another name for another gateway."""
    numbers = count()

    def token() -> bytes:
        return f"{name}{next(numbers)}".encode()

    return token


def answers_in(store: Store, *, ttl_s: float = 60.0, max_entry_bytes: int = LARGE) -> AnswerCache:
    """Return a cache of answers in a store."""
    return AnswerCache(store, Stamps(store, ttl_s, tokens()), ttl_s, max_entry_bytes)


def parts_in(store: Store) -> CacheParts:
    """Return what a gateway on its own keeps answers with."""
    stamps = Stamps(store, 60.0, tokens())
    return CacheParts(AnswerCache(store, stamps, 60.0, LARGE), stamps)


def shared_parts(
    store: Store, name: str, clock: Clock, *, follow_s: float = 30.0, lease_s: float = 10.0
) -> CacheParts:
    """Return what one of several gateways, each of another name, keeps answers with."""
    stamps = Stamps(store, 60.0, tokens(name))
    answers = AnswerCache(store, stamps, 60.0, LARGE)
    leases = Leases(store, follow_s, tokens(name), clock, lease_s)
    return CacheParts(answers, stamps, leases, discarded=answers.discarded)
