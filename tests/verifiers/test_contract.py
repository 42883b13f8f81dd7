"""What every verifier keeps, whatever candidates it is given."""

from dataclasses import replace
from typing import Any

import httpx
import pytest

from entroute.errors import WorkerFailed
from entroute.protocols import Run, Verifier
from entroute.types import ChatRequest, Completion
from entroute.verifiers import KNOWN_VERIFIERS, build_verifier
from entroute.verifiers.reward_endpoint import RewardClient, RewardEndpoint
from tests.builders import a_budget, a_completion, a_request, a_run, a_tier
from tests.fakes import FakeSandbox, executed, verifier_parts
from tests.scripted import coin, fails, says, token

OPTIONS: dict[str, dict[str, Any]] = {
    "confidence": {},
    "exact": {"answer": "42"},
    "judge": {},
    "likelihood": {},
    "majority": {},
    "program": {"source": "def sat(x): return x == 42"},
    "reward": {"name": "rm"},
    "schema": {"json_schema": {"type": "integer"}, "regex": "4"},
    "self_certainty": {},
    "self_evaluation": {},
    "tests": {"tests": "assert answer() == 42"},
    "weighted": {
        "parts": [
            {"verifier": {"kind": "exact", "answer": "42"}},
            {"verifier": {"kind": "judge"}, "weight": 2},
        ]
    },
}
CALL = {"id": "x", "type": "function", "function": {"name": "add", "arguments": "{"}}
CANDIDATES = [
    a_completion("42", logprobs=(coin(0.9), coin(0.6))),
    a_completion(""),
    a_completion(" \n\t"),
    a_completion("é\U0001f600\u202e\u0000 \u2028 42", logprobs=(token(-1.0, [-1.0, -2.0], "é"),)),
    a_completion("broken \ud800 surrogate"),
    a_completion("x" * 20_000),
    a_completion("[" * 20_000),
    a_completion("```" * 7_000),
    a_completion("```python\ndef answer():\n    return 42\n```"),
    a_completion("```json\n42\n"),
    a_completion("\\boxed{" * 3_000),
    a_completion("", extra={"tool_calls": [CALL]}),
    a_completion("Score: 10\nTrue", tier="nowhere"),
    a_completion("42", logprobs=(coin(0.9), coin(0.6))),
]


class Unreachable(httpx.AsyncBaseTransport):
    """A network in which nobody listens."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Refuse the connection."""
        raise httpx.ConnectError("nobody listens", request=request)


def built(kind: str, run: Run) -> Verifier:
    client = httpx.AsyncClient(transport=Unreachable())
    endpoint = RewardEndpoint(name="rm", url="http://127.0.0.1:1/pooling")
    parts = verifier_parts(run=run, sandbox=FakeSandbox(executed))
    parts = replace(parts, rewards={"rm": RewardClient(endpoint, client)})
    return build_verifier({"kind": kind, **OPTIONS[kind]}, parts)


def test_every_kind_is_here() -> None:
    assert set(OPTIONS) == set(KNOWN_VERIFIERS)


@pytest.mark.parametrize("kind", KNOWN_VERIFIERS)
@pytest.mark.parametrize(
    "script", [says("Score: 7"), says("nonsense"), fails(WorkerFailed("w", "broke"))], ids=str
)
@pytest.mark.parametrize("calls", [0, 64])
async def test_any_candidates_get_as_many_verdicts_in_bounds_and_no_error(
    kind: str, script: Any, calls: int
) -> None:
    run = a_run(a_tier("small", script), budget=a_budget(max_calls=calls))
    verifier = built(kind, run)
    for request in (a_request(), ChatRequest("auto", prompt=""), ChatRequest("auto")):
        verdicts = await verifier.score(request, CANDIDATES)
        assert len(verdicts) == len(CANDIDATES)
        assert all(0 <= verdict.score <= 1 for verdict in verdicts)
        assert all(verdict.reason for verdict in verdicts)
        assert {charge.purpose for charge in run.ledger.charges} <= {"verify", "discarded"}


@pytest.mark.parametrize("kind", KNOWN_VERIFIERS)
async def test_no_candidates_get_no_verdicts(kind: str) -> None:
    assert await built(kind, a_run(a_tier("small"))).score(a_request(), []) == ()


@pytest.mark.parametrize("kind", KNOWN_VERIFIERS)
async def test_the_order_of_candidates_is_the_order_of_verdicts(kind: str) -> None:
    def verifier() -> Verifier:
        return built(kind, a_run(a_tier("small", says("Score: 7"))))

    some: list[Completion] = [CANDIDATES[i] for i in (0, 1, 3, 8, 13)]
    forward = await verifier().score(a_request(), some)
    backward = await verifier().score(a_request(), some[::-1])
    assert [v.score for v in forward] == pytest.approx([v.score for v in backward][::-1])
    assert forward[0] == forward[4]


@pytest.mark.parametrize("kind", KNOWN_VERIFIERS)
async def test_a_score_depends_on_other_candidates_exactly_where_it_compares(kind: str) -> None:
    verifier = built(kind, a_run(a_tier("small", says("Score: 7"))))
    surer = a_completion("41", logprobs=(coin(0.99), coin(0.99)), call_id=1)
    sample = a_completion("42", logprobs=(coin(0.9), coin(0.6)), call_id=2)
    (alone,) = await verifier.score(a_request(), [sample])
    together = await verifier.score(a_request(), [surer, sample, surer])
    assert (together[1].score != alone.score) == verifier.compares


def test_a_combination_compares_where_one_of_its_parts_does() -> None:
    part = {"verifier": {"kind": "exact", "answer": "42"}}
    run = a_run(a_tier("small"))
    for kind, weight, compares in [
        ("majority", 1, True),
        ("majority", 0, False),
        ("judge", 1, False),
    ]:
        other = {"verifier": {"kind": kind}, "weight": weight}
        option = {"kind": "weighted", "parts": [part, other]}
        assert build_verifier(option, verifier_parts(run=run)).compares is compares


@pytest.mark.parametrize("kind", KNOWN_VERIFIERS)
def test_each_is_known_by_its_kind(kind: str) -> None:
    verifier = built(kind, a_run(a_tier("small")))
    assert verifier.name == kind
    assert verifier.top_logprobs is None or 0 <= verifier.top_logprobs <= 20
