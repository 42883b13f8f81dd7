"""Ways to spend compute: one file a strategy, each with its configuration.

A new one is a module here plus its name in `StrategyConfig`.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from entroute.protocols import Strategy
from entroute.strategies.adaptive_consistency import AdaptiveConsistencyConfig
from entroute.strategies.best_of_n import BestOfNConfig
from entroute.strategies.cascade import CascadeConfig
from entroute.strategies.code_cluster import CodeClusterConfig
from entroute.strategies.cot_pot import CotPotConfig
from entroute.strategies.entropy_switch import EntropySwitchConfig
from entroute.strategies.esc import EscConfig
from entroute.strategies.parts import StrategyParts
from entroute.strategies.program_first import ProgramFirstConfig
from entroute.strategies.random_switch import RandomSwitchConfig
from entroute.strategies.reasc import ReascConfig
from entroute.strategies.rejection import RejectionConfig
from entroute.strategies.self_consistency import SelfConsistencyConfig
from entroute.strategies.self_refine import SelfRefineConfig
from entroute.strategies.short_m_at_k import ShortMAtKConfig
from entroute.strategies.single import SingleConfig
from entroute.strategies.verify_then_escalate import VerifyThenEscalateConfig

StrategyConfig = Annotated[
    SingleConfig
    | CascadeConfig
    | SelfConsistencyConfig
    | AdaptiveConsistencyConfig
    | EscConfig
    | ReascConfig
    | BestOfNConfig
    | RejectionConfig
    | ShortMAtKConfig
    | SelfRefineConfig
    | ProgramFirstConfig
    | CotPotConfig
    | VerifyThenEscalateConfig
    | CodeClusterConfig
    | EntropySwitchConfig
    | RandomSwitchConfig,
    Field(discriminator="kind"),
]

DEFAULT_STRATEGIES: tuple[StrategyConfig, ...] = (
    SingleConfig(),
    CascadeConfig(),
    SelfConsistencyConfig(),
    AdaptiveConsistencyConfig(),
    EscConfig(),
    ReascConfig(),
    BestOfNConfig(),
    RejectionConfig(),
    ShortMAtKConfig(),
    SelfRefineConfig(),
    ProgramFirstConfig(),
    CotPotConfig(),
    VerifyThenEscalateConfig(),
    CodeClusterConfig(),
    EntropySwitchConfig(),
    RandomSwitchConfig(),
)
"""Every built-in strategy with its defaults; the settings override them kind by kind."""

RUN_PROGRAMS = frozenset({"program_first", "cot_pot", "verify_then_escalate", "code_cluster"})
"""Strategies that run what models write and do nothing without a sandbox."""

NEED_VERIFIER = frozenset({"rejection"})
"""Strategies that serve only requests that bring a verifier."""

_STRATEGY: TypeAdapter[StrategyConfig] = TypeAdapter(StrategyConfig)


def build_strategy(config: Mapping[str, Any], parts: StrategyParts) -> Strategy:
    """Return the strategy that a configuration describes: its `kind` and fields.

    Raises:
        ValidationError: It describes none of this version.
    """
    return _STRATEGY.validate_python(dict(config)).build(parts)
