"""The configuration: one YAML file and `ENTROUTE_*` environment variables, unknown keys refused."""

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from entroute.cache import CacheConfig, MemoryCacheConfig, RedisCacheConfig
from entroute.difficulty import ChainConfig, DifficultyConfig
from entroute.feedback import FeedbackConfig, MemoryFeedbackConfig
from entroute.redis_link.budgeted import RedisUrl
from entroute.resilience_settings import (
    BreakerSettings,
    HealthSettings,
    OutlierSettings,
    QueueSettings,
    RetrySettings,
    ShedSettings,
    TimeoutSettings,
)
from entroute.routing import PolicyConfig, StaticConfig, ThresholdConfig
from entroute.sandbox import SandboxConfig
from entroute.server_settings import LOOPBACK, ServerSettings
from entroute.spending import BudgetLimits
from entroute.strategies import (
    DEFAULT_STRATEGIES,
    NEED_VERIFIER,
    RUN_PROGRAMS,
    StrategyConfig,
)
from entroute.strategies.cascade import CascadeConfig
from entroute.telemetry.tracing_settings import TracingSettings
from entroute.tenants.auth_settings import AuthSettings
from entroute.tier_settings import EmbeddingSettings, TierSettings
from entroute.verifiers.reward_endpoint import RewardEndpoint


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LimitSettings(_Strict):
    """The most that one request may spend, whatever its client asks."""

    max_calls: int = Field(default=16, ge=1, le=1024, description="Calls to workers.")
    max_generated_tokens: int = Field(default=65536, ge=1, description="Tokens over all calls.")
    deadline_s: float = Field(default=300.0, gt=0, description="Seconds from arrival.")
    max_cost_usd: float | None = Field(default=None, ge=0, description="Dollars over all calls.")

    def build(self) -> BudgetLimits:
        """Return the limits."""
        return BudgetLimits(**self.model_dump())


class RedisSettings(_Strict):
    """The Redis that all gateways of one deployment share."""

    url: RedisUrl
    timeout_ms: int = Field(
        default=50,
        gt=0,
        description="Milliseconds one operation may take; after that the gateway goes on without.",
    )


class ResponsesSettings(_Strict):
    """Responses of `/v1/responses` that clients may read again and go on from."""

    store: bool = Field(
        default=True, description="Keep responses; without, all are as if sent with store: false."
    )
    ttl_s: float = Field(
        default=30 * 24 * 3600.0, gt=0, description="Seconds that a response is kept."
    )
    max_bytes: int = Field(
        default=1024 * 1024,
        ge=1024,
        le=64 * 1024 * 1024,
        description="Largest response that is kept, with the whole conversation before it.",
    )


def with_default_kinds(data: Any) -> Any:
    """Let one override a field of a default part without repeating its kind."""
    if not isinstance(data, dict):
        return data
    kinds = {
        "cache": "memory",
        "difficulty": "chain",
        "policy": "threshold",
        "feedback": "memory",
    }
    data = _with_shared_parts(data)
    named = {
        name: {"kind": kind, **data[name]}
        for name, kind in kinds.items()
        if isinstance(data.get(name), dict)
    }
    return {**data, **named}


def _with_shared_parts(data: dict[str, Any]) -> dict[str, Any]:
    """Let several processes keep in Redis what nobody said where to keep."""
    server, redis, cache = (data.get(name) for name in ("server", "redis", "cache"))
    asked = str(server.get("processes")) if isinstance(server, dict) else ""
    if not asked.isdecimal() or int(asked) == 1:
        return data
    if redis is None and isinstance(cache, dict) and cache.get("kind") == "redis":
        redis = {name: cache[name] for name in ("url", "timeout_ms") if name in cache}
    if not isinstance(redis, dict):
        return data
    parts = {
        name: {"kind": "redis", **part}
        for name in ("cache", "feedback")
        if isinstance(part := data.get(name, {}), dict)
    }
    return {**data, "redis": redis, **parts}


def with_shared_redis(data: Any) -> Any:
    """Let every part that uses Redis, and names none of its own, use the one at `redis`."""
    shared = data.get("redis") if isinstance(data, dict) else None
    if not isinstance(shared, dict):
        return data
    users = {
        name: {**shared, **part}
        for name in ("cache", "feedback")
        if isinstance(part := data.get(name), dict)
        and part.get("kind") == "redis"
        and "url" not in part
    }
    return {**data, **users}


