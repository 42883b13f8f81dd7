"""Gateways that share the samples of prompts, each with whole answers of its own."""

from typing import Any
from uuid import uuid4

from entroute.cache.parts import CacheParts
from entroute.cache.samples import KeptSamples
from entroute.cache.stamps import Stamps
from entroute.decisions import Decision
from entroute.protocols import Strategy
from entroute.spending import Price
from entroute.stores import Store
from entroute.strategies.adaptive_consistency import AdaptiveConsistencyConfig
from entroute.strategies.best_of_n import BestOfNConfig
from entroute.strategies.cascade import CascadeConfig
from entroute.strategies.self_consistency import SelfConsistencyConfig
from entroute.strategies.short_m_at_k import ShortMAtKConfig
from entroute.strategies.single import Single
from tests.builders import a_request, a_tier
from tests.fakes import FakeCache, strategy_parts
from tests.scripted import FakeBackend, Script, says
from tests.walks import Walk

SEEDED = a_request("What is 6 times 7?", seed=1)


def answers(value: object, **facts: Any) -> Script:
    """Return the script of an answer that a vote can read."""
    return says("So the answer ", f"is {value}.", **facts)


def samples_in(store: Store, **rules: Any) -> KeptSamples:
    """Return samples kept in a store."""
    facts: dict[str, Any] = {"sampled": False, "across_tenants": False, **rules}
    stamps = Stamps(store, 60.0, lambda: uuid4().bytes.hex().encode())
    return KeptSamples(store, stamps, 60.0, facts.pop("most_bytes", 2**20), discarded={}, **facts)


def gateway(
    store: Store, *scripts: Script, strategy: str = "self_consistency", n: int = 5, **facts: Any
) -> Walk:
    """Return a gateway that spends by one strategy of n samples; `facts` are the walk's.

    `rules` among them are those of the samples that it keeps.
    """
    kept = samples_in(store, **facts.pop("rules", {}))
    backend = FakeBackend(*(scripts or (answers(42),)))
    return Walk(
        tiers=(a_tier("small", backend, price=Price(1, 2)), a_tier("large")),
        cache=None,
        caching=CacheParts(FakeCache(), kept.stamps, samples=kept),
        decision=Decision("small", strategy, "test"),
        strategies=strategies(n),
        **facts,
    )


def strategies(n: int) -> dict[str, Strategy]:
    """Return strategies of n samples."""
    parts = strategy_parts()
    return {
        "single": Single(),
        "cascade": CascadeConfig().build(parts),
        "self_consistency": SelfConsistencyConfig(samples=n).build(parts),
        "adaptive_consistency": AdaptiveConsistencyConfig(samples=n).build(parts),
        "best_of_n": BestOfNConfig(samples=n).build(parts),
        "short_m_at_k": ShortMAtKConfig(k=n, m=2).build(parts),
    }


def drawn(walk: Walk) -> list[int]:
    """Return the samples that a gateway has asked its small tier for, in order."""
    return [call.sample for call in walk.small.calls]
