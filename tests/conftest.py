"""Fixtures that tests of several folders share."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.redis_server import RedisServer, redis_server

# A busy machine is no defect: time is limited for a whole test, not for an example.
settings.register_profile("entroute", deadline=None)
settings.load_profile("entroute")


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    """One real Redis for the whole run; give every test a key prefix of its own."""
    with redis_server() as server:
        yield server
