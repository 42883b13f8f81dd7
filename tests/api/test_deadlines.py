"""Nothing hangs, nothing is overspent: every strategy with deadlines, budgets, bad workers."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.api.conftest import Client, Serve, Workers, base_settings, client_of, eventually
from tests.api.ways import BUBBLEWRAP, FUNCTION, SUM, WAYS, Way, asked, every_way, idle, scripted
from tests.gateway_process import serving
from tests.openai_wire import read_events

pytestmark = pytest.mark.asyncio(loop_scope="session")

DEADLINE_S = 1.5
SLACK_S = 1.0
"""Generous: these tests share cores with others."""

IN_TIME: dict[str, Any] = {"budget": {"deadline_ms": 1000 * DEADLINE_S}}
ANSWERED = "answered"
streamed = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])

DISAGREEING = [
    {
        "contains": "prints only the final value",
        "answers": [f"```python\nprint({i})\n```" for i in range(40)],
    },
    {
        "contains": "double(n)",
        "answers": [f"```python\ndef double(n):\n    return {i}\n```" for i in range(40)],
    },
    {"contains": "17 * 3", "answers": [f"The answer is {i}." for i in range(40)]},
    {"contains": "Look for mistakes", "answers": [f"The answer is {i + 100}." for i in range(40)]},
]
"""No two samples agree and none is right, so that every strategy wants more of them."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sandboxed_gateway(fake_workers: Workers) -> AsyncIterator[str]:
    changes = {"sandbox": BUBBLEWRAP, "server": {"keep_alive_s": 0.1}, "limits": {"max_calls": 64}}
    async with serving(base_settings(fake_workers, **changes)) as url:
        yield url


@pytest_asyncio.fixture(loop_scope="session")
async def sandboxed(sandboxed_gateway: str, workers: Workers, http: httpx.AsyncClient) -> Client:
    """A gateway that runs programs, before workers that answer these tests' prompts."""
    await scripted(workers)
    return client_of(sandboxed_gateway, http)


@dataclass(frozen=True, slots=True)
class Ended:
    """How one request ended.

    Attributes:
        how: `answered`, or the code of the error.
        seconds: Until its last byte.
        entroute: The evidence, {} where it was not answered.
    """

    how: str
    seconds: float
    entroute: dict[str, Any]


async def ended(gateway: Client, way: Way, *, stream: bool = False, **options: Any) -> Ended:
    """Ask a way's request and return how it ended."""
    since = time.perf_counter()
    response = await asked(gateway, way, stream=stream, **options)
    took = time.perf_counter() - since
    if response.status_code != httpx.codes.OK:
        error = response.json()["error"]
        assert error["type"] in {"server_error", "invalid_request_error"}
        return Ended(error["code"], took, {})
    if not stream:
        return Ended(ANSWERED, took, response.json()["entroute"])
    events = read_events(response.text)
    assert events.done == (events.error is None)
    if events.error is not None:
        return Ended(events.error["code"], took, {})
    return Ended(ANSWERED, took, events.chunks[-1]["entroute"])


async def all_ended(gateway: Client, *, stream: bool, **options: Any) -> dict[str, Ended]:
    """Ask all ways at once and return how each ended."""
    results = await asyncio.gather(*(ended(gateway, w, stream=stream, **options) for w in WAYS))
    return {way.kind: result for way, result in zip(WAYS, results, strict=True)}


def late(results: dict[str, Ended]) -> dict[str, float]:
    """Return those that took too long, by strategy."""
    limit = DEADLINE_S + SLACK_S
    return {kind: one.seconds for kind, one in results.items() if one.seconds > limit}


SILENT: dict[str, dict[str, Any]] = {
    "never answers": {"failure": {"kind": "hang"}},
    "stops in mid-answer": {"failure": {"kind": "stall", "after_tokens": 2}},
    "trickles": {"tokens_per_second": 1},
}


@streamed
@pytest.mark.parametrize("fault", SILENT)
async def test_workers_that_do_not_finish_are_left_at_the_deadline(
    sandboxed: Client, workers: Workers, fault: str, *, stream: bool
) -> None:
    await scripted(workers, **SILENT[fault])
    results = await all_ended(sandboxed, stream=stream, **IN_TIME)
    assert late(results) == {}
    assert {one.how for one in results.values()} == {"deadline_exceeded"}
    assert min(one.seconds for one in results.values()) > DEADLINE_S - 0.1
    assert await idle(workers)


SAMPLING = tuple(
    way
    for way in WAYS
    if way.kind not in {"single", "cascade", "program_first", "entropy_switch", "random_switch"}
)


