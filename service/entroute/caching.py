"""Composition of steps 1 and 5: what keeps answers, and finds them by meaning where asked to."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import entroute
from entroute.cache import NoCacheConfig
from entroute.cache.key import cache_key
from entroute.cache.parts import CacheParts
from entroute.cache.semantic.building import Finding
from entroute.cache.semantic.config import LocalEmbedderConfig
from entroute.embedded.embedder import LocalEmbedder, local_files, require_extra
from entroute.profile.profile import Profile
from entroute.protocols import Clock
from entroute.redis_link.links import RedisLinks
from entroute.settings import Settings
from entroute.types import ChatRequest, Options, Principal


def check_semantic(settings: Settings) -> None:
    """Refuse a semantic cache that could not embed anything.

    Raises:
        ConfigurationError: It is enabled, and the extra `semantic` is not installed.
    """
    if not isinstance(settings.cache, NoCacheConfig) and settings.cache.semantic.enabled:
        require_extra()


def kept_answers(settings: Settings, links: RedisLinks, clock: Clock) -> CacheParts | None:
    """Return what keeps answers and finds them, by meaning where that is enabled.

    It finds by meaning only as `keyed`.

    Raises:
        ConfigurationError: As `check_semantic`.
    """
    check_semantic(settings)
    cache = settings.cache
    kept = cache.build(clock, links)
    if kept is None or isinstance(cache, NoCacheConfig):
        return None

    def embedder(config: LocalEmbedderConfig) -> LocalEmbedder:
        return LocalEmbedder(lambda: local_files(lambda *_: None), config.threads)

    return cache.finding(kept, links, Finding(embedder, _no_key))


def keyed(
    kept: CacheParts | None, models: Callable[[], Sequence[str]], fingerprint: str
) -> CacheParts | None:
    """Return what keeps answers, as those find by meaning who answer by one configuration.

    Args:
        kept: Of `kept_answers`.
        models: Returns every model that may answer.
        fingerprint: Of everything configured that can change an answer.
    """
    if kept is None or kept.semantic is None:
        return kept
    across = kept.across_tenants

    def key_of(request: ChatRequest, options: Options, principal: Principal) -> str:
        return cache_key(
            request,
            options,
            principal,
            models=models(),
            fingerprint=fingerprint,
            across_tenants=across,
        )

    return replace(kept, semantic=kept.semantic.keyed(key_of))


def _no_key(*_: object) -> str:
    raise RuntimeError("nothing is found by meaning before there are keys")


def fingerprint(settings: Settings, profile: Profile | None) -> str:
    """Return a digest of everything configured, or a default, that can change an answer."""
    how = settings.model_dump_json(include={"difficulty", "policy", "limits", "sandbox", "rewards"})
    ways = [config.model_dump_json() for config in settings.all_strategies]
    known = "" if profile is None else profile.digest
    return _digest(entroute.__version__, how, *ways, serving(settings), known)


def serving(settings: Settings) -> str:
    """Return a digest of all that is configured of the tiers and can change a sample of theirs."""
    hosting: dict[str, bool | set[str]] = {
        **dict.fromkeys(("workers", "price", "balancer"), True),
        "engine": {"port", "threads", "slots", "python"},
    }
    return _digest(*(tier.model_dump_json(exclude=hosting) for tier in settings.tiers))


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()
