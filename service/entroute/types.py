"""What was asked, by whom, and what the workers said: immutable values.

Knows nothing of HTTP, of vendors or of configuration. Times are seconds, log-probabilities
natural.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from entroute.priorities import ANYBODY, Priority, Turn
from entroute.spending import BudgetLimits, Purpose, RateLimits, Usage

EMPTY: Mapping[str, Any] = MappingProxyType({})


CacheMode = Literal["default", "bypass", "refresh", "force"]

TokenLogprob = Mapping[str, Any]
"""One token as OpenAI's chat schema has it: token, logprob (nats), bytes, top_logprobs."""


def chosen_logprob(token: TokenLogprob) -> float:
    """Return the log-probability of the sampled token, in nats."""
    return float(token["logprob"])


def top_logprobs(token: TokenLogprob) -> tuple[float, ...]:
    """Return the reported alternatives' log-probabilities, in nats, most probable first."""
    return tuple(float(alternative["logprob"]) for alternative in token.get("top_logprobs") or ())


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What was asked, free of wire format.

    Attributes:
        model: As the client wrote it.
        messages: OpenAI messages, untouched; empty for a text completion.
        prompt: The prompt of a text completion, or None for a chat.
        n: Number of choices, at least 1.
        max_tokens: Cap on generated tokens a choice, or None.
        temperature: None when the client left it to the worker.
        seed: None unless asked for; choice i gets `seed + i`.
        logprobs: Whether the client wants log-probabilities.
        top_logprobs: How many alternatives a token the client wants, 0 to 20.
        suffix: What follows a text completion, which is to fill in before it; None for nothing.
        echo: Whether a text completion repeats its prompt before the answer.
        extra: Every other field, passed to the worker untouched.
    """

    model: str
    messages: tuple[Mapping[str, Any], ...] = ()
    prompt: str | None = None
    n: int = 1
    max_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    logprobs: bool = False
    top_logprobs: int = 0
    suffix: str | None = None
    echo: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reads_prompt(self) -> bool:
        """Whether only a worker can echo: log-probabilities of the prompt, or nothing else."""
        return self.echo and (self.logprobs or self.max_tokens == 0)

    @property
    def text(self) -> str:
        """The whole conversation's text, a blank line between messages; other parts left out."""
        if self.prompt is not None:
            return self.prompt
        return "\n\n".join(filter(None, (message_text(message) for message in self.messages)))

    @property
    def asked(self) -> str:
        """The text of the last user message; all text where there is none."""
        users = [message for message in self.messages if message.get("role") == "user"]
        return message_text(users[-1]) if users else self.text

    @property
    def has_tools(self) -> bool:
        """Whether the worker may answer with tool calls."""
        return bool(self.extra.get("tools") or self.extra.get("functions"))

    @property
    def has_images(self) -> bool:
        """Whether any message carries a part that is not text."""
        return any(
            part.get("type") not in {"text", "refusal"}
            for message in self.messages
            if isinstance(message.get("content"), list)
            for part in message["content"]
            if isinstance(part, Mapping)
        )


def message_text(message: Mapping[str, Any]) -> str:
    """Return the text of one message, its text parts joined by line breaks."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(str(part["text"]) for part in content if "text" in part)


@dataclass(frozen=True, slots=True)
class FillInMiddle:
    """The special tokens by which a model is asked for what stands between two texts.

    Source: "prefix-suffix-middle" order, Efficient Training of Language Models to Fill in the
    Middle (2207.14255), section 3.
    """

    prefix: str
    suffix: str
    middle: str

    def prompt(self, before: str, after: str) -> str:
        """Return the prompt whose continuation stands between two texts."""
        return f"{self.prefix}{before}{self.suffix}{after}{self.middle}"


@dataclass(frozen=True, slots=True)
class Options:
    """entroute's own options of one request.

    Attributes:
        strategy: Name of a pinned strategy, or None.
        quality: Target probability of a right answer in [0, 1], or None.
        limits: The client's own limits.
        verifier: A verifier's configuration (`kind` and its fields), or None.
        cache: What the cache may do.
        cache_tags: Names by which the kept answer can be invalidated, sorted, none twice.
        explain: Whether to show the decision and its evidence.
        priority: How urgent it is, None for what its key says.
    """

    strategy: str | None = None
    quality: float | None = None
    limits: BudgetLimits = field(default_factory=BudgetLimits)
    verifier: Mapping[str, Any] | None = None
    cache: CacheMode = "default"
    cache_tags: tuple[str, ...] = ()
    explain: bool = False
    priority: Priority | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, and what they may use.

    Attributes:
        tenant: Isolation unit of cached answers and accounts.
        tiers: Names of allowed tiers, or None for all.
        strategies: Names of allowed strategies, or None for all.
        limits: The most a single request may spend.
        key: Id of the API key, "" where none is asked for; what is counted and limited.
        group: Name under which metrics show the key, "" for none of its own.
        admin: Whether it may ask about other keys of the gateway.
        rates: What its key may use a minute and a month.
        priority: Of its requests, unless they ask for less.
    """

    tenant: str = "anonymous"
    tiers: frozenset[str] | None = None
    strategies: frozenset[str] | None = None
    limits: BudgetLimits = field(default_factory=BudgetLimits)
    key: str = ""
    group: str = ""
    admin: bool = False
    rates: RateLimits = field(default_factory=RateLimits)
    priority: Priority = "normal"