@streamed
@pytest.mark.parametrize("way", SAMPLING, ids=[way.kind for way in SAMPLING])
async def test_at_the_deadline_the_best_so_far_is_the_answer(
    sandboxed: Client, workers: Workers, way: Way, *, stream: bool
) -> None:
    slow = "word " * 400
    wrong = "```python\ndef double(n):\n    return 0\n```"
    rules = [
        {"contains": "double(n)", "answers": [wrong, *[slow] * 40]},
        {"contains": "only the final value", "answer": slow},
        {"contains": "17 * 3", "answers": ["The answer is 7.", "The answer is 8.", *[slow] * 40]},
        {"contains": "Look for mistakes", "answer": slow},
    ]
    for worker in (workers.small, workers.large):
        await worker.script(rules=rules, tokens_per_second=100)
    result = await ended(sandboxed, way, stream=stream, **IN_TIME)
    assert (result.how, result.entroute["stop_reason"]) == (ANSWERED, "deadline")
    assert result.seconds < DEADLINE_S + SLACK_S
    assert slow not in [one["content"] for one in result.entroute["candidates"]]
    assert await idle(workers)


@streamed
@pytest.mark.parametrize("fault", [{"kind": "refuse"}, {"kind": "reset", "after_tokens": 2}])
async def test_workers_that_break_off_are_a_typed_error_at_once(
    serve: Serve, workers: Workers, fault: dict[str, Any], *, stream: bool
) -> None:
    gateway = await serve(sandbox=BUBBLEWRAP, health={"interval_s": 0.1})
    await scripted(workers, failure=fault)
    for way in WAYS:
        await eventually(lambda: gateway.sample("entroute_worker_up"), 2)
        result = await ended(gateway, way, stream=stream, **IN_TIME)
        assert result.how in {"upstream_error", "tier_unavailable"}, way.kind
        assert result.seconds < DEADLINE_S + SLACK_S, way.kind
    assert await idle(workers)


@streamed
async def test_a_larger_tier_that_never_answers_leaves_the_best_of_the_smaller(
    sandboxed: Client, workers: Workers, *, stream: bool
) -> None:
    await workers.small.script(rules=DISAGREEING)
    await workers.large.script(failure={"kind": "hang"})
    climbing = [way for way in WAYS if way.kind in {"rejection", "verify_then_escalate"}]
    results = await asyncio.gather(
        *(ended(sandboxed, way, stream=stream, **IN_TIME) for way in climbing)
    )
    for way, result in zip(climbing, results, strict=True):
        assert (result.how, result.entroute["stop_reason"]) == (ANSWERED, "deadline"), way.kind
        assert result.entroute["tier"] == "small"
        assert result.seconds < DEADLINE_S + SLACK_S
    assert await idle(workers)


ENDLESS = "while True:\n    pass"
LOOPS = [
    {"contains": "prints only the final value", "answer": f"```python\n{ENDLESS}\n```"},
    {"contains": "double(n)", "answer": f"```python\n{ENDLESS}\ndef double(n):\n    pass\n```"},
    {"contains": "17 * 3", "answer": "The answer is 51."},
]


@streamed
async def test_programs_that_never_end_do_not_hold_the_answer_up(
    sandboxed: Client, workers: Workers, *, stream: bool
) -> None:
    for worker in (workers.small, workers.large):
        await worker.script(rules=LOOPS)
    running = [way for way in WAYS if way.sandboxed]
    results = await asyncio.gather(
        *(ended(sandboxed, way, stream=stream, **IN_TIME) for way in running)
    )
    named = dict(zip((way.kind for way in running), results, strict=True))
    assert late(named) == {}
    assert {result.how for result in results} == {ANSWERED}


JUDGES = ("best_of_n", "rejection", "self_consistency", "self_refine")


@pytest.mark.parametrize("kind", JUDGES)
async def test_a_judge_that_never_answers_leaves_the_samples(
    sandboxed: Client, workers: Workers, kind: str
) -> None:
    await workers.large.script(failure={"kind": "hang"})
    way = Way(kind, options={"verifier": {"kind": "judge", "tier": "large"}})
    result = await ended(sandboxed, way, **IN_TIME)
    assert result.how == ANSWERED
    assert result.seconds < DEADLINE_S + SLACK_S
    assert result.entroute["stop_reason"] == "deadline"
    assert await idle(workers)


@pytest_asyncio.fixture(loop_scope="session")
async def silent_url() -> AsyncIterator[str]:
    """Serve a port that accepts connections and never answers."""

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("kind", JUDGES)
async def test_a_reward_model_that_never_answers_leaves_the_samples(
    serve: Serve, workers: Workers, silent_url: str, kind: str
) -> None:
    await scripted(workers)
    gateway = await serve(rewards=[{"name": "gold", "url": f"{silent_url}/score"}])
    way = Way(kind, options={"verifier": {"kind": "reward", "name": "gold"}})
    result = await ended(gateway, way, **IN_TIME)
    assert result.how == ANSWERED
    assert result.seconds < DEADLINE_S + SLACK_S
    assert result.entroute["degraded"] in ([], ["verifier"])


