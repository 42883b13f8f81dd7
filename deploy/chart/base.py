"""What the models of values share."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel


class Part(BaseModel):
    """A mapping of values: names in camel case, unknown ones refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True
    )


KubeObject = dict[str, Any]
"""An object of Kubernetes' own, handed on as it is."""

Labels = dict[str, str]
"""Labels, annotations or node selectors."""

Quantity = Annotated[
    str, WithJsonSchema({"type": ["string", "number"]}), Field(description="Such as 500m or 4Gi.")
]
"""An amount of a resource."""

EnvName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
SecretName = Annotated[str, Field(max_length=253, pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$")]
ObjectName = Annotated[str, Field(max_length=63, pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$")]

TIER_NAME = r"^[a-z]([-a-z0-9]{0,30}[a-z0-9])?$"
TierName = Annotated[str, Field(pattern=TIER_NAME)]
"""A tier's name is a part of its objects' names."""


class Image(Part):
    """An image."""

    repository: str = Field(default="", min_length=1, description="Where it is, without tag.")
    tag: str = Field(default="", description="Its tag.")
    digest: str = Field(
        default="",
        pattern=r"^(sha256:[0-9a-f]{64})?$",
        description="Its digest, in place of the tag.",
    )
    pull_policy: str = Field(
        default="IfNotPresent",
        pattern="^(Always|IfNotPresent|Never)$",
        description="When it is pulled.",
    )


class Resources(Part):
    """Requests and limits of a container."""

    requests: dict[str, Quantity] = Field(default={}, description="What it is given for certain.")
    limits: dict[str, Quantity] = Field(default={}, description="The most it may take.")


class SecretKey(Part):
    """A key of a Secret that exists."""

    existing_secret: SecretName = Field(default="", description="Name of the Secret.")
    key: str = Field(default="", pattern=r"^[-._A-Za-z0-9]*$", description="Key in it.")


class Scheduled(Part):
    """Where the pods of a component may run, and what they are marked with."""

    pod_annotations: Labels = Field(default={}, description="Annotations of the pods.")
    pod_labels: Labels = Field(default={}, description="Further labels of the pods.")
    node_selector: Labels = Field(default={}, description="Labels that the nodes must have.")
    tolerations: list[KubeObject] = Field(default=[], description="Taints that the pods bear.")
    affinity: KubeObject = Field(default={}, description="Affinity of the pods.")
    priority_class_name: str = Field(default="", description="Priority class of the pods.")


class Disruption(Part):
    """A PodDisruptionBudget."""

    enabled: bool = Field(default=True, description="Whether there is one.")
    max_unavailable: int | str = Field(
        default=1, description="Pods, or percent of them, that an eviction may take at once."
    )
