import math
from collections.abc import Sequence

import pytest

from entroute.types import Completion
from entroute.verifiers.self_certainty import SelfCertaintyConfig
from tests.builders import a_completion, a_request
from tests.fakes import verifier_parts
from tests.scripted import token


def certain(confidence: float, *, alternatives: int = 2, tokens: int = 3) -> Completion:
    """Return a sample whose tokens all have this C_t."""
    return a_completion(logprobs=(token(-0.1, [-confidence] * alternatives),) * tokens)


async def scores(candidates: Sequence[Completion], power: float = 1.0) -> list[float | None]:
    verifier = SelfCertaintyConfig(power=power).build(verifier_parts())
    verdicts = await verifier.score(a_request(), candidates)
    return [None if verdict.abstained else verdict.score for verdict in verdicts]


async def test_weights_fall_evenly_with_rank() -> None:
    candidates = [certain(2), certain(9), certain(5), certain(3)]
    assert await scores(candidates) == [0.25, 1.0, 0.75, 0.5]


async def test_a_power_makes_them_fall_steeper_and_zero_makes_them_equal() -> None:
    candidates = [certain(2), certain(9)]
    assert await scores(candidates, 2.0) == [0.25, 1.0]
    assert await scores(candidates, 0.0) == [1.0, 1.0]


async def test_equals_share_the_better_rank() -> None:
    assert await scores([certain(4), certain(4), certain(3)]) == pytest.approx([1, 1, 1 / 3])


async def test_those_without_alternatives_abstain_and_are_not_counted() -> None:
    bare = a_completion(logprobs=(token(-0.1),))
    assert await scores([bare, certain(4), a_completion(), certain(3)]) == [None, 1.0, None, 0.5]


async def test_nonsense_abstains() -> None:
    nonsense = a_completion(logprobs=({"token": "a", "top_logprobs": [{"logprob": None}]},))
    impossible = a_completion(logprobs=(token(-0.1, [math.nan]),))
    assert await scores([nonsense, impossible]) == [None, None]
    assert await scores([]) == []


async def test_alternatives_beyond_the_twentieth_are_not_read() -> None:
    tops = [-4.0] * 20
    appended = a_completion(logprobs=(token(-25.0, [*tops, -25.0]),))
    assert await scores([appended, certain(4.5, alternatives=20)]) == [0.5, 1.0]


async def test_the_mean_is_over_tokens_whatever_their_number() -> None:
    mixed = a_completion(logprobs=(token(-0.1, [-2.0]), token(-0.1, [-6.0])))
    verifier = SelfCertaintyConfig().build(verifier_parts())
    verdicts = await verifier.score(a_request(), [mixed, certain(3.9, tokens=9)])
    assert verdicts[0].reason == "rank 1 of 2, mean C_t 4.00"
