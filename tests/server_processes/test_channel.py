"""What a server process and its supervisor tell each other, and what they write together."""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry, Counter

from entroute.errors import ConfigurationError, EntrouteError, WeightsError
from entroute.processes.census import Census
from entroute.processes.families import decode
from entroute.processes.frames import Kind, packed, received
from entroute.processes.membership import Membership
from entroute.processes.server_process import ServerProcess
from tests.gateway_process import child_environment

Pair = tuple[Membership, ServerProcess]
LONG = 100_000


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """Both ends of a channel; the process behind it has ended."""
    ours, theirs = socket.socketpair()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    census = Census(CollectorRegistry())
    channel = await asyncio.open_unix_connection(sock=ours)
    end = ServerProcess(3, process, channel, census.page)
    membership = Membership(*(await asyncio.open_unix_connection(sock=theirs)))
    yield membership, end
    await membership.close()
    await end.ended()


@pytest.mark.parametrize(
    ("error", "code"), [(ConfigurationError("tiers: no"), 2), (WeightsError("gone"), 1)]
)
async def test_a_process_fails_in_its_own_words(pair: Pair, error: EntrouteError, code: int):
    membership, end = pair
    assert await membership.failed(error) == code
    status = await end.ended()
    assert (str(end.failure(status)), end.failure(status).code) == (str(error), code)


async def test_a_process_without_words_fails_with_its_status(pair: Pair):
    _, end = pair
    assert end.failure(3).code == 3
    assert end.failure(-9).code == 1
    assert "server process 3 ended with status -9" in str(end.failure(-9))


async def test_only_a_ready_process_is_asked_and_a_late_answer_counts(pair: Pair):
    membership, end = pair
    registry = CollectorRegistry()
    counter = Counter("entroute_x", "X.", registry=registry)
    await end.count(5)
    assert not owing(end)
    membership.ready()
    await end.ready.wait()
    await end.count(0.01)  # nobody attends yet
    assert owing(end)
    await end.count(1000)  # does not wait again
    counter.inc(7)
    attending = asyncio.create_task(membership.attend(registry, lambda _: None))
    async with asyncio.timeout(10):
        while owing(end):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert end.counted is not None
    assert decode(end.counted)["entroute_x"].series["entroute_x_total", ()] == 7
    attending.cancel()


def owing(process: ServerProcess) -> bool:
    return process.silent


async def test_frames_arrive_as_they_were_sent_and_the_end_is_told():
    reader = asyncio.StreamReader()
    reader.feed_data(packed(Kind.READY) + packed(Kind.PAGE, b"x" * LONG) + packed(Kind.PAGE)[:3])
    reader.feed_eof()
    assert await received(reader) == (Kind.READY, b"")
    assert await received(reader) == (Kind.PAGE, b"x" * LONG)
    assert await received(reader) is None


def test_a_log_line_is_one_write_however_long():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * LONG)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * LONG)
    program = (
        "import logging, structlog\n"
        "from entroute.telemetry.logs import configure_logs\n"
        "configure_logs('info', process=2)\n"
        "logging.getLogger('a').info('short')\n"
        f"structlog.get_logger('b').info('long', text='x' * {LONG})\n"
    )
    with ours, theirs:
        ours.settimeout(30)
        subprocess.run(
            [sys.executable, "-c", program],
            env=child_environment({}),
            stderr=theirs.fileno(),
            check=True,
        )
        writes = [ours.recv(2 * LONG) for _ in range(2)]
    lines = [json.loads(write) for write in writes]  # each of them whole
    assert [line["event"] for line in lines] == ["short", "long"]
    assert [line["process"] for line in lines] == [2, 2]
    assert all(write.endswith(b"}\n") for write in writes)
