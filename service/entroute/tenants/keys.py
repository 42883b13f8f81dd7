"""API keys as a running gateway holds them: found by the hash of what a client sends.

A key is `er-`, its id, `-` and 32 random bytes. Only the SHA-256 of the whole is kept: nobody can
try 2^256 keys however fast the hash is, so a slow one would only slow every request down. Looking
the hash up compares no secret byte by byte, so timing tells nothing of one either.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from secrets import token_hex, token_urlsafe
from typing import Protocol

from entroute.types import Principal

ID_DIGITS = 12
"""Hex digits of a key's id."""

_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Key:
    """One API key.

    Attributes:
        id: Public name, 12 hex digits: what logs and usage show.
        name: For people.
        principal: Whom it stands for, with what that may use.
        expires: Unix seconds from which it is refused; infinite for never.
    """

    id: str
    name: str
    principal: Principal
    expires: float


@dataclass(frozen=True, slots=True)
class KeyCopy:
    """All keys at one time.

    Attributes:
        by_digest: By SHA-256 in hex; a key that was rotated is there twice during its grace.
        by_id: By id.
    """

    by_digest: Mapping[str, Key] = field(default_factory=dict)
    by_id: Mapping[str, Key] = field(default_factory=dict)

    @classmethod
    def of(cls, keys: Iterable[tuple[Key, Mapping[str, Key]]]) -> "KeyCopy":
        """Return the copy of keys, each with what its digests stand for."""
        by_digest: dict[str, Key] = {}
        by_id: dict[str, Key] = {}
        for key, digests in keys:
            by_id[key.id] = key
            by_digest.update(digests)
        return cls(by_digest, by_id)


class KeySource(Protocol):
    """Where keys come from. Looking one up never waits, except for an unknown one."""

    def find(self, digest: str) -> Key | None:
        """Return the key with this SHA-256, expired or not, as far as is known now."""
        ...

    def by_id(self, key_id: str) -> Key | None:
        """Return the key with this id, expired or not, as far as is known now."""
        ...

    async def find_again(self, digest: str) -> Key | None:
        """Return a key that may just have been made.

        Raises:
            KeysUnavailable: No keys could be read yet, so nobody can be told from a stranger.
        """
        ...


def new_id() -> str:
    """Return a fresh id."""
    return token_hex(ID_DIGITS // 2)


def new_secret(key_id: str) -> str:
    """Return a fresh key: what its holder sends, shown once and never kept."""
    return f"er-{key_id}-{token_urlsafe(_SECRET_BYTES)}"


def digest_of(secret: str) -> str:
    """Return the SHA-256 of a key, in hex: all that is kept of it."""
    return sha256(secret.encode()).hexdigest()
