"""Tiers as they are configured: their workers or engine, price and abilities."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from entroute.addresses import HttpUrl
from entroute.backends.balancing import BalancerKind
from entroute.embedded.config import EngineConfig
from entroute.opening import AUTO
from entroute.spending import Price

Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WorkerSettings(_Strict):
    """One replica of a model server."""

    url: HttpUrl = Field(description="Base URL of its OpenAI API, ending in `/v1`.")
    api_key: SecretStr | None = Field(
        default=None, description="Bearer key; give it by environment, not in the file."
    )


class PriceSettings(_Strict):
    """US dollars per million tokens."""

    prompt: float = Field(default=0.0, ge=0, description="Per million prompt tokens.")
    completion: float = Field(default=0.0, ge=0, description="Per million completion tokens.")

    def build(self) -> Price:
        """Return the price."""
        return Price(self.prompt, self.completion)


class TierSettings(_Strict):
    """A tier: workers that serve one model, or an engine that entroute starts itself."""

    name: Name = Field(description="Name of the tier, as clients may pin it.")
    model: Name = Field(description="Model id that its workers serve.")
    workers: tuple[WorkerSettings, ...] = Field(default=(), description="Its replicas.")
    engine: EngineConfig | None = Field(
        default=None, description="A local model server that entroute starts, watches and stops."
    )
    price: PriceSettings = Field(default=PriceSettings(), description="Price of its tokens.")
    context_length: int | None = Field(
        default=None, ge=1, description="Tokens a worker can hold; asked of vLLM when left out."
    )
    vision: bool = Field(default=False, description="Whether it takes images.")
    tools: bool = Field(default=True, description="Whether it takes tools.")
    continues: bool | None = Field(
        default=None,
        description="Whether its workers can go on with a partial answer; asked of the workers "
        "when left out (vLLM and llama.cpp can).",
    )
    balancer: BalancerKind = Field(default="least_loaded", description="Which worker is next.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if bool(self.workers) == (self.engine is not None):
            raise ValueError("give either workers or an engine")
        if AUTO in {self.name, self.model}:
            raise ValueError(f"'{AUTO}' is the name under which the policy decides")
        return self
