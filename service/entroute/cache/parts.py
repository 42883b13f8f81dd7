"""What steps 1 and 5 of the walk are made of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from entroute.cache.leases import Leases
from entroute.cache.samples import KeptSamples
from entroute.cache.stamps import Stamps
from entroute.evidence import Outcome, Trace
from entroute.protocols import Cache
from entroute.types import ChatRequest, Options, Principal


class SemanticCache(Protocol):
    """Finds the answer to a question that means the same; asked after an exact miss."""

    async def get(
        self, request: ChatRequest, options: Options, principal: Principal, trace: Trace
    ) -> Outcome | None:
        """Return the kept answer to a question of the same meaning, or None; never fail."""
        ...

    async def put(  # noqa: PLR0913, PLR0917 - all that was asked, and what came of it
        self,
        key: str,
        request: ChatRequest,
        options: Options,
        principal: Principal,
        outcome: Outcome,
        trace: Trace,
    ) -> None:
        """Make a new answer findable; never fail.

        `AnswerCache.get(key)` returns it, and None once its time is over or one of its tags was
        invalidated: what is found by meaning is best read there.
        """
        ...

    def keyed(self, key_of: Callable[[ChatRequest, Options, Principal], str]) -> "SemanticCache":
        """Return it under other keys; what it holds is shared."""
        ...

    async def start(self) -> None:
        """Get ready."""
        ...

    async def close(self) -> None:
        """Let go of what is held."""
        ...


@dataclass(frozen=True, slots=True)
class CacheParts:
    """What keeps answers, and by which rules.

    Attributes:
        answers: Keeps them by exact key.
        stamps: Invalidates them by tag.
        leases: Keeps gateways from making the same answer twice at once, None for one gateway.
        semantic: Finds them by meaning, None for not at all.
        sampled: Whether answers to sampled requests are kept, too.
        across_tenants: Whether tenants share answers.
        samples: Keeps the samples of prompts, None where votes always start over.
        discarded: Answers so far that were not given again or not kept, by reason; grows.
    """

    answers: Cache
    stamps: Stamps
    leases: Leases | None = None
    semantic: SemanticCache | None = None
    sampled: bool = False
    across_tenants: bool = False
    samples: KeptSamples | None = None
    discarded: Mapping[str, int] = field(default_factory=dict)
