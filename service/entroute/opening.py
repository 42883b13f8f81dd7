"""Before the walk: who may ask what of which tier, and with how much to spend."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from entroute.backends.hedging import Hedged, Hedging
from entroute.backends.metered import Metered, Stopwatch
from entroute.errors import ConfigurationError, NotFound, PermissionDenied
from entroute.evidence import Trace
from entroute.ledger import Ledger
from entroute.priorities import Priority, Turn
from entroute.protocols import Backend, Clock, Run, Tier, Verifier
from entroute.shedding import Shed, Shedding
from entroute.spending import Budget, BudgetLimits
from entroute.types import ChatRequest, Options, Principal

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request as the edge hands it over.

    Attributes:
        request: What is asked.
        options: entroute's own options.
        principal: Who asks.
        trace: Opened at arrival.
    """

    request: ChatRequest
    options: Options
    principal: Principal
    trace: Trace

    @property
    def priority(self) -> Priority:
        """How urgent it is."""
        return self.options.priority or self.principal.priority


class Opener:
    """Opens runs: resolves the model, caps the budget, charges every tier's backend.

    Args:
        tiers: Returns all tiers as they are now, cheapest first.
        limits: The server's own; must bound calls, tokens and time.
        judge: Builds the verifier that a request describes, for its run.
        clock: Monotonic seconds.
        rng: Source of every random choice.
        salt: Makes what keeps a tenant's prefix caches on the workers apart, "" for nothing.
        hedging: Returns when calls to a tier are hedged, None for never.
        shedding: What load leaves of requests, None for everything.

    Raises:
        ConfigurationError: A limit that must be set is not.
    """

    def __init__(  # noqa: PLR0913 - what every run is opened with
        self,
        tiers: Callable[[], tuple[Tier, ...]],
        limits: BudgetLimits,
        judge: Callable[[Mapping[str, Any], Run], Verifier],
        clock: Clock,
        rng: Random,
        *,
        salt: Callable[[str], str] = lambda _: "",
        hedging: Callable[[str], Hedging | None] = lambda _: None,
        shedding: Shedding | None = None,
    ) -> None:
        if (
            limits.max_calls is None
            or limits.max_generated_tokens is None
            or limits.deadline_s is None
        ):
            raise ConfigurationError(
                "limits: max_calls, max_generated_tokens and deadline_s must be set"
            )
        self._tiers = tiers
        self._limits = limits
        self._judge = judge
        self._clock = clock
        self._rng = rng
        self._salt = salt
        self._hedging = hedging
        self._shedding = shedding

    @property
    def models(self) -> tuple[str, ...]:
        """Every model that may answer, for the cache key."""
        return tuple(f"{tier.name}={tier.model}" for tier in self._tiers())

    def open(self, ask: Ask) -> Run:
        """Return the run of one request.

        Raises:
            NotFound: The model does not exist.
            PermissionDenied: The principal may not use it.
            InvalidRequest: The verifier option is wrong.
        """
        tiers = self._tiers()
        pinned = _pinned(ask.request.model, tiers)
        allowed = ask.principal.tiers
        usable = tuple(t for t in tiers if allowed is None or t.name in allowed)
        if not usable or (pinned is not None and pinned not in {t.name for t in usable}):
            raise PermissionDenied(
                f"Your key may not use the model '{ask.request.model}'.", param="model"
            )
        prices = {tier.name: tier.price for tier in tiers}
        ledger = Ledger(self._budget(ask), prices, self._clock, self._shed(ask))
        stopwatch = ask.trace.awaiting = Stopwatch(ask.trace, self._clock)
        salt = self._salt(ask.principal.tenant)
        turn = Turn(ask.priority, ask.principal.tenant)
        option = ask.options.verifier
        run = Run(
            request=ask.request,
            options=ask.options,
            principal=ask.principal,
            tiers=tuple(
                replace(t, backend=Metered(b, ledger, stopwatch, salt, turn, model=t.model))
                for t, b in ((t, self._hedged(t, ledger)) for t in usable)
            ),
            ledger=ledger,
            trace=ask.trace,
            clock=self._clock,
            rng=self._rng,
            pinned=pinned,
        )
        if option is not None:
            run.verifier = self._judge(option, run)
        return run

    def _hedged(self, tier: Tier, ledger: Ledger) -> Backend:
        hedging = self._hedging(tier.name)
        return tier.backend if hedging is None else Hedged(tier.backend, ledger, hedging)

    def deadline(self, ask: Ask) -> float:
        """Return when a request must be answered, in monotonic seconds."""
        return self._budget(ask).deadline

    def _shed(self, ask: Ask) -> Shed | None:
        shedding = self._shedding
        return None if shedding is None else shedding.of(ask.priority, ask.request.n)

    def _budget(self, ask: Ask) -> Budget:
        limits = self._limits.capped(ask.principal.limits).capped(ask.options.limits)
        return limits.budget(ask.trace.started)


def _pinned(model: str, tiers: tuple[Tier, ...]) -> str | None:
    """Return the tier that a model name pins, None for `auto`."""
    if model == AUTO:
        return None
    for tier in tiers:
        if model in {tier.name, tier.model}:
            return tier.name
    known = ", ".join([AUTO, *(t.name for t in tiers), *(t.model for t in tiers)])
    raise NotFound(
        f"The model '{model}' does not exist. Known models: {known}.",
        param="model",
        code="model_not_found",
    )
