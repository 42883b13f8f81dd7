"""Complete plans as calibration saw them: whether they answer right, and what they spend.

Source: the compute-optimal policy of Snell et al. (2408.03314) over whole plans, with the idealised
runtime T(p, o) = T_prompt(p) + (o - 1) beta of Narayanan et al. (2305.02440) as the unit of cost.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from entroute.profile.linear import Linear
from entroute.spending import Price, Usage

Need = Literal["examples"]
"""What a plan needs of a prompt beyond its answer form; `examples`: something to run code by."""


class _Value(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Runtime(_Value):
    """How long one worker of a tier takes, at the batch it was measured at."""

    prompt_s: float = Field(ge=0, description="Seconds of a worker for a prompt token.")
    token_s: float = Field(
        gt=0, description="Seconds of a worker for a generated token: its share of the batch."
    )
    stream_token_s: float = Field(
        gt=0, description="Seconds between two tokens of one stream in that batch."
    )
    batch: float = Field(gt=0, description="Answers in flight when it was measured.")

    def seconds(self, prompt_tokens: float, completion_tokens: float) -> float:
        """Return the worker seconds of one or several answers, tokens added up."""
        return prompt_tokens * self.prompt_s + completion_tokens * self.token_s


class Spend(_Value):
    """What a plan spends on one tier.

    Both are linear in the features of `plan_features` and never below 0.
    """

    calls: Linear = Field(description="Calls.")
    answers: Linear = Field(description="Generated tokens, in expected lengths of one answer.")


@dataclass(frozen=True, slots=True)
class Asked:
    """What is known of a prompt before anything is spent on it.

    Attributes:
        features: Of `plan_features`.
        prompt_tokens: Of one call.
        output_tokens: Expected length of one answer, in tokens.
    """

    features: Mapping[str, float]
    prompt_tokens: float
    output_tokens: float


@dataclass(frozen=True, slots=True)
class Expected:
    """What one plan is expected to cost for one prompt.

    Attributes:
        seconds: Worker seconds over all tiers.
        usd: US dollars.
    """

    seconds: float
    usd: float


class Way(_Value):
    """A whole way to answer: a tier, and a strategy with thresholds of its own."""

    name: str = Field(min_length=1, max_length=160, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._:/<>=+-]*$")
    tier: str = Field(description="Tier it starts on.")
    strategy: Mapping[str, Any] = Field(description="Its strategy's configuration.")
    needs: tuple[Need, ...] = ()

    @property
    def kind(self) -> str:
        """The strategy's name."""
        return str(self.strategy["kind"])

    @model_validator(mode="after")
    def _named(self) -> Self:
        if "kind" not in self.strategy:
            raise ValueError("strategy needs a kind")
        return self


class Plan(Way):
    """A way to answer, and what came of it on the prompts of a bank."""

    forms: tuple[str, ...] = Field(description="Answer forms it was calibrated on.")
    success: Linear = Field(description="Logistic model of a right answer.")
    spend: Mapping[str, Spend] = Field(description="By tier.")
    worst_calls: int = Field(ge=1, description="Calls at most.")
    p95_answers: float = Field(
        gt=0, description="95th percentile of latency, in the largest tier's times of one answer."
    )
    prompts: int = Field(ge=1, description="Prompts it was fitted on.")
    right: float = Field(ge=0, le=1, description="Share of right answers on them.")
    cost: float = Field(ge=0, description="Mean cost on them, in units.")

    @model_validator(mode="after")
    def _charged(self) -> Self:
        if self.tier not in self.spend:
            raise ValueError(f"spend lacks the tier it starts on, '{self.tier}'")
        return self

    def expected(
        self, prompt: Asked, runtimes: Mapping[str, Runtime], prices: Mapping[str, Price]
    ) -> Expected:
        """Return what it is expected to cost.

        Args:
            prompt: What is asked.
            runtimes: By tier.
            prices: By tier; a tier without one is free.
        """
        seconds = usd = 0.0
        for tier, spend in self.spend.items():
            read = max(0.0, spend.calls.value(prompt.features)) * prompt.prompt_tokens
            made = max(0.0, spend.answers.value(prompt.features)) * prompt.output_tokens
            seconds += runtimes[tier].seconds(read, made)
            usd += prices.get(tier, Price()).cost(Usage(round(read), 0, round(made), 0))
        return Expected(seconds=seconds, usd=usd)
