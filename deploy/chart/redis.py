"""Values of the Redis that gateways share."""

from typing import Literal

from pydantic import Field

from deploy.chart.base import Image, Part, Quantity, Resources, Scheduled, SecretKey


class ExternalRedis(SecretKey):
    """A Redis that runs elsewhere."""


class Persistence(Part):
    """Whether what is kept outlives the pod."""

    enabled: bool = Field(default=False, description="Whether it is written to a volume.")
    size: Quantity = Field(default="8Gi", description="Size of the volume.")
    storage_class: str = Field(default="", description="Class of the volume; the cluster's own.")


class BundledRedis(Scheduled):
    """One small Redis without a second: while it restarts the gateways go on without."""

    image: Image = Field(
        default=Image(repository="redis", tag="8.2.3"),
        description="Image; the semantic cache needs Redis 8 or later (vector sets).",
    )
    password: SecretKey = Field(
        default=SecretKey(key="password"),
        description="Its password, of letters and digits (it becomes a part of a URL). Must be "
        "given.",
    )
    max_memory: str = Field(
        default="256mb",
        pattern=r"^[1-9][0-9]*(mb|gb)$",
        description="Where the least recently used goes; keep the memory limit well above it.",
    )
    user: int = Field(default=999, ge=1, description="User that the image's Redis runs as.")
    resources: Resources = Field(
        default=Resources(requests={"cpu": "100m", "memory": "320Mi"}, limits={"memory": "512Mi"}),
        description="Requests and limits.",
    )
    persistence: Persistence = Field(
        default=Persistence(), description="Whether what is kept outlives the pod."
    )


class Redis(Part):
    """The Redis that gateways share."""

    kind: Literal["none", "bundled", "external"] = Field(
        default="none",
        description="Without one every gateway has its own cache, limits and responses.",
    )
    external: ExternalRedis = Field(
        default=ExternalRedis(key="url"), description="Secret that holds its URL."
    )
    bundled: BundledRedis = Field(default=BundledRedis(), description="A small one of the chart's.")
