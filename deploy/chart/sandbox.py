"""Values of the executor of programs that models write."""

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from deploy.chart.base import Disruption, Image, Part, Resources, Scheduled, SecretKey
from deploy.chart.service import PLACE

ExecutorConfig = Annotated[dict[str, Any], WithJsonSchema({PLACE: "BubblewrapConfig"})]


class Seccomp(Part):
    """The system calls that the executor's container may make."""

    type: Literal["Localhost", "Unconfined", "RuntimeDefault"] = Field(
        default="Localhost",
        description="`Localhost` keeps Pod Security `restricted`: the runtime's usual list and "
        "what makes namespaces (files/sandbox-seccomp.json, to be put on the nodes).",
    )
    localhost_profile: str = Field(
        default="profiles/entroute-sandbox.json",
        min_length=1,
        description="Path of the profile below the kubelet's folder `seccomp`.",
    )


class AppArmor(Part):
    """The AppArmor profile of the executor's container (Kubernetes 1.30 and later)."""

    type: Literal["", "RuntimeDefault", "Localhost", "Unconfined"] = Field(
        default="",
        description="Nodes with AppArmor deny mounts by default: `Localhost` with a profile that "
        "allows `userns` and `mount`, or `Unconfined`. Empty: nothing is said.",
    )
    localhost_profile: str = Field(default="", description="Name of the profile on the nodes.")


class Sandbox(Scheduled):
    """The executor: a deployment of its own, without network, token or secrets but its key."""

    enabled: bool = Field(default=False, description="Whether programs can be run at all.")
    image: Image = Field(default=Image(repository="entroute-sandbox"), description="Image.")
    replicas: int = Field(default=2, ge=1, description="Executors.")
    key: SecretKey = Field(
        default=SecretKey(key="key"),
        description="Bearer key between gateway and executor. Must be given.",
    )
    config: ExecutorConfig = Field(
        default={}, description="Limits of programs: the service's own settings of bubblewrap."
    )
    resources: Resources = Field(
        default=Resources(requests={"cpu": "500m", "memory": "1Gi"}, limits={"memory": "2Gi"}),
        description="Memory: `workers` x (`memory_mib` + `disk_mib`), 20 MiB for each of `warm`, "
        "and 512 MiB.",
    )
    seccomp: Seccomp = Field(default=Seccomp(), description="System calls of its container.")
    app_armor: AppArmor = Field(default=AppArmor(), description="AppArmor profile of it.")
    host_users: bool | None = Field(
        default=None,
        description="`false` puts the pod into a user namespace of its own, where nodes can.",
    )
    pod_disruption_budget: Disruption = Field(
        default=Disruption(), description="How many evictions may take at once."
    )
