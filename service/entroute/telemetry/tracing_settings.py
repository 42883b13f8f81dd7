"""How tracing is configured."""

from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from entroute.addresses import BearerKey, HttpUrl

Inbound = Literal["continue", "link", "ignore"]
"""What becomes of a client's trace context."""

FLUSH_S = 5.0
"""Most seconds that the end of a server waits for spans that are not sent yet."""


def _with_path(url: str) -> str:
    if not urlsplit(url).path:
        raise ValueError("must have a path, for most collectors /v1/traces")
    return url


HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$")]


class TracingSettings(BaseModel):
    """Spans of every request and of its calls, sent by OTLP over HTTP."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    endpoint: Annotated[HttpUrl, AfterValidator(_with_path)] = Field(
        description="Where spans are posted, such as http://collector:4318/v1/traces."
    )
    headers: Mapping[HeaderName, BearerKey] = Field(
        default={},
        description="Headers sent along, by name; secrets, so give them by environment: "
        "`ENTROUTE_TRACING__HEADERS__AUTHORIZATION`.",
    )
    sample: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Share of requests that are traced; one that goes on with a client's trace is "
        "traced if that is.",
    )
    inbound: Inbound = Field(
        default="continue",
        description="A client's `traceparent`: `continue` its trace; `link` to it from a trace of "
        "our own, where clients are not trusted to say what is traced; or `ignore` it.",
    )
    service_name: str = Field(
        default="entroute",
        min_length=1,
        max_length=128,
        description="`service.name` of the spans' resource.",
    )
    timeout_s: float = Field(
        default=5.0, gt=0, le=60, description="Seconds until the collector must have taken a batch."
    )
    queue_spans: int = Field(
        default=8192,
        ge=512,
        le=1_000_000,
        description="Spans that wait for the collector at most; what comes then is dropped and "
        "counted.",
    )
    content: bool = Field(
        default=False,
        description="Record prompts and answers, too, in `gen_ai.input.messages` and "
        "`gen_ai.output.messages`: whoever reads the traces then reads them.",
    )
