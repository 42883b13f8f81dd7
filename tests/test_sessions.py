"""Connections to workers are shared while their limits are the same, and closed once."""

from contextlib import AsyncExitStack

from entroute.sessions import Sessions
from entroute.settings import Settings
from tests.gateway_process import two_tiers


def settings(connect_s: float) -> Settings:
    base = two_tiers("http://127.0.0.1:1", "http://127.0.0.1:2")
    return Settings.model_validate({**base, "timeouts": {"connect_s": connect_s}})


async def test_fleets_of_the_same_limits_share_until_the_last_is_closed():
    sessions = Sessions()
    async with AsyncExitStack() as one, AsyncExitStack() as other:
        first = await one.enter_async_context(sessions.lease(settings(1)))
        second = await other.enter_async_context(sessions.lease(settings(1)))
        assert first is second
        await one.aclose()
        assert not second.closed
        await other.aclose()
        assert second.closed


async def test_other_limits_are_other_connections():
    sessions = Sessions()
    async with sessions.lease(settings(1)) as one, sessions.lease(settings(2)) as other:
        assert one is not other
        assert other.timeout.sock_connect == 2


async def test_what_was_closed_is_opened_anew():
    sessions = Sessions()
    async with sessions.lease(settings(1)) as before:
        pass
    async with sessions.lease(settings(1)) as after:
        assert before.closed
        assert not after.closed
