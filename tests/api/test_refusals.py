"""What is refused before the walk: fields that evade accounting; counted and logged, once."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.api.conftest import Client, Serve, Workers

pytestmark = pytest.mark.asyncio(loop_scope="session")

ASK: list[Any] = [{"role": "user", "content": "Hi"}]
JSON = {"content-type": "application/json"}
GOOD = b'{"model": "small", "messages": [{"role": "user", "content": "Hi"}]}'
PRIVATE = {
    "n_predict": 5000,
    "n_cmpl": 8,
    "id_slot": 1,
    "best_of": 4,
    "use_beam_search": True,
    "request_id": "another's",
    "priority": -1,
}


@pytest.mark.parametrize("field", PRIVATE)
@pytest.mark.parametrize("path", ["chat/completions", "completions"])
async def test_fields_that_evade_the_accounting_are_refused(
    gateway: Client, workers: Workers, field: str, path: str
):
    body: dict[str, Any] = {"model": "small", field: PRIVATE[field]}
    body |= {"messages": ASK} if path == "chat/completions" else {"prompt": "Hi"}
    response = await gateway.post(path, body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == field
    assert await workers.bodies() == []


async def undeclared() -> AsyncIterator[bytes]:
    for _ in range(20):
        yield b" " * 100


CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
REFUSED: dict[str, tuple[str, Callable[[], Any], dict[str, str]]] = {
    "declared": (CHAT, lambda: b" " * 2000, {}),
    "undeclared": (TEXT, undeclared, {}),
    "headers": (CHAT, lambda: GOOD, {"x-large": "y" * 3000}),
    "field": (CHAT, lambda: b'{"model": "small"}', {}),
    "option": (TEXT, lambda: b'{"model": "small", "prompt": ""}', {"x-entroute-quality": "2"}),
    "model": (CHAT, lambda: GOOD.replace(b"small", b"none"), {}),
    "path": ("/v1/nowhere", lambda: b"", {}),
}


@pytest.mark.parametrize(
    ("case", "endpoint", "error", "status"),
    [
        ("declared", "chat", "RequestTooLarge", 413),
        ("undeclared", "completions", "RequestTooLarge", 413),
        ("headers", "chat", "HeadersTooLarge", 431),
        ("field", "chat", "InvalidRequest", 400),
        ("option", "completions", "InvalidRequest", 400),
        ("model", "chat", "NotFound", 404),
        ("path", "other", "NotFound", 404),
    ],
)
async def test_a_refused_request_is_counted_and_logged_once(
    serve: Serve, case: str, endpoint: str, error: str, status: int
):
    gateway = await serve(server={"max_body_bytes": 1024, "max_header_bytes": 2048})
    path, content, headers = REFUSED[case]
    with capture_logs() as lines:
        response = await gateway.http.post(
            gateway.url + path, content=content(), headers={**JSON, **headers}
        )
    assert response.status_code == status
    assert await gateway.sample("entroute_requests_total") == 1
    labels = {"endpoint": endpoint, "outcome": "client_error"}
    assert await gateway.sample("entroute_requests_total", **labels) == 1
    (line,) = [line for line in lines if line["event"] == "request"]
    assert line["request_id"] == response.headers["x-request-id"]
    assert (line["endpoint"], line["error"], line["result"]) == (endpoint, error, "client_error")
