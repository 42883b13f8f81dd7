"""Values of monitoring. All is off unless asked for: the operator's kinds may not be there."""

from typing import Literal

from pydantic import Field

from deploy.chart.base import Labels, Part


class Monitor(Part):
    """A ServiceMonitor or PodMonitor of the Prometheus operator."""

    enabled: bool = Field(default=False, description="Whether there is one.")
    labels: Labels = Field(
        default={}, description="Its labels, as `release: ...`, by which a Prometheus chooses it."
    )
    interval: str = Field(
        default="15s", pattern=r"^[0-9]+(ms|s|m)$", description="Time between two scrapes."
    )


class Objectives(Part):
    """What is promised; in place of the group of files/rules/objectives.yaml."""

    availability: float = Field(
        default=0.995, gt=0, lt=1, description="Share of requests that may not fail, over 30 days."
    )
    ttft: float = Field(
        default=0.95,
        gt=0,
        lt=1,
        description="Share of streams whose first piece comes within the threshold.",
    )
    ttft_threshold_seconds: Literal["0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0"] = Field(
        default="5.0",
        description="The threshold: a bound of entroute_time_to_first_token_seconds, as text.",
    )
    least_failures: int = Field(
        default=10, ge=0, description="Fewer failed or late requests than this never alert."
    )
    spend_usd_per_hour: float = Field(
        default=20.0, gt=0, description="Dollars an hour at the configured prices."
    )


class Rules(Part):
    """A PrometheusRule with all recording rules and alerts."""

    enabled: bool = Field(
        default=False,
        description="Whether there is one. It covers every release that one Prometheus scrapes: "
        "enable it in one of them.",
    )
    labels: Labels = Field(default={}, description="Its labels, by which a Prometheus chooses it.")
    alert_labels: Labels = Field(
        default={}, description="Further labels of every alert, by which it is routed."
    )
    runbook_base_url: str = Field(
        default="",
        pattern=r"^(https?://\S+/)?$",
        description="Where the runbook lies, ending in `/`; alerts then carry `runbook_url`.",
    )
    objectives: Objectives = Field(default=Objectives(), description="What is promised.")


class Dashboards(Part):
    """A ConfigMap a dashboard, for the sidecar of Grafana's chart."""

    enabled: bool = Field(default=False, description="Whether there are any.")
    labels: Labels = Field(
        default={"grafana_dashboard": "1"}, description="Labels by which the sidecar finds them."
    )
    folder: str = Field(
        default="entroute", description="Folder in Grafana (annotation `grafana_folder`)."
    )


class Monitoring(Part):
    """What Prometheus and Grafana are given."""

    service_monitor: Monitor = Field(default=Monitor(), description="Scrapes the gateways.")
    pod_monitor: Monitor = Field(
        default=Monitor(), description="Scrapes the chart's own vLLM workers, job `vllm`."
    )
    rules: Rules = Field(default=Rules(), description="Recording rules and alerts.")
    dashboards: Dashboards = Field(default=Dashboards(), description="Dashboards of Grafana.")
