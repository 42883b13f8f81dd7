"""Outcome labels over HTTP: by request id, by those who were answered, refused by field."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from starlette.requests import Request

from entroute.api import handlers
from entroute.api.auth import KeyRing
from entroute.api.draining import Drain
from entroute.api.feedback import feedback_routes
from entroute.api.middleware import Edge
from entroute.feedback.feedback import Feedback
from entroute.types import Principal
from tests.api.conftest import Client, Serve, Workers, base_settings, client_of, eventually
from tests.feedback.traffic import a_feedback, decided_trace
from tests.gateway_process import serving, serving_app
from tests.keys import GivenKeys, write_key_file
from tests.redis_server import RedisServer
from tests.scripted import FakeClock

pytestmark = pytest.mark.asyncio(loop_scope="session")

TENANTS = {"key-of-a": "a", "key-of-b": "b"}
LABELS = "entroute_feedback_labels_total"


def bearer(key: str = "key-of-a") -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def keys_in(folder: Path) -> Path:
    return write_key_file(folder / "keys.yaml", {key: {"tenant": t} for key, t in TENANTS.items()})


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def guarded_url(
    fake_workers: Workers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[str]:
    keys = keys_in(tmp_path_factory.mktemp("keys"))
    async with serving(base_settings(fake_workers, auth={"keys_file": str(keys)})) as url:
        yield url


@pytest_asyncio.fixture(loop_scope="session")
async def guarded(guarded_url: str, workers: Workers, http: httpx.AsyncClient) -> Client:
    """A gateway of two tenants."""
    return client_of(guarded_url, http)


@asynccontextmanager
async def edge_of(feedback: Feedback) -> AsyncIterator[str]:
    """Serve the path alone, to whom every tenant's key is its name."""
    ring = KeyRing(GivenKeys({name: Principal(name) for name in ("a", "b")}), time.time)

    async def admit(request: Request) -> Principal:
        principal = await ring.principal(request.headers.get("authorization"))
        request.scope["state"]["principal"] = principal
        return principal

    app = FastAPI()
    handlers.install(app, lambda *_: None)
    app.include_router(feedback_routes(feedback, admit))
    app.add_middleware(
        Edge,
        max_body_bytes=10_000,
        max_header_bytes=10_000,
        receive_s=60.0,
        failed=lambda *_: None,
        clock=FakeClock(),
        drain=Drain(),
    )
    async with serving_app(app) as url:
        yield url


async def test_a_label_teaches_the_plan_that_answered(http: httpx.AsyncClient):
    feedback = a_feedback()
    feedback.record(decided_trace("r-1", "a"))
    async with edge_of(feedback) as url:
        client = client_of(url, http)
        answer = await client.post("feedback", {"id": "r-1", "right": False}, bearer("a"))
        assert answer.status_code == 200
        assert answer.json() == {
            "object": "entroute.feedback",
            "id": "r-1",
            "accepted": True,
            "plan": "p",
        }
        assert feedback.corrected("p", 0.7) < 0.7
        score = await client.post("feedback", {"id": "r-1", "score": 0.9}, bearer("a"))
        assert score.json()["accepted"] is True
    assert feedback.counts["accepted"] == feedback.counts["replaced"] == 1
    assert feedback.measures().labels == 1


async def test_a_label_that_changes_too_often_is_refused(http: httpx.AsyncClient):
    feedback = a_feedback()
    feedback.record(decided_trace("r-1", "a"))
    async with edge_of(feedback) as url:
        client = client_of(url, http)
        answers = [
            await client.post("feedback", {"id": "r-1", "right": n % 2 == 0}, bearer("a"))
            for n in range(7)
        ]
    assert [answer.status_code for answer in answers] == [200] * 6 + [400]
    assert answers[-1].json()["error"]["param"] == "id"
    assert feedback.counts["invalid"] == 1


async def test_an_answer_is_labelled_by_its_request_id(guarded: Client):
    answer = await guarded.chat("label me", headers=bearer())
    body = {"id": answer.headers["x-request-id"], "right": True}
    before = await guarded.sample(LABELS, result="no_plan")
    label = await guarded.post("feedback", body, bearer())
    assert label.status_code == 200
    assert label.json()["accepted"] is True
    assert label.json()["plan"] is None  # the request named its tier
    assert await guarded.sample(LABELS, result="no_plan") == before + 1


