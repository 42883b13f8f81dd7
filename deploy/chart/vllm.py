"""Values of the vLLM servers of one tier."""

from typing import Annotated, Literal

from pydantic import Field

from deploy.chart.base import (
    Disruption,
    Image,
    KubeObject,
    Part,
    Quantity,
    Resources,
    Scheduled,
    SecretKey,
    SecretName,
)
from deploy.chart.gateway import EnvVar

Argument = Annotated[str, Field(min_length=1)]


class Gpu(Part):
    """The GPUs of one replica."""

    resource: str = Field(
        default="nvidia.com/gpu",
        pattern=r"^[a-z0-9.-]+/[A-Za-z0-9_.-]+$",
        description="Name of the device plugin's resource.",
    )
    count: int = Field(
        default=1, ge=0, le=64, description="How many; 0 where the image needs none (CPU)."
    )


class ModelCache(Part):
    """Where a replica keeps the model's files."""

    kind: Literal["pvc", "ephemeral", "existingClaim", "emptyDir", "hostPath"] = Field(
        default="pvc",
        description="`pvc`: one volume of the tier, made by the chart. `ephemeral`: one a replica, "
        "gone with it. `existingClaim`, `hostPath`: what is there. `emptyDir`: the node's disk, "
        "fetched again by every pod.",
    )
    size: Quantity = Field(default="100Gi", description="Size of the volume.")
    storage_class_name: str = Field(
        default="", description="Class of the volume; the cluster's own when empty."
    )
    access_modes: list[str] = Field(
        default=["ReadWriteOnce"],
        min_length=1,
        description="Of a `pvc` or `ephemeral` volume. Replicas that share a `pvc` need "
        "`ReadWriteMany`.",
    )
    keep: bool = Field(
        default=False, description="Whether the volume outlives the release (`pvc`)."
    )
    existing_claim: SecretName = Field(default="", description="Name of the claim.")
    host_path: str = Field(
        default="",
        pattern=r"^(/[^/]+)*$",
        description="Folder of the node, writable for `podSecurityContext.runAsUser`. Pod Security "
        "`restricted` forbids it.",
    )
    download: bool = Field(
        default=True,
        description="Whether an init container fetches the model: once a revision, skipped when "
        "the volume has it. Never where `model` is a path.",
    )
    exclude: list[Argument] = Field(
        default=["original/*", "*.pth", "*.h5", "*.msgpack", "*.onnx", "*.gguf"],
        description="Files of the model's repository that are not fetched.",
    )
    resources: Resources = Field(
        default=Resources(requests={"cpu": "500m", "memory": "1Gi"}, limits={"memory": "4Gi"}),
        description="Requests and limits of the init container.",
    )


class WorkerProbe(Part):
    """Looks at `/health`."""

    period_seconds: int = Field(default=10, ge=1, description="Seconds between two looks.")
    timeout_seconds: int = Field(default=5, ge=1, description="Seconds that one may take.")
    failure_threshold: int = Field(default=3, ge=1, description="Looks that must fail in a row.")


class WorkerDrain(Part):
    """How a worker stops; the grace period is the sum and 15 s."""

    delay_seconds: int = Field(
        default=15,
        ge=1,
        description="Seconds in which it still takes calls, while gateways notice (they look names "
        "up every 5 s).",
    )
    timeout_seconds: int = Field(
        default=600,
        ge=1,
        description="Seconds after that in which generation in flight may end; as "
        "`config.timeouts.total_s`.",
    )


class WorkerAutoscaling(Part):
    """How many workers there are: by the requests that wait for them, or fixed."""

    kind: Literal["none", "hpa", "keda"] = Field(
        default="none",
        description="`hpa` takes the metrics from a custom metrics adapter (files/adapter), `keda` "
        "from Prometheus.",
    )
    min_replicas: int = Field(default=1, ge=1, description="Fewest workers.")
    max_replicas: int = Field(default=2, ge=1, description="Most workers.")
    waiting: int = Field(
        default=5, ge=1, description="Waiting requests a worker above which there are more."
    )
    running: int = Field(
        default=64,
        ge=1,
        description="Running requests a worker below which there are fewer: without it a tier "
        "shrinks as soon as nothing waits.",
    )
    scale_down_seconds: int = Field(
        default=600, ge=0, le=3600, description="Seconds that fewer must be enough before any goes."
    )


class UpdateStrategy(Part):
    """How new pods take the place of old ones."""

    type: Literal["RollingUpdate", "Recreate"] = Field(
        default="RollingUpdate",
        description="`RollingUpdate` one by one without a spare GPU; `Recreate` all at once.",
    )
    max_surge: int | str = Field(
        default=0, description="Pods above `replicas`; each needs GPUs and, unshared, a volume."
    )
    max_unavailable: int | str = Field(default=1, description="Pods that may be missing.")


