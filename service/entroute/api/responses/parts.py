"""The kinds of items that an answer is made of, and the events that tell how each is made."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Event = dict[str, Any]


class OutputItem(ABC):
    """An item that is being made.

    Args:
        item_id: Its id.
        index: Its place in the output.

    Attributes:
        kind: Its type.
        status: in_progress, completed or incomplete.
    """

    kind: str

    def __init__(self, item_id: str, index: int) -> None:
        self.id = item_id
        self.index = index
        self.status = "in_progress"

    @abstractmethod
    def fields(self) -> dict[str, Any]:
        """Return what is of this kind alone."""

    @abstractmethod
    def _last(self) -> Iterator[Event]:
        """Tell what comes just before the end."""

    def shown(self) -> dict[str, Any]:
        """Return the item as it is so far."""
        return {"id": self.id, "type": self.kind, "status": self.status, **self.fields()}

    def open(self) -> Iterator[Event]:
        """Tell that it begins."""
        yield self._whole("added")

    def close(self, status: str) -> Iterator[Event]:
        """Tell once that it has ended, with its status: completed or incomplete."""
        if self.status == "in_progress":
            self.status = status
            yield from self._last()
            yield self._whole("done")

    def _whole(self, what: str) -> Event:
        return {
            "type": f"response.output_item.{what}",
            "output_index": self.index,
            "item": self.shown(),
        }

    def _event(self, event: str, /, **fields: Any) -> Event:
        place = {"item_id": self.id, "output_index": self.index}
        return {"type": f"response.{event}", **place, **fields}


class ReasoningItem(OutputItem):
    """What the model thought, as far as its worker tells it."""

    kind = "reasoning"

    def __init__(self, item_id: str, index: int) -> None:
        super().__init__(item_id, index)
        self._pieces: list[str] = []

    def fields(self) -> dict[str, Any]:
        """Return the summary."""
        return {"summary": [self._part()] if self._pieces else []}

    def add(self, text: str) -> Iterator[Event]:
        """Write a piece."""
        if not self._pieces:
            yield self._event("reasoning_summary_part.added", summary_index=0, part=self._part())
        self._pieces.append(text)
        yield self._event("reasoning_summary_text.delta", summary_index=0, delta=text)

    def _last(self) -> Iterator[Event]:
        part = self._part()
        text = part["text"]
        yield self._event("reasoning_summary_text.done", summary_index=0, text=text)
        yield self._event("reasoning_summary_part.done", summary_index=0, part=part)

    def _part(self) -> dict[str, Any]:
        return {"type": "summary_text", "text": "".join(self._pieces)}


class CallItem(OutputItem):
    """A call of one of the client's functions."""

    kind = "function_call"

    def __init__(self, item_id: str, index: int, call_id: str) -> None:
        super().__init__(item_id, index)
        self.call_id = call_id
        self.name = ""
        self._pieces: list[str] = []

    def fields(self) -> dict[str, Any]:
        """Return the call."""
        arguments = "".join(self._pieces)
        return {"call_id": self.call_id, "name": self.name, "arguments": arguments}

    def add(self, arguments: str) -> Iterator[Event]:
        """Write a piece of the arguments."""
        if arguments:
            self._pieces.append(arguments)
            yield self._event("function_call_arguments.delta", delta=arguments)

    def _last(self) -> Iterator[Event]:
        arguments = "".join(self._pieces)
        yield self._event("function_call_arguments.done", name=self.name, arguments=arguments)


class MessageItem(OutputItem):
    """What the model says: text, or why it does not answer."""

    kind = "message"

    def __init__(self, item_id: str, index: int) -> None:
        super().__init__(item_id, index)
        self._parts: list[_Part] = []

    def fields(self) -> dict[str, Any]:
        """Return role and parts."""
        return {"role": "assistant", "content": [part.shown() for part in self._parts]}

    def add_text(self, text: str, tokens: Iterable[Mapping[str, Any]]) -> Iterator[Event]:
        """Write a piece of text, and its tokens' log-probabilities where they are wanted."""
        tokens = list(tokens)
        part = self._parts[-1] if self._parts else None
        if not (text or tokens) and part is not None:
            return
        if part is None or part.kind != "output_text":
            yield from self._begun(_Part("output_text"))
            part = self._parts[-1]
        part.pieces.append(text)
        part.tokens += tokens
        if text or tokens:
            place = {"content_index": len(self._parts) - 1}
            yield self._event("output_text.delta", **place, delta=text, logprobs=tokens)

    def add_refusal(self, text: str) -> Iterator[Event]:
        """Write a piece of a refusal."""
        if not self._parts or self._parts[-1].kind != "refusal":
            yield from self._begun(_Part("refusal"))
        self._parts[-1].pieces.append(text)
        yield self._event("refusal.delta", content_index=len(self._parts) - 1, delta=text)

    def _begun(self, part: "_Part") -> Iterator[Event]:
        yield from self._last()
        self._parts.append(part)
        place = {"content_index": len(self._parts) - 1}
        yield self._event("content_part.added", **place, part=part.shown())

    def _last(self) -> Iterator[Event]:
        """Tell that the latest part has ended."""
        if not self._parts:
            return
        part, place = self._parts[-1], {"content_index": len(self._parts) - 1}
        text = "".join(part.pieces)
        if part.kind == "refusal":
            yield self._event("refusal.done", **place, refusal=text)
        else:
            yield self._event("output_text.done", **place, text=text, logprobs=part.tokens)
        yield self._event("content_part.done", **place, part=part.shown())


class _Part:
    """A part of a message."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.pieces: list[str] = []
        self.tokens: list[Mapping[str, Any]] = []

    def shown(self) -> dict[str, Any]:
        """Return the part as it is so far."""
        text = "".join(self.pieces)
        if self.kind == "refusal":
            return {"type": "refusal", "refusal": text}
        return {
            "type": "output_text",
            "text": text,
            "annotations": [],
            "logprobs": list(self.tokens),
        }
