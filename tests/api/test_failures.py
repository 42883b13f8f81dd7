"""Workers that are down, slow or wrong: what clients see of it."""

import itertools
import time
from typing import Any

import openai
import pytest

from entroute.api.errors import rendered
from entroute.embedded.engine import free_port
from entroute.errors import CallFailed
from tests.api.conftest import OPEN, PROBED_HARD, Client, Serve, Workers, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

ASK: list[Any] = [{"role": "user", "content": "Hi"}]


def tiers(workers: Workers, *, small: bool, large: bool) -> list[dict[str, Any]]:
    """Return both tiers, with a worker that nobody runs for those that are down."""
    nobody = f"http://127.0.0.1:{free_port()}"
    return [
        {
            "name": name,
            "model": f"qwen-{name}",
            "workers": [{"url": f"{worker.url if up else nobody}/v1"}],
        }
        for name, worker, up in (
            ("small", workers.small, small),
            ("large", workers.large, large),
        )
    ]


async def test_with_all_tiers_down_clients_are_told_when_to_retry(serve: Serve, workers: Workers):
    gateway = await serve(tiers=tiers(workers, small=False, large=False))
    for model, stream in itertools.product(("auto", "small", "large"), (False, True)):
        response = await gateway.chat(model=model, stream=stream)
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
        assert response.headers["x-should-retry"] == "true"
        assert response.json()["error"]["code"] == "tier_unavailable"
        assert "127.0.0.1" not in response.text


async def test_losing_all_workers_does_not_unready_the_gateway(serve: Serve, workers: Workers):
    gateway = await serve(tiers=tiers(workers, small=False, large=False))
    assert (await gateway.get("/readyz")).status_code == 200
    assert await gateway.sample("entroute_worker_up") == 0


async def test_with_large_down_auto_answers_small_and_says_so(serve: Serve, workers: Workers):
    await workers.small.script(certainty=PROBED_HARD)
    gateway = await serve(tiers=tiers(workers, small=True, large=False))
    response = await gateway.chat(OPEN, model="auto")
    assert response.status_code == 200
    assert response.headers["x-entroute-tier"] == "small"
    assert response.headers["x-entroute-degraded"] == "tier:large"
    events = await gateway.events(OPEN, model="auto")
    assert events.chunks[-1]["entroute"]["degraded"] == ["tier:large"]


async def test_with_small_down_auto_answers_large(serve: Serve, workers: Workers):
    gateway = await serve(tiers=tiers(workers, small=False, large=True))
    response = await gateway.chat(model="auto")
    assert response.headers["x-entroute-tier"] == "large"
    assert response.headers["x-entroute-degraded"] == "tier:small"


async def test_a_pinned_tier_that_is_down_is_not_replaced(serve: Serve, workers: Workers):
    gateway = await serve(tiers=tiers(workers, small=True, large=False))
    with pytest.raises(openai.InternalServerError) as raised:
        await gateway.sdk.chat.completions.create(model="large", messages=ASK)
    assert raised.value.status_code == 503


async def test_degraded_answers_are_not_cached(serve: Serve, workers: Workers):
    gateway = await serve(tiers=tiers(workers, small=False, large=True))
    for _ in range(2):
        response = await gateway.chat("Hi", model="auto", temperature=0)
        assert response.headers["x-entroute-cache"] == "miss"


