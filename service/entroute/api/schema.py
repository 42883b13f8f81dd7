"""Request bodies as clients send them. Unknown OpenAI fields are kept; unknown options refused."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.spending import BudgetLimits
from entroute.types import CacheMode, Options

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]


class ContentPart(BaseModel):
    """One part of a message's content; fields beyond its type travel untouched."""

    model_config = ConfigDict(extra="allow")

    type: str


class Message(BaseModel):
    """One message; fields beyond role and content travel untouched."""

    model_config = ConfigDict(extra="allow")

    role: Role
    content: str | list[ContentPart] | None = None


class StreamOptions(BaseModel):
    """What a stream carries beside the answer."""

    model_config = ConfigDict(extra="allow")

    include_usage: bool | None = None


class BudgetOption(BaseModel):
    """Hard limits of one request; the server's and the key's own cap them."""

    model_config = ConfigDict(extra="forbid")

    max_calls: int | None = Field(default=None, ge=1)
    max_generated_tokens: int | None = Field(default=None, ge=1)
    deadline_ms: float | None = Field(default=None, gt=0)
    max_cost_usd: float | None = Field(default=None, ge=0)

    def limits(self) -> BudgetLimits:
        """Return the limits in the walk's units."""
        deadline_s = None if self.deadline_ms is None else self.deadline_ms / 1e3
        return BudgetLimits(
            self.max_calls, self.max_generated_tokens, deadline_s, self.max_cost_usd
        )


class EntrouteOptions(BaseModel):
    """entroute's own options of one request."""

    model_config = ConfigDict(extra="forbid")

    strategy: str | None = None
    quality: float | None = Field(default=None, ge=0, le=1)
    budget: BudgetOption = Field(default_factory=BudgetOption)
    verifier: dict[str, Any] | None = None
    cache: CacheMode = "default"
    explain: bool = False

    def options(self) -> Options:
        """Return the options in the walk's words."""
        return Options(
            strategy=self.strategy,
            quality=self.quality,
            limits=self.budget.limits(),
            verifier=self.verifier,
            cache=self.cache,
            explain=self.explain,
        )


class AnswerBody(BaseModel):
    """What chat and text completions have in common."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(min_length=1, max_length=256)
    n: int | None = Field(default=None, ge=1, le=128)
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    seed: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    entroute: dict[str, Any] | None = Field(
        default=None, description="Options of entroute: see EntrouteOptions."
    )

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with a chunk of usage."""
        return bool(self.stream_options and self.stream_options.include_usage)


class ChatBody(AnswerBody):
    """`POST /v1/chat/completions`."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)


class TextBody(AnswerBody):
    """`POST /v1/completions`."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]
    logprobs: int | None = Field(default=None, ge=0, le=20)
