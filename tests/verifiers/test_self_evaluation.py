from math import log

import pytest

from entroute.errors import InvalidRequest, WorkerFailed, WorkerRejected
from entroute.types import Call, ChatRequest, Completion
from entroute.verifiers import build_verifier
from tests.builders import a_budget, a_completion, a_request, a_run, a_tier, backend_of
from tests.fakes import verifier_parts
from tests.scripted import FakeBackend, Script, fails


class Evaluator(FakeBackend):
    """Answers with the alternatives that it was told, a token a list."""

    def __init__(self, *tokens: dict[str, float]) -> None:
        super().__init__(Script(("True",)))
        self._tokens = tokens

    async def complete(self, call: Call) -> Completion:
        """Answer at once."""
        made = await super().complete(call)
        entries = tuple(
            {
                "token": max(tops, key=lambda word: tops[word]),
                "logprob": log(max(tops.values())),
                "top_logprobs": [{"token": t, "logprob": log(p)} for t, p in tops.items()],
            }
            for tops in self._tokens
        )
        return Completion(made.content, "length", made.usage, logprobs=entries)


async def test_the_score_is_the_share_of_true_among_both_words() -> None:
    backend = Evaluator({"True": 0.5, " true": 0.1, "False": 0.2, "Maybe": 0.2})
    run = a_run(a_tier("small", backend))
    verifier = build_verifier({"kind": "self_evaluation"}, verifier_parts(run=run))
    (verdict,) = await verifier.score(a_request(), [a_completion("42")])
    assert verdict.score == pytest.approx(0.75)
    assert verdict.reason == "P(True) 0.750 by tier 'small'"


async def test_the_question_and_the_answer_are_shown_and_one_word_is_asked() -> None:
    backend = Evaluator({"True": 1.0})
    run = a_run(a_tier("small", backend))
    verifier = build_verifier({"kind": "self_evaluation"}, verifier_parts(run=run))
    await verifier.score(a_request("How many?"), [a_completion("Forty-two")])
    (call,) = backend.calls
    text = call.request.text
    assert text.index("How many?") < text.index("Forty-two") < text.index("True or False?")
    assert call.max_tokens == 2
    assert call.request.temperature == 0
    assert call.top_logprobs == 20


async def test_a_text_completion_is_asked_as_one() -> None:
    backend = Evaluator({"False": 1.0})
    run = a_run(a_tier("small", backend))
    verifier = build_verifier({"kind": "self_evaluation"}, verifier_parts(run=run))
    request = ChatRequest("auto", prompt="2 + 2 =")
    (verdict,) = await verifier.score(request, [a_completion("5")])
    assert verdict.score == 0
    assert (backend.calls[0].request.prompt or "").endswith("The proposed answer is:")


async def test_how_chats_are_written_is_kept_and_other_fields_are_not() -> None:
    backend = Evaluator({"True": 1.0})
    run = a_run(a_tier("small", backend))
    verifier = build_verifier({"kind": "self_evaluation"}, verifier_parts(run=run))
    extra = {"chat_template_kwargs": {"enable_thinking": False}, "stop": ["e"]}
    await verifier.score(a_request(extra=extra), [a_completion("42")])
    assert backend.calls[0].request.extra == {"chat_template_kwargs": {"enable_thinking": False}}


async def test_identical_candidates_are_asked_once_and_charged_as_verifying() -> None:
    run = a_run(a_tier("small", Evaluator({"True": 0.9, "False": 0.1})))
    verifier = build_verifier({"kind": "self_evaluation"}, verifier_parts(run=run))
    verdicts = await verifier.score(a_request(), [a_completion(t) for t in ("a", "b", "a")])
    assert [verdict.score for verdict in verdicts] == pytest.approx([0.9] * 3)
    assert [charge.purpose for charge in run.ledger.charges] == ["verify", "verify"]


async def test_each_candidate_is_judged_by_its_own_tier_or_by_the_named_one() -> None:
    small, large = a_tier("small", Evaluator({"True": 1.0})), a_tier("large", Evaluator({"No": 1}))
    run = a_run(small, large)
    candidates = [a_completion("a", tier="large"), a_completion("a", tier="small")]
    own = build_verifier({"kind": "self_evaluation"}, verifier_parts(run=run))
    assert [v.abstained for v in await own.score(a_request(), candidates)] == [True, False]
    named = build_verifier({"kind": "self_evaluation", "tier": "small"}, verifier_parts(run=run))
    assert [v.score for v in await named.score(a_request(), candidates)] == [1, 1]
    assert len(backend_of(large).calls) == 1


async def test_a_token_that_is_one_of_the_words_is_read_before_one_where_they_are_unlikely() -> (
    None
):
    backend = Evaluator({" ": 0.98, "True": 0.001, "False": 0.01}, {"True": 0.8, "False": 0.2})
    run = a_run(a_tier("small", backend))
    verifier = build_verifier({"kind": "self_evaluation"}, verifier_parts(run=run))
    (verdict,) = await verifier.score(a_request(), [a_completion("42")])
    assert verdict.score == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        (a_completion("42", tier="gone"), "its tier 'gone' is none of this request's"),
        (a_completion("  "), "the candidate is empty"),
        (a_completion("42"), "neither True nor False"),
    ],
)
async def test_it_abstains_with_a_reason(candidate: Completion, words: str) -> None:
    run = a_run(a_tier("small", Evaluator({"Perhaps": 0.9})))
    verifier = build_verifier({"kind": "self_evaluation"}, verifier_parts(run=run))
    (verdict,) = await verifier.score(a_request(), [candidate])
    assert verdict.abstained
    assert words in verdict.reason


@pytest.mark.parametrize(
    "error",
    [
        WorkerFailed("w", "broke"),
        WorkerRejected("w", "too long", status=400, param=None, code=None),
    ],
)
async def test_a_failed_call_is_an_abstention(error: Exception) -> None:
    run = a_run(a_tier("small", fails(error)))
    verifier = build_verifier({"kind": "self_evaluation"}, verifier_parts(run=run))
    (verdict,) = await verifier.score(a_request(), [a_completion("42")])
    assert verdict.abstained
    assert verdict.failed
    assert "the call to tier 'small' failed" in verdict.reason


async def test_what_the_budget_does_not_hold_is_an_abstention() -> None:
    run = a_run(a_tier("small", Evaluator({"True": 1.0})), budget=a_budget(max_calls=1))
    verifier = build_verifier({"kind": "self_evaluation"}, verifier_parts(run=run))
    verdicts = await verifier.score(a_request(), [a_completion("a"), a_completion("b")])
    assert [verdict.abstained for verdict in verdicts] == [False, True]
    assert not any(verdict.failed for verdict in verdicts)
    assert "max_calls" in verdicts[1].reason


def test_a_tier_that_the_request_has_not_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="Tiers of this request: small") as caught:
        build_verifier({"kind": "self_evaluation", "tier": "huge"}, verifier_parts())
    assert caught.value.param == "entroute.verifier.tier"
