"""A response on the wire: whole, or as typed events over server-sent events."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from entroute.api.errors import rendered
from entroute.api.render import summary_of, whole_delta
from entroute.api.responses.output import Event, Output
from entroute.api.responses.render import Envelope, incomplete_reason
from entroute.api.sse import Item
from entroute.evidence import Outcome, Trace
from entroute.protocols import Clock
from entroute.types import Delta

_CLIENTS_FAULT = 400


@dataclass(slots=True)
class ResponseWriting:
    """Writes one response; see `Writing`.

    Attributes:
        envelope: What it says of its request.
        output: Its items.
        trace: Of the request.
        clock: Monotonic seconds.
        models: Model by tier.
        explain: Whether the client wants the evidence.
    """

    envelope: Envelope
    output: Output
    trace: Trace
    clock: Clock
    models: Mapping[str, str]
    explain: bool
    _model: str = ""
    _sequence: int = 0
    _last: list[Event] = field(default_factory=list)
    _response: dict[str, Any] | None = None

    def finished(self, outcome: Outcome) -> Mapping[str, Any]:
        """Return the response of an answer that is complete, as it is kept."""
        if self._response is None:
            self._name_model(outcome.tier)
            if not self.output.made:
                self._last += self.output.feed(whole_delta(0, outcome.choices[0]))
            status = "incomplete" if incomplete_reason(outcome) else "completed"
            self._last += self.output.close(status)
            items = self.output.items
            self._response = self.envelope.ended(outcome, self.trace, self._model, items)
        return self._response

    def whole(self, outcome: Outcome) -> Mapping[str, Any]:
        """Return the body of a whole answer."""
        response = self.finished(outcome)
        return {**response, "entroute": self._summary(outcome)} if self.explain else response

    def events(self, item: Item) -> bytes:
        """Return the events of one item."""
        self._name_model(item.tier)
        begin = self._begin()
        if isinstance(item, Delta):
            return begin + self._encoded(self.output.feed(item))
        response = {**self.finished(item), "entroute": self._summary(item)}
        last = {"type": f"response.{response['status']}", "response": response}
        return begin + self._encoded([*self._last, last])

    def end(self) -> bytes:
        """Return nothing: the last event says that it is the last."""
        return b""

    def failed(self, error: Exception) -> bytes:
        """Return an `error` event and the failed response."""
        begin = self._begin()
        status, body, _ = rendered(error)
        told = body["error"]
        code = "invalid_prompt" if status == _CLIENTS_FAULT else "server_error"
        self.output.break_off()
        response = self.envelope.failed(code, told["message"], self._shown_model, self.output.items)
        named = {name: told[name] for name in ("code", "message", "param")}
        error_event: Event = {"type": "error", **named}
        return begin + self._encoded(
            [error_event, {"type": "response.failed", "response": response}]
        )

    @property
    def _shown_model(self) -> str:
        return self._model or self.envelope.body.model

    def _begin(self) -> bytes:
        """Return the first events of a stream, nothing once they were told."""
        if self._sequence:
            return b""
        response = self.envelope.begun(self._shown_model)
        kinds = ("response.created", "response.in_progress")
        return self._encoded({"type": kind, "response": response} for kind in kinds)

    def _encoded(self, events: Iterable[Event]) -> bytes:
        pieces = []
        for event in events:
            numbered = {**event, "sequence_number": self._sequence}
            self._sequence += 1
            data = orjson.dumps(numbered, default=dict)
            pieces.append(b"event: %b\ndata: %b\n\n" % (event["type"].encode(), data))
        return b"".join(pieces)

    def _name_model(self, tier: str) -> None:
        """Fix the model's name at the first piece: it is constant over a stream."""
        if not self._model:
            self._model = self.models.get(tier, self.envelope.body.model)

    def _summary(self, outcome: Outcome) -> dict[str, Any]:
        """Return the `entroute` object; the response may have failed to be kept since."""
        summary = summary_of(self.trace, outcome, self.clock(), explain=self.explain)
        summary["degraded"] = list(dict.fromkeys([*outcome.degraded, *self.trace.degraded]))
        return summary