class WorkerSecurity(Part):
    """Who a worker runs as. The official image ships user 2000 in group 0 for this."""

    run_as_user: int = Field(default=2000, ge=1, description="User; not root.")
    run_as_group: int = Field(default=0, ge=0, description="Group of the image's folders.")
    fs_group: int = Field(default=2000, ge=0, description="Group of the volumes.")
    fs_group_change_policy: Literal["OnRootMismatch", "Always"] = Field(
        default="OnRootMismatch", description="When the volumes' group is set."
    )


class Vllm(Scheduled):
    """vLLM servers of one tier."""

    model: str = Field(
        min_length=1,
        pattern=r"^[^-\s]\S*$",
        description="Model: its name on the hub, or a path in the volume (`/models/...`). Must be "
        "given.",
    )
    revision: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._/-]*$",
        description="Revision of it: pin a commit. Another one is fetched beside the old.",
    )
    image: Image = Field(
        default=Image(repository="vllm/vllm-openai", tag="v0.32.0"),
        description="Image of vLLM, v0.26 or later: it must run as a user that is not root.",
    )
    replicas: int = Field(default=1, ge=0, description="Workers, when they are not autoscaled.")
    gpu: Gpu = Field(default=Gpu(), description="GPUs of one replica.")
    resources: Resources = Field(
        default=Resources(requests={"cpu": "4", "memory": "16Gi"}, limits={"memory": "32Gi"}),
        description="Requests and limits besides the GPUs; shared memory counts as memory.",
    )
    tensor_parallel_size: int = Field(
        default=0, ge=0, description="GPUs that share the model; 0: all of the replica's."
    )
    shm_size: str = Field(
        default="",
        description="Shared memory. Empty: 8Gi where GPUs share the model, else the runtime's own.",
    )
    quantization: str = Field(default="", description="Such as `awq`, `fp8`; as the model says.")
    max_model_len: int = Field(
        default=0, ge=0, description="Most tokens of prompt and answer; 0: as the model says."
    )
    gpu_memory_utilization: float = Field(
        default=0.9, gt=0, le=1, description="Share of a GPU's memory that vLLM takes."
    )
    prefix_caching: bool = Field(
        default=True,
        description="Whether beginnings of prompts are kept; the gateway aims at them.",
    )
    extra_args: list[Argument] = Field(
        default=[], description="Further arguments of `vllm serve`, verbatim and last."
    )
    extra_env: list[EnvVar] = Field(default=[], description="Further variables.")
    api_key: SecretKey = Field(
        default=SecretKey(key="api-key"),
        description="Bearer key that the servers ask for and the gateway sends.",
    )
    hugging_face_token: SecretKey = Field(
        default=SecretKey(key="token"), description="Token for models that ask for one."
    )
    offline: bool = Field(
        default=True,
        description="Whether the server itself never asks the hub (HF_HUB_OFFLINE); off where an "
        "argument names a second repository.",
    )
    model_cache: ModelCache = Field(
        default=ModelCache(), description="Where the model's files are kept."
    )
    home_size: str = Field(
        default="10Gi", description="Most that compiled kernels and graphs take on the node."
    )
    startup_probe: WorkerProbe = Field(
        default=WorkerProbe(failure_threshold=180),
        description="How long loading may take, the download before it not counted: half an hour.",
    )
    liveness_probe: WorkerProbe = Field(
        default=WorkerProbe(failure_threshold=6), description="When a worker is started again."
    )
    readiness_probe: WorkerProbe = Field(
        default=WorkerProbe(period_seconds=5), description="When it is found and called."
    )
    drain: WorkerDrain = Field(default=WorkerDrain(), description="How a worker stops.")
    strategy: UpdateStrategy = Field(
        default=UpdateStrategy(), description="How new pods take the place of old ones."
    )
    autoscaling: WorkerAutoscaling = Field(
        default=WorkerAutoscaling(), description="Replicas by load."
    )
    pod_disruption_budget: Disruption = Field(
        default=Disruption(), description="How many evictions may take at once."
    )
    runtime_class_name: str = Field(default="", description="Such as `nvidia`.")
    topology_spread_constraints: list[KubeObject] = Field(
        default=[], description="Spread of the replicas; their selector is added."
    )
    pod_security_context: WorkerSecurity = Field(
        default=WorkerSecurity(), description="Who a worker runs as."
    )
    tolerations: list[KubeObject] = Field(
        default=[{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        description="Taints that the pods bear.",
    )
