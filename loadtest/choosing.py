"""Which of its scripted answers a fake worker gives."""

from dataclasses import replace
from functools import lru_cache
from random import Random

from loadtest.script import Answer, Rule, Script

_WRONG = 10  # different wrong answers where a rule has only the right one


class Choosing:
    """Picks answers by the script: in turn, or right with the script's accuracy.

    Args:
        script: What to say.
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self._turns: dict[str, int] = {}

    def next_answer(self, last_user_message: str, *, tools: bool) -> Answer:
        """Return the answer of the first matching rule, else the script's, else counted words."""
        script = self._script
        rule = next((rule for rule in script.rules if rule.contains in last_user_message), None)
        if rule is not None and script.accuracy is not None:
            return _drawn(rule, last_user_message, self._turn(last_user_message), script)
        answers = script.answers if rule is None else rule.answers
        if not answers:
            return _counted_words(script.tokens)
        turn = self._turn("" if rule is None else f"rule {rule.contains}")
        answer = answers[turn % len(answers)]
        return answer if tools or not answer.tool_calls else replace(answer, tool_calls=())

    def _turn(self, key: str) -> int:
        turn = self._turns.get(key, 0)
        self._turns[key] = turn + 1
        return turn


def _drawn(rule: Rule, prompt: str, sample: int, script: Script) -> Answer:
    """Return a sample's answer to a prompt; the same seed, prompt and sample say the same."""
    right, *wrong = rule.answers or (_counted_words(script.tokens),)
    rng = Random(f"{script.seed} {sample} {prompt}")
    if script.accuracy is not None and rng.random() < script.accuracy:
        return right
    if wrong:
        return rng.choice(wrong)
    return replace(right, text=f"wrong {rng.randrange(_WRONG)}", tool_calls=())


@lru_cache(maxsize=64)
def _counted_words(tokens: int) -> Answer:
    return Answer(" ".join(f"word{number}" for number in range(tokens)))
