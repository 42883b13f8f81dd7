"""Ways to spend compute: one file a strategy, each with its configuration.

A new one is a module here plus its name in `StrategyConfig`.
"""

from typing import Annotated

from pydantic import Field

from entroute.strategies.cascade import CascadeConfig
from entroute.strategies.self_consistency import SelfConsistencyConfig
from entroute.strategies.single import SingleConfig

StrategyConfig = Annotated[
    SingleConfig | CascadeConfig | SelfConsistencyConfig, Field(discriminator="kind")
]

DEFAULT_STRATEGIES: tuple[StrategyConfig, ...] = (
    SingleConfig(),
    CascadeConfig(),
    SelfConsistencyConfig(),
)
"""Every built-in strategy with its defaults; the settings override them kind by kind."""
