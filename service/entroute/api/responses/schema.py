"""The body of `POST /v1/responses`, and the items of its input."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.api.schema import MOST_SEED

_OPEN = ConfigDict(extra="allow", strict=True)
_PLAIN = ConfigDict(extra="ignore", strict=True)

LOGPROBS = "message.output_text.logprobs"

Label = Annotated[str, Field(max_length=64)]
Note = Annotated[str, Field(max_length=512)]


class TextConfig(BaseModel):
    """What the text of the answer must be."""

    model_config = _OPEN

    format: dict[str, Any] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class Reasoning(BaseModel):
    """How much a reasoning model thinks."""

    model_config = _OPEN

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None


class ResponseBody(BaseModel):
    """`POST /v1/responses`; what is not named here travels to the worker as for chat."""

    model_config = _OPEN

    model: str = Field(min_length=1, max_length=256)
    input: str | Annotated[list[Any], Field(min_length=1, description="Items.")]
    instructions: str | None = None
    previous_response_id: str | None = Field(default=None, min_length=1, max_length=128)
    store: bool | None = Field(default=None, description="Keep the response, as when left out.")
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    max_output_tokens: int | None = Field(default=None, ge=1)
    max_tool_calls: int | None = Field(
        default=None, ge=1, description="Counts calls of built-in tools, of which there are none."
    )
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    seed: int | None = Field(default=None, ge=-(2**63), le=MOST_SEED)
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: TextConfig | None = None
    reasoning: Reasoning | None = None
    include: list[str] | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    metadata: Annotated[dict[Label, Note], Field(max_length=16)] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    service_tier: str | None = None
    entroute: dict[str, Any] | None = Field(
        default=None, description="Options of entroute: see EntrouteOptions."
    )

    @property
    def logprobs(self) -> bool:
        """Whether log-probabilities are wanted."""
        return LOGPROBS in (self.include or ())


class _Item(BaseModel):
    model_config = _PLAIN

    id: str | None = Field(default=None, min_length=1, max_length=128)


class MessageItem(_Item):
    """A message."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[dict[str, Any]]


class FunctionCallItem(_Item):
    """A call that a model asked for."""

    call_id: str = Field(min_length=1, max_length=256)
    name: str = Field(min_length=1, max_length=256)
    arguments: str


class FunctionOutputItem(_Item):
    """What a called function returned."""

    call_id: str = Field(min_length=1, max_length=256)
    output: str | list[dict[str, Any]]


class ReasoningItem(_Item):
    """What a model thought."""

    summary: list[dict[str, Any]] = Field(default_factory=list)


class TextPart(BaseModel):
    """Text."""

    model_config = _PLAIN

    text: str


class RefusalPart(BaseModel):
    """Why a model did not answer."""

    model_config = _PLAIN

    refusal: str


class ImagePart(BaseModel):
    """An image, at an address or in a data URL."""

    model_config = _PLAIN

    image_url: str = Field(min_length=1)
    detail: Literal["low", "high", "auto", "original"] | None = None


class FunctionTool(BaseModel):
    """A function of the client's that the model may call."""

    model_config = _OPEN

    name: str = Field(min_length=1, max_length=128)
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class SchemaFormat(BaseModel):
    """A JSON schema that the answer must match."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["json_schema"]
    name: str = Field(pattern="^[A-Za-z0-9_-]{1,64}$")
    json_schema: dict[str, Any] = Field(alias="schema")
    description: str | None = None
    strict: bool | None = None
