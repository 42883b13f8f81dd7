"""The items of an answer as it is made, each step a typed event.

One item is written at a time, but for function calls: a worker may write several side by side, so
they stay open until the answer ends.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from entroute.api.responses.parts import CallItem, MessageItem, OutputItem, ReasoningItem
from entroute.types import Delta, TokenLogprob

Event = dict[str, Any]


@dataclass(slots=True)
class Output:
    """The output of one response.

    Attributes:
        new_id: Returns a new id of a kind: msg, fc, rs, call.
        logprobs: Whether log-probabilities are shown.
        top_logprobs: How many alternatives a token are shown.
        made: The items so far, in order.
    """

    new_id: Callable[[str], str]
    logprobs: bool
    top_logprobs: int
    made: list[OutputItem] = field(default_factory=list)
    _calls: dict[int, CallItem] = field(default_factory=dict)
    _waiting: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def items(self) -> list[dict[str, Any]]:
        """The items as a response shows them."""
        return [item.shown() for item in self.made]

    def feed(self, delta: Delta) -> Iterator[Event]:
        """Write a piece of the answer."""
        extra = delta.extra
        thought = extra.get("reasoning_content") or extra.get("reasoning")
        refusal = extra.get("refusal")
        calls: Sequence[Mapping[str, Any]] = extra.get("tool_calls") or ()
        if self.logprobs and (delta.content or not (thought or refusal or calls)):
            self._waiting += [self._shown_token(token) for token in delta.logprobs]
        if isinstance(thought, str) and thought:
            item, events = self._reasoning()
            yield from events
            yield from item.add(thought)
        if delta.content:
            message, events = self._message()
            yield from events
            tokens, self._waiting = self._waiting, []
            yield from message.add_text(delta.content, tokens)
        if isinstance(refusal, str) and refusal:
            message, events = self._message()
            yield from events
            yield from message.add_refusal(refusal)
        for place, piece in enumerate(calls):
            yield from self._call(piece.get("index", place), piece.get("function") or {}, piece)

    def close(self, status: str) -> Iterator[Event]:
        """End every open item; the last has the status of the whole.

        Args:
            status: completed or incomplete.
        """
        if not self.made:
            _, events = self._message()
            yield from events
        last = self.made[-1]
        if isinstance(last, MessageItem):
            yield from last.add_text("", self._waiting)
        for item in self.made:
            yield from item.close(status if item is last else "completed")

    def break_off(self) -> None:
        """Mark what is still open as incomplete."""
        for item in self.made:
            if item.status == "in_progress":
                item.status = "incomplete"

    def _reasoning(self) -> tuple[ReasoningItem, list[Event]]:
        last = self.made[-1] if self.made else None
        if isinstance(last, ReasoningItem):
            return last, []
        item = ReasoningItem(self.new_id("rs"), len(self.made))
        return item, self._opened(item)

    def _message(self) -> tuple[MessageItem, list[Event]]:
        last = self.made[-1] if self.made else None
        if isinstance(last, MessageItem):
            return last, []
        item = MessageItem(self.new_id("msg"), len(self.made))
        return item, self._opened(item)

    def _call(
        self, index: int, function: Mapping[str, Any], piece: Mapping[str, Any]
    ) -> Iterator[Event]:
        call = self._calls.get(index)
        if call is None:
            call = CallItem(self.new_id("fc"), len(self.made), self._call_id(piece))
            call.name = function.get("name") or ""
            self._calls[index] = call
            yield from self._opened(call)
        yield from call.add(function.get("arguments") or "")

    def _call_id(self, piece: Mapping[str, Any]) -> str:
        """Return the worker's id of a call; one of our own where it gives none, or one twice."""
        given = piece.get("id")
        taken = {call.call_id for call in self._calls.values()}
        return str(given) if given and given not in taken else self.new_id("call")

    def _opened(self, item: OutputItem) -> list[Event]:
        """Put an item at the end and end the one before it, unless that may be written on."""
        before = self.made[-1] if self.made else None
        ended = [] if before is None or isinstance(before, CallItem) else before.close("completed")
        events = [*ended, *item.open()]
        self.made.append(item)
        return events

    def _shown_token(self, token: TokenLogprob) -> dict[str, Any]:
        top = (token.get("top_logprobs") or ())[: self.top_logprobs]
        return {**_entry(token), "top_logprobs": [_entry(one) for one in top]}


def _entry(token: Mapping[str, Any]) -> dict[str, Any]:
    given = token.get("bytes")
    as_bytes = list(str(token["token"]).encode()) if given is None else list(given)
    return {"token": token["token"], "bytes": as_bytes, "logprob": token["logprob"]}
