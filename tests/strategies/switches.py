"""Answers that change hands between fake tiers which tell one story."""

from contextlib import aclosing
from typing import Any

from hypothesis import strategies as st

from entroute.errors import WorkerFailed
from entroute.evidence import Outcome
from entroute.protocols import Run
from entroute.spending import Price
from entroute.strategies.entropy_switch import EntropySwitchConfig
from entroute.strategies.switching import Switching
from tests.builders import a_run, a_tier, read_outcome
from tests.continuing import Continuing, Cut, by_bytes, by_spaces, by_words, every
from tests.fakes import strategy_parts
from tests.scripted import SURE, UNSURE, FakeBackend

STORY = "The cat, who is old,\n\nsat on the mat and looked at the naïve 猫 🐈 for a while."
DOWN = WorkerFailed("w", "answered 500")


def a_switch(**facts: float) -> Switching:
    given = {"window": 1, "minimum_run": 1, "threshold": 0.5, "low": 0.1} | facts
    return EntropySwitchConfig.model_validate(given).build(strategy_parts())


def two(small: FakeBackend, large: FakeBackend, **facts: object) -> Run:
    price = Price(1.0, 2.0)
    return a_run(
        a_tier("small", small, continues=True, price=price),
        a_tier("large", large, continues=True, price=price),
        **facts,
    )


def story(*certainties: float, cut: Cut = by_words, **facts: Any) -> Continuing:
    return Continuing(STORY, cut, certainties or (SURE,), **facts)


async def answer(run: Run, switch: Switching | None = None) -> tuple[str, Outcome]:
    async with aclosing((switch or a_switch()).stream(run)) as stream:
        text, outcome = await read_outcome(stream)
    assert text == outcome.choices[0].content
    tokens = sum(segment.tokens for segment in outcome.segments)
    assert tokens == outcome.choices[0].usage.completion_tokens
    return text, outcome


def moves(outcome: Outcome) -> list[tuple[str, str, str]]:
    return [(move.source, move.target, move.reason) for move in outcome.escalations]


TEXTS = st.text(st.sampled_from("ab .\n\u00a0é猫🐈\u0301,{}"), max_size=40)
CUTS = st.sampled_from([by_words, by_spaces, by_bytes, every(2), every(3), every(5)])
DOUBTS = st.lists(st.sampled_from([SURE, UNSURE]), min_size=1, max_size=30)
HANDS = st.tuples(CUTS, DOUBTS)
