import pytest

from entroute.verifiers.confidence import Confidence, ConfidenceConfig
from tests.builders import a_completion, a_request
from tests.fakes import verifier_parts
from tests.scripted import coin


async def test_each_candidate_is_scored_by_its_own_tokens() -> None:
    verifier = ConfidenceConfig(window=4).build(verifier_parts())
    sure = a_completion(logprobs=(coin(0.999),) * 8)
    torn = a_completion(logprobs=(coin(0.999),) * 8 + (coin(0.5),) * 4)
    verdicts = await verifier.score(a_request(), [torn, sure])
    assert [verdict.score for verdict in verdicts] == [
        pytest.approx(0.5),
        pytest.approx(0.99, abs=0.01),
    ]
    assert verdicts[0].reason == "least certain window of 4 tokens"


async def test_it_abstains_without_log_probabilities() -> None:
    (verdict,) = await Confidence(4).score(a_request(), [a_completion()])
    assert verdict.abstained
    assert verdict.reason == "the worker sent no log-probabilities"
