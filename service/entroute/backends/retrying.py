"""How often a call that failed is tried on another worker."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Retries:
    """What is tried again before the first byte.

    Attributes:
        attempts: Most workers tried for one call, at least 1.
    """

    attempts: int = 3
