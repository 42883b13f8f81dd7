"""Judges of candidates: one file a verifier, each with its configuration.

A new one is a module here plus its name in `VerifierConfig`.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from entroute.errors import InvalidRequest
from entroute.protocols import Verifier
from entroute.verifiers.confidence import ConfidenceConfig
from entroute.verifiers.exact import ExactConfig
from entroute.verifiers.majority import MajorityConfig
from entroute.verifiers.parts import VerifierParts

VerifierConfig = Annotated[
    ConfidenceConfig | MajorityConfig | ExactConfig, Field(discriminator="kind")
]

_READER: TypeAdapter[ConfidenceConfig | MajorityConfig | ExactConfig] = TypeAdapter(VerifierConfig)

KNOWN_VERIFIERS = ("confidence", "exact", "majority")


def build_verifier(option: Mapping[str, Any], parts: VerifierParts) -> Verifier:
    """Return the verifier that a request's option describes.

    Raises:
        InvalidRequest: The kind is unknown or a field is wrong; `param` is its path.
    """
    kind = option.get("kind")
    if kind not in KNOWN_VERIFIERS:
        known = ", ".join(KNOWN_VERIFIERS)
        raise InvalidRequest(
            f"Unknown verifier kind {kind!r}. Known verifiers: {known}.",
            param="entroute.verifier.kind",
        )
    try:
        return _READER.validate_python(dict(option)).build(parts)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"][1:])
        raise InvalidRequest(first["msg"], param=f"entroute.verifier.{path}") from error
