"""API keys at rest: a YAML file's entries, a Redis hash's values. No secret is in them."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from math import inf
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from entroute.priorities import Priority
from entroute.spending import BudgetLimits
from entroute.tenants.keys import ID_DIGITS, Key
from entroute.tenants.limit_settings import KeyLimits
from entroute.types import Principal


def _in_utc(moment: datetime) -> datetime:
    """Return a moment in UTC, which is what one without a time zone is read as."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


Moment = Annotated[datetime, AfterValidator(_in_utc)]
"""A date or time in UTC, to the second."""

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KeyBudget(BaseModel):
    """The most that one request of a key may spend."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    max_calls: int | None = Field(default=None, ge=1, description="Calls to workers.")
    max_generated_tokens: int | None = Field(default=None, ge=1, description="Tokens it makes.")
    deadline_ms: float | None = Field(default=None, gt=0, description="Milliseconds it may take.")
    max_cost_usd: float | None = Field(default=None, ge=0, description="Dollars.")

    def limits(self) -> BudgetLimits:
        """Return the limits in the walk's units."""
        deadline_s = None if self.deadline_ms is None else self.deadline_ms / 1e3
        return BudgetLimits(
            self.max_calls, self.max_generated_tokens, deadline_s, self.max_cost_usd
        )


class OldSecret(_Closed):
    """What a rotated key was before, good for a while."""

    sha256: Digest = Field(description="Hash of the old key, in hex.")
    expires: Moment = Field(description="From when it is refused (UTC).")


class KeyEntry(_Closed):
    """One API key: who holds it and what it may do."""

    id: str = Field(
        default="",
        pattern="^([0-9a-f]{12})?$",
        description="What logs and usage show, 12 hex digits; the first of the hash if left out.",
    )
    name: str = Field(min_length=1, description="For people.")
    sha256: Digest = Field(description="Hash of the key, in hex.")
    tenant: str = Field(min_length=1, max_length=64, description="Whose answers and accounts.")
    group: str = Field(
        default="",
        pattern="^([a-z0-9_-]{1,32})?$",
        description="Name under which metrics show it; none of its own if left out.",
    )
    admin: bool = Field(default=False, description="Whether it may ask about other keys.")
    priority: Priority = Field(
        default="normal", description="Of its requests, the highest that they may ask for."
    )
    tiers: frozenset[str] | None = Field(
        default=None, description="Allowed tiers, all if left out."
    )
    strategies: frozenset[str] | None = Field(default=None, description="Allowed strategies.")
    budget: KeyBudget = Field(default_factory=KeyBudget, description="Most a request spends.")
    limits: KeyLimits = Field(
        default_factory=KeyLimits, description="Most it uses a minute and a month."
    )
    created: Moment | None = Field(default=None, description="When it was made (UTC).")
    expires: Moment | None = Field(
        default=None, description="From when it is refused (UTC), never if left out."
    )
    previous: tuple[OldSecret, ...] = Field(
        default=(), description="What it was before it was rotated, as long as that is good."
    )
    note: str = Field(default="", description="For people.")

    @property
    def key_id(self) -> str:
        """The id."""
        return self.id or self.sha256[:ID_DIGITS]

    @property
    def digests(self) -> tuple[str, ...]:
        """Every hash it is known by, the current one first."""
        return (self.sha256, *(old.sha256 for old in self.previous))

    def dump(self) -> dict[str, Any]:
        """Return it as plain data: what it has beyond the defaults, names in order."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        for names in data.keys() & {"tiers", "strategies"}:
            data[names] = sorted(data[names])
        return data

    def key(self) -> Key:
        """Return it as the gateway holds it."""
        principal = Principal(
            self.tenant,
            self.tiers,
            self.strategies,
            self.budget.limits(),
            key=self.key_id,
            group=self.group,
            admin=self.admin,
            rates=self.limits.build(),
            priority=self.priority,
        )
        expires = inf if self.expires is None else self.expires.timestamp()
        return Key(self.key_id, self.name, principal, expires)

    def held(self) -> tuple[Key, Mapping[str, Key]]:
        """Return it as the gateway holds it, and what each of its hashes stands for."""
        key = self.key()
        old = {
            each.sha256: replace(key, expires=min(key.expires, each.expires.timestamp()))
            for each in self.previous
        }
        return key, {**old, self.sha256: key}


class KeyFile(_Closed):
    """The file."""

    keys: list[KeyEntry] = Field(description="The keys; an empty list lets nobody in.")
