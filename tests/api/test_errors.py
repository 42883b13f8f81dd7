"""What a client did wrong is said in OpenAI's shape, with the path of the field, never as 422."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from loadtest.spawn import fake_worker
from tests.api.conftest import Client, Serve, Workers

pytestmark = pytest.mark.asyncio(loop_scope="session")

ASK: list[Any] = [{"role": "user", "content": "Hi"}]
JSON = {"content-type": "application/json"}
GOOD = b'{"model": "small", "messages": [{"role": "user", "content": "Hi"}]}'


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b"", JSON),
        (b"{", JSON),
        (b'{"model": "small",}', JSON),
        (b"\xff\xfe", JSON),
        (b"null", JSON),
        (b"[]", JSON),
        (b'"text"', JSON),
        (b'{"model": "small", "messages": NaN}', JSON),
        (b'{"model": "small", "temperature": Infinity}', JSON),
        (b'{"model": "small", "messages": [{"role": "user", "content": "\\ud800"}]}', JSON),
        (b'{"model": "small", "messages": [{"role": "user", "content": "\xed\xa0\x80"}]}', JSON),
        (b"[" * 100_000, JSON),
        (b'{"a":' * 300 + b"1" + b"}" * 300, JSON),
        (GOOD[:-1] + b', "x": ' + b"[" * 300 + b"]" * 300 + b"}", JSON),
        (GOOD, {"content-type": "text/plain"}),
        (GOOD, {}),
    ],
)
@pytest.mark.parametrize("path", ["chat/completions", "completions"])
async def test_a_body_that_is_no_json_object_is_refused(
    gateway: Client, content: bytes, headers: dict[str, str], path: str
):
    response = await gateway.http.post(f"{gateway.url}/v1/{path}", content=content, headers=headers)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert len(error["message"]) < 300


async def test_json_of_any_json_content_type_is_read(gateway: Client):
    headers = {"content-type": "application/json; charset=utf-8"}
    url = f"{gateway.url}/v1/chat/completions"
    assert (await gateway.http.post(url, content=GOOD, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 7}, "model"),
        ({"model": ""}, "model"),
        ({"model": "x" * 300}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": [3]}, "messages.0"),
        ({"messages": [{}]}, "messages.0.role"),
        ({"messages": [{"role": "king", "content": "Hi"}]}, "messages.0.role"),
        ({"messages": [*ASK, {"role": "user", "content": 7}]}, "messages.1.content"),
        ({"messages": [{"role": "user", "content": [7]}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": []}]}]}, "messages.0.content"),
        ({"n": 0}, "n"),
        ({"n": 1.5}, "n"),
        ({"n": 100_000}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": "0.5"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"n": "1"}, "n"),
        ({"n": True}, "n"),
        ({"stream": "no"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"logprobs": "true"}, "logprobs"),
        ({"seed": "x"}, "seed"),
        ({"seed": 2**63 - 1024}, "seed"),
        ({"seed": -(2**63) - 1}, "seed"),
        ({"stream": "perhaps"}, "stream"),
        ({"stream_options": 3}, "stream_options"),
        ({"stream_options": {"include_usage": "perhaps"}}, "stream_options.include_usage"),
        ({"logprobs": 5}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_a_wrong_field_is_refused_by_its_path(
    gateway: Client, workers: Workers, fields: dict[str, Any], param: str
):
    response = await gateway.chat(**fields)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] is not None
    assert error["param"].startswith(param)
    assert await workers.bodies() == []


@pytest.mark.parametrize("seed", [2**63 - 1025, -(2**63), 0])
async def test_seeds_of_64_bits_with_room_for_samples_are_taken(
    gateway: Client, workers: Workers, seed: int
):
    assert (await gateway.chat(seed=seed, n=2)).status_code == 200
    assert all(body["seed"] >= seed for body in await workers.bodies())


async def test_whole_numbers_are_taken_where_a_fraction_may_stand(gateway: Client):
    assert (await gateway.chat(temperature=1)).status_code == 200


async def test_missing_fields_are_named(gateway: Client):
    for body, param in (({"model": "small"}, "messages"), ({"messages": ASK}, "model")):
        response = await gateway.post("chat/completions", body)
        assert response.status_code == 400
        assert response.json()["error"]["param"] == param


@pytest.mark.parametrize("model", ["gpt-4", "Small", "small ", "auto/small", "../small"])
async def test_an_unknown_model_is_not_found_and_the_known_ones_are_listed(
    gateway: Client, model: str
):
    with pytest.raises(openai.NotFoundError) as raised:
        await gateway.sdk.chat.completions.create(model=model, messages=ASK)
    assert raised.value.code == "model_not_found"
    assert raised.value.param == "model"
    assert "auto, small, large, qwen-small, qwen-large" in str(raised.value)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": "auto", "entroute": {"strategy": "cascade"}, "n": 2}, "n"),
        ({"entroute": {"strategy": "self_consistency"}, "n": 2}, "n"),
        ({"entroute": {"strategy": "self_consistency"}, "temperature": 0}, "temperature"),
        ({"entroute": {"strategy": "cascade"}}, "model"),
        (
            {"model": "auto", "entroute": {"strategy": "cascade"}, "tools": [{}]},
            "tools",
        ),
        (
            {"entroute": {"strategy": "single", "verifier": {"kind": "majority"}}},
            "entroute.verifier",
        ),
        ({"entroute": {"verifier": {"kind": "majority"}}}, "entroute.verifier"),
    ],
    ids=str,
)
async def test_a_strategy_that_cannot_honour_a_field_says_which(
    gateway: Client, fields: dict[str, Any], param: str
):
    response = await gateway.chat(**fields)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


@pytest.mark.parametrize("model", ["auto", "small"])
async def test_a_quality_is_refused_where_nothing_predicts_it(gateway: Client, model: str):
    response = await gateway.chat(model=model, entroute={"quality": 0.9})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "entroute.quality"


async def test_auto_chooses_only_what_can_honour_the_request(gateway: Client):
    for fields in ({"n": 2}, {"temperature": 0, "n": 2}, {"tools": [{"type": "function"}]}):
        assert (await gateway.chat("Explain " * 20, model="auto", **fields)).status_code == 200


@pytest.mark.parametrize("name", ["max_calls", "max_generated_tokens"])
async def test_a_budget_that_no_call_fits_is_the_clients_error(gateway: Client, name: str):
    response = await gateway.chat(n=3, entroute={"budget": {name: 1}, "cache": "bypass"})
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == f"entroute.budget.{name}"
    assert error["code"] == "budget_exhausted"
    assert response.headers["x-should-retry"] == "false"


async def test_a_declared_body_that_is_too_large_is_refused_unread(serve: Serve):
    gateway = await serve(server={"max_body_bytes": 1024})
    with pytest.raises(openai.APIStatusError) as raised:
        await gateway.sdk.chat.completions.create(
            model="small", messages=[{"role": "user", "content": "x" * 2000}]
        )
    assert raised.value.status_code == 413
    assert raised.value.code == "request_too_large"


async def test_a_body_of_undeclared_length_is_refused_once_it_is_too_large(serve: Serve):
    gateway = await serve(server={"max_body_bytes": 1024})

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 100

    response = await gateway.http.post(
        f"{gateway.url}/v1/chat/completions", content=pieces(), headers=JSON
    )
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "request_too_large"


async def test_headers_that_are_too_large_are_refused(serve: Serve):
    gateway = await serve(server={"max_header_bytes": 2048})
    assert (await gateway.chat(headers={"x-small": "y" * 100})).status_code == 200
    response = await gateway.chat(headers={"x-large": "y" * 3000})
    assert response.status_code == 431
    assert response.json()["error"]["code"] == "headers_too_large"
    assert response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nowhere", 404),
        ("POST", "/v1/chat/completion", 404),
        ("GET", "/", 404),
        ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/v1/models", 405),
        ("POST", "/metrics", 405),
    ],
)
async def test_other_paths_and_methods_get_openais_error_body(
    gateway: Client, method: str, path: str, status: int
):
    response = await gateway.http.request(method, gateway.url + path)
    assert response.status_code == status
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}


async def test_refused_requests_are_counted(gateway: Client):
    labels = {"endpoint": "chat", "outcome": "client_error"}
    before = await gateway.sample("entroute_requests_total", **labels)
    await gateway.chat(messages=[])
    await gateway.chat(entroute={"nonsense": 1})
    await gateway.chat(model="nonsense")
    assert await gateway.sample("entroute_requests_total", **labels) == before + 3


async def test_a_prompt_beyond_the_context_is_openais_error(serve: Serve, workers: Workers):
    async with fake_worker(model="qwen-tiny", max_model_len=40) as tiny:
        tier = {"name": "tiny", "model": "qwen-tiny", "workers": [{"url": f"{tiny.url}/v1"}]}
        gateway = await serve(tiers=[tier])
        for model in ("tiny", "auto"):
            with pytest.raises(openai.BadRequestError) as raised:
                await gateway.sdk.chat.completions.create(
                    model=model, messages=[{"role": "user", "content": "word " * 60}]
                )
            assert raised.value.code == "context_length_exceeded"
        response = await gateway.chat(model="auto", max_tokens=100)
        assert response.json()["error"]["code"] == "context_length_exceeded"
        assert response.json()["error"]["param"] == "max_tokens"


async def test_under_auto_a_prompt_too_long_for_small_goes_to_large(serve: Serve, workers: Workers):
    async with fake_worker(model="qwen-tiny", max_model_len=40) as tiny:
        large = {
            "name": "large",
            "model": "qwen-large",
            "workers": [{"url": f"{workers.large.url}/v1"}],
        }
        tier = {"name": "tiny", "model": "qwen-tiny", "workers": [{"url": f"{tiny.url}/v1"}]}
        gateway = await serve(tiers=[tier, large])
        response = await gateway.chat("word " * 60, model="auto")
        assert response.status_code == 200
        assert response.headers["x-entroute-tier"] == "large"


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_what_a_worker_finds_wrong_is_the_clients_error_and_never_422(
    gateway: Client, workers: Workers, status: int
):
    await workers.small.script(failure={"kind": "status", "status": status})
    for stream in (False, True):
        response = await gateway.chat(stream=stream)
        assert response.status_code == (413 if status == 413 else 400)
        assert "scripted failure" in response.json()["error"]["message"]


async def test_errors_do_not_disturb_requests_beside_them(gateway: Client):
    good = [gateway.chat() for _ in range(10)]
    bad = [gateway.chat(messages=[]) for _ in range(10)]
    responses = await asyncio.gather(*good, *bad)
    assert [r.status_code for r in responses] == [200] * 10 + [400] * 10
