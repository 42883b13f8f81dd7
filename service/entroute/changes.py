"""What differs between two configurations, and what of it only a restart can change."""

from collections.abc import Iterator
from typing import Any

from entroute.settings import Settings

_LASTING = frozenset({"redis", "cache", "auth", "feedback", "sandbox", "responses", "tracing"})
"""What holds state, or a place where state is."""

_SERVER_FOLLOWS = frozenset(
    {
        *("allow_unauthenticated", "max_body_bytes", "keep_alive_s"),
        *("drain_delay_s", "drain_s", "log_level"),
    }
)
"""Keys of `server` that do not belong to the listener or to the processes behind it."""


_LASTING_FOLLOWS = frozenset({"tracing.sample"})
"""Keys of those that hold nothing: how much is traced may change in the middle of an incident."""


def changed_keys(old: Settings, new: Settings) -> list[str]:
    """Return the top-level keys that differ, in the order of the configuration."""
    return [name for name in Settings.model_fields if getattr(old, name) != getattr(new, name)]


def restart_keys(old: Settings, new: Settings) -> list[str]:
    """Return the paths of all that differs and cannot change while the gateway runs."""
    paths = []
    for path in _differing(old.model_dump(), new.model_dump(), ""):
        top, _, rest = path.partition(".")
        lasts = top in _LASTING and path not in _LASTING_FOLLOWS
        listens = top == "server" and rest not in _SERVER_FOLLOWS
        if lasts or listens:
            paths.append(path)
    return paths + _engines(old, new)


def _engines(old: Settings, new: Settings) -> list[str]:
    """Return the places of tiers whose engines would have to be started or stopped."""
    before = {tier.name: (tier.model, tier.engine) for tier in old.tiers if tier.engine}
    after = {tier.name: (tier.model, tier.engine) for tier in new.tiers if tier.engine}
    wrong = [
        f"tiers.{place}.engine"
        for place, tier in enumerate(new.tiers)
        if before.get(tier.name) != after.get(tier.name)
    ]
    known = {tier.name for tier in new.tiers}
    gone = sorted(before.keys() - known)
    return wrong + [f"tiers: the engine of '{name}'" for name in gone]


def _differing(old: Any, new: Any, path: str) -> Iterator[str]:
    """Yield the path of every mapping's value that differs."""
    if isinstance(old, dict) and isinstance(new, dict) and old.get("kind") == new.get("kind"):
        for name in dict.fromkeys([*old, *new]):
            if old.get(name) != new.get(name):
                yield from _differing(
                    old.get(name), new.get(name), f"{path}.{name}" if path else name
                )
    else:
        yield path
