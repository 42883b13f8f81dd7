"""Keeps responses and what they answered, so that conversations go on from an id.

An entry holds the whole conversation, flattened, so that going on is one look-up however long
the chain; its size is bounded. Entries are a tenant's own: their keys hold a hash of it.

Layout: schema version (1 byte), zlib of JSON.
"""

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import orjson

from entroute.errors import StoreUnavailable, WrongKind
from entroute.stores import Store

SCHEMA_VERSION = 1
"""Raise it when an entry's fields change in number or meaning; 1 to 255."""

RESULTS = ("kept", "too_large", "found", "missing", "damaged", "deleted", "unavailable")
"""How keeping, reading and forgetting a response may end."""

_OURS = re.compile("resp_[0-9a-f]{32}")
_LARGEST = 64 * 1024 * 1024  # bytes; no entry of ours unpacks to more, a hostile one might


@dataclass(frozen=True, slots=True)
class KeptResponse:
    """One response.

    Attributes:
        response: As the client was given it.
        items: Everything that it answered but its instructions, earliest first.
    """

    response: Mapping[str, Any]
    items: Sequence[Mapping[str, Any]]

    @property
    def conversation(self) -> list[Mapping[str, Any]]:
        """What was said until now: what it answered, and its answer."""
        return [*self.items, *self.response["output"]]


@dataclass(slots=True)
class ResponseKeeper:
    """Keeps responses in the shared store.

    Attributes:
        store: Where.
        ttl_s: Seconds that a response is kept.
        max_bytes: Largest entry, as JSON.
        enabled: Whether responses are kept at all.
        counts: Operations so far by how they ended.
    """

    store: Store
    ttl_s: float
    max_bytes: int
    enabled: bool
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RESULTS, 0))

    async def keep(self, tenant: str, kept: KeptResponse) -> bool:
        """Keep a response unless it is too large; return whether it is kept.

        Raises:
            StoreUnavailable: The store cannot be reached.
        """
        document = {"response": dict(kept.response), "items": list(kept.items)}
        data = orjson.dumps(document, default=dict)
        if len(data) > self.max_bytes:
            self.counts["too_large"] += 1
            return False
        # Level 1: an answer's time matters more than the last tenth of its size.
        entry = bytes([SCHEMA_VERSION]) + zlib.compress(data, level=1)
        try:
            await self.store.put(_key(tenant, kept.response["id"]), entry, self.ttl_s)
        except StoreUnavailable:
            self.counts["unavailable"] += 1
            raise
        self.counts["kept"] += 1
        return True

    async def find(self, tenant: str, response_id: str) -> KeptResponse | None:
        """Return a tenant's response; None where there is none, or none that can be read.

        Raises:
            StoreUnavailable: The store cannot be reached.
        """
        if not (self.enabled and _OURS.fullmatch(response_id)):
            self.counts["missing"] += 1
            return None
        try:
            entry = await self.store.get(_key(tenant, response_id))
        except WrongKind:
            self.counts["damaged"] += 1
            return None
        except StoreUnavailable:
            self.counts["unavailable"] += 1
            raise
        if entry is None:
            self.counts["missing"] += 1
            return None
        kept = _decoded(entry)
        self.counts["damaged" if kept is None else "found"] += 1
        return kept

    async def drop(self, tenant: str, response_id: str) -> bool:
        """Forget a tenant's response; return whether there was one.

        Raises:
            StoreUnavailable: The store cannot be reached.
        """
        if not (self.enabled and _OURS.fullmatch(response_id)):
            self.counts["missing"] += 1
            return False
        try:
            dropped = await self.store.delete(_key(tenant, response_id))
        except StoreUnavailable:
            self.counts["unavailable"] += 1
            raise
        self.counts["deleted" if dropped else "missing"] += 1
        return dropped


def _key(tenant: str, response_id: str) -> str:
    return f"response:{blake2b(tenant.encode(), digest_size=16).hexdigest()}:{response_id}"


def _decoded(entry: bytes) -> KeptResponse | None:
    """Return what an entry holds, None when it is damaged or of another schema version."""
    if entry[:1] != bytes([SCHEMA_VERSION]):
        return None
    try:
        unpacking = zlib.decompressobj()
        document = orjson.loads(unpacking.decompress(entry[1:], _LARGEST))
        kept = KeptResponse(document["response"], document["items"])
        whole = all(isinstance(item, dict) and "type" in item for item in kept.conversation)
    except (zlib.error, ValueError, TypeError, LookupError):
        return None
    return kept if whole else None
