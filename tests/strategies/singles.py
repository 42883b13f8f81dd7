"""Runs of `single` over fake tiers."""

import pytest

from entroute.calls import Head
from entroute.errors import TierUnavailable
from entroute.evidence import Outcome
from entroute.protocols import Run
from entroute.strategies.single import SingleConfig
from tests.builders import read_outcome
from tests.fakes import strategy_parts

DOWN = TierUnavailable("small", "refused")


either = pytest.mark.parametrize("stream", [True, False])


async def answer(run: Run, *, stream: bool) -> Outcome:
    single = SingleConfig().build(strategy_parts())
    if not stream:
        return await single.run(run)
    text, outcome = await read_outcome(single.stream(run))
    assert text == "".join(choice.content for choice in outcome.choices)
    return outcome


def spent(run: Run) -> list[tuple[str, str]]:
    return [(charge.tier, charge.purpose) for charge in run.ledger.charges]


async def probed(run: Run) -> Run:
    call = run.reserve(run.tiers[0], "probe", top_logprobs=5)
    rest = run.tiers[0].backend.stream(call)
    run.head = Head("small", call, [await anext(rest)], rest)
    return run
