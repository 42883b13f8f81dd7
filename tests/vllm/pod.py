"""A worker's pod as the chart makes it; `tests/deploy` holds this against the rendered one."""

DRAIN_S = 120
CONTEXT_LENGTH = 2048
SERVED = "small-model"

OPTIONS = (
    f"--served-model-name={SERVED}",
    f"--max-model-len={CONTEXT_LENGTH}",
    "--tensor-parallel-size=1",
    "--enable-prefix-caching",
    "--enable-prompt-tokens-details",
    "--enable-force-include-usage",
    f"--shutdown-timeout={DRAIN_S}",
    "--disable-access-log-for-endpoints=/health,/metrics,/v1/models",
)
"""Options of the server, its port left out."""

ENVIRONMENT = {
    "HOME": "/home/vllm",
    "USER": "vllm",
    "LOGNAME": "vllm",
    "HF_HOME": "/models",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}
WRITABLE = ("/home/vllm", "/models", "/tmp")  # noqa: S108 - the pod's own
"""Folders of the container that can be written."""

USER, GROUP = 2000, 0
"""Who it runs as."""