@pytest.mark.parametrize("stream", [False, True])
async def test_cached_and_streamed_answers_take_labels(guarded: Client, *, stream: bool):
    for turn in ("made", "kept"):
        request_id = f"{turn}-{stream}"
        headers = {**bearer(), "x-request-id": request_id}
        answer = await guarded.chat(
            f"again {stream}", headers=headers, stream=stream, temperature=0
        )
        assert answer.status_code == 200
        assert (turn == "kept") == (answer.headers["x-entroute-cache"] == "exact")
        label = await guarded.post("feedback", {"id": request_id, "score": 0.5}, bearer())
        assert label.status_code == 200


async def test_a_foreign_id_reads_like_an_unknown_one(guarded: Client):
    mine = {**bearer("key-of-a"), "x-request-id": "shared-with-nobody"}
    await guarded.chat("mine", headers=mine)
    foreign = await guarded.post(
        "feedback", {"id": "shared-with-nobody", "right": True}, bearer("key-of-b")
    )
    unknown = await guarded.post("feedback", {"id": "no-such-id", "right": True}, bearer())
    for answer in (foreign, unknown):
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "not_found"
        assert answer.json()["error"]["param"] == "id"
    assert foreign.json() == unknown.json()
    assert await guarded.sample(LABELS, result="foreign") == 1
    assert await guarded.sample(LABELS, result="unknown") == 1


async def test_two_tenants_may_use_one_id(guarded: Client):
    for key in TENANTS:
        await guarded.chat("same id", headers={**bearer(key), "x-request-id": "same-id"})
    for key in TENANTS:
        label = await guarded.post("feedback", {"id": "same-id", "right": True}, bearer(key))
        assert label.status_code == 200


async def test_a_request_that_failed_has_nothing_to_label(guarded: Client):
    headers = {**bearer(), "x-request-id": "it-failed"}
    assert (await guarded.chat(model="none", headers=headers)).status_code == 404
    label = await guarded.post("feedback", {"id": "it-failed", "right": False}, bearer())
    assert label.status_code == 404


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}])
async def test_strangers_label_nothing(guarded: Client, headers: dict[str, str]):
    answer = await guarded.post("feedback", {"id": "x", "right": True}, headers)
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"right": True}, "id"),
        ({"id": "", "right": True}, "id"),
        ({"id": "x" * 129, "right": True}, "id"),
        ({"id": 7, "right": True}, "id"),
        ({"id": "x"}, "right"),
        ({"id": "x", "right": None}, "right"),
        ({"id": "x", "right": "yes"}, "right"),
        ({"id": "x", "right": 1}, "right"),
        ({"id": "x", "right": True, "score": 1.0}, "score"),
        ({"id": "x", "score": 1.5}, "score"),
        ({"id": "x", "score": -0.1}, "score"),
        ({"id": "x", "score": "0.5"}, "score"),
        ({"id": "x", "score": True}, "score"),
        ({"id": "x", "right": True, "comment": "well done"}, "comment"),
        ([], None),
    ],
    ids=str,
)
async def test_a_wrong_label_is_refused_by_its_field_and_counted(
    guarded: Client, body: Any, param: str | None
):
    before = await guarded.sample(LABELS, result="invalid")
    answer = await guarded.post("feedback", body, bearer())
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert await guarded.sample(LABELS, result="invalid") == before + 1


async def test_calibration_is_exported_and_openapi_names_the_path(guarded: Client):
    page = (await guarded.get("/metrics")).text
    for name in ("calibration_drift", "feedback_window_labels", "feedback_store_failures_total"):
        assert f"\nentroute_{name} 0.0" in page
    document = (await guarded.get("/openapi.json")).json()
    operation = document["paths"]["/v1/feedback"]["post"]
    assert operation["requestBody"]["required"] is True
    assert {"200", "400", "401", "404"} <= set(operation["responses"])


async def test_an_answer_is_labelled_at_another_gateway(serve: Serve, redis: RedisServer):
    shared = {"kind": "redis", "url": redis.url, "timeout_ms": 2000}
    one, other = await serve(feedback=shared), await serve(feedback=shared)
    request_id = uuid4().hex
    await one.chat("shared", headers={"x-request-id": request_id})

    async def accepted() -> float:
        body = {"id": request_id, "right": True}
        return (await other.post("feedback", body)).status_code

    assert await eventually(accepted, 200)


async def test_a_gateway_that_keeps_labels_in_a_file_takes_them(serve: Serve, tmp_path: Path):
    gateway = await serve(feedback={"kind": "file", "path": str(tmp_path / "labels.json")})
    answer = await gateway.chat("kept in a file")
    body = {"id": answer.headers["x-request-id"], "right": True}
    assert (await gateway.post("feedback", body)).status_code == 200
