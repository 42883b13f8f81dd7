"""What the walk and the edge use beside the walk's own parts, each with a life of its own."""

import platform
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx

import entroute
from entroute.cache import NoCacheConfig
from entroute.cache.executions import KeptExecutions
from entroute.feedback.feedback import Feedback, Origin
from entroute.profile.profile import Profile
from entroute.protocols import Clock, Sandbox
from entroute.sandbox.server import StartedSandbox
from entroute.settings import Settings
from entroute.shared import Shared, built_shared
from entroute.stores import Store
from entroute.verifiers.reward_endpoint import RewardClient
from entroute.verifiers.symbolic import SymbolicEquality


@dataclass(frozen=True, slots=True)
class Tools:
    """What strategies and verifiers use, each with a life of its own.

    Attributes:
        symbolic: Compares formulas.
        sandbox: Runs programs, None where none is configured.
        programs: Runs them too, equal ones once where results are kept.
        rewards: Reward models by name.
        client: Their connections.
        feedback: Takes outcome labels.
        shared: What other gateways share where there is a Redis.
    """

    symbolic: SymbolicEquality
    sandbox: StartedSandbox | None
    rewards: Mapping[str, RewardClient]
    client: httpx.AsyncClient
    feedback: Feedback
    shared: Shared
    programs: Sandbox | None

    async def start(self, stack: AsyncExitStack) -> None:
        """Start them, each to be closed by `stack`."""
        stack.push_async_callback(self.client.aclose)
        await self.shared.start(stack)
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
    shared = built_shared(settings, clock)
    client = httpx.AsyncClient(trust_env=False)  # a proxy has no business with reward models
    sandbox = None if settings.sandbox is None else settings.sandbox.build()
    return Tools(
        SymbolicEquality(),
        sandbox,
        {endpoint.name: RewardClient(endpoint, client) for endpoint in settings.rewards},
        client,
        settings.feedback.build(clock, origin, shared.links),
        shared,
        _programs(settings, sandbox, shared.store),
    )


def _programs(settings: Settings, sandbox: Sandbox | None, store: Store) -> Sandbox | None:
    """Return what runs programs, whose results are kept where votes are resumed."""
    cache, config = settings.cache, settings.sandbox
    if sandbox is None or config is None or isinstance(cache, NoCacheConfig) or not cache.resume:
        return sandbox
    where = config.model_dump_json(exclude={"workers", "warm", "queue", "start_s", "api_key"})
    return KeptExecutions(
        sandbox,
        store,
        cache.ttl_s,
        f"{entroute.__version__} {platform.python_version()} {where}",
        across_tenants=cache.across_tenants,
    )
