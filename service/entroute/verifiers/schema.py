"""`schema`: whether an answer is JSON of a given schema, or text that a pattern finds."""

import json
import re
from collections.abc import Sequence
from typing import Any, Literal

import jsonschema_rs
from pydantic import BaseModel, ConfigDict, Field

from entroute.errors import InvalidRequest
from entroute.evidence import Verdict
from entroute.types import ChatRequest, Completion
from entroute.verifiers.judging import abstained, quoted, text_of
from entroute.verifiers.parts import VerifierParts
from entroute.verifiers.schema_size import unrolled_size

MAX_ANSWER = 65_536
"""Characters of an answer that is checked; a longer one is an abstention."""

MAX_WORK = 40_000_000
"""Parts of the schema times characters of the answer: some tenths of a second at worst."""

MAX_EXPLAINED = 100_000
"""As `MAX_WORK`, of an answer whose errors are told: the library collects them branch by branch."""

_BLOCK = re.compile(r"^[ \t]*```[ \t]*json[ \t]*\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE)
_PATTERNS = jsonschema_rs.RegexOptions(size_limit=2**18, dfa_size_limit=2**20)
"""The linear-time engine: no look-around and no back-references, so no pattern can hang us."""


class SchemaConfig(BaseModel):
    """Score 1 for an answer of the asked form, 0 for any other."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["schema"] = "schema"
    json_schema: dict[str, Any] | None = Field(
        default=None,
        description="JSON Schema (draft 2020-12 unless `$schema` says otherwise) of the answer's "
        "last fenced json block, or of the whole answer; at most 64 KiB, references within it "
        "alone; `format` is not checked.",
    )
    regex: str | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="Pattern searched in the whole answer, white space around it removed; anchor "
        "it with ^ and $ to match all of it. No look-around, no back-references.",
    )

    def build(self, parts: VerifierParts) -> "Schema":
        """Return the verifier.

        Raises:
            InvalidRequest: Neither is given, or one is malformed.
        """
        if self.json_schema is None and self.regex is None:
            raise InvalidRequest(
                "Give json_schema, regex or both.", param="entroute.verifier.json_schema"
            )
        longest, explained, form, pattern = MAX_ANSWER, 0, None, None
        if self.json_schema is not None:
            size = unrolled_size(self.json_schema)
            longest, explained = min(longest, MAX_WORK // size), MAX_EXPLAINED // size
            form = _compiled(self.json_schema, "json_schema")
        if self.regex is not None:
            pattern = _compiled({"type": "string", "pattern": self.regex}, "regex")
        return Schema(form, pattern, longest=longest, explained=explained)


class Schema:
    """Scores 1 where an answer parses, validates and is found by the pattern, else 0.

    Abstains on answers that are too long to be checked at once.

    Args:
        form: Validates the parsed answer, None for any text.
        pattern: Validates the text itself, None for any.
        longest: Characters of an answer that is checked.
        explained: Characters of an answer up to which the reason says what is wrong in it.
    """

    name = "schema"
    top_logprobs: int | None = None
    compares = False
    calls = 0

    def __init__(
        self,
        form: jsonschema_rs.Validator | None,
        pattern: jsonschema_rs.Validator | None,
        *,
        longest: int,
        explained: int,
    ) -> None:
        self._form = form
        self._pattern = pattern
        self._longest = longest
        self._explained = explained

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        """Score each candidate on its own. See `Verifier.score`."""
        return tuple(self._judge(text_of(candidate).strip()) for candidate in candidates)

    def _judge(self, text: str) -> Verdict:
        if len(text) > self._longest:
            return abstained(f"the answer is longer than {self._longest} characters")
        try:
            if self._pattern is not None and not self._pattern.is_valid(text):
                return Verdict(0.0, "the pattern is not found")
            if self._form is not None and not self._form.is_valid(value := parsed(text)):
                if len(text) > self._explained:
                    return Verdict(0.0, "not of the schema")
                self._form.validate(value)
        except jsonschema_rs.ValidationError as error:
            return Verdict(0.0, f"not of the schema: {quoted(error.message)}")
        except (ValueError, RecursionError) as error:
            return Verdict(0.0, f"no JSON: {quoted(str(error))}")
        return Verdict(1.0, "of the asked form")


def parsed(text: str) -> Any:
    """Return the JSON of a text: its last fenced json block, else the whole of it.

    Raises:
        ValueError: It is no JSON; NaN and Infinity are none.
        RecursionError: It is nested too deeply.
    """
    blocks = _BLOCK.findall(text)
    return json.loads(blocks[-1] if blocks else text, parse_constant=_no_number)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not in JSON")


def _compiled(schema: dict[str, Any], field: str) -> jsonschema_rs.Validator:
    """Return a validator that reads nothing from outside.

    Raises:
        InvalidRequest: The schema is malformed or refers to something outside it.
    """
    try:
        return jsonschema_rs.validator_for(
            schema, pattern_options=_PATTERNS, offline=True, validate_formats=False
        )
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        said = error.message if isinstance(error, jsonschema_rs.ValidationError) else str(error)
        raise InvalidRequest(
            f"{field} cannot be used: {quoted(said)}", param=f"entroute.verifier.{field}"
        ) from error
