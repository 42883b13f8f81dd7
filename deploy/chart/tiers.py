"""Values of tiers: vLLM that the chart runs, or workers that run elsewhere."""

from pydantic import Field

from deploy.chart.base import Part
from deploy.chart.external import External
from deploy.chart.service import EmbeddingServiceSettings, TierServiceSettings
from deploy.chart.vllm import Vllm

__all__ = ["EmbeddingTier", "Tier", "Vllm"]


class Tier(Part):
    """A tier: `vllm` or `external`."""

    rank: int = Field(ge=0, le=999_999, description="Place in the order, cheapest first.")
    settings: TierServiceSettings = Field(description="The service's own settings of the tier.")
    vllm: Vllm | None = Field(default=None, description="vLLM that this chart runs.")
    external: External | None = Field(default=None, description="Workers that run elsewhere.")


class EmbeddingTier(Part):
    """A tier that embeds: `vllm` or `external`."""

    rank: int = Field(ge=0, le=999_999, description="Place in the order; the first is for `auto`.")
    settings: EmbeddingServiceSettings = Field(
        description="The service's own settings of the tier."
    )
    vllm: Vllm | None = Field(default=None, description="vLLM that this chart runs.")
    external: External | None = Field(default=None, description="Workers that run elsewhere.")
