"""`POST /v1/feedback`: how an answer turned out."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Body, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from entroute.api.parsing import strict_route
from entroute.api.routes import ERRORS
from entroute.errors import InvalidRequest, NotFound
from entroute.types import Principal

_UNKNOWN = (
    "No answer with this id is known. Send the x-request-id of an answer that your key was given, "
    "soon enough (feedback.ttl_s)."
)


class FeedbackBody(BaseModel):
    """An outcome label: `right` or `score`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(min_length=1, max_length=128, description="The answer's `x-request-id` header.")
    right: bool | None = Field(default=None, description="Whether the answer was right.")
    score: float | None = Field(
        default=None, ge=0, le=1, description="How right it was, 1 best, in place of `right`."
    )


class FeedbackAnswer(BaseModel):
    """What became of a label."""

    object: str = "entroute.feedback"
    id: str
    accepted: bool = Field(description="Always true: what is not taken is an error.")
    plan: str | None = Field(description="Plan whose predictions learn from it, null for none.")


class ReceiptView(Protocol):
    """What became of a label."""

    @property
    def result(self) -> str:
        """accepted, replaced, no_plan, unknown, foreign or invalid."""
        ...

    @property
    def plan(self) -> str:
        """Plan that made the answer, "" for none."""
        ...


class TakesLabels(Protocol):
    """What takes labels."""

    def label(self, request_id: str, tenant: str, value: float) -> Awaitable[ReceiptView]:
        """Take one, in [0, 1]."""
        ...

    def refused(self) -> None:
        """Count one that could not be read."""
        ...


def feedback_routes(
    feedback: TakesLabels, admit: Callable[[Request], Awaitable[Principal]]
) -> APIRouter:
    """Return the path that takes labels.

    Args:
        feedback: Takes them.
        admit: Returns who asks, raises for strangers.
    """
    route = _counting(strict_route(admit), feedback)
    responses = {**ERRORS, 404: {**ERRORS[404], "description": "No answer has this id."}}
    router = APIRouter(prefix="/v1", tags=["feedback"], responses=responses, route_class=route)

    @router.post("/feedback", summary="Say how an answer turned out")
    async def label(request: Request, body: Annotated[FeedbackBody, Body()]) -> FeedbackAnswer:
        value = _value(body, feedback)
        tenant = request.scope["state"]["principal"].tenant
        receipt = await feedback.label(body.id, tenant, value)
        # A foreign id reads like an unknown one: nobody learns which ids others were given.
        if receipt.result in {"unknown", "foreign"}:
            raise NotFound(_UNKNOWN, param="id", code="not_found")
        if receipt.result == "invalid":
            raise InvalidRequest("id: its label was changed too often.", param="id")
        plan = receipt.plan if receipt.result != "no_plan" else None
        return FeedbackAnswer(id=body.id, accepted=True, plan=plan)

    return router


def _value(body: FeedbackBody, feedback: TakesLabels) -> float:
    """Return the label, in [0, 1].

    Raises:
        InvalidRequest: There is none, or two.
    """
    if body.score is None:
        if body.right is None:
            feedback.refused()
            raise InvalidRequest("right: give right (true or false) or score.", param="right")
        return float(body.right)
    if body.right is not None:
        feedback.refused()
        raise InvalidRequest("score: give right or score, not both.", param="score")
    return body.score


def _counting(route: type[APIRoute], feedback: TakesLabels) -> type[APIRoute]:
    """Return a class of routes that count the labels that cannot be read."""

    class CountingRoute(route):  # type: ignore[valid-type,misc]
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handler = super().get_route_handler()

            async def handle(request: Request) -> Response:
                try:
                    answer: Response = await handler(request)
                except RequestValidationError:
                    feedback.refused()
                    raise
                return answer

            return handle

    return CountingRoute
