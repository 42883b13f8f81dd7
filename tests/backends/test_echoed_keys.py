"""A worker's key goes to the worker alone, and what the worker says of it goes nowhere."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from entroute.backends.http_worker import Timeouts
from entroute.backends.worker import Worker
from entroute.errors import WorkerError, WorkerFailed, WorkerRejected
from tests.builders import a_call, read_until
from tests.echoing import Echo, echoing
from tests.scripted import FakeClock

KEY = "wk+small/key=of%a_worker"
MODES = (400, 401, 422, 429, 500, "text", "malformed", "not an object", "another shape")
STREAMED = ("stream error", "stream garbage")


@pytest_asyncio.fixture
async def echo() -> AsyncIterator[Echo]:
    async with echoing() as echo:
        yield echo


@pytest_asyncio.fixture
async def worker(echo: Echo) -> AsyncIterator[Worker]:
    async with aiohttp.ClientSession() as session:
        yield Worker(
            f"{echo.url}/v1",
            model="qwen-small",
            tier="small",
            session=session,
            clock=FakeClock(),
            timeouts=Timeouts(),
            api_key=KEY,
        )


def said_by(error: BaseException) -> str:
    """Return all that an error and its causes would print."""
    parts = []
    cause: BaseException | None = error
    while cause is not None:
        parts += [str(cause), repr(getattr(cause, "param", "")), repr(getattr(cause, "code", ""))]
        cause = cause.__cause__
    return "\n".join(parts)


@pytest.mark.parametrize("mode", MODES)
async def test_no_answer_tells_the_key(worker: Worker, echo: Echo, mode: str | int):
    echo.mode = mode
    with pytest.raises((WorkerError, WorkerRejected)) as raised:
        await worker.complete(a_call())
    assert "wk+small" not in said_by(raised.value)


@pytest.mark.parametrize("mode", [*MODES[:6], *STREAMED])
async def test_no_stream_tells_the_key(worker: Worker, echo: Echo, mode: str | int):
    echo.mode = mode
    with pytest.raises((WorkerError, WorkerRejected)) as raised:
        await read_until(worker.stream(a_call()), ZeroDivisionError)
    assert "wk+small" not in said_by(raised.value)
    assert "api_key" in said_by(raised.value)


async def test_a_redirect_is_not_followed(worker: Worker, echo: Echo):
    echo.mode = "redirect"
    with pytest.raises(WorkerFailed, match="answered 307"):
        await worker.complete(a_call())
    assert echo.asked == {"/v1/chat/completions"}
