"""Embeddings: every form of input and output, batches, what they cost and how they fail."""

import asyncio
import math
import struct
from base64 import b64decode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio

from entroute.embedded.engine import free_port
from loadtest.embedding import unit_vector
from loadtest.spawn import FakeWorker, fake_worker
from tests.api.conftest import Client, Serve, Workers, base_settings, client_of, eventually
from tests.gateway_process import serving
from tests.keys import write_key_file
from tests.workers import UNSCRIPTED

pytestmark = pytest.mark.asyncio(loop_scope="session")

LENGTH = 16
"""Of the fake worker's vectors."""

CONTEXT = 64
"""Tokens that the fake worker reads of an input."""

Two = tuple[FakeWorker, FakeWorker]


def embeddings(*workers: FakeWorker, **facts: Any) -> list[dict[str, Any]]:
    """Return one tier over workers, and a second one that never answers."""
    return [
        {
            "name": "mini",
            "model": "mini-lm",
            "workers": [{"url": f"{worker.url}/v1"} for worker in workers],
            "price": {"prompt": 3.0},
            **facts,
        },
        {
            "name": "nobody",
            "model": "nobody-lm",
            "workers": [{"url": f"http://127.0.0.1:{free_port()}/v1"}],
        },
    ]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def embedders() -> AsyncIterator[Two]:
    flags = {"model": "mini-lm", "max_model_len": CONTEXT}
    async with fake_worker(**flags) as one, fake_worker(**flags) as other:
        yield one, other


@pytest_asyncio.fixture(loop_scope="session")
async def two(embedders: Two) -> Two:
    """Both workers, unscripted, with nothing received."""
    for worker in embedders:
        await worker.script(**UNSCRIPTED)
        await worker.forget()
    return embedders


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def embedding_url(fake_workers: Workers, embedders: Two) -> AsyncIterator[str]:
    settings = base_settings(fake_workers, embeddings=embeddings(embedders[0], max_inputs=3))
    async with serving(settings) as url:
        yield url


@pytest_asyncio.fixture(loop_scope="session")
async def one(two: Two) -> FakeWorker:
    """The worker behind the shared gateway."""
    return two[0]


@pytest_asyncio.fixture(loop_scope="session")
async def embedding(embedding_url: str, one: FakeWorker, http: httpx.AsyncClient) -> Client:
    """A gateway with one embedding worker, three inputs a call."""
    return client_of(embedding_url, http)


async def ask(client: Client, given: Any, **fields: Any) -> httpx.Response:
    return await client.post("embeddings", {"model": "mini", "input": given, **fields})


async def bodies(worker: FakeWorker) -> list[dict[str, Any]]:
    return [received["body"] for received in await worker.requests()]


async def test_the_sdk_gets_the_worker_s_vector(embedding: Client, one: FakeWorker):
    answer = await embedding.sdk.embeddings.create(model="mini", input="A spider has eight legs.")
    assert answer.data[0].embedding == unit_vector("A spider has eight legs.", LENGTH)
    assert answer.model == "mini-lm"
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 5
    assert (await bodies(one))[0]["encoding_format"] == "base64"  # the SDK's own choice


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        ("one text", ["one text"]),
        (["first", "second"], ["first", "second"]),
        ([1, 2, 3], ["<1> <2> <3>"]),
        ([[1, 2], [3]], ["<1> <2>", "<3>"]),
    ],
)
async def test_every_form_of_input_is_embedded_in_order(
    embedding: Client, given: Any, texts: list[str]
):
    body = (await ask(embedding, given)).json()
    assert [item["index"] for item in body["data"]] == list(range(len(texts)))
    assert [item["embedding"] for item in body["data"]] == [
        unit_vector(text, LENGTH) for text in texts
    ]


@pytest.mark.parametrize("knows_base64", [True, False])
async def test_base64_and_floats_are_the_same_vector(
    embedding: Client, one: FakeWorker, *, knows_base64: bool
):
    await one.script(vectors={"base64": knows_base64})
    packed = (await ask(embedding, "x", encoding_format="base64")).json()["data"][0]["embedding"]
    numbers = (await ask(embedding, "x", encoding_format="float")).json()["data"][0]["embedding"]
    assert list(struct.unpack(f"<{LENGTH}f", b64decode(packed))) == numbers
    assert math.hypot(*numbers) == pytest.approx(1, abs=1e-6)


async def test_many_inputs_are_batched_and_joined_in_order(embedding: Client, one: FakeWorker):
    texts = [f"text number {number}" for number in range(8)]
    response = await ask(embedding, texts)
    body = response.json()
    assert [item["embedding"] for item in body["data"]] == [
        unit_vector(text, LENGTH) for text in texts
    ]
    assert sorted(len(sent["input"]) for sent in await bodies(one)) == [2, 3, 3]
    assert body["usage"]["prompt_tokens"] == 24
    spent = body["usage"]["entroute"]
    assert (spent["calls"], spent["prompt_tokens"]) == (3, 24)
    assert spent["cost_usd"] == pytest.approx(24 * 3e-6)
    assert [(row["tier"], row["purpose"]) for row in spent["by"]] == [("mini", "answer")]
    assert response.headers["x-entroute-calls"] == "3"
    assert response.headers["x-entroute-tier"] == "mini"


