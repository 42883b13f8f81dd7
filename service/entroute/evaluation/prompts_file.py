"""The prompts of a bank: what is asked, in which form, and what checks an answer.

One JSON object a line, gzip if the name ends in `.gz`: `id`, `task`, `form`, `messages` or
`question`, `check`, and if wanted `verifier` and `max_tokens`.
"""

import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from entroute.errors import ConfigurationError
from entroute.evaluation.bank import UNREADABLE
from entroute.types import ChatRequest
from entroute.verifiers import VerifierConfig
from entroute.verifiers.exact import ExactConfig
from entroute.verifiers.program import ProgramConfig
from entroute.verifiers.schema import SchemaConfig
from entroute.verifiers.tests import UnitTestsConfig

CheckConfig = Annotated[
    ExactConfig | ProgramConfig | SchemaConfig | UnitTestsConfig, Field(discriminator="kind")
]
"""Verifiers that tell right from wrong by themselves, without a model or another sample."""

_CHECK: TypeAdapter[CheckConfig] = TypeAdapter(CheckConfig)
_VERIFIER: TypeAdapter[VerifierConfig] = TypeAdapter(VerifierConfig)
_CONFIGS: Mapping[str, TypeAdapter[Any]] = {"check": _CHECK, "verifier": _VERIFIER}


@dataclass(frozen=True, slots=True)
class BankPrompt:
    """One prompt in one form.

    Attributes:
        id: Of the question; its forms share it.
        task: The benchmark it belongs to.
        form: How it is asked: reasoning, program, code.
        messages: OpenAI messages.
        check: The verifier that tells right from wrong, None where nothing can.
        verifier: The verifier that a client would send with it, or None.
        max_tokens: Most tokens of its answer, None for the bank's own number.
        line: Where it stands in its file.
    """

    id: str
    task: str
    form: str
    messages: tuple[Mapping[str, Any], ...]
    check: Mapping[str, Any] | None = None
    verifier: Mapping[str, Any] | None = None
    max_tokens: int | None = None
    line: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """Id and form: what a sample names its prompt by."""
        return self.id, self.form

    @property
    def request(self) -> ChatRequest:
        """What is asked, of no model in particular."""
        return ChatRequest(model="bank", messages=self.messages)


@dataclass(frozen=True, slots=True)
class PromptsFile:
    """Prompts in the order of their file.

    Attributes:
        path: The file.
        digest: blake2b of its decompressed bytes, 32 hex digits.
        prompts: At least one; no two share id and form.
    """

    path: Path
    digest: str
    prompts: tuple[BankPrompt, ...]

    def by_key(self) -> dict[tuple[str, str], BankPrompt]:
        """Return the prompts by id and form."""
        return {prompt.key: prompt for prompt in self.prompts}


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(min_length=1)
    task: str = Field(min_length=1)
    form: str = Field(default="reasoning", min_length=1)
    messages: list[dict[str, Any]] | None = Field(default=None, min_length=1)
    question: str | None = Field(default=None, min_length=1)
    check: dict[str, Any] | None = None
    verifier: dict[str, Any] | None = None
    max_tokens: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _one_conversation(self) -> Self:
        if (self.messages is None) == (self.question is None):
            raise ValueError("give either messages or question")
        for place, message in enumerate(self.messages or ()):
            if not isinstance(message.get("role"), str) or "content" not in message:
                raise ValueError(f"messages.{place}: a message has a role and a content")
        return self


def read_prompts(path: Path) -> PromptsFile:
    """Read a prompts file.

    Raises:
        ConfigurationError: It cannot be read, is empty, or a row is wrong; the message names the
            file, the line and the field.
    """
    whole = _content(path)
    prompts: dict[tuple[str, str], BankPrompt] = {}
    for number, line in _numbered(whole):
        prompt = _prompt(path, number, line)
        if prompt.key in prompts:
            raise ConfigurationError(
                f"{path}: line {number}: id: '{prompt.id}' in the form '{prompt.form}' is on line "
                f"{prompts[prompt.key].line} already; give it another id or form"
            )
        prompts[prompt.key] = prompt
    if not prompts:
        raise ConfigurationError(f"{path}: holds no prompt; give one JSON object a line")
    digest = blake2b(whole, digest_size=16).hexdigest()
    return PromptsFile(path, digest, tuple(prompts.values()))


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except UNREADABLE as error:
        raise ConfigurationError(f"{path}: cut off or no gzip file: {error}") from error
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from error


def _numbered(content: bytes) -> Iterator[tuple[int, bytes]]:
    lines = content.split(b"\n")
    return ((number, line) for number, line in enumerate(lines, start=1) if line.strip())


def _prompt(path: Path, number: int, line: bytes) -> BankPrompt:
    place = f"{path}: line {number}"
    try:
        row = _Row.model_validate_json(line)
    except ValidationError as error:
        raise ConfigurationError(f"{place}: {_told(error, ())}") from None
    for name, reader in _CONFIGS.items():
        if (config := getattr(row, name)) is not None:
            try:
                reader.validate_python(config)
            except ValidationError as error:
                raise ConfigurationError(f"{place}: {_told(error, (name,))}") from None
    messages = row.messages or [{"role": "user", "content": row.question}]
    return BankPrompt(
        row.id,
        row.task,
        row.form,
        tuple(messages),
        row.check,
        row.verifier,
        row.max_tokens,
        number,
    )


def _told(error: ValidationError, before: tuple[str, ...]) -> str:
    """Return the first thing that is wrong, under its field's path, as the file has it."""
    first = error.errors(include_url=False)[0]
    location = first["loc"][1:] if before and len(first["loc"]) > 1 else first["loc"]
    path = ".".join(map(str, (*before, *location)))
    message = first["msg"].removeprefix("Value error, ")
    return f"{path}: {message}" if path else message
