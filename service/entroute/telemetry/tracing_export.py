"""How spans reach a collector: OTLP over HTTP, and which process they are of."""

import logging

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExporter

from entroute.telemetry.tracing_settings import TracingSettings


def exporter_of(settings: TracingSettings) -> SpanExporter:
    """Return what sends batches to the configured collector and to nobody else."""
    # It writes what a collector says at every batch; `Outbox` says once that it fails.
    logging.getLogger(OTLPSpanExporter.__module__).setLevel(logging.CRITICAL)
    session = requests.Session()
    session.trust_env = False  # a proxy of the environment has no business with traces
    headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
    return OTLPSpanExporter(
        settings.endpoint, headers=headers, timeout=settings.timeout_s, session=session
    )


def resource_of(service: str, version: str, instance: str, pid: int) -> Resource:
    """Return what all spans of a process say of it; `OTEL_RESOURCE_ATTRIBUTES` may add to that."""
    facts: dict[str, str | int] = {
        "service.name": service,
        "service.version": version,
        "service.instance.id": instance,
        "process.pid": pid,
    }
    return Resource.create({**facts})
