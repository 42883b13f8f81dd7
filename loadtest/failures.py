"""The ways a fake worker can be told to fail."""

from dataclasses import dataclass
from typing import Literal

FailureKind = Literal[
    "status",  # an error status with vLLM's body, with Retry-After where given
    "refuse",  # the connection is reset before any byte
    "hang",  # nothing is ever sent
    "reset",  # RST after `after_tokens` tokens
    "close",  # FIN after `after_tokens` tokens, in the middle of the body
    "stall",  # nothing more after `after_tokens` tokens
    "malformed",  # broken JSON after `after_tokens` tokens, the HTTP body whole
    "truncated",  # half an event after `after_tokens` tokens, then a clean end without [DONE]
]


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure for the next `times` generation requests (None: until changed)."""

    kind: FailureKind
    times: int | None = None
    status: int = 500
    after_tokens: int = 0
    retry_after_s: float | None = None


class Interrupted(Exception):  # an instruction to the answering code, not an error
    """Generation reached the point at which its script breaks the answer."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.kind)
        self.failure = failure
