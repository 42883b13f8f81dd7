"""Which worker probably holds the beginning of a prompt: remembered from what was sent where.

A worker's KV cache answers a prompt's beginning that it has read before without reading it again.
Nothing of a prompt is kept but digests of its beginnings.
"""

from bisect import bisect_right, insort
from collections import Counter, OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate, chain, count, repeat, takewhile
from typing import Any

import orjson

from entroute.types import Call, ChatRequest

BLOCK = 256
"""Bytes of the first blocks, about 64 tokens: less is read in no time."""

_BLOCKS_OF_A_SIZE = 32
_SIZES = 8
_ENDS = tuple(
    accumulate(chain.from_iterable(repeat(BLOCK << i, _BLOCKS_OF_A_SIZE) for i in range(_SIZES)))
)
"""Where blocks end: their size doubles every 32, so that what is matched of a prompt is told to
1/32 and the longest has 256. What follows 2 MB does not count."""

_HOME = 4 * BLOCK
"""Bytes of a conversation's beginning by which gateways that share nothing agree on a worker."""

_DIGEST_BYTES = 8
_BEFORE_MESSAGES = ("tools", "functions", "documents", "chat_template_kwargs", "cache_salt")
_INSTRUCTIONS = frozenset({"system", "developer"})
_MOST_HOLDERS = 8


@dataclass(frozen=True, slots=True)
class Beginnings:
    """A prompt's beginnings as digests.

    Attributes:
        home: Of the conversation's first 1024 bytes, or of its first message if that is shorter.
        all: Of every beginning by which it is told apart, shortest first; `home` is one of them.
    """

    home: bytes
    all: tuple[bytes, ...]


def beginnings_of(call: Call) -> Beginnings | None:
    """Return the beginnings of a call's prompt, None where it is shorter than a block.

    Tools and the leading instructions are part of each, and none of them ends within: what all
    conversations share is soon held by every worker and must not draw them all to one.
    """
    shared, own, first = _parts(call)
    if len(shared) + len(own) < BLOCK:
        return None
    digest = blake2b(call.salt.encode(), digest_size=_DIGEST_BYTES)
    digest.update(b"\0" + shared)
    home = min(first, _HOME)
    ends = list(_ENDS[: bisect_right(_ENDS, len(own))])
    if home not in ends:
        insort(ends, home)
    found, begin = [], 0
    for end in ends:
        digest.update(own[begin:end])
        found.append(digest.digest())  # of everything up to here: digest() does not end it
        begin = end
    return Beginnings(found[ends.index(home)], tuple(found))


def _parts(call: Call) -> tuple[bytes, bytes, int]:
    """Return the instructions, the conversation, and how long its first message is, in bytes."""
    request = call.request
    if request.prompt is not None:
        text = request.prompt[: _ENDS[-1]].encode()
        return b"", text, len(text)
    instructions = len(list(takewhile(_instructs, request.messages)))
    if instructions == len(request.messages):
        instructions = 0
    own, first = _conversation(call, request.messages[instructions:])
    return _dumped([_before(request), *request.messages[:instructions]]), own, first


def _before(request: ChatRequest) -> dict[str, Any]:
    """Return what chat templates put before the messages, or engines mix into the cache's keys."""
    return {name: request.extra[name] for name in _BEFORE_MESSAGES if name in request.extra}


def _instructs(message: Any) -> bool:
    return message.get("role") in _INSTRUCTIONS


def _conversation(call: Call, messages: Sequence[Any]) -> tuple[bytes, int]:
    """Return messages and the answer so far as bytes, and how many are the first message's."""
    own = bytearray()
    first = 0
    for message in messages:
        own += _dumped(message)
        first = first or len(own)
        if len(own) >= _ENDS[-1]:
            break
    if call.partial:
        # As the next turn will have it, which goes on behind it.
        own += _dumped({"role": "assistant", "content": call.partial})[:-2]
    return bytes(own), first


def _dumped(value: Any) -> bytes:
    return orjson.dumps(value, default=dict)


class SentPrompts:
    """Remembers which workers were sent which beginnings, the latest of them.

    Args:
        most: Beginnings that are remembered.
    """

    def __init__(self, most: int = 100_000) -> None:
        self._most = most
        self._sent: OrderedDict[bytes, tuple[int, ...]] = OrderedDict()
        self._ids: dict[str, int] = {}
        self._next_id = count()
        self._held = Counter[int]()

    def __len__(self) -> int:
        return len(self._sent)

    def holders(self, beginnings: Beginnings, among: Collection[str]) -> frozenset[str]:
        """Return which of these workers were sent the longest beginning; empty if none was."""
        names = {self._ids[name]: name for name in among if name in self._ids}
        for beginning in reversed(beginnings.all):
            found = [names[id_] for id_ in self._sent.get(beginning, ()) if id_ in names]
            if found:
                return frozenset(found)
        return frozenset()

    def held(self, worker: str) -> int:
        """Return how many beginnings a worker is remembered by: about what its cache holds."""
        return self._held[self._ids[worker]] if worker in self._ids else 0

    def note(self, beginnings: Beginnings, worker: str) -> None:
        """Remember that a prompt was sent to a worker."""
        if worker not in self._ids:
            self._ids[worker] = next(self._next_id)
        id_ = self._ids[worker]
        self._noted(beginnings, id_)
        while len(self._sent) > self._most:
            _, dropped = self._sent.popitem(last=False)
            self._dropped(dropped)

    def _noted(self, beginnings: Beginnings, id_: int) -> None:
        # The shortest last: it outlives those that say more only together with it.
        for beginning in reversed(beginnings.all):
            held = self._sent.get(beginning, ())
            if id_ not in held:
                self._dropped(held[: 1 - _MOST_HOLDERS])
                self._held[id_] += 1
                self._sent[beginning] = (*held[1 - _MOST_HOLDERS :], id_)
            self._sent.move_to_end(beginning)

    def _dropped(self, ids: Sequence[int]) -> None:
        for id_ in ids:
            self._held[id_] -= 1
            if not self._held[id_]:
                del self._held[id_]

    def forget(self, worker: str) -> None:
        """Forget a worker; under its name comes back another, which holds nothing."""
        self._ids.pop(worker, None)
