"""A gateway over fakes of everything it is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

import pytest

from entroute.cache.parts import CacheParts
from entroute.cache.stamps import Stamps
from entroute.decisions import Decision, Load
from entroute.evidence import Outcome, Trace
from entroute.gateway import Gateway, Parts
from entroute.opening import Opener
from entroute.protocols import Strategy, Tier
from entroute.spending import BudgetLimits, Price
from entroute.stores.memory import MemoryStore
from entroute.strategies.cascade import CascadeConfig
from entroute.strategies.self_consistency import SelfConsistencyConfig
from entroute.strategies.single import Single
from entroute.types import ChatRequest, Options, Principal
from entroute.verifiers import build_verifier
from tests.builders import a_request, a_tier, an_ask, backend_of, read_outcome
from tests.fakes import (
    FakeCache,
    FakeEstimator,
    FakePolicy,
    Recorded,
    strategy_parts,
    verifier_parts,
)
from tests.scripted import FakeBackend, FakeClock

LIMITS = BudgetLimits(16, 100_000, 60.0)


COLD = a_request(temperature=0.0)


WARM = a_request(temperature=0.7)


STRATEGIES: Mapping[str, Strategy] = {
    "single": Single(),
    "cascade": CascadeConfig().build(strategy_parts()),
    "self_consistency": SelfConsistencyConfig().build(strategy_parts()),
}


@dataclass
class Walk:
    """A gateway over fakes, and what they saw."""

    tiers: tuple[Tier, ...] = field(default_factory=lambda: (a_tier("small"), a_tier("large")))
    cache: FakeCache | None = field(default_factory=FakeCache)
    caching: CacheParts | None = None
    decision: Decision | Exception = field(
        default_factory=lambda: Decision("small", "single", "test")
    )
    limits: BudgetLimits = LIMITS
    clock: FakeClock = field(default_factory=FakeClock)
    strategies: Mapping[str, Strategy] = field(default_factory=lambda: STRATEGIES)
    recorded: Recorded = field(default_factory=Recorded)
    estimator: FakeEstimator = field(default_factory=FakeEstimator)

    def __post_init__(self) -> None:
        opener = Opener(
            lambda: self.tiers,
            self.limits,
            lambda option, run: build_verifier(option, verifier_parts(run=run)),
            self.clock,
            Random(0),  # noqa: S311 - a test repeats itself
        )
        self.gateway = Gateway(
            Parts(
                opener=opener,
                estimator=self.estimator,
                policy=FakePolicy(self.decision),
                strategies=self.strategies,
                cache=self._caching(),
                recorders=(self.recorded,),
                load=lambda: Load({}),
                fingerprint="f",
                clock=self.clock,
            )
        )

    def _caching(self) -> CacheParts | None:
        """Return the given parts of a cache, else the fake with tags in this process."""
        if self.caching is not None or self.cache is None:
            return self.caching
        tags = count()
        stamps = Stamps(MemoryStore(2**20, self.clock), 60.0, lambda: str(next(tags)).encode())
        return CacheParts(self.cache, stamps)

    @property
    def small(self) -> FakeBackend:
        return backend_of(self.tiers[0])

    @property
    def trace(self) -> Trace:
        (only,) = self.recorded.traces
        return only

    async def ask(
        self,
        request: ChatRequest = COLD,
        options: Options | None = None,
        principal: Principal | None = None,
        *,
        stream: bool = True,
    ) -> Outcome:
        ask = an_ask(request, options, principal, streamed=stream)
        if not stream:
            return await self.gateway.complete(ask)
        _, outcome = await read_outcome(self.gateway.stream(ask))
        return outcome


def walk(script: Any = None, **facts: Any) -> Walk:
    tiers = (a_tier("small", script, price=Price(1, 2)), a_tier("large"))
    return Walk(**{"tiers": tiers, **facts})


either = pytest.mark.parametrize("stream", [True, False])
