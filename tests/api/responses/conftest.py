"""What the tests of `/v1/responses` share."""

from typing import Any

import httpx

from tests.api.conftest import Client
from tests.responses_wire import TypedEvents, read_typed_events

WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": True,
}


async def post(
    gateway: Client, *, headers: dict[str, str] | None = None, **fields: Any
) -> httpx.Response:
    """Ask the small tier, or `model`, for a response."""
    body = {"model": "small", "input": "Hi", **fields}
    return await gateway.post("responses", body, headers)


async def answer(
    gateway: Client, *, headers: dict[str, str] | None = None, **fields: Any
) -> dict[str, Any]:
    """Ask as `post` does and return the body of a good response."""
    response = await post(gateway, headers=headers, **fields)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


async def events(
    gateway: Client, *, headers: dict[str, str] | None = None, **fields: Any
) -> TypedEvents:
    """Ask as `post` does for a stream and read it to its end."""
    response = await post(gateway, headers=headers, stream=True, **fields)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    return read_typed_events(response.text)
