"""Answers that describe themselves: every token names its worker, its generation and its place.

A prompt may hold a tag, `[name length]`; its answer has so many tokens, `W.G.0 W.G.1 ...`, where W
is the worker process (another one after a restart) and G the generation. Whoever reads an answer
can hold it against what the worker says it sent, token by token.
"""

import re
from dataclasses import dataclass
from random import Random

from loadtest.asking import Ask
from loadtest.generation import FinishReason, Plan, Step
from loadtest.script import LEVELS, Script

TOKEN = re.compile(r"(\w+)\.(\d+)\.(\d+)")
_TAG = re.compile(r"\[(\w+) (\d+)\]")
_STRETCH = 16  # tokens that share their certainty


@dataclass(frozen=True, slots=True)
class Described:
    """One generation: who makes it, its number, the prompt's name, and what is said."""

    worker: str
    number: int
    prompt: str
    before: str
    ending: str
    plan: Plan


class Describer:
    """Lays out answers that describe themselves.

    Args:
        worker: Name of this process, letters, digits and _.
    """

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._made = 0

    def described(self, ask: Ask, script: Script, ending: str) -> Described:
        """Lay out the next generation.

        Args:
            ask: The request; where its answer has begun, the rest is made.
            script: Tells the length where the prompt does not, and how sure its tokens are.
            ending: What is said in the last token, after a line break; may be empty.
        """
        tag = _TAG.search(ask.last_user_message)
        name, length = (tag[1], int(tag[2])) if tag else ("", script.tokens)
        number, self._made = self._made, self._made + 1
        said = len(TOKEN.findall(ask.partial))
        texts = [f"{self._worker}.{number}.{place}" for place in range(max(0, length - said))]
        gap = " " if ask.partial and not ask.partial[-1].isspace() else ""
        texts = [(" " if place else gap) + text for place, text in enumerate(texts)]
        if ending and not ask.partial.endswith(ending):
            texts.append(f"\n{ending}")
        reason: FinishReason = "stop"
        if ask.max_tokens is not None and len(texts) > ask.max_tokens:
            texts, reason = texts[: ask.max_tokens], "length"
        steps = tuple(
            Step(text, text, _certainty(script, name, said + place))
            for place, text in enumerate(texts)
        )
        plan = Plan(steps, "".join(texts), "", reason)
        return Described(self._worker, number, name, ask.partial, ending, plan)


def _certainty(script: Script, prompt: str, place: int) -> float:
    if not script.unsure:
        return script.certainty[-1]
    drawn = Random(f"{script.seed} {prompt} {place // _STRETCH}").random()
    return LEVELS["unsure"] if drawn < script.unsure else script.certainty[-1]
