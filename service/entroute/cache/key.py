"""The key of an exact hit, and what may be looked up and stored under it.

Everything that can change an answer is in the key, so a field that is new to us separates
answers until it is shown to be harmless and named in `NOT_IN_KEY`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from hashlib import blake2b
from typing import Any

import orjson

from entroute.cache.codec import SCHEMA_VERSION
from entroute.evidence import Outcome
from entroute.types import ChatRequest, Options, Principal

NOT_IN_KEY = frozenset(
    {
        "stream",  # how the answer is sent, not what it says
        "stream_options",  # likewise: usage chunks and their padding
        "user",  # the end user's name, for the provider's abuse reports
        "safety_identifier",  # its successor
        "metadata",  # labels for the provider's dashboard
        "store",  # whether the provider keeps the answer
        "prompt_cache_key",  # steers the provider's prefix cache: speed and price only
        "prompt_cache_retention",  # likewise
        "service_tier",  # latency class and price
        "priority",  # place in the worker's queue
        "request_id",  # a name for logs
        "cache_salt",  # keeps a worker's prefix caches apart: speed only
    }
)
"""OpenAI's and the engines' request fields that cannot change an answer."""

OPTIONS_NOT_IN_KEY = frozenset(
    {
        "cache",  # whether to look, not what to find
        "cache_tags",  # how a kept answer is invalidated, not what it says
        "explain",  # shows the evidence; what of it belongs to the answer is stored anyway
        "priority",  # who waits
    }
)
"""Options of entroute that cannot change an answer."""

_NOT_RIGHTS = frozenset({"key", "group", "admin", "rates", "priority"})
"""Of a principal: keys of one tenant with the same rights share answers."""

_CUT_SHORT = frozenset({"budget", "deadline"})


def cache_key(  # noqa: PLR0913 - whatever can change an answer
    request: ChatRequest,
    options: Options,
    principal: Principal,
    *,
    models: Sequence[str],
    fingerprint: str,
    across_tenants: bool = False,
) -> str:
    """Return the key under which the answer to this request is stored.

    The principal's rights and limits are in it beside the tenant: they bound which tiers and how
    much compute may answer, so a key with fewer rights never reads what it could not have made.

    Args:
        request: What was asked.
        options: entroute's own options.
        principal: Who asks.
        models: Models of all tiers, cheapest first.
        fingerprint: Names the configured policy and what it may choose from.
        across_tenants: Whether tenants share answers; rights and limits tell them apart as ever.

    Returns:
        64 hexadecimal digits.

    Raises:
        TypeError: A field holds what JSON cannot say.
    """
    apart = _NOT_RIGHTS | {"tenant"} if across_tenants else _NOT_RIGHTS
    parts = {
        "schema": SCHEMA_VERSION,
        "models": tuple(models),
        "fingerprint": fingerprint,
        "principal": _members(principal, apart),
        "options": _members(options, OPTIONS_NOT_IN_KEY),
        "request": _members(request, frozenset({"extra"})),
        "extra": {name: v for name, v in request.extra.items() if name not in NOT_IN_KEY},
    }
    canonical = orjson.dumps(parts, default=_plain, option=orjson.OPT_SORT_KEYS)
    return blake2b(canonical, digest_size=32).hexdigest()


def _members(value: Any, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    return {f.name: getattr(value, f.name) for f in fields(value) if f.name not in without}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, frozenset):
        return sorted(value)
    raise TypeError(f"the cache key cannot hold a {type(value).__name__}")


def cacheable(request: ChatRequest, options: Options, *, sampled: bool = False) -> bool:
    """Say whether a request may be answered as before: greedy, seeded or forced.

    A temperature the client left out is the worker's default, which samples.

    Args:
        request: What is asked.
        options: entroute's own options.
        sampled: Whether a sampled answer may be given again, too.
    """
    if options.cache in {"bypass", "force"}:
        return options.cache == "force"
    return sampled or request.temperature == 0 or request.seed is not None


def reads(options: Options) -> bool:
    """Say whether a stored answer may be used; `refresh` only replaces it."""
    return options.cache in {"default", "force"}


def worth_storing(outcome: Outcome, degraded: Sequence[str]) -> bool:
    """Say whether an outcome is as good as the gateway can make it.

    Args:
        outcome: The finished outcome.
        degraded: Parts of the walk that failed or were left out, from the trace.

    Returns:
        False when a part was missing, a call failed, the budget or the deadline cut it short, or
        the strategy says that its answer must not be given again.
    """
    whole = not (degraded or outcome.degraded or outcome.failures)
    return whole and outcome.repeatable and outcome.stop_reason not in _CUT_SHORT
