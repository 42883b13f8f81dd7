"""The chart's files that are made from code."""

from collections.abc import Callable, Mapping

from deploy.chart.defaults import facts, tier_defaults, values_yaml
from deploy.chart.readme import readme
from deploy.chart.schema import values_schema
from deploy.chart.seccomp import profile

FILES: Mapping[str, Callable[[], str]] = {
    "helm/entroute/values.yaml": values_yaml,
    "helm/entroute/values.schema.json": values_schema,
    "helm/entroute/files/tier-defaults.yaml": tier_defaults,
    "helm/entroute/files/facts.yaml": facts,
    "helm/entroute/files/sandbox-seccomp.json": profile,
    "helm/entroute/README.md": readme,
}
"""Paths from the repository's root, and what writes them."""