@pytest.mark.parametrize("kind", ["refuse", "status"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_tier_that_fails_before_the_first_byte_is_replaced_under_auto(
    serve: Serve, workers: Workers, kind: str, *, stream: bool
):
    gateway = await serve()
    await workers.small.script(failure={"kind": kind})
    response = await gateway.chat(model="auto", stream=stream)
    assert response.status_code == 200
    assert response.headers["x-entroute-tier"] == "large"
    assert response.headers["x-entroute-degraded"] == "tier:small"


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_worker_that_is_misconfigured_is_our_502_and_unhealthy(
    serve: Serve, workers: Workers, status: int
):
    gateway = await serve(health={"interval_s": 0.2})
    await workers.small.script(failure={"kind": "status", "status": status})
    response = await gateway.chat()
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "upstream_error"
    assert "127.0.0.1" not in response.text
    assert await gateway.sample("entroute_worker_up", tier="small") == 0
    await workers.small.script(failure=None)
    assert await eventually(lambda: gateway.sample("entroute_worker_up", tier="small"), 1)
    assert (await gateway.chat()).status_code == 200


@pytest.mark.parametrize(("retry_after", "expected"), [(3, "3"), (0.2, "1"), (None, "1")])
async def test_a_busy_worker_says_when_to_come_back(
    gateway: Client, workers: Workers, retry_after: float | None, expected: str
):
    failure = {"kind": "status", "status": 429, "retry_after_s": retry_after}
    await workers.small.script(failure=failure)
    response = await gateway.chat()
    assert response.status_code in {429, 503}
    assert response.headers["retry-after"] == expected
    assert response.headers["x-should-retry"] == "true"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("strategy", "model"),
    [
        ("single", "small"),
        ("single", "auto"),
        ("cascade", "auto"),
        ("self_consistency", "small"),
        ("self_consistency", "auto"),
    ],
)
async def test_at_the_deadline_without_a_candidate_it_is_504(
    gateway: Client, workers: Workers, strategy: str, model: str, *, stream: bool
):
    await workers.small.script(ttft_ms=5000)
    await workers.large.script(ttft_ms=5000)
    options = {"strategy": strategy, "budget": {"deadline_ms": 60}}
    started = time.perf_counter()
    response = await gateway.chat(model=model, stream=stream, entroute=options)
    assert time.perf_counter() - started < 1
    assert response.status_code == 504
    assert response.headers["x-should-retry"] == "false"
    assert response.json()["error"]["code"] == "deadline_exceeded"


async def test_a_deadline_that_passes_in_the_probe_is_504_too(gateway: Client, workers: Workers):
    await workers.small.script(ttft_ms=5000)
    await workers.large.script(ttft_ms=5000)
    response = await gateway.chat(OPEN, model="auto", entroute={"budget": {"deadline_ms": 60}})
    assert response.status_code == 504
    assert response.headers["x-should-retry"] == "false"


async def test_at_the_deadline_the_samples_so_far_decide(gateway: Client, workers: Workers):
    slow = "word " * 400 + "The answer is 5."
    quick = "The answer is 4."
    await workers.small.script(answers=[quick, quick, slow, slow, slow], tokens_per_second=200)
    options = {
        "strategy": "self_consistency",
        "explain": True,
        "budget": {"deadline_ms": 500},
    }
    answer = await gateway.answer(entroute=options)
    assert answer["choices"][0]["message"]["content"] == quick
    assert answer["entroute"]["stop_reason"] == "deadline"
    assert len(answer["entroute"]["candidates"]) == 2


async def test_samples_that_fail_do_not_fail_the_vote(gateway: Client, workers: Workers):
    await workers.small.script(
        answer="The answer is 4.", failure={"kind": "status", "status": 500, "times": 2}
    )
    options = {
        "strategy": "self_consistency",
        "explain": True,
        "verifier": {"kind": "exact", "answer": "4"},
    }
    answer = await gateway.answer(entroute=options)
    assert answer["entroute"]["failures"] == 2
    assert len(answer["entroute"]["candidates"]) == 3


async def test_a_slow_worker_is_504_and_may_be_retried(serve: Serve, workers: Workers):
    gateway = await serve(timeouts={"first_token_s": 0.1, "total_s": 0.2})
    await workers.small.script(ttft_ms=5000)
    for stream in (False, True):
        response = await gateway.chat(stream=stream)
        assert response.status_code == 504
        assert response.json()["error"]["code"] == "upstream_timeout"
        assert response.headers.get("x-should-retry") != "false"


async def test_a_stall_between_tokens_ends_the_stream_with_an_error(serve: Serve, workers: Workers):
    gateway = await serve(timeouts={"between_tokens_s": 0.1})
    await workers.small.script(failure={"kind": "stall", "after_tokens": 2})
    events = await gateway.events()
    assert events.text == "word0 word1"
    assert events.error is not None
    assert events.error["code"] == "upstream_timeout"


@pytest.mark.parametrize("kind", ["malformed", "truncated"])
async def test_an_answer_that_is_cut_off_is_the_workers_failure(
    serve: Serve, workers: Workers, kind: str
):
    gateway = await serve()
    await workers.small.script(failure={"kind": kind, "after_tokens": 2})
    assert (await gateway.chat()).status_code == 502


async def test_a_worker_behind_a_key_is_asked_with_it(serve: Serve, workers: Workers):
    worker = {"url": f"{workers.small.url}/v1", "api_key": "worker-secret"}
    gateway = await serve(tiers=[{"name": "small", "model": "qwen-small", "workers": [worker]}])
    await gateway.answer(headers={"authorization": "Bearer client-secret"})
    sent = (await workers.small.requests())[0]["headers"]
    assert sent["authorization"] == "Bearer worker-secret"


async def test_a_shared_answer_that_was_cancelled_may_be_asked_again():
    status, body, headers = rendered(CallFailed("the shared answer was cancelled; ask again"))
    assert status == 503
    assert body["error"]["type"] == "server_error"
    assert headers == {"retry-after": "1", "x-should-retry": "true"}
