from typing import Any

import pytest

from entroute.difficulty.probe import Probe, ProbeConfig
from entroute.errors import DeadlineExceeded, WorkerFailed, WorkerRejected
from entroute.protocols import Run
from entroute.types import ChatRequest
from tests.builders import a_budget, a_request, a_run, a_tier, backend_of, read_outcome
from tests.scripted import FakeBackend, fails, hangs, says, unsure

WORDS = tuple(f"w{i} " for i in range(10))


def a_probe() -> Probe:
    return ProbeConfig(tokens=4, smoothing=2).build()


async def closed(run: Run) -> tuple[str, int]:
    await run.close()
    (charge,) = run.ledger.charges
    return charge.purpose, charge.usage.completion_tokens


@pytest.mark.parametrize(
    ("script", "expected"), [(says(*WORDS), 0.008), (unsure(*WORDS), 0.5), (says("Yes."), 0.008)]
)
async def test_difficulty_is_one_minus_the_confidence_of_the_first_tokens(
    script: object, expected: float
) -> None:
    run = a_run(a_tier("small", script), a_tier("large"))  # type: ignore[arg-type]
    estimate = await a_probe().estimate(run)
    assert estimate.difficulty == pytest.approx(expected, abs=0.001)
    assert estimate.source == "probe"
    assert "tier small" in estimate.reason
    await run.close()


async def test_only_the_first_tokens_are_read_and_charged_as_a_probe() -> None:
    small = FakeBackend(hangs(after=4, pieces=WORDS))
    run = a_run(a_tier("small", small))
    await a_probe().estimate(run)
    assert small.running == 1
    assert small.calls[0].purpose == "probe"
    assert await closed(run) == ("probe", 4)
    assert small.cancelled == [0]


async def test_the_stream_goes_on_in_a_strategy() -> None:
    from entroute.strategies.single import Single

    small = FakeBackend(says(*WORDS))
    run = a_run(a_tier("small", small))
    await a_probe().estimate(run)
    text, _ = await read_outcome(Single().stream(run))
    assert text == "".join(WORDS)
    assert len(small.calls) == 1
    assert run.ledger.charges[0].purpose == "answer"


@pytest.mark.parametrize("facts", [{"n": 2}, {"extra": {"tools": [{}]}}])
async def test_it_abstains_without_a_call_where_one_stream_would_not_do(
    facts: dict[str, Any],
) -> None:
    tier = a_tier("small")
    assert (await a_probe().estimate(a_run(tier, request=a_request(**facts)))).abstained
    assert backend_of(tier).calls == []


async def test_it_probes_the_cheapest_tier_that_is_up_and_fits() -> None:
    picture = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    request = ChatRequest(model="auto", messages=({"role": "user", "content": picture},))
    tiers = (
        a_tier("blind"),
        a_tier("off", available=False, vision=True),
        a_tier("large", vision=True),
    )
    run = a_run(*tiers, request=request)
    assert not (await a_probe().estimate(run)).abstained
    assert run.head is not None
    assert run.head.tier == "large"
    await run.close()


async def test_it_abstains_when_no_tier_can_be_probed() -> None:
    estimate = await a_probe().estimate(a_run(a_tier("small", available=False)))
    assert (estimate.abstained, estimate.reason) == (True, "no tier can be probed")


@pytest.mark.parametrize(
    "error",
    [
        WorkerFailed("w", "500"),
        DeadlineExceeded("late"),
        WorkerRejected("w", "bad", status=400, param=None, code=None),
    ],
)
async def test_it_abstains_when_the_tier_fails_and_leaves_no_stream(error: Exception) -> None:
    run = a_run(a_tier("small", fails(error, after=2)))
    estimate = await a_probe().estimate(run)
    assert estimate.abstained
    assert type(error).__name__ in estimate.reason
    assert run.head is None
    assert run.ledger.charges[0].purpose == "discarded"


async def test_it_abstains_when_the_budget_holds_no_probe() -> None:
    run = a_run(a_tier("small"), budget=a_budget(max_calls=0))
    assert "BudgetExhausted" in (await a_probe().estimate(run)).reason


async def test_it_abstains_without_log_probabilities_and_keeps_the_stream() -> None:
    run = a_run(a_tier("small", FakeBackend(says(*WORDS), logprobs=False)))
    assert (await a_probe().estimate(run)).abstained
    assert run.head is not None
    assert await closed(run) == ("probe", 10)
