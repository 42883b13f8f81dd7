"""The ways a fake worker can be told to fail."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

FailureKind = Literal[
    "status",  # an error status with vLLM's body, with Retry-After where given
    "refuse",  # the connection is reset before any byte
    "hang",  # nothing is ever sent
    "slow_loris",  # the head of the answer dribbles, byte by byte, and never ends
    "content_type",  # status 200 with a page of HTML, as from a proxy in between
    "reset",  # RST after `after_tokens` tokens
    "close",  # FIN after `after_tokens` tokens, in the middle of the body
    "stall",  # nothing more after `after_tokens` tokens
    "malformed",  # broken JSON after `after_tokens` tokens, the HTTP body whole
    "truncated",  # half an event after `after_tokens` tokens, then a clean end without [DONE]
    "trickle",  # the whole answer, `piece_bytes` at a time, one piece every `every_ms`
]

AT_ONCE = frozenset({"status", "refuse", "hang", "slow_loris", "content_type"})
"""Failures before a token is made."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure for the next `times` generation requests (None: until changed).

    `probability` in (0, 1] is that of each request to be one of them. `piece_bytes` and `every_ms`
    are the pace of what dribbles.
    """

    kind: FailureKind
    times: int | None = None
    status: int = 500
    after_tokens: int = 0
    retry_after_s: float | None = None
    probability: float = 1.0
    piece_bytes: int = 1
    every_ms: float = 100.0


class Failing:
    """Says which requests fail, and how; the first failure that is due wins.

    Args:
        failures: In order.
        rng: Draws where a failure has a probability.
    """

    def __init__(self, failures: Sequence[Failure], rng: Random) -> None:
        self._failures = failures
        self._left = [failure.times for failure in failures]
        self._rng = rng

    def next(self) -> Failure | None:
        """Return how the coming request fails, or None."""
        for place, failure in enumerate(self._failures):
            left = self._left[place]
            if left == 0:
                continue
            if failure.probability < 1 and self._rng.random() >= failure.probability:
                continue
            self._left[place] = None if left is None else left - 1
            return failure
        return None


class Interrupted(Exception):  # an instruction to the answering code, not an error
    """Generation reached the point at which its script breaks the answer."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.kind)
        self.failure = failure
