"""Judges of candidates: one file a verifier, each with its configuration.

A new one is a module here plus its name in `kinds.SimpleConfig`.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from entroute.protocols import Verifier
from entroute.verifiers.kinds import SIMPLE_VERIFIERS, Buildable, SimpleConfig, built
from entroute.verifiers.parts import VerifierParts
from entroute.verifiers.weighted import WeightedConfig

VerifierConfig = Annotated[SimpleConfig | WeightedConfig, Field(discriminator="kind")]

_READER: TypeAdapter[Buildable] = TypeAdapter(VerifierConfig)

KNOWN_VERIFIERS = tuple(sorted((*SIMPLE_VERIFIERS, "weighted")))


def build_verifier(option: Mapping[str, Any], parts: VerifierParts) -> Verifier:
    """Return the verifier that a request's option describes.

    Raises:
        InvalidRequest: The kind is unknown or a field is wrong; `param` is its path.
    """
    return built(_READER, KNOWN_VERIFIERS, option, parts)
