"""Places of the service's own settings: their schema is put there by `deploy.chart.schema`."""

from typing import Annotated, Any

from pydantic import WithJsonSchema

PLACE = "x-entroute"
"""Key of the mark that is replaced by a reference to a service model's schema."""

ServiceConfig = Annotated[dict[str, Any], WithJsonSchema({PLACE: "Settings"})]
"""`Settings` without what the chart sets."""

TierServiceSettings = Annotated[dict[str, Any], WithJsonSchema({PLACE: "TierSettings"})]
"""`TierSettings` without name and workers."""

EmbeddingServiceSettings = Annotated[dict[str, Any], WithJsonSchema({PLACE: "EmbeddingSettings"})]
"""`EmbeddingSettings` without name and workers."""

Discovery = Annotated[dict[str, Any], WithJsonSchema({PLACE: "Discovery"})]
"""`DiscoverySettings` without the key."""
