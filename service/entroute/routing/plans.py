"""What policies share: which tiers can take a request, and which strategies can serve it."""

from collections.abc import Mapping

from entroute.decisions import Decision
from entroute.errors import ContextLengthExceeded, InvalidRequest, PermissionDenied, TierUnavailable
from entroute.evidence import Refusal
from entroute.protocols import Run, Strategy, Tier

_WITH_VERIFIER = ("verify_then_escalate", "self_consistency", "best_of_n", "rejection")
"""Who serves a verifier that no plan has a use for; each says itself which ones it takes."""

_ECHOED = "a prompt's log-probabilities, or a prompt without an answer"


def usable_tiers(run: Run) -> tuple[Tier, ...]:
    """Return the tiers that fit the request and have a worker, cheapest first.

    Raises:
        InvalidRequest: No tier takes what the request holds (images, tools).
        ContextLengthExceeded: A completion alone is longer than any tier's context.
        TierUnavailable: All that fit are down.
    """
    fitting = tuple(tier for tier in run.tiers if tier.fits(run.request))
    if not fitting:
        raise _nobody_fits(run)
    wanted = run.request.max_tokens or 0
    roomy = tuple(t for t in fitting if t.context_length is None or wanted < t.context_length)
    if not roomy:
        longest = max(tier.context_length or 0 for tier in fitting)
        raise ContextLengthExceeded(
            f"max_tokens is {wanted}, but the longest context of any tier is {longest} tokens.",
            param="max_tokens",
            code="context_length_exceeded",
        )
    up = tuple(tier for tier in roomy if tier.available)
    if not up:
        raise TierUnavailable(", ".join(tier.name for tier in roomy))
    return up


def _nobody_fits(run: Run) -> InvalidRequest:
    """Return what of a request no tier can do: the first field that alone stands in the way."""
    request = run.request
    if request.suffix is not None and not any(tier.fills for tier in run.tiers):
        return InvalidRequest("No tier you may use can fill in before a suffix.", param="suffix")
    if request.reads_prompt and not any(tier.echoes for tier in run.tiers):
        return InvalidRequest(f"No tier you may use can echo {_ECHOED}.", param="echo")
    what, param = ("images", "messages") if request.has_images else ("tools", "tools")
    return InvalidRequest(f"No tier you may use takes {what}.", param=param)


def down_tiers(run: Run) -> tuple[Tier, ...]:
    """Return the tiers that would fit the request but are down, cheapest first."""
    return tuple(t for t in run.tiers if t.fits(run.request) and not t.available)


def refuse_quality(run: Run) -> None:
    """Refuse a target quality where nothing predicts quality.

    Raises:
        InvalidRequest: The request names one.
    """
    if run.options.quality is not None:
        raise InvalidRequest(
            "The server's policy does not predict quality, so it cannot aim at one.",
            param="entroute.quality",
        )


def refuse_echo(run: Run, strategy: str) -> None:
    """Refuse to echo what only a worker can where more than its one answer may be needed.

    Raises:
        InvalidRequest: The request asks for it.
    """
    if run.request.reads_prompt and strategy != "single":
        raise InvalidRequest(
            f"Echoing {_ECHOED} is done by one worker alone: name a tier as the model, or ask for "
            "entroute.strategy 'single'.",
            param="echo",
        )


def _refuse_unable(run: Run, tier: Tier) -> None:
    """Refuse what a named tier cannot do for a text completion.

    Raises:
        InvalidRequest: The request asks for it.
    """
    if run.request.suffix is not None and not tier.fills:
        raise InvalidRequest(
            f"Tier '{tier.name}' cannot fill in before a suffix: it declares neither "
            "fill_in_middle nor suffix.",
            param="suffix",
        )
    if run.request.reads_prompt and not tier.echoes:
        raise InvalidRequest(f"The workers of '{tier.name}' cannot echo {_ECHOED}.", param="echo")


def pinned_decision(run: Run, tier: Tier, strategies: Mapping[str, Strategy]) -> Decision:
    """Return the decision that the request itself makes: its strategy, or `single`.

    Raises:
        InvalidRequest: The strategy is unknown, or cannot honour a field of the request.
        PermissionDenied: The principal may not use it.
    """
    refuse_quality(run)
    name = run.options.strategy or "single"
    refuse_echo(run, name)
    _refuse_unable(run, tier)
    strategy = strategies.get(name)
    if strategy is None:
        known = ", ".join(sorted(strategies))
        raise InvalidRequest(
            f"Unknown strategy '{name}'. Known strategies: {known}.", param="entroute.strategy"
        )
    if run.principal.strategies is not None and name not in run.principal.strategies:
        raise PermissionDenied(
            f"Your key may not use strategy '{name}'.", param="entroute.strategy"
        )
    refusal = strategy.supports(run)
    if refusal is not None:
        raise InvalidRequest(
            f"Strategy '{name}' cannot honour '{refusal.param}': {refusal.reason}.",
            param=refusal.param,
        )
    chosen = [
        what for what, value in (("model", run.pinned), ("strategy", run.options.strategy)) if value
    ]
    return Decision(tier.name, name, f"the request names its {' and '.join(chosen)}")


def first_supported(
    run: Run, plans: tuple[tuple[Tier, str], ...], strategies: Mapping[str, Strategy]
) -> tuple[Tier, str]:
    """Return the first plan whose strategy the principal may use and the request allows.

    A request that brings a verifier may also be served by a strategy that no plan names but that
    knows what to do with it.

    Raises:
        PermissionDenied: The principal may use none that allows the request.
        InvalidRequest: None allows the request, whoever asks.
    """
    allowed = run.principal.strategies
    refusal: Refusal | None = None
    denied = False
    if run.verifier is not None:
        plans = (*plans, *((plans[0][0], name) for name in _WITH_VERIFIER))
    for tier, name in plans:
        strategy = strategies.get(name)
        if strategy is None:
            continue
        refused = strategy.supports(run)
        if refused is not None:
            refusal = refusal or refused
        elif allowed is not None and name not in allowed:
            denied = True
        else:
            return tier, name
    if denied or refusal is None:
        raise PermissionDenied("Your key may use no strategy that can serve this request.")
    raise InvalidRequest(
        f"No strategy of the server's policy can honour '{refusal.param}' together with the rest "
        f"of this request: {refusal.reason}.",
        param=refusal.param,
    )
