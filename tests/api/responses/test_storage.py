"""Responses that are kept: read, gone on from, listed, forgotten, and whose they are."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.api.conftest import Client, Serve, Workers, client_of
from tests.api.responses.conftest import answer, events, post
from tests.keys import write_key_file

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def said(workers: Workers) -> list[str]:
    """Return what the latest request to the worker said."""
    return [message["content"] for message in (await workers.bodies())[-1]["messages"]]


async def test_a_response_is_read_again_as_it_was_given(gateway: Client):
    first = await gateway.sdk.responses.create(model="small", input="Hi", metadata={"a": "b"})
    again = await gateway.sdk.responses.retrieve(first.id)
    assert again == first


async def test_a_streamed_response_is_read_again_as_it_ended(gateway: Client):
    last = (await events(gateway)).last
    del last["entroute"]
    assert (await gateway.get(f"/v1/responses/{last['id']}")).json() == last


async def test_a_conversation_goes_on_from_an_id(gateway: Client, workers: Workers):
    await workers.small.script(answers=["a", "b", "c"])
    first = await gateway.sdk.responses.create(model="small", input="1", instructions="Be brief.")
    second = await gateway.sdk.responses.create(
        model="small", input="2", previous_response_id=first.id
    )
    assert await said(workers) == ["1", "a", "2"]  # instructions are not carried over
    await gateway.sdk.responses.create(
        model="small", input="3", previous_response_id=second.id, instructions="Be long."
    )
    assert await said(workers) == ["Be long.", "1", "a", "2", "b", "3"]
    await gateway.sdk.responses.create(model="small", input="4", previous_response_id=first.id)
    assert await said(workers) == ["1", "a", "4"]  # a branch


async def test_a_conversation_outlives_its_beginning(gateway: Client, workers: Workers):
    await workers.small.script(answers=["a", "b"])
    first = await gateway.sdk.responses.create(model="small", input="1")
    second = await answer(gateway, input="2", previous_response_id=first.id)
    await gateway.sdk.responses.delete(first.id)
    await answer(gateway, input="3", previous_response_id=second["id"])
    assert await said(workers) == ["1", "a", "2", "b", "3"]


async def test_a_deleted_response_is_gone(gateway: Client):
    first = await gateway.sdk.responses.create(model="small", input="Hi")
    response = await gateway.http.delete(f"{gateway.url}/v1/responses/{first.id}")
    assert response.json() == {"id": first.id, "object": "response", "deleted": True}
    for ask in (
        gateway.sdk.responses.retrieve(first.id),
        gateway.sdk.responses.delete(first.id),
        gateway.sdk.responses.cancel(first.id),
    ):
        with pytest.raises(openai.NotFoundError):
            await ask
    with pytest.raises(openai.NotFoundError):
        await gateway.sdk.responses.input_items.list(first.id)
    with pytest.raises(openai.BadRequestError):
        await gateway.sdk.responses.create(model="small", input="x", previous_response_id=first.id)


async def test_what_is_not_to_be_stored_is_not(gateway: Client):
    first = await gateway.sdk.responses.create(model="small", input="Hi", store=False)
    with pytest.raises(openai.NotFoundError):
        await gateway.sdk.responses.retrieve(first.id)


async def test_input_items_are_listed_page_by_page(gateway: Client, workers: Workers):
    await workers.small.script(answers=["a", "b"])
    first = await gateway.sdk.responses.create(model="small", input="1")
    second = await gateway.sdk.responses.create(
        model="small",
        input=[{"role": "user", "content": "2"}, {"role": "user", "content": "3"}],
        previous_response_id=first.id,
    )
    for order, wanted in (("asc", ["1", "a", "2", "3"]), ("desc", ["3", "2", "a", "1"])):
        page: Any = gateway.sdk.responses.input_items.list(
            second.id,
            order=order,  # type: ignore[arg-type]
            limit=2,
        )
        assert [item.content[0].text async for item in page] == wanted
    one = await gateway.sdk.responses.input_items.list(first.id)
    assert [item.id.split("_")[0] for item in one.data if item.id] == ["msg"]
    assert not one.has_more


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("order=up", "order"),
        ("after=msg_1", "after"),
    ],
)
async def test_a_wrong_page_is_refused(gateway: Client, query: str, param: str):
    first = await answer(gateway)
    response = await gateway.get(f"/v1/responses/{first['id']}/input_items?{query}")
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


async def test_what_needs_the_background_is_refused(gateway: Client):
    first = await gateway.sdk.responses.create(model="small", input="Hi")
    with pytest.raises(openai.BadRequestError):
        await gateway.sdk.responses.cancel(first.id)
    with pytest.raises(openai.BadRequestError):
        await gateway.sdk.responses.retrieve(first.id, stream=True)


async def test_another_tenants_response_is_unknown(
    serve: Serve, http: httpx.AsyncClient, tmp_path: Path
):
    secrets = {"red-1": "red", "red-2": "red", "blue-1": "blue"}
    keys = write_key_file(
        tmp_path / "keys.yaml", {secret: {"tenant": tenant} for secret, tenant in secrets.items()}
    )
    url = (await serve(auth={"keys_file": str(keys)})).url
    mine, ours, theirs = (client_of(url, http, secret).sdk.responses for secret in secrets)
    first = await mine.create(model="small", input="Hi")
    assert (await ours.retrieve(first.id)).id == first.id
    with pytest.raises(openai.NotFoundError):
        await theirs.retrieve(first.id)
    with pytest.raises(openai.NotFoundError):
        await theirs.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        await theirs.input_items.list(first.id)
    with pytest.raises(openai.BadRequestError) as raised:
        await theirs.create(model="small", input="x", previous_response_id=first.id)
    assert raised.value.code == "previous_response_not_found"
    with pytest.raises(openai.AuthenticationError):
        await client_of(url, http, "nobody").sdk.responses.retrieve(first.id)
    await ours.delete(first.id)


async def test_an_expired_response_is_unknown(serve: Serve):
    gateway = await serve(responses={"ttl_s": 0.2})
    first = await answer(gateway)
    await asyncio.sleep(0.3)
    response = await post(gateway, previous_response_id=first["id"])
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "previous_response_not_found"


async def test_an_operator_may_keep_nothing(serve: Serve):
    gateway = await serve(responses={"store": False})
    first = await answer(gateway, store=True)
    assert first["store"] is False
    assert (await gateway.get(f"/v1/responses/{first['id']}")).status_code == 404
    response = await post(gateway, previous_response_id=first["id"])
    assert response.json()["error"]["code"] == "previous_response_not_found"


async def test_a_response_that_is_too_large_is_delivered_and_not_kept(serve: Serve):
    gateway = await serve(responses={"max_bytes": 2048})
    response = await post(gateway, input="x" * 2048)
    assert response.status_code == 200
    assert response.headers["x-entroute-degraded"] == "responses"
    last = (await events(gateway, input="x" * 2048)).last
    assert last["entroute"]["degraded"] == ["responses"]
    for name in (response.json()["id"], last["id"]):
        assert (await gateway.get(f"/v1/responses/{name}")).status_code == 404
    assert await gateway.sample("entroute_stored_responses_total", result="too_large") == 2
    assert await gateway.sample("entroute_degraded_total", part="responses") == 2


async def test_what_becomes_of_responses_is_counted(serve: Serve):
    gateway = await serve()
    first = await answer(gateway)
    await gateway.get(f"/v1/responses/{first['id']}")
    await gateway.get("/v1/responses/resp_1")
    await gateway.http.delete(f"{gateway.url}/v1/responses/{first['id']}")
    for result, count in {"kept": 1, "found": 1, "missing": 1, "deleted": 1, "damaged": 0}.items():
        assert await gateway.sample("entroute_stored_responses_total", result=result) == count


async def test_a_keys_limits_hold_here_too(serve: Serve, http: httpx.AsyncClient, tmp_path: Path):
    limits = {"requests_per_minute": 1}
    keys = write_key_file(tmp_path / "keys.yaml", {"red-1": {"tenant": "red", "limits": limits}})
    url = (await serve(auth={"keys_file": str(keys)})).url
    sdk = client_of(url, http, "red-1").sdk
    first = await sdk.responses.create(model="small", input="Hi")
    with pytest.raises(openai.RateLimitError):
        await sdk.responses.create(model="small", input="Hi")
    with pytest.raises(openai.RateLimitError):
        async with sdk.responses.stream(model="small", input="Hi"):
            pass
    assert (await sdk.responses.retrieve(first.id)).id == first.id  # reading costs nothing