@dataclass(slots=True, eq=False)
class Placement:
    """Where calls that race each other for one answer have been put.

    Attributes:
        asked: URL of the worker that each is asked of, by the call's id.
    """

    asked: dict[int, str] = field(default_factory=dict)

    def taken(self, url: str, call_id: int) -> bool:
        """Whether another call than this is asked of a worker."""
        return any(url == other and call_id != asker for asker, other in self.asked.items())


@dataclass(frozen=True, slots=True)
class Call:
    """One upstream call: a request, which sample of it, and its bounds.

    Attributes:
        id: Number within the request, from 0.
        request: What was asked.
        purpose: What the call is for.
        deadline: Monotonic seconds.
        sample: Index of the sample, from 0; added to a seed.
        max_tokens: Cap on generated tokens, or None to leave it to the worker.
        top_logprobs: Alternatives a token to ask for, or None for what the client asked.
        partial: The answer's text so far, which the worker goes on with; "" for a fresh answer.
        salt: Keeps a tenant's prefix cache apart from others', "" for none.
        placement: Where calls that race it are, to be avoided; None where none does.
    """

    id: int
    request: ChatRequest
    purpose: Purpose
    deadline: float
    sample: int = 0
    max_tokens: int | None = None
    top_logprobs: int | None = None
    partial: str = ""
    salt: str = ""
    turn: Turn = field(default=ANYBODY, compare=False)
    placement: Placement | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer as it is made.

    Attributes:
        content: Text, may be empty.
        index: Index of the choice it belongs to.
        extra: Other fields of OpenAI's delta: tool_calls, reasoning_content, refusal.
        logprobs: Log-probabilities of the piece's tokens; empty if they were not asked for.
        usage: The call's usage so far where the worker reports it, else None.
        tier: Tier that makes it.
    """

    content: str = ""
    index: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)
    logprobs: tuple[TokenLogprob, ...] = ()
    usage: Usage | None = None
    tier: str = ""


@dataclass(frozen=True, slots=True)
class Completion:
    """One sample of one worker.

    Attributes:
        content: The answer's text, "" when it consists of tool calls alone.
        finish_reason: stop, length, tool_calls, content_filter or a worker's own word.
        usage: Tokens of this one call.
        tier: Tier that made it.
        model: Name the worker gave its model.
        worker: The worker's id.
        extra: Other fields of OpenAI's message: tool_calls, reasoning_content, refusal.
        choice_extra: Other fields of OpenAI's choice: stop_reason and the like.
        logprobs: One entry a token; empty if they were not asked for.
        ttft_s: Seconds to the first token; the whole latency if it was not streamed.
        latency_s: Seconds to the last token.
        call_id: The call that made it.
        resumed: Whether an earlier run of the same prompt made it: this one spent nothing on it.
    """

    content: str
    finish_reason: str
    usage: Usage
    tier: str = ""
    model: str = ""
    worker: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    choice_extra: Mapping[str, Any] = field(default_factory=dict)
    logprobs: tuple[TokenLogprob, ...] = ()
    ttft_s: float = 0.0
    latency_s: float = 0.0
    call_id: int = -1
    resumed: bool = False

    @property
    def tool_calls(self) -> Sequence[Mapping[str, Any]]:
        """The tool calls, empty when there are none."""
        return self.extra.get("tool_calls") or ()
