"""Fixtures that tests of several folders share."""

import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.redis_server import REDIS_8, RedisServer, redis_server

# A busy machine is no defect: time is limited for a whole test, not for an example.
settings.register_profile("entroute", deadline=None)
settings.load_profile("entroute")

# A run in the background ignores Ctrl-C, and so would every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    """One real Redis for the whole run; give every test a key prefix of its own."""
    with redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def redis8() -> Iterator[RedisServer]:
    """One real Redis 8, which has vector sets, for the whole run; see `redis`."""
    with redis_server(binary=REDIS_8) as server:
        yield server
