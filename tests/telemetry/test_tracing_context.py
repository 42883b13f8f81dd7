"""W3C's trace context, compared with OpenTelemetry's own reader of it."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry import trace as api
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from entroute.telemetry.tracing_context import SpanContext, context_of

GOOD = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

parents = st.one_of(
    st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-x)?", fullmatch=True),
    st.from_regex(r"0[0-2]-(0{32}|[0-9a-f]{32})-(0{16}|[0-9a-f]{16})-0[0-3]", fullmatch=True),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60),
)


def read(parent: str, *states: str) -> SpanContext | None:
    headers = [(b"host", b"x"), (b"traceparent", parent.encode())]
    return context_of([*headers, *((b"tracestate", state.encode()) for state in states)])


def theirs(parent: str) -> tuple[int, int, bool] | None:
    found = TraceContextTextMapPropagator().extract({"traceparent": parent}, Context())
    span = api.get_current_span(found).get_span_context()
    return (span.trace_id, span.span_id, span.trace_flags.sampled) if span.is_valid else None


@given(parents)
@example(GOOD)
@example(GOOD.upper())
@example("ff" + GOOD[2:])
@example("01" + GOOD[2:] + "-later")
@example(GOOD + "-later")
def test_a_parent_is_read_as_opentelemetry_reads_it(parent: str) -> None:
    own = read(parent)
    assert (own and (own.trace_id, own.span_id, own.sampled)) == theirs(parent)


@given(
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.sampled_from(["", "a=1", "vendor=x/y,other@sys=2"]),
)
def test_what_is_sent_is_read_back(trace_id: int, span_id: int, sampled: bool, state: str) -> None:  # noqa: FBT001
    told = SpanContext(trace_id, span_id, sampled, state)
    sent = [(name.encode(), value.encode()) for name, value in told.headers.items()]
    assert context_of(sent) == told


def test_two_parents_are_none() -> None:
    parent = (b"traceparent", GOOD.encode())
    assert context_of([parent]) is not None
    assert context_of([parent, parent]) is None
    assert context_of([]) is None


def test_a_state_is_passed_on_in_the_order_of_its_headers() -> None:
    found = read(GOOD, "a=1 , b=2", "c=3,")
    assert found is not None
    assert found.state == "a=1,b=2,c=3"


@pytest.mark.parametrize(
    "state",
    [
        "a",
        "A=1",
        "a=1,a=2",
        "a=b=c",
        "a=\x00",
        "a=1\r\nx-evil: 1",
        ",".join(f"k{n}=1" for n in range(33)),
        f"a={'x' * 600}",
    ],
)
def test_a_wrong_state_is_left_out_and_the_parent_kept(state: str) -> None:
    found = read(GOOD, state)
    assert found is not None
    assert found.state == ""
    assert found.span_id == 0xB7AD6B7169203331
