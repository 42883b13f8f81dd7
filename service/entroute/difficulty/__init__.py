"""How hard is a prompt: one file an estimator, each with its configuration.

A new one is a module here plus its name in `DifficultyConfig`.
"""

from typing import Annotated

from pydantic import Field

from entroute.difficulty.chain import ChainConfig
from entroute.difficulty.learned import LearnedConfig
from entroute.difficulty.lexical import LexicalConfig
from entroute.difficulty.probe import ProbeConfig

DifficultyConfig = Annotated[
    LexicalConfig | ProbeConfig | LearnedConfig | ChainConfig, Field(discriminator="kind")
]

__all__ = ["ChainConfig", "DifficultyConfig", "LearnedConfig", "LexicalConfig", "ProbeConfig"]
