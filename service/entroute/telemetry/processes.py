"""Metrics of the server processes, where there are several."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge


class ProcessMetrics:
    """Counts deaths of server processes.

    Args:
        registry: Where the metrics are registered.
        up: Returns how many processes take requests, read at scrape.

    Attributes:
        restarts: Processes that ended unasked and were started again.
    """

    def __init__(self, registry: CollectorRegistry, up: Callable[[], int]) -> None:
        self.restarts = Counter(
            "entroute_process_restarts",
            "Server processes that ended unasked and were started again.",
            registry=registry,
        )
        Gauge(
            "entroute_processes_up",
            "Server processes that take requests and answer; none where there is only one.",
            registry=registry,
        ).set_function(up)
