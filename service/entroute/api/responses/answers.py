"""From a body of the Responses API to its answer: the conversation, the walk, what is kept."""

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from entroute.api.answering import Answering, new_trace
from entroute.api.responses.events import ResponseWriting
from entroute.api.responses.items import Item, input_items, new_id
from entroute.api.responses.keeping import KeptResponse, ResponseKeeper
from entroute.api.responses.output import Output
from entroute.api.responses.render import Envelope, shown_settings
from entroute.api.responses.schema import ResponseBody
from entroute.api.responses.translate import chat_request, check_fields, renamed
from entroute.api.translate import options_of
from entroute.api.urgency import served_tier, with_priority
from entroute.errors import InvalidRequest, StoreUnavailable, WorkerRejected
from entroute.evidence import Outcome
from entroute.opening import Ask
from entroute.protocols import OutcomeStream
from entroute.types import Principal

PART = "responses"
"""Name of a degraded part: the response was delivered and is not kept."""


@dataclass(frozen=True, slots=True)
class Responses:
    """Answers `POST /v1/responses`.

    Attributes:
        answering: What all endpoints share.
        keeper: Keeps responses.
        now: Returns unix seconds.
    """

    answering: Answering
    keeper: ResponseKeeper
    now: Callable[[], float]

    async def create(self, request: Request, body: ResponseBody) -> Response:
        """Answer a request.

        Raises:
            InvalidRequest: A field is wrong or not supported.
            StoreUnavailable: The response that it goes on from cannot be read now.
        """
        check_fields(body)
        principal: Principal = request.scope["state"]["principal"]
        asked = input_items(body.input)
        conversation = [*await self._said_before(body, principal.tenant), *asked]
        ask = Ask(
            request=chat_request(body, conversation, self.answering.allow_fields),
            options=with_priority(
                options_of(body.entroute, request.headers), principal, body.service_tier
            ),
            principal=principal,
            trace=new_trace(request.scope, streamed=bool(body.stream)),
        )
        writing = self._writing(body, ask)
        items = self._kept(self.answering.gateway.stream(ask), writing, conversation)
        return await self.answering.answered(request, ask, items, writing)

    async def _said_before(self, body: ResponseBody, tenant: str) -> list[Item]:
        """Return the conversation that the request goes on with; instructions are not of it."""
        if body.previous_response_id is None:
            return []
        kept = await self.keeper.find(tenant, body.previous_response_id)
        if kept is None:
            raise InvalidRequest(
                f"Previous response with id '{body.previous_response_id}' not found. It may have "
                "expired, or was not stored; send the whole conversation as input.",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        return kept.conversation

    def _writing(self, body: ResponseBody, ask: Ask) -> ResponseWriting:
        now = self.now
        stored = self.keeper.enabled and body.store is not False
        settings = shown_settings(body)
        if (served := served_tier(ask.options, body.service_tier)) is not None:
            settings["service_tier"] = served
        return ResponseWriting(
            envelope=Envelope(new_id("resp"), int(now()), stored, body, now, settings),
            output=Output(new_id, body.logprobs, body.top_logprobs or 0),
            trace=ask.trace,
            clock=self.answering.clock,
            models=self.answering.models,
            explain=ask.options.explain,
        )

    async def _kept(
        self, items: OutcomeStream, writing: ResponseWriting, conversation: list[Item]
    ) -> OutcomeStream:
        """Hand an answer out, kept before its end is told: a client may go on from it at once."""
        async with aclosing(items) as source:
            try:
                async for item in source:
                    if isinstance(item, Outcome) and writing.envelope.store:
                        await self._keep(item, writing, conversation)
                    yield item
            except (InvalidRequest, WorkerRejected) as error:
                told = renamed(error)
                if told is error:
                    raise
                raise told from error

    async def _keep(
        self, outcome: Outcome, writing: ResponseWriting, conversation: list[Item]
    ) -> None:
        trace, clock = writing.trace, writing.clock
        kept = KeptResponse(writing.finished(outcome), conversation)
        since = clock()
        try:
            is_kept = await self.keeper.keep(trace.tenant, kept)
        except StoreUnavailable:
            is_kept = False
        if trace.streamed:
            trace.client_s -= clock() - since  # the walk takes it for the client's reading
        if not is_kept:
            trace.degrade(PART)
