"""All values of the chart."""

from typing import Literal

from pydantic import Field

from deploy.chart.base import Image, KubeObject, Labels, Part, SecretKey, TierName
from deploy.chart.gateway import Auth, Gateway
from deploy.chart.monitoring import Monitoring
from deploy.chart.networking import (
    HttpRoute,
    InferencePool,
    Ingress,
    NetworkPolicy,
    Service,
    ServiceAccount,
)
from deploy.chart.redis import Redis
from deploy.chart.sandbox import Sandbox
from deploy.chart.service import ServiceConfig
from deploy.chart.tiers import EmbeddingTier, Tier


class Prometheus(Part):
    """Where KEDA asks for metrics."""

    server_address: str = Field(
        default="http://prometheus-operated.monitoring.svc:9090",
        pattern=r"^https?://\S+$",
        description="Address of Prometheus.",
    )


class Test(Part):
    """The pod of `helm test`."""

    api_key: SecretKey = Field(
        default=SecretKey(key="api-key"),
        description="A key of the gateway's, to ask for its tiers too; without, a refusal is well.",
    )


class Values(Part):
    """What the chart is told."""

    global_: KubeObject = Field(
        default={}, alias="global", description="Of charts that hold this one; nothing is read."
    )
    fullname_override: str = Field(
        default="",
        max_length=52,
        pattern=r"^([a-z]([-a-z0-9]*[a-z0-9])?)?$",
        description="Name of the objects, in place of the release's.",
    )
    common_labels: Labels = Field(default={}, description="Further labels of every object.")
    cluster_domain: str = Field(default="cluster.local", description="Domain of the cluster.")
    image: Image = Field(
        default=Image(repository="entroute"),
        description="The gateway's image; its tag is the chart's `appVersion`.",
    )
    image_pull_secrets: list[KubeObject] = Field(
        default=[], description="Secrets of the registries: `[{name: ...}]`."
    )
    gateway: Gateway = Field(default=Gateway(), description="The gateway: one process a pod.")
    config: ServiceConfig = Field(
        default={},
        description="The service's own settings (docs/configuration.md); tiers, addresses and "
        "secrets are the chart's to set.",
    )
    tiers: dict[TierName, Tier] = Field(
        default={}, description="Tiers by name; `rank` orders them, cheapest first."
    )
    embeddings: dict[TierName, EmbeddingTier] = Field(
        default={}, description="Tiers that embed, by name."
    )
    discovery: Literal["dns", "kubernetes"] = Field(
        default="dns",
        description="How the gateway finds the chart's own workers: by the headless Services' "
        "names, or by EndpointSlices, at once and with a Role.",
    )
    auth: Auth = Field(default=Auth(), description="Who may ask.")
    redis: Redis = Field(default=Redis(), description="The Redis that gateways share.")
    sandbox: Sandbox = Field(
        default=Sandbox(), description="The executor of programs that models write."
    )
    service: Service = Field(default=Service(), description="The gateway's Service.")
    ingress: Ingress = Field(default=Ingress(), description="An Ingress to the gateway.")
    http_route: HttpRoute = Field(
        default=HttpRoute(), description="A route of the Gateway API to the gateway."
    )
    inference_pool: InferencePool = Field(
        default=InferencePool(), description="Own tiers as InferencePools."
    )
    network_policy: NetworkPolicy = Field(
        default=NetworkPolicy(), description="Who may reach whom."
    )
    service_account: ServiceAccount = Field(
        default=ServiceAccount(), description="The gateway's service account."
    )
    test: Test = Field(default=Test(), description="What `helm test` asks with.")
    prometheus: Prometheus = Field(default=Prometheus(), description="Where KEDA asks for metrics.")
    monitoring: Monitoring = Field(
        default=Monitoring(), description="What Prometheus and Grafana are given."
    )
