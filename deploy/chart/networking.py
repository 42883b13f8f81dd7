"""Values of how the gateway is reached, and whom it may reach."""

from typing import Annotated, Literal

from pydantic import Field

from deploy.chart.base import KubeObject, Labels, ObjectName, Part, TierName

Port = Annotated[int, Field(ge=1, le=65535)]


class Service(Part):
    """The gateway's Service."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field(
        default="ClusterIP", description="Kind of Service."
    )
    port: Port = Field(default=80, description="Its port.")
    annotations: Labels = Field(default={}, description="Its annotations.")


class IngressHost(Part):
    """A name under which the gateway is reached."""

    host: str = Field(min_length=1, description="Host name.")
    paths: list[str] = Field(default=["/v1"], description="Paths; `/metrics` stays inside.")


class Ingress(Part):
    """An Ingress."""

    enabled: bool = Field(default=False, description="Whether there is one.")
    class_name: str = Field(default="", description="Its class.")
    annotations: Labels = Field(
        default={},
        description="Its annotations. Let answers stream: no buffering, and a read timeout of at "
        "least `config.limits.deadline_s`.",
    )
    hosts: list[IngressHost] = Field(default=[], description="Names and paths.")
    tls: list[KubeObject] = Field(default=[], description="Certificates.")


class HttpRoute(Part):
    """A route of the Gateway API."""

    enabled: bool = Field(default=False, description="Whether there is one.")
    parent_refs: list[KubeObject] = Field(default=[], description="Gateways that take it.")
    hostnames: list[str] = Field(default=[], description="Host names.")
    paths: list[str] = Field(default=["/v1"], description="Path prefixes.")
    annotations: Labels = Field(default={}, description="Its annotations.")
    request_timeout: str = Field(
        default="0s",
        pattern=r"^([0-9]{1,5}(h|m|s|ms)){1,4}$",
        description="Longest that a whole answer may take; `0s` is no limit: the gateway has its "
        "own deadline, and a stream must not be cut.",
    )


class EndpointPicker(Part):
    """Who picks the worker of an InferencePool."""

    name: ObjectName = Field(default="", description="Name of its Service.")
    port: Port = Field(default=9002, description="Its port.")
    failure_mode: Literal["FailOpen", "FailClose"] = Field(
        default="FailOpen", description="What happens when it cannot be asked."
    )


class InferencePool(Part):
    """Own tiers as InferencePools, for gateways that route to them besides entroute."""

    enabled: bool = Field(default=False, description="Whether there are any.")
    tiers: list[TierName] = Field(default=[], description="Which tiers; all own ones when empty.")
    endpoint_picker: EndpointPicker = Field(
        default=EndpointPicker(), description="Who picks the worker. Its name must be given."
    )


class NetworkPolicy(Part):
    """Who may reach the pods of this release, and whom they may reach; all else is denied."""

    enabled: bool = Field(default=False, description="Whether there are policies.")
    clients: list[KubeObject] = Field(
        default=[{"podSelector": {}}],
        description="Peers that may ask the gateway; pods of this namespace as it comes.",
    )
    monitoring: list[KubeObject] = Field(
        default=[
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
        ],
        description="Peers that may scrape the gateway and the workers.",
    )
    dns: list[KubeObject] = Field(
        default=[
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}
        ],
        description="Peers that resolve names; with NodeLocal DNSCache its address as an ipBlock.",
    )
    gateway_egress: list[KubeObject] = Field(
        default=[],
        description="Further egress rules of the gateway, `{to, ports}`: external workers, reward "
        "models, an external Redis, the collector of traces.",
    )
    tier_clients: list[KubeObject] = Field(
        default=[],
        description="Peers that may ask the workers besides the gateway, such as those of an "
        "InferencePool.",
    )
    tier_egress: list[KubeObject] = Field(
        default=[{"ports": [{"port": 443, "protocol": "TCP"}]}],
        description="Egress rules of vLLM's pods besides DNS, `{to, ports}`: where models come "
        "from. Empty it where all are cached.",
    )
    api_server: list[KubeObject] = Field(
        default=[{"ports": [{"port": 443, "protocol": "TCP"}, {"port": 6443, "protocol": "TCP"}]}],
        description="Egress rules towards the API server, used with `discovery: kubernetes`; name "
        "its addresses (`to: [{ipBlock: ...}]`).",
    )


class ServiceAccount(Part):
    """The gateway's service account."""

    create: bool = Field(default=True, description="Whether the chart makes it.")
    name: ObjectName = Field(default="", description="Its name; the release's when empty.")
    annotations: Labels = Field(default={}, description="Its annotations.")
