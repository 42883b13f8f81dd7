"""Which tier, which strategy, how much: one file a policy, each with its configuration.

A new one is a module here plus its name in `PolicyConfig`.
"""

from typing import Annotated

from pydantic import Field

from entroute.routing.compute_optimal import ComputeOptimalConfig
from entroute.routing.static import StaticConfig
from entroute.routing.threshold import ThresholdConfig

PolicyConfig = Annotated[
    StaticConfig | ThresholdConfig | ComputeOptimalConfig, Field(discriminator="kind")
]

__all__ = ["ComputeOptimalConfig", "PolicyConfig", "StaticConfig", "ThresholdConfig"]
