"""Metrics as plain values: read from a registry, sent between processes, rendered."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from entroute.telemetry.page import give_way

Series = tuple[str, tuple[tuple[str, str], ...]]
"""A sample's name and its labels, sorted."""

Amount = float | Fraction
"""A sample's value; a fraction where many were added, since rounding must not make it fall."""

_TRIES = 5


@dataclass(frozen=True, slots=True)
class Family:
    """A metric with all its series.

    Attributes:
        kind: Prometheus' type.
        text: What it means.
        series: Values, buckets of a histogram in their order.
    """

    kind: str
    text: str
    series: Mapping[Series, Amount]


Families = Mapping[str, Family]
"""Metrics by name."""


def read(registry: Collector) -> dict[str, Family]:
    """Return what a registry holds now; may run beside the thread that counts and yields to it.

    Raises:
        RuntimeError: What is counted changed again and again while it was read.
    """
    for _ in range(_TRIES):
        try:
            return dict(map(_named, registry.collect()))
        except RuntimeError:  # a label's first sample came while its family was read
            continue
    raise RuntimeError("the metrics change too fast to be read")


def encode(families: Families) -> bytes:
    """Return families as JSON, in which numbers may be NaN or infinite."""
    rows = [
        [name, family.kind, family.text, _rows(family.series)] for name, family in families.items()
    ]
    return json.dumps(rows, separators=(",", ":")).encode()


def decode(data: bytes) -> dict[str, Family]:
    """Return what `encode` was given."""
    return {
        name: Family(
            kind,
            text,
            {
                (sample, tuple((label, held) for label, held in labels)): value
                for sample, labels, value in rows
            },
        )
        for name, kind, text, rows in json.loads(data)
    }


def render(families: Families) -> bytes:
    """Return Prometheus' text, as of a registry that holds these families."""
    registry = CollectorRegistry()
    registry.register(_Fixed(families))
    return generate_latest(registry)


class _Fixed(Collector):
    """Collects the families that it was given."""

    def __init__(self, families: Families) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Return them."""
        for name, family in self._families.items():
            metric = Metric(name, family.text, family.kind)
            for (sample, labels), value in family.series.items():
                metric.add_sample(sample, dict(labels), float(value))
            yield metric


def _named(metric: Metric) -> tuple[str, Family]:
    family = _family(metric)
    give_way()
    return metric.name, family


def _family(metric: Metric) -> Family:
    series: dict[Series, Amount] = {
        (sample.name, tuple(sorted(sample.labels.items()))): float(sample.value)
        for sample in metric.samples
    }
    return Family(metric.type, metric.documentation, series)


def _rows(series: Mapping[Series, Amount]) -> list[tuple[str, tuple[tuple[str, str], ...], float]]:
    return [(sample, labels, float(value)) for (sample, labels), value in series.items()]
