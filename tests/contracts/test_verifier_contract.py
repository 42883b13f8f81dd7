"""What every verifier owes the strategies that ask it."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.protocols import Verifier
from entroute.types import Completion
from entroute.verifiers.confidence import Confidence
from entroute.verifiers.exact import Exact
from entroute.verifiers.majority import Majority
from tests.builders import a_completion, a_request
from tests.fakes import FakeAlgebra, FakeVerifier
from tests.scripted import coin

EQUAL = frozenset((r"\sqrt{8}", r"2\sqrt{2}"))
VERIFIERS: list[Verifier] = [
    Confidence(4),
    Majority(FakeAlgebra(EQUAL)),
    Exact("42", FakeAlgebra()),
    FakeVerifier({"42": 0.9, "41": 0.2}),
]
every = pytest.mark.parametrize("verifier", VERIFIERS, ids=lambda verifier: verifier.name)

texts = st.sampled_from(
    ["42", "41", "The answer is 42.", r"\boxed{\sqrt{8}}", r"\boxed{2\sqrt{2}}", "who knows", ""]
)
tools = st.sampled_from(
    [{}, {"tool_calls": [{"function": {"name": "f", "arguments": '{"a": 1}'}}]}]
)
candidates = st.lists(
    st.builds(
        lambda text, extra, ps: a_completion(text, extra=extra, logprobs=tuple(map(coin, ps))),
        texts,
        tools,
        st.lists(st.floats(0.01, 0.99), max_size=6),
    ),
    max_size=6,
)


@every
@given(candidates=candidates)
async def test_one_verdict_a_candidate_scored_in_zero_to_one(
    verifier: Verifier, candidates: list[Completion]
) -> None:
    verdicts = await verifier.score(a_request(), candidates)
    assert len(verdicts) == len(candidates)
    assert all(0 <= verdict.score <= 1 for verdict in verdicts)
    assert all(verdict.reason for verdict in verdicts)


@every
@given(data=st.data(), candidates=candidates)
async def test_the_order_of_candidates_changes_no_score(
    verifier: Verifier, data: st.DataObject, candidates: list[Completion]
) -> None:
    order = data.draw(st.permutations(range(len(candidates))))
    straight = await verifier.score(a_request(), candidates)
    shuffled = await verifier.score(a_request(), [candidates[place] for place in order])
    assert [verdict.score for verdict in shuffled] == [straight[place].score for place in order]
    assert [v.abstained for v in shuffled] == [straight[place].abstained for place in order]


@given(candidates=candidates)
async def test_votes_for_one_answer_are_one_score_and_shares_of_the_whole(
    candidates: list[Completion],
) -> None:
    verdicts = await VERIFIERS[1].score(a_request(), candidates)
    by_answer = Counter(verdict.answer for verdict in verdicts if verdict.answer is not None)
    for verdict in verdicts:
        if verdict.answer is not None:
            assert verdict.score == by_answer[verdict.answer] / len(candidates)