@pytest_asyncio.fixture(loop_scope="session")
async def stuck_sandbox() -> AsyncIterator[str]:
    """Serve a sandbox that runs its first program and accepts every other one, no more."""
    ran = b'{"status": "ok", "stdout": "42\\n", "error": "", "seconds": 0.0}'
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"
    answers = [head + b"content-length: %d\r\n\r\n" % len(ran) + ran]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answers:
            writer.write(answers.pop())
            await writer.drain()
        else:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_sandbox_that_never_answers_does_not_hold_the_answer_up(
    serve: Serve, workers: Workers, stuck_sandbox: str
) -> None:
    await scripted(workers)
    gateway = await serve(sandbox={"kind": "http", "url": stuck_sandbox})
    tests = {"kind": "tests", "tests": "assert double(2) == 4"}
    judged = Way("best_of_n", FUNCTION, options={"verifier": tests})
    running = [*(way for way in WAYS if way.sandboxed), judged]
    results = await asyncio.gather(*(ended(gateway, way, **IN_TIME) for way in running))
    named = dict(zip((way.kind for way in running), results, strict=True))
    assert late(named) == {}
    assert {kind: one.how for kind, one in named.items()} == dict.fromkeys(named, ANSWERED)
    assert {one.entroute["stop_reason"] for one in results} <= {"deadline", "settled"}
    assert await idle(workers)


BUDGETS: list[dict[str, float]] = [
    {"max_calls": 1},
    {"max_calls": 2},
    {"max_calls": 3},
    {"max_calls": 7},
    {"max_generated_tokens": 8},
    {"max_generated_tokens": 60},
    {"max_cost_usd": 0.0001},
    {"max_cost_usd": 0.001},
]


@pytest.mark.parametrize("budget", BUDGETS, ids=str)
@pytest.mark.parametrize("judge", [False, True], ids=["", "judged"])
async def test_no_strategy_spends_more_than_its_budget(
    sandboxed: Client, workers: Workers, budget: dict[str, float], *, judge: bool
) -> None:
    for worker in (workers.small, workers.large):
        await worker.script(rules=DISAGREEING, certainty="unsure")
    (limit, most), *_ = budget.items()
    names = {"max_calls": "calls", "max_generated_tokens": "completion_tokens"}
    options: dict[str, Any] = {"budget": budget}
    if judge:
        options["verifier"] = {"kind": "judge", "tier": "large"}
    for way in (w for w in WAYS if not judge or w.kind in JUDGES):
        before = len(await workers.bodies("small")) + len(await workers.bodies("large"))
        result = await ended(sandboxed, way, **options)
        assert result.how in {ANSWERED, "budget_exhausted"}, way.kind
        received = len(await workers.bodies("small")) + len(await workers.bodies("large"))
        if limit == "max_calls":
            assert received - before <= most, way.kind
        if result.how == ANSWERED:
            assert result.entroute["usage"][names.get(limit, "cost_usd")] <= most, way.kind
    assert await idle(workers)


@streamed
@every_way
async def test_a_client_that_leaves_ends_every_upstream_call(
    sandboxed: Client, workers: Workers, way: Way, *, stream: bool
) -> None:
    await scripted(workers, ttft_ms=3000)
    asking = asyncio.create_task(asked(sandboxed, way, stream=stream))

    async def begun() -> float:
        return float(len(await workers.bodies("small") + await workers.bodies("large")) > 0)

    assert await eventually(begun, 1)
    asking.cancel()
    await asyncio.wait([asking])
    assert await idle(workers)
    assert await eventually(lambda: sandboxed.sample("entroute_requests_in_flight"), 0)


@pytest.mark.parametrize("prompt", [SUM, FUNCTION], ids=["sum", "function"])
async def test_a_client_that_leaves_while_its_judge_is_asked_ends_that_call(
    sandboxed: Client, workers: Workers, prompt: str
) -> None:
    await workers.large.script(ttft_ms=3000)
    way = Way("best_of_n", prompt, options={"verifier": {"kind": "judge", "tier": "large"}})
    asking = asyncio.create_task(asked(sandboxed, way))

    async def judged() -> float:
        return float(len(await workers.bodies("large")))

    assert await eventually(judged, 1)
    asking.cancel()
    await asyncio.wait([asking])
    assert await idle(workers)
