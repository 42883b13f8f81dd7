"""W3C's trace context: what a client says of its trace, and what workers are told of ours.

Source: W3C Trace Context, sections 3.2 (traceparent) and 3.3 (tracestate).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_PARENT = re.compile(
    rb"[ \t]*([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?[ \t]*"
)
_MEMBER = re.compile(
    r"(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_MOST_MEMBERS = 32
_MOST_STATE = 512  # characters that whoever passes a state on must pass on
_SAMPLED = 0x01
_INVALID_VERSION = b"ff"


@dataclass(frozen=True, slots=True)
class SpanContext:
    """One span, as others know it.

    Attributes:
        trace_id: 128 bits, not 0.
        span_id: 64 bits, not 0.
        sampled: Whether the span is recorded.
        state: Other systems' own words, "" for none.
    """

    trace_id: int
    span_id: int
    sampled: bool
    state: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """What a request that belongs to the span carries."""
        flags = _SAMPLED if self.sampled else 0
        told = {"traceparent": f"00-{self.trace_id:032x}-{self.span_id:016x}-{flags:02x}"}
        return {**told, "tracestate": self.state} if self.state else told


def context_of(headers: Iterable[tuple[bytes, bytes]]) -> SpanContext | None:
    """Return the span that a request belongs to, None where its headers name none or a wrong one.

    Args:
        headers: Names in lower case.
    """
    parents, states = [], []
    for name, value in headers:
        if name == b"traceparent":
            parents.append(value)
        elif name == b"tracestate":
            states.append(value)
    found = _PARENT.fullmatch(parents[0]) if len(parents) == 1 else None
    if found is None or found[1] == _INVALID_VERSION or (found[1] == b"00" and found[5]):
        return None
    trace_id, span_id = int(found[2], 16), int(found[3], 16)
    if not (trace_id and span_id):
        return None
    sampled = bool(int(found[4], 16) & _SAMPLED)
    return SpanContext(trace_id, span_id, sampled, _state_of(states))


def _state_of(values: Iterable[bytes]) -> str:
    """Return a state to be passed on, "" where it is none: it may be left out, not made wrong."""
    text = b",".join(values).decode("latin-1")
    members = [member for part in text.split(",") if (member := part.strip(" \t"))]
    keys = {member.partition("=")[0] for member in members}
    wrong = len(keys) < len(members) or not all(map(_MEMBER.fullmatch, members))
    state = ",".join(members)
    if wrong or len(members) > _MOST_MEMBERS or len(state) > _MOST_STATE:
        return ""
    return state
