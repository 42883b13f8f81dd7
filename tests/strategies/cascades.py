"""Cascades over two fake tiers."""

import pytest

from entroute.errors import WorkerFailed
from entroute.evidence import Outcome
from entroute.protocols import Run
from entroute.strategies.cascade import Cascade, CascadeConfig
from tests.builders import a_run, a_tier, read_outcome
from tests.fakes import strategy_parts
from tests.scripted import FakeBackend, Script, says

WORDS = tuple(f"w{i} " for i in range(10))


SMALL, LARGE = "".join(WORDS), "the large answer"


DOWN = WorkerFailed("w", "answered 500")


either = pytest.mark.parametrize("stream", [True, False])


def a_cascade() -> Cascade:
    return CascadeConfig(window=4, smoothing=2, threshold=0.8).build(strategy_parts())


def two(small: Script | FakeBackend, large: Script | FakeBackend | None = None, **facts: object):
    return a_run(a_tier("small", small), a_tier("large", large or says(LARGE)), **facts)


async def answer(run: Run, *, stream: bool = True) -> Outcome:
    if not stream:
        return await a_cascade().run(run)
    text, outcome = await read_outcome(a_cascade().stream(run))
    assert text == outcome.choices[0].content
    return outcome


def spent(run: Run) -> list[tuple[str, str, int]]:
    return [(c.tier, c.purpose, c.usage.completion_tokens) for c in run.ledger.charges]
