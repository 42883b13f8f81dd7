"""What a fake worker is told to do: answers, pace, certainty and failures.

It knows nothing about HTTP, tokens or JSON: `reading` makes these values from JSON.
"""

from dataclasses import dataclass

from loadtest.failures import Failure

# Probability of the chosen token for the two named levels. Entropy of a token is about
# 0.07 nats at .99 and 1.5 nats at .4 (the rest of the mass is halved from rank to rank).
LEVELS = {"confident": 0.99, "unsure": 0.4}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One scripted call; `arguments` is JSON text."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What one sample says.

    `certainty` holds the probability in (0, 1] of each chosen token, the last one lasting to the
    end; None takes the script's. `reasoning` comes first, tool calls last.
    """

    text: str
    certainty: tuple[float, ...] | None = None
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """Answers for requests whose last user message contains a text; they are cycled through."""

    contains: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Vectors:
    """How embeddings are answered: their length, whether tokens are told, whether base64 is known.

    A worker that does not know base64 answers with numbers whatever it is asked for.
    """

    dimensions: int = 16
    usage: bool = True
    base64: bool = True


@dataclass(frozen=True, slots=True)
class Script:
    """How a fake worker behaves until it is told otherwise.

    `ttft_ms` is the delay before the first token, `tokens_per_second` the pace after it (0: as
    fast as possible), `tokens` the length of an answer where no text is scripted. `jitter` in
    [0, 1] is the share by which both may differ from request to request. `accuracy` in [0, 1] is
    the probability of a rule's first answer, the right one; None takes its answers in turn.

    A `described` answer tells of every token which worker made it (see `loadtest.describing`);
    `unsure` in [0, 1] is the share of its stretches that are not certain. `seed` draws it all.
    Without `metrics` its page of them is an error.
    """

    ttft_ms: float = 0.0
    tokens_per_second: float = 0.0
    tokens: int = 16
    certainty: tuple[float, ...] = (LEVELS["confident"],)
    answers: tuple[Answer, ...] = ()
    rules: tuple[Rule, ...] = ()
    failures: tuple[Failure, ...] = ()
    healthy: bool = True
    metrics: bool = True
    vectors: Vectors = Vectors()
    seed: int = 0
    jitter: float = 0.0
    accuracy: float | None = None
    described: bool = False
    unsure: float = 0.0
