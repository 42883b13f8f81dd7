import pytest

from entroute.errors import InvalidRequest
from entroute.verifiers import build_verifier
from entroute.verifiers.exact import Exact, ExactConfig
from tests.builders import a_completion, a_request
from tests.fakes import FakeAlgebra, verifier_parts


async def score(reference: str, text: str, *equal: frozenset[str]) -> float | None:
    verifier = ExactConfig(answer=reference).build(verifier_parts(algebra=FakeAlgebra(*equal)))
    (verdict,) = await verifier.score(a_request(), [a_completion(text)])
    return None if verdict.abstained else verdict.score


@pytest.mark.parametrize(
    ("reference", "text", "expected"),
    [
        ("42", "So the answer is 42.", 1),
        ("42", "The answer is 42.0", 1),
        ("1/2", "It is 0.5", 1),
        ("1,000", r"\boxed{1000}", 1),
        ("42", "The answer is 41.", 0),
        ("B", "The answer is B.", 1),
        ("B", "The answer is C.", 0),
        ("Paris", "Paris.", 1),
        ("Paris", "paris", 1),
        ("New York", " new  york.", 1),
        ("12 apples", "That makes 12.", 1),
        ("The answer is 12.", "12", 1),
        (r"Thus \boxed{12}", "12", 1),
        ("x^2+1", r"\boxed{x^2+1}", 1),
        ("x^2+1", "The answer is 1.", None),
        ("x = 5", "x is 5", 1),
        (r"\sqrt{2}", r"\boxed{\sqrt{2}}", 1),
        ("42", "I do not know", 0),
    ],
)
async def test_equality_is_by_value_letter_or_text(
    reference: str, text: str, expected: float | None
) -> None:
    assert await score(reference, text) == expected


async def test_formulas_are_compared_by_algebra_and_left_open_without_it() -> None:
    equal = frozenset((r"2\sqrt{2}", r"\sqrt{8}"))
    assert await score(r"2\sqrt{2}", r"\boxed{\sqrt{8}}", equal) == 1
    assert await score(r"2\sqrt{2}", r"\boxed{\sqrt{8}}") is None


async def test_every_candidate_is_judged_on_its_own_in_order() -> None:
    verifier = Exact("42", FakeAlgebra())
    texts = ["41", "42", "The answer is 42.", "no"]
    verdicts = await verifier.score(a_request(), [a_completion(text) for text in texts])
    assert [verdict.score for verdict in verdicts] == [0, 1, 1, 0]
    assert verdicts[1].reason == "equals the reference"
    assert verdicts[0].answer == "41"


@pytest.mark.parametrize(
    ("option", "param", "words"),
    [
        ({"kind": "magic"}, "entroute.verifier.kind", "confidence, exact, judge"),
        ({}, "entroute.verifier.kind", "Unknown verifier kind None"),
        ({"kind": ["exact"]}, "entroute.verifier.kind", "Unknown verifier kind"),
        ({"kind": "exact"}, "entroute.verifier.answer", "required"),
        ({"kind": "exact", "answer": ""}, "entroute.verifier.answer", "at least 1"),
        ({"kind": "confidence", "window": 0}, "entroute.verifier.window", "greater than"),
        ({"kind": "majority", "colour": "red"}, "entroute.verifier.colour", "not permitted"),
    ],
)
def test_a_wrong_option_is_refused_by_its_path(
    option: dict[str, object], param: str, words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words) as caught:
        build_verifier(option, verifier_parts())
    assert caught.value.param == param
