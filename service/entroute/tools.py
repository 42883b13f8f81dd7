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

    def follow(self, settings: Settings, profile: Profile | None) -> None:
        """Go on under another configuration, as far as it concerns them.

        Raises:
            ConfigurationError: The profile does not say when it was made; nothing has changed.
        """
        origin = _origin(profile)
        self.shared.follow(settings)
        self.feedback.follow(origin)


def built_tools(settings: Settings, profile: Profile | None, clock: Clock) -> Tools:
    """Return them, not started."""
    shared = built_shared(settings, clock)
    client = httpx.AsyncClient(trust_env=False)  # a proxy has no business with reward models
    sandbox = None if settings.sandbox is None else settings.sandbox.build()
    return Tools(
        SymbolicEquality(),
        sandbox,
        rewards_of(settings, client),
        client,
        settings.feedback.build(clock, _origin(profile), shared.links),
        shared,
        _programs(settings, sandbox, shared.store),
    )


def rewards_of(settings: Settings, client: httpx.AsyncClient) -> dict[str, RewardClient]:
    """Return the reward models by name."""
    return {endpoint.name: RewardClient(endpoint, client) for endpoint in settings.rewards}


def _origin(profile: Profile | None) -> Origin:
    return Origin() if profile is None else Origin.of(profile.digest, profile.made.at)


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
