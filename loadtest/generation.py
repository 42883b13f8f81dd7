"""From an answer to the steps a model would take: one token each, with its alternatives.

It knows nothing about HTTP, time or JSON shapes.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from loadtest.script import Answer

# Every character falls in exactly one token, so joining tokens gives the text back.
_TOKEN = re.compile(r"\s?\w+|\s?[^\w\s]|\s")

Channel = Literal["reasoning", "content", "tool"]
FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, slots=True)
class Step:
    """One generated token; `probability` in (0, 1] is that of the token chosen.

    `call` is the place of the tool call it belongs to, `name` the function's on its first step.
    `token` differs from `text` only where a stop string cut the text short.
    """

    token: str
    text: str
    probability: float
    channel: Channel = "content"
    call: int = 0
    name: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """All steps of one sample, the text they join to, and why it ends."""

    steps: tuple[Step, ...]
    content: str
    reasoning: str
    finish_reason: FinishReason
    stop_reason: str | None = None


def tokenize(text: str) -> list[str]:
    """Split text into tokens that join to it again."""
    return _TOKEN.findall(text)


@lru_cache(maxsize=1024)
def plan(
    answer: Answer,
    certainty: tuple[float, ...],
    *,
    partial: str = "",
    max_tokens: int | None = None,
    stop: tuple[str, ...] = (),
) -> Plan:
    """Lay out an answer under the limits of a request.

    `certainty` holds the probability of each content token, the last one lasting to the end;
    where the answer begins with `partial`, that much of it is not said again.
    """
    steps = _steps(answer, certainty)
    if partial and answer.text.startswith(partial):
        steps = _without(steps, partial)
    steps, word = _stopped(steps, stop)
    reason: FinishReason = "tool_calls" if steps and steps[-1].channel == "tool" else "stop"
    if max_tokens is not None and len(steps) > max_tokens:
        steps, word, reason = steps[:max_tokens], None, "length"
    return Plan(steps, _joined(steps, "content"), _joined(steps, "reasoning"), reason, word)


def alternatives(step: Step, count: int) -> list[tuple[str, float]]:
    """Return `count` tokens with log-probabilities in nats, the chosen token first.

    The mass the chosen token leaves is halved from rank to rank, so the total never exceeds 1.
    """
    ranked = [(step.token, math.log(step.probability))]
    rest = 1.0 - step.probability
    for rank in range(1, count):
        rest /= 2
        ranked.append((f"{step.token}~{rank}", math.log(max(rest, 1e-9))))
    return ranked[:count]


def _steps(answer: Answer, certainty: tuple[float, ...]) -> tuple[Step, ...]:
    levels = answer.certainty or certainty
    steps = [Step(piece, piece, levels[-1], "reasoning") for piece in tokenize(answer.reasoning)]
    for place, piece in enumerate(tokenize(answer.text)):
        steps.append(Step(piece, piece, levels[min(place, len(levels) - 1)]))
    for number, call in enumerate(answer.tool_calls):
        steps.append(Step("", "", levels[-1], "tool", number, call.name))
        steps.extend(
            Step(piece, piece, levels[-1], "tool", number) for piece in tokenize(call.arguments)
        )
    return tuple(steps)


def _joined(steps: Sequence[Step], channel: Channel) -> str:
    return "".join(step.text for step in steps if step.channel == channel)


def _without(steps: tuple[Step, ...], partial: str) -> tuple[Step, ...]:
    """Drop reasoning and the tokens of `partial`; one that reaches beyond it keeps its rest."""
    kept, place = [], 0
    for step in steps:
        if step.channel == "tool":
            kept.append(step)
        elif step.channel == "content":
            rest = step.text[max(len(partial) - place, 0) :]
            place += len(step.text)
            if rest:
                kept.append(replace(step, token=rest, text=rest))
    return tuple(kept)


def _stopped(steps: tuple[Step, ...], stop: Sequence[str]) -> tuple[tuple[Step, ...], str | None]:
    """Cut the text before the first stop string; the tokens that spelt it still count."""
    text = _joined(steps, "content")
    found = sorted((text.find(word) + len(word), word) for word in stop if word and word in text)
    if not found:
        return steps, None
    end, word = found[0]
    cut, place = end - len(word), 0
    kept: list[Step] = []
    for step in steps:
        if step.channel == "content":
            kept.append(replace(step, text=step.text[: max(cut - place, 0)]))
            place += len(step.text)
            if place >= end:
                break
        else:
            kept.append(step)
    return tuple(kept), word
