"""Tiers as they are configured: their workers or engine, price and abilities."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from entroute.addresses import BearerKey, HttpUrl
from entroute.backends.balancing import BalancerKind, EmbeddingBalancerKind
from entroute.backends.discovery import DiscoverySettings
from entroute.embedded.config import EngineConfig
from entroute.opening import AUTO
from entroute.spending import Price
from entroute.types import FillInMiddle

Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WorkerSettings(_Strict):
    """One replica of a model server."""

    url: HttpUrl = Field(description="Base URL of its OpenAI API, ending in `/v1`.")
    api_key: BearerKey | None = Field(
        default=None, description="Bearer key; give it by environment, not in the file."
    )


class PriceSettings(_Strict):
    """US dollars per million tokens."""

    prompt: float = Field(default=0.0, ge=0, description="Per million prompt tokens.")
    completion: float = Field(default=0.0, ge=0, description="Per million completion tokens.")

    def build(self) -> Price:
        """Return the price."""
        return Price(self.prompt, self.completion)


class FillInMiddleSettings(_Strict):
    """The tokens by which a model is asked for what stands between two texts."""

    prefix: str = Field(min_length=1, description="Before what comes first.")
    suffix: str = Field(min_length=1, description="Before what comes last.")
    middle: str = Field(min_length=1, description="After it: the model goes on with the middle.")

    def build(self) -> FillInMiddle:
        """Return the tokens."""
        return FillInMiddle(self.prefix, self.suffix, self.middle)


class TierSettings(_Strict):
    """A tier: workers that serve one model, or an engine that entroute starts itself."""

    name: Name = Field(description="Name of the tier, as clients may pin it.")
    model: Name = Field(description="Model id that its workers serve.")
    workers: tuple[WorkerSettings, ...] = Field(default=(), description="Its replicas.")
    discover: DiscoverySettings | None = Field(
        default=None, description="Where its replicas are found, in place of a list."
    )
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
    fill_in_middle: FillInMiddleSettings | None = Field(
        default=None,
        description="Tokens by which entroute asks its model to fill in before a `suffix`.",
    )
    suffix: Literal["native"] | None = Field(
        default=None, description="`native` where its workers take the field `suffix` themselves."
    )
    balancer: BalancerKind = Field(
        default="prefix_affinity",
        description="Which worker is next: `prefix_affinity` the one that probably has the "
        "prompt's beginning in its KV cache, unless it is overloaded.",
    )
    max_in_flight: int = Field(
        default=512, ge=1, description="Calls that one worker is given at once; others wait."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.fill_in_middle is not None and self.suffix is not None:
            raise ValueError("give either fill_in_middle or suffix: native")
        given = (bool(self.workers), self.engine is not None, self.discover is not None)
        if sum(given) != 1:
            raise ValueError("give one of workers, discover and engine")
        if AUTO in {self.name, self.model}:
            raise ValueError(f"'{AUTO}' is the name under which the policy decides")
        return self


class EmbeddingPriceSettings(_Strict):
    """US dollars per million tokens."""

    prompt: float = Field(default=0.0, ge=0, description="Per million prompt tokens.")


class EmbeddingSettings(_Strict):
    """A tier that embeds: workers that serve one embedding model."""

    name: Name = Field(description="Name of the tier, as clients may pin it.")
    model: Name = Field(description="Model id that its workers serve.")
    workers: tuple[WorkerSettings, ...] = Field(default=(), description="Its replicas.")
    discover: DiscoverySettings | None = Field(
        default=None, description="Where its replicas are found, in place of a list."
    )
    price: EmbeddingPriceSettings = Field(
        default=EmbeddingPriceSettings(), description="Price of its tokens."
    )
    dimensions: int | None = Field(
        default=None,
        ge=1,
        description="Length of its vectors; other lengths are refused. Left to the workers, which "
        "may be able to shorten them, when left out.",
    )
    max_inputs: int = Field(default=256, ge=1, description="Most inputs of one call to a worker.")
    context_length: int | None = Field(
        default=None, ge=1, description="Most tokens of one input; asked of vLLM when left out."
    )
    balancer: EmbeddingBalancerKind = Field(
        default="least_loaded", description="Which worker is next."
    )
    max_in_flight: int = Field(
        default=512, ge=1, description="Calls that one worker is given at once; others wait."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if bool(self.workers) == (self.discover is not None):
            raise ValueError("give either workers or discover")
        if AUTO in {self.name, self.model}:
            raise ValueError(f"'{AUTO}' is the name under which the first tier is taken")
        return self
