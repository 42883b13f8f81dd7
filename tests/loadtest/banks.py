"""Made samples of known length, sureness and answer."""

from typing import Any

from entroute.evaluation.bank import BankHeader, Sample
from loadtest.tasks import Prompt

SURE = (-0.01, -6.0, -6.0, -6.0, -6.0)
UNSURE = (-1.2, -1.5, -1.7, -1.9, -2.1)
HEADER = BankHeader(
    tiers={"small": "small-model", "large": "large-model"},
    engine="made up",
    temperature=0.7,
    max_tokens=320,
    samples=4,
    prompts="",
    command="",
)


def sample(prompt: Prompt, text: str, tokens: int = 8, **facts: Any) -> Sample:
    """Return a sample of so many tokens, one a second, that says `text` with the last of them."""
    top = facts.pop("top", SURE)
    words = ("",) * (tokens - 1) + (text,)
    form = "reasoning" if prompt.task == "gsm8k" else "code"
    given: dict[str, Any] = {"form": form, "tier": "small", "index": 0, "message": prompt.message}
    return Sample(
        prompt=prompt.id,
        task=prompt.task,
        text=text,
        finish_reason="stop",
        prompt_tokens=10,
        latency_s=float(tokens),
        tokens=words,
        logprobs=(top[0],) * tokens,
        top=(top,) * tokens,
        **given | facts,
    )


def drawn(prompt: Prompt, *texts: str, **facts: Any) -> list[Sample]:
    """Return a sample of each text."""
    return [sample(prompt, text, index=i, **facts) for i, text in enumerate(texts)]


def number(value: int) -> str:
    """Return an answer that says a number."""
    return f"The answer is {value}."
