"""A gateway of this process before two fake workers, as the tests of the API have it."""

from tests.api.conftest import (
    fake_workers,
    gateway,
    http,
    serve,
    shared_gateway,
    workers,
)

__all__ = ["fake_workers", "gateway", "http", "serve", "shared_gateway", "workers"]
