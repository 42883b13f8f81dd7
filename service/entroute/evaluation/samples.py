"""One recorded answer of one model, and what a file of them says of itself: values alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ConfigDict

from entroute.types import TokenLogprob

SCHEMA = "entroute-bank-2"
"""The header's `schema`; raise it when a row's fields change in meaning."""

Key = tuple[str, str, str, int]
"""Tier, prompt, form and index: what may be in a bank only once."""

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class BankHeader:
    """What a bank holds and how it was made.

    Attributes:
        tiers: Model by tier.
        engine: What generated the samples, with its version and precision, in words.
        temperature: Of every sample.
        max_tokens: Most tokens of one sample, where its prompt names no other number.
        samples: Draws that each prompt and tier gets whatever comes of them.
        prompts: `PromptsFile.digest` of the prompts.
        command: How to make it again.
        hard_trials: Most draws of a prompt that is hard, 0 where none gets more.
        seed: What seeds began with, None where none was sent.
        summary: Whether texts and tokens are left out.
        schema: Version of the format.
    """

    tiers: Mapping[str, str]
    engine: str
    temperature: float
    max_tokens: int
    samples: int
    prompts: str
    command: str
    hard_trials: int = 0
    seed: int | None = None
    summary: bool = False
    schema: str = SCHEMA

    __pydantic_config__ = _STRICT


@dataclass(frozen=True, slots=True)
class Entropy:
    """How sure a model was over one answer, from the ranked alternatives of its tokens.

    Attributes:
        mean: Mean token entropy, a lower bound: nats, 0 (certain) and up.
        p90: Least value that nine tenths of the tokens do not exceed, nats.
        max: Of the least certain token, nats.
        tail: `confidence.tail_confidence`: nats, HIGHER is more certain; None without alternatives.
    """

    mean: float
    p90: float
    max: float
    tail: float | None = None

    __pydantic_config__ = _STRICT


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer of one model to one prompt.

    Attributes:
        prompt: The prompt's id.
        task: The benchmark it belongs to.
        form: How it was asked: reasoning, program, code.
        tier: Tier that made it.
        index: Which of the independent draws it is, from 0.
        message: What the user asked, the whole conversation; "" in a summary.
        text: The answer; "" in a summary.
        finish_reason: Why it ended.
        prompt_tokens: Tokens read, as the worker counts them.
        latency_s: Seconds to the last token, at the load it was recorded under.
        tokens: Its tokens, as text; empty in a summary.
        logprobs: Their log-probabilities in nats.
        top: The most probable alternatives' log-probabilities of each token, in nats.
        digest: `digest_of` the conversation.
        answer: The answer in canonical writing, None where none can be read; code as its digest.
        right: Whether the prompt's check found it right, None where it was not or cannot be judged.
        completion_tokens: Tokens made, as the worker counts them.
        ttft_s: Seconds to the first token, None where it was not measured.
        entropy: Summary over its tokens, None where the worker told no log-probabilities.
        mean_logprob: Mean log-probability of its tokens: nats, HIGHER is likelier.
        prompt_logprob: Mean log-probability of the prompt's tokens, None where it was not asked for
            or the worker cannot tell.
        extra: Whether it was drawn because earlier ones were wrong; such draws are biased, and
            means over a prompt must leave them out.
    """

    prompt: str
    task: str
    form: str
    tier: str
    index: int
    message: str
    text: str
    finish_reason: str
    prompt_tokens: int
    latency_s: float
    tokens: tuple[str, ...] = field(default=())
    logprobs: tuple[float, ...] = field(default=())
    top: tuple[tuple[float, ...], ...] = field(default=())
    digest: str = ""
    answer: str | None = None
    right: bool | None = None
    completion_tokens: int = 0
    ttft_s: float | None = None
    entropy: Entropy | None = None
    mean_logprob: float | None = None
    prompt_logprob: float | None = None
    extra: bool = False

    __pydantic_config__ = _STRICT

    def __post_init__(self) -> None:
        """Refuse what no recorder writes."""
        if not len(self.tokens) == len(self.logprobs) == len(self.top):
            raise ValueError("tokens, logprobs and top must be of the same length")
        if min(self.index, self.latency_s, self.prompt_tokens, self.completion_tokens) < 0:
            raise ValueError("index, latency_s and counts of tokens must be 0 or more")

    @property
    def key(self) -> Key:
        """What tells it from every other sample of a bank."""
        return self.tier, self.prompt, self.form, self.index

    @property
    def token_logprobs(self) -> tuple[TokenLogprob, ...]:
        """The tokens as OpenAI's chat schema has them, alternatives without their text."""
        return tuple(
            {
                "token": token,
                "logprob": logprob,
                "bytes": None,
                "top_logprobs": [{"token": "", "logprob": p, "bytes": None} for p in top],
            }
            for token, logprob, top in zip(self.tokens, self.logprobs, self.top, strict=True)
        )
