"""What the operator does to keys: make, replace, take away."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from entroute.errors import ConfigurationError
from entroute.tenants.keys_records import KeyEntry, OldSecret

_SECRET = re.compile(r"er-([0-9a-f]{12})-[A-Za-z0-9_-]{43}")


def found(entries: Sequence[KeyEntry], who: str) -> KeyEntry:
    """Return the one key with an id or a name; a whole key stands for its id.

    Raises:
        ConfigurationError: There is none, or the name is that of several. Never quotes `who`,
            which may be a secret.
    """
    secret = _SECRET.fullmatch(who)
    wanted = who if secret is None else secret.group(1)
    for entry in entries:
        if entry.key_id == wanted:
            return entry
    named = [entry for entry in entries if entry.name == wanted]
    if len(named) == 1:
        return named[0]
    if named:
        ids = ", ".join(entry.key_id for entry in named)
        raise ConfigurationError(f"several keys have this name; give one of the ids {ids}")
    raise ConfigurationError("no key has this id or name; `entroute keys list` shows all")


def added(entries: Sequence[KeyEntry], entry: KeyEntry) -> list[KeyEntry]:
    """Return the keys and a new one.

    Raises:
        ConfigurationError: Its name is taken.
    """
    if any(each.name == entry.name for each in entries):
        raise ConfigurationError(f"--name: a key is named '{entry.name}'; give another name")
    return [*entries, entry]


def revoked(entries: Sequence[KeyEntry], who: str) -> list[KeyEntry]:
    """Return the keys without one.

    Raises:
        ConfigurationError: As `found`.
    """
    gone = found(entries, who)
    return [entry for entry in entries if entry is not gone]


def rotated(entry: KeyEntry, digest: str, now: datetime, grace: timedelta) -> KeyEntry:
    """Return a key with another secret.

    Args:
        entry: The key.
        digest: SHA-256 of its new secret, in hex.
        now: When.
        grace: How long the old secret stays good; 0 ends all older ones, too.
    """
    previous: tuple[OldSecret, ...] = ()
    if grace:
        good = (old for old in entry.previous if old.expires > now)
        previous = (*good, OldSecret(sha256=entry.sha256, expires=now + grace))
    changes = {"id": entry.key_id, "sha256": digest, "previous": previous}
    return entry.model_copy(update=changes)


def replaced(entries: Sequence[KeyEntry], entry: KeyEntry) -> list[KeyEntry]:
    """Return the keys with the one of the same id replaced."""
    return [entry if each.key_id == entry.key_id else each for each in entries]
