"""What spending found, and the one mutable value: `Trace`.

Times are seconds, log-probabilities natural, scores and probabilities in [0, 1].
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

from entroute.decisions import Decision, Estimate
from entroute.errors import Limit
from entroute.spans import NO_STEP, Step, Story
from entroute.spending import Charge, Reservation, Usage
from entroute.types import Completion, Principal

StopReason = Literal[
    "settled", "confident", "verified", "budget", "deadline", "exhausted", "escalated"
]
CutShort = Literal["budget", "deadline"]
Result = Literal["running", "ok", "client_error", "server_error", "cancelled"]

CacheResult = Literal["miss", "exact", "semantic", "bypass"]


def cut_by(limit: Limit | None) -> CutShort:
    """Return why a request ends that a limit cut short."""
    return "deadline" if limit == "deadline" else "budget"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verifier thinks of one candidate.

    Attributes:
        score: In [0, 1], higher is better; meaningless when abstained.
        reason: Why, in words.
        abstained: Whether the verifier could not judge it.
        answer: The canonical answer that was judged, or None when there is none.
        failed: Whether it abstained because something it needed failed or was out of reach, not
            because the candidate gives nothing to judge.
    """

    score: float
    reason: str = ""
    abstained: bool = False
    answer: str | None = None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a strategy cannot honour a request.

    Attributes:
        param: Path of the field that stands in the way.
        reason: Why, in words that follow the field's name and a colon.
    """

    param: str
    reason: str


@dataclass(frozen=True, slots=True)
class Escalation:
    """A move to another tier, nearly always a higher one.

    Attributes:
        source: Tier that was left.
        target: Tier that took over.
        reason: unsure (a gate), rejected (a verifier), calm (back to the smaller tier), chance (a
            control that moves at random), unavailable or context.
        confidence: What the gate saw, in [0, 1], or None when it was not asked.
    """

    source: str
    target: str
    reason: Literal["unsure", "rejected", "calm", "chance", "unavailable", "context"]
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of one answer that one tier wrote.

    Attributes:
        tier: Who wrote it.
        tokens: Tokens it wrote that were delivered.
        reread_tokens: Tokens of the answer so far that it had to read first; 0 at the start.
    """

    tier: str
    tokens: int
    reread_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a strategy returns: the answer and its evidence.

    Attributes:
        choices: The answer, one completion a choice, at least one.
        strategy: Strategy that made it.
        stop_reason: Why it stopped spending.
        candidates: Completions it chose from.
        verdicts: One for each candidate, same order; empty when none was judged.
        verifier: Name of the verifier that judged, "" when none did.
        charges: Every call of the request, probes and discarded ones too.
        escalations: Moves between tiers, in order.
        degraded: Parts that failed on the way.
        cancelled: Calls that were cancelled because the decision no longer needed them.
        failures: What the calls that failed said.
        saved: Completion tokens that stopping early is estimated to have saved, by reason:
            cancelled (samples cut off), undrawn (samples never begun).
        segments: Who wrote which stretch of an answer that changed hands; empty otherwise.
        repeatable: Whether the same request may get this answer again; False for a control whose
            chance a stored answer would hide.
    """

    choices: tuple[Completion, ...]
    strategy: str
    stop_reason: StopReason
    candidates: tuple[Completion, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    verifier: str = ""
    charges: tuple[Charge, ...] = ()
    escalations: tuple[Escalation, ...] = ()
    degraded: tuple[str, ...] = ()
    cancelled: int = 0
    failures: tuple[str, ...] = ()
    saved: Mapping[str, int] = field(default_factory=dict)
    segments: tuple[Segment, ...] = ()
    repeatable: bool = True

    @property
    def tier(self) -> str:
        """The tier that made the answer."""
        return self.choices[0].tier

    @property
    def usage(self) -> Usage:
        """Everything spent, over all charges."""
        return sum((charge.usage for charge in self.charges), Usage())


@dataclass(frozen=True, slots=True)
class Likeness:
    """What a look for an answer of the same meaning found.

    Attributes:
        result: hit; miss (nothing alike enough, or its answer is gone); guarded (a guard refused
            the most similar one, and no other was taken); error (index or model failed or were too
            slow); ineligible (the request may not be answered by meaning).
        similarity: Cosine of the question that was taken, else of the most similar, in [-1, 1];
            None where nothing was compared.
        guard: The guard that refused, "" where none did.
    """

    result: Literal["hit", "miss", "guarded", "error", "ineligible"]
    similarity: float | None = None
    guard: str = ""


@dataclass(slots=True)
class Trace:
    """The story of one request, written as it happens and recorded once.

    Attributes:
        request_id: As the client sees it.
        endpoint: chat, completions, responses, embeddings or other.
        started: Monotonic seconds at arrival.
        streamed: Whether the client asked for a stream.
        tenant: Who asked.
        key: Id of the API key that asked, "" where none is asked for.
        group: Name under which metrics show the key.
        cache: What the cache had.
        likeness: What was found by meaning, None where it was not looked for.
        shared: Whether the answer is that of an identical request in flight.
        samples: What was kept of earlier runs of the prompt, None where none was looked for.
        resumed: Calls that those runs had made already.
        resumed_tokens: Prompt and completion tokens of those, which this run did not spend.
        waited_out: Whether it waited for another gateway's answer until it had no more time to.
        estimate: Step 2.
        decision: Step 3.
        outcome: Step 4.
        charges: Every call, also when there was no outcome.
        degraded: Parts that failed on the way, in order.
        result: How it ended for the client; running until then.
        error: Name of the error that ended the request, or None.
        exhausted: The budget limit that cut the request short, or None.
        upstream_s: Seconds in which at least one upstream call, program or reward was awaited.
        queued_s: Seconds in which all upstream calls that were awaited waited in a tier's queue.
        waits: Every wait in a queue: the tier, and seconds.
        client_s: Seconds spent waiting for the client to read a stream.
        ttft_s: Seconds to the first piece of the answer, None if it was not streamed.
        gaps_s: Seconds between the pieces after it.
        finished: Monotonic seconds at the end for the client, or None while it runs.
        last_piece: Monotonic seconds of the latest piece.
        open_parts: Parts still running: the client's reading and the spending.
        limited: The limit of its key that refused it, or None.
        reservation: What its key's limits have set aside for it, None for a key without limits.
        story: What becomes its spans, None where it is not traced.
        awaiting: The time in it is added to `upstream_s`; may be entered while it is entered.
    """

    request_id: str
    endpoint: str
    started: float
    streamed: bool = False
    tenant: str = ""
    key: str = ""
    group: str = ""
    cache: CacheResult | None = None
    likeness: Likeness | None = None
    shared: bool = False
    samples: Literal["hit", "miss", "error"] | None = None
    resumed: int = 0
    resumed_tokens: int = 0
    waited_out: bool = False
    estimate: Estimate | None = None
    decision: Decision | None = None
    outcome: Outcome | None = None
    charges: tuple[Charge, ...] = ()
    degraded: list[str] = field(default_factory=list)
    result: Result = "running"
    error: str | None = None
    exhausted: Limit | None = None
    upstream_s: float = 0.0
    queued_s: float = 0.0
    waits: list[tuple[str, float]] = field(default_factory=list)
    client_s: float = 0.0
    ttft_s: float | None = None
    gaps_s: list[float] = field(default_factory=list)
    finished: float | None = None
    last_piece: float = 0.0
    open_parts: int = 0
    limited: str | None = None
    reservation: Reservation | None = None
    story: Story | None = None
    awaiting: AbstractContextManager[None] = field(default_factory=nullcontext)

    def asked_by(self, principal: Principal) -> None:
        """Note who asks."""
        self.tenant, self.key, self.group = principal.tenant, principal.key, principal.group

    def note_piece(self, now: float) -> None:
        """Note that a piece of a stream was released."""
        if self.ttft_s is None:
            self.ttft_s = now - self.started
        else:
            self.gaps_s.append(now - self.last_piece)
        self.last_piece = now

    def step(self, name: str, **facts: Any) -> AbstractContextManager[Step]:
        """Return a context in which a step is taken that a trace shows."""
        return NO_STEP if self.story is None else self.story.step(name, **facts)

    @contextmanager
    def outside(self, name: str, **facts: Any) -> Iterator[Step]:
        """Return a step in which a sandbox or another server is awaited: not the gateway's time."""
        with self.awaiting, self.step(name, **facts) as step:
            yield step

    def passed(self, name: str, since: float, now: float) -> None:
        """Note a part of the walk between two monotonic seconds, for a trace."""
        if self.story is not None:
            self.story.passed(name, since, now)

    def note_resumed(self, completions: Sequence[Completion]) -> None:
        """Note the calls that earlier runs of the prompt had made already."""
        self.resumed = len(completions)
        self.resumed_tokens = sum(
            c.usage.prompt_tokens + c.usage.completion_tokens for c in completions
        )

    def degrade(self, part: str) -> None:
        """Note once that a part failed or was left out."""
        if part not in self.degraded:
            self.degraded.append(part)

    def overhead_s(self, now: float) -> float:
        """Return the gateway's own share of the time until `now`, or until the end."""
        end = now if self.finished is None else self.finished
        return max(0.0, end - self.started - self.upstream_s - self.queued_s - self.client_s)
