"""Leaving a strategy while its samples run."""

import asyncio

import pytest

from entroute.protocols import Run, Strategy
from tests.builders import settle
from tests.scripted import FakeBackend


async def leave(strategy: Strategy, run: Run, backend: FakeBackend, *, live: int) -> None:
    """Leave a strategy that has so many samples open, and see that none is left."""
    task = asyncio.create_task(strategy.run(run))
    await settle()
    assert backend.running == live
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert backend.running == 0
