"""The operator's paths, the model list, and what is left when the gateway itself fails."""

import asyncio
import logging
from collections.abc import AsyncGenerator

import httpx
import openai
import pytest
from jsonschema import Draft202012Validator
from prometheus_client.parser import text_string_to_metric_families

from entroute.app import create_app
from entroute.calls import CallStream
from entroute.protocols import Tier
from entroute.settings import Settings
from entroute.types import Call, Completion, Delta
from tests.api.conftest import Client, Serve, Workers, base_settings, client_of
from tests.gateway_process import serving_app
from tests.openai_wire import read_events

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_healthz_says_that_the_process_lives(gateway: Client):
    response = await gateway.get("/healthz")
    assert response.status_code == 200
    assert response.json() == {"status": "ok"}


async def test_readyz_says_ready_after_the_first_sweep(gateway: Client):
    response = await gateway.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {"status": "ready"}


async def test_readyz_says_draining(workers: Workers, http: httpx.AsyncClient):
    app = create_app(Settings.model_validate(base_settings(workers)))
    async with serving_app(app) as url:
        app.state.lasting.drain.begin()
        response = await client_of(url, http).get("/readyz")
        assert response.status_code == 503
        assert response.json() == {"status": "draining"}


async def test_readyz_says_starting_before_the_first_sweep(workers: Workers):
    app = create_app(Settings.model_validate(base_settings(workers)))
    transport = httpx.ASGITransport(app)  # no server, so nothing has been started
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        response = await client.get("/readyz")
    assert response.status_code == 503
    assert response.json() == {"status": "starting"}


async def test_models_are_auto_the_tiers_and_what_they_serve(gateway: Client):
    models = await gateway.sdk.models.list()
    assert [m.id for m in models.data] == ["auto", "small", "large", "qwen-small", "qwen-large"]
    assert {m.owned_by for m in models.data} == {"entroute"}


async def test_metrics_parse_and_hold_every_family_of_a_request(serve: Serve):
    gateway = await serve()
    await gateway.answer()
    await gateway.events()
    response = await gateway.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(response.text)}
    assert all(name.startswith("entroute_") for name in families)
    assert {
        "entroute_requests",
        "entroute_request_duration_seconds",
        "entroute_time_to_first_token_seconds",
        "entroute_inter_token_latency_seconds",
        "entroute_overhead_seconds",
        "entroute_tokens",
        "entroute_cost_usd",
        "entroute_requests_in_flight",
        "entroute_worker_up",
        "entroute_worker_inflight",
        "entroute_upstream_attempts",
    } <= set(families)
    samples = {
        tuple(sorted(s.labels.items())): s.value
        for s in families["entroute_requests"].samples
        if s.name == "entroute_requests_total"
    }
    labels = {"endpoint": "chat", "strategy": "single", "tier": "small", "outcome": "ok"}
    assert samples == {tuple(sorted(labels.items())): 2}


async def test_a_request_is_in_flight_while_it_runs(gateway: Client, workers: Workers):
    await workers.small.script(ttft_ms=2000)
    asking = asyncio.create_task(gateway.chat())
    async with asyncio.timeout(1.5):
        while await gateway.sample("entroute_requests_in_flight") == 0:  # noqa: ASYNC110 - over HTTP
            await asyncio.sleep(0.01)
    assert await gateway.sample("entroute_requests_in_flight") == 1
    assert await gateway.sample("entroute_worker_inflight", tier="small") == 1
    await asking
    assert await gateway.sample("entroute_requests_in_flight") == 0


async def test_prompts_answers_and_keys_are_in_no_metric(gateway: Client):
    await gateway.answer("a-secret-prompt", headers={"authorization": "Bearer a-secret-key"})
    page = (await gateway.get("/metrics")).text
    assert "secret" not in page
    assert "word0" not in page


async def test_openapi_describes_every_path(gateway: Client):
    document = (await gateway.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert {
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/models",
        "/healthz",
        "/readyz",
        "/metrics",
    } <= set(document["paths"])
    for path in ("/v1/chat/completions", "/v1/completions"):
        operation = document["paths"][path]["post"]
        assert operation["requestBody"]["required"] is True
        assert set(operation["responses"]) == {
            *("200", "400", "401", "403", "404", "408", "413", "429", "431"),
            *("502", "503", "504", "default"),
        }
    assert "422" not in str(document)


async def test_openapi_schemas_are_schemas(gateway: Client):
    document = (await gateway.get("/openapi.json")).json()
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    body = document["components"]["schemas"]["ChatBody"]
    request = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}], "anything": 1}
    validator = Draft202012Validator({**body, "components": document["components"]})
    validator.validate(request)
    assert not validator.is_valid({"model": "auto", "messages": []})


class Broken:
    """A backend with a bug."""

    def __init__(self, after: int) -> None:
        self._after = after

    async def complete(self, call: Call) -> Completion:
        raise ZeroDivisionError("the bug's own words")

    def stream(self, call: Call) -> CallStream:
        return self._pieces()

    async def _pieces(self) -> AsyncGenerator[Delta | Completion, None]:
        for _ in range(self._after):
            yield Delta("piece", tier="small")
        raise ZeroDivisionError("the bug's own words")


def broken_app(workers: Workers, *, after: int = 0):
    tier = Tier("small", "qwen-small", Broken(after))
    return create_app(Settings.model_validate(base_settings(workers)), tiers=[tier])


@pytest.mark.parametrize("stream", [False, True])
async def test_a_bug_is_500_in_openais_shape_without_its_words(
    workers: Workers, http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, *, stream: bool
):
    async with serving_app(broken_app(workers)) as url:
        client = client_of(url, http)
        response = await client.chat(stream=stream, headers={"x-request-id": "mine"})
        assert response.status_code == 500
        assert response.headers["x-request-id"] == "mine"
        assert response.json()["error"]["code"] == "internal_error"
        assert "bug" not in response.text
        with pytest.raises(openai.InternalServerError):
            await client.sdk.completions.create(model="small", prompt="x")
        assert await client.sample("entroute_requests_total", outcome="server_error") == 2
    assert "the bug's own words" in caplog.text
    assert "request mine failed" in caplog.text


async def test_a_bug_in_mid_stream_is_an_error_event_and_logged(
    workers: Workers, http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.ERROR):
        async with serving_app(broken_app(workers, after=2)) as url:
            client = client_of(url, http)
            response = await client.chat(stream=True, headers={"x-request-id": "mine"})
    assert "request mine failed" in caplog.text
    events = read_events(response.text)
    assert events.text == "piecepiece"
    assert not events.done
    assert events.error is not None
    assert events.error["code"] == "internal_error"
    assert "the bug's own words" in caplog.text
    assert "bug" not in response.text
