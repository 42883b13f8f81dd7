"""SIGTERM: what runs may end, nothing new is taken, and the exit is clean."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import Workers, base_settings, client_of, eventually
from tests.gateway_process import Served, served
from tests.openai_wire import CheckedTransport, Events, read_events
from tests.raw_http import connected

pytestmark = pytest.mark.asyncio(loop_scope="session")

LATE_S = 30.0  # on a busy machine


def asked(text: str, *, stream: bool = True) -> dict[str, Any]:
    return {"model": "small", "messages": [{"role": "user", "content": text}], "stream": stream}


@asynccontextmanager
async def running(folder: Path, workers: Workers, **server: Any) -> AsyncIterator[Served]:
    """Run a gateway; at the end it has exited with 0 and without a traceback."""
    with served(folder, base_settings(workers, server=server)) as gateway:
        yield gateway
        assert await asyncio.to_thread(gateway.process.wait, LATE_S) == 0
    assert "Traceback" not in gateway.log.read_text()


@asynccontextmanager
async def patient() -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None)
    transport = CheckedTransport(limits=limits)
    async with httpx.AsyncClient(transport=transport, timeout=LATE_S) as client:
        yield client


async def busy(workers: Workers, wanted: int) -> bool:
    """Wait until the small worker is answering so many calls."""

    async def read() -> float:
        return (await workers.small.metrics())["vllm:num_requests_running"]

    return await eventually(read, wanted, within_s=LATE_S)


async def until_refused(url: str) -> None:
    """Wait until nobody listens at an address."""
    async with asyncio.timeout(LATE_S):
        while True:
            try:
                async with connected(url):
                    await asyncio.sleep(0.02)
            except ConnectionRefusedError:
                return


def lines_of(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def requests_in(log: Path) -> list[dict[str, Any]]:
    return [line for line in lines_of(log) if line["event"] == "request"]


def texts(answers: Sequence[httpx.Response]) -> list[str]:
    """Return what was answered, each held to be whole."""
    found = []
    for answer in answers:
        assert answer.status_code == 200, answer.text
        if answer.headers["content-type"].startswith("text/event-stream"):
            events = read_events(answer.text)
            assert events.done
            found.append(events.text)
        else:
            found.append(answer.json()["choices"][0]["message"]["content"])
    return found


async def test_no_answer_of_many_is_lost(workers: Workers, tmp_path: Path):
    await workers.small.script(tokens=60, tokens_per_second=30)
    async with running(tmp_path, workers) as gateway, patient() as http:
        url = f"{gateway.url}/v1/chat/completions"
        bodies = [asked(f"number {n}", stream=bool(n % 4)) for n in range(40)]
        asking = [asyncio.create_task(http.post(url, json=body)) for body in bodies]
        assert await busy(workers, 40)
        gateway.terminate()
        await until_refused(gateway.url)
        assert not any(task.done() for task in asking)
        answers = texts(await asyncio.gather(*asking))
    assert answers == [" ".join(f"word{n}" for n in range(60))] * 40
    assert [line["result"] for line in requests_in(gateway.log)] == ["ok"] * 40


async def test_new_requests_are_taken_during_the_delay(workers: Workers, tmp_path: Path):
    async with (
        running(tmp_path, workers, drain_delay_s=1.5) as gateway,
        patient() as http,
    ):
        client = client_of(gateway.url, http)
        begun = time.monotonic()
        gateway.terminate()
        await asyncio.sleep(0.2)
        readiness = await client.get("/readyz")
        assert (readiness.status_code, readiness.json()) == (503, {"status": "draining"})
        assert await client.sample("entroute_draining") == 1
        answer = await client.chat()
        assert answer.status_code == 200
        assert answer.headers["connection"] == "close"
        await until_refused(gateway.url)
        assert time.monotonic() - begun >= 1.5


async def test_ctrl_c_does_not_wait_for_the_delay(workers: Workers, tmp_path: Path):
    async with running(tmp_path, workers, drain_delay_s=600) as gateway:
        gateway.process.send_signal(signal.SIGINT)
        await until_refused(gateway.url)


async def test_who_asks_on_a_kept_connection_is_answered_and_sent_away(
    workers: Workers, tmp_path: Path
):
    await workers.small.script(tokens=200, tokens_per_second=50)
    async with running(tmp_path, workers) as gateway, patient() as http:
        url = f"{gateway.url}/v1/chat/completions"
        stream = asyncio.create_task(http.post(url, json=asked("the stream")))
        async with connected(gateway.url) as kept:
            before = await kept.get("/readyz")
            assert "connection" not in before.headers
            assert await busy(workers, 1)
            gateway.terminate()
            await until_refused(gateway.url)
            answer = await kept.get("/v1/models")
            assert answer.status == 200
            assert answer.headers["connection"] == "close"
            assert await kept.ended()
        assert len(texts([await stream])[0].split()) == 200


async def test_an_idle_connection_does_not_hold_the_server(workers: Workers, tmp_path: Path):
    async with running(tmp_path, workers) as gateway, connected(gateway.url) as idle:
        await idle.get("/healthz")
        gateway.terminate()
        assert await idle.ended()


async def test_what_outlives_the_drain_is_told_so(workers: Workers, tmp_path: Path):
    await workers.small.script(tokens=5000, tokens_per_second=50)
    async with running(tmp_path, workers, drain_s=1.0) as gateway, patient() as http:
        url = f"{gateway.url}/v1/chat/completions"
        streamed = [asyncio.create_task(http.post(url, json=asked(f"s {n}"))) for n in range(5)]
        body = asked("whole", stream=False)
        whole = asyncio.create_task(http.post(url, json=body))
        assert await busy(workers, 6)
        gateway.terminate()
        refusal = await whole
        assert refusal.status_code == 503
        assert refusal.headers["retry-after"] == "1"
        assert refusal.headers["x-should-retry"] == "true"
        assert refusal.headers["connection"] == "close"
        assert refusal.json()["error"]["code"] == "draining"
        for answer in await asyncio.gather(*streamed):
            assert_cut(read_events(answer.text))
        assert await busy(workers, 0)
    lines = requests_in(gateway.log)
    assert [(x["result"], x["error"]) for x in lines] == [("server_error", "ShuttingDown")] * 6
    assert all(line["completion_tokens"] > 0 for line in lines if line["streamed"])


def assert_cut(events: Events) -> None:
    """Hold a stream to be the beginning of an answer, then the error that says why it ends."""
    assert not events.done
    assert events.error is not None
    assert (events.error["code"], events.error["type"]) == ("draining", "server_error")
    words = events.text.split()
    assert words == [f"word{n}" for n in range(len(words))]
    assert words


async def test_a_streamed_response_that_is_cut_says_that_it_failed(
    workers: Workers, tmp_path: Path
):
    await workers.small.script(tokens=5000, tokens_per_second=50)
    async with running(tmp_path, workers, drain_s=0.5) as gateway, patient() as http:
        body = {"model": "small", "input": "Hi", "stream": True}
        asking = asyncio.create_task(http.post(f"{gateway.url}/v1/responses", json=body))
        assert await busy(workers, 1)
        gateway.terminate()
        answer = await asking
    last = json.loads(answer.text.rstrip().rpartition("data: ")[2])
    assert last["type"] == "response.failed"
    assert last["response"]["status"] == "failed"


async def test_a_stream_of_keep_alives_ends_with_the_drain(workers: Workers, tmp_path: Path):
    await workers.small.script(ttft_ms=60_000)
    async with running(tmp_path, workers, drain_s=1.0, keep_alive_s=0.2) as gateway:
        async with patient() as http:
            url = f"{gateway.url}/v1/chat/completions"
            asking = asyncio.create_task(http.post(url, json=asked("slow")))
            assert await busy(workers, 1)
            await asyncio.sleep(0.5)
            gateway.terminate()
            events = read_events((await asking).text)
        assert events.comments
        assert events.error is not None
        assert events.error["code"] == "draining"
        assert await busy(workers, 0)


async def test_a_client_that_does_not_read_holds_nobody_up(workers: Workers, tmp_path: Path):
    await workers.small.script(tokens=100_000)
    async with (
        running(tmp_path, workers, drain_s=0.5) as gateway,
        connected(gateway.url) as deaf,
    ):
        data = json.dumps(asked("much")).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(data)}\r\n"
        deaf.writer.write(f"{head}content-type: application/json\r\n\r\n".encode() + data)
        assert await deaf.reader.readexactly(12) == b"HTTP/1.1 200"
        gateway.terminate()
        begun = time.monotonic()
        assert await asyncio.to_thread(gateway.process.wait, LATE_S) == 0
        assert time.monotonic() - begun < LATE_S


async def test_a_body_that_never_ends_is_refused_at_the_end(workers: Workers, tmp_path: Path):
    async with running(tmp_path, workers, drain_s=1.0) as gateway:
        async with connected(gateway.url) as slow:
            head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n"
            slow.writer.write(head + b"content-type: application/json\r\n\r\n{")
            await asyncio.sleep(0.3)
            gateway.terminate()
            answer = await slow.reader.read()
        assert answer.startswith(b"HTTP/1.1 503")
        assert b'"code":"draining"' in answer


async def test_a_second_ctrl_c_forces(workers: Workers, tmp_path: Path):
    await workers.small.script(tokens=100_000, tokens_per_second=10)
    settings = base_settings(workers)
    with served(tmp_path, settings) as gateway:
        async with patient() as http:
            url = f"{gateway.url}/v1/chat/completions"
            asking = asyncio.create_task(http.post(url, json=asked("endless")))
            assert await busy(workers, 1)
            gateway.process.send_signal(signal.SIGINT)
            await until_refused(gateway.url)
            gateway.process.send_signal(signal.SIGINT)
            assert await asyncio.to_thread(gateway.process.wait, LATE_S) == 0
            await asyncio.wait([asking])
        assert await busy(workers, 0)
