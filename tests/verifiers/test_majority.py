from typing import Any

import pytest

from entroute.errors import InvalidRequest
from entroute.types import ChatRequest
from entroute.verifiers import build_verifier
from entroute.verifiers.majority import Majority, MajorityConfig, asked_form
from tests.builders import a_completion, a_request
from tests.fakes import FakeAlgebra, verifier_parts

MATHS = a_request("How many apples are there, if 3 of 12 are eaten?")


def calling(arguments: str, name: str = "add") -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"tool_calls": [{"id": "x", "type": "function", "function": function}]}


async def scores(
    *texts: str, algebra: FakeAlgebra | None = None, request: ChatRequest = MATHS
) -> list[float]:
    verifier = MajorityConfig().build(verifier_parts(algebra=algebra))
    verdicts = await verifier.score(request, [a_completion(text) for text in texts])
    return [verdict.score for verdict in verdicts]


async def test_a_score_is_the_answers_share_of_all_samples() -> None:
    assert await scores("It is 9.", "So 9 apples", "The answer is 8.", "9.0") == [
        0.75,
        0.75,
        0.25,
        0.75,
    ]


async def test_an_answer_that_cannot_be_read_has_no_vote_but_counts_as_a_sample() -> None:
    verifier = Majority(FakeAlgebra())
    verdicts = await verifier.score(
        MATHS, [a_completion("9"), a_completion("who knows"), a_completion("none of it")]
    )
    assert [verdict.score for verdict in verdicts] == [pytest.approx(1 / 3), 0, 0]
    assert [verdict.abstained for verdict in verdicts] == [False, True, True]
    assert verdicts[0].answer == "9"


async def test_formulas_vote_together_where_algebra_says_so() -> None:
    algebra = FakeAlgebra(frozenset((r"\sqrt{8}", r"2\sqrt{2}")))
    texts = [r"\boxed{\sqrt{8}}", r"\boxed{2\sqrt{2}}", r"\boxed{\sqrt{7}}"]
    found = await scores(*texts, algebra=algebra, request=a_request(r"Answer in \boxed{}."))
    assert found == pytest.approx([2 / 3, 2 / 3, 1 / 3])


async def test_algebra_is_not_asked_about_numbers() -> None:
    algebra = FakeAlgebra()
    await scores("9", "8", "9", algebra=algebra)
    assert algebra.asked == []


async def test_tool_calls_vote_by_name_and_canonical_arguments() -> None:
    candidates = [
        a_completion("", extra=calling('{"a": 1, "b": 2}')),
        a_completion("", extra=calling('{"b":2,"a":1}')),
        a_completion("", extra=calling('{"a": 1, "b": 3}')),
        a_completion("", extra=calling('{"a": 1, "b": 2}', name="sub")),
    ]
    verdicts = await Majority(FakeAlgebra()).score(a_request(), candidates)
    assert [verdict.score for verdict in verdicts] == [0.5, 0.5, 0.25, 0.25]


async def test_parallel_tool_calls_have_no_order_and_numbers_one_form() -> None:
    one, other = calling('{"a": 1}'), calling('{"a": 2}')
    pairs = [
        [*one["tool_calls"], *other["tool_calls"]],
        [*other["tool_calls"], *calling('{"a": 1.0}')["tool_calls"]],
        one["tool_calls"],
    ]
    candidates = [a_completion("", extra={"tool_calls": pair}) for pair in pairs]
    verdicts = await Majority(FakeAlgebra()).score(a_request(), candidates)
    assert [verdict.score for verdict in verdicts] == pytest.approx([2 / 3, 2 / 3, 1 / 3])


async def test_ignored_arguments_have_no_vote() -> None:
    config = MajorityConfig(ignore=("timestamp", "meta.request_id", "items.*.id"))
    arguments = [
        '{"q": 1, "timestamp": 1, "meta": {"request_id": 5}, "items": [{"id": 1, "n": 2}]}',
        '{"q": 1, "timestamp": 2, "meta": {"request_id": 6}, "items": [{"id": 3, "n": 2}]}',
        '{"q": 1, "timestamp": 1, "meta": {"request_id": 5}, "items": [{"id": 1, "n": 3}]}',
    ]
    candidates = [a_completion("", extra=calling(raw)) for raw in arguments]
    verdicts = await config.build(verifier_parts()).score(a_request(), candidates)
    assert [verdict.score for verdict in verdicts] == pytest.approx([2 / 3, 2 / 3, 1 / 3])
    plain = await MajorityConfig().build(verifier_parts()).score(a_request(), candidates)
    assert [verdict.score for verdict in plain] == pytest.approx([1 / 3] * 3)


async def test_algebra_is_not_asked_about_tool_calls() -> None:
    algebra = FakeAlgebra()
    candidates = [a_completion("It is 3."), a_completion("", extra=calling('{"a": 3}'))]
    verdicts = await Majority(algebra).score(MATHS, candidates)
    assert [verdict.score for verdict in verdicts] == [0.5, 0.5]
    assert algebra.asked == []


@pytest.mark.parametrize(
    ("ignore", "where"),
    [
        (["a."], "ignore.0"),
        (["a", ""], "ignore.1"),
        (["a*"], "ignore.0"),
        (["a" * 201], "ignore.0"),
        (["a"] * 33, "ignore"),
        ("a", "ignore"),
    ],
)
def test_a_path_that_is_none_is_refused_by_name(ignore: object, where: str) -> None:
    option = {"kind": "majority", "ignore": ignore}
    with pytest.raises(InvalidRequest) as refusal:
        build_verifier(option, verifier_parts())
    assert refusal.value.param == f"entroute.verifier.{where}"


def test_paths_come_as_json_lists() -> None:
    option = {"kind": "majority", "ignore": ["a"] * 32}
    assert build_verifier(option, verifier_parts()).name == "majority"


@pytest.mark.parametrize(
    ("prompt", "form"),
    [
        ("How many apples are there, if 3 of 12 are eaten?", "number"),
        ("Which? A) red B) green C) blue", "choice"),
        ("Write a Python function that adds.", "code"),
        ("Tell me a story.", "auto"),
    ],
)
def test_the_last_user_message_says_which_form_is_asked(prompt: str, form: str) -> None:
    assert asked_form(a_request(prompt)) == form
    assert asked_form(ChatRequest(model="auto", prompt=prompt)) == form
    earlier = {"role": "user", "content": "Which? A) x B) y C) z"}
    later = ({"role": "assistant", "content": "A"}, {"role": "user", "content": prompt})
    assert asked_form(ChatRequest(model="auto", messages=(earlier, *later))) == form


async def test_an_answer_that_ran_into_its_limit_counts_only_if_it_was_stated() -> None:
    verifier = MajorityConfig().build(verifier_parts())
    candidates = [
        a_completion("So 3 * 4 = 12, and 12 +", finish_reason="length"),
        a_completion("The answer is 12. To check, 12 / 4 =", finish_reason="length"),
        a_completion("So 3 * 4 = 12"),
    ]
    verdicts = await verifier.score(MATHS, candidates)
    assert [verdict.answer for verdict in verdicts] == [None, "12", "12"]
    assert verdicts[0].abstained
