"""Ways to spend compute: one file a strategy, each with its configuration.

A new one is a module here plus its name in `StrategyConfig`.
"""

from typing import Annotated

from pydantic import Field

from entroute.strategies.adaptive_consistency import AdaptiveConsistencyConfig
from entroute.strategies.cascade import CascadeConfig
from entroute.strategies.esc import EscConfig
from entroute.strategies.self_consistency import SelfConsistencyConfig
from entroute.strategies.single import SingleConfig

StrategyConfig = Annotated[
    SingleConfig | CascadeConfig | SelfConsistencyConfig | AdaptiveConsistencyConfig | EscConfig,
    Field(discriminator="kind"),
]

DEFAULT_STRATEGIES: tuple[StrategyConfig, ...] = (
    SingleConfig(),
    CascadeConfig(),
    SelfConsistencyConfig(),
    AdaptiveConsistencyConfig(),
    EscConfig(),
)
"""Every built-in strategy with its defaults; the settings override them kind by kind."""
