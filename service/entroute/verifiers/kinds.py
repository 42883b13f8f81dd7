"""The kinds of verifiers that judge by themselves, and how a request's option is read.

A new one is a module of this package plus its name in `SimpleConfig`.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol, get_args

from pydantic import Field, TypeAdapter, ValidationError

from entroute.errors import InvalidRequest
from entroute.protocols import Verifier
from entroute.verifiers.confidence import ConfidenceConfig
from entroute.verifiers.exact import ExactConfig
from entroute.verifiers.judge import JudgeConfig
from entroute.verifiers.judging import quoted
from entroute.verifiers.likelihood import LikelihoodConfig
from entroute.verifiers.majority import MajorityConfig
from entroute.verifiers.parts import VerifierParts
from entroute.verifiers.program import ProgramConfig
from entroute.verifiers.reward import RewardConfig
from entroute.verifiers.schema import SchemaConfig
from entroute.verifiers.self_certainty import SelfCertaintyConfig
from entroute.verifiers.self_evaluation import SelfEvaluationConfig
from entroute.verifiers.tests import UnitTestsConfig

SimpleConfig = (
    ConfidenceConfig
    | ExactConfig
    | JudgeConfig
    | LikelihoodConfig
    | MajorityConfig
    | ProgramConfig
    | RewardConfig
    | SchemaConfig
    | SelfCertaintyConfig
    | SelfEvaluationConfig
    | UnitTestsConfig
)

PARAM = "entroute.verifier"
"""Where a request names its verifier."""


class Buildable(Protocol):
    """A verifier's configuration."""

    def build(self, parts: VerifierParts) -> Verifier:
        """Return the verifier; raise InvalidRequest where the request cannot have it."""
        ...


_READER: TypeAdapter[Buildable] = TypeAdapter(Annotated[SimpleConfig, Field(discriminator="kind")])

SIMPLE_VERIFIERS: tuple[str, ...] = tuple(
    sorted(config.model_fields["kind"].default for config in get_args(SimpleConfig))
)


def build_simple(option: Mapping[str, Any], parts: VerifierParts, path: str = PARAM) -> Verifier:
    """Return the verifier that an option at `path` describes; any kind but `weighted`.

    Raises:
        InvalidRequest: The kind is unknown or a field is wrong; `param` is its path.
    """
    return built(_READER, SIMPLE_VERIFIERS, option, parts, path)


def built(
    reader: TypeAdapter[Buildable],
    known: Sequence[str],
    option: Mapping[str, Any],
    parts: VerifierParts,
    path: str = PARAM,
) -> Verifier:
    """Return the verifier that an option at `path` describes, one of the kinds that are known.

    Raises:
        InvalidRequest: The kind is unknown or a field is wrong; `param` is its path.
    """
    kind = option.get("kind")
    if kind not in known:
        raise InvalidRequest(
            f"Unknown verifier kind {quoted(repr(kind))}. Known verifiers: {', '.join(known)}.",
            param=f"{path}.kind",
        )
    try:
        return reader.validate_python(dict(option)).build(parts)
    except ValidationError as error:
        first = error.errors()[0]
        place = [path, *(str(part) for part in first["loc"][1:])]  # the first is the kind
        raise InvalidRequest(first["msg"], param=".".join(place)) from error
    except InvalidRequest as error:
        param = (error.param or PARAM).replace(PARAM, path, 1)
        raise InvalidRequest(error.message, param=param, code=error.code) from error