class Settings(_Strict):
    """Everything that can be configured."""

    server: ServerSettings = Field(default=ServerSettings(), description="The HTTP server.")
    tiers: tuple[TierSettings, ...] = Field(min_length=1, description="Tiers, cheapest first.")
    embeddings: tuple[EmbeddingSettings, ...] = Field(
        default=(), description="Tiers that embed, the first of them for `auto`."
    )
    redis: RedisSettings | None = Field(
        default=None,
        description="The Redis that gateways share; the cache's when left out and that is one.",
    )
    cache: CacheConfig = Field(default=MemoryCacheConfig(), description="Where answers are kept.")
    difficulty: DifficultyConfig = Field(default=ChainConfig(), description="How hard is a prompt.")
    policy: PolicyConfig = Field(default=ThresholdConfig(), description="What to spend on it.")
    profile: Path | None = Field(
        default=None,
        description="What `entroute calibrate` found for these tiers; the shipped profile for the "
        "embedded models when left out.",
    )
    feedback: FeedbackConfig = Field(
        default=MemoryFeedbackConfig(), description="Where outcome labels are kept."
    )
    responses: ResponsesSettings = Field(
        default=ResponsesSettings(), description="Responses that are kept."
    )
    strategies: tuple[StrategyConfig, ...] = Field(
        default=(), description="Strategies with other than their default settings."
    )
    sandbox: SandboxConfig | None = Field(
        default=None,
        description="Where programs that models write are run; nothing is run when left out.",
    )
    rewards: tuple[RewardEndpoint, ...] = Field(
        default=(), description="Reward models that the verifier `reward` may ask, by name."
    )
    limits: LimitSettings = Field(default=LimitSettings(), description="Caps of one request.")
    timeouts: TimeoutSettings = Field(default=TimeoutSettings(), description="Of worker calls.")
    health: HealthSettings = Field(default=HealthSettings(), description="Health sweeps.")
    retries: RetrySettings = Field(default=RetrySettings(), description="Before the first byte.")
    breaker: BreakerSettings = Field(default=BreakerSettings(), description="Of every worker.")
    outliers: OutlierSettings = Field(
        default=OutlierSettings(), description="Workers that do worse than the others."
    )
    slow_start_s: float = Field(
        default=30.0,
        ge=0,
        description="Seconds in which a worker that came back rises to its whole share; 0 is off.",
    )
    queue: QueueSettings = Field(default=QueueSettings(), description="Calls that wait.")
    shed: ShedSettings = Field(default=ShedSettings(), description="What load leaves out.")
    tracing: TracingSettings | None = Field(
        default=None, description="Spans of requests and calls; none when left out."
    )
    auth: AuthSettings | None = Field(default=None, description="API keys; none when left out.")
    allow_fields: frozenset[str] = Field(
        default=frozenset(),
        description="Engine-private request fields that clients may send: priority, ignore_eos, "
        "kv_transfer_params, chat_template, cache_salt, n_predict, n_cmpl, id_slot, best_of, "
        "use_beam_search, request_id. They reach past accounting, fairness or isolation.",
    )

    @model_validator(mode="before")
    @classmethod
    def _default_kinds(cls, data: Any) -> Any:
        return with_shared_redis(with_default_kinds(data))

    @property
    def shared_redis(self) -> RedisSettings | None:
        """The Redis that gateways share, None where each is on its own."""
        if self.redis is None and isinstance(self.cache, RedisCacheConfig):
            return RedisSettings(url=self.cache.url, timeout_ms=self.cache.timeout_ms)
        return self.redis

    @property
    def all_strategies(self) -> tuple[StrategyConfig, ...]:
        """Every strategy, the configured settings in place of the defaults."""
        given = {config.kind: config for config in self.strategies}
        return tuple(given.get(config.kind, config) for config in DEFAULT_STRATEGIES)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        tiers: list[TierSettings | EmbeddingSettings] = [*self.tiers, *self.embeddings]
        names = [name for tier in tiers for name in {tier.name, tier.model}]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"tiers: {', '.join(twice)} names more than one tier or model")
        kinds = [config.kind for config in self.strategies]
        if len(set(kinds)) < len(kinds):
            raise ValueError("strategies: a kind is given twice")
        rewards = [reward.name for reward in self.rewards]
        if len(set(rewards)) < len(rewards):
            raise ValueError("rewards: a name is given twice")
        if self.auth is not None and self.auth.keys == "redis" and self.shared_redis is None:
            raise ValueError("auth.keys: redis needs the address of a Redis; set redis.url")
        self._check_policy()
        self._check_thresholds()
        self._check_processes()
        if self.server.host not in LOOPBACK and not (
            self.auth or self.server.allow_unauthenticated
        ):
            raise ValueError(
                f"server.host: {self.server.host} is reachable from other machines and no auth is "
                "configured; set auth.keys_file or auth.keys, or server.allow_unauthenticated: true"
            )
        return self

    def _check_processes(self) -> None:
        if self.server.processes == 1:
            return
        if self.shared_redis is None:
            raise ValueError(
                "server.processes: several processes share limits and answers through Redis; "
                "set redis.url"
            )
        if self.cache.kind == "memory":
            raise ValueError(
                "cache.kind: 'memory' is one process's own and server.processes is more than 1; "
                "use redis or off"
            )
        if self.feedback.kind != "redis":
            raise ValueError(
                f"feedback.kind: '{self.feedback.kind}' is one process's own and server.processes "
                "is more than 1; use redis"
            )

    def _check_policy(self) -> None:
        known = {config.kind for config in DEFAULT_STRATEGIES}
        policy = self.policy
        for strategy in policy.named:
            if strategy not in known:
                raise ValueError(f"policy: no strategy is named '{strategy}'; {sorted(known)} are")
            if strategy in RUN_PROGRAMS and self.sandbox is None:
                raise ValueError(f"policy: '{strategy}' runs programs; configure a sandbox")
            if strategy in NEED_VERIFIER:
                raise ValueError(f"policy: '{strategy}' serves only requests that bring a verifier")
        tiers = [tier.name for tier in self.tiers]
        if isinstance(policy, StaticConfig) and policy.tier not in {None, *tiers}:
            raise ValueError(f"policy.tier: no tier is named '{policy.tier}'; {tiers} are")

    def _check_thresholds(self) -> None:
        tiers = [tier.name for tier in self.tiers]
        for place, config in enumerate(self.strategies):
            named = config.thresholds if isinstance(config, CascadeConfig) else {}
            for name in sorted(named.keys() - set(tiers)):
                raise ValueError(
                    f"strategies.{place}.thresholds: no tier is named '{name}'; {tiers} are"
                )
