"""Samples kept by prompt, so that a repeated prompt resumes its vote instead of starting over.

Why beside whole answers: another strategy, more samples, a verifier or a smaller budget ask for
another answer, yet sample i of one prompt on one model stays what it is. A run begins with the
samples that earlier runs made, which cost it nothing, and draws what is missing. Calls that
strategies and verifiers derive from the prompt (a judge's, a revision's) are kept beside them.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from hashlib import blake2b
from typing import Any, Literal

import orjson

from entroute.cache.codec import SCHEMA_VERSION
from entroute.cache.key import NOT_IN_KEY, cacheable, reads
from entroute.cache.resumption import Resumption
from entroute.cache.stamps import Stamps
from entroute.errors import StoreUnavailable, WrongKind
from entroute.protocols import Run, Tier
from entroute.stores import Store
from entroute.types import ChatRequest

_NOT_OF_A_SAMPLE = frozenset(
    {
        "model",  # how the client names a tier; what the tier serves is in the key
        "n",  # choice i is sample i
        "logprobs",  # shown or not; a sample is kept with those that it was asked for
        "top_logprobs",
        "extra",  # looked through field by field
    }
)


@dataclass(frozen=True, slots=True)
class KeptSamples:
    """Samples in a store, by tenant, model and prompt.

    Which requests resume is the rule of `cacheable`: greedy, seeded or forced ones. Others would
    get samples that are no fresh ones without having asked for it.

    Attributes:
        store: Keeps them, the samples of a prompt on a tier as fields of one key.
        stamps: Of the prompts' tags.
        ttl_s: Seconds the samples of a prompt are kept after the last that was added.
        most_bytes: All samples of a prompt on a tier, encoded; one may have an eighth of it.
        sampled: Whether requests resume that are neither greedy nor seeded, too.
        across_tenants: Whether tenants share samples.
        discarded: Entries so far that could not be used, by reason; counted up here.
    """

    store: Store
    stamps: Stamps
    ttl_s: float
    most_bytes: int
    sampled: bool
    across_tenants: bool
    discarded: dict[str, int]

    @asynccontextmanager
    async def resuming(self, run: Run, serving: str) -> AsyncIterator[None]:
        """Give a run the samples of earlier ones, and keep those that it has made at its end.

        However it ends: what a budget or a deadline cut short is resumed, too.

        Args:
            run: Just opened.
            serving: Names what the tiers serve beyond the names of their models.
        """
        keys = await self._keys(run, serving) if self._resumes(run.request, run) else None
        if keys is None:
            yield
            return
        stored = await self._stored(run, keys) if reads(run.options) else {}
        resumption = Resumption(
            run.request,
            digest=_digest,
            pure=lambda request: self._resumes(request, run),
            discard=self._discard,
            stored=stored,
        )
        run.ledger.resume(resumption)
        try:
            yield
        finally:
            await self._keep(run, keys, resumption)

    def _resumes(self, request: ChatRequest, run: Run) -> bool:
        """Say whether the same request would be answered the same, or is to be."""
        return cacheable(request, run.options, sampled=self.sampled)

    async def _keys(self, run: Run, serving: str) -> dict[str, str] | None:
        """Return the keys of the tiers that may be called, None where tags cannot be looked up."""
        tags, tenant = run.options.cache_tags, run.principal.tenant
        try:
            stamps = await self.stamps.of(tenant, tags) if tags else {}
        except StoreUnavailable:
            run.trace.degrade("cache")
            return None
        shared = {
            "schema": SCHEMA_VERSION,
            "tenant": None if self.across_tenants and not tags else tenant,
            "stamps": stamps,
            "serving": serving,
            "request": _facts(run.request),
        }
        return {tier.name: _key(shared, tier) for tier in _callable(run)}

    async def _stored(self, run: Run, keys: Mapping[str, str]) -> dict[str, dict[str, bytes]]:
        found = await asyncio.gather(*(self._fields(run, key) for key in keys.values()))
        if "cache" in run.trace.degraded:
            run.trace.samples = "error"
        else:
            run.trace.samples = "hit" if any(found) else "miss"
        return dict(zip(keys, found, strict=True))

    async def _fields(self, run: Run, key: str) -> dict[str, bytes]:
        """Return what is kept under a key; nothing where the store is away or something else is."""
        try:
            return dict(await self.store.fields(key))
        except WrongKind:
            self._discard("wrong_type")
        except StoreUnavailable:
            run.trace.degrade("cache")
        return {}

    async def _keep(self, run: Run, keys: Mapping[str, str], resumption: Resumption) -> None:
        new: dict[str, dict[str, bytes]] = {}
        for tier, key in keys.items():
            for one in resumption.new(tier, self.most_bytes):
                new.setdefault(key, {}).update(one)
                await asyncio.sleep(0)  # many samples take long to encode
        replaces = not reads(run.options)
        kept = (self._put(key, added, replaces=replaces) for key, added in new.items())
        if False in await asyncio.gather(*kept):
            run.trace.degrade("cache")

    async def _put(self, key: str, added: dict[str, bytes], *, replaces: bool) -> bool:
        """Add samples, in place of all others where those are replaced; False if that failed."""
        try:
            if replaces:
                await self.store.delete(key)
            await self.store.put_fields(key, added, self.ttl_s)
        except StoreUnavailable:
            return False
        return True

    def _discard(self, reason: Literal["version", "damaged", "wrong_type"]) -> None:
        self.discarded[reason] = self.discarded.get(reason, 0) + 1


def _callable(run: Run) -> list[Tier]:
    """Return the tiers that the run may call: a pinned one alone, unless there is a judge."""
    pinned = run.pinned if run.verifier is None else None
    return [t for t in run.tiers if t.available and pinned in {None, t.name}]


def _key(shared: Mapping[str, Any], tier: Tier) -> str:
    facts = {**shared, "tier": tier.name, "model": tier.model}
    return f"samples:{_hash(facts, 16)}"


def _digest(request: ChatRequest) -> str:
    return _hash(_facts(request), 8)


def _facts(request: ChatRequest) -> dict[str, Any]:
    """Return what of a request can change a sample."""
    facts = {f.name: getattr(request, f.name) for f in fields(request)}
    return {
        **{name: value for name, value in facts.items() if name not in _NOT_OF_A_SAMPLE},
        "reads_prompt": request.reads_prompt,
        "extra": {name: v for name, v in request.extra.items() if name not in NOT_IN_KEY},
    }


def _hash(facts: Mapping[str, Any], size: int) -> str:
    canonical = orjson.dumps(facts, default=dict, option=orjson.OPT_SORT_KEYS)
    return blake2b(canonical, digest_size=size).hexdigest()
