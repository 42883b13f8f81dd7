"""`GET /v1/usage`: what a key has used, and what is left of its limits."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request

from entroute.api.answering import Answering
from entroute.api.routes import ERRORS
from entroute.errors import InvalidRequest, NotFound, PermissionDenied
from entroute.tenants.account import Standing
from entroute.tenants.keys import KeySource
from entroute.tenants.limiter import Limiter
from entroute.tenants.limits import DIMENSIONS, limit_name
from entroute.tenants.tallies import Spent, Tally, summed, tally_of
from entroute.tenants.usage import UsageKeeper
from entroute.types import Principal

_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")
_KEY = re.compile(r"[0-9a-f]{12}")
_PARAMETERS = frozenset({"month", "key", "by"})


@dataclass(frozen=True, slots=True)
class UsageDesk:
    """Answers what keys have used.

    Attributes:
        usage: What they have used.
        limiter: What is left of their limits.
        keys: Where another key is looked up by an admin, None where there are no keys.
        wall: Seconds since the epoch.
    """

    usage: UsageKeeper
    limiter: Limiter
    keys: KeySource | None
    wall: Callable[[], float] = time.time

    async def answer(self, asker: Principal, parameters: Mapping[str, str]) -> dict[str, Any]:
        """Return the body of an answer.

        Raises:
            InvalidRequest: A parameter is wrong.
            PermissionDenied: The asker may not see that key.
            NotFound: There is no such key.
            StoreUnavailable: The books cannot be had in time.
        """
        current = f"{datetime.fromtimestamp(self.wall(), UTC):%Y-%m}"
        month, by_day = _checked(parameters, current)
        key = parameters.get("key", asker.key)
        who = self._who(asker, key)
        days = await self.usage.read(key, month)
        if who is None and not days:
            raise NotFound(f"No key has the id '{key}'.", param="key", code="key_not_found")
        body = {
            "object": "entroute.usage",
            "key": key,
            "tenant": None if who is None else who.tenant,
            "window": _window(month),
            **_told(tally_of(summed(days.values()))),
        }
        if by_day:
            body["days"] = [
                {"date": f"{month}-{day:02d}", **_told(tally_of(days[day]))} for day in sorted(days)
            ]
        if who is not None and month == current:
            body["limits"] = [_limit(each) for each in await self.limiter.standing(who)]
        return body

    def _who(self, asker: Principal, key: str) -> Principal | None:
        """Return whom a key stands for, None for one that is not known (any more)."""
        if key == asker.key:
            return asker
        if not asker.admin:
            raise PermissionDenied("Only an admin key may ask about other keys.", param="key")
        found = None if self.keys is None else self.keys.by_id(key)
        return None if found is None else found.principal


def usage_routes(desk: UsageDesk, answering: Answering) -> APIRouter:
    """Return the path that tells what a key has used."""
    router = APIRouter(prefix="/v1", tags=["usage"], responses=ERRORS)

    @router.get(
        "/usage",
        summary="What your key has used and what is left",
        openapi_extra={"parameters": [_parameter(*each) for each in _DESCRIBED]},
    )
    async def usage(request: Request) -> dict[str, Any]:
        asker = await answering.admit(request)
        return await desk.answer(asker, request.query_params)

    return router


_DESCRIBED = (
    ("month", "Such as 2026-11, in UTC; the current one if left out."),
    ("key", "Id of another key, for admin keys."),
    ("by", "`day` for every day of the month as well."),
)


def _parameter(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": {"type": "string"}}


def _checked(parameters: Mapping[str, str], current: str) -> tuple[str, bool]:
    for name in parameters:
        if name not in _PARAMETERS:
            known = ", ".join(sorted(_PARAMETERS))
            raise InvalidRequest(f"{name[:64]}: not known here; there are {known}.", param=name)
    month, by = parameters.get("month", current), parameters.get("by")
    if not _MONTH.fullmatch(month):
        raise InvalidRequest("month: write a year and a month, such as 2026-11.", param="month")
    if "key" in parameters and not _KEY.fullmatch(parameters["key"]):
        raise InvalidRequest("key: write a key's id, 12 hex digits.", param="key")
    if by not in {None, "day"}:
        raise InvalidRequest("by: only 'day' can be asked for.", param="by")
    return month, by == "day"


def _window(month: str) -> dict[str, str]:
    year, number = map(int, month.split("-"))
    after = f"{year + number // 12:04d}-{number % 12 + 1:02d}"
    return {"month": month, "from": f"{month}-01T00:00:00Z", "to": f"{after}-01T00:00:00Z"}


def _told(tally: Tally) -> dict[str, Any]:
    tiers: dict[str, dict[str, Any]] = {}
    for (tier, purpose), spent in tally.spent.items():
        tiers.setdefault(tier, {})[purpose] = _spent(spent)
    totals = {
        "requests": tally.requests,
        "errors": tally.errors,
        "cache_hits": tally.cache_hits,
        **_spent(tally.total),
    }
    return {"totals": totals, "tiers": tiers}


def _spent(spent: Spent) -> dict[str, Any]:
    usage = spent.usage
    return {
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.cached_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "calls": usage.calls,
        "partial_calls": usage.partial_calls,
        "cost_usd": spent.cost_usd,
    }


def _limit(standing: Standing) -> dict[str, Any]:
    money = DIMENSIONS[standing.dimension] == "cost"
    amounts = {"limit": standing.limit, "used": standing.used, "left": standing.left}
    told = {name: amount / 1e6 if money else amount for name, amount in amounts.items()}
    return {
        "name": limit_name(standing.window, standing.dimension),
        **told,
        "reset_s": -(-standing.wait_ms // 1000),
    }
