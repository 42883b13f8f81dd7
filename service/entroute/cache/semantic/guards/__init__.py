"""Guards: why two texts that look alike must not share an answer.

Each is a pure function of two readings that says whether they differ in one respect. They know
English; what is not English they refuse. A guard that is wrong costs a hit, never a wrong answer.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from entroute.cache.semantic.guards import (
    content,
    language,
    literal,
    modality,
    names,
    numbers,
    opposites,
    order,
    person,
    polarity,
    quantifiers,
    questions,
    units,
)
from entroute.cache.semantic.guards.reading import Reading, read

Guard = Callable[[Reading, Reading], bool]

GUARDS: Mapping[str, Guard] = MappingProxyType(
    {
        "language": language.not_english,
        "code": literal.code_differs,
        "quotation": literal.quotation_differs,
        "numbers": numbers.differs,
        "units": units.differs,
        "polarity": polarity.differs,
        "antonyms": opposites.antonyms,
        "alternatives": opposites.alternatives,
        "names": names.differs,
        "question": questions.differs,
        "content": content.differs,
        "person": person.differs,
        "direction": order.differs,
        "quantifiers": quantifiers.differs,
        "modality": modality.modality_differs,
        "tense": modality.tense_differs,
    }
)
"""Every guard by the name that metrics and `explain` show, in the order in which they are asked."""


def objection(a: Reading, b: Reading) -> str | None:
    """Return the name of the first guard that finds the texts different, None when none does."""
    return next((name for name, differ in GUARDS.items() if differ(a, b)), None)


__all__ = ["GUARDS", "Guard", "Reading", "objection", "read"]
