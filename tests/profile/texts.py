"""Labelled prompts in which words, length and options decide who is right."""

from random import Random

from entroute.evaluation.text_fit import Labelled
from entroute.profile.features import extract

EASY = ["apple", "basket", "market", "seller", "fruit", "morning"]
HARD = ["integral", "manifold", "tensor", "eigenvalue", "topology", "lemma"]
FILLER = ["the", "of", "and", "a", "in", "to", "that", "with", "for", "on", "from", "some", "many"]

TIERS = ("small", "large")


def prompt(random: Random, *, hard: bool) -> str:
    words = [random.choice(HARD if hard else EASY) for _ in range(3)]
    words += [random.choice(FILLER) for _ in range(random.randint(5, 15))]
    random.shuffle(words)
    more = random.choice(
        ["", "", "\n\nTell me about that, and for some.", "\n\nTell me?\n\nTell me."]
    )
    return f"Tell me about {' '.join(words)} {random.randint(1, 99)}?{more}"


def prompts(count: int, seed: int = 0) -> list[tuple[str, bool]]:
    random = Random(seed)  # noqa: S311 - sample data
    return [(prompt(random, hard=place % 2 == 1), place % 2 == 1) for place in range(count)]


def labelled(count: int, seed: int = 0) -> list[Labelled]:
    """Small is right on easy prompts 9 times in 10, on hard ones once; large 9 times on both."""
    random = Random(seed + 1)  # noqa: S311 - sample data
    return [
        Labelled(
            extract(text),
            {
                "small": float(random.random() < (0.1 if hard else 0.9)),
                "large": float(random.random() < 0.9),
            },
            task="maths" if hard else "shopping",
            output_tokens=400.0 if hard else 50.0,
        )
        for text, hard in prompts(count, seed)
    ]
