"""Request bodies as clients send them. Unknown OpenAI fields are kept; unknown options refused.

Types are strict: a number in quotes is refused here, as the workers would read it otherwise.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.priorities import Priority
from entroute.spending import BudgetLimits
from entroute.types import CacheMode, Options

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]

_MOST_SAMPLES = 1024
MOST_SEED = 2**63 - 1 - _MOST_SAMPLES
"""Signed 64 bits, with room for `seed + i` of the last sample."""

_OPEN = ConfigDict(extra="allow", strict=True)
_CLOSED = ConfigDict(extra="forbid", strict=True)


class ContentPart(BaseModel):
    """One part of a message's content; fields beyond its type travel untouched."""

    model_config = _OPEN

    type: str


class Message(BaseModel):
    """One message; fields beyond role and content travel untouched."""

    model_config = _OPEN

    role: Role
    content: str | list[ContentPart] | None = None


class StreamOptions(BaseModel):
    """What a stream carries beside the answer."""

    model_config = _OPEN

    include_usage: bool | None = None


class BudgetOption(BaseModel):
    """Hard limits of one request; the server's and the key's own cap them."""

    model_config = _CLOSED

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


CacheTag = Annotated[
    str,
    Field(
        min_length=1,
        max_length=64,
        pattern="^[A-Za-z0-9._:/-]+$",
        description="Names kept answers.",
    ),
]

CacheTags = Annotated[list[CacheTag], Field(max_length=8)]
"""Names by which the client's own kept answers can be invalidated."""


class EntrouteOptions(BaseModel):
    """entroute's own options of one request."""

    model_config = _CLOSED

    strategy: str | None = Field(default=None, min_length=1)
    quality: float | None = Field(default=None, ge=0, le=1)
    budget: BudgetOption = Field(default_factory=BudgetOption)
    verifier: dict[str, Any] | None = None
    cache: CacheMode = "default"
    cache_tags: CacheTags = Field(default_factory=list)
    explain: bool = False
    priority: Priority | None = None

    def options(self) -> Options:
        """Return the options in the walk's words."""
        return Options(
            strategy=self.strategy,
            quality=self.quality,
            limits=self.budget.limits(),
            verifier=self.verifier,
            cache=self.cache,
            cache_tags=tuple(sorted(set(self.cache_tags))),
            explain=self.explain,
            priority=self.priority,
        )


class AnswerBody(BaseModel):
    """What chat and text completions have in common."""

    model_config = _OPEN

    model: str = Field(min_length=1, max_length=256)
    n: int | None = Field(default=None, ge=1, le=128)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    seed: int | None = Field(default=None, ge=-(2**63), le=MOST_SEED)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    service_tier: str | None = None
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
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)


class TextBody(AnswerBody):
    """`POST /v1/completions`."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]
    suffix: str | None = None
    echo: bool | None = None
    max_tokens: int | None = Field(default=None, ge=0)
    max_completion_tokens: int | None = Field(default=None, ge=0)
    logprobs: int | None = Field(default=None, ge=0, le=20)
