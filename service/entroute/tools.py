"""What the walk and the edge use beside the walk's own parts, each with a life of its own."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx

from entroute.feedback.feedback import Feedback, Origin
from entroute.profile.profile import Profile
from entroute.protocols import Clock
from entroute.redis_links import RedisLinks
from entroute.sandbox.server import StartedSandbox
from entroute.settings import Settings
from entroute.stores import Store
from entroute.stores.memory import MemoryStore
from entroute.stores.redis import RedisStore
from entroute.verifiers.reward_endpoint import RewardClient
from entroute.verifiers.symbolic import SymbolicEquality

STORE_BYTES = 64 * 1024 * 1024
"""Bytes of shared state that a gateway without Redis keeps."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What strategies and verifiers use, each with a life of its own.

    Attributes:
        symbolic: Compares formulas.
        sandbox: Runs programs, None where none is configured.
        rewards: Reward models by name.
        client: Their connections.
        feedback: Takes outcome labels.
        links: Connections to Redis.
        store: State shared with other gateways where there is a Redis, else of this process.
    """

    symbolic: SymbolicEquality
    sandbox: StartedSandbox | None
    rewards: Mapping[str, RewardClient]
    client: httpx.AsyncClient
    feedback: Feedback
    links: RedisLinks
    store: Store

    async def start(self, stack: AsyncExitStack) -> None:
        """Start them, each to be closed by `stack`."""
        stack.push_async_callback(self.client.aclose)
        stack.push_async_callback(self.links.close)
        self.symbolic.start()
        stack.push_async_callback(self.symbolic.close)
        if self.sandbox is not None:
            stack.push_async_callback(self.sandbox.close)
            await self.sandbox.start()
        stack.push_async_callback(self.feedback.close)
        await self.feedback.start()


def built_tools(settings: Settings, profile: Profile | None, clock: Clock) -> Tools:
    """Return them, not started."""
    origin = Origin() if profile is None else Origin.of(profile.digest, profile.made.at)
    links = RedisLinks(clock)
    client = httpx.AsyncClient(trust_env=False)  # a proxy has no business with reward models
    return Tools(
        SymbolicEquality(),
        None if settings.sandbox is None else settings.sandbox.build(),
        {endpoint.name: RewardClient(endpoint, client) for endpoint in settings.rewards},
        client,
        settings.feedback.build(clock, origin, links),
        links,
        _store(settings, links, clock),
    )


def _store(settings: Settings, links: RedisLinks, clock: Clock) -> Store:
    redis = settings.shared_redis
    if redis is None:
        return MemoryStore(STORE_BYTES, clock)
    return RedisStore(links.to(redis.url.get_secret_value(), redis.timeout_ms / 1000))
