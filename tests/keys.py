"""API keys for tests: a source that holds what it is given, and entries of key files."""

from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any

import yaml

from entroute.tenants.keys import Key, KeyCopy, digest_of
from entroute.tenants.keys_records import KeyEntry
from entroute.types import Principal


class GivenKeys:
    """A `KeySource` of keys that never change.

    Args:
        principals: By the secret a client sends.
    """

    def __init__(self, principals: Mapping[str, Principal]) -> None:
        keys = [
            (Key(principal.key, secret, principal, inf), digest_of(secret))
            for secret, principal in principals.items()
        ]
        self._copy = KeyCopy.of((key, {digest: key}) for key, digest in keys)

    def find(self, digest: str) -> Key | None:
        return self._copy.by_digest.get(digest)

    def by_id(self, key_id: str) -> Key | None:
        return self._copy.by_id.get(key_id)

    async def find_again(self, digest: str) -> Key | None:
        return self.find(digest)


def write_key_file(path: Path, keys: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write a key file as operators do who make their keys themselves; return its path.

    Args:
        path: The file.
        keys: Fields of each entry beside its name and hash, by the secret a client sends.
    """
    entries = [
        {"name": f"holder {place}", "sha256": digest_of(secret), **facts}
        for place, (secret, facts) in enumerate(keys.items())
    ]
    path.write_text(yaml.safe_dump({"keys": entries}), encoding="utf-8")
    return path


def an_entry(secret: str, **facts: Any) -> KeyEntry:
    """Return a key's record, with facts put over the least that it needs."""
    least = {"name": "somebody", "sha256": digest_of(secret), "tenant": "t"}
    return KeyEntry.model_validate({**least, **facts})