async def test_what_one_batch_fails_on_fails_the_whole_and_is_charged(
    embedding: Client, one: FakeWorker
):
    before = await embedding.sample("entroute_tokens_total", tier="mini", purpose="discarded")
    response = await ask(embedding, ["a", "b", "c d", "word " * (CONTEXT + 1)])
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"
    assert len(await one.requests()) == 2
    counted = await embedding.sample("entroute_tokens_total", tier="mini", purpose="discarded")
    assert counted - before == 4


async def test_token_lists_beyond_a_told_context_are_not_even_sent(
    embedding: Client, one: FakeWorker
):
    response = await ask(embedding, [[1], [7] * (CONTEXT + 1)])
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"
    assert await one.requests() == []


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input.1"),
        ({"input": ["a", 1]}, "input.1"),
        ({"input": [1, "a"]}, "input"),
        ({"input": [[1], []]}, "input.1"),
        ({"input": [[1], [-1]]}, "input.1"),
        ({"input": [[1], [True]]}, "input.1"),
        ({"input": [1.5]}, "input.0"),
        ({"input": [None]}, "input.0"),
        ({"input": ["x"] * 2049}, "input"),
        ({"input": {"text": "x"}}, "input"),
        ({}, "input"),
        ({"input": "x", "encoding_format": "int8"}, "encoding_format"),
        ({"input": "x", "dimensions": 0}, "dimensions"),
        ({"input": "x", "priority": 1}, "priority"),
        ({"input": "x", "entroute": {"strategy": "cascade"}}, "entroute.strategy"),
        ({"input": "x", "entroute": {"nonsense": 1}}, "entroute.nonsense"),
    ],
)
async def test_what_is_wrong_is_named(
    embedding: Client, one: FakeWorker, fields: dict[str, Any], param: str
):
    response = await embedding.post("embeddings", {"model": "mini", **fields})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param
    assert await one.requests() == []


async def test_dimensions_go_to_workers_that_may_shorten(embedding: Client, one: FakeWorker):
    body = (await ask(embedding, "x", dimensions=4)).json()
    assert len(body["data"][0]["embedding"]) == 4
    assert (await bodies(one))[0]["dimensions"] == 4


async def test_declared_dimensions_are_neither_sent_nor_changed(serve: Serve, two: Two):
    gateway = await serve(embeddings=embeddings(two[0], dimensions=LENGTH))
    assert len((await ask(gateway, "x", dimensions=LENGTH)).json()["data"][0]["embedding"]) == 16
    assert "dimensions" not in (await bodies(two[0]))[0]
    refused = await ask(gateway, "x", dimensions=8)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "dimensions")
    assert len(await two[0].requests()) == 1


async def test_user_and_unknown_fields_travel(embedding: Client, one: FakeWorker):
    await ask(embedding, "x", user="u-1", input_type="query")
    sent = (await bodies(one))[0]
    assert (sent["user"], sent["input_type"]) == ("u-1", "query")
    assert sent["model"] == "mini-lm"
    assert "entroute" not in sent


@pytest.mark.parametrize("model", ["mini", "mini-lm", "auto"])
async def test_a_tier_goes_by_its_name_its_model_and_auto(embedding: Client, model: str):
    assert (await ask(embedding, "x", model=model)).json()["model"] == "mini-lm"


async def test_models_that_do_not_embed_are_not_found(embedding: Client, gateway: Client):
    response = await ask(embedding, "x", model="small")
    assert response.status_code == 404
    assert "mini-lm" in response.json()["error"]["message"]
    assert (await ask(gateway, "x", model="auto")).status_code == 404
    chat = await embedding.chat(model="mini")
    assert chat.status_code == 404


async def test_models_are_listed(embedding: Client):
    listed = {model.id async for model in embedding.sdk.models.list()}
    assert {"auto", "small", "mini", "mini-lm", "nobody"} <= listed


async def test_a_tier_without_workers_says_when_to_retry(embedding: Client):
    response = await ask(embedding, "x", model="nobody")
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1
    assert "127.0.0.1" not in response.text


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        ({"kind": "status", "status": 500}, 502),
        ({"kind": "status", "status": 429, "retry_after_s": 3}, 503),
        ({"kind": "status", "status": 400}, 400),
        ({"kind": "malformed"}, 502),
        ({"kind": "close"}, 502),
        ({"kind": "reset"}, 503),
        ({"kind": "hang"}, 504),
    ],
)
async def test_workers_failures_have_the_status_of_any_other_path(
    serve: Serve, two: Two, failure: dict[str, Any], status: int
):
    gateway = await serve(embeddings=embeddings(two[0]), timeouts={"total_s": 0.5})
    await two[0].script(failure=failure)
    response = await ask(gateway, "x")
    assert response.status_code == status


