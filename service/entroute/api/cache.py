"""`POST /v1/cache/invalidate`: kept answers are made anew from now on."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Protocol

from fastapi import APIRouter, Body, Request
from pydantic import BaseModel, ConfigDict, Field

from entroute.api.parsing import strict_route
from entroute.api.routes import ERRORS
from entroute.api.schema import CacheTag
from entroute.errors import NotFound
from entroute.types import Principal


class InvalidationBody(BaseModel):
    """Which answers."""

    model_config = ConfigDict(extra="forbid", strict=True)

    tags: list[CacheTag] = Field(
        min_length=1, max_length=64, description="As requests gave them in `cache_tags`."
    )


class InvalidationAnswer(BaseModel):
    """Which answers are not given again."""

    object: str = "cache.invalidation"
    tags: list[str]


class Invalidates(Protocol):
    """What invalidates answers by tag."""

    def invalidate(self, tenant: str, tags: Sequence[str]) -> Awaitable[None]:
        """Make every answer of the tenant's that has one of these tags a miss.

        Raises:
            StoreUnavailable: It is not certain that they are.
        """
        ...


def cache_routes(
    stamps: Invalidates | None, admit: Callable[[Request], Awaitable[Principal]]
) -> APIRouter:
    """Return the path that invalidates a tenant's own answers.

    Args:
        stamps: Invalidates them, None where no answers are kept.
        admit: Returns who asks, raises for strangers.
    """
    responses = {
        **ERRORS,
        404: {**ERRORS[404], "description": "This gateway keeps no answers."},
        503: {**ERRORS[503], "description": "Not certain to be done; see Retry-After."},
    }
    route = strict_route(admit)
    router = APIRouter(prefix="/v1", tags=["cache"], responses=responses, route_class=route)

    @router.post("/cache/invalidate", summary="Invalidate kept answers by tag")
    async def invalidate(
        request: Request, body: Annotated[InvalidationBody, Body()]
    ) -> InvalidationAnswer:
        if stamps is None:
            raise NotFound("This gateway keeps no answers (cache.kind: off).", code="no_cache")
        tags = list(dict.fromkeys(body.tags))
        await stamps.invalidate(request.scope["state"]["principal"].tenant, tags)
        return InvalidationAnswer(tags=tags)

    return router
