"""Values of the gateway's deployment."""

from typing import Literal

from pydantic import Field

from deploy.chart.base import Disruption, EnvName, KubeObject, Part, Resources, Scheduled, SecretKey


class Autoscaling(Part):
    """How many gateways there are: by requests in flight, or fixed."""

    kind: Literal["none", "hpa", "keda"] = Field(
        default="none",
        description="`hpa` takes the metric from a custom metrics adapter, `keda` from Prometheus.",
    )
    min_replicas: int = Field(default=2, ge=1, description="Fewest gateways.")
    max_replicas: int = Field(
        default=0, ge=0, description="Most gateways; must be given when autoscaled."
    )
    requests_in_flight: int = Field(
        default=50, ge=1, description="Requests in flight that one gateway is meant to have."
    )
    scale_down_seconds: int = Field(
        default=300, ge=0, le=3600, description="Seconds that fewer must be enough before any goes."
    )
    behavior: KubeObject = Field(
        default={}, description="Behaviour of the autoscaler, in place of the chart's own."
    )


class Drain(Part):
    """How a gateway stops."""

    delay_seconds: int = Field(
        default=10,
        ge=0,
        le=300,
        description="Seconds in which a gateway that stops still takes new requests, while load "
        "balancers notice. The pod's grace period is this, `config.server.drain_s` and 15 s.",
    )


class StartupProbe(Part):
    """How long a start may take."""

    period_seconds: int = Field(default=2, ge=1, description="Seconds between two looks.")
    failure_threshold: int = Field(default=60, ge=1, description="Looks before it is killed.")


class EnvVar(Part):
    """An environment variable of Kubernetes' own form."""

    name: EnvName = Field(description="Its name.")
    value: str | None = Field(default=None, description="Its value.")
    value_from: KubeObject | None = Field(default=None, description="Where its value is.")


class Gateway(Scheduled):
    """The gateway: one process a pod."""

    replicas: int = Field(default=2, ge=0, description="Gateways, when they are not autoscaled.")
    listen: str = Field(
        default="0.0.0.0",  # noqa: S104 - a pod is reached from outside
        pattern=r"^(0\.0\.0\.0|::)$",
        description="Address to listen on; `::` where pods have IPv6 addresses.",
    )
    resources: Resources = Field(
        default=Resources(requests={"cpu": "500m", "memory": "512Mi"}, limits={"memory": "1Gi"}),
        description="Requests and limits. One process uses one core; no CPU limit, or it stalls.",
    )
    autoscaling: Autoscaling = Field(default=Autoscaling(), description="Replicas by load.")
    pod_disruption_budget: Disruption = Field(
        default=Disruption(), description="How many evictions may take at once."
    )
    drain: Drain = Field(default=Drain(), description="How a gateway stops.")
    startup_probe: StartupProbe = Field(
        default=StartupProbe(), description="How long a start may take."
    )
    topology_spread_constraints: list[KubeObject] = Field(
        default=[], description="In place of the chart's own: spread over nodes and zones."
    )
    scratch_size: str = Field(
        default="1Gi", description="Most that `/tmp` holds: the only folder that can be written."
    )
    extra_env: list[EnvVar] = Field(
        default=[],
        description="Further variables, `ENTROUTE_...__...` overrides and secrets among them.",
    )
    extra_env_from: list[KubeObject] = Field(default=[], description="Further sources of them.")
    extra_volumes: list[KubeObject] = Field(
        default=[], description="Further volumes: a calibration profile, a bank."
    )
    extra_volume_mounts: list[KubeObject] = Field(default=[], description="Where they are mounted.")


class CacheSalt(SecretKey):
    """Secret from which tenants' prefix caches are told apart."""


class Auth(Part):
    """Who may ask: one of `existingSecret`, `inRedis` and `allowUnauthenticated` must be said."""

    existing_secret: str = Field(
        default="", max_length=253, description="Secret that holds the file of API keys (hashed)."
    )
    key: str = Field(default="keys.yaml", min_length=1, description="Key in it.")
    in_redis: bool = Field(
        default=False, description="The API keys are in the Redis that the gateways share."
    )
    allow_unauthenticated: bool = Field(
        default=False, description="Anybody who reaches the gateway may ask."
    )
    cache_salt: CacheSalt = Field(
        default=CacheSalt(key="cache-salt-key"),
        description="Secret, at least 16 characters, from which vLLM's prefix caches of tenants "
        "are told apart.",
    )
