"""Spans of what fails, is tried again, raced, given up or refused."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from entroute.embedded.engine import free_port
from loadtest.spawn import FakeWorker, fake_worker
from tests.api.conftest import Serve, Workers, eventually
from tests.collector import Collector, Span, by_operation, collecting
from tests.keys import write_key_file
from tests.openai_wire import read_events

pytestmark = pytest.mark.asyncio(loop_scope="session")

streamed = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
SLOW: dict[str, Any] = {"tokens": 2000, "tokens_per_second": 50}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


def small_on(*urls: str) -> list[dict[str, Any]]:
    """Return the small tier on these servers, in turn."""
    workers = [{"url": f"{url}/v1"} for url in urls]
    return [
        {"name": "small", "model": "qwen-small", "workers": workers, "balancer": "round_robin"},
    ]


async def told(collector: Collector, requests: int = 1) -> list[Span]:
    """Return all spans once so many requests were told."""
    assert await asyncio.to_thread(collector.has, lambda c: len(c.requests) >= requests)
    return list(collector.spans)


async def parent_and_calls(collector: Collector) -> tuple[Span, list[Span]]:
    found = by_operation(await told(collector))
    (parent,) = found["invoke_workflow"]
    return parent, found["chat"]


@streamed
async def test_a_retry_is_an_event_of_its_call(
    serve: Serve, workers: Workers, second: FakeWorker, collector: Collector, *, stream: bool
) -> None:
    await second.script(failure={"kind": "status", "status": 500, "times": 1})
    # Round robin begins with the first, wherever that is.
    tiers = small_on(second.url, workers.small.url)
    gateway = await serve(tiers=tiers, tracing={"endpoint": collector.url})
    assert (await gateway.chat(stream=stream)).status_code == 200
    parent, (call,) = await parent_and_calls(collector)
    assert (parent.failed, call.failed) == (False, False)
    assert call.facts["entroute.attempts"] == 2
    (failure,) = call.events
    assert failure.name == "attempt.failed"
    assert failure.facts["error.type"] == "WorkerFailed"
    assert failure.facts["server.port"] == int(second.url.rpartition(":")[2])
    assert call.facts["server.port"] == int(workers.small.url.rpartition(":")[2])
    received = [*await second.requests(), *await workers.small.requests()]
    told_to = {one["headers"]["traceparent"].split("-")[2] for one in received}
    assert (len(received), told_to) == (2, {call.span_id})


@streamed
async def test_a_hedge_is_a_call_of_its_own_that_its_worker_knows(
    serve: Serve, workers: Workers, second: FakeWorker, collector: Collector, *, stream: bool
) -> None:
    await workers.small.script(ttft_ms=4000)
    gateway = await serve(
        tiers=small_on(workers.small.url, second.url),
        retries={"hedge_after_ms": 50},
        tracing={"endpoint": collector.url},
    )
    for _ in range(2):  # one of both begins with the slow worker
        assert (await gateway.chat(stream=stream)).status_code == 200
    spans = await told(collector, 2)
    lost = [span for span in spans if span.facts.get("error.type") == "cancelled"]
    (slow,) = lost
    (won,) = [
        call
        for call in collector.of(slow.trace_id)
        if call.operation == "chat" and call.span_id != slow.span_id
    ]
    ports = {worker.url.rpartition(":")[2]: worker for worker in (workers.small, second)}
    assert slow.facts["server.port"] == int(workers.small.url.rpartition(":")[2])
    assert won.facts["server.port"] == int(second.url.rpartition(":")[2])
    assert (slow.facts["entroute.purpose"], won.facts["entroute.purpose"]) == (
        "discarded",
        "answer",
    )
    assert slow.facts["gen_ai.usage.output_tokens"] == 0
    assert won.facts["gen_ai.usage.output_tokens"] == 16
    for span in (slow, won):
        received = await ports[str(span.facts["server.port"])].requests()
        parents = [one["headers"]["traceparent"] for one in received]
        assert f"00-{span.trace_id}-{span.span_id}-01" in parents
    assert not slow.failed


async def test_a_worker_that_fails_fails_its_call_and_the_request(
    serve: Serve, workers: Workers, collector: Collector
) -> None:
    await workers.small.script(failure={"kind": "status", "status": 500})
    gateway = await serve(tracing={"endpoint": collector.url}, retries={"attempts": 1})
    assert (await gateway.chat()).status_code == 502
    parent, (call,) = await parent_and_calls(collector)
    for span in (parent, call):
        assert (span.failed, span.facts["error.type"]) == (True, "WorkerFailed")
    assert call.facts["entroute.attempts"] == 1
    assert parent.facts["entroute.result"] == "server_error"


async def test_nobody_to_ask_is_an_error_without_a_call(
    serve: Serve, workers: Workers, collector: Collector
) -> None:
    tiers = small_on(f"http://127.0.0.1:{free_port()}")
    gateway = await serve(tiers=tiers, tracing={"endpoint": collector.url})
    assert (await gateway.chat()).status_code == 503
    parent, calls = await parent_and_calls(collector)
    assert (parent.failed, parent.facts["error.type"]) == (True, "NobodyAsked")
    assert calls == []


async def test_a_stream_that_breaks_off_is_an_error_of_both(
    serve: Serve, workers: Workers, collector: Collector
) -> None:
    await workers.small.script(failure={"kind": "reset", "after_tokens": 3})
    gateway = await serve(tracing={"endpoint": collector.url}, retries={"attempts": 1})
    response = await gateway.chat(stream=True)
    assert not read_events(response.text).done
    parent, (call,) = await parent_and_calls(collector)
    assert (parent.failed, call.failed) == (True, True)
    assert call.facts["error.type"] == parent.facts["error.type"]


async def test_a_wrong_request_is_its_clients_fault(
    serve: Serve, workers: Workers, collector: Collector
) -> None:
    gateway = await serve(tracing={"endpoint": collector.url})
    assert (await gateway.chat(model="nobody")).status_code == 404
    assert (await gateway.chat(temperature="hot")).status_code == 400
    assert (await gateway.get("/v1/models")).status_code == 200
    assert (await gateway.get("/nowhere")).status_code == 404
    found = by_operation(await told(collector, 2))
    assert list(found) == ["invoke_workflow"]
    first, second = sorted(found["invoke_workflow"], key=lambda span: span.start_ns)
    assert (first.facts["error.type"], second.facts["error.type"]) == (
        "NotFound",
        "InvalidRequest",
    )
    assert not first.failed
    assert not second.failed
    assert first.facts["entroute.result"] == "client_error"


@streamed
async def test_a_client_that_leaves_cancels_its_calls_and_that_is_told(
    serve: Serve, workers: Workers, collector: Collector, *, stream: bool
) -> None:
    await workers.small.script(**SLOW)
    gateway = await serve(tracing={"endpoint": collector.url})
    asking = asyncio.create_task(gateway.chat(stream=stream))

    async def running() -> float:
        return (await workers.small.metrics())["vllm:num_requests_running"]

    assert await eventually(running, 1)
    asking.cancel()
    await asyncio.wait([asking])
    parent, (call,) = await parent_and_calls(collector)
    for span in (parent, call):
        assert (span.failed, span.facts["error.type"]) == (False, "cancelled")
    assert parent.facts["entroute.result"] == "cancelled"
    assert call.facts["entroute.partial"] is True
    assert call.end_ns <= parent.end_ns


async def test_who_leaves_while_another_reads_is_told_with_all_that_was_spent(
    serve: Serve, workers: Workers, collector: Collector
) -> None:
    await workers.small.script(tokens=40, tokens_per_second=80)
    gateway = await serve(tracing={"endpoint": collector.url})
    body = {
        "model": "small",
        "messages": [{"role": "user", "content": "Asked by two, at once"}],
        "temperature": 0,
        "stream": True,
    }

    async def running() -> float:
        return (await workers.small.metrics())["vllm:num_requests_running"]

    leader = asyncio.create_task(gateway.post("chat/completions", body))
    assert await eventually(running, 1)
    follower = asyncio.create_task(gateway.post("chat/completions", body))
    await asyncio.sleep(0.1)
    leader.cancel()
    await asyncio.wait([leader])
    response: httpx.Response = await follower
    assert response.status_code == 200
    spans = await told(collector, 2)
    (call,) = by_operation(spans)["chat"]
    left, read = sorted(by_operation(spans)["invoke_workflow"], key=lambda s: s.start_ns)
    assert (left.facts["entroute.result"], read.facts["entroute.result"]) == ("cancelled", "ok")
    assert call.parent_id == left.span_id
    assert call.end_ns <= left.end_ns
    assert read.facts["entroute.shared"] is True
    assert read.facts["entroute.calls"] == 0


async def test_what_keys_refuse_is_told_under_the_keys_id_and_group(
    serve: Serve, workers: Workers, collector: Collector, tmp_path: Path
) -> None:
    facts = {"tenant": "shop", "group": "partners", "limits": {"requests_per_minute": 1}}
    keys = write_key_file(tmp_path / "keys.yaml", {"secret-of-a-client": facts})
    gateway = await serve(tracing={"endpoint": collector.url}, auth={"keys_file": str(keys)})
    known = {"authorization": "Bearer secret-of-a-client"}
    statuses = [(await gateway.chat(headers=h)).status_code for h in (None, known, known)]
    assert statuses == [401, 200, 429]
    spans = await told(collector, 3)
    parents = sorted(by_operation(spans)["invoke_workflow"], key=lambda span: span.start_ns)
    errors = [parent.facts.get("error.type") for parent in parents]
    assert errors == ["AuthenticationFailed", None, "RateLimitExceeded"]
    assert not any(parent.failed for parent in parents)
    assert parents[2].facts["entroute.limited"] == "requests_per_minute"
    for parent in parents[1:]:
        assert parent.facts["entroute.group"] == "partners"
        assert parent.facts["entroute.key"]
    assert "shop" not in str(spans)


async def test_every_batch_of_embeddings_is_a_call(
    serve: Serve, workers: Workers, collector: Collector
) -> None:
    async with fake_worker(model="mini-lm") as embedder:
        tier = {
            "name": "mini",
            "model": "mini-lm",
            "workers": [{"url": f"{embedder.url}/v1"}],
            "max_inputs": 2,
        }
        gateway = await serve(embeddings=[tier], tracing={"endpoint": collector.url})
        body = {"model": "mini", "input": ["one", "two", "three"]}
        assert (await gateway.post("embeddings", body)).status_code == 200
        received = [one["headers"]["traceparent"] for one in await embedder.requests()]
    found = by_operation(await told(collector))
    (parent,) = found["invoke_workflow"]
    assert parent.name == "invoke_workflow embedding"
    calls = found["embeddings"]
    assert [call.name for call in calls] == ["embeddings mini-lm"] * 2
    assert {call.parent_id for call in calls} == {parent.span_id}
    assert sorted(received) == sorted(f"00-{c.trace_id}-{c.span_id}-01" for c in calls)


async def test_a_reward_model_is_told_of_the_trace(
    serve: Serve, workers: Workers, collector: Collector
) -> None:
    heard: list[str] = []

    async def score(request: web.Request) -> web.Response:
        heard.append(request.headers["traceparent"])
        answers = (await request.json())["answers"]
        return web.json_response({"scores": [0.5] * len(answers)})

    app = web.Application()
    app.router.add_post("/reward", score)
    async with on_a_port(app) as url:
        reward = {"name": "gold", "format": "plain", "url": f"{url}/reward"}
        gateway = await serve(rewards=[reward], tracing={"endpoint": collector.url})
        chosen = {"strategy": "best_of_n", "verifier": {"kind": "reward", "name": "gold"}}
        assert (await gateway.chat(entroute=chosen)).status_code == 200
    spans = await told(collector)
    asked = [span for span in spans if span.name == "reward"]
    assert asked
    assert sorted(heard) == sorted(f"00-{span.trace_id}-{span.span_id}-01" for span in asked)
    assert {(span.kind, span.facts["entroute.reward"]) for span in asked} == {("CLIENT", "gold")}
    verified = [span for span in spans if span.name == "verify reward"]
    assert all(span.kind == "INTERNAL" for span in verified)


async def test_a_judges_calls_are_calls_like_others(
    serve: Serve, workers: Workers, collector: Collector
) -> None:
    gateway = await serve(tracing={"endpoint": collector.url})
    chosen = {"strategy": "best_of_n", "verifier": {"kind": "judge"}}
    response = await gateway.chat(model="auto", entroute=chosen)
    assert response.status_code == 200
    _, calls = await parent_and_calls(collector)
    assert "verify" in {call.facts["entroute.purpose"] for call in calls}
    assert len(calls) == response.json()["usage"]["entroute"]["calls"]


@asynccontextmanager
async def on_a_port(app: web.Application) -> AsyncIterator[str]:
    """Serve on a free port of the running loop; yield the URL, no path."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