@pytest.mark.parametrize("kind", ["refuse", "malformed", "close"])
async def test_another_worker_is_tried(serve: Serve, two: Two, kind: str):
    gateway = await serve(embeddings=embeddings(*two, balancer="round_robin"))
    await two[0].script(failure={"kind": kind})
    answers = [await ask(gateway, "x") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert await gateway.sample("entroute_upstream_attempts_total", tier="mini", outcome="ok") == 2
    assert await gateway.sample("entroute_worker_up", tier="mini") >= 1


async def test_a_worker_that_tells_no_usage_is_charged_nothing_and_said_so(
    embedding: Client, one: FakeWorker
):
    await one.script(vectors={"usage": False})
    response = await ask(embedding, "a long text of seven whole words")
    assert response.json()["usage"]["prompt_tokens"] == 0
    assert response.headers["x-entroute-degraded"] == "usage"


async def test_the_deadline_and_the_budget_hold(embedding: Client, one: FakeWorker):
    await one.script(ttft_ms=5000)
    slow = await ask(embedding, "x", entroute={"budget": {"deadline_ms": 200}})
    assert slow.status_code == 504
    await one.script(ttft_ms=0)
    await one.forget()
    calls = await ask(embedding, ["x"] * 4, entroute={"budget": {"max_calls": 1}})
    dear = await ask(embedding, "x" * 1000, entroute={"budget": {"max_cost_usd": 1e-5}})
    assert [r.json()["error"]["param"] for r in (calls, dear)] == [
        "entroute.budget.max_calls",
        "entroute.budget.max_cost_usd",
    ]
    assert await one.requests() == []


async def test_a_client_that_leaves_cancels_its_calls(embedding: Client, one: FakeWorker):
    await one.script(ttft_ms=60_000)
    before = await embedding.sample("entroute_requests_total", outcome="cancelled")

    async def running() -> float:
        return (await one.metrics())["vllm:num_requests_running"]

    async def cancelled() -> float:
        return await embedding.sample("entroute_requests_total", outcome="cancelled")

    task = asyncio.create_task(ask(embedding, ["a", "b", "c", "d"]))
    assert await eventually(running, 1, within_s=10)
    assert await embedding.sample("entroute_requests_in_flight") == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await eventually(running, 0, within_s=10)
    assert await eventually(cancelled, before + 1, within_s=10)


async def test_every_request_is_counted_once(embedding: Client):
    before = await embedding.sample("entroute_requests_total", endpoint="embeddings", outcome="ok")
    tokens = await embedding.sample("entroute_tokens_total", tier="mini", purpose="answer")
    await ask(embedding, ["one two", "three", "four", "five"])
    after = await embedding.sample("entroute_requests_total", endpoint="embeddings", outcome="ok")
    assert after - before == 1
    now = await embedding.sample("entroute_tokens_total", tier="mini", purpose="answer")
    assert now - tokens == 5


async def test_keys_are_held_to_their_tiers(serve: Serve, two: Two, tmp_path: Path):
    keys: dict[str, dict[str, Any]] = {
        "all-key": {"tenant": "a"},
        "mini-key": {"tenant": "b", "tiers": ["mini"]},
        "small-key": {"tenant": "c", "tiers": ["small"]},
    }
    path = write_key_file(tmp_path / "keys.yaml", keys)
    gateway = await serve(embeddings=embeddings(two[0]), auth={"keys_file": str(path)})

    async def status(key: str, model: str) -> int:
        body = {"model": model, "input": "x"}
        headers = {"authorization": f"Bearer {key}"}
        return (await gateway.post("embeddings", body, headers)).status_code

    assert (await ask(gateway, "x")).status_code == 401
    assert await status("wrong-key", "mini") == 401
    assert await status("all-key", "auto") == 200
    assert await status("mini-key", "mini-lm") == 200
    assert await status("small-key", "mini") == 403
    assert await status("small-key", "auto") == 403


async def test_the_sdk_raises_its_typed_errors(embedding: Client):
    with pytest.raises(openai.NotFoundError):
        await embedding.sdk.embeddings.create(model="none", input="x")
    with pytest.raises(openai.BadRequestError):
        await embedding.sdk.embeddings.create(model="mini", input="")


async def test_keys_are_held_to_their_limits_and_told_what_they_used(
    serve: Serve, two: Two, tmp_path: Path
):
    keys: dict[str, dict[str, Any]] = {
        "twice-key": {"tenant": "a", "limits": {"requests_per_month": 2}},
        "other-key": {"tenant": "b"},
    }
    path = write_key_file(tmp_path / "keys.yaml", keys)
    gateway = await serve(embeddings=embeddings(two[0]), auth={"keys_file": str(path)})
    body = {"model": "mini", "input": "one two three"}
    limited, free = ({"authorization": f"Bearer {key}"} for key in keys)
    answers = [await gateway.post("embeddings", body, limited) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert (await gateway.post("embeddings", body, free)).status_code == 200
    assert len(await two[0].requests()) == 3
    report = (await gateway.get("/v1/usage", limited)).json()
    assert (report["totals"]["requests"], report["totals"]["errors"]) == (3, 1)
    assert report["totals"]["prompt_tokens"] == 6
