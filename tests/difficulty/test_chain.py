import pytest

from entroute.difficulty.chain import Chain, ChainConfig
from tests.builders import a_request, a_run, a_tier, backend_of
from tests.fakes import FakeEstimator


async def ask(*links: FakeEstimator) -> tuple[float | None, list[int], str | None]:
    estimate = await Chain(links, 0.1, 0.9).estimate(a_run(a_tier("small")))
    return estimate.difficulty, [link.asked for link in links], estimate.checkable


@pytest.mark.parametrize("clear", [0.05, 0.95])
async def test_a_clear_estimate_ends_the_chain(clear: float) -> None:
    assert await ask(FakeEstimator(clear), FakeEstimator(0.5)) == (clear, [1, 0], None)


async def test_an_unclear_estimate_is_replaced_by_the_next() -> None:
    assert await ask(FakeEstimator(0.5), FakeEstimator(0.3)) == (0.3, [1, 1], None)


async def test_the_last_estimate_that_did_not_abstain_stands() -> None:
    assert await ask(FakeEstimator(0.5), FakeEstimator(None)) == (0.5, [1, 1], None)
    assert await ask(FakeEstimator(None), FakeEstimator(0.4)) == (0.4, [1, 1], None)


async def test_a_chain_of_abstentions_abstains() -> None:
    assert await ask(FakeEstimator(None), FakeEstimator(None)) == (None, [1, 1], None)


async def test_the_first_answer_form_recognised_is_kept() -> None:
    links = FakeEstimator(0.5, checkable="number"), FakeEstimator(0.3)
    assert await ask(*links) == (0.3, [1, 1], "number")


async def test_the_default_chain_probes_only_what_looks_unclear() -> None:
    chain = ChainConfig().build()
    tier = a_tier("small")
    easy = await chain.estimate(a_run(tier, request=a_request("Hi!")))
    assert easy.source == "lexical"
    assert backend_of(tier).calls == []
    run = a_run(tier, request=a_request("Prove that 17 and 19 are prime numbers."))
    assert (await chain.estimate(run)).source == "probe"
    assert len(backend_of(tier).calls) == 1
    await run.close()
