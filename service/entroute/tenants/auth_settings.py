"""The configuration of who may ask."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator


class AuthSettings(BaseModel):
    """Who may ask: exactly one of `keys_file` and `keys`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys_file: Path | None = Field(
        default=None, description="YAML file of API keys, hashed; read again when it changes."
    )
    keys: Literal["redis"] | None = Field(
        default=None, description="`redis`: the API keys in the Redis that gateways share."
    )
    when_redis_fails: Literal["open", "closed"] = Field(
        default="open",
        description="Whether requests go on without global limits while Redis cannot be reached.",
    )

    cache_salt_key: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Secret from which vLLM's `cache_salt` of each tenant is made, the same for "
        "all gateways; made from the tenant's name alone when left out.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.keys_file is None) == (self.keys is None):
            raise ValueError("give exactly one of keys_file: PATH and keys: redis")
        return self
