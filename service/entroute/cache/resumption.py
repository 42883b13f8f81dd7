"""What one run has of earlier runs of the same prompt, and what it leaves to later ones."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from entroute.cache.codec import Flaw, completion_of, pack, unpack
from entroute.types import Call, ChatRequest, Completion, TokenLogprob

MOST_SAMPLES = 64
"""Samples of one prompt on one tier that are kept: as many as a strategy draws."""

MOST_CALLS = 256
"""Calls of one prompt on one tier that are kept, derived ones included."""

LARGEST_SHARE = 8
"""One call may take this part of the bytes that all calls of a prompt on a tier have."""

_TOKENS = "+"  # ends the name of the field with a call's log-probabilities

_WHOLE = frozenset({"stop", "length", "tool_calls", "function_call"})
"""Finish reasons of answers that are worth keeping; a worker's own word may mean anything."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """An answered call.

    Attributes:
        completion: What the worker said, its log-probabilities left out.
        tops: Alternatives a token that it was asked for, None where for no log-probabilities.
    """

    completion: Completion
    tops: int | None

    @staticmethod
    def read(data: bytes, tier: str) -> "_Kept | Flaw":
        """Return what `packed` was told of a call, or why it cannot be told."""
        document = unpack(data)
        if isinstance(document, str):
            return document
        try:
            completion = replace(completion_of(document["completion"]), tier=tier, resumed=True)
            tops = document["tops"]
        except (TypeError, LookupError, AttributeError):
            return "damaged"
        return _Kept(completion, tops) if tops is None or isinstance(tops, int) else "damaged"


def packed(name: str, call: Call, completion: Completion) -> dict[str, bytes]:
    """Return a call as fields: what it said, and apart its log-probabilities, which few read.

    Its worker and its times are of no use to another run.
    """
    bare = replace(completion, worker="", ttft_s=0.0, latency_s=0.0, call_id=-1, logprobs=())
    fields = {name: pack({"completion": bare, "tops": _tops(call)})}
    if completion.logprobs:
        fields[name + _TOKENS] = pack({"tokens": completion.logprobs})
    return fields


@dataclass(slots=True)
class Resumption:
    """An `Earlier` of one run.

    Attributes:
        request: The client's own.
        digest: Names any other request by what of it changes an answer.
        pure: Whether a request derived from the client's is answered the same again.
        stored: What earlier runs have left, encoded: by tier, by name of the call.
        discard: Told why an entry cannot be used.
        made: What this run has made, by tier and name.
    """

    request: ChatRequest
    digest: Callable[[ChatRequest], str]
    pure: Callable[[ChatRequest], bool]
    discard: Callable[[Flaw], None]
    stored: Mapping[str, dict[str, bytes]] = field(default_factory=dict)
    made: dict[str, dict[str, tuple[Call, Completion]]] = field(default_factory=dict)
    _read: dict[tuple[str, str], _Kept | None] = field(default_factory=dict)
    _seen: dict[tuple[str, str, int | None], Completion | None] = field(default_factory=dict)
    _digests: dict[int, tuple[ChatRequest, str]] = field(default_factory=dict)

    def find(self, tier: str, call: Call, ahead: int = 0) -> Completion | None:
        """Return what answers a call. See `Earlier.find`."""
        stored = self.stored.get(tier)
        name = self._name(call, ahead) if stored else None
        if not stored or name is None or name not in stored:
            return None
        key = (tier, name, _tops(call))
        if key not in self._seen:
            kept = self._kept(tier, name)
            self._seen[key] = None if kept is None else self._asked(kept, tier, name, _tops(call))
        return self._seen[key]

    def note(self, tier: str, call: Call, completion: Completion) -> None:
        """Take a worker's answer if it is whole and says something. See `Earlier.note`."""
        said = completion.content or completion.extra
        name = self._name(call) if said and completion.finish_reason in _WHOLE else None
        if name is not None:
            self.made.setdefault(tier, {})[name] = call, completion

    def new(self, tier: str, most_bytes: int) -> Iterator[Mapping[str, bytes]]:
        """Yield the fields of every new call of a tier for which there is room, one by one.

        Args:
            tier: Its name.
            most_bytes: All calls of the prompt on the tier, encoded.
        """
        stored = self.stored.get(tier, {})
        left = most_bytes - sum(len(data) for data in stored.values())
        names = {name for name in stored if not name.endswith(_TOKENS)}
        for name, (call, completion) in self.made.get(tier, {}).items():
            fields = packed(name, call, completion)
            size = sum(map(len, fields.values()))
            old = sum(len(stored.get(part, b"")) for part in (name, name + _TOKENS))
            full = len(names | {name}) > MOST_CALLS
            if full or size > min(most_bytes // LARGEST_SHARE, left + old):
                continue
            names.add(name)
            left -= size - old
            yield fields

    def _asked(self, kept: _Kept, tier: str, name: str, tops: int | None) -> Completion | None:
        """Return a call with so many alternatives a token, None where it has fewer."""
        if tops is None:
            return kept.completion
        if kept.tops is None or kept.tops < tops:
            return None
        data = self.stored[tier].get(name + _TOKENS)
        if data is None:  # none came, though they were asked for
            return kept.completion
        document = unpack(data)
        try:
            if isinstance(document, dict):
                tokens = tuple(_trimmed(token, tops) for token in document["tokens"])
                return replace(kept.completion, logprobs=tokens)
        except (TypeError, LookupError, AttributeError):
            document = "damaged"
        self.discard(document)
        return None

    def _kept(self, tier: str, name: str) -> _Kept | None:
        if (tier, name) not in self._read:
            kept = _Kept.read(self.stored[tier][name], tier)
            if isinstance(kept, str):
                self.discard(kept)
            self._read[tier, name] = None if isinstance(kept, str) else kept
        return self._read[tier, name]

    def _name(self, call: Call, ahead: int = 0) -> str | None:
        """Return the field of a call, None for one that is not kept."""
        sample = call.sample + ahead
        if call.partial or sample >= MOST_SAMPLES:
            return None
        if call.request is self.request:
            return str(sample)
        # A probe of another request warms a worker up: its answer is of no use.
        if call.purpose == "probe" or not self.pure(call.request):
            return None
        known = self._digests.get(id(call.request))
        if known is None:
            known = call.request, self.digest(call.request)
            self._digests[id(call.request)] = known
        return f"{known[1]}.{sample}"


def _tops(call: Call) -> int | None:
    """Return how many alternatives a token a call asks for, None for no log-probabilities."""
    if call.top_logprobs is None and not call.request.logprobs:
        return None
    return max(call.request.top_logprobs, call.top_logprobs or 0)


def _trimmed(token: TokenLogprob, tops: int) -> TokenLogprob:
    return {**token, "top_logprobs": list(token.get("top_logprobs") or ())[:tops]}
