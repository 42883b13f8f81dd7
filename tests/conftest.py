"""Fixtures that tests of several folders share."""

from collections.abc import Iterator

import pytest

from tests.redis_server import RedisServer, redis_server


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    """One real Redis for the whole run; give every test a key prefix of its own."""
    with redis_server() as server:
        yield server
