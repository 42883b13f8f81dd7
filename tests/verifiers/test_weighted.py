from typing import Any

import pytest

from entroute.errors import InvalidRequest, WorkerFailed
from entroute.types import Completion
from entroute.verifiers import KNOWN_VERIFIERS, build_verifier
from tests.builders import a_budget, a_completion, a_request, a_run, a_tier
from tests.fakes import verifier_parts
from tests.scripted import fails, says, token

EXACT = {"kind": "exact", "answer": "42"}
LIKELY = {"kind": "likelihood"}
JUDGE = {"kind": "judge"}


def weighed(*parts: tuple[dict[str, Any], float], **options: Any) -> dict[str, Any]:
    listed = [{"verifier": verifier, "weight": weight} for verifier, weight in parts]
    return {"kind": "weighted", "parts": listed, **options}


async def judged(option: dict[str, Any], candidate: Completion) -> tuple[float | None, str]:
    (verdict,) = await build_verifier(option, verifier_parts()).score(a_request(), [candidate])
    return None if verdict.abstained else verdict.score, verdict.reason


async def test_the_score_is_the_weighted_mean_and_the_reason_names_every_part() -> None:
    candidate = a_completion("42", logprobs=(token(0.0),))
    wrong = a_completion("41", logprobs=(token(0.0),))
    option = weighed((EXACT, 3), (LIKELY, 1))
    assert (await judged(option, candidate))[0] == 1
    score, reason = await judged(option, wrong)
    assert score == pytest.approx(0.25)
    assert reason == (
        "exact (weight 3) 0.00: differs from the reference; "
        "likelihood (weight 1) 1.00: mean log-probability 0.000 of 1 tokens"
    )


async def test_those_that_abstain_do_not_count() -> None:
    assert (await judged(weighed((EXACT, 1), (LIKELY, 1)), a_completion("42")))[0] == 1


@pytest.mark.parametrize(
    ("quorum", "score"), [(0.0, 1.0), (0.25, 1.0), (0.26, None), (0.5, None), (1.0, None)]
)
async def test_too_few_judges_are_an_abstention(quorum: float, score: float | None) -> None:
    option = weighed((EXACT, 1), (LIKELY, 3), quorum=quorum)
    assert (await judged(option, a_completion("42")))[0] == score


async def test_nobody_judging_is_an_abstention_whatever_the_quorum() -> None:
    score, reason = await judged(weighed((LIKELY, 1), quorum=0.0), a_completion("42"))
    assert score is None
    assert reason.startswith("too few judged: likelihood (weight 1) abstained")


@pytest.mark.parametrize(("quorum", "abstained"), [(0.5, False), (1.0, True)])
async def test_one_that_failed_is_not_hidden_by_those_that_judged(
    quorum: float, *, abstained: bool
) -> None:
    run = a_run(a_tier("small", fails(WorkerFailed("w", "broke"))), budget=a_budget(max_calls=4))
    option = weighed((EXACT, 1), (JUDGE, 1), quorum=quorum)
    verifier = build_verifier(option, verifier_parts(run=run))
    (verdict,) = await verifier.score(a_request(), [a_completion("42")])
    assert (verdict.abstained, verdict.failed) == (abstained, True)


async def test_those_that_abstain_have_not_failed() -> None:
    option = weighed((EXACT, 1), (LIKELY, 1), quorum=1.0)
    (verdict,) = await build_verifier(option, verifier_parts()).score(
        a_request(), [a_completion("42")]
    )
    assert (verdict.abstained, verdict.failed) == (True, False)


async def test_it_keeps_order_length_and_the_answer() -> None:
    verifier = build_verifier(weighed((LIKELY, 1), (EXACT, 1)), verifier_parts())
    verdicts = await verifier.score(a_request(), [a_completion(t) for t in ("41", "42", "41")])
    assert [(v.score, v.answer) for v in verdicts] == [(0, "41"), (1, "42"), (0, "41")]
    assert await verifier.score(a_request(), []) == ()


async def test_one_of_weight_zero_is_not_asked() -> None:
    run = a_run(a_tier("small", says("Score: 10")), budget=a_budget(max_calls=4))
    for weight, calls in ((0, 0), (1, 1)):
        option = weighed((EXACT, 1), (JUDGE, weight))
        verifier = build_verifier(option, verifier_parts(run=run))
        await verifier.score(a_request(), [a_completion("42")])
        assert [charge.purpose for charge in run.ledger.charges] == ["verify"] * calls


@pytest.mark.parametrize(
    ("kinds", "looks"),
    [
        (("majority",), None),
        (("majority", "likelihood"), 0),
        (("likelihood", "self_certainty", "confidence"), 20),
    ],
)
def test_it_looks_at_as_many_alternatives_as_its_parts_need(
    kinds: tuple[str, ...], looks: int | None
) -> None:
    option = weighed(*(({"kind": kind}, 1.0) for kind in kinds))
    assert build_verifier(option, verifier_parts()).top_logprobs == looks


@pytest.mark.parametrize(
    ("option", "param", "words"),
    [
        (weighed(), "parts", "at least 1"),
        (weighed(*[(EXACT, 1)] * 9), "parts", "at most 8"),
        (weighed((EXACT, 0)), "parts", "above 0"),
        (weighed((EXACT, -1)), "parts.0.weight", "greater than"),
        (weighed((EXACT, 101)), "parts.0.weight", "less than"),
        (weighed((EXACT, 1), quorum=2), "quorum", "less than"),
        (weighed((EXACT, 1), (weighed((EXACT, 1)), 1)), "parts.1.verifier.kind", "Unknown"),
        (weighed((EXACT, 1), ({"kind": "exact"}, 1)), "parts.1.verifier.answer", "required"),
        (weighed(({"kind": "judge", "tier": "x"}, 1)), "parts.0.verifier.tier", "No tier"),
        (weighed(({"kind": "program"}, 1)), "parts.0.verifier.source", "required"),
        (
            weighed(({"kind": "tests", "tests": "assert 1"}, 1)),
            "parts.0.verifier.kind",
            "operator must switch",
        ),
        ({"kind": "weighted"}, "parts", "required"),
    ],
)
def test_a_wrong_part_is_refused_by_its_path(
    option: dict[str, Any], param: str, words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words) as caught:
        build_verifier(option, verifier_parts())
    assert caught.value.param == f"entroute.verifier.{param}"


def test_it_is_known_by_name() -> None:
    assert "weighted" in KNOWN_VERIFIERS
