"""Spans of every strategy, before real workers, a real sandbox and a collector that decodes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.api.conftest import SESSION, Client, Workers, base_settings, client_of
from tests.api.ways import BUBBLEWRAP, WAYS, Way, asked, every_way, idle, scripted
from tests.collector import Collector, Span, by_operation, collecting
from tests.gateway_process import ROOT, serving
from tests.openai_wire import read_events
from tests.workers import UNSCRIPTED

pytestmark = pytest.mark.asyncio(loop_scope="session")

MODULE: Any = {**SESSION, "scope": "module"}
streamed = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@dataclass(frozen=True, slots=True)
class Told:
    """One request and what was told of it.

    Attributes:
        usage: As its client read it.
        spans: Of its trace.
        received: What its workers were sent as `traceparent`.
    """

    usage: dict[str, Any]
    spans: list[Span]
    received: list[str]

    @property
    def parent(self) -> Span:
        (only,) = by_operation(self.spans)["invoke_workflow"]
        return only

    @property
    def calls(self) -> list[Span]:
        return by_operation(self.spans)["chat"]


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@pytest_asyncio.fixture(**MODULE)
async def told(
    fake_workers: Workers, http: httpx.AsyncClient, collector: Collector
) -> dict[tuple[str, bool], Told]:
    """Ask every way, whole and streamed, then read the spans and what the workers received."""
    settings = base_settings(
        fake_workers,
        sandbox=BUBBLEWRAP,
        tracing={"endpoint": collector.url},
        cache={"kind": "off"},
    )
    for worker in (fake_workers.small, fake_workers.large):
        await worker.script(**UNSCRIPTED)
        await worker.forget()
    await scripted(fake_workers)
    usages = {}
    async with serving(settings) as url:
        client = client_of(url, http)
        for way in WAYS:
            for stream in (False, True):
                response = await asked(client, way, stream=stream)
                assert response.status_code == 200, response.text
                request_id = response.headers["x-request-id"]
                usages[request_id] = (way.kind, stream, _usage(response, stream=stream))
        assert await idle(fake_workers, within_s=10)
    # The gateway has ended, so everything was sent.
    bodies = [*await fake_workers.small.requests(), *await fake_workers.large.requests()]
    received = [body["headers"]["traceparent"] for body in bodies]
    found = {}
    for parent in collector.requests:
        kind, stream, usage = usages[parent.facts["entroute.request_id"]]
        ours = [value for value in received if value.split("-")[1] == parent.trace_id]
        found[kind, stream] = Told(usage, collector.of(parent.trace_id), ours)
    return found


def _usage(response: httpx.Response, *, stream: bool) -> dict[str, Any]:
    last = read_events(response.text).chunks[-1] if stream else response.json()
    usage: dict[str, Any] = last["entroute"]["usage"]
    return usage


@every_way
@streamed
async def test_a_request_is_one_span_and_every_call_one_below_it(
    told: dict[tuple[str, bool], Told], way: Way, *, stream: bool
) -> None:
    one = told[way.kind, stream]
    parent = one.parent
    assert parent.name == f"invoke_workflow {way.kind}"
    assert (parent.kind, parent.parent_id, parent.failed) == ("SERVER", "", False)
    assert len(one.calls) == one.usage["calls"] == parent.facts["entroute.calls"]
    assert {span.parent_id for span in one.spans} == {"", parent.span_id}
    assert len({span.span_id for span in one.spans}) == len(one.spans)
    assert {call.kind for call in one.calls} == {"CLIENT"}
    assert {call.name for call in one.calls} <= {"chat qwen-small", "chat qwen-large"}


@every_way
@streamed
async def test_workers_are_told_the_ids_of_their_calls_spans(
    told: dict[tuple[str, bool], Told], way: Way, *, stream: bool
) -> None:
    one = told[way.kind, stream]
    sent = [f"00-{call.trace_id}-{call.span_id}-01" for call in one.calls]
    assert set(one.received) <= set(sent)
    assert len(set(one.received)) == len(one.received)
    if one.usage["partial_calls"] == 0:  # a call may be cancelled before its worker reads it
        assert sorted(one.received) == sorted(sent)


@every_way
@streamed
async def test_spans_last_as_long_as_what_they_tell_of_and_within_their_request(
    told: dict[tuple[str, bool], Told], way: Way, *, stream: bool
) -> None:
    one = told[way.kind, stream]
    parent = one.parent
    for span in one.spans:
        assert parent.start_ns <= span.start_ns <= span.end_ns <= parent.end_ns
        for event in span.events:
            assert span.start_ns <= event.at_ns <= span.end_ns


@every_way
@streamed
async def test_the_calls_tokens_and_costs_are_those_that_the_client_was_told(
    told: dict[tuple[str, bool], Told], way: Way, *, stream: bool
) -> None:
    one = told[way.kind, stream]
    names = {
        "gen_ai.usage.input_tokens": "prompt_tokens",
        "gen_ai.usage.output_tokens": "completion_tokens",
        "entroute.cost_usd": "cost_usd",
    }
    for name, field in names.items():
        assert sum(call.facts[name] for call in one.calls) == pytest.approx(one.usage[field])
    spent = {(row["tier"], row["purpose"]) for row in one.usage["by"]}
    assert {(c.facts["entroute.tier"], c.facts["entroute.purpose"]) for c in one.calls} == spent
    # Who sums GenAI's names over a trace counts every token once.
    assert not any(name.startswith("gen_ai.usage") for name in one.parent.facts)
    assert one.parent.facts["entroute.usage.input_tokens"] == one.usage["prompt_tokens"]


@every_way
async def test_calls_say_what_was_asked_of_whom_and_how_it_ended(
    told: dict[tuple[str, bool], Told], way: Way, fake_workers: Workers
) -> None:
    ports = {
        f"qwen-{tier}": int(worker.url.rpartition(":")[2])
        for tier, worker in (("small", fake_workers.small), ("large", fake_workers.large))
    }
    for call in told[way.kind, False].calls:
        facts = call.facts
        assert facts["gen_ai.provider.name"] == "vllm"
        assert facts["server.address"] == "127.0.0.1"
        assert facts["server.port"] == ports[facts["gen_ai.request.model"]]
        if "error.type" in facts:  # not needed any more
            assert (facts["error.type"], call.failed) == ("cancelled", False)
        else:
            assert facts["gen_ai.response.model"] == facts["gen_ai.request.model"]
            assert facts["gen_ai.response.finish_reasons"] == ["stop"]


@pytest.mark.parametrize("way", [w for w in WAYS if w.sandboxed], ids=lambda way: way.kind)
@streamed
async def test_programs_that_run_have_a_span(
    told: dict[tuple[str, bool], Told], way: Way, *, stream: bool
) -> None:
    one = told[way.kind, stream]
    ran = by_operation(one.spans)["execute_tool"]
    assert ran
    for span in ran:
        assert (span.name, span.kind) == ("execute_tool sandbox", "INTERNAL")
        assert span.facts["entroute.status"] == "ok"


@every_way
async def test_the_decision_is_an_event_of_the_request(
    told: dict[tuple[str, bool], Told], way: Way
) -> None:
    (decision,) = [e for e in told[way.kind, False].parent.events if e.name == "decision"]
    assert decision.facts["entroute.strategy"] == way.kind
    assert decision.facts["entroute.reason"] == "the request names its strategy"


async def test_the_resource_names_this_process(
    told: dict[tuple[str, bool], Told], collector: Collector
) -> None:
    resources = {tuple(sorted(span.resource.items())) for span in collector.spans}
    assert len(resources) == 1
    resource = collector.spans[0].resource
    assert resource["service.name"] == "entroute"
    assert len(resource["service.instance.id"]) == 32


@pytest_asyncio.fixture(**MODULE)
async def url(fake_workers: Workers, collector: Collector) -> AsyncIterator[str]:
    tracing = {"endpoint": collector.url}
    async with serving(base_settings(fake_workers, tracing=tracing)) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def traced(url: str, workers: Workers, http: httpx.AsyncClient) -> Client:
    return client_of(url, http)


async def spans_of(collector: Collector, response: httpx.Response) -> Told:
    """Return what was told of one more request, its workers left out."""
    asked_as = response.headers["x-request-id"]
    return await spans_named(collector, asked_as)


async def spans_named(collector: Collector, request_id: str) -> Told:
    def found(what: Collector) -> list[Span]:
        requests = list(what.requests)
        return [s for s in requests if s.facts["entroute.request_id"] == request_id]

    assert await asyncio.to_thread(collector.has, lambda what: bool(found(what)))
    (parent,) = found(collector)
    return Told({}, collector.of(parent.trace_id), [])


async def test_a_clients_trace_goes_on_through_us_to_the_workers(
    traced: Client, workers: Workers, collector: Collector
) -> None:
    theirs = {
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": "vendor=of-theirs",
    }
    one = await spans_of(collector, await traced.chat(headers=theirs))
    assert one.parent.trace_id == "0af7651916cd43dd8448eb211c80319c"
    assert one.parent.parent_id == "b7ad6b7169203331"
    assert {span.state for span in one.spans} == {"vendor=of-theirs"}
    (received,) = await workers.small.requests()
    (call,) = one.calls
    assert received["headers"]["traceparent"] == f"00-{call.trace_id}-{call.span_id}-01"
    assert received["headers"]["tracestate"] == "vendor=of-theirs"


async def test_what_a_client_does_not_sample_is_not_told_and_workers_know(
    traced: Client, workers: Workers, collector: Collector
) -> None:
    unsampled = {"traceparent": "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203331-00"}
    assert (await traced.chat("First", headers=unsampled)).status_code == 200
    await spans_of(collector, await traced.chat("Second"))  # told later, and there
    assert collector.of("0af7651916cd43dd8448eb211c80319d") == []
    received = (await workers.small.requests())[0]["headers"]["traceparent"]
    assert received.startswith("00-0af7651916cd43dd8448eb211c80319d-")
    assert received.endswith("-00")


async def test_a_kept_answer_has_no_call_below_it(traced: Client, collector: Collector) -> None:
    question = "Will you remember this?"
    first = await spans_of(collector, await traced.chat(question, temperature=0))
    again = await spans_of(collector, await traced.chat(question, temperature=0))
    assert len(first.calls) == 1
    assert again.spans == [again.parent]
    assert again.parent.facts["entroute.cache"] == "exact"
    assert again.parent.facts["entroute.calls"] == 0
    (looked,) = [event for event in again.parent.events if event.name == "cache"]
    assert looked.facts["entroute.cache"] == "exact"


async def test_auto_tells_how_hard_it_looked_and_what_was_decided(
    traced: Client, collector: Collector
) -> None:
    one = await spans_of(collector, await traced.chat(model="auto"))
    events = {event.name: event for event in one.parent.events}
    assert events["difficulty"].facts["entroute.source"] == "lexical"
    assert events["decision"].facts["entroute.tier"] == "small"
    assert events["difficulty"].at_ns <= events["decision"].at_ns


async def test_an_escalation_is_told_when_the_larger_tier_is_asked(
    traced: Client, workers: Workers, collector: Collector
) -> None:
    await workers.small.script(certainty=0.4)
    response = await traced.chat(model="auto", entroute={"strategy": "cascade"})
    one = await spans_of(collector, response)
    (move,) = [event for event in one.parent.events if event.name == "escalation"]
    assert (move.facts["entroute.from"], move.facts["entroute.to"]) == ("small", "large")
    (large,) = [call for call in one.calls if call.facts["entroute.tier"] == "large"]
    assert move.at_ns == large.start_ns


async def test_text_completions_are_called_by_their_name(
    traced: Client, collector: Collector
) -> None:
    response = await traced.post("completions", {"model": "small", "prompt": "Once"})
    one = await spans_of(collector, response)
    (call,) = by_operation(one.spans)["text_completion"]
    assert call.name == "text_completion qwen-small"


@streamed
async def test_a_call_lasts_as_long_as_its_worker_takes(
    traced: Client, workers: Workers, collector: Collector, *, stream: bool
) -> None:
    await workers.small.script(ttft_ms=300)
    one = await spans_of(collector, await traced.chat(stream=stream))
    (call,) = one.calls
    lasted_s = (call.end_ns - call.start_ns) / 1e9
    assert 0.3 <= lasted_s <= (one.parent.end_ns - one.parent.start_ns) / 1e9
    assert ("gen_ai.response.time_to_first_chunk" in call.facts) is stream
    if stream:
        assert 0.3 <= call.facts["gen_ai.response.time_to_first_chunk"] <= lasted_s
        assert one.parent.facts["entroute.time_to_first_token_s"] >= 0.3


async def test_every_attribute_is_in_the_documentation(
    told: dict[tuple[str, bool], Told], collector: Collector
) -> None:
    page = (ROOT / "docs" / "tracing.md").read_text(encoding="utf-8")
    named = {name for span in collector.spans for name in span.facts}
    named |= {name for span in collector.spans for event in span.events for name in event.facts}
    assert len(named) > 40
    assert {name for name in named if f"`{name}`" not in page} == set()
