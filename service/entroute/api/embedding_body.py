"""The body of an embeddings request, and what it asks in the walk's words."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.api.translate import public_fields
from entroute.backends.embedding import Input
from entroute.backends.embedding_tier import EmbeddingRequest, EmbeddingTier
from entroute.errors import ContextLengthExceeded, InvalidRequest
from entroute.types import Options

MOST_INPUTS = 2048
"""Inputs of one request, as OpenAI has it."""

_Text = Annotated[str, Field(min_length=1)]
_Token = Annotated[int, Field(ge=0, lt=2**31)]


class EmbeddingBody(BaseModel):
    """`POST /v1/embeddings`; unknown fields travel to the worker."""

    model_config = ConfigDict(extra="allow", strict=True)

    model: str = Field(min_length=1, max_length=256)
    input: str | list[Any] = Field(
        description="A text, a list of texts, a list of token ids, or a list of such lists."
    )
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(default=None, ge=1, le=65536)
    user: str | None = None
    entroute: dict[str, Any] | None = Field(
        default=None,
        description="Options of entroute: `budget` and `priority` mean something here.",
    )


def inputs_of(given: str | list[Any]) -> tuple[Input, ...]:
    """Return what is to be embedded.

    Raises:
        InvalidRequest: It is empty, too much, or of another shape; `param` names the item.
    """
    if isinstance(given, str):
        return (_text(given, "input"),)
    if not given:
        raise InvalidRequest("input: must not be empty.", param="input")
    if _is_token(given[0]):
        return (_tokens(given, "input"),)
    if len(given) > MOST_INPUTS:
        raise InvalidRequest(
            f"input: {len(given)} inputs were sent, {MOST_INPUTS} is the most.", param="input"
        )
    read = _text if isinstance(given[0], str) else _tokens
    return tuple(read(one, f"input.{place}") for place, one in enumerate(given))


def request_of(
    body: EmbeddingBody, tier: EmbeddingTier, allowed: frozenset[str], salt: str
) -> EmbeddingRequest:
    """Return what is asked of a tier.

    Raises:
        InvalidRequest: A field is not allowed, or is nothing that the tier can do.
    """
    inputs = inputs_of(body.input)
    _check_lengths(inputs, tier)
    declared = tier.dimensions
    if body.dimensions is not None and declared not in {None, body.dimensions}:
        raise InvalidRequest(
            f"dimensions: the vectors of '{tier.name}' have {declared}; leave the field out.",
            param="dimensions",
        )
    user: Mapping[str, Any] = {} if body.user is None else {"user": body.user}
    return EmbeddingRequest(
        inputs=inputs,
        base64=body.encoding_format == "base64",
        # A model that cannot shorten its vectors refuses the field whatever it says.
        dimensions=None if declared is not None else body.dimensions,
        extra={**public_fields(body.model_extra or {}, allowed), **user},
        salt=salt,
    )


def check_options(options: Options) -> None:
    """Refuse options that say how answers are made.

    Raises:
        InvalidRequest: One is given.
    """
    for name in ("strategy", "verifier", "quality"):
        if getattr(options, name) is not None:
            raise InvalidRequest(
                f"entroute.{name}: an embedding is made in one way only; leave it out.",
                param=f"entroute.{name}",
            )


def _check_lengths(inputs: tuple[Input, ...], tier: EmbeddingTier) -> None:
    """Refuse token lists that are known to be too long; texts are counted by the worker."""
    most = tier.context_length
    for place, one in enumerate(inputs):
        if most is not None and isinstance(one, tuple) and len(one) > most:
            raise ContextLengthExceeded(
                f"input.{place}: {len(one)} tokens, and '{tier.name}' reads {most} at most.",
                param="input",
            )


def _text(given: Any, path: str) -> str:
    if not isinstance(given, str):
        raise InvalidRequest(f"{path}: must be a text, as the first input is.", param=path)
    if not given:
        raise InvalidRequest(f"{path}: must not be an empty text.", param=path)
    return given


def _tokens(given: Any, path: str) -> tuple[int, ...]:
    if not isinstance(given, list) or not given or not all(map(_is_token, given)):
        raise InvalidRequest(
            f"{path}: must be a text or a list of token ids, each from 0 to {2**31 - 1}.",
            param=path,
        )
    return tuple(given)


def _is_token(given: Any) -> bool:
    return isinstance(given, int) and not isinstance(given, bool) and 0 <= given < 2**31
